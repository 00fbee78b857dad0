"""The authenticity test: whether people can tell synthetic cells from real ones.

After the test of ten haematologists in Deltadahl et al. (2025). `make_test` draws the cells and
writes a test file; `AuthenticityTest` opens it, `ParticipantSession` asks one
participant, `read_results` says what came of it. Importing this package imports no network.
"""

from cytodiffusion.authenticity.session import Feedback, ParticipantSession, Question
from cytodiffusion.authenticity.settings import AuthenticitySettings
from cytodiffusion.authenticity.store import MODES, AuthenticityTest, SessionInfo

__all__ = [
    "MODES",
    "AuthenticitySettings",
    "AuthenticityTest",
    "Feedback",
    "ParticipantSession",
    "Question",
    "SessionInfo",
]
