"""Ordinary classifiers, the rivals that every table of the diffusion classifier has in it."""

from cytodiffusion.baselines.baseline import Baseline, classify_baseline
from cytodiffusion.baselines.files import is_baseline, load_baseline, save_baseline
from cytodiffusion.baselines.network import KINDS, BaselineNetwork, build_network

__all__ = [
    "KINDS",
    "Baseline",
    "BaselineNetwork",
    "build_network",
    "classify_baseline",
    "is_baseline",
    "load_baseline",
    "save_baseline",
]
