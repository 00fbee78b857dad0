"""Compose a field of view: cells in their places, light, camera, ground truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage as ndi

from cytodiffusion.errors import InputError
from cytodiffusion.progress import Progress, silent
from cytodiffusion.smear.background import haze, photograph, precipitate, restained, uneven_light
from cytodiffusion.smear.generated import Cells, Sampling, drawn_cells, generated_cells
from cytodiffusion.smear.patches import ByteImage, Patch, largest_piece
from cytodiffusion.smear.placement import Slide
from cytodiffusion.smear.procedural import SKETCHES
from cytodiffusion.smear.red_cells import RedCellStyle, red_cell
from cytodiffusion.smear.settings import SmearSettings

if TYPE_CHECKING:
    from cytodiffusion.model.bundle import ModelBundle

RED_CELL, PLATELET, ARTEFACT = "red cell", "platelet", "artefact"

#: Shares of the white cells on the default field. Rare kinds are far more frequent than in
#: blood, so that one field shows them all.
DIFFERENTIAL: Mapping[str, float] = {
    "neutrophil": 3,
    "lymphocyte": 2,
    "eosinophil": 2,
    "monocyte": 2,
    "basophil": 1,
    "immature granulocyte": 1,
    "erythroblast": 1,
}

#: Mean area of a red cell in um2, and the part of the field they cover by default.
_RED_AREA_UM2 = 43.0
_RED_COVER = 0.36


@dataclass(frozen=True, eq=False)
class Smear:
    """A synthetic field and what is on it.

    Attributes
    ----------
    rgb
        ``(Y, X, 3)`` uint8.
    labels
        ``(Y, X)`` int32, 0 background, cells 1..N, each in one piece.
    cells
        One row a label: ``label``, ``class``, ``y``, ``x`` (centroid of the label in pixels).
    pixel_size_um
        Micrometres a pixel.
    seed
        What it was made with.
    settings
        Everything else it was made with, JSON serialisable; of the white cells and platelets,
        ``generated`` were rendered by the model and ``drawn`` are plain sketches.
    warnings
        Sentences the user should read.
    """

    rgb: ByteImage
    labels: npt.NDArray[np.int32]
    cells: pd.DataFrame
    pixel_size_um: float
    seed: int
    settings: dict[str, Any]
    warnings: tuple[str, ...] = ()


def synthetic_smear(
    model: ModelBundle | None = None,
    settings: SmearSettings | None = None,
    *,
    sampling: Sampling | None = None,
    progress: Progress = silent,
) -> Smear:
    """Make a May-Gruenwald-Giemsa smear with known cells, offline.

    White cells and platelets are drawn, rendered by the model as their class, and cut out of
    their crops; red cells, light, stain and camera are procedural. Densities of overlapping
    cells add. A cell that the model cannot render so that it recognises it stays as drawn.
    """
    settings, sampling = settings or SmearSettings(), sampling or Sampling()
    names = _white_names(model, settings.n_white, settings.differential)
    wanted = names + [PLATELET] * settings.n_platelets
    progress(0.0, "Sampling white cells")
    stained = _cells(model, wanted, settings, sampling, progress)
    progress(0.7, "Placing cells")
    px_um = 1 / settings.pixel_size_um
    rng = np.random.default_rng([settings.seed, 0x5EA])
    slide = Slide(settings.shape, px_um, rng, settings.overlap)
    white = list(zip(names, stained.patches[: len(names)], strict=True))
    n_red = _red_cells(settings)
    _fill(slide, white, stained.patches[len(names) :], n_red, settings.n_artefacts)
    progress(0.85, "Taking the picture")
    rgb = _picture(slide, settings, rng)
    labels = slide.labels()
    made: dict[str, Any] = {**settings.model_dump(), "n_red": n_red, "classes": names}
    made |= {
        "model": None if model is None else model.name,
        "generated": int(stained.generated.sum()),
        "drawn": int((~stained.generated).sum()),
    }
    if model is not None:
        made["sampling"] = asdict(sampling)
    cells = _table(labels, [spot.name for spot in slide.spots])
    progress(1.0, "Smear ready")
    warnings = () if model is None else _warnings(model, wanted, stained)
    return Smear(rgb, labels, cells, settings.pixel_size_um, settings.seed, made, warnings)


def _cells(
    model: ModelBundle | None,
    wanted: list[str],
    settings: SmearSettings,
    sampling: Sampling,
    progress: Progress,
) -> Cells:
    """White cells and platelets, from the model where there is one."""
    px_um, seed = 1 / settings.pixel_size_um, settings.seed
    if model is None:
        return drawn_cells(wanted, px_um, seed=seed)

    def sampled(fraction: float, message: str) -> None:
        progress(0.7 * fraction, message)

    return generated_cells(model, wanted, px_um, seed=seed, sampling=sampling, progress=sampled)


def _red_cells(settings: SmearSettings) -> int:
    """How many red cells: so many as were asked for, or as cover a third of the field."""
    if settings.n_red is not None:
        return settings.n_red
    area = settings.height * settings.width * settings.pixel_size_um**2
    return round(_RED_COVER * area / _RED_AREA_UM2)


def _picture(slide: Slide, settings: SmearSettings, rng: np.random.Generator) -> ByteImage:
    """Photograph the slide under the microscope."""
    density = slide.density() + haze(slide.shape, slide.px_um, rng)
    stain = np.random.default_rng([settings.seed, 0x57A1])
    density = restained(density, stain, settings.stain_variation)
    light = uneven_light(slide.shape, rng, settings.light_variation)
    return photograph(light, density, slide.px_um, rng)


def _white_names(
    model: ModelBundle | None, n: int, differential: Mapping[str, float] | None
) -> list[str]:
    """Class of every white cell: the differential by largest remainder."""
    known = [name for name in SKETCHES] if model is None else list(model.untaught.class_names)
    known = [name for name in known if name not in (RED_CELL, PLATELET, ARTEFACT)]
    if differential is None:
        shares = {name: share for name, share in DIFFERENTIAL.items() if name in known}
        shares = shares or dict.fromkeys(known, 1.0)
    else:
        shares = dict(differential)
    for name in shares:
        if name not in known:
            raise InputError(f"'{name}' is no white cell of this model; it knows {_listed(known)}.")
    total = sum(shares.values())
    if n and total <= 0:
        raise InputError("The shares of the white cells must add up to more than 0.")
    exact = {name: n * share / total for name, share in shares.items()} if n else {}
    whole = {name: int(value) for name, value in exact.items()}
    by_rest = sorted(exact, key=lambda name: whole[name] - exact[name])
    for name in by_rest[: n - sum(whole.values())]:
        whole[name] += 1
    return [name for name, count in whole.items() for _ in range(count)]


def _listed(names: list[str]) -> str:
    return ", ".join(names) if names else "none"


def _warnings(model: ModelBundle, wanted: list[str], cells: Cells) -> tuple[str, ...]:
    """Say which cells of the smear are not the model's."""
    left = [name for name, made in zip(wanted, cells.generated, strict=True) if not made]
    if not left:
        return ()
    counts = ", ".join(f"{name} ({left.count(name)})" for name in dict.fromkeys(left))
    return (
        f"The model '{model.name}' rendered {len(wanted) - len(left)} of {len(wanted)} white cells "
        f"and platelets; plain drawings stand in for the rest: {counts}.",
    )


def _fill(
    slide: Slide,
    white: list[tuple[str, Patch]],
    platelets: list[Patch],
    n_red: int,
    n_artefacts: int,
) -> None:
    """Put everything on the slide, the large and rare first."""
    rng, px_um = slide.rng, slide.px_um
    for name, patch in sorted(white, key=lambda cell: -cell[1].radius):
        _place(slide, name, patch, inside=True, on_top=True)
    for _ in range(n_artefacts):
        _place(slide, ARTEFACT, _stain_cluster(px_um, rng), inside=True)
    for patch in platelets:
        _place(slide, PLATELET, patch, inside=True)
    style = RedCellStyle.draw(rng)
    for _ in range(n_red):
        _place(slide, RED_CELL, red_cell(px_um, style, rng), overlaps=True)


def _place(
    slide: Slide,
    name: str,
    patch: Patch,
    *,
    inside: bool = False,
    overlaps: bool = False,
    on_top: bool = False,
) -> None:
    if not slide.put(name, patch, inside=inside, overlaps=overlaps, on_top=on_top):
        height, width = (side / slide.px_um for side in slide.shape)
        raise InputError(
            f"There is no room for so many cells on a field of {width:.0f} x {height:.0f} um; "
            "ask for fewer or for a larger field."
        )


def _stain_cluster(px_um: float, rng: np.random.Generator) -> Patch:
    """Draw a cluster of precipitate; its outline closes the gaps between the grains."""
    side = int(14 * px_um)
    density = precipitate((side, side), px_um, rng, spread=0.35)
    closed = ndi.gaussian_filter(density[..., 1], 0.35 * px_um) > 0.10
    return Patch(density, ndi.binary_fill_holes(largest_piece(closed)))


def _table(labels: npt.NDArray[np.int32], names: list[str]) -> pd.DataFrame:
    """Ground truth table; centroids in one pass."""
    n = len(names)
    flat = labels.ravel()
    area = np.maximum(np.bincount(flat, minlength=n + 1)[1:], 1)
    yy, xx = np.indices(labels.shape)
    y = np.bincount(flat, weights=yy.ravel(), minlength=n + 1)[1:] / area
    x = np.bincount(flat, weights=xx.ravel(), minlength=n + 1)[1:] / area
    return pd.DataFrame({"label": np.arange(1, n + 1), "class": names, "y": y, "x": x})
