"""Cellpose for real: its own network class, only smaller, from a weights file to masks."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cellpose.core
import cellpose.models
import cellpose.vit
import numpy as np
import pytest
import torch
from cellpose import dynamics, transforms
from numpy.typing import NDArray
from segment_anything.modeling import ImageEncoderViT

from cytodiffusion.errors import Cancelled, DownloadNeeded, InputError, OutOfMemoryError
from cytodiffusion.segmentation import cellpose_weights as weights
from cytodiffusion.segmentation.cellpose import (
    MODELS,
    CellposeSegmenter,
    CellposeSettings,
    available_models,
    default_model,
    download_size,
    expected_seconds,
    weights_present,
)
from cytodiffusion.segmentation.cellpose import cellpose as run_cellpose
from cytodiffusion.settings import make_settings

PIXEL_SIZE = 7.5 / 30  # at which Cellpose does not rescale


def small_backbone(checkpoint: None) -> Any:
    encoder = ImageEncoderViT(
        embed_dim=192, depth=1, num_heads=2, mlp_ratio=1, out_chans=256, use_rel_pos=True
    )
    return SimpleNamespace(image_encoder=encoder)


@pytest.fixture(scope="module", autouse=True)
def small_network() -> Iterator[None]:
    """Let Cellpose build its network with a small backbone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cellpose.vit, "sam_model_registry", {"vit_l": small_backbone})
        yield


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Forbid the network and start with an empty folder of models; return that folder."""

    def refuse(*args: Any, **options: Any) -> None:
        raise OSError("the network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(folder))
    return folder


def discs() -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Return a 256 x 256 image of 36 cells and their labels."""
    rng = np.random.default_rng(0)
    y, x = np.indices((256, 256))
    labels = np.zeros((256, 256), np.int32)
    for number, (row, column) in enumerate(np.ndindex(6, 6), start=1):
        cy, cx = 24 + 42 * np.array([row, column]) + rng.integers(-4, 5, 2)
        labels[np.hypot(y - cy, x - cx) < 15] = number
    rgb = np.where(labels[..., None] > 0, (150, 60, 160), (240, 235, 240)).astype(np.uint8)
    return rgb, labels


@pytest.fixture(scope="module")
def trained(small_network: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of Cellpose's own network, its last layer fitted to the discs by least squares."""
    torch.manual_seed(0)
    net = cellpose.vit.CPSAM().eval()
    rgb, labels = discs()
    low, high = np.percentile(rgb, (1, 99), axis=(0, 1))
    flows = 5 * dynamics.labels_to_flows([labels])[0][-2:]
    inside = np.where(labels > 0, 6.0, -6.0)[None]
    # As the network will see them: with Cellpose's margin, in overlapping tiles
    both = np.concatenate([((rgb - low) / (high - low)).transpose(2, 0, 1), flows, inside])
    padded = np.pad(both, [(0, 0), (8, 8), (8, 8)]).astype(np.float32)
    tiles = torch.tensor(transforms.make_tiles(padded, bsize=256)[0]).reshape(-1, 6, 256, 256)
    seen: list[torch.Tensor] = []
    hook = net.out.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        net(tiles[:, :3])
        hook.remove()
        features = seen[0].permute(0, 2, 3, 1).flatten(0, 2)
        features = torch.cat([features, torch.ones(len(features), 1)], 1)
        wanted = torch.nn.functional.unfold(tiles[:, 3:], 8, stride=8).transpose(1, 2).flatten(0, 1)
        gram = features.T @ features + 0.1 * torch.eye(features.shape[1])
        fitted = torch.linalg.solve(gram, features.T @ wanted)
        net.out.weight.copy_(fitted[:-1].T[..., None, None])
        net.out.bias.copy_(fitted[-1])
    path = tmp_path_factory.mktemp("weights") / "discs"
    net.save_model(str(path))
    return path


@pytest.fixture
def random_weights(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    path = tmp_path / "random"
    cellpose.vit.CPSAM().save_model(str(path))
    return path


def matched(found: NDArray[np.int32], truth: NDArray[np.int32]) -> int:
    """Count cells of `truth` that a label of `found` covers at IoU 0.7 or better."""
    hits = 0
    for number in range(1, int(truth.max()) + 1):
        cell = truth == number
        label = np.bincount(found[cell]).argmax()
        other = found == label
        hits += bool(label) and (cell & other).sum() / (cell | other).sum() >= 0.7
    return hits


# ---- from pixels to masks


def test_from_weights_to_masks(trained: Path) -> None:
    rgb, truth = discs()
    found = run_cellpose(rgb, PIXEL_SIZE, trained, "cpu")
    assert matched(found.labels, truth) >= 34
    assert found.labels.dtype == np.int32
    assert set(np.unique(found.labels)) == set(range(found.n_cells + 1))
    assert found.method == "cellpose"
    assert found.pixel_size_source == "given"
    assert found.settings["model"] == str(trained)


def test_pixel_size_sets_the_scale(trained: Path) -> None:
    rgb, truth = discs()
    fine, fine_truth = (a.repeat(2, 0).repeat(2, 1) for a in (rgb, truth))
    segmenter = CellposeSegmenter(trained, "cpu")
    assert matched(segmenter(fine, PIXEL_SIZE / 2).labels, fine_truth) >= 34
    assert matched(segmenter(rgb, PIXEL_SIZE * 2).labels, truth) < 18


def test_pixel_size_is_estimated_when_missing(trained: Path) -> None:
    rgb, _ = discs()
    found = CellposeSegmenter(trained, "cpu")(rgb)
    assert found.pixel_size_source in ("estimated", "assumed")
    assert found.pixel_size_um > 0


def test_random_weights_go_through(random_weights: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (100, 300, 3), np.uint8)
    found = CellposeSegmenter(random_weights, "cpu")(rgb, PIXEL_SIZE)
    assert found.labels.shape == (100, 300)


def test_masks_follow_from_flows(random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb, truth = discs()
    segmenter = CellposeSegmenter(random_weights, "cpu")
    flows = dynamics.labels_to_flows([truth])[0]

    def perfect(*args: Any, **options: Any) -> Any:
        inside = np.where(truth > 0, 6.0, -6.0).astype(np.float32)
        return 5 * flows[-2:][:, None], inside[None], np.zeros(256)

    monkeypatch.setattr(segmenter._loaded, "_run_net", perfect)
    assert matched(segmenter(rgb, PIXEL_SIZE).labels, truth) == 36


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (1, 40), (16, 16)])
def test_tiny_images(random_weights: Path, shape: tuple[int, int]) -> None:
    flat = np.full((*shape, 3), 200, np.uint8)
    assert CellposeSegmenter(random_weights, "cpu")(flat, 0.1).labels.shape == shape


# ---- models and weights


def test_all_models_of_cellpose_are_known() -> None:
    assert set(cellpose.models.MODEL_NAMES) == set(MODELS)
    assert next(iter(MODELS)) == cellpose.models.MODEL_NAMES[0]
    assert all(name in available_models() for name in MODELS)


def test_models_added_in_cellposes_window(offline: Path, random_weights: Path) -> None:
    (offline / "gui_models.txt").write_text("marrow\n")
    assert "marrow" in available_models()
    with pytest.raises(InputError, match="marrow are missing"):
        CellposeSegmenter("marrow", "cpu")
    shutil.copy(random_weights, offline / "marrow")
    assert CellposeSegmenter("marrow", "cpu").model == "marrow"


def test_no_download_without_consent(offline: Path) -> None:
    assert not weights_present("cpsam_v2")
    assert download_size("cpsam_v2") > 1e9
    with pytest.raises(DownloadNeeded, match=r"cpsam_v2 .*1\.2 GB") as caught:
        run_cellpose(discs()[0], PIXEL_SIZE, "cpsam_v2", "cpu")
    assert str(offline) in str(caught.value)
    assert list(offline.iterdir()) == []


def test_offline_with_weights_present(offline: Path, random_weights: Path) -> None:
    shutil.copy(random_weights, offline / "cpsam")
    assert default_model() == "cpsam"
    assert download_size("cpsam") == 0
    assert CellposeSegmenter(device="cpu").model == "cpsam"


def test_offline_without_weights(offline: Path) -> None:
    with pytest.raises(InputError, match="could not be downloaded"):
        CellposeSegmenter("cpsam_v2", "cpu", allow_download=True)
    assert list(offline.iterdir()) == []


def test_a_missing_path_is_an_error(tmp_path: Path) -> None:
    for missing in ("nucleus", tmp_path / "none.pth"):
        with pytest.raises(InputError, match="no Cellpose model and no file"):
            run_cellpose(discs()[0], PIXEL_SIZE, missing, "cpu", allow_download=True)
    with pytest.raises(InputError, match="is a folder"):
        CellposeSegmenter(tmp_path, "cpu")


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("evil-was-here",)


@pytest.mark.parametrize("how", ["torch", "legacy", "pickle"])
def test_no_code_runs_out_of_a_weights_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pth"
    content = {"W2": torch.zeros(1), "encoder": Evil()}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(InputError, match="is not"):
        CellposeSegmenter(path, "cpu")
    assert not (tmp_path / "evil-was-here").exists()


def test_files_that_are_not_cellposes(tmp_path: Path, random_weights: Path) -> None:
    path = tmp_path / "other.pth"
    for content in (b"", b"not weights", b"PK\3\4 not a zip file"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is not a"):
            CellposeSegmenter(path, "cpu")
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(InputError, match="older models do not fit"):
        CellposeSegmenter(path, "cpu")
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="is not a file of Cellpose 4 weights"):
        CellposeSegmenter(path, "cpu")
    state = torch.load(random_weights, weights_only=True)
    torch.save({k: v for k, v in state.items() if "neck" not in k}, path)
    with pytest.raises(InputError, match="is incomplete"):
        CellposeSegmenter(path, "cpu")
    torch.save({**state, "out.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(InputError, match="does not fit"):
        CellposeSegmenter(path, "cpu")


def test_dino_models_say_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    found = "cytodiffusion.segmentation.cellpose.importlib.util.find_spec"
    monkeypatch.setattr(found, lambda name: None if name == "dinov3" else True)
    with pytest.raises(InputError, match="needs the package dinov3"):
        CellposeSegmenter("cpdino", "cpu", allow_download=True)


# ---- downloads


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in for the Hub; its answer can be changed by the test."""
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_000))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    answer = SimpleNamespace(location=source.as_uri(), size=3_000_000, etag=digest, source=source)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda url: answer)
    return answer


def test_download(hub: Any, offline: Path) -> None:
    seen: list[float] = []
    path = weights.fetch_weights(
        "cpsam", allow_download=True, progress=lambda fraction, message: seen.append(fraction)
    )
    assert path == offline / "cpsam"
    assert path.read_bytes() == hub.source.read_bytes()
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert [p.name for p in offline.iterdir()] == ["cpsam"]


@pytest.mark.parametrize(
    ("change", "words"), [({"etag": "0" * 64}, "damaged"), ({"size": 4_000_000}, "cut short")]
)
def test_bad_download_leaves_nothing(
    hub: Any, offline: Path, change: dict[str, Any], words: str
) -> None:
    vars(hub).update(change)
    with pytest.raises(InputError, match=words):
        weights.fetch_weights("cpsam", allow_download=True)
    assert list(offline.iterdir()) == []


def test_cancelled_download_leaves_nothing(hub: Any, offline: Path) -> None:
    with pytest.raises(Cancelled):
        weights.fetch_weights("cpsam", allow_download=True, progress=cancel)
    assert list(offline.iterdir()) == []


# ---- time, memory, progress


def cancel(fraction: float, message: str) -> None:
    raise Cancelled("Cancelled.")


def test_progress_rises_to_one(random_weights: Path) -> None:
    seen: list[float] = []
    rgb = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    run_cellpose(rgb, PIXEL_SIZE, random_weights, "cpu", progress=lambda f, message: seen.append(f))
    assert seen == sorted(seen)
    assert len(seen) > 4
    assert seen[-1] == 1.0


def test_cancel_within_the_network(random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = CellposeSegmenter(random_weights, "cpu")
    passes: list[int] = []
    forward = segmenter._loaded.net.out.forward
    monkeypatch.setattr(
        segmenter._loaded.net.out, "forward", lambda x: (passes.append(1), forward(x))[1]
    )
    with pytest.raises(Cancelled):
        segmenter(np.zeros((600, 600, 3), np.uint8), PIXEL_SIZE, cancel)
    assert passes == []
    segmenter(np.zeros((20, 20, 3), np.uint8), PIXEL_SIZE)  # and works afterwards
    assert passes == [1]


def starve(monkeypatch: pytest.MonkeyPatch, room_for: int) -> list[int]:
    """Make the device hold `room_for` tiles; return the batches that were tried."""
    tried: list[int] = []
    forward = cellpose.core._forward

    def limited(net: Any, x: NDArray[np.float32]) -> Any:
        tried.append(len(x))
        if len(x) > room_for:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return forward(net, x)

    monkeypatch.setattr(cellpose.core, "_forward", limited)
    return tried


def as_gpu(path: Path) -> CellposeSegmenter:
    segmenter = CellposeSegmenter(path, "cpu")
    segmenter.device = torch.device("cuda")  # only says how batches are made
    return segmenter


def test_smaller_batches_when_memory_is_full(
    random_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    plain = CellposeSegmenter(random_weights, "cpu")(rgb, PIXEL_SIZE).labels
    tried = starve(monkeypatch, room_for=2)
    np.testing.assert_array_equal(as_gpu(random_weights)(rgb, PIXEL_SIZE).labels, plain)
    assert tried == [4, 4, 2, 2]  # four tiles: batches of eight, four, two


def test_the_cpu_is_offered_at_last(random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starve(monkeypatch, room_for=0)
    with pytest.raises(OutOfMemoryError, match="choose the CPU") as caught:
        as_gpu(random_weights)(np.zeros((40, 40, 3), np.uint8), PIXEL_SIZE)
    assert not isinstance(caught.value, RuntimeError)


def test_no_memory_to_load(random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **options: Any) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(cellpose.models.CellposeModel, "__init__", full)
    with pytest.raises(OutOfMemoryError):
        CellposeSegmenter(random_weights, "cpu")


def test_expected_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert 30 < expected_seconds((480, 640), "cpu") < 90
    assert expected_seconds((960, 1280), "cpu") > 2.5 * expected_seconds((480, 640), "cpu")
    assert expected_seconds((480, 640), "cpu", pixel_size_um=0.1) < 20
    assert expected_seconds((480, 640), "cpu", model="cpdino") > 20


def test_unknown_device_and_settings(random_weights: Path) -> None:
    with pytest.raises(InputError):
        CellposeSegmenter(random_weights, "toaster")
    for wrong in ({"diameter_um": 0.0}, {"batch_size": 0}, {"min_area_um2": -1.0}):
        with pytest.raises(InputError):
            make_settings(CellposeSettings, wrong)


def test_names_are_known_without_importing_torch() -> None:
    code = (
        "import sys, cytodiffusion.segmentation.cellpose as c; c.available_models();"
        "assert 'torch' not in sys.modules and 'cellpose' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
