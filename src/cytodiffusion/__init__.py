"""Engine: segment, classify and explain blood cells. No window, no napari.

``import cytodiffusion as cd`` gives the public face; nothing heavy is imported before it is used.
The names and where they live are in ``__init__.pyi``, from which type checkers read them too.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
