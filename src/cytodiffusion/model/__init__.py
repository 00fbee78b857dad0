"""The diffusion classifier: denoiser, codec, noise levels, bundle."""

from .bundle import CellClass, ModelBundle, load_bundle
from .denoiser import Denoiser, UNetDenoiser
from .saving import save_bundle

__all__ = ["CellClass", "Denoiser", "ModelBundle", "UNetDenoiser", "load_bundle", "save_bundle"]
