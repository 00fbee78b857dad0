"""What a new test is made of, checked before any work."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cytodiffusion.errors import InputError
from cytodiffusion.image import check_pixel_size

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
