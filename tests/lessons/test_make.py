"""A lesson made of images, of a study, and of cells that the model draws."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture
from studies import NAMES as STUDY_NAMES
from studies import fill
from toys import COLORS, PIXEL_SIZE_UM, disc, write_discs

from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.files.synthetic_mark import write_synthetic_png
from cytodiffusion.lessons import LessonSettings, make_lesson, open_lesson
from cytodiffusion.lessons.hints import read_hints
from cytodiffusion.lessons.settings import with_ending
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.testing import TRAITS, tiny_bundle
from cytodiffusion.settings import make_settings
from cytodiffusion.study import Study

NAMES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data") / "discs", {"test": 6})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return load_bundle(tiny_bundle(tmp_path_factory.mktemp("model") / "tiny", NAMES), device="cpu")


@pytest.fixture(scope="module")
def blood_model(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    folder = tmp_path_factory.mktemp("blood") / "tiny"
    return load_bundle(tiny_bundle(folder, traits=TRAITS), device="cpu")


def settings(output: Path, **changes: Any) -> LessonSettings:
    values = {"output": output, "per_class": 2, "references": 1, "explain": False}
    return make_settings(LessonSettings, {**values, "pixel_size_um": PIXEL_SIZE_UM, **changes})


def made(output: Path, model: ModelBundle, **changes: Any) -> Any:
    return open_lesson(make_lesson(settings(output, **changes), model=model))


def test_labelled_images_become_a_lesson(data: Path, model: ModelBundle, tmp_path: Path) -> None:
    lesson = made(tmp_path / "a.lesson.zip", model, source=data, title="Discs", seed=3)
    content = lesson.content
    assert content.class_names == NAMES
    assert Counter(c.class_name for c in content.cells) == dict.fromkeys(NAMES, 2)
    assert Counter(c.class_name for c in content.references) == dict.fromkeys(NAMES, 1)
    asked = {c.source for c in content.cells if c.class_name == "red"}
    assert not asked & {c.source for c in content.references if c.class_name == "red"}
    for cell in content.cells:
        assert (cell.truth.kind, cell.synthetic) == ("label", False)
        assert cell.truth.text == f"image {cell.class_name}/{cell.source}"
        assert sum(cell.posterior.values()) == pytest.approx(1, abs=0.01)
        assert {n: content.references[i].class_name for n, i in cell.nearest.items()} == {
            name: name for name in NAMES
        }
        shown = lesson.picture(cell.picture)
        centre = shown[len(shown) // 2, len(shown) // 2].astype(int)
        assert np.abs(centre - COLORS[cell.class_name]).max() < 60
    assert content.made["settings"]["source"] == "discs"  # no folders of this computer
    assert str(tmp_path) not in content.model_dump_json()
    again = made(tmp_path / "b.lesson.zip", model, source=data, title="Discs", seed=3)
    assert [c.source for c in again.content.cells] == [c.source for c in content.cells]
    other = made(tmp_path / "c.lesson.zip", model, source=data, title="Discs", seed=4)
    assert [c.source for c in other.content.cells] != [c.source for c in content.cells]


def test_each_cell_is_explained_towards_other_classes(
    data: Path, model: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cytodiffusion.counterfactual.settings import CounterfactualSettings, HeatmapSettings
    from cytodiffusion.lessons import explanations

    quick = CounterfactualSettings(steps=2, strength=0.8, trials=2)
    monkeypatch.setattr(explanations, "CounterfactualSettings", lambda seed: quick)
    quicker = HeatmapSettings(versions=2)
    monkeypatch.setattr(explanations, "HeatmapSettings", lambda seed: quicker)
    said: list[str] = []
    path = make_lesson(
        settings(tmp_path / "a.lesson.zip", source=data, per_class=1, explain=True, versions=2),
        lambda share, text: said.append(text),
        model=model,
    )
    lesson = open_lesson(path)
    for cell in lesson.content.cells:
        assert {v.target for v in cell.versions} == set(NAMES) - {cell.class_name}
        for version in cell.versions:
            assert version.map is not None
            assert version.target in version.sentence
            # a picture that the model does not take for the target is never shown as one
            assert (version.picture is None) == (version.probability is None)
    assert "explaining cells, 1 of 6" in said


def test_cells_that_people_named_become_a_lesson(blood_model: ModelBundle, tmp_path: Path) -> None:
    with Study.create(tmp_path / "study") as study:
        name = fill(study, tmp_path / "field.png", cells=9)
        with pytest.raises(InputError, match="No cell of the study has a class from a person"):
            made(tmp_path / "a.lesson.zip", blood_model, source=tmp_path / "study")
        for label in range(1, 9):
            study.annotate((name, label), STUDY_NAMES[label % 2], "Ada")
        study.annotate((name, 8), STUDY_NAMES[1], "Bob")  # disputed
    source = tmp_path / "study"
    lesson = made(tmp_path / "a.lesson.zip", blood_model, source=source, pixel_size_um=None)
    content = lesson.content
    assert content.class_names == tuple(sorted(STUDY_NAMES[:2]))
    assert len(content.cells) == 4
    assert "field.png, cell 8" not in {c.source for c in (*content.cells, *content.references)}
    assert all(c.truth.kind == "people" for c in content.cells)
    assert all(c.truth.text == "class given by Ada" for c in content.cells)
    assert all(set(c.attributes) <= {"nucleus_shape", "granularity"} for c in content.cells)


def test_drawn_cells_say_that_they_are_synthetic(
    model: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cytodiffusion.generation import GenerationSettings
    from cytodiffusion.lessons import sources

    quick = GenerationSettings(steps=2, reject=False, seed=0)
    monkeypatch.setattr(sources, "GenerationSettings", lambda seed: quick)
    lesson = made(tmp_path / "a.lesson.zip", model, classes=("Red", "blue"))
    assert lesson.content.class_names == ("red", "blue")
    assert lesson.sentence() == "4 synthetic cells of 2 classes"
    for cell in (*lesson.content.cells, *lesson.content.references):
        assert (cell.synthetic, cell.truth.kind) == (True, "synthetic")
        assert f"drawn as {cell.class_name} by tiny" in cell.truth.text
        assert b"SYNTHETIC IMAGE" in lesson.png(cell.picture)


def test_images_that_are_synthetic_stay_so(model: ModelBundle, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in NAMES[:2]:
        for number in range(4):
            path = tmp_path / "data" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if name == "blue":
                write_synthetic_png(path, disc(COLORS[name], rng), {})
            else:
                Picture.fromarray(disc(COLORS[name], rng)).save(path)
    lesson = made(tmp_path / "a.lesson.zip", model, source=tmp_path / "data")
    synthetic = {c.class_name: c.synthetic for c in lesson.content.cells}
    assert synthetic == {"blue": True, "green": False}
    assert lesson.sentence() == "4 cells of 2 classes, 2 of them synthetic"


def test_what_cannot_be_made_is_told_in_a_sentence(
    data: Path, model: ModelBundle, tmp_path: Path
) -> None:
    out = tmp_path / "a.lesson.zip"
    for changes, said in (
        ({"classes": ("red", "mauve")}, "no cells of the class 'mauve': blue, green, red"),
        ({"classes": ("red",)}, "at least two classes"),
        ({"attributes": ("nose",)}, "tells no attribute 'nose'"),
        ({"source": tmp_path / "nothing"}, "nothing"),
    ):
        with pytest.raises(InputError, match=said):
            made(out, model, **{"source": data, **changes})
    with pytest.raises(InputError, match="ends in"):
        settings(tmp_path / "a.zip")
    with pytest.raises(InputError, match="at most 9 classes"):
        settings(out, classes=tuple("abcdefghij"))
    assert not list(tmp_path.iterdir())
    made(out, model, source=data)
    with pytest.raises(InputError, match="exists already"):
        made(out, model, source=data)


def test_cancelled_work_leaves_nothing(data: Path, model: ModelBundle, tmp_path: Path) -> None:
    def cancel(share: float, text: str) -> None:
        if share > 0.5:
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        make_lesson(settings(tmp_path / "a.lesson.zip", source=data), cancel, model=model)
    assert not list(tmp_path.iterdir())


def test_few_cells_are_told_and_none_is_refused(
    data: Path, model: ModelBundle, tmp_path: Path
) -> None:
    lesson = made(tmp_path / "a.lesson.zip", model, source=data, per_class=5, references=4)
    assert len(lesson.content.references) == 3  # those that are asked come first
    (note,) = lesson.content.made["notes"]
    assert note.startswith("There are fewer cells than asked for: 6 blue, 6 green, 6 red")


def test_hints_are_the_educators_and_then_the_standard_ones(tmp_path: Path) -> None:
    table = tmp_path / "hints.csv"
    table.write_text(
        "class,cell,hint,attributes\nEosinophil,,Orange grains.,granule_colour|nucleus_shape\n"
        ",cell 7,Look closely.,\n"
    )
    hints = read_hints(table)
    own = hints.of_class("eosinophil", True)
    assert (own.text, own.attributes) == ("Orange grains.", ("granule_colour", "nucleus_shape"))
    assert "kidney" in hints.of_class("Monocyte", True).text
    assert hints.of_class("monocyte", False).text == ""
    assert hints.of_class("mauve", True).text == ""
    assert hints.of_cell("cell 7") == hints.of_cell("cell 7.png") == "Look closely."
    assert hints.of_cell("cell 8.png") == ""
    table.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no table of hints"):
        read_hints(table)
    table.write_text("class,hint\n,text\n")
    with pytest.raises(InputError, match="line 2"):
        read_hints(table)


@pytest.mark.parametrize("name", ["a", "a.zip", "a.lesson", "a.lesson.zip"])
def test_a_lesson_gets_its_ending(name: str) -> None:
    assert with_ending(Path("x") / name) == Path("x/a.lesson.zip")
