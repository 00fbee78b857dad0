"""What is said of counterfactual cells and morphs: that they are synthetic, and of which class.

The word synthetic comes first, so that it is the last to be cut off where there is little room. A
picture that the model does not take for the target is never called one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def version_caption(target: str, still: str = "") -> str:
    """Name a counterfactual cell; ``still`` is the class it is taken for if not the target."""
    if still:
        return f"synthetic: changed towards {target}, still taken for {still}"
    return f"synthetic version: {target}"


def frame_caption(share: float, own: str, target: str, still: str = "") -> str:
    """Name a frame of a morph.

    Parameters
    ----------
    share : float
        Of the target class in the frame, 0 to 1.
    own, target : str
        Classes of the cell itself and of the version at the end.
    still : str
        Class that the version at the end is taken for, where it is not the target.
    """
    if share <= 0:
        return f"{own}: the cell itself"
    if still:
        return version_caption(target, still)
    # rounded down, so that only the end is called the end
    return f"synthetic: {int(100 * share + 1e-6)} % of the way to {target}"


def film_captions(frames: int, record: Mapping[str, Any]) -> list[str]:
    """Return the captions of all frames of a morph, by the record of its end."""
    if not {"predicted", "target"} <= record.keys():
        return ["synthetic"] * frames
    own, target = record["predicted"], record["target"]
    still = "" if record.get("flipped", True) else record.get("taken_for", own)
    return [frame_caption(share, own, target, still) for share in even_shares(frames)]


def even_shares(frames: int) -> NDArray[np.float32]:
    """Share of the target class in each frame of a morph, ``(F,)``."""
    return np.linspace(0, 1, frames, dtype=np.float32)
