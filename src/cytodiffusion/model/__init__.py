"""The diffusion classifier: denoiser, codec, noise levels, bundle."""

from cytodiffusion.model.bundle import CellClass, ModelBundle
from cytodiffusion.model.denoiser import Denoiser, UNetDenoiser
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.saving import save_bundle

__all__ = ["CellClass", "Denoiser", "ModelBundle", "UNetDenoiser", "load_bundle", "save_bundle"]
