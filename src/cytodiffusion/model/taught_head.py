"""What people taught a model: a small head on what its network, left as it is, says of a cell.

The head adds to the logarithm of the network's posterior an offset a class and a linear function of
the embedding, so that it may also name classes that the network does not know. With it travel the
cells that it was taught, as their embeddings and posteriors, so that the next teaching forgets
none of them; no image does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from cytodiffusion.errors import BundleError
from cytodiffusion.model.files import read_json, read_tensors
from cytodiffusion.model.validation_record import ValidationRecord

CONFIG, WEIGHTS = "head.json", "head.safetensors"

FILES = (CONFIG, WEIGHTS)

#: What the tensors of the memory and of the validation record are called in the file.
MEMORY, RECORD = "taught.", "validation."

#: Cells of each class of the network's own validation that are kept beside the taught ones.
KEPT_OF_EACH = 40

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TaughtCells:
    """What the network says of M cells that people gave a class.

    Attributes
    ----------
    keys : (M,) int64 array
        The same number for the same cell of the same image.
    classes : (M,) int64 array
        Numbers of the classes that they were given.
    base : (M, K) float32 array
        Logarithms of the network's posterior, with no class expected over others.
    embedding : (M, D) float32 array
    unusual : (M,) float32 array
        By how much their anomaly score is above that of a usual cell.
    """

    keys: NDArray[np.int64]
    classes: NDArray[np.int64]
    base: NDArray[np.float32]
    embedding: NDArray[np.float32]
    unusual: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> TaughtCells:
        return TaughtCells(*(getattr(self, f.name)[rows] for f in fields(self)))

    def __add__(self, other: TaughtCells) -> TaughtCells:
        return TaughtCells(
            *(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self))
        )


@dataclass(frozen=True, eq=False)
class TaughtHead:
    """A head that was fitted to taught cells.

    Attributes
    ----------
    scale : float
        Of the logarithms of the network's posterior.
    offsets : (J,) float32 array
        For the K classes of the network and those that it does not know.
    weights : (D, J) float32 array
        Of the embedding less the mean over training cells.
    unknown : float
        What stands for the logarithm of the network's posterior in classes that it does not know.
    carried : (M,) float32 array
        By how much the anomaly score of a cell falls for being like each taught cell.
    cells : TaughtCells
        What the head was fitted to, and what is kept for the next teaching.
    validation : ValidationRecord
        Of taught cells that were held out, with the temperature of the posterior; without any
        cells where they are too few to tell.
    origin : dict
        ``name``, ``version`` and ``sha256`` of the model before anything was taught.
    """

    scale: float
    offsets: NDArray[np.float32]
    weights: NDArray[np.float32]
    unknown: float
    carried: NDArray[np.float32]
    cells: TaughtCells
    validation: ValidationRecord
    origin: dict[str, str] = field(default_factory=dict)

    @property
    def n_known(self) -> int:
        """Number K of classes of the network."""
        return int(self.cells.base.shape[1])

    def logits(self, base: Floats, away: Floats) -> Floats:
        """Return logits ``(N, J)``.

        Parameters
        ----------
        base : (N, K) array
            Logarithms of the network's posterior.
        away : (N, D) array
            Embeddings less their mean over training cells.
        """
        new = np.full((len(base), len(self.offsets) - base.shape[1]), self.unknown)
        whole = self.scale * np.concatenate([base, new], axis=1)
        return np.asarray(whole + self.offsets + away @ self.weights.astype(np.float64))

    def joined(self, kept: ValidationRecord) -> ValidationRecord:
        """Return the network's own validation record and that of taught cells as one.

        Of the network's cells few of each class are kept, evenly over their scores: it is the
        taught ones that say what to expect where the model was taught.
        """
        own = self.validation
        if not len(own.classes) or not len(kept.classes) or not len(kept.true):
            return kept
        some, cells = _few_of_each(kept.classes), _few_of_each(kept.true)
        scores = torch.cat([kept.scores[some], own.scores])
        order = torch.argsort(scores, stable=True)
        return ValidationRecord(
            scores=scores[order],
            classes=torch.cat([kept.classes[some], own.classes])[order],
            confidence=torch.cat([kept.confidence[cells], own.confidence]),
            correct=torch.cat([kept.correct[cells], own.correct]),
            true=torch.cat([kept.true[cells], own.true]),
            called=torch.cat([kept.called[cells], own.called]),
            temperature=kept.temperature,
            measured=kept.measured,
        )

    def check(self, n_known: int, n_classes: int, embedding: int) -> None:
        """ValueError unless the arrays fit the network, the classes and each other."""
        m = len(self.cells)
        expected: dict[str, tuple[NDArray[Any], tuple[int, ...]]] = {
            "offsets": (self.offsets, (n_classes,)),
            "weights": (self.weights, (embedding, n_classes)),
            "carried": (self.carried, (m,)),
            "classes": (self.cells.classes, (m,)),
            "posteriors": (self.cells.base, (m, n_known)),
            "embeddings": (self.cells.embedding, (m, embedding)),
            "anomaly scores": (self.cells.unusual, (m,)),
        }
        for name, (found, shape) in expected.items():
            if found.shape != shape:
                raise ValueError(f"its {name} have the shape {found.shape}, not {shape}")
            if not np.isfinite(found).all():
                raise ValueError(f"its {name} have entries that are not numbers")
        if m and not 0 <= self.cells.classes.min() <= self.cells.classes.max() < n_classes:
            raise ValueError("it was taught classes that are not there")
        if not (0 < self.scale < math.inf and math.isfinite(self.unknown)):
            raise ValueError("its scale must be positive")
        self.validation.check(n_classes)


def _few_of_each(classes: Tensor) -> Tensor:
    """Return rows of at most `KEPT_OF_EACH` cells of each class, evenly over their order."""
    rows = []
    for k in range(int(classes.max()) + 1):
        own = (classes == k).nonzero().squeeze(1)
        count = min(KEPT_OF_EACH, len(own))
        rows.append(own[torch.linspace(0, len(own) - 1, count).round().long()])
    return torch.cat(rows).sort().values


def save_taught_head(folder: Path, head: TaughtHead) -> None:
    """Write the two files of a head into a bundle's folder."""
    content = {
        "known": head.n_known,
        "scale": head.scale,
        "unknown": head.unknown,
        "origin": head.origin,
        "temperature": head.validation.temperature,
        "measured": head.validation.measured,
    }
    (folder / CONFIG).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    arrays = {"offsets": head.offsets, "weights": head.weights, "carried": head.carried}
    arrays |= {MEMORY + f.name: getattr(head.cells, f.name) for f in fields(TaughtCells)}
    tensors = {name: torch.from_numpy(a.copy()) for name, a in arrays.items()}
    save_file(tensors | head.validation.to_tensors(RECORD), folder / WEIGHTS)


def known_classes(folder: Path) -> int | None:
    """Return how many classes the network of a taught bundle knows; None where it says no number.

    The file must be there.
    """
    known = read_json(folder / CONFIG).get("known")
    return known if isinstance(known, int) and known > 0 else None


def load_taught_head(folder: Path, n_known: int, n_classes: int, embedding: int) -> TaughtHead:
    """Read the head of a bundle; BundleError where it does not fit the bundle or itself."""
    content, tensors = read_json(folder / CONFIG), read_tensors(folder / WEIGHTS)
    try:
        head = _from_parts(content, tensors, n_classes)
        head.check(n_known, n_classes, embedding)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"{CONFIG} of the bundle {folder} describes nothing that was taught: {error}."
        ) from error
    return head


def _from_parts(
    content: Mapping[str, Any], tensors: Mapping[str, Tensor], n_classes: int
) -> TaughtHead:
    record = {k.removeprefix(RECORD): v for k, v in tensors.items() if k.startswith(RECORD)}
    arrays = {k: v.numpy() for k, v in tensors.items() if not k.startswith(RECORD)}
    cells = TaughtCells(**{f.name: arrays[MEMORY + f.name] for f in fields(TaughtCells)})
    return TaughtHead(
        scale=float(content["scale"]),
        offsets=arrays["offsets"],
        weights=arrays["weights"],
        unknown=float(content["unknown"]),
        carried=arrays["carried"],
        cells=cells,
        validation=ValidationRecord.from_tensors(
            record, float(content["temperature"]), content["measured"], n_classes
        ),
        origin={str(k): str(v) for k, v in content["origin"].items()},
    )
