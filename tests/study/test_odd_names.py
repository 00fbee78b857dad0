"""Names of images, classes and people may have any signs that can be printed, in every export."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from studies import fill

from cytodiffusion.cli import main
from cytodiffusion.errors import InputError
from cytodiffusion.study import Study
from cytodiffusion.study.annotation_table import import_annotations
from cytodiffusion.study.export import export_study, file_name

Make = Callable[..., Study]

#: Names of an image, of a class and of a person, each odd in its way.
ODD = (
    ("ä ö.png", "naïve Zelle", "Zoë"),
    ("a'b\"c;--.png", 'it\'s "odd"; DROP TABLE cells', 'O\'Neil "the eye"'),
    ("a\nb.png", "=1+1", "=cmd"),
    ("細胞🩸.png", "細胞 🩸", "山田"),
    ("%s,|;.png", "a/b\\c", "a,b;c"),
    (f"{'x' * 200}.png", "y" * 80, "z" * 80),
    ("..png", "..", ".."),
    ("con.png", "con", "nul"),
    ("[bold]a[/x].png", "[red]b[/y] :dog:", "[/z] :smile:"),
    ("<b>&amp;.png", "<i>&amp;</i>", "{0} %s"),
)


@pytest.fixture
def study(make: Make, tmp_path: Path) -> Study:
    """Images, classes and people with those names; a cell of each."""
    made = make()
    for number, (image, name, who) in enumerate(ODD):
        fill(made, tmp_path / "odd" / f"{number}.png", 3, seed=number + 1, name=image)
        made.add_class(name)
        made.annotate((image, 2), name, who)
    return made


def said(frame: pd.DataFrame) -> list[tuple[str, str, str]]:
    rows = frame[frame["human"] != ""]
    return list(zip(rows["image"], rows["human"], rows["observer"], strict=True))


def test_they_are_kept_as_they_are(study: Study) -> None:
    assert said(study.cells()) == list(ODD)
    with Study(study.folder, writable=False) as again:
        assert said(again.cells()) == list(ODD)


def test_a_table_gives_them_back(study: Study, make: Make, tmp_path: Path) -> None:
    (path,), _ = export_study(study, tmp_path / "cells.csv")
    assert said(pd.read_csv(path, keep_default_na=False)) == list(ODD)
    for image, _, who in ODD:
        study.annotate((image, 2), None, who)
    assert import_annotations(study, path).placed == len(ODD)
    assert said(study.cells()) == list(ODD)


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs pyarrow")
def test_parquet_gives_them_back(study: Study, tmp_path: Path) -> None:
    (path,), _ = export_study(study, tmp_path / "cells.parquet")
    assert said(pd.read_parquet(path)) == list(ODD)


@pytest.mark.skipif(importlib.util.find_spec("anndata") is None, reason="needs anndata")
def test_anndata_gives_them_back(study: Study, tmp_path: Path) -> None:
    import anndata

    (path,), _ = export_study(study, tmp_path / "cells.h5ad")
    assert said(anndata.read_h5ad(path).obs.astype(str)) == list(ODD)


def test_outlines_give_them_back(study: Study, tmp_path: Path) -> None:
    files, _ = export_study(study, tmp_path / "cells.geojson")
    found = []
    for feature in json.loads(files[0].read_text(encoding="utf-8"))["features"]:
        metadata = feature["properties"].get("metadata", {})
        if "Human class" in metadata:
            found.append((metadata["Image"], metadata["Human class"], metadata["Observer"]))
    assert found == list(ODD)
    assert len(files) == len({file.name.casefold() for file in files}) == len(ODD) + 2
    assert all(file.parent == tmp_path and file.is_file() for file in files)


def test_crops_go_into_folders_that_every_system_can_have(study: Study, tmp_path: Path) -> None:
    (folder,), notes = export_study(study, tmp_path / "crops")
    assert notes == []
    table = pd.read_csv(folder / "cells.csv", keep_default_na=False)
    assert said(table) == list(ODD)
    assert all((folder / file).is_file() for file in table["file"])
    assert all((folder / file).resolve().parent.parent == folder for file in table["file"])
    assert (
        table.groupby("effective")["file"]
        .agg(lambda f: f.str.split("/").str[0].nunique())
        .eq(1)
        .all()
    )


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a/b\\c", "a_b_c"),
        ("..", "_"),
        ("", "_"),
        ("ends. ", "ends"),
        ("con", "con_"),
        ("NUL.txt", "NUL.txt_"),
        ("console", "console"),
        (f"{'a' * 79}. b", "a" * 79),
    ],
)
def test_names_of_files(text: str, name: str) -> None:
    assert file_name(text) == name


@pytest.mark.parametrize("name", ["", " \n", "a|b", "a\x07b", "x" * 81, "\u202eb", "A\udce9"])
def test_names_that_cannot_be_used_are_told(make: Make, name: str) -> None:
    study = make()
    for call in (
        lambda: study.add_class(name),
        lambda: study.change_class("monocyte", new_name=name),
        lambda: study.annotate(("a.png", 1), "monocyte", name),
    ):
        with pytest.raises(InputError, match=r"needs a name|cannot be a name"):
            call()
    assert study.observers() == []
    assert [one.name for one in study.classes()] == ["lymphocyte", "monocyte", "neutrophil"]
    with pytest.raises(InputError, match=r"no image|no text"):
        study.cells(name)


def test_pages_show_them_as_they_are(study: Study, capfd: pytest.CaptureFixture[str]) -> None:
    odd_class, odd_person = ODD[8][1:]
    study.annotate((ODD[0][0], 2), odd_class, odd_person)
    study.close()
    pages = {}
    for command in ("info", "agreement"):
        with pytest.raises(SystemExit) as exited:
            main(["study", command, str(study.folder)])
        assert not exited.value.code
        pages[command] = capfd.readouterr().out
    for image, _, who in ODD:
        assert image.splitlines()[0][:40] in pages["info"]
        assert who in pages["info"]
    assert f"{odd_person}: {odd_class}" in pages["agreement"]
