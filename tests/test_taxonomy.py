"""Class hierarchies: names, neighbours, colours, and scores that know them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from cytodiffusion.errors import InputError
from cytodiffusion.taxonomy import (
    READY,
    Taxonomy,
    group_scores,
    load_taxonomy,
    taxonomy_for,
    tolerant,
    white_classes,
)

#: How dichromats see linear RGB (Machado, Oliveira & Fernandes 2009, severity 1).
VISION = {
    "normal": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]
    ),
}  # fmt: skip
MATEK = "ABE ART BAS BLA EBO EOS FGC HAC KSC LYI LYT MMZ MON MYB NGB NGS NIF OTH PEB PLM PMO"
AML = "BAS EBO EOS KSC LYA LYT MMZ MOB MON MYB MYO NGB NGS PMB PMO"


@pytest.mark.parametrize(("name", "codes"), [("bone-marrow", MATEK), ("aml", AML)])
def test_ready_taxonomies_know_every_code(name: str, codes: str) -> None:
    taxonomy = load_taxonomy(name)
    assert {c.code for c in taxonomy.classes} == set(codes.split())
    assert all(taxonomy.group_of(code) != code for code in codes.split())


@pytest.mark.parametrize("name", READY)
def test_colours_are_told_apart_also_by_colour_blind_eyes(name: str) -> None:
    colors = [c.color for c in load_taxonomy(name).classes]
    srgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colors])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    for matrix in VISION.values():
        seen = np.clip(linear @ matrix.T, 0, 1)
        seen = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
        lab = rgb2lab(seen[None])[0]
        distance = deltaE_ciede2000(lab[:, None], lab[None])
        np.fill_diagonal(distance, np.inf)
        assert distance.min() > 8  # about three just noticeable differences


def test_stages_of_maturation_are_neighbours() -> None:
    marrow = load_taxonomy("bone-marrow")
    stages = ["BLA", "PMO", "MYB", "MMZ", "NGB", "NGS"]
    assert all(marrow.are_neighbours(a, b) for a, b in pairwise(stages))
    assert not marrow.are_neighbours("BLA", "MYB")
    assert marrow.are_neighbours("erythroblast", "PEB")
    assert marrow.are_neighbours("LYI", "LYT")
    assert not marrow.are_neighbours("LYT", "EBO")


def test_labels_may_be_written_differently() -> None:
    blood = load_taxonomy("peripheral-blood")
    for label in ("ig", "Immature_Granulocyte", "immature-granulocytes"):
        found = blood.find(label)
        assert found is not None
        assert found.name == "immature granulocyte"
    assert blood.find("unheard of") is None
    assert blood.group_of("unheard of") == "unheard of"


def test_tolerant_scores_count_neighbours_as_right() -> None:
    marrow = load_taxonomy("bone-marrow")
    labels = ["NGS", "NGS", "NGB", "EBO", "alien", "alien"]
    predicted = ["NGB", "MMZ", "NGB", "PEB", "alien", "NGS"]
    assert tolerant(labels, predicted, marrow).tolist() == [True, False, True, True, True, False]
    matrix = marrow.tolerance(["NGS", "NGB", "EBO"])
    assert matrix.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_scores_of_groups() -> None:
    marrow = load_taxonomy("bone-marrow")
    scores = group_scores(["NGS", "NGB", "EBO", "PEB"], ["MMZ", "LYT", "PEB", "EBO"], marrow)
    assert scores["accuracy"] == 0.75
    assert scores["recall"] == {"erythroid": 1.0, "neutrophil lineage": 0.5}
    assert scores["balanced_accuracy"] == 0.75
    assert np.isnan(group_scores([], [], marrow)["accuracy"])
    with pytest.raises(ValueError, match="as many"):
        group_scores(["NGS"], [], marrow)


def test_the_taxonomy_is_found_by_the_class_names() -> None:
    def found(*names: str) -> str | None:
        taxonomy = taxonomy_for(names)
        return taxonomy.name if taxonomy else None

    assert found(*MATEK.split()) == "bone-marrow"
    assert found(*AML.split()) == "aml"
    assert found("neutrophil", "lymphocyte", "red cell", "crystal") == "peripheral-blood"
    assert found("blue", "green", "red") is None
    assert found("neutrophil", "blue") is None
    assert found() is None


def test_an_own_taxonomy(tmp_path: Path) -> None:
    content = {
        "name": "two",
        "classes": [
            {"name": "young", "code": "Y", "color": "#102030", "group": "g"},
            {"name": "old", "color": "#ffffff", "aliases": ["aged"]},
        ],
        "neighbours": [["Y", "aged"]],
    }
    path = tmp_path / "two.json"
    path.write_text(json.dumps(content))
    taxonomy = load_taxonomy(path)
    assert taxonomy.are_neighbours("young", "old")
    assert Taxonomy.from_dict(taxonomy.to_dict()) == taxonomy


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"classes": []}, "no classes"),
        ({"classes": [{"name": "a"}]}, "color is missing"),
        ({"classes": [{"name": "a|b", "color": "#000000"}]}, "cannot be the name"),
        ({"classes": [{"name": "a", "color": "blue"}]}, "not a colour"),
        ({"classes": [{"name": "a", "color": "#000000", "size": 3}]}, "unknown entry 'size'"),
        ({"classes": [{"name": n, "color": "#000000"} for n in ("a", "A")]}, "two classes"),
        ({"classes": 3}, "wrong kind"),
        ({"neighbours": [["a", "c"]]}, "'c' is not among"),
        ({"neighbours": ["ab"]}, "not a pair"),
        ({"neighbours": [["a", "a"]]}, "own neighbour"),
    ],
)
def test_a_wrong_taxonomy_is_told(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "wrong.json"
    rows = [{"name": "a", "color": "#000000"}, {"name": "b", "color": "#ffffff"}]
    path.write_text(json.dumps({"name": "x", "classes": rows} | change))
    with pytest.raises(InputError, match=said):
        load_taxonomy(path)


def test_what_is_no_taxonomy_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bone-marrow"):
        load_taxonomy("nothing")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        load_taxonomy(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(InputError, match="wrong kind"):
        load_taxonomy(tmp_path / "x.json")


def test_white_cells_are_told_by_name_then_by_group() -> None:
    names = ("neutrophil", "RBC", "erythroblast", "Platelets", "artifact", "smudge cell", "odd")
    assert white_classes(names).tolist() == [True, False, False, False, False, False, True]
    assert white_classes(("odd", "strange"), ("red", "lymphoid")).tolist() == [False, True]
    assert white_classes(("monocyte",), ("red",)).tolist() == [True]
