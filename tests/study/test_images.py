"""Images that were moved are found by checksum; those that were changed are told."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from studies import fill, square_labels, write_image

from cytodiffusion.errors import InputError
from cytodiffusion.study import Study
from cytodiffusion.study.check import check_study, study_info

Make = Callable[..., Study]


def test_an_image_that_was_moved_into_the_study_is_found(make: Make, tmp_path: Path) -> None:
    study = make()
    fill(study, tmp_path / "images" / "b.png", seed=1)
    old = tmp_path / "images" / "a.png"
    assert study.image_path("a.png") == old
    new = study.folder / "pictures" / "renamed.png"
    new.parent.mkdir()
    shutil.move(old, new)
    assert study.image_path("a.png") == new
    assert study.image("a.png").path == str(new.resolve())
    assert study.image_path("b.png") == tmp_path / "images" / "b.png"


def test_an_image_that_was_moved_elsewhere_is_found_in_the_folder_that_is_named(
    make: Make, tmp_path: Path
) -> None:
    study = make()
    study.annotate(("a.png", 1), "monocyte", "Ada")
    shutil.move(tmp_path / "images" / "a.png", tmp_path / "elsewhere.png")
    with pytest.raises(InputError, match=r"a\.png is no longer at .* are kept"):
        study.image_path("a.png")
    problems, _ = check_study(study)
    assert len(problems) == 1
    assert len(study.cells()) == 6  # tables do without the image
    with pytest.raises(InputError, match="no folder"):
        check_study(study, tmp_path / "none")
    problems, notes = check_study(study, tmp_path)
    assert problems == []
    assert "Found again" in notes[0]
    assert study.image_path("a.png") == tmp_path / "elsewhere.png"
    assert study.find_images(tmp_path) == []  # nothing is missing


def test_study_and_images_that_were_moved_together_need_no_search(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make()
    study.close()
    (tmp_path / "disk").mkdir()
    for name in ("study", "images"):
        shutil.move(tmp_path / name, tmp_path / "disk" / name)
    with Study(tmp_path / "disk" / "study") as moved:
        monkeypatch.setattr("cytodiffusion.study.images.find_files", None)
        found = moved.image_path("a.png")
        assert found.resolve() == (tmp_path / "disk" / "images" / "a.png").resolve()


def test_an_image_that_was_changed_is_told_and_nothing_is_lost(make: Make, tmp_path: Path) -> None:
    study = make()
    study.annotate(("a.png", 1), "monocyte", "Ada")
    path = tmp_path / "images" / "a.png"
    old = path.read_bytes()
    write_image(path, square_labels(6), seed=7)
    with pytest.raises(InputError, match=r"no longer the image a\.png .* has changed"):
        study.image_path("a.png")
    with pytest.raises(InputError, match=r"no longer the image a\.png"):
        fill(study, path, seed=7)
    assert len(study.images()) == 1
    assert study.cells()["human"].iloc[0] == "monocyte"
    path.write_bytes(old)  # the time of change is another one, the content is not
    assert study.image_path("a.png") == path


def test_label_images_are_checked(make: Make) -> None:
    study = make()
    assert check_study(study) == ([], [])
    file = study.folder / study.image("a.png").labels
    shutil.copy(file, file.with_name("left.tif"))
    content = file.read_bytes()
    file.write_bytes(content[:20])
    problems, notes = check_study(study)
    assert "was changed or damaged" in problems[0]
    assert "labels/left.tif belongs to no image" in notes[0]
    with pytest.raises(InputError):
        study.labels("a.png")
    file.unlink()
    assert "is missing" in check_study(study)[0][0]
    with pytest.raises(InputError, match=r"is missing in the study.*is kept"):
        study.labels("a.png")


def test_annotations_of_cells_that_are_gone_are_told(make: Make) -> None:
    study = make()
    study.annotate(("a.png", 2), "monocyte", "Ada")
    labels = study.labels("a.png")
    labels[labels == 2] = 0
    study.replace_labels("a.png", labels)
    problems, notes = check_study(study)
    assert problems == []
    assert notes == ["1 cell that is gone had a class from people: it is kept, but in no table."]
    info = study_info(study)
    assert (info["cells"], info["annotated"], info["annotations_of_gone_cells"]) == (5, 0, 1)
    table = study.folder / "said.csv"
    table.write_text("label,class\n2,monocyte\n3,monocyte\n", encoding="utf-8")
    assert study.import_annotations(table, "Ada").lost == ["2"]
    assert study.cells()["human"].tolist() == ["", "monocyte", "", "", ""]


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_no_text_is_told(make: Make, tmp_path: Path) -> None:
    study = make()
    bad = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    with pytest.raises(InputError, match="has signs that are no text: rename"):
        fill(study, bad, seed=3)


def test_counts_of_a_study(make: Make) -> None:
    study = make()
    frame = study.cells()
    study.annotate(("a.png", 1), frame["predicted"].iloc[0], "Ada")
    other = next(n for n in ("monocyte", "neutrophil") if n != frame["predicted"].iloc[1])
    study.annotate(("a.png", 2), other, "Ada")
    study.annotate(("a.png", 2), "lymphocyte", "Bob")
    info = study_info(study)
    assert (info["cells"], info["annotated"], info["to_do"]) == (6, 2, 4)
    assert (info["confirmed"], info["disputed"]) == (1, 1)
    assert info["observers"] == {"Ada": 2, "Bob": 1}
    assert sum(one["cells"] for one in info["classes"].values()) == 6
    assert info["models"][0]["model"] == "fake"
    assert info["images"][0]["pixel_size_source"] == "file"
