"""Annotations from CSV and GeoJSON: placed, or named in a sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from studies import fill

from cytodiffusion.errors import InputError
from cytodiffusion.study import Study
from cytodiffusion.study.annotation_table import import_annotations
from cytodiffusion.study.export import export_study

Make = Callable[..., Study]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def human(study: Study) -> dict[tuple[str, int], tuple[str, str]]:
    frame = study.cells()
    said = frame[frame["human"] != ""]
    return {(r.image, r.label): (r.human, r.observer) for r in said.itertuples()}


def test_a_table_is_placed_and_the_rest_is_told(make: Make, tmp_path: Path) -> None:
    study = make()
    fill(study, tmp_path / "more" / "b.png", seed=1)
    table = write(
        tmp_path / "said.csv",
        "image,label,class\na.png,1,Monocyte\n/other/computer/b.png,2,neutrophil\nb,3.0,blast\n"
        "a.png,99,monocyte\nc.png,1,monocyte\na.png,4,\n",
    )
    done = import_annotations(study, table, "Ada")
    assert human(study) == {
        ("a.png", 1): ("monocyte", "Ada"),
        ("b.png", 2): ("neutrophil", "Ada"),
        ("b.png", 3): ("blast", "Ada"),
    }
    assert (done.placed, done.lost) == (3, ["99 of a.png", "1 of c.png"])
    assert done.sentences == [
        "2 annotations are of no cell in the study and were not placed: 99 of a.png, 1 of c.png.",
        "New in the study: the class blast.",
    ]
    again = import_annotations(study, table, "ada")
    assert (again.placed, again.known) == (0, 3)
    assert len(study.annotations()) == 3
    assert study.undo("Ada") is not None  # the file was one action
    assert human(study) == {}


def test_an_export_is_a_table_of_annotations(make: Make, tmp_path: Path) -> None:
    study = make()
    study.annotate(("a.png", 1), "monocyte", "Ada")
    study.annotate(("a.png", 1), "monocyte", "Bob")
    study.annotate(("a.png", 2), "neutrophil", "Ada")
    study.annotate(("a.png", 3), "neutrophil", "Ada")
    study.annotate(("a.png", 3), "lymphocyte", "Bob")
    before = human(study)
    (table,), _ = export_study(study, tmp_path / "cells.csv")
    with Study.create(tmp_path / "other") as other:
        fill(other, tmp_path / "images" / "a.png")
        done = import_annotations(other, table)
        assert human(other) == {key: value for key, value in before.items() if key[1] != 3}
        assert done.disputed == ["3 of a.png"]
        assert "several classes by the same observer in the file" in done.sentences[0]
        assert done.observers == ["Ada", "Bob"]


def test_semicolons_and_marks_of_spreadsheets(make: Make, tmp_path: Path) -> None:
    study = make()
    table = write(tmp_path / "said.csv", "\ufeffLabel;Class\n1;monocyte\n2,0;neutrophil\n")
    assert import_annotations(study, table, "Ada").lost == ["2,0"]
    assert human(study) == {("a.png", 1): ("monocyte", "Ada")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "cell,type\n1,monocyte\n",
            "need a column label or path, and a column class; there are cell",
        ),
        ("label\n1\n", "need a column label or path"),
        ("", "are empty"),
        (" \n\n", "are empty"),
        ('a,b\n"1,2\n', "need a column"),
        (f"label,class\n1,{'x' * 200_000}\n", "are no table"),
        ("label,class\n1,monocyte,sure\n", "rows that are longer than their first line"),
        ("label,class\n1,monocyte\n2,one, or two\n", "longer than their first line"),
        ("label,label,class\n1,2,monocyte\n", "have two columns label: leave one"),
        ("label,class,class\n1,monocyte,neutrophil\n", "have two columns class: leave one"),
    ],
)
def test_wrong_columns(make: Make, tmp_path: Path, text: str, said: str) -> None:
    study = make()
    with pytest.raises(InputError, match=said):
        import_annotations(study, write(tmp_path / "said.csv", text), "Ada")
    assert human(study) == {}


def test_a_study_without_images_is_told(tmp_path: Path) -> None:
    table = write(tmp_path / "said.csv", "label,class\n1,monocyte\n")
    with (
        Study.create(tmp_path / "empty") as study,
        pytest.raises(InputError, match="The study empty has no images yet: add some first"),
    ):
        import_annotations(study, table, "Ada")


def test_what_else_is_wrong_with_a_table(make: Make, tmp_path: Path) -> None:
    study = make()
    with pytest.raises(InputError, match=r"no such file|No such file"):
        import_annotations(study, tmp_path / "none.csv", "Ada")
    (tmp_path / "latin.csv").write_bytes(b"label,class\n1,caf\xe9\n")
    with pytest.raises(InputError, match="save them as UTF-8"):
        import_annotations(study, tmp_path / "latin.csv", "Ada")
    table = write(tmp_path / "said.csv", "label,class\n1,monocyte\n")
    with pytest.raises(InputError, match="does not say who annotated 1: name the observer"):
        import_annotations(study, table)
    fill(study, tmp_path / "b.png", seed=1)
    with pytest.raises(InputError, match="with 2 images in the study the column image is needed"):
        import_annotations(study, table, "Ada")
    assert import_annotations(study, table, "Ada", image="b.png").placed == 1
    bad = write(tmp_path / "bad.csv", "image,label,class\na.png,1,monocyte\na.png,2,a\x07b\n")
    with pytest.raises(InputError, match="cannot be a name"):
        import_annotations(study, bad, "Ada")
    assert human(study) == {("b.png", 1): ("monocyte", "Ada")}  # all of a file, or nothing


@pytest.mark.parametrize(
    "rows",
    [
        "a.png,1,monocyte,Ada\na.png,1,neutrophil,Ada",
        "a.png,1,monocyte,Ada\na.png,1.0,neutrophil,Ada",  # as spreadsheets write a number
        "a.png,1,monocyte,Ada\na,1,neutrophil,Ada",  # the same image
        "a.png,1,monocyte,Ada\na.png,1,neutrophil, ada ",  # the same person
        "a.png,1,monocyte,\na.png,1,neutrophil,Ada",  # who is named on the command line, too
        "a.png,1,monocyte,Ada|Bob\na.png,1,neutrophil,Ada|Bob",
    ],
)
def test_contradicting_labels_of_one_person_are_named_and_not_placed(
    make: Make, tmp_path: Path, rows: str
) -> None:
    study = make()
    table = write(tmp_path / "s.csv", f"image,label,class,observer\n{rows}\na.png,2,monocyte,Ada\n")
    done = import_annotations(study, table, "Ada")
    assert human(study) == {("a.png", 2): ("monocyte", "Ada")}
    assert done.disputed == ["1 of a.png"]
    assert "several classes by the same observer in the file" in done.sentences[0]


def test_the_same_said_twice_is_said_once(make: Make, tmp_path: Path) -> None:
    study = make()
    table = write(tmp_path / "s.csv", "label,class\n1,monocyte\n1,MON\n1.0,Monocytes\n1,monocyte\n")
    done = import_annotations(study, table, "Ada")
    assert (done.placed, done.sentences) == (1, [])
    assert human(study) == {("a.png", 1): ("monocyte", "Ada")}
    assert len(study.annotations()) == 1


def test_two_people_may_say_two_things(make: Make, tmp_path: Path) -> None:
    study = make()
    rows = "label,class,observer\n1,monocyte,Ada\n1,neutrophil,Bob\n"
    assert import_annotations(study, write(tmp_path / "s.csv", rows)).placed == 2
    assert human(study) == {("a.png", 1): ("monocyte|neutrophil", "Ada|Bob")}


def test_commas_at_the_ends_of_rows_are_no_column(make: Make, tmp_path: Path) -> None:
    study = make()
    import_annotations(study, write(tmp_path / "s.csv", "label,class\n1,monocyte,\n2,,\n"), "Ada")
    assert human(study) == {("a.png", 1): ("monocyte", "Ada")}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("s.csv", "label,class\n", r"s\.csv gives no cell a class"),
        ("s.csv", "label,human\n1,\n2,\n", r"s\.csv gives no cell a class"),
        ("s.geojson", '{"features": []}', r"No outline in s\.geojson has a class"),
    ],
)
def test_a_file_that_says_nothing_is_told(
    make: Make, tmp_path: Path, name: str, text: str, said: str
) -> None:
    done = import_annotations(make(), write(tmp_path / name, text), "Ada")
    assert done.placed == 0
    assert re.match(said, done.sentences[0])


def test_an_image_that_is_not_there_is_told(make: Make, tmp_path: Path) -> None:
    study = make()
    table = write(tmp_path / "s.csv", "label,class\n1,monocyte\n")
    with pytest.raises(InputError, match=r"no image c\.png in the study"):
        import_annotations(study, table, "Ada", image="c.png")
    assert import_annotations(study, table, "Ada", image="a").placed == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1, 2]",
        '{"type": "FeatureCollection"}',
        '{"features": [{"properties": {}, "geometry": null}]}',
        '{"features": [{"properties": {}, "geometry": {"coordinates": []}}]}',
        '{"features": [{"properties": {"classification": {"name": "monocyte"}}, '
        '"geometry": {"coordinates": [[[Infinity, 1], [2, 2]]]}}]}',
        '{"features": [{"properties": {"measurements": {"Label": "one"}}, '
        '"geometry": {"coordinates": [[[1, 1], [2, 2]]]}}]}',
    ],
)
def test_what_is_no_geojson_is_told(make: Make, tmp_path: Path, text: str) -> None:
    study = make()
    with pytest.raises(InputError, match=r"s\.geojson is no GeoJSON with outlines of cells"):
        import_annotations(study, write(tmp_path / "s.geojson", text), "Ada")
    assert human(study) == {}


def test_outlines_that_were_changed_in_qupath(make: Make, tmp_path: Path) -> None:
    study = make()
    study.annotate(("a.png", 5), "neutrophil", "Ada")
    (file,), _ = export_study(study, tmp_path / "a.geojson")
    content = json.loads(file.read_text(encoding="utf-8"))
    assert import_annotations(study, file, "Bob").placed == 0  # nobody has changed any
    content["features"][0]["properties"]["classification"] = {"name": "blast", "color": [1, 2, 3]}
    file.write_text(json.dumps(content), encoding="utf-8")
    assert import_annotations(study, file, "Bob").placed == 1
    assert human(study) == {("a.png", 5): ("neutrophil", "Ada"), ("a.png", 1): ("blast", "Bob")}


def test_outlines_of_another_program_are_placed_by_where_they_lie(
    make: Make, tmp_path: Path
) -> None:
    study = make()

    def outline(x: float, y: float, name: str | None) -> dict[str, object]:
        ring = [[x, y], [x + 3, y], [x + 3, y + 3], [x, y + 3], [x, y]]
        kind = {} if name is None else {"classification": {"name": name}}
        return {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"objectType": "annotation", **kind},
        }

    features = [outline(8, 2, "monocyte"), outline(14, 2, None), outline(500, 2, "monocyte")]
    for content in ({"type": "FeatureCollection", "features": features}, features):
        file = write(tmp_path / "drawn.geojson", json.dumps(content))
        done = import_annotations(study, file, "Ada")
        assert human(study) == {("a.png", 2): ("monocyte", "Ada")}
        assert len(done.lost) == 1
        assert done.lost[0].startswith("the outline at 501, ")
    for text in ("{}", "[1]", "nothing", '{"features": [{"properties": {}}]}'):
        with pytest.raises(InputError, match="is no GeoJSON"):
            import_annotations(study, write(tmp_path / "bad.geojson", text), "Ada")
