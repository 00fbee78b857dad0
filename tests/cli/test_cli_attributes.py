"""``cytodiffusion attributes`` and ``--level``: tables, truth, one sentence for what goes wrong."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from cytodiffusion.model.testing import DEFAULT_NAMES, TRAITS, tiny_bundle

QUICK = ("--pixel-size", 0.2, "--trials", 2)
SHAPES = set(TRAITS[0].values)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("m") / "tiny", traits=TRAITS)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return tiny_bundle(tmp_path_factory.mktemp("p") / "tiny")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    rng = np.random.default_rng(0)
    for number in range(12):
        image = np.full((100, 100, 3), 235, np.uint8)
        color = tuple(int(c) for c in rng.integers(30, 210, 3))
        cv2.circle(image, (50, 50), int(rng.integers(15, 35)), color, -1)
        cv2.imwrite(str(folder / f"cell{number}.png"), image)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    return folder


def test_one_row_an_image_with_every_attribute(run, model, images, tmp_path) -> None:
    out = tmp_path / "attributes.csv"
    code, said = run("attributes", images, "-o", out, "-m", model, *QUICK)
    assert code == 0, said
    assert said["cells"] == 12
    assert "broken.png" in said["skipped"][0]
    frame = pd.read_csv(out, keep_default_na=False)
    attributes = ["attr_nucleus_shape", "attr_granularity"]
    assert list(frame) == [
        *("path", "predicted", "confidence"),
        *(c for a in attributes for c in (a, f"{a}_confidence")),
    ]
    for trait, column in zip(TRAITS, attributes, strict=False):
        told = frame["predicted"].isin(trait.classes)
        assert set(frame[column][told]) <= set(trait.values)
        assert set(frame[column][~told]) <= {""}
        sure = frame[f"{column}_confidence"][told].astype(float)
        assert sure.between(1 / len(trait.values), 1).all()
    assert set(frame["attr_nucleus_shape"]) & SHAPES
    # as in the table of cells
    cells = tmp_path / "cells.csv"
    code, said = run("classify", images, "-o", cells, "-m", model, *QUICK)
    assert code == 0, said
    both = pd.read_csv(cells, keep_default_na=False)
    assert both[attributes].equals(frame[attributes])
    # one image alone has one row
    code, said = run("attributes", images / "cell3.png", "-o", out, "-m", model, *QUICK)
    assert (code, said["cells"]) == (0, 1)


def test_attributes_against_true_ones(run, model, images, tmp_path) -> None:
    out, table = tmp_path / "attributes.csv", tmp_path / "truth.csv"
    true = {f"cell{n}.png": ("round", "segmented")[n % 2] for n in range(10)}
    pd.DataFrame({"img_name": list(true), "nucleus_shape": list(true.values())}).to_csv(table)
    code, said = run("attributes", images, "-o", out, "-m", model, "--truth", table, *QUICK)
    assert code == 0, said
    frame = pd.read_csv(out, keep_default_na=False).assign(name=lambda f: f["path"].str[-9:])
    told = frame.set_index(frame["path"].str.rpartition("/")[2])["attr_nucleus_shape"]
    right, found = list(true.values()), [told[name] for name in true]
    expected = f1_score(right, found, labels=["round", "segmented"], average="macro")
    assert said["macro_f1"] == {"nucleus_shape": pytest.approx(expected)}
    assert said["mean_macro_f1"] == pytest.approx(expected)


def test_what_cannot_be_told_is_one_sentence(run, model, plain, images, tmp_path) -> None:
    out, table = tmp_path / "attributes.csv", tmp_path / "truth.csv"
    code, said = run("attributes", images, "-o", out, "-m", plain, *QUICK)
    assert code == 1
    assert "tells no attributes" in said["error"]
    for content, why in (
        ({"img_name": ["cell0.png"], "mood": ["good"]}, "no table of attributes"),
        ({"nucleus_shape": ["round"]}, "no table of attributes"),
        ({"img_name": ["other.png"], "nucleus_shape": ["round"]}, "names none of the"),
    ):
        pd.DataFrame(content).to_csv(table, index=False)
        one = images / "cell0.png"
        code, said = run("attributes", one, "-o", out, "-m", model, "--truth", table, *QUICK)
        assert code == 1
        assert why in said["error"]


def test_classes_of_the_fine_level(run, model, plain, images, tmp_path) -> None:
    out = tmp_path / "cells.csv"
    code, said = run("classify", images, "-o", out, "-m", model, "--level", "fine", *QUICK)
    assert code == 0, said
    frame = pd.read_csv(out)
    kinds = {"band neutrophil", "segmented neutrophil"}
    assert set(said["counts"]) == {*DEFAULT_NAMES, *kinds} - {"neutrophil"}
    assert sum(said["counts"].values()) == len(frame) == 12
    assert {f"p_{kind}" for kind in kinds} < set(frame)
    code, said = run("classify", images, "-o", out, "-m", plain, "--level", "fine", *QUICK)
    assert code == 0
    assert any("no finer classes" in note for note in said["notes"])
    assert "coarse" not in pd.read_csv(out)


def test_a_model_names_its_finer_classes_and_attributes(run, model, plain) -> None:
    _, said = run("models", "inspect", model)
    assert said["finer"] == {"neutrophil": ["band neutrophil", "segmented neutrophil"]}
    assert set(said["attributes"]) == {"nucleus_shape", "granularity"}
    _, said = run("models", "inspect", plain)
    assert said["finer"] == said["attributes"] == {}
