"""A new version of a model from the labels of a study."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from teachable import add_classified, annotate, teachable_bundle, truth_of
from typer.testing import CliRunner

from cytodiffusion.classification.classifier import classify
from cytodiffusion.classification.prior import prior_for
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.classification.slide_correction import adjust
from cytodiffusion.cli.app import app
from cytodiffusion.errors import BundleError, Cancelled, InputError
from cytodiffusion.generation.order import class_of
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.taught_head import WEIGHTS
from cytodiffusion.model.testing import tiny_slide_distance
from cytodiffusion.study import Study
from cytodiffusion.teaching import (
    TeachSettings,
    discard_version,
    keep_version,
    kept_version,
    next_version,
    teach,
    versions_of,
)
from cytodiffusion.teaching.head import fit_head, logits_of, rehearsal_cells


def test_a_new_class_is_learnt_and_the_others_stay(
    study: Study, model: ModelBundle, tmp_path: Path
) -> None:
    done = teach(study, tmp_path / "taught", model)

    assert done.before.balanced_accuracy <= 0.75
    assert done.after.accuracy > 0.95
    assert done.after.confusion[3, 3] == done.labelled.tried["blast"]
    assert [point["cells"] for point in done.curve] == sorted({p["cells"] for p in done.curve})
    made = load_bundle(done.folder, device="cpu")
    assert made.class_names == (*model.class_names, "blast")
    assert made.version.endswith("+taught.1")
    assert made.training["teaching"]["parent"]["sha256"] == model.checksum
    assert made.head is not None
    held = done.labelled.keys[done.labelled.held_back]
    assert not np.isin(made.head.cells.keys, held).any()
    old = rehearsal_cells(model, 0)
    said = logits_of(made.head, old, made).argmax(axis=1)
    assert (said == old.classes).mean() > 0.98
    assert made.untaught.record() | {"source": ""} == model.record() | {"source": ""}
    assert "+taught.1" in made.card or "Version 1" in made.card


def test_without_rehearsal_it_would_forget(study: Study, model: ModelBundle) -> None:
    from cytodiffusion.teaching import survey
    from cytodiffusion.teaching.evidence import cells_of

    labelled = survey(study, model)
    whole, _ = cells_of(study, labelled, model, 0)
    blasts = whole[whole.classes == 3]
    old = rehearsal_cells(model, 0)
    right = []
    for weight in (50.0, 0.0):
        head = fit_head(blasts, model, 4, rehearsal=weight)
        right.append((logits_of(head, old, model).argmax(axis=1) == old.classes).mean())
    assert right[0] > 0.95 > right[1]


def test_a_taught_model_classifies_like_any_other(
    study: Study, model: ModelBundle, tmp_path: Path
) -> None:
    made = load_bundle(teach(study, tmp_path / "taught", model).folder, device="cpu")
    pixels = np.random.default_rng(0).integers(0, 255, (20, 32, 32, 3)).astype(np.uint8)

    result = classify(pixels, made)
    assert result.posterior.shape == (20, 4)
    assert np.allclose(result.posterior.sum(axis=1), 1)
    assert result.class_names == made.class_names
    assert list(result.to_frame().filter(like="p_").columns)[-1] == "p_blast"

    far = replace(made, slide_distance=tiny_slide_distance(3))
    once = adjust(result, far)
    assert once.slide_distance is not None
    twice = adjust(once, far)
    assert np.allclose(once.posterior, twice.posterior)
    assert np.allclose(once.anomaly_score, twice.anomaly_score)


def test_normal_blood_says_nothing_of_taught_classes(
    study: Study, model: ModelBundle, tmp_path: Path
) -> None:
    made = load_bundle(teach(study, tmp_path / "taught", model).folder, device="cpu")
    prior = prior_for(made, ClassifySettings(prior="normal-blood"))

    assert prior is not None
    even = np.full((1, 4), 0.25)
    assert prior.applied(even)[0, 3] == pytest.approx(0.25)
    assert prior.applied(even)[0, :3].argmax() == made.class_names.index("neutrophil")


def test_a_network_draws_no_class_it_was_taught_later(
    study: Study, model: ModelBundle, tmp_path: Path
) -> None:
    made = load_bundle(teach(study, tmp_path / "taught", model).folder, device="cpu")

    with pytest.raises(InputError, match="draws no 'blast'"):
        class_of(made, "blast")


def test_the_next_teaching_forgets_nothing_of_other_studies(
    study: Study, model: ModelBundle, tmp_path: Path
) -> None:
    first = load_bundle(teach(study, tmp_path / "v1", model).folder, device="cpu")
    with Study.create(tmp_path / "second") as other:
        truth = truth_of(60, 0, 1)
        cells = add_classified(other, tmp_path / "images" / "b.png", model, truth, seed=1)
        annotate(other, cells[:30], truth[:30])
        done = teach(other, tmp_path / "v2", first)

    second = load_bundle(done.folder, device="cpu")
    assert second.class_names == first.class_names
    assert second.version.endswith("+taught.2")
    assert first.head is not None
    assert second.head is not None
    assert set(first.head.cells.keys) < set(second.head.cells.keys)
    blasts = first.head.cells[first.head.cells.classes == 3]
    assert (logits_of(second.head, blasts, second).argmax(axis=1) == 3).mean() > 0.9


def test_the_same_seed_makes_the_same_model(
    study: Study, model: ModelBundle, tmp_path: Path
) -> None:
    heads = []
    for name in ("a", "b"):
        made = load_bundle(teach(study, tmp_path / name, model).folder, device="cpu")
        assert made.head is not None
        heads.append(made.head)
    assert np.array_equal(heads[0].weights, heads[1].weights)


def test_cancelled_teaching_leaves_nothing(
    study: Study, model: ModelBundle, tmp_path: Path
) -> None:
    def stop(share: float, message: str) -> None:
        if share > 0.8:
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        teach(study, tmp_path / "taught", model, progress=stop)
    assert not (tmp_path / "taught").exists()


def test_cells_that_the_model_never_saw_are_classified_first(
    study: Study, model: ModelBundle, tmp_path: Path
) -> None:
    other = teachable_bundle(tmp_path / "other")
    other = replace(other, checksum="another", version="2")
    before = study.runs()[0]

    teach(study, tmp_path / "taught", other, TeachSettings(held_back=0))

    assert {run.sha256 for run in study.runs()} == {model.checksum, "another"}
    assert study.runs()[0] == replace(before, used=study.runs()[0].used)

    (tmp_path / "images" / "a.png").unlink()
    with pytest.raises(InputError, match=r"a\.png"):
        teach(study, tmp_path / "again", replace(other, checksum="a third"))


def test_models_that_cannot_be_taught(study: Study, model: ModelBundle, tmp_path: Path) -> None:
    bare = replace(model, calibration=replace(model.calibration, class_statistics=None))
    with pytest.raises(InputError, match="keeps nothing of the cells it was trained on"):
        teach(study, tmp_path / "taught", bare)
    with pytest.raises(InputError, match="is a baseline"):
        teach(study, tmp_path / "taught", object())  # type: ignore[arg-type]


def test_a_damaged_head_is_refused(study: Study, model: ModelBundle, tmp_path: Path) -> None:
    folder = teach(study, tmp_path / "taught", model).folder
    (folder / WEIGHTS).write_bytes(b"no tensors")

    with pytest.raises(BundleError, match="wrong checksum"):
        load_bundle(folder, device="cpu")


def test_versions_are_kept_discarded_and_gone_back_to(study: Study, model: ModelBundle) -> None:
    for expected in (1, 2):
        number, folder = next_version(study)
        assert number == expected
        teach(study, folder, model, number=number)
    assert [version.number for version in versions_of(study)] == [1, 2]
    assert kept_version(study) is None

    keep_version(study, 2)
    keep_version(study, 1)
    kept = kept_version(study)
    assert kept is not None
    assert kept.number == 1
    assert kept.record["learnt"]["blast"] > 3

    discard_version(study, 1)
    assert kept_version(study) is None
    assert [version.number for version in versions_of(study)] == [2]
    with pytest.raises(InputError, match="no version 1"):
        keep_version(study, 1)


def test_the_command_writes_one_object(study: Study, model: ModelBundle, tmp_path: Path) -> None:
    asked = ["teach", str(study.folder), "-o", str(tmp_path / "m"), "--model", model.source]
    done = CliRunner().invoke(app, [*asked, "--device", "cpu", "--json"])

    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["new_classes"] == ["blast"]
    assert found["after"]["accuracy"] > found["before"]["accuracy"]
    assert found["seed"] == 0

    own = CliRunner().invoke(app, [*asked[:2], *asked[4:], "--json"])
    assert json.loads(own.stdout)["model"] == str(study.folder / "models" / "v1")


def test_the_command_says_what_is_wrong(empty: Study, model: ModelBundle, tmp_path: Path) -> None:
    asked = ["teach", str(empty.folder), "-o", str(tmp_path / "m"), "--model", model.source]
    done = CliRunner().invoke(app, [*asked, "--json"])

    assert done.exit_code == 1
    assert "No cell of the study has a class" in json.loads(done.stdout)["error"]
