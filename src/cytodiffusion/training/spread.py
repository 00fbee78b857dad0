"""How embeddings spread within classes and overall."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: Shrinkage of covariances towards a multiple of the identity.
SHRINKAGE = 0.1


def embedding_spread(embedding: Tensor, labels: Tensor) -> dict[str, Any]:
    """Means and whitening factors of the embeddings, within classes and overall."""
    x = embedding.double()
    centres = torch.stack([x[labels == k].mean(0) for k in range(int(labels.max()) + 1)])
    within = x - centres[labels]
    overall = x - x.mean(0)
    return {
        "embedding_mean": x.mean(0).float(),
        "class_means": centres.float(),
        "within_factor": whitening(covariance(within)).float(),
        "total_factor": whitening(covariance(overall)).float(),
    }


def covariance(centred: Tensor) -> Tensor:
    """Covariance ``(D, D)`` of centred rows ``(N, D)``."""
    return centred.T @ centred / max(1, len(centred) - 1)


def whitening(covariance: Tensor) -> Tensor:
    """Matrix ``(D, D)`` that gives rows of this covariance the unit one when multiplied."""
    scale = covariance.diagonal().mean()
    eye = torch.eye(len(covariance), dtype=covariance.dtype)
    covariance = (1 - SHRINKAGE) * covariance + (SHRINKAGE * scale + 1e-9) * eye
    values, vectors = torch.linalg.eigh(covariance)
    factor: Tensor = vectors @ values.clamp(min=1e-12).rsqrt().diag() @ vectors.T
    return factor
