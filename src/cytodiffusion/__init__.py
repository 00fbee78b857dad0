"""Engine: segment, classify and explain blood cells. No window, no napari."""

__version__ = "0.1.0"
