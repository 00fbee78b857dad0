"""Train a model and a ResNet-18 without each laboratory in turn, in a short configuration.

    python benchmarks/train_laboratories_out.py results/laboratories/cells.csv -o results

The crops are read once, at half the side of the default model's. Model and ResNet-18 (GroupNorm,
begun at random as the model is) see the same crops, variations and number of steps, are calibrated
on validation cells of the laboratories that they know, and go to ``out-NAME`` and
``out-NAME-resnet18``, which ``laboratories_out.py`` scores. What is done already is left. A short
run compares the two kinds; it does not say how well the default model does.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from cytodiffusion.baselines.files import FILES as BASELINE_FILES
from cytodiffusion.model.bundle_files import FILES
from cytodiffusion.progress import Progress
from cytodiffusion.training.baseline import BaselineTrainer, finish_baseline
from cytodiffusion.training.data import CellSet
from cytodiffusion.training.finish import finish_bundle
from cytodiffusion.training.sets import load_sets
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.training.trainer import Trainer

#: Laboratories to leave out: as the tables of cells name them, by the name of the benchmark. Most
#: classes of PBC are in no other laboratory, so that it cannot be left out.
LABORATORIES = {"bcisc": "bcisc", "chulawbc": "chulalongkorn", "bccd": "bccd"}


def without(sets: dict[str, CellSet], laboratory: str) -> dict[str, CellSet]:
    """Return training and validation crops of all laboratories but one."""
    fewer = {}
    for split in ("train", "val"):
        cells = sets[split]
        kept = [i for i, own in enumerate(cells.laboratories or []) if own != laboratory]
        if not kept or len(kept) == len(cells):
            raise SystemExit(f"The {split} split has no cells of {laboratory} to leave out.")
        fewer[split] = cells.take(kept)
    return fewer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cells", type=Path, help="table of scripts/default_data/laboratories.py")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the models")
    parser.add_argument("--laboratories", nargs="*", choices=LABORATORIES, default=[*LABORATORIES])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--input-size", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    common = {
        "data": options.cells,
        "steps": options.steps,
        "input_size": options.input_size,
        "seed": options.seed,
        "warmup": 50,
        "validate_every": options.steps,
        "unlabelled_share": 0.03,
        "duplicates": "allow",
        "resume": True,
    }
    names, sets = load_sets(
        TrainSettings(**common, output=options.output / "out", calibration_laboratory="pbc"),
        progress_of("crops"),
        ("train", "val"),
    )
    for laboratory in options.laboratories:
        for kind in ("diffusion", "resnet18"):
            ending = "" if kind == "diffusion" else "-resnet18"
            output = options.output / f"out-{laboratory}{ending}"
            files = FILES if kind == "diffusion" else BASELINE_FILES
            if all((output / name).is_file() for name in files):
                print(f"{output} is there already", flush=True)
                continue
            settings = TrainSettings(**common, kind=kind, output=output)
            fewer = without(sets, LABORATORIES[laboratory])
            progress = progress_of(output.name)
            if kind == "diffusion":
                run = Trainer(settings, progress, (names, fewer))
                run.fit()
                finish_bundle(
                    run.final_denoiser(), run.names, run.sets, run.settings, run.history, progress
                )
            else:
                plain = {k: replace(v, traits=None, told=()) for k, v in fewer.items()}
                baseline = BaselineTrainer(settings, progress, (names, plain))
                baseline.fit()
                finish_baseline(baseline, progress)


def progress_of(what: str) -> Progress:
    """Return what prints progress now and then."""
    last = [0.0]

    def told(share: float, message: str) -> None:
        if time.monotonic() - last[0] > 20:
            last[0] = time.monotonic()
            print(f"{what} {share:.0%}: {message}", flush=True)

    return told


if __name__ == "__main__":
    main()
