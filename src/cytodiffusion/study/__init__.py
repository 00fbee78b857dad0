"""A study: images, cells, what models and people say of them, in a folder that loses nothing."""

from cytodiffusion.study.study import Study as Study

__all__ = ["Study"]
