"""What a user calls a model: classes named behind a ``#``, and repositories of the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cytodiffusion.errors import BundleError, DownloadNeeded


def split_classes(source: str | Path) -> tuple[str | Path, list[str] | None]:
    """Part ``MODEL#class,class`` into the model and the classes; None where none are named."""
    model, found, names = str(source).rpartition("#")
    if not found or Path(source).expanduser().exists():
        return source, None
    return model, [name.strip() for name in names.split(",")]


def fetch(repository: str, wanted: Sequence[str], allow_download: bool) -> Path:
    """Return the folder that the files of a repository ``owner/name`` are in.

    Parameters
    ----------
    repository : str
    wanted : sequence of str
        Names of files; those that are not there are passed over.
    allow_download : bool
        Whether the Hub may be asked.

    Raises
    ------
    BundleError
        If there is no such repository, or the Hub cannot be reached.
    DownloadNeeded
        If it is not in the local cache, and downloading was not allowed.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                repository, allow_patterns=list(wanted), local_files_only=not allow_download
            )
        )
    except LocalEntryNotFoundError as error:
        if not allow_download:
            raise DownloadNeeded(
                f"The model {repository} is not on this machine (there is no such folder either); "
                "allow the download from the Hugging Face Hub, or name a folder."
            ) from error
        raise BundleError(f"The Hub could not be reached for the model {repository}.") from error
    except Exception as error:  # the Hub client raises its own and its HTTP library's kinds
        raise BundleError(f"The model {repository} could not be fetched: {error}.") from error
