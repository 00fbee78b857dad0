"""The authenticity test: whether people can tell synthetic cells from real ones.

After the test of ten haematologists in Deltadahl et al. (2025). `make_test` draws the cells and
writes a test file; `AuthenticityTest` opens it, `ParticipantSession` asks one
participant, `read_results` says what came of it. Importing this package imports no network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cytodiffusion.authenticity.session import Feedback as Feedback
    from cytodiffusion.authenticity.session import ParticipantSession as ParticipantSession
    from cytodiffusion.authenticity.session import Question as Question
    from cytodiffusion.authenticity.settings import AuthenticitySettings as AuthenticitySettings
    from cytodiffusion.authenticity.store import MODES as MODES
    from cytodiffusion.authenticity.store import AuthenticityTest as AuthenticityTest
    from cytodiffusion.authenticity.store import SessionInfo as SessionInfo

# Each is imported on its first use: the settings in this package need no network.
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "session": ["Feedback", "ParticipantSession", "Question"],
        "settings": ["AuthenticitySettings"],
        "store": ["AuthenticityTest", "MODES", "SessionInfo"],
    },
)
