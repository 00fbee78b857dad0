"""The public face: lazy, complete, typed and documented in full."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import cv2
import docstring_parser
import numpy as np
import pytest

import cytodiffusion as cd
from cytodiffusion.model.testing import tiny_bundle

FUNCTIONS = [
    *("open_image", "segment", "load_model", "classify"),
    *("run", "explain", "explain_class", "generate", "evaluate"),
]
QUICK = {"trials": 2, "min_trials": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> cd.ModelBundle:
    loaded = cd.load_model(tiny_bundle(tmp_path_factory.mktemp("m") / "tiny"), device="cpu")
    assert isinstance(loaded, cd.ModelBundle)
    return loaded


@pytest.fixture
def smear() -> tuple[np.ndarray, np.ndarray]:
    """Nine discs and their labels."""
    image = np.full((72, 72, 3), 230, np.uint8)
    labels = np.zeros((72, 72), np.int32)
    for number in range(9):
        centre = (number % 3 * 24 + 12, number // 3 * 24 + 12)
        cv2.circle(image, centre, 7, (60 + 15 * number, 60, 200 - 15 * number), -1)
        cv2.circle(labels, centre, 7, number + 1, -1)
    return image, labels


def test_importing_it_imports_nothing_heavy() -> None:
    code = (
        "import sys, cytodiffusion as cd; cd.segment; cd.classify; dir(cd)\n"
        "heavy = {'torch', 'numpy', 'pandas', 'scipy', 'diffusers', 'skimage'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_name_is_there_and_listed() -> None:
    stub = ast.parse(Path(cd.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    declared = {
        alias.asname
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(FUNCTIONS) < declared
    assert declared == set(cd.__all__) == set(dir(cd))
    for name in cd.__all__:
        assert getattr(cd, name).__name__ == name
    with pytest.raises(AttributeError, match="nonsense"):
        cd.nonsense  # noqa: B018


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_is_documented(name: str) -> None:
    function = getattr(cd, name)
    documented = docstring_parser.parse(
        inspect.getdoc(function) or "", style=docstring_parser.DocstringStyle.NUMPYDOC
    )
    described = {part.arg_name.lstrip("*"): part.description for part in documented.params}
    assert list(described) == list(inspect.signature(function).parameters)
    assert all(text and text.strip() for text in described.values())
    assert documented.short_description
    assert documented.returns
    assert documented.returns.description
    assert documented.raises
    assert all(part.description for part in documented.raises)
    assert documented.examples
    raised = {part.type_name for part in documented.raises}
    assert raised <= set(cd.__all__)


def test_labels_may_come_from_anywhere(
    smear: tuple[np.ndarray, np.ndarray], model: cd.ModelBundle, tmp_path: Path
) -> None:
    from cytodiffusion.image.labels import write_labels_tif

    image, labels = smear
    file = write_labels_tif(tmp_path / "labels.tif", labels)
    found = cd.Segmentation(labels, 0.5, "given", "elsewhere")
    tables = [
        cd.classify(image, cells, model, pixel_size_um=0.5, **QUICK).table
        for cells in (labels, file, found)
    ]
    assert tables[0]["label"].tolist() == list(range(1, 10))
    assert tables[1].equals(tables[0])
    assert tables[2].equals(tables[0])
    own = cd.classify(image, found, model, **QUICK)
    assert own.record["pixel_size_um"] == 0.5  # the segmentation's


def test_single_cells_need_no_labels(model: cd.ModelBundle, tmp_path: Path) -> None:
    for number in range(3):
        cell = np.full((48, 48, 3), 235, np.uint8)
        cv2.circle(cell, (24, 24), 10, (180, 60, 90 + 30 * number), -1)
        cv2.imwrite(str(tmp_path / f"{number}.png"), cell)
    (tmp_path / "broken.png").write_bytes(b"no image")
    whole = cd.classify(tmp_path, model=model, pixel_size_um=0.4, **QUICK)
    assert len(whole.table) == 3
    assert len(whole.record["skipped"]) == 1
    some = cd.classify(sorted(tmp_path.glob("[0-9].png")), model=model, pixel_size_um=0.4, **QUICK)
    assert some.table["predicted"].equals(whole.table["predicted"])


def test_a_cell_is_explained_from_memory_as_from_files(
    smear: tuple[np.ndarray, np.ndarray], model: cd.ModelBundle, tmp_path: Path
) -> None:
    from cytodiffusion.counterfactual.explain import explain_cell
    from cytodiffusion.image.labels import write_labels_tif

    image, labels = smear
    cv2.imwrite(str(tmp_path / "image.png"), image[..., ::-1])
    write_labels_tif(tmp_path / "labels.tif", labels)
    why = cd.explain(image, labels, model, label=5, pixel_size_um=0.5, trials=16)
    same = explain_cell(
        tmp_path / "image.png",
        model,
        labels=tmp_path / "labels.tif",
        cell=5,
        pixel_size_um=0.5,
        settings=cd.HeatmapSettings(trials=16),
    )
    np.testing.assert_array_equal(why.heatmap.values, same.heatmap.values)
    assert why.record["cell"] == 5
    assert sorted(why.save(tmp_path / "why")) == sorted(same.save(tmp_path / "same"))


def test_the_cells_of_a_class_are_explained_together(
    smear: tuple[np.ndarray, np.ndarray], model: cd.ModelBundle, tmp_path: Path
) -> None:
    image, labels = smear
    alone = cd.classify(image, labels, model, pixel_size_um=0.5, alone=True)
    name = alone.table["predicted"].value_counts().index[0]
    found = cd.explain_class(
        image, name, labels, model, most=3, pixel_size_um=0.5, versions=2, progress=lambda *_: None
    )
    assert found.mean.cells == len(found.cells) == 3
    assert found.mean.heatmap.predicted_name == name
    assert found.sentence == found.mean.sentence
    files = found.save(tmp_path / "why")
    assert set(files) == {"mean.tif", "mean.png", "mean.json", *found.cells}
    with pytest.raises(cd.InputError, match="at least 3 cells"):
        cd.explain_class(image, name, labels * (labels == 1), model, pixel_size_um=0.5)


def test_an_evaluation_is_written_only_where_asked(disc_model: Path, tmp_path: Path) -> None:
    data = disc_model.parent / "data"
    quick = {"trial_cells": 0, "resamples": 10, "device": "cpu", "classify": QUICK}
    found = cd.evaluate(disc_model, data, **quick)
    assert found.metrics["balanced_accuracy"] > 0.9
    kept = cd.evaluate(cd.load_model(disc_model, device="cpu"), data, tmp_path / "r", **quick)
    assert (tmp_path / "r" / "report.html").is_file()
    assert kept.metrics["balanced_accuracy"] == found.metrics["balanced_accuracy"]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda image, labels, model: cd.classify(image, None, model), "Give the cells"),
        (lambda image, labels, model: cd.classify(image, labels / 2, model), "whole numbers"),
        (lambda image, labels, model: cd.classify(image, labels, model, trails=2), "trails"),
        (lambda image, labels, model: cd.classify("none", model=model), "no folder"),
        (lambda image, labels, model: cd.classify([], model=model), "no images"),
        (lambda image, labels, model: cd.explain(image, labels, model), "say which one"),
        (lambda image, labels, model: cd.explain(image, labels, model, label=99), "no cell 99"),
        (lambda image, labels, model: cd.explain(image, labels * 0, model), "no cells"),
        (lambda image, labels, model: cd.explain(image, None, model), "Give the cells"),
        (lambda image, labels, model: cd.generate({"unicorn": 1}, model), "unicorn"),
        (lambda image, labels, model: cd.segment(image, "magic"), "magic"),
        (lambda image, labels, model: cd.run("a.png", "out", model, method="magic"), "magic"),
        (lambda image, labels, model: cd.run("a.png", "out", model, pixel_size_um=-1), "pixel"),
        (lambda image, labels, model: cd.load_model("nowhere", device="toaster"), "toaster"),
        (
            lambda image, labels, model: cd.generate(
                {"neutrophil": 1}, model, towards="monocyte", share=2
            ),
            "share",
        ),
    ],
)
def test_bad_input_gets_one_sentence(call, sentence, smear, model) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(cd.InputError, match=sentence) as raised:
        call(*smear, model)
    assert "\n" not in str(raised.value)


def test_a_single_cell_is_explained_without_labels(model: cd.ModelBundle, tmp_path: Path) -> None:
    cell = np.full((48, 48, 3), 235, np.uint8)
    cv2.circle(cell, (24, 24), 10, (180, 60, 90), -1)
    cv2.imwrite(str(tmp_path / "cell.png"), cell)
    by_name = cd.explain(tmp_path / "cell.png", model=model, pixel_size_um=0.4, trials=16)
    opened = cd.open_image(tmp_path / "cell.png")
    as_image = cd.explain(opened, model=model, pixel_size_um=0.4, trials=16)
    np.testing.assert_array_equal(by_name.heatmap.values, as_image.heatmap.values)
