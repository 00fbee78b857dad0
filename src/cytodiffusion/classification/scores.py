"""Probabilities of logits, and how uncertain they are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def softmax(logits: Floats) -> Floats:
    """Rows of ``logits (N, K)`` as probabilities that sum to 1."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def entropy(posterior: Floats) -> Floats:
    """Shannon entropy ``(N,)`` of each row, in nats."""
    logs = np.log(np.where(posterior > 0, posterior, 1.0))
    return np.asarray(np.maximum(0.0, -(posterior * logs).sum(axis=1)))


def confidence(posterior: Floats) -> Floats:
    """Largest probability ``(N,)`` of each row."""
    return np.asarray(posterior.max(axis=1, initial=0.0))


def margin(posterior: Floats) -> Floats:
    """Largest minus second largest probability ``(N,)``; 1 where there is one class."""
    if posterior.shape[1] < 2:
        return np.ones(len(posterior))
    top = np.partition(posterior, -2, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0])


def fit_temperature(logits: Floats, labels: NDArray[np.int64]) -> float:
    """Temperature that minimises the log loss of ``softmax(logits / T)`` (Guo et al. 2017)."""

    def loss(log_temperature: float) -> float:
        probabilities = softmax(logits / math.exp(log_temperature))
        true = probabilities[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(true, 1e-12)).mean())

    from scipy.optimize import minimize_scalar  # slow to import

    found = minimize_scalar(loss, bounds=(-4.0, 4.0), method="bounded")
    return float(math.exp(found.x))
