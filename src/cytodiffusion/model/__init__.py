"""The diffusion classifier: denoiser, codec, noise levels, bundle."""

from .bundle import CellClass, ModelBundle, load_bundle, save_bundle
from .denoiser import Denoiser, UNetDenoiser

__all__ = ["CellClass", "Denoiser", "ModelBundle", "UNetDenoiser", "load_bundle", "save_bundle"]
