"""Pictures of a field with its cells coloured by class or by uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import cmap
import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cytodiffusion.drawing.legend import INK, ColourBar, Row, add_scale_bar, beside
from cytodiffusion.drawing.maps import uncertainty_colors, uncertainty_levels
from cytodiffusion.errors import InputError
from cytodiffusion.files.writers import final_names

if TYPE_CHECKING:
    import pandas as pd

RGB8 = NDArray[np.uint8]

#: Largest and smallest long side of a picture; images beyond are shrunk or magnified.
LARGEST, SMALLEST = 8192, 1000

_UNCLASSIFIED = (150, 150, 150)

_ANOMALY = (255, 255, 255)

_DIMMED = 0.36

_FILL = 0.28

_LARGEST_DIRECT = 4_000_000  # labels up to here are renumbered with a table, faster than sorting


class HasColour(Protocol):
    """A class of cells, as model bundles list them."""

    @property
    def name(self) -> str:
        """Name of the class."""

    @property
    def color(self) -> str:
        """Colour as ``#rrggbb``."""


@dataclass(frozen=True)
class _Cells:
    """Cells of a label image, ready to be drawn.

    Attributes
    ----------
    index : (Y, X) int32
        0 background, otherwise 1 + position in `ids`.
    ids : (N,) int64
        Labels, ascending.
    rows : (N,) int64
        Row of the table for every label, -1 where the table has none.
    """

    index: NDArray[np.int32]
    ids: NDArray[np.int64]
    rows: NDArray[np.int64]


def overlay_image(
    rgb: RGB8,
    labels: NDArray[np.integer],
    frame: pd.DataFrame,
    classes: Sequence[HasColour],
    *,
    pixel_size_um: float | None = None,
) -> RGB8:
    """Draw the cells filled and outlined in the colour of their class, with a legend.

    The image starts in the top left corner, magnified by a whole number when it is small (see
    `magnification`); the legend stands to its right. Anomalies have a dashed line inside their
    outline; cells that are not in the table, a grey outline.
    """
    cells = _match(rgb, labels, frame)
    names = [c.name for c in classes]
    palette = np.array([_rgb(c.color) for c in classes] + [_UNCLASSIFIED], dtype=np.uint8)
    import pandas as pd

    codes = pd.Index(names).get_indexer(pd.Index(final_names(frame)))
    code = np.where(cells.rows >= 0, codes[cells.rows] if len(codes) else -1, -1)
    colours = palette[code]
    alpha = np.where(code >= 0, _FILL, 0.0)
    scale = magnification(rgb.shape)
    picture = _paint(_resize(rgb, scale), cells, colours, alpha)
    width = _line_width(cells, scale)
    _outline(picture, cells, colours, width, scale)
    anomaly = _flag(frame, "anomaly", cells)
    inset = 1.5 * width
    _outline(picture, cells, _ANOMALY, width, scale, anomaly, inset=inset)
    _outline(picture, cells, INK, width, scale, anomaly, inset=inset, dashed=True)
    return _finish(picture, _class_rows(frame, classes, code, cells), pixel_size_um, scale)


def uncertainty_image(
    rgb: RGB8,
    labels: NDArray[np.integer],
    frame: pd.DataFrame,
    *,
    n_classes: int,
    pixel_size_um: float | None = None,
) -> RGB8:
    """Draw the cells in a perceptual colour map of their entropy, with a colour bar.

    The field is dimmed to grey, so that the cells the model is unsure of shine. Anomalies are
    outlined in white. The scale runs from 0 to the entropy of all classes being equally likely,
    as in the window, so that pictures can be compared.
    """
    cells = _match(rgb, labels, frame)
    known = cells.rows >= 0
    table = _colour_table()
    levels = uncertainty_levels(frame["entropy"].to_numpy(dtype=float), n_classes)
    colours = np.full((len(cells.ids), 3), _UNCLASSIFIED, dtype=np.uint8)
    colours[known] = table[levels[cells.rows[known]].astype(int) - 1]
    scale = magnification(rgb.shape)
    picture = _paint(_dim(_resize(rgb, scale)), cells, colours, np.where(known, 0.85, 0.0))
    width = _line_width(cells, scale)
    _outline(picture, cells, _lighter(colours), max(1, round(width / 2)), scale)
    anomaly = _flag(frame, "anomaly", cells)
    _outline(picture, cells, (0, 0, 0), 2 * width + 1, scale, anomaly, inset=width)
    _outline(picture, cells, _ANOMALY, width, scale, anomaly, inset=width)
    rows = [
        Row("Uncertainty", heading=True),
        Row("cells", f"{known.sum():,}"),
        Row("anomalous", f"{anomaly.sum():,}", _ANOMALY, not anomaly.any(), ringed=True),
        Row("entropy in nats"),
        Row("(equally likely classes)"),
    ]
    bar = ColourBar(table, _entropy_ticks(n_classes))
    return _finish(picture, rows, pixel_size_um, scale, bar)


def magnification(shape: tuple[int, ...]) -> float:
    """Return how many pixels of the picture stand for one of an image of (Y, X) pixels.

    A whole number for small images, 1 for usual ones, below 1 for those beyond `LARGEST`.
    """
    side = max(shape[:2])
    if side > LARGEST:
        return LARGEST / side
    return float(min(8, math.ceil(SMALLEST / side))) if side < SMALLEST else 1.0


def _match(rgb: RGB8, labels: NDArray[np.integer], frame: pd.DataFrame) -> _Cells:
    if rgb.shape[:2] != labels.shape:
        raise InputError(
            f"Labels of {labels.shape[1]} x {labels.shape[0]} pixels do not fit an image of "
            f"{rgb.shape[1]} x {rgb.shape[0]}."
        )
    ids, index = _renumber(labels)
    import pandas as pd

    rows = pd.Index(frame["label"].to_numpy()).get_indexer(ids)
    return _Cells(index, ids.astype(np.int64), rows.astype(np.int64))


def _renumber(
    labels: NDArray[np.integer],
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the labels (N,), ascending, and the image with 1 + position in them."""
    if labels.min() >= 0 and labels.max() <= _LARGEST_DIRECT:
        ids = np.flatnonzero(np.bincount(labels.ravel(), minlength=1))
        ids = ids[ids > 0]
        table = np.zeros(int(labels.max()) + 1, dtype=np.int32)
        table[ids] = np.arange(1, len(ids) + 1)
        return ids.astype(np.int64), table[labels]
    found, index = np.unique(np.append(labels.ravel(), 0), return_inverse=True)
    zero = int(np.searchsorted(found, 0))  # ids below 0 are background as well
    index = np.maximum(index[:-1] - zero, 0).reshape(labels.shape)
    return found[zero + 1 :].astype(np.int64), index.astype(np.int32)


def _flag(frame: pd.DataFrame, column: str, cells: _Cells) -> NDArray[np.bool_]:
    values = np.append(frame[column].to_numpy(dtype=bool), False)
    return np.asarray(values[cells.rows])  # row -1, not in the table, is the False at the end


def _resize(rgb: RGB8, scale: float) -> RGB8:
    if scale == 1.0:
        return rgb.copy()
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(rgb, size, interpolation=method), dtype=np.uint8)


def _dim(rgb: RGB8) -> RGB8:
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return np.repeat((grey * _DIMMED).astype(np.uint8)[..., None], 3, axis=2)


def _paint(
    picture: RGB8, cells: _Cells, colours: RGB8, alpha: NDArray[np.floating], block: int = 512
) -> RGB8:
    """Fill the cells of `picture` in place, `block` rows at a time to bound the memory."""
    colour = np.concatenate([np.zeros((1, 3)), colours]).astype(np.float32)
    weight = np.concatenate([[0.0], alpha]).astype(np.float32)[:, None]
    height, width = picture.shape[:2]
    y = (np.arange(height) * cells.index.shape[0] // height).astype(np.intp)
    x = (np.arange(width) * cells.index.shape[1] // width).astype(np.intp)
    for start in range(0, height, block):
        part = slice(start, start + block)
        index = cells.index[y[part][:, None], x]
        share = weight[index]
        picture[part] = np.rint(picture[part] * (1 - share) + colour[index] * share)
    return picture


def _line_width(cells: _Cells, scale: float) -> int:
    """Return the width of outlines: a thirtieth of the usual cell, 1 pixel or more."""
    if not len(cells.ids):
        return 1
    area = float(np.median(np.bincount(cells.index.ravel(), minlength=2)[1:]))
    diameter = 2 * math.sqrt(area / math.pi) * scale
    widest = max(1, round(float(max(cells.index.shape)) * scale / 400))
    return min(max(1, round(diameter / 32)), widest)


def _outline(
    picture: RGB8,
    cells: _Cells,
    colours: RGB8 | tuple[int, int, int],
    width: int,
    scale: float,
    which: NDArray[np.bool_] | None = None,
    *,
    inset: float = 0.0,
    dashed: bool = False,
) -> None:
    """Draw smoothed, anti-aliased outlines of the cells (of those in `which`) in place.

    An outline `inset` pixels of the picture lies inside the usual one, so that it is clear
    which cell it belongs to.
    """
    depth = math.ceil(inset / scale)
    boxes = ndimage.find_objects(cells.index)
    for i, box in enumerate(boxes):
        if which is not None and not which[i]:
            continue
        colour = colours if isinstance(colours, tuple) else tuple(int(c) for c in colours[i])
        for curve in _curves(_shrunk(cells.index[box] == i + 1, depth)):
            corner = np.array([box[1].start, box[0].start])
            points = (curve + corner + 0.5) * scale - 0.5
            _draw_curve(picture, points, colour, width, dashed)


def _curves(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Return the outer outlines (M, 2) x, y of a mask, smoothed along the outline."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [_smooth(contour[:, 0].astype(np.float64)) for contour in contours]


def _smooth(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(curve) < 16:
        return curve
    smoothed: NDArray[np.float64] = ndimage.uniform_filter1d(curve, 5, axis=0, mode="wrap")
    return smoothed


def _shrunk(mask: NDArray[np.bool_], depth: int) -> NDArray[np.bool_]:
    """Return the mask without its `depth` outer pixels, or itself when little would be left."""
    if depth:
        inner: NDArray[np.bool_] = ndimage.binary_erosion(mask, iterations=depth)
        if inner.sum() > 0.25 * mask.sum():
            return inner
    return mask


def _draw_curve(
    picture: RGB8,
    points: NDArray[np.float64],
    colour: tuple[int, ...],
    width: int,
    dashed: bool,
) -> None:
    fixed = np.rint(points * 16).astype(np.int32)  # 4 bits below the pixel
    if not dashed:
        cv2.polylines(picture, [fixed], True, colour, width, cv2.LINE_AA, 4)
        return
    steps = np.hypot(*np.diff(points, axis=0, append=points[:1]).T)
    travelled = np.cumsum(steps)
    if travelled[-1] < 4 * width:  # a speck, too short for dashes
        cv2.polylines(picture, [fixed], True, colour, width, cv2.LINE_AA, 4)
        return
    count = max(4, 2 * round(travelled[-1] / (9 * width)))  # even: as many dashes as gaps
    dash = np.minimum((travelled / travelled[-1] * count).astype(int), count - 1)
    for k in range(0, count, 2):
        piece = fixed[dash == k]
        if len(piece) > 1:
            cv2.polylines(picture, [piece], False, colour, width, cv2.LINE_AA, 4)


def _class_rows(
    frame: pd.DataFrame, classes: Sequence[HasColour], code: NDArray[np.integer], cells: _Cells
) -> list[Row]:
    counts = np.bincount(code[code >= 0], minlength=len(classes))
    rows = [Row("Cells", f"{counts.sum():,}", heading=True)]
    rows += [
        Row(c.name, f"{n:,}", _rgb(c.color), faint=not n)
        for c, n in zip(classes, counts, strict=True)
    ]
    anomalies = int(_flag(frame, "anomaly", cells).sum())
    rows.append(Row("anomalous", f"{anomalies:,}", _UNCLASSIFIED, not anomalies, dashed=True))
    if (code < 0).any():
        rows.append(Row("not classified", f"{(code < 0).sum():,}", _UNCLASSIFIED))
    return rows


def _finish(
    picture: RGB8,
    rows: Sequence[Row],
    pixel_size_um: float | None,
    scale: float,
    bar: ColourBar | None = None,
) -> RGB8:
    if pixel_size_um is not None:
        picture = add_scale_bar(picture, pixel_size_um / scale)
    return beside(picture, rows, bar)


def _rgb(colour: str) -> tuple[int, int, int]:
    rgba = cmap.Color(colour).rgba8
    return rgba.r, rgba.g, rgba.b


def _lighter(colours: RGB8) -> RGB8:
    return (colours + (255 - colours) * 0.25).astype(np.uint8)


def _colour_table() -> RGB8:
    return np.rint(uncertainty_colors()[1:, :3] * 255).astype(np.uint8)


def _entropy_ticks(n_classes: int) -> list[tuple[float, str]]:
    """Return ticks of the colour bar: entropies, and how many equal classes they stand for."""
    top = max(2, n_classes)
    equal = [k for k in (1, 2, 3, 5, 10, 20, 50) if k == 1 or k * 1.25 < top] + [top]
    return [(math.log(k) / math.log(top), f"{math.log(k):.2f} ({k})") for k in equal]
