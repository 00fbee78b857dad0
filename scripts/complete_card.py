"""Put the figures of an evaluation, with its baselines beside them, into a bundle's card.

cytodiffusion evaluate BUNDLE PBC --shift bcisc=FOLDER --baseline RESNET --baseline VIT -o report
python scripts/complete_card.py BUNDLE report/metrics.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from cytodiffusion.model.bundle_files import CHECKSUMS, verify_bundle
from cytodiffusion.model.files import file_checksum
from cytodiffusion.training.finish import with_section

HEADING = "## Beside ordinary classifiers"


def comparison(metrics: dict[str, Any]) -> list[str]:
    rivals = metrics["baselines"]
    rows = [row("test split", "balanced_accuracy", metrics, *rivals.values())]
    for name in metrics["shift"]:
        others = [found["shift"][name] for found in (metrics, *rivals.values())]
        rows.append(row(f"{name}, never trained on", "balanced_accuracy", *others))
        if all("shared_balanced_accuracy" in other for other in others):
            title = f"{name}, only the shared classes open"
            rows.append(row(title, "shared_balanced_accuracy", *others))
    return [
        "Balanced accuracy of this model and of baselines that were trained on the same crops with "
        "the same augmentation.",
        "",
        "| set | cells | this model | " + " | ".join(rivals) + " |",
        "|---|---:|" + "---:|" * (1 + len(rivals)),
        *rows,
    ]


def row(title: str, key: str, *found: dict[str, Any]) -> str:
    return f"| {title} | {found[0]['n']} | " + " | ".join(f"{f[key]:.4f}" for f in found) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("metrics", type=Path, help="metrics.json of a report")
    options = parser.parse_args()
    verify_bundle(options.bundle)
    card = options.bundle / "card.md"
    metrics = json.loads(options.metrics.read_text(encoding="utf-8"))
    text = with_section(card.read_text(encoding="utf-8"), HEADING, comparison(metrics))
    card.write_text(text, encoding="utf-8")
    sums = options.bundle / CHECKSUMS
    known = json.loads(sums.read_text()) | {"card.md": file_checksum(card)}
    sums.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    verify_bundle(options.bundle)


if __name__ == "__main__":
    main()
