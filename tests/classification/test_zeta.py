from __future__ import annotations

import numpy as np
import pytest

from cytodiffusion.classification.anomaly import normalised, zeta
from cytodiffusion.errors import InputError


def by_loops(row: np.ndarray, stop: int, k: int) -> float:
    e = sorted(row)
    lead = sum(abs(e[j] - e[0]) for j in range(1, stop)) / k
    pairs = sum(abs(e[a] - e[j]) for j in range(1, stop) for a in range(1, stop))
    return lead - pairs / (k * (k - 1))


def test_zeta_by_hand() -> None:
    # rivals 2, 3, 5 of the best 0: lead 10/3; pairs |2-3| |2-5| |3-5| twice: 12 / 6
    assert zeta([[3.0, 0.0, 5.0, 2.0]]) == pytest.approx([10 / 3 - 2])
    # the published loops see 2 and 3 only: 5/3 - 2/6
    assert zeta([[3.0, 0.0, 5.0, 2.0]], as_published=True) == pytest.approx([5 / 3 - 1 / 3])


@pytest.mark.parametrize("n_classes", [3, 8, 11, 21])
def test_zeta_is_the_double_loop(n_classes: int) -> None:
    errors = np.random.default_rng(0).gamma(2, size=(5, n_classes))
    k = min(n_classes - 1, 10)
    for row, ours, theirs in zip(
        errors, zeta(errors), zeta(errors, as_published=True), strict=True
    ):
        assert ours == pytest.approx(by_loops(row, k + 1, k))
        assert theirs == pytest.approx(by_loops(row, k, k))


def test_a_class_that_stands_out_has_the_larger_zeta() -> None:
    clear, unsure = zeta([[0.0, 1.0, 1.0, 1.0], [0.0, 0.1, 1.5, 1.6]])
    assert clear == pytest.approx(1.0)
    assert unsure < clear


def test_few_classes() -> None:
    assert zeta([[0.5]]) == pytest.approx([0.0])
    assert zeta([[2.0, 0.0]]) == pytest.approx([2.0])
    assert zeta([[2.0, 0.0]], as_published=True) == pytest.approx([0.0])
    assert zeta(np.zeros((0, 4))).shape == (0,)


def test_normalised() -> None:
    assert normalised([[5.0, 2.0, 8.0]]) == pytest.approx(np.array([[1.0, 0.0, 2.0]]))
    assert normalised([[3.0, 3.0]]) == pytest.approx(np.zeros((1, 2)))
    assert normalised(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("wrong", [[1.0, 2.0], [[1.0, np.nan]], np.zeros((3, 0))])
def test_no_table(wrong: object) -> None:
    with pytest.raises(InputError, match="one row a cell"):
        zeta(wrong)  # type: ignore[arg-type]
