"""What people and models say is kept apart, undone by rows, and never lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from studies import FakeModel, fill, predictions, square_labels

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import InputError
from cytodiffusion.study import Study

Make = Callable[..., Study]


def human(study: Study) -> dict[int, str]:
    frame = study.cells()
    said = frame[frame["human"] != ""]
    return dict(zip(said["label"], said["human"], strict=True))


def test_people_never_write_over_the_model(make: Make) -> None:
    study = make()
    before = study.cells()
    assert (before["effective"] == before["predicted"]).all()
    assert set(before["effective_source"]) == {"model"}
    assert list(before.columns[:7]) == [
        *("image", "label", "predicted", "human", "observer", "effective", "effective_source")
    ]
    other = "monocyte" if before["predicted"].iloc[1] != "monocyte" else "neutrophil"
    study.annotate(("a.png", 2), other, "Ada", seconds=1.5, comment="grey")
    after = study.cells()
    assert after["predicted"].equals(before["predicted"])
    row = after[after["label"] == 2].iloc[0]
    assert (row["human"], row["observer"]) == (other, "Ada")
    assert (row["effective"], row["effective_source"]) == (other, "human")
    assert (after["human"] != "").sum() == 1
    assert study.effective().loc[row.name, "effective"] == other
    said = study.annotations().iloc[0]
    assert (said["class"], said["seconds"], said["comment"]) == (other, 1.5, "grey")


def test_the_columns_of_cells_csv_come_back_with_every_digit(make: Make) -> None:
    study = make(30)
    given, found = predictions(square_labels(30)), study.cells("a.png").reset_index(drop=True)
    same = [name for name in given if name not in ("y", "x", "area_um2", "touches_border")]
    pd.testing.assert_frame_equal(found[same], given[same], check_dtype=False)
    assert found["p_monocyte"].dtype == np.float64
    assert found["anomaly"].dtype == bool
    assert found["area_um2"].tolist() == [16 * 0.25] * 30
    assert found.loc[0, ["y", "x"]].tolist() == [2.5, 2.5]


def test_a_study_without_cells_has_the_columns_of_others(make: Make, tmp_path: Path) -> None:
    full = make().cells()
    with Study.create(tmp_path / "empty") as study:
        empty = study.cells()
        assert study.annotations().empty
    assert len(empty) == 0
    for name in ("image", "label", "human", "effective", "effective_source", "y"):
        assert empty[name].dtype == full[name].dtype, name
    assert empty[empty["human"] != ""]["human"].str.contains("|", regex=False).sum() == 0


def test_undo_and_redo_go_by_observer_and_by_action(make: Make) -> None:
    study = make()
    ids = study.cells().index.tolist()
    study.annotate(ids[0], "monocyte", "Ada")
    study.annotate(ids[1:4], "lymphocyte", "Ada")
    study.annotate(ids[5], "neutrophil", "Bob")
    study.annotate(ids[0], "neutrophil", "Ada")
    assert human(study) == {
        1: "neutrophil", 2: "lymphocyte", 3: "lymphocyte", 4: "lymphocyte", 6: "neutrophil"
    }  # fmt: skip
    assert study.undo("ada ").cells == (ids[0],)
    assert human(study)[1] == "monocyte"
    assert study.undo("Ada").cells == tuple(ids[1:4])
    assert study.undo("Ada").cells == (ids[0],)
    assert study.undo("Ada") is None
    assert human(study) == {6: "neutrophil"}
    assert study.redo("Ada").cells == (ids[0],)
    assert study.redo("Ada").cells == tuple(ids[1:4])
    assert human(study) == {
        1: "monocyte", 2: "lymphocyte", 3: "lymphocyte", 4: "lymphocyte", 6: "neutrophil"
    }  # fmt: skip
    study.undo("Ada")
    study.annotate(ids[4], "monocyte", "Ada")
    assert study.redo("Ada") is None  # they went on
    assert study.undo("Ada").cells == (ids[4],)
    assert study.undo("Ada").cells == (ids[0],)
    assert human(study) == {6: "neutrophil"}
    assert study.undo("Eve") is None
    assert study.redo("Eve") is None
    assert study.observers() == ["Ada", "Bob"]


def test_undo_and_redo_are_a_stack(make: Make) -> None:
    """Random steps against two lists."""
    study = make()
    ids = study.cells().index.tolist()
    rng = np.random.default_rng(0)
    done: list[tuple[int, str]] = []
    undone: list[tuple[int, str]] = []
    for step in rng.integers(0, 4, 150):
        if step < 2:
            one = (int(rng.choice(ids)), ["monocyte", "neutrophil"][step])
            study.annotate(*one, "Ada")
            done.append(one)
            undone.clear()
        elif step == 2:
            assert (study.undo("Ada") is None) == (not done)
            undone += [done.pop()] if done else []
        else:
            assert (study.redo("Ada") is None) == (not undone)
            done += [undone.pop()] if undone else []
        frame = study.cells()
        assert dict(done) == dict(frame["human"][frame["human"] != ""])


def test_a_label_can_be_taken_back(make: Make) -> None:
    study = make()
    study.annotate(("a.png", 1), "monocyte", "Ada")
    study.annotate(("a.png", 1), "neutrophil", "Bob")
    study.annotate(("a.png", 1), None, "Ada")
    assert human(study) == {1: "neutrophil"}
    study.undo("Ada")
    assert human(study) == {1: "monocyte|neutrophil"}


def test_observers_who_disagree_are_told(make: Make) -> None:
    study = make()
    study.annotate(("a.png", 1), "monocyte", "Ada")
    study.annotate(("a.png", 1), "neutrophil", "Bob")
    study.annotate(("a.png", 2), "monocyte", "Ada")
    study.annotate(("a.png", 2), "monocyte", "Bob")
    first, second = (row for _, row in study.cells().iloc[:2].iterrows())
    assert (first["human"], first["observer"]) == ("monocyte|neutrophil", "Ada|Bob")
    assert (first["effective"], first["effective_source"]) == (first["predicted"], "disputed")
    assert (second["human"], second["effective_source"]) == ("monocyte", "human")


def test_annotations_are_only_ever_added(make: Make) -> None:
    study = make()
    study.annotate(("a.png", 1), "monocyte", "Ada")
    for statement in (
        "UPDATE annotations SET class = 2",
        "DELETE FROM annotations",
        "UPDATE actions SET observer = 2",
        "DELETE FROM actions",
    ):
        with (
            pytest.raises(InputError, match="only ever added"),
            study.database.transaction() as connection,
        ):
            connection.execute(statement)
    assert human(study) == {1: "monocyte"}


def test_what_makes_no_sense_is_refused_and_changes_nothing(make: Make) -> None:
    study = make()
    ids = study.cells().index.tolist()
    for cells, name, observer, more, said in (
        (ids[0], "blast", "Ada", {}, "no class 'blast' in the study: there are lymphocyte"),
        (999, "monocyte", "Ada", {}, "no cell with the number 999"),
        (("a.png", 77), "monocyte", "Ada", {}, "no cell 77 in a.png"),
        (("b.png", 1), "monocyte", "Ada", {}, "no image b.png"),
        ([], "monocyte", "Ada", {}, "no cell to annotate"),
        (ids[0], "monocyte", "  ", {}, "An observer needs a name"),
        (ids[0], "monocyte", "a|b", {}, "cannot be a name"),
        (ids[0], "monocyte", "Ada", {"seconds": -1}, "cannot take -1 seconds"),
        (ids[0], "monocyte", "Ada", {"seconds": float("nan")}, "cannot take nan seconds"),
        ([*ids, 999], "monocyte", "Ada", {}, "no cell with the number 999"),
    ):
        with pytest.raises(InputError, match=said):
            study.annotate(cells, name, observer, **more)
    assert human(study) == {}
    assert study.observers() == []


def test_classes_are_renamed_merged_and_not_lost(make: Make) -> None:
    study = make()
    predicted = study.cells()["predicted"]
    study.annotate(("a.png", 1), "MONOCYTE", "Ada")
    blast = study.add_class("blast")
    assert blast.color not in {c.color for c in study.classes() if c.name != "blast"}
    assert study.add_class("Blast") == blast
    study.annotate(("a.png", 2), "blast", "Ada")
    study.change_class("monocyte", new_name="Monozyt", color="#123456", group="mononuclear")
    frame = study.cells()
    assert frame["predicted"].equals(predicted)  # the model's word stays
    assert frame["human"].tolist()[:2] == ["Monozyt", "blast"]
    renamed = frame[(frame["predicted"] == "monocyte") & (frame["human"] == "")]
    assert set(renamed["effective"]) <= {"Monozyt"}
    with pytest.raises(InputError, match=r"1 cell has it from people.*Merge it"):
        study.delete_class("blast")
    assert human(study) == {1: "Monozyt", 2: "blast"}
    study.merge_classes("blast", into="neutrophil")
    assert human(study) == {1: "Monozyt", 2: "neutrophil"}
    with pytest.raises(InputError, match="cannot be deleted"):
        study.delete_class("neutrophil")
    assert "blast" not in [c.name for c in study.classes()]
    with pytest.raises(InputError, match="merge the two instead"):
        study.change_class("lymphocyte", new_name="blast")
    study.delete_class("lymphocyte")
    with pytest.raises(InputError, match="no class"):
        study.annotate(("a.png", 3), "lymphocyte", "Ada")
    assert study.add_class("lymphocyte").name == "lymphocyte"
    with pytest.raises(InputError, match="not a colour"):
        study.change_class("lymphocyte", color="blue")


def test_a_deleted_class_comes_back_with_what_is_done_again(make: Make) -> None:
    study = make()
    study.add_class("blast")
    study.annotate(("a.png", 1), "blast", "Ada")
    study.undo("Ada")
    study.delete_class("blast")
    study.redo("Ada")
    assert human(study) == {1: "blast"}
    assert "blast" in [c.name for c in study.classes()]


def test_every_version_of_a_model_keeps_its_answers(make: Make) -> None:
    study = make()
    labels = square_labels(6)
    first = study.cells()["confidence"].tolist()
    study.put_predictions("a.png", predictions(labels, 9), FakeModel("2"), ClassifySettings())
    second = study.cells()["confidence"].tolist()
    assert second != first
    runs = study.runs()
    assert [run.version for run in runs] == ["2", "1"]
    assert study.cells(run=runs[1].id)["confidence"].tolist() == first
    study.use_run(runs[1].id)
    assert study.cells()["confidence"].tolist() == first
    # the same again is the same run; another seed is another
    study.put_predictions("a.png", predictions(labels), FakeModel(), ClassifySettings(batch_size=3))
    assert len(study.runs()) == 2
    study.put_predictions("a.png", predictions(labels), FakeModel(), ClassifySettings(seed=5))
    assert len(study.runs()) == 3
    with pytest.raises(InputError, match="no run 77"):
        study.use_run(77)


def test_changed_outlines_keep_what_was_said(make: Make) -> None:
    study = make()
    for label in (1, 2, 3, 5):
        study.annotate(("a.png", label), "monocyte", "Ada")
    labels = study.labels("a.png")
    labels[labels == 1] = 40  # another number, the same pixels
    labels[1:5, 5] = np.where(labels[1:5, 5] == 0, 40, labels[1:5, 5])
    labels[labels == 2] = 0  # deleted
    labels[1:5, 15:17] = np.where(labels[1:5, 15:17] == 3, 50, labels[1:5, 15:17])  # split
    file = study.image("a.png").labels
    changes = study.replace_labels("a.png", labels)
    assert changes.kept == (4, 5, 6)
    assert changes.gone == (2,)
    assert changes.annotations_gone == 1
    assert "1 cell that is gone had a class" in changes.sentence
    assert len(changes.added) == 1
    assert human(study)[40] == "monocyte"
    assert human(study)[5] == "monocyte"
    assert len(human(study)) == 3
    frame = study.cells().set_index("label")
    assert frame.loc[40, "predicted"] == ""  # other pixels: the model must look again
    assert frame.loc[4, "predicted"] != ""
    assert np.array_equal(study.labels("a.png"), labels)
    assert not (study.folder / file).exists()
    with pytest.raises(InputError, match=r"no cell 2 in a\.png: its outline was deleted"):
        study.cell("a.png", 2)
    gone = study.database.one("SELECT id FROM cells WHERE gone IS NOT NULL")
    with pytest.raises(InputError, match=r"is gone.*is kept"):
        study.annotate(gone, "monocyte", "Ada")
    with pytest.raises(InputError, match="has 120 x 6"):
        study.replace_labels("a.png", labels[:, :60])
    assert study.annotations()["label"].tolist() != []


def test_where_the_user_was_is_remembered(make: Make) -> None:
    study = make()
    study.remember("view", {"image": "a.png", "zoom": 2.5})
    with Study.open(study.folder) as other:
        assert other.recall("view") == {"image": "a.png", "zoom": 2.5}
        assert other.recall("docks", []) == []
        assert other.id == study.id


def test_several_images_of_one_name(make: Make, tmp_path: Path) -> None:
    study = make()
    name = fill(study, tmp_path / "more" / "a.png", 4, seed=3)
    assert name == (tmp_path / "more" / "a.png").resolve().as_posix()
    assert fill(study, tmp_path / "images" / "a.png") == "a.png"  # there already
    assert [image.name for image in study.images()] == ["a.png", name]
    assert len(study.cells(name)) == 4


@pytest.mark.parametrize("name", ["ä ö.png", "a'b\"c;--.png", "a\nb.png", "細胞🩸.png", "%s,|.png"])
def test_odd_names(make: Make, tmp_path: Path, name: str) -> None:
    study = make()
    assert fill(study, tmp_path / "odd" / name, 3, seed=4) == name
    study.annotate((name, 2), "monocyte", "Zoë; DROP TABLE cells")
    frame = study.cells(name)
    assert frame["human"].tolist() == ["", "monocyte", ""]
    assert frame["observer"].tolist() == ["", "Zoë; DROP TABLE cells", ""]
    assert study.image_path(name).name == name


def test_the_database_is_plain_sqlite(make: Make) -> None:
    study = make()
    study.annotate(("a.png", 1), "monocyte", "Ada")
    study.close()
    assert not list(study.folder.glob("*-wal"))  # one file to copy
    with sqlite3.connect(study.folder / "study.db") as plain:
        assert plain.execute("SELECT count(*) FROM annotations").fetchone() == (1,)
        assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    plain.close()
