"""What a new test is made of, checked before any work."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from cytodiffusion.errors import InputError
from cytodiffusion.settings import (
    AllowDownload,
    Device,
    ModelSource,
    PixelSize,
    Seed,
    setting,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Trials of a test when nothing else is asked for: those of each haematologist in Deltadahl et al.
TRIALS = 288

#: Ending of the file of a test.
SUFFIX = ".sqlite"

#: More trials than this are a mistake: nobody answers for a whole day.
MOST_TRIALS = 5000

#: Seconds that an answer takes, about; only for sentences.
SECONDS_AN_ANSWER = 4


class AuthenticitySettings(BaseModel):
    """What a new test is made of."""

    model_config = ConfigDict(frozen=True)

    real: Path = setting(
        title="Real cells",
        description="Real cells: a folder per class, a CSV, a published data set, or "
        '"public" for a small public set that is fetched once, after asking.',
    )
    output: Path = setting(
        title="File of the test",
        description=f"File of the new test, ending in {SUFFIX}; it must not exist.",
    )
    synthetic: Path | None = setting(
        None,
        "Synthetic cells",
        "Generated cells, a folder per class, as cytodiffusion generate writes them; otherwise "
        "the model generates them now.",
    )
    trials: int = setting(TRIALS, "Trials", "Trials, half real and half synthetic.", unit="trials")
    seed: Seed = 0
    classes: tuple[str, ...] = setting(
        (),
        "Classes",
        "Classes to show; otherwise all that have both real and synthetic cells.",
        more=True,
    )
    ask_class: bool = setting(
        True, "Ask for the class", "Let participants say the class too, if they like."
    )
    split: Literal["train", "val", "test", "all"] = setting(
        "all", "Split", "Part of the real data: train, val, test or all.", more=True
    )
    pixel_size_um: PixelSize = None
    model: ModelSource = "default"
    device: Device = "auto"
    allow_download: AllowDownload = False
    steps: int = setting(
        30, "Steps", "Steps of the sampler.", unit="steps", more=True, ge=2, le=1000
    )
    guidance: float = setting(
        1.5,
        "Guidance",
        "1 draws a class as it was learned, more exaggerates it.",
        more=True,
        ge=0,
        le=20,
    )
    reject: bool = setting(
        True,
        "Reject and redraw",
        "Draw anew what the classifier takes for another class.",
        more=True,
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse trials that cannot be halved, and files of another kind."""
        check_trials(self.trials)
        if self.output.suffix.lower() != SUFFIX:
            raise InputError(f"The file of a test ends in {SUFFIX}; {self.output.name} does not.")
        return self

    def record(self) -> dict[str, Any]:
        """Return the settings for a record, paths as text."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in dict(self).items()}


def check_trials(trials: int) -> None:
    """Make sure that so many trials can be half real and half synthetic."""
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
    """Real cells of each class, and as many synthetic ones."""
    import numpy as np

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
    """Make sure that there are enough cells of each class."""
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
    """
    import numpy as np

    digest = hashlib.sha256(participant.encode()).digest()
    words = np.frombuffer(digest[:16], "<u4").tolist()
    return np.random.default_rng([seed, *words]).permutation(n)
