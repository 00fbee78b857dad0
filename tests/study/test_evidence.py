"""A classification comes back from bytes as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
from studies import NAMES, FakeModel, made_up

from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import InputError
from cytodiffusion.study import Study
from cytodiffusion.study.evidence import pack, unpack


def assert_same(one: Classification, other: Classification) -> None:
    for part in fields(Classification):
        a, b = getattr(one, part.name), getattr(other, part.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        elif isinstance(a, dict):
            assert a.keys() == b.keys()
            for key in a:
                np.testing.assert_array_equal(a[key], b[key])
        elif isinstance(a, Classification):
            assert_same(a, b)
        else:
            assert a == b, part.name


def result(cells: int = 5) -> Classification:
    return made_up(np.random.default_rng(1).dirichlet(np.ones(len(NAMES)), cells))


def test_all_of_it_comes_back() -> None:
    whole = replace(
        result(), coarse=result(), adjusted=True, accept_above=0.7, certainty_name="margin"
    )
    for one in (whole, result(1), replace(result(), embedding=None, traits=())):
        cells, back = unpack(pack(np.arange(len(one)) + 7, one))
        assert cells.tolist() == [n + 7 for n in range(len(one))]
        assert_same(one, back)
        assert one.to_frame().equals(back.to_frame())
    _, back = unpack(pack(np.arange(5), replace(result(), anomaly_threshold=float("inf"))))
    assert back.anomaly_threshold == float("inf")


@pytest.mark.parametrize("content", [b"", b"nothing", pack(np.arange(5), result())[:-9]])
def test_damaged_bytes_are_told(content: bytes) -> None:
    with pytest.raises(InputError, match="is damaged: classify again"):
        unpack(content)


def test_a_study_gives_it_back_for_the_cells_that_are_there(make: Callable[..., Study]) -> None:
    study = make()
    assert study.classification("a.png") is None  # nothing was kept
    frame, kept = study.cells(), result(6)
    table = kept.to_frame().assign(label=frame["label"].to_numpy())
    shuffled = table.iloc[::-1]
    study.put_predictions("a.png", shuffled, FakeModel(), ClassifySettings(), kept)
    cells, back = study.classification("a.png")
    assert cells.tolist() == frame.index.tolist()
    assert_same(kept, back)
    labels = study.labels("a.png")
    labels[labels == 2] = 0
    labels[0, :] = np.where(labels[1, :] == 3, 3, 0)  # a changed outline
    study.replace_labels("a.png", labels)
    cells, back = study.classification("a.png")
    assert cells.tolist() == [c for c in frame.index if frame.loc[c, "label"] not in (2, 3)]
    np.testing.assert_array_equal(back.posterior, np.delete(kept.posterior, [1, 2], axis=0))
    assert study.classification("a.png", run=999) is None
