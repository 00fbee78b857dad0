from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_fields import Field, overlap, red_field
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.segmentation.result import PLATELET, RED, WHITE, Segmentation
from cytodiffusion.segmentation.watershed import WatershedSettings, watershed


def check_invariants(result: Segmentation, shape: tuple[int, ...]) -> None:
    labels = result.labels
    assert labels.shape == shape[:2]
    assert labels.dtype == np.int32
    found = np.unique(labels)
    assert np.array_equal(found[found > 0], np.arange(1, result.n_cells + 1))
    assert result.kinds is not None
    assert result.kinds.shape == (result.n_cells,)
    for index, where in enumerate(ndimage.find_objects(labels), start=1):
        assert ndimage.label(labels[where] == index)[1] == 1


def test_separate_red_cells_are_found_with_uneven_light() -> None:
    drawn = red_field()
    image = drawn.image(falloff=0.15)
    result = watershed(image, drawn.pixel_um)
    check_invariants(result, image.shape)
    assert result.n_cells == drawn.cells
    assert set(result.kinds) == {RED}
    scores = [overlap(result.labels, drawn.truth == i + 1) for i in range(drawn.cells)]
    assert min(scores) > 0.85


def test_glare_hides_no_cell() -> None:
    drawn = red_field()
    result = watershed(drawn.image(glare=True), drawn.pixel_um)
    scores = [overlap(result.labels, drawn.truth == i + 1) for i in range(drawn.cells)]
    assert np.mean(np.array(scores) > 0.75) > 0.95


@pytest.mark.parametrize("gap_um", [6.0, 7.0, 7.6])
def test_touching_red_cells_are_divided(gap_um: float) -> None:
    drawn = red_field((300, 420))
    drawn.truth[:], drawn.absorbed[:], drawn.cells = 0, 0, 0
    for row in (70, 150, 230):
        for x in (100, 300):
            drawn.red_cell(row, x)
            drawn.red_cell(row, x + gap_um / drawn.pixel_um)
    result = watershed(drawn.image(), drawn.pixel_um)
    assert result.n_cells == drawn.cells


@pytest.mark.parametrize("lobes", [1, 2, 3, 5])
def test_lobes_of_one_nucleus_stay_together(lobes: int) -> None:
    drawn = red_field()
    centre = (200, 260)
    clear = drawn.disc(*centre, 22.0)
    drawn.absorbed[clear], drawn.truth[clear] = 0, 0
    number = drawn.white_cell(*centre, lobes=lobes)
    result = watershed(drawn.image(), drawn.pixel_um)
    assert list(result.kinds).count(WHITE) == 1
    assert overlap(result.labels, drawn.truth == number) > 0.85


def test_white_cell_among_touching_red_cells_keeps_its_outline() -> None:
    drawn = red_field()
    y, x = 200, 260
    clear = drawn.disc(y, x, 34.0)
    drawn.absorbed[clear], drawn.truth[clear] = 0, 0
    for turn in np.arange(5) * 2 * np.pi / 5:
        reach = 9.4 / drawn.pixel_um
        drawn.red_cell(y + reach * np.sin(turn), x + reach * np.cos(turn))
    number = drawn.white_cell(y, x, lobes=3)
    result = watershed(drawn.image(), drawn.pixel_um)
    assert overlap(result.labels, drawn.truth == number) > 0.8


def test_platelets_alone_and_on_a_red_cell() -> None:
    drawn = red_field()
    free = [drawn.platelet(3.9 / 0.14 * 3 - 2, 3.9 / 0.14 * 3)]
    places = np.argwhere(ndimage.distance_transform_edt(drawn.truth == 0) > 22)
    drawn.platelet(*places[len(places) // 2])
    result = watershed(drawn.image(), drawn.pixel_um)
    assert list(result.kinds).count(PLATELET) == 2
    assert overlap(result.labels, drawn.truth == free[0]) > 0.5


def test_the_kinds_can_be_switched_off() -> None:
    drawn = red_field()
    drawn.white_cell(200, 260)
    only_white = WatershedSettings(red_cells=False, platelets=False)
    result = watershed(drawn.image(), drawn.pixel_um, only_white)
    assert list(result.kinds) == [WHITE]
    assert result.settings["red_cells"] is False


@pytest.mark.parametrize("pixel_um", [0.07, 0.2, 0.3])
def test_result_does_not_hang_on_the_resolution(pixel_um: float) -> None:
    shape = (int(56 / pixel_um), int(73 / pixel_um))
    drawn = red_field(shape, pixel_um)
    result = watershed(drawn.image(), pixel_um)
    check_invariants(result, shape)
    assert result.n_cells == pytest.approx(drawn.cells, abs=1)


def test_scale_is_estimated_when_it_is_not_given() -> None:
    result = watershed(red_field().image())
    assert result.pixel_size_source == "estimated"
    assert result.pixel_size_um == pytest.approx(0.14, rel=0.1)
    assert not result.warnings


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 1, 3), np.uint8),
        np.full((1, 300, 3), 200, np.uint8),
        np.full((120, 160, 3), 255, np.uint8),
        np.zeros((120, 160, 3), np.uint8),
        np.full((120, 160, 3), 128, np.uint8),
        np.clip(np.random.default_rng(0).normal(220, 4, (120, 160, 3)), 0, 255).astype(np.uint8),
    ],
    ids=["1x1", "one row", "white", "black", "grey", "noise"],
)
@pytest.mark.parametrize("pixel_um", [None, 0.1, 2.0])
def test_nothing_to_see_gives_no_label_and_a_warning(
    image: np.ndarray, pixel_um: float | None
) -> None:
    result = watershed(image, pixel_um)
    assert result.n_cells == 0
    assert result.labels.shape == image.shape[:2]
    assert result.warnings
    assert result.pixel_size_um > 0
    if pixel_um is None:
        assert result.pixel_size_source == "assumed"


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 5), (5, 5, 4)])
def test_not_an_rgb_image_is_an_input_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        watershed(np.zeros(shape, np.uint8))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(0, 2**31),
    st.sampled_from([0.05, 0.1, 0.2, 0.5, None]),
    st.integers(1, 12),
)
def test_any_picture_gives_valid_labels(
    height: int, width: int, seed: int, pixel_um: float | None, blur: int
) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    image = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), blur), None, 0, 255, cv2.NORM_MINMAX)
    check_invariants(watershed(image.reshape(noise.shape), pixel_um), noise.shape)


def test_same_image_same_labels() -> None:
    image = red_field((200, 260)).image()
    assert np.array_equal(watershed(image).labels, watershed(image).labels)


def test_progress_rises_and_cancels() -> None:
    image = red_field((200, 260)).image()
    seen: list[float] = []
    watershed(image, None, progress=lambda fraction, _: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    def stop(fraction: float, _: str) -> None:
        if fraction > 0.4:
            raise Cancelled

    with pytest.raises(Cancelled):
        watershed(image, None, progress=stop)


def test_a_cell_cut_by_the_border_reaches_it() -> None:
    drawn = Field((200, 200))
    drawn.red_cell(100, 100)
    drawn.red_cell(100, 4)
    result = watershed(drawn.image(), drawn.pixel_um)
    assert result.n_cells == 2
    assert (result.labels[90:110, 0] > 0).all()


@pytest.mark.data
def test_real_white_cells_match_their_masks(data_root: Path) -> None:
    paths = sorted((data_root / "bcisc/crops/images").glob("*.jpg"))[::12]
    scores = []
    for path in paths:
        mask = cv2.imread(str(data_root / "bcisc/crops/masks" / f"{path.stem}.png"), 0) > 127
        image = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
        scores.append(overlap(watershed(image).labels, mask))
    assert np.median(scores) > 0.88
    assert np.mean(np.array(scores) >= 0.7) > 0.85


@pytest.mark.data
def test_real_red_cells_carry_a_label_of_their_own(data_root: Path) -> None:
    hit = total = 0
    for name in ("127", "253", "315"):
        image = np.ascontiguousarray(
            cv2.imread(str(data_root / f"chula/images/{name}.jpg"))[..., ::-1]
        )
        points = np.loadtxt(data_root / f"chula/points/{name}.txt", ndmin=2).astype(int)
        values = watershed(image).labels[points[:, 1].clip(0, 479), points[:, 0].clip(0, 639)]
        counts = np.bincount(values)
        hit += int(((values > 0) & (counts[values] == 1)).sum())
        total += len(points)
    assert hit / total > 0.95
