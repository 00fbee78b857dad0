"""Real and synthetic cells side by side, to judge the generator by eye.

    python scripts/contact_sheet.py sheet.jpg                       # synthetic cells only
    python scripts/contact_sheet.py sheet.png --real "$DATA/pbc"    # a line of real ones above each

Every cell is taken as it comes: nothing is rejected or picked unless ``--reject`` is given.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cytodiffusion.cells.crops import centre_crop
from cytodiffusion.datasets import find_records
from cytodiffusion.files.synthetic_mark import write_synthetic_png
from cytodiffusion.generation.generate import generate
from cytodiffusion.generation.order import GenerationSettings
from cytodiffusion.image.image import open_image
from cytodiffusion.image.stain import estimate_background
from cytodiffusion.model.codec import to_network, to_uint8, to_unit
from cytodiffusion.model.loading import load_bundle

GAP, LABEL, HEAD = 4, 190, 34


def real_cells(data: Path, name: str, n: int, size: int, um: float) -> list[NDArray[np.uint8]]:
    """Cut out validation cells of a class, on the background that synthetic ones have."""
    records = [r for r in find_records(data) if r.label == name and r.split == "val"]
    chosen = np.random.default_rng(3).permutation(len(records))[:n]
    cells = []
    for i in chosen:
        rgb = open_image(records[i].path).rgb()
        crop = torch.from_numpy(centre_crop(rgb, 0.1, size, um)).permute(2, 0, 1)[None]
        unit = to_unit(crop, torch.from_numpy(np.asarray(estimate_background(rgb))))
        cells.append(to_uint8(to_network(unit))[0].permute(1, 2, 0).numpy())
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--real", type=Path, help="data set with a val split, 0.1 um a pixel")
    parser.add_argument("--model", default="default")
    parser.add_argument("-n", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guidance", type=float, default=GenerationSettings().guidance)
    parser.add_argument("--reject", action="store_true")
    options = parser.parse_args()
    model = load_bundle(options.model)
    settings = GenerationSettings(
        seed=options.seed, guidance=options.guidance, reject=options.reject
    )
    made = generate(model, dict.fromkeys(model.class_names, options.n), settings)
    size, lines = made.pixels.shape[1], []
    for name in model.class_names:
        if options.real:
            cells = real_cells(options.real, name, options.n, size, model.window_um)
            lines.append((f"{name}, real", cells))
        drawn = [made.pixels[i] for i, of in enumerate(made.classes) if of == name]
        lines.append((f"{name}, synthetic" if options.real else name, drawn))
    height, width = HEAD + len(lines) * (size + GAP), LABEL + options.n * (size + GAP)
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(15)
    told = f"{'' if options.real else 'Synthetic cells, '}{model.name} {model.version}, "
    told += f"seed {options.seed}, guidance {options.guidance:g}, as drawn"
    draw.text((8, 8), told + (" and accepted" if options.reject else ""), "black", font)
    for row, (name, cells) in enumerate(lines):
        top = HEAD + row * (size + GAP)
        draw.text((8, top + size // 2 - 8), name, "black", font)
        for column, cell in enumerate(cells):
            sheet.paste(Image.fromarray(cell), (LABEL + column * (size + GAP), top))
    if options.output.suffix == ".jpg":  # small enough for a README
        sheet.save(options.output, quality=88, comment="Synthetic cells")
    else:
        write_synthetic_png(options.output, np.asarray(sheet), made.record())


if __name__ == "__main__":
    main()
