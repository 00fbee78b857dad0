"""Data sets of single-cell images: found, named, split and checked; nothing is trained here."""

from cytodiffusion.datasets.layouts import SPLITS, Record, class_names
from cytodiffusion.datasets.reading import (
    LAYOUTS,
    Dataset,
    detect_layout,
    find_records,
    read_dataset,
)

__all__ = [
    "LAYOUTS",
    "SPLITS",
    "Dataset",
    "Record",
    "class_names",
    "detect_layout",
    "find_records",
    "read_dataset",
]
