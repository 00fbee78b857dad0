"""Put measured figures and the baseline's beside them into a bundle's card.

python benchmarks/accuracy.py --model BUNDLE --output ours.json
python benchmarks/baseline.py results/default-data/cells.csv --output resnet.json
python scripts/complete_card.py BUNDLE ours.json resnet.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cytodiffusion.model.bundle import CHECKSUMS, file_checksum, verify_bundle

HEADING = "## Beside a ResNet-18"
NAMES = {
    "pbc": "PBC, test split (8 classes, all 10 open)",
    "bcisc": "BCISC crops, never trained on",
    "segwbc": "SegWBC crops, never trained on",
}


def comparison(ours: dict, rival: dict) -> str:
    lines = [
        HEADING,
        "",
        "Balanced accuracy. The ResNet-18 (torchvision, from scratch) saw the same crops with the "
        f"same augmentation, {rival['steps']} batches of {rival['batch_size']}, seed "
        f'{rival["seed"]}. "Shared open": only the five classes that all sets have compete.',
        "",
        "| set | cells | this model | ResNet-18 |",
        "|---|---:|---:|---:|",
    ]
    for key, name in NAMES.items():
        lines.append(row(name, ours[key], rival[key], "balanced_accuracy"))
        if key != "pbc":
            lines.append(
                row(f"{name}, shared open", ours[key], rival[key], "balanced_accuracy_shared")
            )
    return "\n".join(lines) + "\n"


def row(name: str, ours: dict, rival: dict, key: str) -> str:
    return f"| {name} | {ours['n']} | {ours[key]:.4f} | {rival[key]:.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("ours", type=Path)
    parser.add_argument("rival", type=Path)
    options = parser.parse_args()
    verify_bundle(options.bundle)
    card = options.bundle / "card.md"
    text = card.read_text(encoding="utf-8").split(HEADING)[0].rstrip()
    found = comparison(json.loads(options.ours.read_text()), json.loads(options.rival.read_text()))
    card.write_text(f"{text}\n\n{found}", encoding="utf-8")
    sums = options.bundle / CHECKSUMS
    known = json.loads(sums.read_text()) | {"card.md": file_checksum(card)}
    sums.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    verify_bundle(options.bundle)


if __name__ == "__main__":
    main()
