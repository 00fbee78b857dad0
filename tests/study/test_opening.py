"""An image of a study with all that is known of it; the names that a study has for classes."""

from __future__ import annotations

import numpy as np
import pytest
from studies import NAMES, FakeModel, fill, made_up, predictions, square_labels

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import InputError
from cytodiffusion.study.check import ImageCounts, image_counts
from cytodiffusion.study.opening import read_image


def classified(study, name="a.png", cells=6):
    """Keep a whole classification of the image, and return it."""
    posterior = np.random.default_rng(1).dirichlet(np.ones(len(NAMES)), cells)
    frame, settings = predictions(square_labels(cells), 1), ClassifySettings(trials=5)
    study.put_predictions(name, frame, FakeModel(), settings, made_up(posterior))
    return posterior


def test_an_image_is_read_with_all_that_is_known(make):
    study = make()
    posterior = classified(study)
    study.annotate([("a.png", 2), ("a.png", 3)], "monocyte", "Ada")
    study.annotate(("a.png", 3), "neutrophil", "Ben")
    opened = read_image(study, "a.png")
    assert opened.path.name == "a.png"
    np.testing.assert_array_equal(opened.labels, square_labels(6))
    np.testing.assert_allclose(opened.batch.result.posterior, posterior)
    assert opened.batch.crops.ids.tolist() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(opened.batch.crops.centroids[1], (2.5, 8.5))
    assert opened.said[3] == (("monocyte", "Ada"), ("neutrophil", "Ben"))
    assert opened.numbers[2] == study.cell("a.png", 2)
    assert opened.settings.trials == 5
    assert (opened.run.window_um, opened.run.model) == (20.0, "fake")


def test_without_a_model_there_are_cells_only(make):
    opened = read_image(make(), "a.png")
    assert opened.batch is None
    assert opened.run is None
    assert len(opened.numbers) == 6


def test_classes_have_the_names_of_the_study(make):
    study = make()
    classified(study)
    study.change_class("monocyte", new_name="macrophage", color="#123456")
    study.merge_classes("neutrophil", "lymphocyte")
    opened = read_image(study, "a.png")
    assert opened.batch.result.class_names == ("lymphocyte", "macrophage", "lymphocyte")
    assert [one.color for one in opened.classes] == ["#0072b2", "#123456", "#0072b2"]


def test_an_image_that_is_gone_is_a_sentence(make):
    study = make()
    study.image_path("a.png").unlink()
    with pytest.raises(InputError, match="no longer at"):
        read_image(study, "a.png")


def test_what_is_said_and_where_cells_are_can_be_asked_for(make, tmp_path):
    study = make()
    fill(study, tmp_path / "images" / "b.png", seed=2)
    study.annotate([("a.png", 1), ("b.png", 4)], "monocyte", "Ada")
    study.annotate(("b.png", 4), None, "Ada")
    one, other = study.cell("a.png", 1), study.cell("b.png", 4)
    assert study.said() == {one: (("monocyte", "Ada"),)}
    assert study.said(image="b.png") == {}
    assert study.said(cells=[one, other]) == study.said()
    assert study.places([one, other, 999]) == {one: ("a.png", 1), other: ("b.png", 4)}
    counts = [(row.name, row.cells, row.labelled) for row in image_counts(study)]
    assert counts == [("a.png", 6, 1), ("b.png", 6, 0)]
    assert isinstance(image_counts(study)[0], ImageCounts)


def test_of_very_many_cells_too(make):
    study = make(1200)
    cells = study.cells().index.tolist()
    study.annotate(cells, "monocyte", "Ada")
    assert len(study.said(cells=cells)) == 1200
