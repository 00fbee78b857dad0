"""The prior on the command line: what it changes, what is recorded, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture

from cytodiffusion.image.labels import write_labels_tif
from cytodiffusion.model.testing import tiny_bundle

Run = Callable[..., tuple[int, dict[str, Any]]]
NAMES = ("neutrophil", "lymphocyte", "immature granulocyte", "red cell")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("m") / "tiny", NAMES)


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with labels of six cells beside it, and each of them alone in a folder."""
    folder = tmp_path_factory.mktemp("field")
    rng = np.random.default_rng(0)
    image = np.full((120, 160, 3), 235, np.uint8)
    labels = np.zeros((120, 160), np.int32)
    for number in range(6):
        y, x = 20 + 50 * (number // 3), 25 + 50 * (number % 3)
        square = np.s_[y - 10 : y + 10, x - 10 : x + 10]
        image[square] = rng.integers(60, 220, (20, 20, 3))
        labels[square] = number + 1
    Picture.fromarray(image).save(folder / "field.png")
    write_labels_tif(folder / "labels.tif", labels, 0.5)
    (folder / "cells").mkdir()
    for number in range(6):
        y, x = 20 + 50 * (number // 3), 25 + 50 * (number % 3)
        part = image[max(y - 20, 0) : y + 20, x - 20 : x + 20]
        Picture.fromarray(part).save(folder / "cells" / f"{number}.png")
    return folder


@pytest.fixture
def classify(run: Run, model: Path, field: Path, tmp_path: Path) -> Run:
    def call(*more: object) -> tuple[int, dict[str, Any]]:
        return run(
            *("classify", field / "field.png", "--labels", field / "labels.tif"),
            *("-o", tmp_path / "cells.csv", "--model", model, "--device", "cpu"),
            *("--pixel-size", 0.5, "--error-rate", "none", "--trials", 1, *more),
        )

    return call


def table(tmp_path: Path) -> pd.DataFrame:
    return pd.read_csv(tmp_path / "cells.csv")


def test_fields_are_taken_for_normal_blood_unless_said_otherwise(
    classify: Run, tmp_path: Path
) -> None:
    code, told = classify()
    assert code == 0, told
    assert told["prior"]["name"] == "normal-blood"
    usual = table(tmp_path)
    code, told = classify("--prior", "even")
    assert code == 0, told
    assert told["prior"] == {"name": "even"}
    even = table(tmp_path)
    assert not even["by_prior"].any()
    rare = "p_immature granulocyte"
    assert (usual[rare] < even[rare]).all()
    np.testing.assert_allclose(usual["p_red cell"], even["p_red cell"])
    moved = usual["predicted"] != even["predicted"]
    assert usual["by_prior"].tolist() == moved.tolist()


def test_shares_alone_are_a_prior_of_ones_own(classify: Run, tmp_path: Path) -> None:
    code, told = classify("--prior-share", "lymphocyte=0.9", "--prior-share", "neutrophil=0.05")
    assert code == 0, told
    assert told["prior"]["name"] == "own"
    shares = told["prior"]["shares"]
    assert shares["lymphocyte"] == pytest.approx(0.9)
    assert shares["immature granulocyte"] == pytest.approx(0.05)
    own = table(tmp_path)
    assert classify("--prior", "even")[0] == 0
    even = table(tmp_path)
    odds, before = (t["p_lymphocyte"] / t["p_neutrophil"] for t in (own, even))
    np.testing.assert_allclose(odds / before, 0.9 / 0.05, rtol=1e-3)


def test_single_cells_are_taken_for_all_classes_alike(
    run: Run, model: Path, field: Path, tmp_path: Path
) -> None:
    asked = ("classify", field / "cells", "-o", tmp_path / "cells.csv", "--model", model)
    more = ("--device", "cpu", "--pixel-size", 0.5, "--error-rate", "none", "--trials", 1)
    code, told = run(*asked, *more)
    assert code == 0, told
    assert told["prior"] == {"name": "even"}
    code, told = run(*asked, *more, "--prior", "normal-blood")
    assert code == 0, told
    assert told["prior"]["name"] == "normal-blood"


def test_a_run_records_what_was_expected(
    run: Run, model: Path, field: Path, tmp_path: Path
) -> None:
    code, told = run(
        *("run", field / "field.png", "-o", tmp_path / "out", "--model", model, "--trials", 1),
        *("--device", "cpu", "--pixel-size", 0.5, "--method", "watershed", "--error-rate", "none"),
    )
    assert code == 0, told
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["prior"]["name"] == record["settings"]["prior"] == "normal-blood"
    assert sum(record["prior"]["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert record["results"]["by_prior"] == int(
        pd.read_csv(tmp_path / "out" / "cells.csv")["by_prior"].sum()
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--prior-share", "blast=0.5"), "no class of the model"),
        (("--prior-share", "red cell=0.5"), "nucleated cells"),
        (("--prior-share", "neutrophil"), "NAME=VALUE"),
        (("--prior", "own"), "needs shares"),
        (("--prior-share", "neutrophil=0.9", "--prior-share", "lymphocyte=0.9"), "more than 1"),
        (("--prior", "even", "--prior-share", "neutrophil=0.9"), "for the prior own"),
        (("--prior-share", "neutrophil=much"), "much"),
    ],
)
def test_what_cannot_be_expected_is_one_sentence(
    classify: Run, tmp_path: Path, more: tuple[object, ...], said: str
) -> None:
    code, told = classify(*more)
    assert code == 1
    assert said in told["error"]
    assert told["error"].endswith(".")
    assert not (tmp_path / "cells.csv").exists()
