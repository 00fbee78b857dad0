r"""Models in a laboratory that was left out of their training: one table.

    python benchmarks/laboratories_out.py --data "$DATA" -o results/laboratories-out.md
    python benchmarks/laboratories_out.py --data "$DATA" --out bcisc=results/out-bcisc \
        --out chulawbc=results/out-chulawbc --baseline bcisc=results/out-bcisc-resnet18
    python benchmarks/laboratories_out.py --data "$DATA" --once segwbc --blasts
    python benchmarks/laboratories_out.py commands results/laboratories -o results

Without ``--out`` one model, ``--model``, is scored on all laboratories. Nothing is trained here;
``commands`` prints what trains a model and its baseline without each laboratory, from the tables
``without-NAME.csv`` that ``scripts/default_data/laboratories.py`` makes. All cells of a laboratory
are taken to be of one slide when they are looked at together.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fields_of_sets import default_data
from laboratory_cells import LEFT_OUT, ONCE, Cells, read_cells
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.classification.slide_correction import adjust, correctable
from cytodiffusion.metrics.scores import (
    balanced_accuracy,
    expected_calibration_error,
    predicted_among,
    summarise,
)
from cytodiffusion.predict import Classifier, load_classifier, predict

#: Classes of most differential counts.
FIVE = ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil")

#: Names that `scripts/default_data/laboratories.py` gives to the tables without a laboratory.
TABLES = {"pbc": "pbc", "bcisc": "bcisc", "chulawbc": "chulalongkorn", "bccd": "bccd"}

#: Share of the same laboratory's normal cells that is flagged where sensitivity is measured.
FALSE_ALARMS = 0.02

#: Fewest cells of a slide that count as one.
SLIDE_CELLS = 3


@dataclass(frozen=True)
class Contender:
    """A model, and the laboratory that it is scored on."""

    laboratory: str
    source: str
    baseline: bool = False


def figures(
    result: Classification, names: NDArray[np.str_], slides: NDArray[np.str_]
) -> dict[str, float]:
    """Return figures of merit on cells of known class; those of unknown classes count as wrong."""
    index = {name: k for k, name in enumerate(result.class_names)}
    labels = np.array([index.get(name, -1) for name in names])
    if (labels < 0).any():
        odd = sorted({str(n) for n in names[labels < 0]})
        raise SystemExit(f"The model does not know the classes {', '.join(odd)}.")
    told = summarise(result, labels)
    five = np.array([index[name] for name in FIVE if name in index])
    among = np.isin(labels, five)
    open_five = predicted_among(result.posterior[among], five)
    right = result.predicted == labels
    by_slide = [right[slides == s].mean() for s in np.unique(slides[slides != ""])]
    sizes = [(slides == s).sum() for s in np.unique(slides[slides != ""])]
    kept = [share for share, n in zip(by_slide, sizes, strict=True) if n >= SLIDE_CELLS]
    return {
        "cells": len(labels),
        "all open": told["balanced_accuracy"],
        "five open": balanced_accuracy(labels[among], open_five) if among.any() else np.nan,
        "macro F1": told["macro_f1"],
        "right, mean of slides": float(np.mean(kept)) if kept else np.nan,
        "confidence": float(result.confidence.mean()),
        "ECE": expected_calibration_error(result.confidence, right),
        "coverage": told["coverage"],
        "set size": told["set_size"],
        "flagged": told["anomaly_rate"],
        "distance": np.nan if result.slide_distance is None else result.slide_distance,
    }


def blast_figures(result: Classification, names: NDArray[np.str_]) -> dict[str, float]:
    """Return how well blasts are told from normal cells of their laboratory by the anomaly score.

    ``sensitivity`` is the share of blasts above what 2 % of these normal cells exceed.
    """
    blast, score = names == "blast", result.anomaly_score
    limit = np.quantile(score[~blast], 1 - FALSE_ALARMS)
    return {
        "cells": len(names),
        "AUC": float(roc_auc_score(blast, score)),
        "sensitivity": float((score[blast] > limit).mean()),
        "blasts flagged": float(result.anomaly[blast].mean()),
        "normal cells flagged": float(result.anomaly[~blast].mean()),
        "distance": np.nan if result.slide_distance is None else result.slide_distance,
    }


def ways(model: Classifier, cells: Cells) -> dict[str, Classification]:
    """Classify cells, each alone and where the model can do that all together."""
    settings = ClassifySettings()
    alone = predict(model, cells.windows, settings, background=cells.backgrounds)
    found = {"alone": alone}
    if correctable(model, settings):
        found["together"] = adjust(alone, model, settings)
    return found


def table(
    contenders: Sequence[Contender], data: Path, *, blasts: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score every model; return the rows of laboratories and those of blasts."""
    rows: list[dict[str, Any]] = []
    of_blasts: list[dict[str, Any]] = []
    read: dict[tuple[Any, ...], Cells] = {}
    for contender in contenders:
        model = load_classifier(contender.source, device="cpu")
        wanted = [contender.laboratory] * (contender.laboratory != "")
        for laboratory in wanted + ["allidb2"] * (blasts and not contender.baseline):
            frame = (laboratory, model.input_size, model.window_um)
            if frame not in read:
                read[frame] = read_cells(data, *frame, split="test")
            cells = read[frame]
            for way, result in ways(model, cells).items():
                named = {"laboratory": laboratory, "model": contender.source, "cells seen": way}
                if laboratory == "allidb2":
                    of_blasts.append(named | blast_figures(result, cells.names))
                else:
                    rows.append(named | figures(result, cells.names, cells.slides))
    return pd.DataFrame(rows), pd.DataFrame(of_blasts)


def markdown(frame: pd.DataFrame) -> str:
    """Return a table in Markdown, numbers with three digits, empty where there is none."""

    def shown(value: Any) -> str:
        if isinstance(value, float):
            return "" if np.isnan(value) else f"{value:.3f}"
        return str(value)

    lines = ["| " + " | ".join(frame.columns) + " |"]
    lines.append("|" + "---|" * len(frame.columns))
    lines += ["| " + " | ".join(map(shown, row)) + " |" for row in frame.itertuples(index=False)]
    return "\n".join(lines)


def commands(tables: Path, output: Path) -> list[str]:
    """Return the shell commands that train a model and its baseline without each laboratory."""
    found = []
    for laboratory, name in TABLES.items():
        given = tables / f"without-{name}.csv"
        out = output / f"out-{laboratory}"
        found += [
            f"# without {laboratory}",
            f"cytodiffusion train {given} -o {out}-alone --duplicates allow --resume",
            f"cytodiffusion train {given} -o {out} --init {out}-alone --kind slide-correction "
            "--duplicates allow --resume",
            f"cytodiffusion train {given} -o {out}-resnet18 --kind resnet18 --duplicates allow "
            "--resume",
        ]
    scored = " ".join(f"--out {n}={output / f'out-{n}'}" for n in TABLES)
    baselines = " ".join(f"--baseline {n}={output / f'out-{n}-resnet18'}" for n in TABLES)
    return [*found, f"python benchmarks/laboratories_out.py {scored} {baselines}"]


def named(given: Sequence[str], baseline: bool) -> list[Contender]:
    """Read LABORATORY=MODEL."""
    found = []
    for text in given:
        laboratory, equals, source = text.partition("=")
        if not equals or laboratory not in (*TABLES, *ONCE[:1]):
            raise SystemExit(f"{text} is not LABORATORY=MODEL with one of {', '.join(TABLES)}.")
        found.append(Contender(laboratory, source, baseline))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", nargs="?", choices=("score", "commands"), default="score")
    parser.add_argument("tables", nargs="?", type=Path, help="commands: folder of the tables")
    parser.add_argument("--data", type=Path, default=default_data())
    parser.add_argument("--out", action="append", default=[], help="LABORATORY=MODEL")
    parser.add_argument("--baseline", action="append", default=[], help="LABORATORY=BASELINE")
    parser.add_argument("--model", default="default", help="scored where no --out is given")
    parser.add_argument("--laboratories", nargs="*", choices=tuple(TABLES), default=list(LEFT_OUT))
    parser.add_argument(
        "--once", nargs="*", choices=ONCE[:1], default=[], help="sets for a finished model alone"
    )
    parser.add_argument("--blasts", action="store_true", help="blasts of allidb2, once as well")
    parser.add_argument("-o", "--output", type=Path, help="write the tables here as well")
    options = parser.parse_args()
    if options.action == "commands":
        if options.tables is None:
            parser.error("name the folder of the tables")
        print("\n".join(commands(options.tables, options.output or Path("results"))))
        return
    contenders = named(options.out, False) + named(options.baseline, True)
    if not contenders:
        contenders = [Contender(name, options.model) for name in options.laboratories]
    sources = dict.fromkeys(c.source for c in contenders if not c.baseline) or [options.model]
    contenders += [Contender(name, source) for name in options.once for source in sources]
    scored, _ = table(contenders, options.data)
    parts = [markdown(scored)] if len(scored) else []
    if options.blasts:
        only = [Contender("", source) for source in sources]
        parts.append(markdown(table(only, options.data, blasts=True)[1]))
    text = "\n\n".join(parts)
    print(text)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
