"""What is learnt from the cells that people gave classes, and which to ask about next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cytodiffusion.teaching.choose import STRATEGIES as STRATEGIES
    from cytodiffusion.teaching.choose import Strategy as Strategy
    from cytodiffusion.teaching.choose import choose as choose
    from cytodiffusion.teaching.labelled import LabelledCells as LabelledCells
    from cytodiffusion.teaching.labelled import survey as survey
    from cytodiffusion.teaching.settings import TeachSettings as TeachSettings
    from cytodiffusion.teaching.teacher import Figures as Figures
    from cytodiffusion.teaching.teacher import Taught as Taught
    from cytodiffusion.teaching.teacher import teach as teach
    from cytodiffusion.teaching.versions import Version as Version
    from cytodiffusion.teaching.versions import discard_version as discard_version
    from cytodiffusion.teaching.versions import keep_version as keep_version
    from cytodiffusion.teaching.versions import kept_version as kept_version
    from cytodiffusion.teaching.versions import next_version as next_version
    from cytodiffusion.teaching.versions import versions_of as versions_of

# Each is imported on its first use: the settings, which the command line reads, need nothing else.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "choose": ["STRATEGIES", "Strategy", "choose"],
        "labelled": ["LabelledCells", "survey"],
        "settings": ["TeachSettings"],
        "teacher": ["Figures", "Taught", "teach"],
        "versions": [
            *("Version", "versions_of", "next_version"),
            *("discard_version", "keep_version", "kept_version"),
        ],
    },
)
