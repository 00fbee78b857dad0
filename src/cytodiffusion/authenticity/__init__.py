"""The authenticity test: whether people can tell synthetic cells from real ones.

After the test of ten haematologists in Deltadahl et al. (2025). `make_test` draws the cells and
writes a test file; `AuthenticityTest` opens it, `Sitting` asks one participant, `read_results` says
what came of it. Importing this package imports no network.
"""

from cytodiffusion.authenticity.session import Sitting, Told, Trial
from cytodiffusion.authenticity.settings import AuthenticitySettings
from cytodiffusion.authenticity.store import MODES, AuthenticityTest, SittingInfo

__all__ = [
    "MODES",
    "AuthenticitySettings",
    "AuthenticityTest",
    "Sitting",
    "SittingInfo",
    "Told",
    "Trial",
]
