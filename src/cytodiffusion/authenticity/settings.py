"""What a new test is made of, checked before any work."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytodiffusion.errors import InputError
from cytodiffusion.image.pixels import check_pixel_size

#: Trials of a test when nothing else is asked for: those of each haematologist in Deltadahl et al.
TRIALS = 288

#: Ending of the file of a test.
SUFFIX = ".sqlite"

#: More trials than this are a mistake: nobody answers for a whole day.
MOST_TRIALS = 5000

#: Seconds that an answer takes, about; only for sentences.
SECONDS_AN_ANSWER = 4


@dataclass(frozen=True)
class AuthenticitySettings:
    """What a new test is made of.

    Attributes
    ----------
    real : Path
        Labelled single-cell images: anything `cytodiffusion.datasets.read_dataset` takes.
    output : Path
        File of the test, ending in ``.sqlite``; must not exist.
    synthetic : Path or None
        Folder of generated cells, a folder per class; None lets the model generate them.
    trials : int
        Even; half of them real, half synthetic.
    seed : int
        Of the draw of cells, of the generated cells and of the order.
    classes : tuple of str
        Classes to show; empty for all that have both real and synthetic cells.
    ask_class : bool
        Whether participants may also say the class.
    split : str
        Part of the real data: ``train``, ``val``, ``test`` or ``all``.
    pixel_size_um : float or None
        Micrometres a pixel of the real images; None for that of the files, else an estimate.
    model, device, allow_download
        Which model generates, and judges how clear each cell's class is.
    steps, guidance
        Of the sampling.
    reject : bool
        Whether generated cells that the model's own classifier denies are drawn anew.

    Raises
    ------
    InputError
        If a value makes no sense.
    """

    real: Path
    output: Path
    synthetic: Path | None = None
    trials: int = TRIALS
    seed: int = 0
    classes: tuple[str, ...] = ()
    ask_class: bool = True
    split: str = "all"
    pixel_size_um: float | None = None
    model: str = "default"
    device: str = "auto"
    allow_download: bool = False
    steps: int = 30
    guidance: float = 1.5
    reject: bool = True

    def __post_init__(self) -> None:
        check_trials(self.trials)
        if not 0 <= self.seed < 2**40:
            raise InputError(f"The seed must lie between 0 and 2**40, not {self.seed}.")
        if self.split not in ("train", "val", "test", "all"):
            raise InputError(f"The split {self.split!r} is not one of train, val, test, all.")
        if self.output.suffix.lower() != SUFFIX:
            raise InputError(f"The file of a test ends in {SUFFIX}; {self.output.name} does not.")
        if not 2 <= self.steps <= 1000 or not 0 <= self.guidance <= 20:
            raise InputError(
                "Sampling takes 2 to 1000 steps and a guidance of 0 to 20, not "
                f"{self.steps} and {self.guidance:g}."
            )
        if self.pixel_size_um is not None:
            check_pixel_size(self.pixel_size_um)

    def record(self) -> dict[str, Any]:
        """Return the settings for a record, paths as text."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}


def check_trials(trials: int) -> None:
    """Make sure that so many trials can be half real and half synthetic.

    Raises
    ------
    InputError
        If they are odd, too few or absurdly many.
    """
    if trials < 2:
        raise InputError(f"A test takes at least 2 trials, one real and one synthetic: {trials}.")
    if trials % 2:
        raise InputError(
            f"A test takes an even number of trials, half real and half synthetic: {trials - 1} "
            f"or {trials + 1}, not {trials}."
        )
    if trials > MOST_TRIALS:
        hours = trials * SECONDS_AN_ANSWER / 3600
        raise InputError(
            f"{trials:,} trials would take a participant about {hours:,.0f} hours; at most "
            f"{MOST_TRIALS:,} are possible, and {TRIALS} are usual."
        )


def counts_of(trials: int, classes: Sequence[str], seed: int = 0) -> dict[str, int]:
    """Real cells of each class, and as many synthetic ones.

    Parameters
    ----------
    trials : int
        Of real and synthetic cells together.
    classes : sequence of str
    seed : int
        Decides which classes get one more where the classes do not divide the trials.

    Returns
    -------
    dict
        Differ by one at most; twice their sum is ``trials``.

    Raises
    ------
    InputError
        If the trials are odd, or too few to show each class.
    """
    check_trials(trials)
    half, k = trials // 2, len(classes)
    if half < k:
        raise InputError(
            f"{trials} trials are too few for {k} classes: at least {2 * k}, a real and a "
            "synthetic cell of each, or name fewer classes."
        )
    more = set(np.random.default_rng([seed, 1]).permutation(k)[: half % k].tolist())
    return {name: half // k + (i in more) for i, name in enumerate(classes)}


def check_enough(
    found: Mapping[str, int], wanted: Mapping[str, int], what: str, why: str = ""
) -> None:
    """Make sure that there are enough cells of each class.

    Parameters
    ----------
    found, wanted : mapping
        Cells of each class.
    what : str
        ``"real"`` or ``"synthetic"``.
    why : str
        What else there is to say, such as why images were not used.

    Raises
    ------
    InputError
        Says how many there are of each class that lacks some, and what fits.
    """
    lacking = [name for name, n in wanted.items() if found.get(name, 0) < n]
    if not lacking:
        return
    there = ", ".join(f"{found.get(name, 0)} {name}" for name in lacking)
    most = max(wanted.values())
    fits = 2 * len(wanted) * min(found.get(name, 0) for name in wanted)
    full = [name for name in wanted if name not in lacking]
    ways = [f"at most {fits} trials fit"] if fits else []
    if full:
        ways.append(f"leave {'it' if len(lacking) == 1 else 'them'} out with the classes to show")
    raise InputError(
        f"Too few {what} cells: {2 * sum(wanted.values())} trials over {len(wanted)} classes take "
        f"up to {most} {what} cells of each, but there are only {there}{why}; "
        f"{', or '.join(ways) or 'add cells'}."
    )


def order_of(n: int, seed: int, participant: str) -> NDArray[np.int64]:
    """Order ``(n,)`` in which a participant sees the cells.

    A plain random permutation: any rule, such as no long runs, would tell something about the
    next cell. Each participant has an own one, so that what tires is not always the same cells.

    Parameters
    ----------
    n : int
    seed : int
        Of the test.
    participant : str
        The name decides, so that the same name and seed give the same order.
    """
    digest = hashlib.sha256(participant.encode()).digest()
    words = np.frombuffer(digest[:16], "<u4").tolist()
    return np.random.default_rng([seed, *words]).permutation(n)
