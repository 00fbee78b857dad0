"""Outlines that were changed by hand: only what changed is classified, and nothing said is lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from studies import square_labels, write_image

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import InputError
from cytodiffusion.image.image import open_image
from cytodiffusion.model import load_bundle
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.study import Study, taking
from cytodiffusion.study.taking import OpenField, keep_field, take_over_outlines


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_bundle(tiny_bundle(tmp_path_factory.mktemp("bundle")), device="cpu")


@pytest.fixture
def study(tmp_path):
    with Study.create(tmp_path / "study") as made:
        yield made


def opened(tmp_path, cells=6, **other):
    labels = square_labels(cells)
    path = write_image(tmp_path / "images" / "a.png", labels)
    return OpenField("a.png", path, open_image(path).rgb(), labels, 0.5, **other)


def test_only_changed_outlines_are_classified(study, tmp_path, model, monkeypatch):
    settings = ClassifySettings(trials=1)
    field = opened(tmp_path)
    keep_field(study, field, None, "Ada")
    first = take_over_outlines(study, "a.png", field.labels, model, settings)
    assert (first.changes.kept, first.classified) == ((1, 2, 3, 4, 5, 6), 6)
    study.annotate([("a.png", 1), ("a.png", 2), ("a.png", 6)], model.class_names[0], "Ada")
    before = study.cells().set_index("label")
    labels = field.labels.copy()
    labels[labels == 2] = 0
    labels[1:5, 7:10] = 2  # one column less
    labels[labels == 6] = 0  # gone
    labels[0, 0] = 9  # new
    seen = []
    real = taking.iter_classify_labels

    def spy(*args, **how):
        for batch in real(*args, **how):
            seen.append(batch)
            yield batch

    monkeypatch.setattr(taking, "iter_classify_labels", spy)
    taken = take_over_outlines(study, "a.png", labels, model, settings)
    assert (taken.changes.changed, taken.changes.added, taken.changes.gone) == ((2,), (9,), (6,))
    assert taken.classified == 2
    assert taken.sentences == [
        "Cells taken over: 1 changed, 1 new, 1 gone.",
        "1 cell that is gone had a class from people: it is kept in the study, but in no table.",
    ]
    after = study.cells().set_index("label")
    assert sorted(after.index) == [1, 2, 3, 4, 5, 9]
    assert (after["predicted"] != "").all()
    assert after.loc[[1, 2], "human"].tolist() == [model.class_names[0]] * 2
    assert after.loc[3, "confidence"] == pytest.approx(before.loc[3, "confidence"])
    assert after.loc[2, "area_um2"] < before.loc[2, "area_um2"]
    # and all of it can be opened again
    numbers, result = study.classification("a.png")
    assert len(numbers) == len(result) == 6


def test_pixels_that_are_in_no_file_are_written(study, tmp_path):
    field = opened(tmp_path)
    assert not keep_field(study, field, None, "Ada").written
    for number, path in enumerate((None, tmp_path / "nowhere.png", field.path)):
        pixels = field.pixels.copy()
        pixels[0, 0] = number  # not what the file has
        other = replace(field, name="odd: name", path=path, pixels=pixels)
        kept = keep_field(study, other, None, "Ada")
        assert kept.written
        assert study.image_path(kept.image.name).parent == study.folder / "images"
    assert len(study.images()) == 4


def test_what_was_said_is_kept_once(study, tmp_path):
    field = opened(tmp_path, said={1: ("blast", "Bob"), 2: ("monocyte", ""), 77: ("lost", "Bob")})
    for _ in range(2):
        assert keep_field(study, field, None, "Ada").said == 2
    table = study.annotations()
    assert table[["label", "observer", "class"]].to_numpy().tolist() == [
        [1, "Bob", "blast"],
        [2, "Ada", "monocyte"],
    ]


def test_an_image_that_is_there_gets_the_outlines_that_are_open(study, tmp_path):
    field = opened(tmp_path)
    keep_field(study, field, None, "Ada")
    study.annotate(("a.png", 3), study.add_class("blast").name, "Ada")
    labels = field.labels.copy()
    labels[labels == 3] = 30
    labels[labels == 5] = 0
    kept = keep_field(study, replace(field, labels=labels), None, "Ada")
    assert (len(study.images()), kept.cells) == (1, 5)
    table = study.cells().set_index("label")
    assert table.loc[30, "human"] == "blast"
    np.testing.assert_array_equal(study.labels("a.png"), labels)


def test_labels_without_cells_are_a_sentence(study, tmp_path):
    field = opened(tmp_path)
    with pytest.raises(InputError, match=r"no cells in the labels of a\.png: segment it first"):
        keep_field(study, replace(field, labels=np.zeros_like(field.labels)), None, "Ada")
    assert study.images() == []
