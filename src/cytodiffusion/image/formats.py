"""Kinds of image files, and which files of a folder can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import PIL.Image

from cytodiffusion.errors import InputError

#: Endings of files that are taken for images in a folder.
IMAGE_SUFFIXES = frozenset(
    (
        *(".png", ".apng", ".jpg", ".jpeg", ".jfif", ".jpe", ".jif", ".bmp", ".dib", ".gif"),
        *(".webp", ".ppm", ".pgm", ".pnm", ".jp2", ".j2k", ".avif"),
        *(".tif", ".tiff", ".tf8", ".btf", ".svs", ".ndpi", ".scn", ".bif", ".qptiff"),
    )
)

#: What phones write; read where the package pillow-heif is installed.
HEIF_SUFFIXES = frozenset((".heic", ".heif", ".hif"))

#: Formats read with Pillow; a short list, because a file's name says nothing about its content.
_PILLOW_FORMATS = (
    *("PNG", "JPEG", "BMP", "DIB", "GIF", "WEBP", "PPM", "TIFF", "JPEG2000", "AVIF"),
)

_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


#: Beginnings of files that are images whatever their names.
_SIGNATURES = (
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a"),
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
)

#: Files of other formats that begin like TIFF or JPEG but are not to be read as such: raw pictures
#: of cameras, and stacks of fluorescence microscopes.
_RAW = frozenset(
    (".dng", ".nef", ".cr2", ".arw", ".orf", ".rw2", ".pef", ".raw", ".lsm", ".stk", ".zvi", ".jxr")
)

#: Files beside images that nobody takes for one: texts, tables, documents, the system's own.
_OTHERS = frozenset(
    (
        *(".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".geojson", ".xml", ".yaml"),
        *(".yml", ".toml", ".ini", ".cfg", ".log", ".html", ".htm", ".css", ".js", ".py", ".ipynb"),
        *(".r", ".m", ".sh", ".bat", ".pdf", ".doc", ".docx", ".odt", ".rtf", ".ods", ".xls"),
        *(".xlsx", ".ppt", ".pptx", ".db", ".sqlite", ".lock", ".url", ".lnk", ".sha256", ".md5"),
        *(
            ".license",
            ".bib",
            ".tex",
            ".svg",
            ".safetensors",
            ".pt",
            ".pth",
            ".ckpt",
            ".exe",
            ".dll",
        ),
    )
)

#: Names that stand in a sentence at most.
_NAMED = 5


#: Pictures that are results, where one of the records lies in the same folder.
RESULTS = ("labels.tif", "overlay.png", "uncertainty.png")

RECORDS = ("run.json", "provenance.json")


@dataclass(frozen=True)
class FolderListing:
    """Files of a folder and of those in it.

    Attributes
    ----------
    images : tuple of Path
        What is readable by its name or its first bytes, sorted; hidden files are left out.
    unreadable : tuple of Path
        What looks like a picture or data but is not read.
    """

    images: tuple[Path, ...]
    unreadable: tuple[Path, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on the files that are not read, one on HEIC; empty where there are none."""
        heif = [p.name for p in self.unreadable if p.suffix.lower() in HEIF_SUFFIXES]
        others = [p.name for p in self.unreadable if p.suffix.lower() not in HEIF_SUFFIXES]
        notes = []
        if heif:
            notes.append(
                f"{named(heif)} cannot be read: HEIC needs the package pillow-heif; or save as "
                "JPEG."
            )
        if others:
            notes.append(
                f"{named(others)} cannot be read: save {'it' if len(others) == 1 else 'them'} as "
                "TIFF, PNG or JPEG if meant to be an image."
            )
        return tuple(notes)


def list_folder(folder: Path) -> FolderListing:
    """List the images below a folder, and every other file that looks like a picture or data."""
    images, unreadable = [], []
    readable = IMAGE_SUFFIXES | (HEIF_SUFFIXES if has_heif() else frozenset())
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        suffix = path.suffix.lower()
        if hidden or not path.is_file():
            if not hidden and suffix in readable and not path.exists():
                unreadable.append(path)  # a link that leads nowhere
            continue
        if suffix in readable or (suffix not in _RAW | _OTHERS and _begins_like_image(path)):
            images.append(path)
        elif suffix not in _OTHERS and suffix and path.stat().st_size:
            unreadable.append(path)
    return FolderListing(tuple(images), tuple(unreadable))


def _begins_like_image(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError:
        return False
    webp = start[:4] == b"RIFF" and start[8:] == b"WEBP"
    return webp or start.startswith(_SIGNATURES)


def named(names: Sequence[str]) -> str:
    """Return names for a sentence: the first few, and how many more."""
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED:,} more"


def image_files(folder: Path) -> list[Path]:
    """Return the image files below `folder`, sorted.

    Hidden ones are left out, and pictures that an earlier analysis put there.
    """
    return [path for path in list_folder(folder).images if not _is_result(path)]


@dataclass(frozen=True)
class FoundImages:
    """Images to work on.

    Attributes
    ----------
    paths : tuple of Path
        None of them twice.
    names : tuple of str
        In tables: what the file is called, below its folder, or its path where two are alike.
    several : bool
        Whether there may be more than one, as in a folder.
    not_read : tuple of Path
        What looks like an image in the folders but is not read.
    notes : tuple of str
        What the user should know, one sentence each.
    """

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    several: bool
    not_read: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def find_images(given: Sequence[Path]) -> FoundImages:
    """Return the images that are given: folders replaced by their images, doubles left out."""
    if not any(path.exists() for path in given):
        raise InputError(f"There is no file {given[0]}.")
    paths: dict[Path, tuple[Path, str]] = {}
    not_read: list[Path] = []
    notes: list[str] = []
    for one in given:
        found, said = [one], tuple[str, ...]()
        if one.is_dir():
            listing = list_folder(one)
            found, said = image_files(one), listing.notes
            not_read += listing.unreadable
        if not found:
            raise InputError(" ".join((f"There are no images in the folder {one}.", *said)))
        notes += said
        for path in found:
            name = path.relative_to(one).as_posix() if one.is_dir() else path.name
            if paths.setdefault(path.resolve(), (path, name))[0] is not path:
                notes.append(f"{path} is given twice and analysed once.")
    names = [name for _, name in paths.values()]
    return FoundImages(
        tuple(path for path, _ in paths.values()),
        tuple(str(p) if names.count(n) > 1 else n for p, n in paths.values()),
        len(paths) > 1 or any(one.is_dir() for one in given),
        tuple(not_read),
        tuple(notes),
    )


def _is_result(path: Path) -> bool:
    """Whether an analysis or a synthetic smear has written the file, whose record lies beside."""
    return path.name in RESULTS and any((path.parent / name).is_file() for name in RECORDS)


def is_tiff(path: Path) -> bool:
    """Whether a file starts as TIFF does, whatever its name; InputError if it cannot be read."""
    return _first_bytes(path) in _TIFF_SIGNATURES


def has_heif() -> bool:
    """Whether HEIC can be read."""
    import importlib.util

    return importlib.util.find_spec("pillow_heif") is not None


def pillow_formats() -> tuple[str, ...]:
    """Return the formats that Pillow may try."""
    PIL.Image.init()
    known = tuple(name for name in _PILLOW_FORMATS if name in PIL.Image.OPEN)
    if not has_heif():
        return known
    import pillow_heif  # type: ignore[import-not-found,unused-ignore]

    pillow_heif.register_heif_opener()
    return (*known, "HEIF")


def _first_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise InputError(f"{path} is a folder, not an image.")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    if not start:
        raise InputError(f"{path} is an empty file.")
    return start
