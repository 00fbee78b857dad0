"""A small public set of real white cells, for those who have no cells of their own.

Thirty-six fields of the BCCD data set (MIT licence) with one whole white cell each, by commit, so
that they never change. Each is checked against the checksum in ``public_cells.csv`` and refused
where it differs; the white cell is cut out with what surrounds it. Class and place of a cell are
those published with the set; eosinophils whose granules are not to be seen are left out.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from cytodiffusion.errors import CytoDiffusionError, DownloadNeeded, InputError
from cytodiffusion.files.writers import write_run_json
from cytodiffusion.image.calibrated_tiff import write_calibrated
from cytodiffusion.image.image import open_image
from cytodiffusion.progress import Progress, silent

#: In the place of a folder of real cells: the small public set.
PUBLIC = "public"
#: Where the fields lie, by the commit of the data set.
URL = (
    "https://raw.githubusercontent.com/Shenggan/BCCD_Dataset/"
    "ec96fe4104e9bb329f0d263db95cf1edd8c09909/BCCD/JPEGImages"
)
ATTRIBUTION = "BCCD data set, https://github.com/Shenggan/BCCD_Dataset, MIT licence"
#: Trials of an authenticity test for which enough of its cells show what surrounds them.
TRIALS = 40
#: Bytes of all fields, about.
SIZE = 730_000
#: Micrometres a pixel: red cells, of 7.4 um, are 104 pixels wide on all fields together.
PIXEL_SIZE_UM = 0.071
#: Pixels of a side of what is cut out, where the field reaches so far.
_SIDE = 400
_ABOUT = "about.json"


@dataclass(frozen=True)
class PublicCell:
    """A white cell: the field that it is on, its class, its middle in pixels, the checksum."""

    image: str
    class_name: str
    x: int
    y: int
    sha256: str


def listed() -> list[PublicCell]:
    """Return the cells of the set."""
    text = (resources.files("cytodiffusion.datasets") / "public_cells.csv").read_text("utf-8")
    return [
        PublicCell(row["image"], row["class"], int(row["x"]), int(row["y"]), row["sha256"])
        for row in csv.DictReader(text.splitlines())
    ]


def is_public(source: Path) -> bool:
    """Whether a source of real cells means the public set rather than a folder of that name."""
    return str(source) == PUBLIC and not source.exists()


def cache_folder() -> Path:
    """Return where the set is kept once it is here."""
    import pooch

    return Path(pooch.os_cache("napari-cytodiffusion")) / "public-cells"


def public_cells(
    allow_download: bool = False,
    progress: Progress = silent,
    *,
    folder: Path | None = None,
    url: str = URL,
) -> Path:
    """Return the folder of the public set, a folder per class; fetched once, if allowed.

    Parameters
    ----------
    allow_download : bool
        Whether somebody has agreed; else `DownloadNeeded` says what would be fetched.
    folder : Path, optional
        Where to keep it.
    url : str
        Where the fields are.
    """
    kept = folder or cache_folder()
    cells = kept / "cells"
    if (kept / _ABOUT).is_file():
        return cells
    wanted = listed()
    if not allow_download:
        raise DownloadNeeded(
            f"The small public set of real cells must be downloaded from github.com first: "
            f"{len(wanted)} fields, {SIZE / 1e6:.1f} MB ({ATTRIBUTION}). Each file is checked "
            f"against its checksum and kept in {kept}."
        )
    for number, cell in enumerate(wanted):
        progress(number / len(wanted), f"fetching real cells, {number + 1} of {len(wanted)}")
        _cut(_fetched(cell, kept / "fields", url), cell, cells)
    write_run_json(kept / _ABOUT, about())
    progress(1.0, "the real cells are here")
    return cells


def about() -> dict[str, Any]:
    """Return where the cells come from, for the record of whatever is made of them."""
    return {
        "attribution": ATTRIBUTION,
        "licence": "MIT",
        "source": URL,
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
        "pixel_size_um": PIXEL_SIZE_UM,
        "sha256": {f"{cell.image}.jpg": cell.sha256 for cell in listed()},
    }


def _fetched(cell: PublicCell, folder: Path, url: str) -> Path:
    import pooch

    name = f"{cell.image}.jpg"
    try:
        with _quiet():
            found = pooch.retrieve(
                f"{url}/{name}", known_hash=f"sha256:{cell.sha256}", fname=name, path=folder
            )
    except ValueError as error:  # pooch says so where the checksum differs
        raise InputError(
            f"{name} from {url} is not the file that it should be: its checksum differs. Nothing "
            "of it was kept."
        ) from error
    except Exception as error:  # the network fails in many ways
        raise CytoDiffusionError(
            f"The public cells could not be fetched from {url}: {error}".rstrip(".") + "."
        ) from error
    return Path(found)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep pooch from printing a line for each file."""
    import pooch

    logger = pooch.get_logger()
    before = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(before)


def _cut(path: Path, cell: PublicCell, folder: Path) -> None:
    """Write what surrounds a white cell, as far as the field reaches."""
    rgb = open_image(path).rgb()
    height, width = rgb.shape[:2]
    reach = min(_SIDE // 2, cell.x, cell.y, width - cell.x, height - cell.y)
    part = rgb[cell.y - reach : cell.y + reach, cell.x - reach : cell.x + reach]
    note = {"attribution": ATTRIBUTION, "field": cell.image}
    write_calibrated(folder / cell.class_name / f"{cell.image}.tif", part, PIXEL_SIZE_UM, note)
