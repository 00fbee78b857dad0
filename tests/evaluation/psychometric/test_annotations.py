"""Tables of what people answered, in all the ways they are written."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from cytodiffusion.datasets import Record
from cytodiffusion.errors import InputError
from cytodiffusion.evaluation.psychometric.annotations import Annotations, Answer, read_annotations
from cytodiffusion.taxonomy import load_taxonomy

NAMES = ("band neutrophil", "monocyte")
RECORDS = [
    Record(Path("/data/test/monocyte/001.png"), "monocyte", "test"),
    Record(Path("/data/test/band neutrophil/001.png"), "band neutrophil", "test"),
    Record(Path("/data/test/monocyte/002.PNG"), "monocyte", "test"),
]


def read(text: str, folder: Path, records: list[Record] | None = None) -> Annotations:
    table = folder / "answers.csv"
    table.write_text(text, encoding="utf-8")
    return read_annotations(table, records or RECORDS, NAMES)


def answers_of(
    said: list[str], names: tuple[str, ...], taxonomies: list[str], folder: Path
) -> list[str]:
    """What answers to one image, each of another annotator, are taken for."""
    rows = [f"002.PNG,{n},{label}" for n, label in enumerate(said)]
    table = folder / "answers.csv"
    table.write_text("\n".join(["image,annotator,label", *rows]), encoding="utf-8")
    known = [load_taxonomy(name) for name in taxonomies]
    return [a.label for a in read_annotations(table, RECORDS, names, known).answers]


@pytest.mark.parametrize(
    "header",
    ["image,annotator,label", "Cell,Expert,Class", "file_name,rater id,answer", "path,who,label"],
)
def test_columns_by_many_names(header: str, tmp_path: Path) -> None:
    header = header.replace("rater id", "rater")
    found = read(f"{header}\n002.png,Ann,Monocyte\nmonocyte/001,Bob,band_neutrophil\n", tmp_path)
    assert [(a.path.name, a.annotator, a.label) for a in found.answers] == [
        ("002.PNG", "Ann", "monocyte"),
        ("001.png", "Bob", "band neutrophil"),
    ]
    assert found.answers[1].path.parent.name == "monocyte"
    assert found.annotators == ["Ann", "Bob"]
    assert found.answers[0].confidence is None
    assert found.notes == ()


@pytest.mark.parametrize(
    "name", ["002.png", "002", "monocyte/002.png", "test\\monocyte\\002.PNG", "../monocyte/002"]
)
def test_images_by_any_end_of_their_path(name: str, tmp_path: Path) -> None:
    found = read(f"image,annotator,label\n{name},Ann,monocyte\n", tmp_path)
    assert found.answers[0].path == RECORDS[2].path


def test_confidences_are_brought_to_one_scale(tmp_path: Path) -> None:
    rows = "002,Ann,monocyte,{}\n002,Bob,monocyte,{}\n002,Cy,monocyte,\n"
    header = "cell,annotator,label,confidence\n"
    shares = read(header + rows.format("0.5", "1"), tmp_path)
    assert [a.confidence for a in shares.answers] == [0.5, 1.0, None]
    percent = read(header + rows.format("40%", "80 %".replace(" ", "")), tmp_path)
    assert [a.confidence for a in percent.answers] == [0.5, 1.0, None]
    stars = read(header + rows.format("1", "5"), tmp_path)
    assert [a.confidence for a in stars.answers] == [0.2, 1.0, None]


def test_what_was_left_out_is_said(tmp_path: Path) -> None:
    found = read(
        "image,annotator,label\n002,Ann,monocyte\n002,Bob,unsure\n002,Cy,\n999,Ann,monocyte\n",
        tmp_path,
    )
    assert len(found.answers) == 2
    assert found.notes == (
        "answers.csv: 1 row names images that are not evaluated here, such as '999'.",
        "answers.csv: 1 row was left out: 1 without answer.",
        "answers.csv: answers that are no class of the model count as wrong: unsure (1).",
    )


def test_rows_that_say_nothing_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = ["002,Ann,monocyte", "002,,monocyte", "002,NaN,monocyte", "002,Bob,", "002,Bob,nan"]
    rows += ["002,nan,nan", ",Ann,monocyte"]
    found = read("\n".join(["image,annotator,label", *rows]), tmp_path)
    assert [(a.annotator, a.label) for a in found.answers] == [("Ann", "monocyte")]
    assert found.notes == (
        "answers.csv: 6 rows were left out: 3 without annotator, 1 without image, 2 without "
        "answer.",
    )


def test_of_repeated_answers_the_last_counts(tmp_path: Path) -> None:
    rows = ["002,Ann,monocyte", "monocyte/002.png,Ann,band neutrophil", "002,Bob,monocyte"]
    rows += ["monocyte/001,Ann,monocyte", "002,Ann,band neutrophil"]
    found = read("\n".join(["image,annotator,label", *rows]), tmp_path)
    assert [(a.path.stem, a.annotator, a.label) for a in found.answers] == [
        *(("002", "Ann", "band neutrophil"), ("002", "Bob", "monocyte")),
        ("001", "Ann", "monocyte"),
    ]
    (note,) = found.notes
    assert note.startswith("answers.csv: 2 rows were left out because the same annotator answers")
    assert note.endswith("the last answer counts.")


def test_answers_in_the_words_and_codes_of_taxonomies(tmp_path: Path) -> None:
    names = ("immature granulocyte", "Platelet", "neutrophil", "erythroblast")
    said = ["IG", "thrombocyte", "Neutrophils", "NRBC", "platelets", "stranger"]
    assert answers_of(said, names, ["peripheral-blood"], tmp_path) == [
        *("immature granulocyte", "Platelet", "neutrophil", "erythroblast", "Platelet"),
        "stranger",
    ]
    names = ("segmented neutrophil", "monocyte", "Blast", "platelet")
    both = ["bone-marrow", "peripheral-blood"]
    assert answers_of(["NGS", "mon", "BLA", "thrombocyte"], names, both, tmp_path) == list(names)


def test_a_model_that_uses_codes_understands_names(tmp_path: Path) -> None:
    said = ["segmented neutrophil", "NGS", "neutrophil segmented", "MON"]
    assert answers_of(said, ("NGS", "MON"), ["bone-marrow"], tmp_path) == [
        *("NGS", "NGS", "NGS", "MON"),
    ]


def test_absolute_paths_and_data_named_relatively(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "monocyte"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    records = [Record(Path("data/monocyte/7.png"), "monocyte", "test")]
    for name in (folder / "7.png", folder / "7", f"{tmp_path.name}/data/monocyte/7.png"):
        found = read(f"image,annotator,label\n{name},Ann,monocyte\n", tmp_path, records)
        assert [a.path for a in found.answers] == [records[0].path]
    with pytest.raises(InputError, match="names none of the images"):
        read("image,annotator,label\n/x/data/monocyte/7.png,Ann,monocyte\n", tmp_path, records)


def test_paths_by_way_of_links(tmp_path: Path) -> None:
    (tmp_path / "data" / "monocyte").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "data", target_is_directory=True)
    one, other = tmp_path / "data/monocyte/7.png", tmp_path / "link/monocyte/7.png"
    for named, asked in ((one, other), (other, one), (other, other), (other, "link/monocyte/7")):
        records = [Record(named, "monocyte", "test")]
        found = read(f"image,annotator,label\n{asked},Ann,monocyte\n", tmp_path, records)
        assert found.answers[0].path == named


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "image,label\n002,monocyte\n",
            r"none of its columns \(image, label\) is that of the anno",
        ),
        ("annotator,label\nAnn,monocyte\n", "is that of the image"),
        ("image,annotator\n002,Ann\n", "is that of the label"),
        ("image,annotator,label\n", "it has no answers"),
        (
            "image,annotator,label\n777,Ann,monocyte\n",
            "none of the images that are evaluated, such as '777",
        ),
        ("image,annotator,label\n001,Ann,monocyte\n", "row 2: '001' can be 2 images"),
        ("image,annotator,label\n002,,monocyte\n", "it has no answers"),
        ("image,annotator,label\n002,Ann,cat\n", r"None of the labels .*\(cat\) is a class"),
        (
            "image,annotator,label,confidence\n002,Ann,monocyte,much\n",
            "row 2: the confidence 'much",
        ),
        ("image,annotator,label,confidence\n002,Ann,monocyte,-1\n", "row 2: the confidence '-1"),
        ("", "cannot be read as a CSV"),
    ],
)
def test_a_table_that_makes_no_sense_is_one_sentence(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words) as told:
        read(text, tmp_path)
    assert "\n" not in str(told.value)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no table of annotations"):
        read_annotations(tmp_path / "none.csv", RECORDS, NAMES)


def test_answers_of_a_study_are_taken_as_they_are() -> None:
    rows = [["/data/test/monocyte/001.png", "Ann", "Monocyte"]]
    table = pd.DataFrame(rows, columns=["image", "annotator", "label"])
    found = read_annotations(Path("/a study"), RECORDS, NAMES, (), table)
    assert found.answers == (Answer(RECORDS[0].path, "Ann", "monocyte"),)
    with pytest.raises(InputError, match=r"no table of annotations at .*, and no study"):
        read_annotations(Path("/a study"), RECORDS, NAMES)
