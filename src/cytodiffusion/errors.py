"""The exceptions that reach users: one sentence, what is wrong and what to do."""

from __future__ import annotations

from pathlib import Path


class CytoDiffusionError(Exception):
    """A problem the user can act on; its text is shown as it stands.

    Deliberately not a ``RuntimeError``: Qt worker wrappers swallow those.
    """


class InputError(CytoDiffusionError):
    """An image, label map, table or setting that cannot be used."""


class BundleError(CytoDiffusionError):
    """A model bundle that is incomplete, altered or not a bundle at all."""


class OutOfMemoryError(CytoDiffusionError):
    """The device ran out of memory even with the smallest batch."""


class DownloadNeeded(CytoDiffusionError):
    """Something must be downloaded first and nobody has agreed to it yet."""


class Cancelled(CytoDiffusionError):
    """The user cancelled; what was finished before is kept by the caller."""


def naming(path: Path, error: BaseException) -> str:
    """Text of ``error``, with the name of the file where the sentence lacks it."""
    return str(error) if path.name in str(error) else f"{path.name}: {error}"
