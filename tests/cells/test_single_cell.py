"""Scale of folders of single-cell images, and cells that are not in the middle."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PillowImage

from cytodiffusion.cells import single_cell as module
from cytodiffusion.cells.single_cell import (
    WHITE_CELL_UM,
    SingleCell,
    SingleCells,
    central_diameter,
    common_backgrounds,
    common_scale,
    estimate_scale,
)
from cytodiffusion.errors import InputError
from cytodiffusion.image.image import open_image
from cytodiffusion.image.pixels import Scale
from cytodiffusion.image.stain import background_map, estimate_background
from cytodiffusion.segmentation.foreground import stain_maps
from cytodiffusion.segmentation.watershed import watershed

PBC = Path(
    os.environ.get("CYTODIFFUSION_DATA", Path(__file__).parents[2] / "shared" / "data"), "pbc"
)
needs_pbc = pytest.mark.skipif(not PBC.is_dir(), reason="needs the PBC images")


def cell(side: int, centre: tuple[float, float], radius: float) -> np.ndarray:
    """One white cell, its nucleus in the middle of it, on empty background."""
    y, x = np.mgrid[:side, :side]
    distance = np.hypot(y - centre[0], x - centre[1])
    rgb = np.full((side, side, 3), 235, np.uint8)
    rgb[distance < radius] = (200, 170, 205)
    rgb[distance < 0.7 * radius] = (80, 40, 130)
    return rgb


def read(rgb: np.ndarray, pixel_size_um: float) -> SingleCell:
    """An image as a folder of one would be read."""
    return SingleCell.of(rgb, pixel_size_um)


def test_without_red_cells_the_cell_tells_the_scale() -> None:
    rgb = cell(120, (60, 60), 40)
    assert central_diameter(stain_maps(rgb)) == pytest.approx(80, rel=0.05)
    scale = estimate_scale(rgb)
    assert scale.source == "assumed"
    assert scale.pixel_size_um == pytest.approx(WHITE_CELL_UM / 80, rel=0.05)
    assert central_diameter(stain_maps(np.full((50, 50, 3), 230, np.uint8))) == 0


def test_a_folder_has_one_scale() -> None:
    scales = [Scale(x, "assumed") for x in (0.08, 0.1, 0.1, 0.12, 0.2)]
    shared = common_scale(scales)
    assert len(shared) == 5
    assert all(s.pixel_size_um == pytest.approx(0.1) and s.source == "folder" for s in shared)
    # two red-cell estimates outweigh five guesses
    mixed = [Scale(0.14, "assumed")] * 5 + [Scale(0.1, "estimated")] * 2
    assert common_scale(mixed)[0].pixel_size_um == pytest.approx(0.1)


def test_few_or_unlike_images_keep_their_own_scale() -> None:
    few = [Scale(0.1, "estimated"), Scale(0.12, "estimated")]
    assert common_scale(few) == few
    unlike = [Scale(x, "estimated") for x in (0.05, 0.05, 0.05, 0.2, 0.2, 0.2)]
    assert common_scale(unlike) == unlike
    known = [Scale(0.1, "file")] * 3 + [Scale(0.3, "assumed")] * 4
    assert common_scale(known)[:3] == known[:3]


@given(
    st.lists(
        st.tuples(st.floats(0.03, 1.0), st.sampled_from(["estimated", "assumed", "file"])),
        max_size=12,
    )
)
def test_a_common_scale_lies_among_the_estimates(pairs: list[tuple[float, str]]) -> None:
    scales = [Scale(*pair) for pair in pairs]
    shared = common_scale(scales)
    assert len(shared) == len(scales)
    for before, after in zip(scales, shared, strict=True):
        if before.source == "file":
            assert after == before
        else:
            low = min(s.pixel_size_um for s in scales)
            high = max(s.pixel_size_um for s in scales)
            assert low * (1 - 1e-9) <= after.pixel_size_um <= high * (1 + 1e-9)


def test_scales_of_files(tmp_path: Path) -> None:
    paths = []
    for number, radius in enumerate((36, 38, 40, 42, 60)):
        paths.append(tmp_path / f"{number}.png")
        PillowImage.fromarray(cell(150, (75, 75), radius)).save(paths[-1])
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    folder = SingleCells([*paths, broken])
    scales = [folder.read(path).scale for path in paths]
    assert {s.source for s in scales} == {"folder"}
    assert scales[0].pixel_size_um == pytest.approx(WHITE_CELL_UM / 80, rel=0.08)
    with pytest.raises(InputError, match=r"broken\.png"):
        folder.read(broken)
    given_size = SingleCells([*paths, broken], 0.2)
    assert {given_size.read(path).scale for path in paths} == {Scale(0.2, "given")}
    with pytest.raises(InputError, match="pixel"):
        SingleCells(paths, 0.0)


def test_images_are_opened_once_unless_there_are_too_many_to_keep(tmp_path, monkeypatch) -> None:
    paths = []
    for number in range(5):
        paths.append(tmp_path / f"{number}.png")
        PillowImage.fromarray(cell(150, (75, 75), 40 + number)).save(paths[-1])
    opened: list[Path] = []
    mapped: list[int] = []

    def opening(path):
        opened.append(path)
        return open_image(path)

    def mapping(*given, **how):
        mapped.append(1)
        return background_map(*given, **how)

    monkeypatch.setattr(module, "open_image", opening)
    monkeypatch.setattr(module, "background_map", mapping)
    folder = SingleCells(paths)
    kept = [folder.read(path) for path in paths for _ in range(2)]
    assert all(one.mask is not None for one in kept)
    assert opened == paths
    assert len(mapped) == len(paths)
    monkeypatch.setattr(module, "KEPT_BYTES", 300_000)
    few = SingleCells(paths)
    for path, one in zip(paths, kept[::2], strict=True):
        again = few.read(path)
        assert again.scale == one.scale
        assert again.centre == one.centre
        np.testing.assert_array_equal(again.crop(32, 20.0), one.crop(32, 20.0))
    assert len(few._kept) < len(paths)


def test_images_without_empty_slide_take_the_background_of_the_others() -> None:
    light = np.array([[250, 230, 210], [251, 229, 208], [247, 226, 204], [252, 231, 211]])
    cells = np.array([[120, 60, 140], [180, 150, 190]])
    common = common_backgrounds(np.concatenate([light, cells]))
    np.testing.assert_array_equal(common[:4], light)
    assert (np.abs(common[4:] - [250, 229.5, 209]) < 2.5).all()
    np.testing.assert_array_equal(common_backgrounds(cells), cells)  # no folder to speak of
    yellow = np.concatenate([light, light, [[250, 230, 150]]])
    np.testing.assert_array_equal(common_backgrounds(yellow), yellow)  # darker in one colour only
    lamps = np.concatenate([light, light * 0.8, light * 0.6])
    np.testing.assert_allclose(common_backgrounds(lamps), lamps)  # no lamp is that of most images
    uneven = np.repeat([[250], [200], [150], [110], [80], [60], [45]], 3, axis=1)
    np.testing.assert_array_equal(common_backgrounds(uneven), uneven)  # no two agree
    assert common_backgrounds(np.zeros((0, 3))).shape == (0, 3)


@given(st.lists(st.tuples(*[st.integers(1, 255)] * 3), max_size=30))
def test_a_background_never_gets_darker(colours: list[tuple[int, int, int]]) -> None:
    before = np.reshape(colours, (-1, 3)).astype(float)
    after = common_backgrounds(before)
    changed = (after != before).any(axis=1)
    assert (after[changed].sum(axis=1) > 0).all()
    assert (np.log(after[changed] / before[changed]).max(axis=1, initial=1.0) > 0.1).all()


@needs_pbc
def test_the_background_of_real_tight_crops() -> None:
    found, true = [], []
    for name in ("neutrophil", "monocyte", "lymphocyte", "platelet"):
        for path in sorted((PBC / "val" / name).glob("*.jpg"))[:12]:
            rgb = open_image(path).rgb()
            true.append(estimate_background(rgb))
            found.append(estimate_background(np.ascontiguousarray(rgb[77:187, 77:187])))

    def wrong(colours: np.ndarray) -> float:
        return float((np.abs(np.log(colours / np.stack(true))).max(axis=1) > 0.06).mean())

    assert wrong(np.stack(found)) > 0.25
    assert wrong(common_backgrounds(np.stack(found))) < 0.06


@pytest.mark.parametrize("centre", [(64.0, 64.0), (30.0, 90.0), (85.0, 40.0)])
def test_the_cell_is_found_where_it_is(centre: tuple[float, float]) -> None:
    y, x = read(cell(129, centre, 22), 0.25).centre
    assert np.hypot(y - centre[0], x - centre[1]) < 8  # 2 um


def test_an_image_of_nothing_keeps_its_middle() -> None:
    nothing = read(np.full((40, 61, 3), 230, np.uint8), 0.1)
    assert nothing.centre == (19.5, 30.0)
    assert nothing.mask is None


def test_the_outline_is_that_of_the_watershed() -> None:
    """White cells are outlined alone, which changes nothing; a red cell is outlined too."""
    y, x = np.mgrid[:160, :160]
    rgb = cell(160, (80, 80), 30)
    rgb[np.hypot(y - 25, x - 30) < 18] = (210, 150, 140)
    for centre, image in (((80, 80), rgb), ((25, 30), np.roll(rgb, (55, 50), (0, 1)))):
        found = read(image, 0.2)
        labels = watershed(image, 0.2, background=found.light).labels
        assert found.mask is not None
        here = labels[tuple(round(v) for v in found.centre)]
        np.testing.assert_array_equal(found.mask, labels == here)
        assert centre != (80, 80) or found.mask.sum() == pytest.approx(np.pi * 30**2, rel=0.1)


@needs_pbc
def test_real_tight_crops_of_five_classes() -> None:
    """Without a red cell in sight, the median of a folder is within 15 % of PBC's 0.1 um."""
    scales = []
    for name in ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil"):
        for path in sorted((PBC / "val" / name).glob("*.jpg"))[:5]:
            rgb = np.asarray(PillowImage.open(path))[62:202, 62:202]
            scales.append(estimate_scale(np.ascontiguousarray(rgb)))
    assert common_scale(scales)[0].pixel_size_um == pytest.approx(0.1, rel=0.15)
