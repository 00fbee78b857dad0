"""Pictures are made in a thread, kept for a while, and failures are told once."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from qtpy.QtCore import QObject

from cytodiffusion.errors import InputError
from napari_cytodiffusion.review.thumbnails import Thumbnails


@pytest.fixture
def thumbnails(qtbot):
    parent = QObject()
    made = Thumbnails(parent)
    yield made
    qtbot.waitUntil(lambda: made._job is None, timeout=10_000)


def grey(rows, side, values=None):
    values = rows if values is None else values
    yield rows, np.stack([np.full((side, side, 3), value, np.uint8) for value in values])


def test_pictures_arrive_from_a_thread(thumbnails, qtbot):
    threads = set()

    def cut(rows, side):
        threads.add(threading.get_ident())
        return grey(rows, side)

    thumbnails.set_source(cut)
    assert thumbnails.get(7) is None
    thumbnails.want(range(60))
    qtbot.waitUntil(lambda: thumbnails.get(59) is not None, timeout=10_000)
    image = thumbnails.get(7)
    assert (image.width(), image.pixelColor(3, 3).red()) == (96, 7)
    assert threading.get_ident() not in threads


def test_what_was_wanted_for_other_cells_is_dropped(thumbnails, qtbot):
    go, begun = threading.Event(), threading.Event()

    def slow(rows, side):
        begun.set()
        go.wait(10)
        return grey(rows, side)

    thumbnails.set_source(slow)
    thumbnails.want([1])
    assert begun.wait(10)
    thumbnails.set_source(lambda rows, side: grey(rows, side, [9] * len(rows)))
    thumbnails.want([1])
    go.set()
    qtbot.waitUntil(lambda: thumbnails.get(1) is not None, timeout=10_000)
    assert thumbnails.get(1).pixelColor(0, 0).red() == 9


def test_a_bounded_number_is_kept(thumbnails, qtbot, monkeypatch):
    monkeypatch.setattr("napari_cytodiffusion.review.thumbnails._KEPT_BYTES", 0)
    thumbnails.set_source(lambda rows, side: grey(rows, side, [0] * len(rows)))
    thumbnails.want(range(500))
    qtbot.waitUntil(lambda: thumbnails.get(499) is not None, timeout=10_000)
    assert sum(thumbnails.get(row) is not None for row in range(500)) <= 200


def test_a_failure_is_told_once_and_not_tried_again(thumbnails, qtbot):
    tried, told = [], []

    def broken(rows, side):
        tried.append(list(rows))
        yield rows, InputError("The image a.png is no longer there.")

    thumbnails.failed.connect(told.append)
    thumbnails.set_source(broken)
    for _ in range(2):
        thumbnails.want([1, 2])
        qtbot.waitUntil(lambda: thumbnails._job is None, timeout=10_000)
    assert tried == [[1, 2]]
    assert told == ["The image a.png is no longer there."]
