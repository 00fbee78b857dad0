"""Make the README's pictures of the window: ``xvfb-run -a -s "-screen 0 1920x1200x24" python ...``.

The smear is the synthetic one of File > Open Sample, so that no picture needs anybody's leave.
Segments and classifies through the widgets, as a user would, and writes small PNG files.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari._qt.dialogs.qt_notification import NapariQtNotification
from PIL import Image
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from cytodiffusion.image.image import open_image
from cytodiffusion.smear import SmearSettings
from napari_cytodiffusion.classify.reviewing import Reviewing
from napari_cytodiffusion.counterfactual.widget import CLASSES, CounterfactualWidget
from napari_cytodiffusion.demo import Desk, open_desk, raise_dock
from napari_cytodiffusion.generate.widget import GenerateWidget
from napari_cytodiffusion.sample_data import synthetic_smear
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.smear.widget import SmearWidget
from napari_cytodiffusion.study.current import CurrentStudy
from napari_cytodiffusion.study.widget import StudyWidget

#: Size of the window in pixels, and of a picture in bytes at most.
WINDOW = (1440, 860)
LARGEST = 300_000


def settle(viewer: Any, milliseconds: int = 800) -> None:
    """Let the run end and the window draw."""
    while Session.of(viewer).busy:
        QTest.qWait(50)
    QTest.qWait(milliseconds)


def palette_of(picture: Image.Image, colors: int) -> Image.Image:
    """Half for the commonest colours, half for those farthest apart, such as in the legend."""
    half = colors // 2
    common = picture.quantize(colors - half, Image.Quantize.MEDIANCUT).getpalette()
    rare = picture.quantize(half, Image.Quantize.MAXCOVERAGE).getpalette()
    palette = Image.new("P", (1, 1))
    palette.putpalette(common[: 3 * (colors - half)] + rare[: 3 * half])
    return palette


def save(viewer: Any, path: Path) -> None:
    """Write the window, without notifications, with as many colours as the size allows."""
    for widget in QApplication.allWidgets():
        if isinstance(widget, NapariQtNotification):
            widget.close()
    pixels = viewer.window.screenshot(canvas_only=False, flash=False)
    picture = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
    for colors in (255, 192, 128, 96):
        buffer = io.BytesIO()
        few = picture.quantize(palette=palette_of(picture, colors), dither=Image.Dither.NONE)
        few.save(buffer, "PNG", optimize=True)
        if buffer.tell() <= LARGEST:
            break
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
    print(f"{path}: {buffer.tell() / 1000:.0f} kB, {colors} colours")


def add_image(viewer: Any, path: Path | None) -> None:
    """Open the synthetic smear, or another image to look at."""
    if path is None:
        for data, options, kind in synthetic_smear():
            if kind == "image":
                viewer.add_image(data, **options)
    else:
        viewer.add_image(open_image(path).rgb(), name=path.stem, rgb=True)


def shoot(viewer: Any, desk: Desk, folder: Path) -> None:
    """Go through the main job and take a picture of each station."""
    raise_dock(desk.segment)
    desk.segment.start()
    settle(viewer)
    save(viewer, folder / "segment.png")
    raise_dock(desk.classify)
    desk.classify.start()
    settle(viewer, 2500)
    save(viewer, folder / "class.png")
    Session.of(viewer).show("uncertainty")
    settle(viewer)
    save(viewer, folder / "uncertainty.png")
    Session.of(viewer).show("class")
    raise_dock(desk.inspect)
    desk.inspect.step(1)
    settle(viewer)
    save(viewer, folder / "inspect.png")
    shoot_counterfactual(viewer, folder)


def worth_a_look(results: Any, shape: tuple[int, ...]) -> tuple[int, int | None]:
    """Return a cell of one of two classes that differ in little, and the other class.

    The one nearest to the middle of the image: the view is of its surroundings.
    """
    pair = ("eosinophil", "neutrophil")
    if all(name in results.class_names for name in pair):
        for own, other in (pair, pair[::-1]):
            labels = results.ordered("class", results.class_names.index(own))
            cells = [results.record(label) for label in labels]
            if cells:
                away = [np.hypot(c.y - shape[0] / 2, c.x - shape[1] / 2) for c in cells]
                return labels[int(np.argmin(away))], results.class_names.index(other)
    return results.ordered("uncertainty")[0], None


def shoot_counterfactual(viewer: Any, folder: Path) -> None:
    """Click a cell whose heatmap is worth a look."""
    session = Session.of(viewer)
    widget = CounterfactualWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Counterfactual heatmap", area="right", tabify=True)
    raise_dock(widget)
    QTest.qWait(500)
    results = session.current.results
    label, target = worth_a_look(results, session.current.labels.data.shape)
    record = results.record(label)
    session.inspect(label)
    if target is not None:
        widget.form.choose(target)
    viewer.scene.camera.center = session.current.labels.data_to_world((record.y, record.x))
    settle(viewer, 1500)
    save(viewer, folder / "heatmap.png")
    widget.tabs.setCurrentIndex(CLASSES)
    settle(viewer, 1500)
    save(viewer, folder / "heatmap-classes.png")


def shoot_synthetic(folder: Path, model: str) -> None:
    """Take pictures of generated cells and of a smear made by one's own parameters."""
    viewer = napari.Viewer()
    viewer.window.resize(*WINDOW)
    generate, smear = GenerateWidget(viewer), SmearWidget(viewer)
    viewer.window.add_dock_widget(smear, name="Synthetic smear", area="right")
    viewer.window.add_dock_widget(generate, name="Generate cells", area="right", tabify=True)
    QTest.qWait(500)  # the docks take their places
    raise_dock(generate)
    generate.form["model"].value = model
    smear.model.set_value(model)
    while not generate.ready:
        QTest.qWait(50)
    generate.counts.set_all(4)
    generate.start()
    settle(viewer, 1500)
    save(viewer, folder / "generate.png")
    viewer.layers.clear()
    raise_dock(smear)
    smear.start()
    settle(viewer, 2500)
    save(viewer, folder / "smear.png")
    viewer.close()


def shoot_study(folder: Path) -> None:
    """Take a picture of a study with two smears, of which one is open and labelled in part."""
    viewer = napari.Viewer()
    viewer.window.resize(*WINDOW)
    study = StudyWidget(viewer)
    viewer.window.add_dock_widget(study, name="Study", area="right")
    current = CurrentStudy.of(Session.of(viewer))
    with tempfile.TemporaryDirectory() as place:
        slides = [Path(place) / f"smear {day}.png" for day in ("Monday", "Tuesday")]
        for seed, path in enumerate(slides):
            engine = Session.of(viewer).engine
            smear = engine.synthetic_smear(None, SmearSettings(height=700, width=860, seed=seed))
            Image.fromarray(smear.rgb).save(path)
        Reviewing.of(Session.of(viewer)).observer = "Ada"
        current.create(Path(place) / "my study")
        study.adding.take(slides)
        study.adding.start()
        settle(viewer, 3000)
        name = current.open_names()[0]
        views = current.views_of(name)
        first = views.results.ordered("uncertainty")[:20]
        for label in first:
            record = views.results.record(label)
            current.annotate((name, label), views.results.class_names[record.predicted])
        settle(viewer, 4000)
        save(viewer, folder / "study.png")
        current.close()
        viewer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--image", type=Path, help="another image than the synthetic smear")
    parser.add_argument("--model", default="default")
    arguments = parser.parse_args()
    viewer = napari.Viewer()
    viewer.window.resize(*WINDOW)
    add_image(viewer, arguments.image)
    desk = open_desk(viewer)
    desk.classify.model.set_value(arguments.model)
    QTest.qWait(1000)
    viewer.fit_to_view()
    shoot(viewer, desk, arguments.out)
    viewer.close()
    shoot_synthetic(arguments.out, arguments.model)
    shoot_study(arguments.out)


if __name__ == "__main__":
    main()
