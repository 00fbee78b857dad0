from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as PillowImage

from cytodiffusion import segmentation
from cytodiffusion.errors import Cancelled, DownloadNeeded, InputError
from cytodiffusion.image.image import Image, open_image
from cytodiffusion.segmentation import Segmentation, choose_method, segment, tiling

PIXEL_SIZE = 0.15


@pytest.fixture(autouse=True)
def no_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(tmp_path / "models"))
    return tmp_path / "models"


def field(shape: tuple[int, int] = (320, 400), seed: int = 0) -> NDArray[np.uint8]:
    """Return a field of red cells of 7.5 um, and some that are cut by the border."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    image = np.full((*shape, 3), (235.0, 230.0, 235.0))
    radius, pitch = 3.75 / PIXEL_SIZE, 64
    for cy in range(30, shape[0], pitch):
        for cx in range(30, shape[1], pitch):
            away = np.hypot(y - cy - rng.integers(-4, 5), x - cx - rng.integers(-4, 5))
            image[away < radius] = (215, 165, 170)
    return (image + rng.normal(0, 2, image.shape)).clip(0, 255).astype(np.uint8)


def test_a_path_with_its_pixel_size(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tags = {"resolution": (1e4 / PIXEL_SIZE, 1e4 / PIXEL_SIZE), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, field(), photometric="rgb", **tags)
    found = segment(str(path))
    assert found.pixel_size_um == pytest.approx(PIXEL_SIZE, rel=1e-4)
    np.testing.assert_array_equal(found.labels, segment(open_image(path)).labels)


def test_the_smear_network_without_models_or_gpu() -> None:
    found = segment(field())
    assert isinstance(found, Segmentation)
    assert found.method == "network"
    assert found.labels.shape == (320, 400)
    assert found.labels.dtype == np.int32
    assert found.n_cells == 30
    assert found.pixel_size_source == "estimated"
    assert found.pixel_size_um == pytest.approx(PIXEL_SIZE, rel=0.2)


def test_every_kind_of_image_gives_the_same(tmp_path: Path) -> None:
    rgb = field()
    expected = segment(rgb, "watershed", PIXEL_SIZE).labels
    path = tmp_path / "field.png"
    PillowImage.fromarray(rgb).save(path)
    kinds: list[Any] = [
        da.from_array(rgb, chunks=(100, 100, 3)),
        [rgb, rgb[::2, ::2]],
        np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]),
        rgb.astype(np.uint16) * 257,
        open_image(path),
        Image((da.from_array(rgb), rgb[::4, ::4]), None, "lazy"),
    ]
    for image in kinds:
        np.testing.assert_array_equal(segment(image, "watershed", PIXEL_SIZE).labels, expected)


def test_pixel_size_of_the_image_is_used() -> None:
    image = Image((field(),), PIXEL_SIZE, "field")
    found = segment(image, "watershed")
    assert (found.pixel_size_um, found.pixel_size_source) == (PIXEL_SIZE, "file")
    assert segment(image, "watershed", 0.2).pixel_size_um == 0.2


def test_large_images_are_tiled(monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = field((500, 640))
    whole = segment(rgb, "watershed", PIXEL_SIZE)
    monkeypatch.setattr(tiling, "TILE_ABOVE_PIXELS", 1000)
    monkeypatch.setattr(tiling, "TILE", 420)
    monkeypatch.setattr(tiling, "OVERLAP_UM", 12.0)
    seen: list[float] = []
    tiled = segment(
        da.from_array(rgb), "watershed", PIXEL_SIZE, progress=lambda f, m: seen.append(f)
    )
    assert tiled.n_cells == whole.n_cells
    assert np.mean((tiled.labels > 0) == (whole.labels > 0)) > 0.95
    assert tiled.settings["tile"] == 420
    assert tiled.pixel_size_source == "given"
    assert tiled.kinds is not None
    assert len(tiled.kinds) == tiled.n_cells
    assert seen == sorted(seen)
    estimated = segment(rgb, "watershed")
    assert estimated.pixel_size_source == "estimated"


def test_auto_wants_weights_and_a_gpu(monkeypatch: pytest.MonkeyPatch, no_models: Path) -> None:
    from cytodiffusion import device

    assert choose_method("auto") == "network"
    no_models.mkdir()
    (no_models / "cpsam").write_bytes(b"weights")
    monkeypatch.setattr(device.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(device.torch.backends.mps, "is_available", lambda: False)
    assert choose_method("auto") == "network"
    monkeypatch.setattr(device.torch.cuda, "is_available", lambda: True)
    assert choose_method("auto") == "cellpose"
    assert choose_method("auto", model="cpsam_v2") == "network"
    assert choose_method("auto", device="cpu") == "network"


def test_a_missing_model_is_not_passed_over() -> None:
    for method in ("auto", "cellpose"):
        with pytest.raises(InputError, match="no Cellpose model and no file"):
            segment(field(), method, model="/nowhere/model.pth", device="cpu")


def test_cellpose_asks_before_it_downloads() -> None:
    with pytest.raises(DownloadNeeded):
        segment(field(), "cellpose", device="cpu")


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (np.zeros((0, 0, 3), np.uint8), {}, "no pixels"),
        (da.zeros((90_000, 90_000, 3), np.uint8), {}, "at once"),
        (np.zeros((9, 9, 3), np.uint8), {"method": "magic"}, "no method 'magic'"),
        (np.zeros((9, 9, 3), np.uint8), {"pixel_size_um": 0}, "pixel size"),
        (
            np.zeros((9, 9, 3), np.uint8),
            {"method": "watershed", "wobble": 1},
            "no setting 'wobble'",
        ),
    ],
)
def test_bad_input(image: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        segment(image, **options)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (7, 3)])
def test_tiny_images(shape: tuple[int, int]) -> None:
    assert segment(np.full((*shape, 3), 200, np.uint8)).labels.shape == shape


def test_cancel() -> None:
    def cancel(fraction: float, message: str) -> None:
        raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        segment(field(), progress=cancel)


def test_all_methods_are_named() -> None:
    assert segmentation.METHODS == ("auto", "network", "watershed", "cellpose")
