"""Bundles: round trip, and one sentence for every way to be broken."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cytodiffusion.errors import BundleError, DownloadNeeded
from cytodiffusion.model import UNetDenoiser, bundle_files, load_bundle, save_bundle, saving
from cytodiffusion.model.bundle_files import CHECKSUMS, FILES, WEIGHTS
from cytodiffusion.model.files import file_checksum
from cytodiffusion.model.testing import tiny_bundle

NAMES = ("lymphocyte", "neutrophil", "platelet")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("bundles") / "whole", NAMES)


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def sign(folder: Path) -> None:
    """Make the checksums right again after a change."""
    sums = {name: file_checksum(folder / name) for name in FILES}
    (folder / CHECKSUMS).write_text(json.dumps(sums))


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    sign(path.parent)


def sentence(source: str | Path, **options: Any) -> str:
    """The error of loading ``source``: one sentence, one line."""
    with pytest.raises(BundleError) as caught:
        load_bundle(source, device="cpu", **options)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def test_a_bundle_comes_back_as_it_was_saved(whole: Path) -> None:
    model = load_bundle(whole, device="cpu")
    assert model.class_names == NAMES
    assert (model.input_size, model.window_um, model.disc_radius) == (32, 20.0, 0.42)
    assert len(model.checksum) == 64
    assert "Random weights" in model.card
    assert model.source == str(whole)
    assert not model.denoiser.training
    assert model.record()["sha256"] == model.checksum
    assert sum(p.stat().st_size for p in whole.iterdir()) < 200_000
    assert {p.name for p in whole.iterdir()} == {*FILES, CHECKSUMS}
    assert (whole / "card.md").stat().st_mode & 0o044


def test_half_precision_is_stored_and_full_comes_back(whole: Path, tmp_path: Path) -> None:
    model = load_bundle(whole, device="cpu")
    folder = resave(model, tmp_path / "half")
    stored = load_file(folder / WEIGHTS)
    assert {v.dtype for v in stored.values()} == {torch.float16}
    again = load_bundle(folder, device="cpu")
    for name, value in model.denoiser.state_dict().items():
        found = again.denoiser.state_dict()[name]
        assert found.dtype == torch.float32
        assert torch.equal(found, value.half().float())
    plain = UNetDenoiser.from_pretrained(folder)
    assert plain.num_classes == len(NAMES)


def resave(model: Any, folder: Path) -> Path:
    return save_bundle(folder, replace(model, name="again", version="1", card="# again\n"))


@pytest.mark.parametrize("name", [*FILES, CHECKSUMS])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    assert name in sentence(copy)


@pytest.mark.parametrize("name", FILES)
def test_an_altered_file_is_named(copy: Path, name: str) -> None:
    with (copy / name).open("ab") as stream:
        stream.write(b" ")
    text = sentence(copy)
    assert name in text
    assert "checksum" in text


class Trap:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("name", [WEIGHTS, "calibration.safetensors"])
@pytest.mark.parametrize("kind", ["pickle", "torch", "truncated"])
def test_a_pickle_in_disguise_is_never_executed(
    copy: Path, tmp_path: Path, name: str, kind: str
) -> None:
    trace = tmp_path / "executed"
    if kind == "pickle":
        (copy / name).write_bytes(pickle.dumps(Trap(trace)))
    elif kind == "torch":
        torch.save({"weight": Trap(trace)}, copy / name)
    else:
        (copy / name).write_bytes((copy / name).read_bytes()[:-7])
    sign(copy)
    assert "not a safetensors file" in sentence(copy)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["config.json", "classes.json", "calibration.json", CHECKSUMS])
@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[]", b"3"])
def test_what_is_not_json_is_told(copy: Path, name: str, content: bytes) -> None:
    (copy / name).write_bytes(content)
    if name != CHECKSUMS:
        sign(copy)
    text = sentence(copy)
    assert name in text
    assert "JSON" in text


def test_weights_of_another_shape_are_told(copy: Path) -> None:
    tensors = load_file(copy / WEIGHTS)
    tensors["conv_in.bias"] = torch.zeros(3)
    save_file(tensors, copy / WEIGHTS)
    sign(copy)
    assert "conv_in.bias" in sentence(copy)
    del tensors["conv_in.bias"]
    save_file(tensors, copy / WEIGHTS)
    sign(copy)
    assert "conv_in.bias" in sentence(copy)


def test_weights_that_are_no_numbers_are_told(copy: Path) -> None:
    tensors = load_file(copy / WEIGHTS)
    tensors["conv_in.bias"][0] = float("nan")
    save_file(tensors, copy / WEIGHTS)
    sign(copy)
    assert "conv_in.bias" in sentence(copy)


def test_another_kind_of_network_is_told(copy: Path) -> None:
    edit(copy / "config.json", lambda c: c.update(_class_name="OtherNet"))
    assert "OtherNet" in sentence(copy)


def test_files_that_may_not_be_read_are_told(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(bundle_files, "file_checksum", refuse)
    assert "cannot be read" in sentence(copy)


@pytest.mark.skipif(os.name == "nt", reason="files have other permissions there")
def test_all_files_of_a_bundle_may_be_read_alike(whole: Path) -> None:
    modes = {(whole / name).stat().st_mode for name in (*FILES, CHECKSUMS)}
    assert len(modes) == 1


def test_another_number_of_classes_is_told(copy: Path) -> None:
    edit(copy / "classes.json", lambda c: c["classes"].pop())
    assert "names 2 classes, but its network has 3" in sentence(copy)


CHANGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "twice": lambda c: c["classes"][0].update(name="platelet"),
    "bar": lambda c: c["classes"][0].update(name="a|b"),
    "colour": lambda c: c["classes"][0].update(color="blue"),
    "list": lambda c: c.update(classes=["a", "b", "c"]),
    "entry": lambda c: c["classes"][0].update(surprise=1),
    "none": lambda c: c.update(classes=[]),
    "codec": lambda c: c.update(codec="pixel"),
    "kind": lambda c: c["codec"].update(kind="vae"),
    "patch": lambda c: c["codec"].update(patch=0),
    "window": lambda c: c.update(window_um=None),
    "zero": lambda c: c.update(window_um=0),
    "missing": lambda c: c.pop("disc_radius"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_odd_classes_are_told(copy: Path, change: str) -> None:
    edit(copy / "classes.json", CHANGES[change])
    assert "classes.json" in sentence(copy)


def test_another_format_is_told(copy: Path) -> None:
    edit(copy / "classes.json", lambda c: c.update(format=2))
    assert "format 2" in sentence(copy)


@pytest.mark.parametrize("codec", [{"patch": 8}, {"size": 36}])
def test_a_codec_that_does_not_fit_the_network_is_told(copy: Path, codec: dict[str, int]) -> None:
    edit(copy / "classes.json", lambda c: c["codec"].update(codec))
    assert "codec" in sentence(copy)


@pytest.mark.parametrize(
    "change",
    [{"widths": [8]}, {"widths": [7, 9]}, {"widths": []}, {"widths": "ab"}, {"num_classes": -1}],
)
def test_an_impossible_network_is_told(copy: Path, change: dict[str, Any]) -> None:
    edit(copy / "config.json", lambda c: c.update(change))
    assert "network" in (text := sentence(copy)) or "config.json" in text


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0},
        {"temperature": None},
        {"levels": []},
        {"levels": 7},
        {"embedding_mean": 1.0},
        {"surprise": 1},
    ],
)
def test_an_odd_calibration_is_told(copy: Path, change: dict[str, Any]) -> None:
    def apply(content: dict[str, Any]) -> None:
        content.update(change)

    if "embedding_mean" in change:
        tensors = load_file(copy / "calibration.safetensors")
        del tensors["embedding_mean"]
        save_file(tensors, copy / "calibration.safetensors")
    edit(copy / "calibration.json", apply)
    assert "calibration" in sentence(copy)


def test_a_calibration_without_early_thresholds_uses_the_one_it_has(copy: Path) -> None:
    edit(copy / "calibration.json", lambda c: c.pop("early_thresholds"))
    assert load_bundle(copy, device="cpu").calibration.threshold(1) == 5.0


def test_a_calibration_of_other_classes_is_told(copy: Path) -> None:
    tensors = load_file(copy / "calibration.safetensors")
    tensors["class_means"] = torch.zeros(7, 16)
    save_file(tensors, copy / "calibration.safetensors")
    sign(copy)
    assert "class_means" in sentence(copy)


def test_a_card_in_another_encoding_does_not_matter(copy: Path) -> None:
    (copy / "card.md").write_bytes("# Zürich".encode("latin-1"))
    sign(copy)
    assert load_bundle(copy, device="cpu").card.startswith("# Z")


@pytest.mark.parametrize("source", ["nowhere/at/all", "./nowhere", "nowhere", "/a/b"])
def test_a_folder_that_is_not_there_is_told(source: str) -> None:
    assert "no model bundle" in sentence(source)


def test_a_file_is_no_bundle(tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.touch()
    assert "no model bundle" in sentence(file)


def test_an_empty_folder_is_no_bundle(tmp_path: Path) -> None:
    assert "lacks config.json" in sentence(tmp_path)


def test_the_hub_is_asked_only_when_allowed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DownloadNeeded, match="owner/name"):
        load_bundle("owner/name", device="cpu")


def test_an_unreachable_hub_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    def fail(*args: object, **kwargs: object) -> None:
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    assert "could not be reached" in sentence("owner/name", allow_download=True)


def test_a_bundle_of_the_hub_is_loaded_from_its_cache(
    monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **k: str(whole))
    assert load_bundle("owner/name", device="cpu").source == "owner/name"


def test_a_failed_save_leaves_the_old_bundle(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_bundle(copy, device="cpu")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "save_file", full)
    with pytest.raises(BundleError, match="No space left"):
        resave(before, copy)
    assert load_bundle(copy, device="cpu").checksum == before.checksum
    assert [p.name for p in copy.parent.iterdir()] == [copy.name]


def test_a_save_that_cannot_move_puts_the_old_bundle_back(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_bundle(copy, device="cpu")
    replace = os.replace

    def clumsy(source: Path, target: Path) -> None:
        if Path(target) == copy and not str(source).endswith(".old"):
            raise OSError(13, "Permission denied")
        replace(source, target)

    monkeypatch.setattr(saving.os, "replace", clumsy)
    with pytest.raises(BundleError, match="Permission denied"):
        resave(before, copy)
    assert load_bundle(copy, device="cpu").checksum == before.checksum


def test_a_bundle_replaces_a_bundle(copy: Path) -> None:
    before = load_bundle(copy, device="cpu")
    resave(before, copy)
    assert load_bundle(copy, device="cpu").name == "again"
    assert [p.name for p in copy.parent.iterdir()] == [copy.name]


def test_a_bundle_never_replaces_other_files(copy: Path, tmp_path: Path) -> None:
    model = load_bundle(copy, device="cpu")
    precious = tmp_path / "slides" / "patient.tif"
    precious.parent.mkdir()
    precious.touch()
    with pytest.raises(BundleError, match=r"patient\.tif"):
        resave(model, precious.parent)
    with pytest.raises(BundleError, match="not a folder"):
        resave(model, precious)
    assert precious.exists()
    with pytest.raises(BundleError, match="new folder"):
        resave(model, Path("."))
