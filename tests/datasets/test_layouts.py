"""Every layout is known by its shape and read with its labels, splits and attributes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from trees import write_tree

from cytodiffusion.datasets import LAYOUTS, find_records, read_dataset
from cytodiffusion.errors import InputError
from cytodiffusion.taxonomy import load_taxonomy

PBC_FILES = (
    *("basophil/BA_1.jpg", "ig/MY_2.jpg", "ig/PMY_3.jpg", "ig/IG_4.jpg", "ig/MMY_5.jpg"),
    *("neutrophil/BNE_6.jpg", "neutrophil/SNE_7.jpg", "platelet/PLATELET_8.jpg"),
    *("platelet/PLATELET_9.jpg", "basophil/BA_10.jpg"),
)


def test_pbc_as_published(tmp_path: Path) -> None:
    write_tree(tmp_path / "PBC_dataset_normal_DIB", PBC_FILES)
    data = read_dataset(tmp_path)
    assert data.layout == "pbc"
    assert Counter(r.label for r in data.records) == {
        "immature granulocyte": 4, "basophil": 2, "neutrophil": 2, "platelet": 2,
    }  # fmt: skip
    subtypes = {r.path.stem: r.attributes["subtype"] for r in data.records}
    assert subtypes["SNE_7"] == "SNE"
    assert subtypes["MMY_5"] == "MMY"
    assert any("ig is immature granulocyte" in note for note in data.notes)
    assert any("hash of the image's name" in note for note in data.notes)
    assert read_dataset(tmp_path / "PBC_dataset_normal_DIB").layout == "pbc"


def test_pbc_in_splits(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        write_tree(tmp_path / split, PBC_FILES)
    data = read_dataset(tmp_path)
    assert data.layout == "pbc"
    assert Counter(r.split for r in data.records) == {"train": 10, "val": 10, "test": 10}


def test_folders_named_as_in_pbc_with_other_files_are_plain_folders(tmp_path: Path) -> None:
    write_tree(tmp_path, ["basophil/a.png", "basophil/b.png", "platelet/c.png", "platelet/d.png"])
    assert read_dataset(tmp_path).layout == "folders"


def test_raabin(tmp_path: Path) -> None:
    files = [
        *(f"Train/{c}/{n}.jpg" for c in ("Basophil", "Eosinophil", "Lymphocyte") for n in "ab"),
        *("TestA/Basophil/c.jpg", "Test-B/Neutrophil/d.jpg"),
    ]
    data = read_dataset(write_tree(tmp_path, files))
    assert data.layout == "raabin"
    assert {r.label for r in data.records} == {
        *("basophil", "eosinophil", "lymphocyte", "neutrophil"),
    }
    tested = {r.path.stem: r.attributes["part"] for r in data.records if r.split == "test"}
    assert tested == {"c": "TestA", "d": "TestB"}
    assert Counter(r.split for r in data.records if "Train" in r.path.parts) == {
        "train": 3, "val": 3,
    }  # fmt: skip


def test_matek_bone_marrow(tmp_path: Path) -> None:
    files = [
        *("NGS/0001-1000/NGS_00001.jpg", "NGS/1001-2000/NGS_01001.jpg", "ABE/ABE_00001.jpg"),
        *("ABE/ABE_00002.jpg", "PEB/PEB_00001.jpg", "PEB/PEB_00002.jpg", "misc/notes.jpg"),
    ]
    data = read_dataset(write_tree(tmp_path / "BM_cytomorphology_data", files).parent)
    assert data.layout == "matek-bone-marrow"
    labels = Counter(r.label for r in data.records)
    assert labels == {"segmented neutrophil": 2, "abnormal eosinophil": 2, "proerythroblast": 2}
    assert {r.attributes["code"] for r in data.records} == {"NGS", "ABE", "PEB"}
    assert any("misc" in note for note in data.notes)


@pytest.mark.parametrize(
    ("layout", "taxonomy", "n"),
    [("matek-bone-marrow", "bone-marrow", 21), ("matek-aml", "aml", 15)],
)
def test_all_codes_of_matek_have_names(tmp_path: Path, layout: str, taxonomy: str, n: int) -> None:
    codes = [c.code for c in load_taxonomy(taxonomy).classes]
    files = [f"{code}/{code}_{number}.jpg" for code in codes for number in (1, 2)]
    data = read_dataset(write_tree(tmp_path, files))
    assert data.layout == layout
    assert Counter(r.split for r in data.records) == {"train": n, "val": n}
    names = {r.attributes["code"]: r.label for r in data.records}
    assert len(names) == len(set(names.values())) == n
    assert names["EBO"] == "erythroblast"


def test_matek_aml(tmp_path: Path) -> None:
    files = [f"{c}/{c}_{n}.tiff" for c in ("NGS", "MYO", "MOB", "LYA", "EBO") for n in "01"]
    data = read_dataset(write_tree(tmp_path / "AML-Cytomorphology_LMU", files))
    assert data.layout == "matek-aml"
    assert {r.label for r in data.records} == {
        *("segmented neutrophil", "myeloblast", "monoblast", "atypical lymphocyte", "erythroblast"),
    }


@pytest.fixture
def cytodata(tmp_path: Path) -> Path:
    return write_tree(tmp_path, [f"images/part1/{n}.png" for n in range(8)])


def test_cytodata(cytodata: Path) -> None:
    (cytodata / "labels.csv").write_text(
        "image_name,cell_type,expert_confidence,patient_id,stain\n"
        "0.png,Neutrophil,100,p1,x\n1.png,blast,62.5,p1,x\n2.png,Blast,80,p2,x\n"
        "3.png,neutrophil,90,p2,\n4.png,,,p3,x\n99.png,blast,50,p3,x\n"
    )
    data = read_dataset(cytodata)
    assert data.layout == "cytodata"
    found = {r.path.name: r for r in data.records}
    assert set(found) == {"0.png", "1.png", "2.png", "3.png", "4.png"}
    assert found["1.png"].label_confidence == 0.625
    assert found["0.png"].label == found["3.png"].label == "neutrophil"
    assert found["4.png"].label is None
    assert found["4.png"].split == "train"
    assert found["0.png"].group == found["1.png"].group == "p1"
    assert found["0.png"].attributes == {"stain": "x"}
    assert {found["0.png"].split, found["2.png"].split} == {"train", "val"}
    said = "; ".join(data.notes)
    assert "path = image_name, class = cell_type, group = patient_id" in said
    assert "percentages" in said
    assert "1 of 6 images of labels.csv are not there" in said
    assert "3 images that no table names" in said


def test_cytodata_has_ten_classes_and_confidences(tmp_path: Path) -> None:
    classes = (
        *("artefact", "basophil", "blast", "eosinophil", "erythroblast"),
        *("immature granulocyte", "lymphocyte", "monocyte", "neutrophil", "platelet"),
    )
    rows = [
        f"{k}_{n}.png,{name.title()},{0.5 + 0.05 * k:.2f},slide{n}"
        for k, name in enumerate(classes)
        for n in range(3)
    ]
    write_tree(tmp_path / "images", [row.split(",")[0] for row in rows])
    table = ["filename,label,label_confidence,slide_id", *rows]
    (tmp_path / "annotations.csv").write_text("\n".join(table) + "\n")
    records = find_records(tmp_path)
    assert Counter(r.label for r in records) == dict.fromkeys(classes, 3)
    sure = {r.label: r.label_confidence for r in records}
    assert [sure[name] for name in classes] == pytest.approx([0.5 + 0.05 * k for k in range(10)])
    splits = {r.group: r.split for r in records}
    assert Counter(splits.values()) == {"train": 2, "val": 1}
    assert all(splits[r.group] == r.split for r in records)


def test_cytodata_by_identifiers_and_tables_of_splits(cytodata: Path) -> None:
    (cytodata / "cells_train.csv").write_text("Image ID,Label\n0,blast\n1,monocyte\n")
    (cytodata / "cells_test.csv").write_text("Image ID,Label\n2,blast\n3,monocyte\n")
    (cytodata / "cells_val.csv").write_text("Image ID,Label\n4,blast\n5,monocyte\n")
    records = find_records(cytodata)
    assert {(r.path.stem, r.split) for r in records} == {
        *(("0", "train"), ("1", "train"), ("2", "test"), ("3", "test"), ("4", "val"), ("5", "val")),
    }


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Class folders with notes on two of their images beside them."""
    write_tree(tmp_path, [f"{c}/{n}.png" for c in ("red", "blue") for n in range(14)])
    (tmp_path / "checked.csv").write_text("image,label\nred/1.png,red\n2.png,blue\n")
    return tmp_path


def test_a_stray_table_does_not_turn_class_folders_into_cytodata(classes: Path) -> None:
    data = read_dataset(classes)
    assert data.layout == "folders"
    assert Counter(r.label for r in data.records) == {"red": 14, "blue": 14}
    assert any("checked.csv beside the class folders was not read" in n for n in data.notes)
    assert data.warnings == []
    taken = read_dataset(classes, "cytodata")
    assert len(taken.records) == 2
    assert taken.warnings == [f"{classes}: 26 images that no table names (of 28) were left out."]


@pytest.mark.parametrize("content", ["image,label\nred/1.png,x\n,\nnan,nan\n", 'image,label\n"'])
def test_a_stray_table_may_be_nonsense(classes: Path, content: str) -> None:
    (classes / "checked.csv").write_text(content)
    assert read_dataset(classes).layout == "folders"


def test_a_table_that_names_most_images_counts_beside_class_folders(classes: Path) -> None:
    rows = [f"{c}/{n}.png,blast" for c in ("red", "blue") for n in range(8)]
    (classes / "checked.csv").write_text("\n".join(["image,label", *rows]))
    data = read_dataset(classes)
    assert data.layout == "cytodata"
    assert {r.label for r in data.records} == {"blast"}
    assert data.warnings == [f"{classes}: 12 images that no table names (of 28) were left out."]


def test_cytodata_with_many_unlabelled_images_is_that(tmp_path: Path) -> None:
    write_tree(tmp_path, [f"{c}/{n}.png" for c in ("images", "Unlabelled") for n in range(9)])
    (tmp_path / "labels.csv").write_text("image,label\nimages/1.png,blast\n2.png,monocyte\n")
    assert read_dataset(tmp_path).layout == "cytodata"


def test_cytodata_without_its_images_is_told(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,label\na.png,blast\n")
    with pytest.raises(InputError, match=r"None of the images that .*labels.csv names"):
        find_records(tmp_path)
    with pytest.raises(InputError, match="no CSV with a column of images"):
        find_records(tmp_path / "..", layout="cytodata")


ATTRIBUTES = "img_name,label,cell_size,cell_shape,granularity,path\n"


def test_wbcatt(tmp_path: Path) -> None:
    write_tree(tmp_path / "PBC_dataset_normal_DIB", PBC_FILES)
    for split, rows in {
        "train": "BNE_6.jpg,Neutrophil,big,round,yes,PBC_dataset_normal_DIB/neutrophil/BNE_6.jpg\n"
        "BA_10.jpg,Basophil,big,round,yes,elsewhere/BA_10.jpg\n",
        "val": "SNE_7.jpg,Neutrophil,small,round,yes,\n",
        "test": "BA_1.jpg,Basophil,big,,yes,\nEO_77.jpg,Eosinophil,big,round,yes,\n",
    }.items():
        (tmp_path / f"pbc_attr_v1_{split}.csv").write_text(ATTRIBUTES + rows)
    data = read_dataset(tmp_path)
    assert data.layout == "wbcatt"
    found = {r.path.stem: r for r in data.records}
    assert {k: r.split for k, r in found.items()} == {
        "BNE_6": "train", "BA_10": "train", "SNE_7": "val", "BA_1": "test",
    }  # fmt: skip
    assert found["SNE_7"].attributes == {
        "cell_size": "small", "cell_shape": "round", "granularity": "yes", "subtype": "SNE",
    }  # fmt: skip
    assert found["BA_1"].label == "basophil"
    assert any("1 of 5 images" in note for note in data.notes)
    assert read_dataset(tmp_path / "pbc_attr_v1_train.csv").layout == "wbcatt"


def test_wbcatt_without_its_images_is_told(tmp_path: Path) -> None:
    (tmp_path / "pbc_attr_v1_train.csv").write_text(ATTRIBUTES + "a.jpg,Basophil,big,round,no,\n")
    with pytest.raises(InputError, match="put the images of PBC below"):
        find_records(tmp_path)


@pytest.mark.data
def test_the_real_attributes(data_root: Path) -> None:
    data = read_dataset(data_root / "pbc" / "attributes.csv")
    assert data.layout == "wbcatt"
    assert len(data.records) > 5000
    assert all(len(r.attributes) == 12 for r in data.records)
    assert all(r.split == r.path.parents[1].name for r in data.records)
    assert all(r.label == r.path.parent.name for r in data.records)


def test_a_manifest(tmp_path: Path) -> None:
    write_tree(tmp_path, ["a/1.png", "a/2.png", "b/3.png", "b/4.png"])
    (tmp_path / "manifest.csv").write_text(
        "path,dataset,class,subtype,split\na/1.png,a,ig,MY,train\na/2.png,a,blast,,val\n"
        "b/3.png,b,blast,,shift\nb/4.png,b,blast,mask,\nb/boxes.xml,b,,,boxes\n"
    )
    data = read_dataset(tmp_path / "manifest.csv")
    assert data.layout == "manifest"
    assert [(r.path.name, r.label, r.split) for r in data.records] == [
        ("1.png", "immature granulocyte", "train"),
        ("2.png", "blast", "val"),
    ]
    assert data.records[0].attributes == {"dataset": "a", "subtype": "MY"}
    one = find_records(f"{tmp_path}/manifest.csv#b")
    assert [(r.path.name, r.split) for r in one] == [("3.png", "test")]
    with pytest.raises(InputError, match="no data set 'c'; it has a, b"):
        find_records(f"{tmp_path}/manifest.csv#c")


def test_folders_with_crops_without_a_label(tmp_path: Path) -> None:
    files = [*(f"red/{n}.png" for n in range(4)), *(f"blue/{n}.png" for n in range(4))]
    write_tree(tmp_path, [*files, *(f"_unlabelled/deep/{n}.png" for n in range(9))])
    records = find_records(tmp_path)
    free = [r for r in records if r.label is None]
    assert len(free) == 9
    assert {r.split for r in free} == {"train"}  # nothing is chosen by them


def test_training_and_test_images_without_validation(tmp_path: Path) -> None:
    files = [f"{s}/{c}/{n}.png" for s in ("Training", "test") for c in ("x", "y") for n in "abcd"]
    data = read_dataset(write_tree(tmp_path, files))
    assert Counter(r.split for r in data.records)["test"] == 8
    assert {r.label for r in data.records if r.split == "val"} == {"x", "y"}
    assert any("validate" in note for note in data.notes)


def test_a_test_split_alone_is_one(tmp_path: Path) -> None:
    records = find_records(write_tree(tmp_path / "a", ["test/red/1.png", "test/blue/2.png"]))
    assert {(r.label, r.split) for r in records} == {("red", "test"), ("blue", "test")}
    classes = ["dev/1.png", "dev/2.png", "test/3.png", "test/4.png"]  # of something, who knows
    assert {r.label for r in find_records(write_tree(tmp_path / "b", classes))} == {"dev", "test"}


def test_a_table_with_everything(tmp_path: Path) -> None:
    write_tree(tmp_path, ["a.png", "b.png"])
    table = tmp_path / "cells.csv"
    table.write_text(
        "path,class,split,slide,patient,confidence,note\n"
        "a.png,red,train,s1,p1,0.9,first\nb.png,Neutrophils,validation,s2,p2,,\n"
    )
    first, second = find_records(table)
    assert (first.group, first.label_confidence) == ("p1", 0.9)  # a patient is more than a slide
    assert (first.slide, first.attributes) == ("s1", {"note": "first"})
    assert (second.label, second.split, second.label_confidence) == ("neutrophil", "val", None)
    assert (second.slide, second.attributes) == ("s2", {})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path,class\na.png,nan\n", r"row 2: 'nan' is not the name of a class"),
        ("path,class,confidence\na.png,x,NaN\n", "row 2: the label confidence 'NaN'"),
        ("path,class,confidence\na.png,x,0.5\nb.png,x,1.5\n", "row 3: the label confidence"),
        ("path,class,confidence\na.png,x,inf\n", "label confidence 'inf'"),
        ("path,class,patient\na.png,x,NaN\n", "row 2: 'NaN' names no patient"),
        ("path,class\n,x\n", "row 2: there is no path"),
        ("path,class\nnan,x\n", "row 2: there is no path"),
        ("path,class\na.png,x\na.png,y\n", "row 3: a.png stands in the table twice"),
        ("path,class,split,patient\na.png,x,train,p\nb.png,x,val,p\n", "p is in two splits"),
    ],
)
def test_rows_that_make_no_sense_are_told(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "cells.csv").write_text(content)
    with pytest.raises(InputError, match=said):
        find_records(tmp_path / "cells.csv")


def test_layouts_and_splits_can_be_asked_for(tmp_path: Path) -> None:
    write_tree(tmp_path, PBC_FILES)
    assert read_dataset(tmp_path, "folders").records[0].attributes == {}
    assert {r.split for r in find_records(tmp_path, split="test")} == {"test"}
    with pytest.raises(InputError, match="no layout 'pcb': choose auto or"):
        find_records(tmp_path, "pcb")
    with pytest.raises(InputError, match="split 'all'"):
        find_records(tmp_path, split="all")
    for name in LAYOUTS:
        with pytest.raises(InputError):
            find_records(tmp_path / "nowhere", name)


def test_another_layout_than_that_of_the_data_is_told(tmp_path: Path) -> None:
    write_tree(tmp_path, ["x/a.png", "y/b.png"])
    for name, said in {
        "raabin": "none of the folders",
        "matek-aml": "no folders named by class codes",
        "wbcatt": "no table of WBCAtt",
        "csv": "not a CSV",
    }.items():
        with pytest.raises(InputError, match=said):
            find_records(tmp_path, name)
