"""Writing results so that a file is either there and whole, or not there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cytodiffusion.errors import InputError

_FULL = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}

_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def describe_os_error(error: OSError, target: Path) -> str:
    """Return one sentence that says why `target` could not be written."""
    if error.errno in _FULL:
        return f"No space is left on the disk of {target}: free some and run again."
    if error.errno in _FORBIDDEN:
        return f"{target} cannot be written: the folder or file is read-only."
    if error.errno in {errno.ENOTDIR, errno.EEXIST}:
        return f"{target} cannot be written: there is a file where a folder is needed."
    if error.errno == errno.EISDIR:
        return f"{target} cannot be written: there is a folder of that name."
    if error.errno == errno.ENAMETOOLONG:
        return f"The file name {max(target.parts, key=len)[:40]}… is too long."
    return f"{target} cannot be written: {error.strerror or error}."


@contextlib.contextmanager
def _as_input_error(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(describe_os_error(error, target)) from error


def prepare_folder(folder: Path) -> Path:
    """Create `folder` and its parents; say in one sentence why that is impossible."""
    with _as_input_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def check_folder(folder: Path) -> None:
    """Make sure, before any work, that results can be written to `folder`; create nothing."""
    with _as_input_error(folder):
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not existing.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "is not a folder", str(existing))
        if not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "is read-only", str(existing))


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block succeeds.

    The parent folder is created. When the block fails or is interrupted, the temporary file
    is removed and an earlier `path` stays as it was.
    """
    prepare_folder(path.parent)
    with _as_input_error(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
        handle, name = tempfile.mkstemp(prefix=".partial-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        partial = Path(name)
        try:
            yield partial
            _settle(partial)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder whose files move into `folder` together when the block succeeds.

    A failed or interrupted block leaves nothing behind: neither some of the files nor a
    folder that did not exist before. Files of the same name in `folder` are replaced.
    """
    with _as_input_error(folder):
        created = _missing_ancestors(folder)
    prepare_folder(folder)
    try:
        with _as_input_error(folder):
            staging = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
            try:
                yield staging
                _move_all(staging, folder)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except BaseException:
        for path in created:
            with contextlib.suppress(OSError):
                path.rmdir()  # only when empty
        raise


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder that becomes `folder`, with all in it, when the block succeeds.

    `folder` may be there already if it is empty.
    """
    prepare_folder(folder.parent)
    with _as_input_error(folder):
        hidden = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
        try:
            yield hidden
            mask = os.umask(0)
            os.umask(mask)
            hidden.chmod(0o777 & ~mask)
            if folder.is_dir():
                folder.rmdir()
            hidden.rename(folder)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)


def sha256(path: Path) -> str:
    """Return the SHA-256 checksum of a file as hexadecimal text."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _move_all(staging: Path, folder: Path) -> None:
    files = sorted(staging.iterdir())
    for path in files:
        if (folder / path.name).is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder", str(folder / path.name))
        _settle(path)
    for path in files:
        os.replace(path, folder / path.name)


def _settle(path: Path) -> None:
    """Flush to disk (a full disk shows here at the latest) and give the usual permissions."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def _missing_ancestors(folder: Path) -> list[Path]:
    """Return the folders that ``mkdir -p`` would create, the deepest first."""
    missing = []
    current = folder
    while not current.exists() and current != current.parent:
        missing.append(current)
        current = current.parent
    return missing
