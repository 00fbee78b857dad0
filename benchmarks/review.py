"""How long a person waits for the next cell in *Review cells*, with 50,000 cells.

Run ``xvfb-run -a -s "-screen 0 1920x1200x24" python benchmarks/review.py``; a Markdown table is
printed. Keys are real key events. The time runs from the key to when the next cell is current and
drawn in the gallery; the gap is the longest time between two ticks of a 5 ms timer, while the other
cells learn from what is said. Both are given by the clock, and as the processor's time that the
window itself used meanwhile, which other programs do not lengthen. The cells are made up; the model
that learns is the default one.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import napari
import numpy as np
from PIL import Image
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from window import Pulse

from cytodiffusion.cells.cell_table import cell_table
from cytodiffusion.cells.crops import Crops
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.scores import entropy, margin
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.drawing.maps import CellMaps
from cytodiffusion.pipeline import CellBatch, cells_frame
from cytodiffusion.study import Study
from napari_cytodiffusion.layers.results import Results
from napari_cytodiffusion.layers.views import CellViews
from napari_cytodiffusion.session import Session

CELLS = 50_000
#: Pixels from one cell to the next, and micrometres a pixel.
PITCH, PIXEL_UM = 14, 0.6
#: What is to be reached, in milliseconds.
TARGETS = {"key": 50.0, "gap": 200.0}


def field(cells: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture and the labels of square cells."""
    columns = int(np.ceil(np.sqrt(cells)))
    number = np.arange(columns * columns, dtype=np.int32).reshape(columns, columns) + 1
    number[number > cells] = 0
    cell = np.zeros((PITCH, PITCH), np.int32)
    cell[2:-2, 2:-2] = 1
    labels = np.kron(number, cell).astype(np.int32)
    colors = np.random.default_rng(seed).integers(60, 220, (cells + 1, 3)).astype(np.uint8)
    colors[0] = 240
    return colors[labels], labels


def classified(labels: np.ndarray, model: Any, width: int = 256, seed: int = 0) -> CellBatch:
    """Return made-up answers of a model for the cells of a label image."""
    table, rng = cell_table(labels, PIXEL_UM), np.random.default_rng(seed)
    count, names = len(table), tuple(model.class_names)
    posterior = rng.dirichlet(np.full(len(names), 0.2), count)
    score = rng.random(count)
    crops = Crops(
        pixels=np.broadcast_to(np.uint8(0), (count, 32, 32, 3)),
        ids=table.ids,
        centroids=table.centroids,
        areas_um2=table.areas_um2,
        touches_border=table.touches_border,
        pixel_size_um=PIXEL_UM,
    )
    result = Classification(
        class_names=names,
        posterior=posterior,
        predicted=posterior.argmax(axis=1),
        confidence=posterior.max(axis=1),
        entropy=entropy(posterior),
        margin=margin(posterior),
        prediction_set=posterior > 0.05,
        anomaly_score=score,
        anomaly=score > 0.98,
        trials=np.full(count, 3),
        errors_by_level=rng.random((count, 4, len(names)), dtype=np.float32),
        levels=np.array([100, 200, 400, 700]),
        anomaly_threshold=0.98,
        logits=np.log(posterior + 1e-12),
        anomaly_scores={"combined": score},
        embedding=rng.normal(size=(count, width)).astype(np.float32),
    )
    return CellBatch(crops, result, count, count)


def show_cells(viewer: Any, model: Any, cells: int = CELLS) -> CellViews:
    """Show classified cells, as *Classify cells* leaves them."""
    rgb, labels = field(cells)
    place = {"scale": (PIXEL_UM, PIXEL_UM), "units": ("um", "um")}
    image = viewer.add_image(rgb, name="field", rgb=True, **place)
    layer = viewer.add_labels(labels, name="cells", **place)
    classes = model.classes
    results = Results(
        [c.name for c in classes], [c.color for c in classes], [c.group for c in classes]
    )
    results.add(classified(labels, model))
    views = CellViews(viewer, image, layer, CellMaps(labels, len(classes)), results)
    views.pixel_size_um, views.window_um = PIXEL_UM, 20.0
    views.settings = ClassifySettings()
    views.paint_cells()
    Session.of(viewer).add_views(views)
    return views


def make_study(folder: Path, model: Any, cells: int = CELLS, images: int = 50) -> Path:
    """Make a study with so many cells in all."""
    settings = ClassifySettings()
    with Study.create(folder / "study") as study:
        for number in range(images):
            rgb, labels = field(cells // images, number)
            path = folder / f"field-{number:02d}.png"
            Image.fromarray(rgb).save(path)
            image = study.put_image(path, labels, PIXEL_UM)
            batch = classified(labels, model, seed=number)
            frame = cells_frame([batch])
            study.put_predictions(image.name, frame, model, settings, batch.result)
        return study.folder


class WorkPulse(Pulse):
    """A pulse that also takes down how long the window computed between two ticks."""

    def __init__(self) -> None:
        super().__init__()
        self.work: list[tuple[float, float]] = []
        self._worked = 0.0

    def start(self) -> None:
        """Start ticking."""
        self._worked = time.thread_time()
        super().start()

    def _tick(self) -> None:
        now = time.thread_time()
        self.work.append((now - self._worked, time.perf_counter() - self._start))
        self._worked = now
        super()._tick()


class _Paints(QObject):
    """Counts how often a widget was drawn."""

    def __init__(self, widget: Any) -> None:
        super().__init__(widget)
        self.number = 0
        widget.installEventFilter(self)

    def eventFilter(self, _: QObject | None, event: QEvent | None) -> bool:
        """Count what is drawn."""
        self.number += event is not None and event.type() == QEvent.Type.Paint
        return False


def press(
    widget: Any, keys: Sequence[Any], pulse: WorkPulse, pause_ms: int
) -> tuple[list[float], list[float]]:
    """Press keys in the gallery; return milliseconds to each next cell, by clock and of work."""
    gallery = widget.gallery
    paints = _Paints(gallery.viewport())
    gallery.setFocus()
    waited: list[float] = []
    worked: list[float] = []
    pulse.start()
    for key in keys:
        before, drawn = gallery.current_row, paints.number
        start, work = time.perf_counter(), time.thread_time()
        QTest.keyClick(gallery, key)
        while gallery.current_row == before or paints.number == drawn:
            QApplication.processEvents()
            if time.perf_counter() - start > 20:
                raise RuntimeError("The next cell did not come within 20 s.")
        waited.append(1000 * (time.perf_counter() - start))
        worked.append(1000 * (time.thread_time() - work))
        QTest.qWait(pause_ms)
    return waited, worked


def settle(viewer: Any, milliseconds: int = 3000) -> None:
    """Wait until nothing is learned any more, and a moment longer."""
    from napari_cytodiffusion.classify.reviewing import Reviewing

    reviewing = Reviewing.of(Session.of(viewer))
    while reviewing.is_learning:
        QTest.qWait(50)
    QTest.qWait(milliseconds)


#: Keys of a person at work: classes, right, skip.
KEYS = (Qt.Key.Key_1, Qt.Key.Key_Return, Qt.Key.Key_2, Qt.Key.Key_Space, Qt.Key.Key_Return)


def measure(viewer: Any, widget: Any, number: int, pause_ms: int) -> dict[str, float]:
    """Press keys and wait until all that follows is done."""
    pulse = WorkPulse()
    waited, worked = press(widget, [KEYS[i % len(KEYS)] for i in range(number)], pulse, pause_ms)
    settle(viewer)
    pulse.stop()
    for name, gaps in (("by the clock", pulse.gaps), ("of work", pulse.work)):
        worst = ", ".join(f"{1000 * gap:.0f} ms at {at:.1f} s" for gap, at in sorted(gaps)[:-6:-1])
        print(f"Longest gaps {name}: {worst}")
    return {
        "median": float(np.median(waited)),
        "key": max(waited),
        "key work": max(worked),
        "gap": 1000 * max(pulse.gaps)[0],
        "gap work": 1000 * max(pulse.work)[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=CELLS)
    parser.add_argument("--keys", type=int, default=40, help="how many are pressed")
    parser.add_argument("--pause", type=int, default=300, help="milliseconds between two")
    arguments = parser.parse_args()
    from napari_cytodiffusion.review.widget import ReviewWidget

    print(f"Load average before: {os.getloadavg()[0]:.1f}; CPU cores: {os.cpu_count()}\n")
    rows = []
    for source in ("slide", "study"):
        viewer = napari.Viewer()
        viewer.window.resize(1366, 768)
        session = Session.of(viewer)
        model = session.engine.load_model("default", "cpu")
        with tempfile.TemporaryDirectory() as folder:
            if source == "slide":
                show_cells(viewer, model, arguments.cells)
            else:
                from napari_cytodiffusion.study.current import CurrentStudy

                CurrentStudy.of(session).open(make_study(Path(folder), model, arguments.cells))
            widget = ReviewWidget(viewer)
            viewer.window.add_dock_widget(widget, name="Review cells")
            while len(widget.gallery.order) < arguments.cells:
                QTest.qWait(100)
            QTest.qWait(2000)
            rows.append((source, measure(viewer, widget, arguments.keys, arguments.pause)))
            viewer.close()
    print(f"\nLoad average after: {os.getloadavg()[0]:.1f}. Milliseconds:\n")
    print("| cells of | key to next cell, median | longest | its work | longest gap | its work |")
    print("|---|---|---|---|---|---|")
    for source, found in rows:
        print(f"| a {source} | " + " | ".join(f"{value:.0f}" for value in found.values()) + " |")
    print(f"| aim | | {TARGETS['key']:.0f} | | {TARGETS['gap']:.0f} | |")


if __name__ == "__main__":
    main()
