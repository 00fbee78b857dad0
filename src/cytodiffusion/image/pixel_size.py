"""The pixel size a file states: OME, ImageJ, scanners, resolution tags; when not to trust it."""

from __future__ import annotations

import math
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cytodiffusion.errors import InputError
from cytodiffusion.image.pixels import MAX_PIXEL_SIZE_UM, MIN_PIXEL_SIZE_UM, quiet_parser

#: A stated scale and one measured from red cells contradict each other beyond this factor.
CONTRADICTION = 1.6

#: Fewer red cells than this contradict nobody.
ENOUGH_CELLS = 5

#: Width and height of a pixel may differ by this factor.
_SQUARE = 1.05

_TAG_UNITS_UM = {2: 25_400.0, 3: 1e4}  # ResolutionUnit: inch, centimetre

#: Units of length in micrometres, by the beginnings of their names in the languages of exports:
#: micron(s), micromet(er/re/ers), mikromet(er), µ, u and so on.
_UNITS_UM = (
    (
        r"(µ|μ|u|\\u00b5|\\u03bc|&#181;|âµ|âμ)(m|met\w*)?|mi[ck]rons?|mi[ck]r[oó]?m[eèé]t\w*|mcm",
        1.0,
    ),
    (r"nm|nanom[eèé]t\w*", 1e-3),
    (r"pm|picom[eèé]t\w*", 1e-6),
    (r"å|a|angstr\w*|ångstr\w*", 1e-4),
    (r"mm|mil+im[eèé]t\w*", 1e3),
    (r"cm|[cz]entim[eèé]t\w*", 1e4),
    (r"m|m[eèé]t(er|re)s?|metros?", 1e6),
    (r'inch(es)?|in|"|zoll', 25_400.0),
)


@dataclass(frozen=True)
class StatedScale:
    """What a file says about its pixel size.

    Attributes
    ----------
    value_um : float or None
        Micrometres a pixel; None where the file says nothing credible.
    source : str
        What said so: ``"OME"``, ``"ImageJ"``, ``"Aperio"``, ``"Ventana"``, ``"resolution"`` and
        the like; empty where nothing did.
    note : str
        One sentence where something was said that is not believed, else empty.
    """

    value_um: float | None = None
    source: str = ""
    note: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """The note as a tuple of sentences, empty or of one."""
        return (self.note,) if self.note else ()

    @property
    def is_default(self) -> bool:
        """Whether the value is what programs write that know none: one unit a pixel."""
        return self.value_um is not None and math.isclose(self.value_um, 1.0, rel_tol=1e-3)


def stated_pixel_size(path: str | Path) -> StatedScale:
    """Return the pixel size that an image file states, without reading its pixels."""
    import PIL.Image
    import tifffile

    from cytodiffusion.image.formats import is_tiff, pillow_formats

    path = Path(path)
    try:
        if is_tiff(path):
            with quiet_parser(), tifffile.TiffFile(path) as tif:
                if not tif.series:
                    raise InputError(f"{path} contains no image.")
                largest = max(tif.series, key=lambda s: math.prod(s.shape))
                return tiff_scale(tif, largest.keyframe)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PIL.Image.open(path, formats=pillow_formats()) as opened:
                return dpi_scale(opened.info.get("dpi"))
    except InputError:
        raise
    except PIL.UnidentifiedImageError:
        raise InputError(f"{path} is not an image that can be read here.") from None
    except Exception as error:  # parsers of damaged files raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is damaged or cut short ({reason}).") from error


def scale_doubt(stated: StatedScale | float, measured_um: float, n_cells: int) -> str | None:
    """Return a sentence where the scale of a file and its red cells contradict each other."""
    scale = stated if isinstance(stated, StatedScale) else StatedScale(float(stated))
    if scale.value_um is None or n_cells < ENOUGH_CELLS:
        return None
    factor = scale.value_um / measured_um
    if 1 / CONTRADICTION <= factor <= CONTRADICTION:
        return None
    told = (
        f"The file states {scale.value_um:.4g} um a pixel, but its red cells, 7.5 um across, "
        f"measure {measured_um:.3g} um a pixel"
    )
    if scale.is_default:
        return f"{told}: 1 um is what programs write that know no scale."
    if any(0.8 < f / 2.54 < 1.25 for f in (factor, 1 / factor)):
        return f"{told}: perhaps inches were taken for centimetres."
    if any(0.8 < f / 1000 < 1.25 for f in (factor, 1 / factor)):
        return f"{told}: perhaps nanometres or millimetres were taken for micrometres."
    return f"{told}: check the scale."


def credible(x: float, y: float, source: str) -> StatedScale:
    """Return the scale of pixels of `x` by `y` micrometres, or why it is not believed."""
    sane = math.isfinite(x) and math.isfinite(y) and x > 0 and y > 0
    if (
        not sane
        or not MIN_PIXEL_SIZE_UM <= min(x, y) <= max(x, y) <= MAX_PIXEL_SIZE_UM
        or max(x, y) > _SQUARE * min(x, y)
    ):
        stated = f"{x:g} um" if x == y else f"{x:g} x {y:g} um"
        note = f"The file states a pixel size of {stated}, which is not believed."
        return StatedScale(None, source, note)
    return StatedScale(math.sqrt(x * y), source)


def unit_um(name: object) -> float | None:
    """Return a unit of length in micrometres by any of its usual names; None for others."""
    text = str(name).strip().strip("\0").rstrip(".").lower()
    return next((size for names, size in _UNITS_UM if re.fullmatch(names, text)), None)


def number(text: object) -> float:
    """Return a number with a decimal point or a decimal comma; ValueError for others."""
    plain = str(text).strip().replace(" ", "")
    if plain.count(",") == 1 and "." not in plain:
        plain = plain.replace(",", ".")
    return float(plain)


def dpi_scale(dpi: Any) -> StatedScale:
    """Return the scale of a resolution in dots an inch, as PNG, JPEG and BMP have it."""
    try:
        x, y = (25_400.0 / float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return StatedScale()
    return _unless_print(credible(x, y, "resolution"))


def _unless_print(found: StatedScale) -> StatedScale:
    """Drop printers' 72 to 600 dots an inch without a note: they say nothing of the microscope."""
    return found if found.value_um is not None else StatedScale()


def tiff_scale(tif: Any, page: Any) -> StatedScale:
    """Return the scale of an open TIFF file from the metadata of any of its kinds."""
    note = ""
    for source, read in _READERS.items():
        try:
            found = read(tif, page)
        except (ValueError, KeyError, TypeError, IndexError, ZeroDivisionError, AttributeError,
                ElementTree.ParseError):  # fmt: skip
            continue
        if isinstance(found, str):  # a unit nobody knows
            note = f"The file states its pixel size in {found!r}, which is no known unit."
        elif found is not None:
            return credible(*found, source)
    found = _from_tags(page)
    stated = _unless_print(credible(*found, "resolution")) if found else StatedScale()
    return StatedScale(None, "", note) if stated.value_um is None else stated


def _in_um(
    x: object, y: object, unit_x: object, unit_y: object
) -> tuple[float, float] | str | None:
    """Return two sizes in micrometres; the unit where it is none; None where it is pixels."""
    factors = [unit_um(unit) for unit in (unit_x, unit_y)]
    if None not in factors:
        return number(x) * float(factors[0] or 0), number(y) * float(factors[1] or 0)
    unit = str(unit_x if factors[0] is None else unit_y).strip()
    relative = not unit or re.fullmatch(r"(pixels?|px|referenceframe|none|null)", unit.lower())
    return None if relative else unit[:20]


def _from_ome(tif: Any, page: Any) -> tuple[float, float] | str | None:
    if not tif.ome_metadata:
        return None
    pixels = ElementTree.fromstring(tif.ome_metadata).find(".//{*}Pixels")
    if pixels is None or "PhysicalSizeX" not in pixels.attrib:
        return None
    get = pixels.attrib.get
    x, unit = get("PhysicalSizeX"), get("PhysicalSizeXUnit", "um")
    return _in_um(x, get("PhysicalSizeY", x), unit, get("PhysicalSizeYUnit", unit))


def _from_text(tif: Any, page: Any) -> tuple[float, float] | None:
    """Micrometres a pixel as Aperio and those who copy it write them."""
    found = re.search(r"\bMPP(?:_?X)?\s*[=:]\s*([0-9.,eE+-]*[0-9])", page.description or "")
    return (number(found[1]), number(found[1])) if found else None


def _from_ventana(tif: Any, page: Any) -> tuple[float, float] | None:
    for other in (page, *list(tif.pages)[:3]):
        tag = getattr(other, "tags", {}).get(700)
        text = tag.value if tag is not None else b""
        text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        found = re.search(r"\bScanRes\s*=\s*[\"']([^\"']+)[\"']", text)
        if found:
            return number(found[1]), number(found[1])
    return None


def _from_imagej(tif: Any, page: Any) -> tuple[float, float] | str | None:
    metadata = tif.imagej_metadata or {}
    size = _resolution(page)
    if "unit" not in metadata or size is None:
        return None
    return _in_um(*size, metadata["unit"], metadata.get("yunit") or metadata["unit"])


def _from_micromanager(tif: Any, page: Any) -> tuple[float, float] | None:
    summary = (tif.micromanager_metadata or {}).get("Summary", {})
    size = number(summary.get("PixelSize_um") or summary["PixelSizeUm"])
    return (size, size) if size else None


def _from_metaseries(tif: Any, page: Any) -> tuple[float, float] | str | None:
    plane = (tif.metaseries_metadata or {})["PlaneInfo"]
    if not plane.get("spatial-calibration-state", True):
        return None
    unit = plane.get("spatial-calibration-units", "um")
    return _in_um(plane["spatial-calibration-x"], plane["spatial-calibration-y"], unit, unit)


def _from_philips(tif: Any, page: Any) -> tuple[float, float] | None:
    found = re.search(
        r'DICOM_PIXEL_SPACING"[^>]*>\s*(?:&quot;|")([0-9.,eE-]+)(?:&quot;|")\s+(?:&quot;|")([0-9.,eE-]+)',
        tif.philips_metadata or "",
    )
    return (number(found[2]) * 1e3, number(found[1]) * 1e3) if found else None


_READERS: dict[str, Callable[[Any, Any], tuple[float, float] | str | None]] = {
    "OME": _from_ome,
    "Aperio": _from_text,
    "Ventana": _from_ventana,
    "ImageJ": _from_imagej,
    "Philips": _from_philips,
    "Micro-Manager": _from_micromanager,
    "MetaMorph": _from_metaseries,
}


def _from_tags(page: Any) -> tuple[float, float] | None:
    unit = page.tags.get("ResolutionUnit")
    size = _resolution(page)
    factor = _TAG_UNITS_UM.get(int(unit.value)) if unit is not None else _TAG_UNITS_UM[2]
    return (size[0] * factor, size[1] * factor) if size and factor else None


def _resolution(page: Any) -> tuple[float, float] | None:
    """Return width and height of a pixel in the file's unit of length."""
    tags = [page.tags.get(name) for name in ("XResolution", "YResolution")]
    if None in tags:
        return None
    (xn, xd), (yn, yd) = (tag.value for tag in tags)
    return (xd / xn, yd / yn) if xn and yn else None
