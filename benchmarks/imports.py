"""How long importing the engine takes beside importing torch, in turn in one run.

    python benchmarks/imports.py [--repeats 5]

Each import has a fresh interpreter, and the least processor time of the repeats counts: other
programs and cold files only add to it.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys

#: Most that an import may take, in times of ``import torch``; none where it is only shown.
LIMITS = {
    "import torch": None,
    "import cytodiffusion.pipeline": 1.6,
    "import cytodiffusion.single_cells": None,
    "from cytodiffusion.training import trainer": None,
    "import cytodiffusion.cli.app": None,
}


def processor_seconds(code: str) -> float:
    """Processor time of a fresh interpreter that runs ``code``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    least = {code: float("inf") for code in LIMITS}
    for _ in range(options.repeats):  # in turn, so that all meet the same disturbances
        for code in LIMITS:
            least[code] = min(least[code], processor_seconds(code))
    torch = least["import torch"]
    print("| import | seconds | times torch | at most |")
    print("|---|---:|---:|---:|")
    for code, limit in LIMITS.items():
        print(f"| {code} | {least[code]:.2f} | {least[code] / torch:.2f} | {limit or ''} |")
    return int(any(limit and least[code] > limit * torch for code, limit in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main())
