"""Data sets of single-cell images: found, named, split and checked; nothing is trained here."""

from .reading import find_records
from .records import SPLITS, Record, class_names

__all__ = ["SPLITS", "Record", "class_names", "find_records"]
