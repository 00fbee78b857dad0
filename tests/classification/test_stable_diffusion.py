"""Stable Diffusion's network from the command line, wherever our own model goes."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image as Picture
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.cli import main
from cytodiffusion.files.atomic import sha256
from cytodiffusion.model.testing import tiny_bundle, tiny_stable_diffusion_bundle
from cytodiffusion.smear import SmearSettings, synthetic_smear

NAMES = ("blue", "green", "red")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Call the command line in this process: exit code, output, errors."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exited:
            main([str(a) for a in arguments])
        out, err = capfd.readouterr()
        return int(exited.value.code or 0), out, err

    return call


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data"), {"train": 4, "val": 3, "test": 3})


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_stable_diffusion_bundle(tmp_path_factory.mktemp("models") / "sd", NAMES)


@pytest.fixture
def checkpoint(bundle: Path, tmp_path: Path) -> Path:
    """What the published code leaves: the networks, and the names of the classes."""
    folder = tmp_path / "checkpoint"
    for part in ("unet", "vae", "scheduler"):
        shutil.copytree(bundle / part, folder / part)
    (folder / "classes.json").write_text(json.dumps(NAMES))
    return folder


def test_train_fine_tunes_what_init_names(
    run: Run, data: Path, bundle: Path, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    small = (
        "--set", "input_size=40", "--steps", 1, "--batch-size", 3, "--pixel-size", PIXEL_SIZE_UM,
        "--set", "duplicates=allow", "--device", "cpu", "--set", "mixup=0.3",
        "--set", "snr_gamma=4", "--set", "noise_offset=0.05",
    )  # fmt: skip
    asked = ("train", data, "-o", tmp_path / "m", "--kind", "stable-diffusion", *small)
    code, out, err = run(*asked, "--init", bundle, "--set", "lora=2", "--json")
    assert code == 0, err
    settings = json.loads(out)["settings"]
    assert (settings["lora"], settings["mixup"], settings["snr_gamma"]) == (2, 0.3, 4)
    assert settings["learning_rate"] == 1e-4  # that of adapters
    code, out, _ = run("models", "verify", tmp_path / "m", "--json")
    assert code == 0
    assert json.loads(out)["models"][0]["sound"] is True
    code, out, _ = run("models", "inspect", tmp_path / "m", "--json")
    assert code == 0
    assert [c["name"] for c in json.loads(out)["classes"]] == list(NAMES)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--kind", "stable-diffusion"), "init"),
        (("--kind", "stable-diffusion", "--init", "/no/such/folder"), "no model bundle"),
        (("--kind", "stable-diffusion", "--init", "default"), "no Stable Diffusion network"),
        (("--kind", "stable-diffusion", "--init", "owner/name"), "allow the download"),
        (("--set", "lora=4"), "stable-diffusion"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(
    run: Run, data: Path, tmp_path: Path, options: tuple[object, ...], words: str
) -> None:
    code, out, err = run("train", data, "-o", tmp_path / "m", *options)
    assert (code, out) == (1, "")
    assert words in " ".join(err.split())
    assert "Traceback" not in err


def test_adapters_without_peft(
    run: Run, data: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    asked = ("train", data, "-o", tmp_path / "m", "--kind", "stable-diffusion", "--init", bundle)
    code, _, err = run(*asked, "--set", "lora=4")
    assert code == 1
    assert "napari-cytodiffusion[lora]" in "".join(err.split())


def check(table: Path, key: str) -> pd.DataFrame:
    frame = pd.read_csv(table)
    assert key in frame
    assert set(frame["predicted"]) <= set(NAMES)
    assert frame[[f"p_{name}" for name in NAMES]].sum(axis=1).tolist() == pytest.approx(
        [1] * len(frame)
    )
    assert (frame["trials"] >= 1).all()
    return frame


def test_classify_a_folder(run: Run, data: Path, bundle: Path, tmp_path: Path) -> None:
    tables = []
    for batch in (2, 64):
        out = tmp_path / f"{batch}.csv"
        code, _, err = run(
            "classify", data / "test", "-o", out, "-m", bundle, "--pixel-size", PIXEL_SIZE_UM,
            "--trials", 4, "--batch-size", batch, "--device", "cpu",
        )  # fmt: skip
        assert code == 0, err
        tables.append(check(out, "path"))
    assert len(tables[0]) == 9
    assert tables[0]["predicted"].tolist() == tables[1]["predicted"].tolist()


def test_run_on_a_field(run: Run, bundle: Path, tmp_path: Path) -> None:
    smear = synthetic_smear(
        None,
        SmearSettings(height=160, width=208, pixel_size_um=0.2, n_white=3, n_platelets=2, seed=3),
    )
    Picture.fromarray(smear.rgb).save(tmp_path / "field.png")
    code, _, err = run(
        "run", tmp_path / "field.png", "-o", tmp_path / "out", "-m", bundle, "--trials", 2,
        "--pixel-size", 0.2, "--method", "watershed", "--device", "cpu",
    )  # fmt: skip
    assert code == 0, err
    assert len(check(tmp_path / "out" / "cells.csv", "label")) >= 3
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["model"]["name"] == "tiny stable diffusion"


def evaluate(run: Run, data: Path, model: Path, folder: Path, *more: Any) -> tuple[int, str, str]:
    return run(
        "evaluate", model, data, "-o", folder, "--pixel-size", PIXEL_SIZE_UM, "--device", "cpu",
        "--trials", 4, *more,
    )  # fmt: skip


def test_evaluate(run: Run, data: Path, bundle: Path, tmp_path: Path) -> None:
    code, _, err = evaluate(run, data, bundle, tmp_path / "report")
    assert code == 0, err
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["n"] == 9
    assert set(metrics["per_class"]) == set(NAMES)
    assert len(metrics["trials"]["points"]) == 4


def test_the_published_rule_is_for_no_other_network(run: Run, data: Path, tmp_path: Path) -> None:
    ours = tiny_bundle(tmp_path / "ours", NAMES)
    code, _, err = evaluate(run, data, ours, tmp_path / "report", "--set", "published_cells=4")
    assert code == 1
    assert "has not Stable Diffusion's network" in " ".join(err.split())


def test_no_copy_without_a_class_is_made_of_it(
    run: Run, data: Path, bundle: Path, tmp_path: Path
) -> None:
    tuned = Path(shutil.copytree(bundle, tmp_path / "tuned"))
    content = json.loads((tuned / "classes.json").read_text())
    content["training"] = {"kind": "stable-diffusion", "steps": 3}
    (tuned / "classes.json").write_text(json.dumps(content))
    sums = json.loads((tuned / "checksums.json").read_text())
    sums["classes.json"] = sha256(tuned / "classes.json")
    (tuned / "checksums.json").write_text(json.dumps(sums))
    code, _, err = evaluate(run, data, tuned, tmp_path / "report", "--leave-out", "red")
    assert code == 1
    assert "give it with --leave-out-model" in " ".join(err.split())


def test_a_checkpoint_of_the_published_code_goes_there_too(
    run: Run, data: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cells.csv"
    code, _, err = run(
        "classify", data / "test" / "red", "-o", out, "-m", checkpoint,
        "--pixel-size", PIXEL_SIZE_UM, "--trials", 1, "--device", "cpu",
    )  # fmt: skip
    assert code == 0, err
    assert not check(out, "path")["anomaly"].any()
