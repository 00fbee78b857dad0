"""napari plugin: windows onto the engine in :mod:`cytodiffusion`."""
