"""Which image labels are of: renamed, copied, closed, opened again, and labels of others."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari.layers._layer_actions import _duplicate_layer
from napari.layers._source import layer_source

from napari_cytodiffusion.layers.belonging import (
    OTHER,
    OWN,
    UNCLEAR,
    UNFIT,
    best_cells,
    bind,
    image_of,
    name_of_image,
    relation,
)
from napari_cytodiffusion.session import Session


def image(name="A", shape=(8, 10), **place):
    return Image(np.zeros((*shape, 3), np.uint8), name=name, rgb=True, **place)


def cells(name="cells", shape=(8, 10), **place):
    return Labels(np.zeros(shape, int), name=name, **place)


def test_cells_are_those_of_the_image_they_were_found_in():
    a, b, own = image("A"), image("B"), cells()
    bind(own, a)
    assert relation(own, a, [a, b]) == OWN
    assert relation(own, b, [a, b]) == OTHER
    assert image_of(own, [b, a]) is a
    a.name = own.name = "renamed"
    assert relation(own, a, [a, b]) == OWN
    # it does not become the other one's when its image goes
    assert relation(own, b, [b]) == OTHER
    assert image_of(own, [b]) is None
    assert name_of_image(own) == "A"


def test_a_word_of_the_user_adds_an_image():
    a, b, own = image("A"), image("B"), cells()
    bind(own, a)
    bind(own, b)
    bind(own, b)
    assert relation(own, a, [a, b]) == relation(own, b, [a, b]) == OWN
    assert image_of(own, [b, a]) is a


def test_copies_know_each_other():
    viewer = ViewerModel()
    a, own = viewer.add_layer(image("A")), viewer.add_layer(cells())
    bind(own, a)
    for layer in (a, own):
        viewer.layers.selection = {layer}
        _duplicate_layer(viewer.layers)
    images = [viewer.layers["A"], viewer.layers["A copy"]]
    for labels in (own, viewer.layers["cells copy"]):
        assert [relation(labels, one, images) for one in images] == [OWN, OWN]
    foreign = cells("foreign")
    assert relation(foreign, a, images) == OWN


def test_an_image_that_is_opened_again_from_its_file():
    with layer_source(path="a.tif"):
        first, again, series = image("A"), image("A"), image("A [1]")
    own = cells()
    bind(own, first)
    assert relation(own, again, [again]) == OWN
    assert relation(own, series, [series]) == OTHER
    with layer_source(path="b.tif"):
        assert relation(own, image("A"), []) == OTHER


def test_labels_of_others_go_by_shape_and_place():
    a, b = image("A"), image("B", scale=(2, 2))
    plain, scaled, small = cells(), cells(scale=(2, 2)), cells(shape=(4, 4))
    assert relation(plain, a, [a]) == OWN
    assert relation(scaled, a, [a]) == OWN  # the only one there is, as a file without a scale
    assert relation(plain, a, [a, b]) == OWN
    assert relation(plain, b, [a, b]) == OTHER
    assert relation(scaled, b, [a, b]) == OWN
    assert relation(small, a, [a, b]) == UNFIT
    twin = image("C")
    assert relation(plain, a, [a, twin]) == relation(plain, twin, [a, twin]) == UNCLEAR
    assert relation(cells(translate=(5, 5)), a, [a, twin]) == UNCLEAR
    micrometres = image("D", units=("um", "um"))
    assert relation(plain, a, [a, micrometres]) == OWN


def test_several_labels_of_one_image():
    a, b = image("A"), image("B")
    first, second, foreign, of_b = cells("1"), cells("2"), cells("3"), cells("4")
    for labels, of in ((first, a), (second, a), (of_b, b)):
        bind(labels, of)
    offered = [first, second, foreign, of_b]
    assert best_cells(a, offered, [a, b], None) is second
    assert best_cells(a, offered, [a, b], first) is first
    assert best_cells(a, offered, [a, b], foreign) is second
    assert best_cells(b, offered, [a, b], first) is of_b
    assert best_cells(b, [first, foreign], [a, b], first) is foreign
    assert best_cells(b, [first], [a, b], first) is None


@pytest.mark.parametrize("early", [True, False])
def test_labels_opened_while_one_image_is_there_stay_with_it(early):
    viewer = ViewerModel()
    a = viewer.add_layer(image("A"))
    if early:
        foreign = viewer.add_layer(cells())
        session = Session.of(viewer)
    else:
        session = Session.of(viewer)
        foreign = viewer.add_layer(cells())
    b = viewer.add_layer(image("B"))
    assert [relation(foreign, one, [a, b]) for one in (a, b)] == [OWN, OTHER]
    doubtful = viewer.add_layer(cells())
    assert [relation(doubtful, one, [a, b]) for one in (a, b)] == [UNCLEAR, UNCLEAR]
    session.close()


def test_a_smear_and_its_truth_belong_together():
    from cytodiffusion.smear import SmearSettings, synthetic_smear
    from napari_cytodiffusion.smear.jobs import smear_layers

    viewer = ViewerModel()
    smear = synthetic_smear(None, SmearSettings(height=384, width=512, n_white=1))
    for _ in range(2):
        for data, options, kind in smear_layers(smear):
            getattr(viewer, f"add_{kind}")(data, **options)
    first, truth, second, other = viewer.layers
    images = [first, second]
    assert [relation(truth, one, images) for one in images] == [OWN, OTHER]
    assert [relation(other, one, images) for one in images] == [OTHER, OWN]
