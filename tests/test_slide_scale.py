"""Images of one folder and size have one scale: the median of what their red cells measure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from cytodiffusion.slide_scale import (
    DIFFERS,
    SOURCE,
    OwnScale,
    SlideScale,
    own_scale,
    scale_beside,
    scale_of_pixels,
    slide_of,
    slide_scales,
)


def own(size: float, cells: int = 12, source: str = "estimated") -> OwnScale:
    return OwnScale(size, source, cells, (480, 640))


def certain(scales: list[SlideScale | None]) -> list[SlideScale]:
    assert all(scales)
    return [scale for scale in scales if scale is not None]


def test_all_images_get_the_median_and_the_odd_one_is_named() -> None:
    found = certain(slide_scales([own(0.075), own(0.047), own(0.08), own(0.07), own(0.078)]))
    assert {round(scale.pixel_size_um, 6) for scale in found} == {0.075}
    assert {scale.source for scale in found} == {SOURCE}
    assert [bool(scale.note) for scale in found] == [False, True, False, False, False]
    said = found[1].note
    assert "0.047" in said
    assert "4 others" in said
    assert "0.075 um was taken" in said
    assert found[1].own.pixel_size_um == 0.047


@pytest.mark.parametrize("size", [0.075 * DIFFERS * 0.99, 0.075 / DIFFERS * 1.01])
def test_a_small_difference_is_not_named(size: float) -> None:
    found = certain(slide_scales([own(0.075), own(0.075), own(0.075), own(size)]))
    assert not found[3].note


def test_few_red_cells_are_no_judges() -> None:
    found = certain(slide_scales([own(0.12, 4), own(0.12, 3), own(0.07), own(0.072), own(0.071)]))
    assert found[0].pixel_size_um == pytest.approx(0.071)
    assert found[0].images == 3
    assert found[0].note


def test_where_all_have_few_red_cells_they_judge_together() -> None:
    found = certain(slide_scales([own(0.07, 4), own(0.072, 3), own(0.071, 2)]))
    assert {round(scale.pixel_size_um, 6) for scale in found} == {0.071}


def test_assumed_takes_what_the_others_measure() -> None:
    found = slide_scales([own(0.1, 0, "assumed"), own(0.07), own(0.07)])
    first = found[0]
    assert first is not None
    assert (first.pixel_size_um, first.source) == (pytest.approx(0.07), SOURCE)
    assert "Too few red cells" in first.note
    assert "2 others" in first.note


def test_a_single_judge_speaks_for_those_without_red_cells() -> None:
    found = slide_scales([own(0.1, 0, "assumed"), own(0.07)])
    assert found[1] is None  # it goes by itself as ever
    assert found[0] is not None
    assert found[0].pixel_size_um == pytest.approx(0.07)


def test_nothing_to_go_by() -> None:
    assert slide_scales([]) == []
    assert slide_scales([own(0.07)]) == [None]
    assert slide_scales([own(0.1, 0, "assumed")] * 2) == [None, None]


def test_a_file_that_states_its_size_keeps_it_and_is_no_judge() -> None:
    found = slide_scales([own(0.2, 0, "file"), own(0.07), own(0.072)])
    assert found[0] is None
    assert found[1] is not None
    assert found[1].images == 2


def test_a_mixture_has_no_scale_and_that_is_said() -> None:
    mixed = [own(0.07), own(0.07), own(0.2), own(0.2)]
    found = certain(slide_scales(mixed))
    assert [scale.pixel_size_um for scale in found] == [0.07, 0.07, 0.2, 0.2]
    assert {scale.source for scale in found} == {"estimated"}
    assert all("from 0.07 to 0.2" in scale.note for scale in found)


def test_the_scale_of_an_earlier_run_stays_while_it_fits() -> None:
    images = [own(0.07), own(0.071), own(0.073)]
    assert certain(slide_scales(images, 0.0705))[0].pixel_size_um == 0.0705
    assert certain(slide_scales(images, 0.09))[0].pixel_size_um == pytest.approx(0.071)


def test_upright_and_lying_images_are_of_one_slide() -> None:
    folder = Path("a")
    assert slide_of(folder, (480, 640)) == slide_of(folder, (640, 480))
    assert slide_of(folder, (480, 640)) != slide_of(folder, (481, 640))
    assert slide_of(folder, (480, 640)) != slide_of(Path("b"), (480, 640))


def test_a_file_without_cells_is_assumed(tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    Picture.fromarray(np.full((100, 120, 3), 230, np.uint8)).save(path)
    found = own_scale(path)
    assert (found.source, found.shape, found.is_trusted) == ("assumed", (100, 120), False)


def test_the_scale_is_measured_as_the_method_does(monkeypatch: pytest.MonkeyPatch) -> None:
    from cytodiffusion.segmentation import network_scale
    from cytodiffusion.segmentation.scale import ScaleEstimate

    found = ScaleEstimate(0.123, "estimated", 9, 0.1)
    monkeypatch.setattr(network_scale, "field_scale", lambda rgb: found)
    rgb = np.full((40, 50, 3), 230, np.uint8)
    assert scale_of_pixels(rgb, (40, 50), "network").pixel_size_um == 0.123
    assert scale_of_pixels(rgb, (40, 50), "watershed").source == "assumed"
    assert scale_of_pixels(rgb, (40, 50), "cellpose").source == "assumed"


@pytest.mark.parametrize(
    ("size", "source", "asked"),
    [
        (0.08, "estimated", False),
        (0.047, "estimated", True),
        (0.1, "assumed", True),
        (0.3, "file", False),
    ],
)
def test_an_image_beside_others(size: float, source: str, asked: bool) -> None:
    found = scale_beside(own(size, source=source), [0.07, 0.075, 0.078])
    assert (found is not None) is asked
    if found is not None:
        assert found.pixel_size_um == pytest.approx(0.075)
        assert "3 other open images" in found.note
    assert scale_beside(own(size, source=source), []) is None


@pytest.mark.data
def test_fields_of_one_microscope(data_root: Path) -> None:
    """Of these one measures 0.112 by itself and another 0.065; the boxes say 0.073."""
    paths = sorted((data_root / "bccd" / "images").glob("*.jpg"))[:15]
    scales = [own_scale(path) for path in paths]
    assert max(s.pixel_size_um for s in scales) / min(s.pixel_size_um for s in scales) > 1.6
    found = certain(slide_scales(scales))
    assert len({scale.pixel_size_um for scale in found}) == 1
    assert found[0].pixel_size_um == pytest.approx(0.076, rel=0.1)
    named = [path.stem for path, scale in zip(paths, found, strict=True) if scale.note]
    assert named == ["BloodImage_00004"]
