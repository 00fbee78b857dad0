"""What a user calls a model: classes behind a ``#``, and checkpoints of the Hub."""

from __future__ import annotations

import fnmatch
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from diffusers import DDPMScheduler
from huggingface_hub.errors import LocalEntryNotFoundError
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.cli import main
from cytodiffusion.errors import BundleError, DownloadNeeded
from cytodiffusion.model import load_bundle
from cytodiffusion.model.bundle_files import WEIGHTS
from cytodiffusion.model.files import split_classes
from cytodiffusion.model.loading import bundle_folder
from cytodiffusion.model.stable_diffusion import StableDiffusionSchedule
from cytodiffusion.model.testing import tiny_bundle, tiny_stable_diffusion, tiny_vae
from cytodiffusion.predict import load_classifier

NAMES = ["blue", "green", "red"]


def test_classes_are_named_behind_a_hash(tmp_path: Path) -> None:
    assert split_classes("owner/name") == ("owner/name", None)
    assert split_classes("owner/name#blue, light green") == ("owner/name", ["blue", "light green"])
    (tmp_path / "run#2").mkdir()
    assert split_classes(tmp_path / "run#2") == (tmp_path / "run#2", None)
    assert split_classes(f"{tmp_path}/run#2#a,b") == (f"{tmp_path}/run#2", ["a", "b"])


def test_a_bundle_names_its_classes_itself(tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "m", NAMES)
    assert bundle_folder(f"{folder}#a,b,c") == folder
    with pytest.raises(BundleError, match="names its classes itself"):
        load_bundle(f"{folder}#a,b,c", device="cpu")


class Hub:
    """Stands for the Hub: one repository, and a cache that is filled as files are fetched."""

    def __init__(self, repository: Path, cache: Path):
        self.repository = repository
        self.snapshot = cache / "0f3a"  # called by a commit, not by a name

    def __call__(self, name: str, *, allow_patterns: list[str], local_files_only: bool) -> str:
        assert name == "lab/cyto"
        if local_files_only and not self.snapshot.is_dir():
            raise LocalEntryNotFoundError("not in the cache")
        for path in self.repository.rglob("*"):
            inside = path.relative_to(self.repository).as_posix()
            if path.is_file() and any(fnmatch.fnmatch(inside, p) for p in allow_patterns):
                (self.snapshot / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, self.snapshot / inside)
        return str(self.snapshot)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """What the published code's pipeline saves: text parts and half precision, no classes."""
    folder = tmp_path / "repository"
    tiny_stable_diffusion(seed=1).unet.save_pretrained(folder / "unet", variant="fp16")
    tiny_vae().save_pretrained(folder / "vae", variant="fp16")
    DDPMScheduler(**StableDiffusionSchedule().to_config()).save_pretrained(folder / "scheduler")
    (folder / "text_encoder").mkdir()
    (folder / "text_encoder" / WEIGHTS).write_bytes(b"large")
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    made = Hub(folder, tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.snapshot_download", made)
    return made


def test_a_checkpoint_of_the_hub_is_loaded_with_its_classes(hub: Hub) -> None:
    named = f"lab/cyto#{','.join(NAMES)}"
    with pytest.raises(DownloadNeeded, match=r"lab/cyto is not on this machine"):
        load_classifier(named, "cpu")
    model = load_classifier(named, "cpu", allow_download=True)
    assert list(model.class_names) == NAMES
    assert (model.name, model.version, model.source) == ("cyto", "uncalibrated", named)
    fetched = {p.relative_to(hub.snapshot).as_posix() for p in hub.snapshot.rglob("*.*")}
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in fetched
    assert not {f for f in fetched if "text_encoder" in f or f.endswith(".bin")}
    assert load_classifier(named, "cpu").checksum == model.checksum  # from the cache
    with pytest.raises(BundleError, match=r"name them behind a #, such as MODEL#basophil"):
        load_classifier("lab/cyto", "cpu")


def test_the_command_line_takes_it(
    hub: Hub, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    named = f"lab/cyto#{','.join(NAMES)}"

    def run(*arguments: object) -> Any:
        with pytest.raises(SystemExit) as exited:
            main([*map(str, arguments), "--allow-download", "--json"])
        out, err = capfd.readouterr()
        assert not exited.value.code, err
        return json.loads(out), err

    record, _ = run("models", "inspect", named)
    assert [row["name"] for row in record["classes"]] == NAMES
    cells = write_discs(tmp_path / "data", {"test": 1}) / "test"
    table = tmp_path / "cells.csv"
    _, err = run(
        "classify", cells, "-o", table, "-m", named, "--pixel-size", PIXEL_SIZE_UM,
        "--trials", 1, "--device", "cpu",
    )  # fmt: skip
    assert "cyto has not been calibrated" in " ".join(err.split())
    assert [f"p_{name}" in pd.read_csv(table) for name in NAMES] == [True] * 3
