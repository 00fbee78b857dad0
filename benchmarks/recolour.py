"""How long the window takes to colour 5,000 cells anew after one of them is given another class.

Run ``xvfb-run -a -s "-screen 0 1920x1200x24" python benchmarks/recolour.py``. Times run from the
class being given to the next frame on the screen, with the embeddings and calibration of the
default model; the posteriors are drawn at random. Processor time counts where other programs work.
"""

from __future__ import annotations

import argparse
import time

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

from cytodiffusion.cells.crops import Crops
from cytodiffusion.classification.result import Classification
from cytodiffusion.classification.scores import entropy, margin
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.drawing.maps import CellMaps
from cytodiffusion.pipeline import CellBatch
from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.layers.results import Results
from napari_cytodiffusion.layers.views import CellViews
from napari_cytodiffusion.session import Session

SIDE = 20


def cells(n: int, names: tuple[str, ...], width: int) -> CellBatch:
    """Make cells that a model with these classes and so wide an embedding may have classified."""
    rng = np.random.default_rng(0)
    posterior = rng.dirichlet(np.full(len(names), 0.1), n)
    score = rng.normal(size=n)
    result = Classification(
        class_names=names,
        posterior=posterior,
        predicted=posterior.argmax(axis=1),
        confidence=posterior.max(axis=1),
        entropy=entropy(posterior),
        margin=margin(posterior),
        prediction_set=posterior > 0.05,
        anomaly_score=score,
        anomaly=score > 2,
        trials=np.ones(n, np.int64),
        errors_by_level=np.zeros((n, 4, len(names)), np.float32),
        levels=np.array([10, 30, 60, 100]),
        anomaly_threshold=2.0,
        logits=np.log(posterior + 1e-9),
        embedding=rng.normal(size=(n, width)).astype(np.float32),
    )
    crops = Crops(
        pixels=np.zeros((n, 1, 1, 3), np.uint8),
        ids=np.arange(1, n + 1),
        centroids=rng.uniform(0, 1400, (n, 2)),
        areas_um2=np.full(n, 50.0),
        touches_border=np.zeros(n, bool),
        pixel_size_um=0.1,
    )
    return CellBatch(crops, result, n, n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=5041, help="a square number")
    parser.add_argument("--corrected", type=int, default=30)
    options = parser.parse_args()
    each = round(options.cells**0.5)
    numbers = np.arange(1, each * each + 1, dtype=np.int32).reshape(each, each)
    labels = np.kron(numbers, np.ones((SIDE, SIDE), np.int32))
    labels[::SIDE], labels[:, ::SIDE] = 0, 0
    viewer = napari.Viewer()
    session = Session.of(viewer)
    model = session.engine.load_model("default", "cpu")
    image = viewer.add_image(np.full((*labels.shape, 3), 220, np.uint8), rgb=True)
    layer = viewer.add_labels(labels)
    widget = ClassifyWidget(viewer)
    viewer.window.add_dock_widget(widget)
    results = Results(model.class_names, [c.color for c in model.classes])
    width = len(model.calibration.embedding_mean)
    results.add(cells(each * each, model.class_names, width))
    views = CellViews(viewer, image, layer, CellMaps(labels, len(model.classes)), results)
    views.settings, views.model = ClassifySettings(), ("default", "cpu")
    session.add_views(views)
    reviewing = Reviewing.of(session)
    rng = np.random.default_rng(1)
    took = []
    for number, label in enumerate(rng.choice(each * each, options.corrected, replace=False) + 1):
        session.inspect(int(label))
        for _ in range(20):
            QApplication.processEvents()
        start, worked = time.perf_counter(), time.process_time()
        reviewing.say(model.class_names[number % len(model.classes)])
        while session.current is not None and session.current.results.record(label).human is None:
            QApplication.processEvents()
        viewer.screenshot(canvas_only=True, flash=False)
        took.append((time.perf_counter() - start, time.process_time() - worked))
    wall, work = 1000 * np.median(took, axis=0)
    print(f"{each * each:,} cells, 1 to {options.corrected} corrected, median of all:")
    print(f"{wall:.0f} ms until they are coloured anew, {work:.0f} ms of processor time")
    viewer.close()


if __name__ == "__main__":
    main()
