"""Draw synthetic cells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytodiffusion.api.inputs import as_image, as_model
from cytodiffusion.progress import Progress, silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cytodiffusion.generation.cells import GeneratedCells
    from cytodiffusion.model.bundle import ModelBundle


def generate(
    counts: Mapping[str, int],
    model: ModelBundle | str | Path = "default",
    *,
    towards: str | None = None,
    share: float = 0.5,
    stain_of: str | Path | NDArray[Any] | None = None,
    insist: bool = False,
    progress: Progress = silent,
    **options: Any,
) -> GeneratedCells:
    """Draw synthetic cells.

    A cell that the model's own classifier does not accept is drawn anew, and left out when it is
    never accepted. Synthetic cells are for research and teaching; never count them as patients'.

    Parameters
    ----------
    counts : mapping of str to int
        How many cells of each class.
    model : ModelBundle, str or Path
        A loaded diffusion model, or what `load_model` takes.
    towards : str, optional
        Another class, to draw cells between the two.
    share : float
        How far to go towards it: 0 stays at the asked class, 1 arrives at the other.
    stain_of : str, Path or array, optional
        An image of a smear in whose stain the cells are to be: a file, or a ``(Y, X, 3)`` array.
        Its empty slide, red cells and nuclei give the colours (linear in optical density, as in
        Ruifrok & Johnston 2001); focus and grain are not imitated.
    insist : bool
        Whether to begin orders of more than 2,000 cells.
    progress : callable
        Called with the fraction done, 0 to 1, and a short message. It may raise ``Cancelled``;
        the cells that are done by then are returned.
    **options
        Fields of `GenerationSettings`: ``seed``, ``steps``, ``guidance``, ``reject`` and others.

    Returns
    -------
    GeneratedCells
        ``cells.pixels`` is an ``(N, S, S, 3)`` uint8 array, S = 128 with the default model, and
        ``cells.pixel_size_um`` its scale; ``cells.classes`` and ``cells.frame()`` say what each
        is, and ``cells.warnings`` what is missing.

    Raises
    ------
    InputError
        If the model draws no such class, a count or setting makes no sense, or so many cells are
        asked for without `insist`, or ``stain_of`` shows no cells.
    OutOfMemoryError
        If the device runs out of memory even for one cell at a time.
    Cancelled
        If `progress` raised it before any cell was done.

    Notes
    -----
    Two networks draw one after the other (Ho et al. 2022, *Cascaded diffusion models for high
    fidelity image generation*, JMLR 23:47) with classifier-free guidance (Ho & Salimans 2022).
    Each cell depends on the seed, its class and its number alone.

    Examples
    --------
    >>> cells = cd.generate({"neutrophil": 4}, seed=1)
    >>> cells.pixels.shape
    (4, 128, 128, 3)
    """
    from cytodiffusion.errors import InputError
    from cytodiffusion.generation.generate import generate as draw
    from cytodiffusion.generation.order import GenerationSettings, Mix
    from cytodiffusion.image.image import as_rgb8
    from cytodiffusion.model.bundle import ModelBundle as Diffusion
    from cytodiffusion.settings import make_settings

    settings = make_settings(GenerationSettings, options)
    mix = None if towards is None else make_settings(Mix, {"name": towards, "share": share})
    loaded = as_model(model)
    if not isinstance(loaded, Diffusion):
        raise InputError(f"{loaded.name} is a baseline: only diffusion models draw cells.")
    return draw(
        loaded,
        counts,
        settings,
        towards=mix,
        insist=insist,
        progress=progress,
        stain_of=None if stain_of is None else as_rgb8(as_image(stain_of)),
    )
