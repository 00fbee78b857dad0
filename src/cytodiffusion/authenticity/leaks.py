"""What could give the answer away without a look at the cell: measured on the test itself."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from scipy.stats import mannwhitneyu

from cytodiffusion.authenticity.standardise import decode
from cytodiffusion.authenticity.store import AuthenticityTest
from cytodiffusion.image.stain import estimate_background

_BLOCK = 8  # side of the blocks of JPEG

#: A measure tells much from this far of an AUC of 0.5 on, and up to this probability of chance.
MUCH, CHANCE = 0.2, 0.01


def leaks(images: Sequence[bytes], synthetic: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Measure how well simple properties of the images tell synthetic from real ones.

    Parameters
    ----------
    images : sequence of bytes
        JPEG, as shown.
    synthetic : (N,) bool array
    """
    pixels = [decode(image) for image in images]
    found = []
    for name, measure in MEASURES.items():
        values = np.array([measure(i, p) for i, p in zip(images, pixels, strict=True)], float)
        found.append({"measure": name, **_tells(values, synthetic)})
    return sorted(found, key=lambda row: -abs(row["auc"] - 0.5))


def _sharpness(image: bytes, pixels: NDArray[np.uint8]) -> float:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.log(cv2.Laplacian(grey, cv2.CV_32F).var() + 1e-3))


def _blocks(image: bytes, pixels: NDArray[np.uint8]) -> float:
    """Return the steps at the borders of JPEG's blocks against those elsewhere, across and down."""
    grey = pixels.mean(axis=2)
    steps = np.abs(np.diff(grey, axis=1)).mean(axis=0) + np.abs(np.diff(grey, axis=0)).mean(axis=1)
    border = np.arange(1, len(grey)) % _BLOCK == 0
    return float(steps[border].mean() / (steps[~border].mean() + 1e-6))


def _comb(image: bytes, pixels: NDArray[np.uint8]) -> float:
    """Grey values that no pixel has among those in use: what stretching a histogram leaves."""
    counts = np.bincount(pixels.ravel(), minlength=256)[64:225]
    return float((counts == 0).mean())


def _mirrored(image: bytes, pixels: NDArray[np.uint8]) -> float:
    """How alike the outermost rows and columns are to those inside: windows filled by mirroring."""
    grey = pixels.mean(axis=2)
    sides = (grey, grey[::-1], grey.T, grey.T[::-1])
    return float(min(np.abs(side[0] - side[2]).mean() for side in sides))


#: A name, and what measures it in the file and in its pixels.
MEASURES: dict[str, Callable[[bytes, NDArray[np.uint8]], float]] = {
    "file size": lambda image, pixels: len(image),
    "sharpness": _sharpness,
    "brightness of the background": lambda image, pixels: float(estimate_background(pixels).mean()),
    "colour of the background": lambda image, pixels: float(
        np.subtract(*estimate_background(pixels)[[0, 2]])
    ),
    "saturated pixels": lambda image, pixels: float((pixels >= 254).mean()),
    "JPEG blocks": _blocks,
    "gaps in the histogram": _comb,
    "mirrored border": _mirrored,
}


def leak_note(test: AuthenticityTest) -> str:
    """Say what of a test could give the answer away, and what has been ruled out.

    It is told before the test as well, so it never says which of both kinds has more of what.
    """
    rows = test.rows("SELECT image, synthetic FROM cells ORDER BY id")
    images = [bytes(image) for image, _ in rows]
    synthetic = np.array([bool(made) for _, made in rows])
    ruled_out = ["file names (the cells have numbers only)"]
    told: list[str] = []
    same = len({_coding(image) for image in images}) == 1
    (ruled_out if same else told).append("number of pixels and JPEG coding")
    order = _tells(np.arange(len(images), dtype=float), synthetic)
    (told if _is_much(order, 1) else ruled_out).append("order of the cells")
    found = test.record.get("leaks") or leaks(images, synthetic)
    for row in found:
        much = _is_much(row, len(found))
        (told if much else ruled_out).append(str(row["measure"]))
    text = f"Checked on this test, of no help: {', '.join(ruled_out)}."
    if not told:
        return f"{text} Nothing was found that gives the answer away."
    right = ", ".join(_with_auc(name, found) for name in told)
    return (
        f"Could give the answer away without a look at the cell: {right}. (An AUC of "
        f"0.5 tells nothing, of 1 everything.) {text}"
    )


def _with_auc(name: str, found: Sequence[Mapping[str, Any]]) -> str:
    row = next((row for row in found if row["measure"] == name), None)
    if row is None:
        return name
    # 0.1 tells as much as 0.9, and must not say which kind has more
    return f"{name} (AUC {max(row['auc'], 1 - row['auc']):.2f})"


def _coding(image: bytes) -> tuple[Any, ...]:
    """Size, format and tables of the coding of an image."""
    with Picture.open(io.BytesIO(image)) as picture:
        tables = getattr(picture, "quantization", {})
        return picture.size, picture.format, tuple((k, tuple(v)) for k, v in tables.items())


def _tells(values: NDArray[np.float64], synthetic: NDArray[np.bool_]) -> dict[str, Any]:
    """Area under the ROC curve of a measure, and its probability by chance."""
    made, real = values[synthetic], values[~synthetic]
    if not len(made) or not len(real) or np.ptp(values) == 0:
        return {"auc": 0.5, "p": 1.0}
    test = mannwhitneyu(made, real, method="asymptotic")
    auc = float(test.statistic) / (len(made) * len(real))
    return {"auc": round(auc, 4), "p": float(test.pvalue)}


def _is_much(row: Mapping[str, Any], measures: int) -> bool:
    """Whether a measure tells the two kinds apart, and not by chance among so many."""
    return bool(abs(row["auc"] - 0.5) >= MUCH and row["p"] * measures <= CHANCE)
