"""What is learnt from the cells that people gave classes, and which to ask about next."""

from cytodiffusion.teaching.choose import STRATEGIES, Strategy, choose

__all__ = ["STRATEGIES", "Strategy", "choose"]
