"""Leave out red cells, platelets and artefacts that have a white cell beside them.

    python -m scripts.default_data.alone CELLS.csv ALONE.csv

A generator that is trained on them draws white cells where red cells were asked for. Test images
are all kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.progress import track
from scripts.default_data.make import PIXEL_SIZE_UM

from cytodiffusion.cells.crops import centre_crop
from cytodiffusion.generation.generate import has_company
from cytodiffusion.image.image import open_image
from cytodiffusion.image.stain import estimate_background
from cytodiffusion.model.codec import to_network, to_uint8, to_unit
from cytodiffusion.settings import WINDOW_UM

#: Classes whose cells are to be alone, and the side of a generator's cell in pixels.
ALONE, SIZE = ("red cell", "platelet", "artefact"), 128


def is_alone(path: str) -> bool:
    """Whether the cell of an image has no nucleus beside it, as a generator would be shown it."""
    rgb = open_image(path).rgb()
    crop = torch.from_numpy(centre_crop(rgb, PIXEL_SIZE_UM, SIZE, WINDOW_UM)).permute(2, 0, 1)
    unit = to_unit(crop[None], torch.from_numpy(np.asarray(estimate_background(rgb))))
    return not has_company(to_uint8(to_network(unit)).permute(0, 2, 3, 1).numpy())[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", type=Path, help="table of scripts/default_data/make.py")
    parser.add_argument("out", type=Path, help="table without them")
    options = parser.parse_args()
    table = pd.read_csv(options.cells, keep_default_na=False)
    asked = table["class"].isin(ALONE) & (table["split"] != "test")
    kept = ~asked
    for row in track(np.flatnonzero(asked), "alone"):
        kept[row] = is_alone(table["path"][row])
    table[kept].to_csv(options.out, index=False)
    print(f"{kept.sum():,} of {len(table):,} cells are in {options.out}.")


if __name__ == "__main__":
    main()
