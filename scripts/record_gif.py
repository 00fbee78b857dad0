"""Record a session as GIF: ``xvfb-run -a -s "-screen 0 1400x900x24" python scripts/record_gif.py``.

It is the window's side of docs/walk-through.md: a study is opened, five cells get their class by
key, the slide changes, the model is taught, and everything is there when the study is opened again.
The smear is a synthetic one, so that no picture needs anybody's leave.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import napari
import numpy as np
import pandas as pd
from napari._qt.dialogs.qt_notification import NapariQtNotification
from PIL import Image
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QPushButton

from cytodiffusion.model.loading import load_bundle
from cytodiffusion.smear import SmearSettings, synthetic_smear
from cytodiffusion.smear.files import IMAGE, TRUTH, save_smear
from cytodiffusion.study import Study
from napari_cytodiffusion.classify.reviewing import CLASS_KEYS, Reviewing
from napari_cytodiffusion.docks import raise_dock
from napari_cytodiffusion.review.widget import ReviewWidget
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.study.widget import StudyWidget
from napari_cytodiffusion.teach.widget import TeachWidget

#: Size of the window and width of the recording in pixels; bytes that a recording has at most.
WINDOW, WIDTH, LARGEST = (1366, 768), 1000, 1_500_000
#: Longest wait for anything, in seconds.
PATIENCE = 600
#: Corrections by the class that a cell really has.
WANTED = ("red cell", "red cell", "platelet", "platelet", "platelet")


def prepare(folder: Path) -> Path:
    """Make the smear and the study of the walk-through where they are missing; return a copy."""
    monday, study = folder / "monday", folder / "my-study"
    if not (monday / IMAGE).is_file() or not study.is_dir():
        model = load_bundle("default")
        save_smear(synthetic_smear(model, SmearSettings(width=640, height=480, seed=1)), monday)
        with Study.create(study) as made:
            made.add_image(monday / IMAGE, model)
    copy = folder / "recorded"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(study, copy)
    return copy


def wrong_cells(folder: Path, truth: Path) -> list[tuple[int, str]]:
    """Return five cells that the model takes for something else, and what they are."""
    with Study(folder, writable=False) as study:
        cells = study.cells()
    drawn = pd.read_csv(truth)
    places = drawn[["y", "x"]].to_numpy()
    found: dict[str, list[int]] = {}
    for cell in cells.itertuples():
        nearest = int(np.hypot(*(places - (cell.y, cell.x)).T).argmin())
        name = str(drawn["class"].iloc[nearest])
        if name != cell.predicted:
            found.setdefault(name, []).append(int(cell.label))
    return [(found[name].pop(0), name) for name in WANTED if found.get(name)]


class Recorder:
    """Takes pictures of a window, and writes them as one GIF."""

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self.frames: list[Image.Image] = []
        self.durations: list[int] = []

    def take(self, milliseconds: int) -> None:
        """Keep the window as it is now, to be seen for so long."""
        QTest.qWait(300)
        for widget in QApplication.allWidgets():
            if isinstance(widget, NapariQtNotification):
                widget.close()
        pixels = self.viewer.window.screenshot(canvas_only=False, flash=False)
        picture = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
        height = round(picture.height * WIDTH / picture.width)
        self.frames.append(picture.resize((WIDTH, height), Image.Resampling.LANCZOS))
        self.durations.append(milliseconds)

    def save(self, path: Path) -> None:
        """Write the GIF with as many colours as its size allows."""
        for colors in (192, 128, 96, 64, 48):
            palette = _palette(self.frames, colors)
            few = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f in self.frames]
            few[0].save(path, save_all=True, append_images=few[1:], duration=self.durations, loop=0)
            if path.stat().st_size <= LARGEST:
                break
        size = path.stat().st_size / 1000
        print(f"{path}: {len(few)} pictures, {size:.0f} kB, {colors} colours")


def _palette(frames: Sequence[Image.Image], colors: int) -> Image.Image:
    """Return the colours that all pictures share."""
    some = [frames[0], frames[len(frames) // 2], frames[-1]]
    sheet = Image.new("RGB", (WIDTH, sum(f.height for f in some)))
    top = 0
    for frame in some:
        sheet.paste(frame, (0, top))
        top += frame.height
    return sheet.quantize(colors, Image.Quantize.MEDIANCUT)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something has happened."""
    for _ in range(PATIENCE * 20):
        if condition():
            return
        QTest.qWait(50)
    raise SystemExit("It took too long.")


def open_window(folder: Path) -> tuple[Any, StudyWidget]:
    """Open a viewer with the dock *Study* and a study whose image is shown."""
    viewer = napari.Viewer()
    viewer.window.resize(*WINDOW)
    study = StudyWidget(viewer)
    viewer.window.add_dock_widget(study, name="Study", area="right")
    QTest.qWait(500)
    study._current.open(folder)
    study._current.open_image(study._current.study.images()[0].name)
    wait_for(lambda: bool(study._current.open_names()))
    return viewer, study


def review(viewer: Any, recorder: Recorder, cells: Sequence[tuple[int, str]]) -> None:
    """Give cells their classes by key, and show what that changes."""
    widget = ReviewWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Review cells", area="right", tabify=True)
    QTest.qWait(1000)
    raise_dock(widget)
    wait_for(lambda: len(widget.source.cells.labels) > 0)
    recorder.take(1500)
    reviewing = Reviewing.of(Session.of(viewer))
    for label, name in cells:
        row = int(np.flatnonzero(widget.source.cells.labels == label)[0])
        widget.gallery.choose_row(row)
        widget.gallery.setFocus()
        recorder.take(900)
        key = CLASS_KEYS[widget.source.cells.class_names.index(name)]
        QTest.keyClick(widget.gallery, key.lower())
        wait_for(lambda: reviewing._job is None)
        recorder.take(700)
    viewer.fit_to_view()
    widget.before.setChecked(True)
    recorder.take(1800)
    widget.before.setChecked(False)
    recorder.take(2200)


def teach(viewer: Any, recorder: Recorder) -> None:
    """Teach the model what was said."""
    widget = TeachWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Teach", area="right", tabify=True)
    QTest.qWait(500)
    raise_dock(widget)
    wait_for(lambda: widget.fast_bar.findChildren(QPushButton)[0].isEnabled())
    recorder.take(1500)
    widget.teach(deep=False)
    recorder.take(700)
    wait_for(lambda: not Session.of(viewer).busy)
    QTest.qWait(1500)
    recorder.take(2500)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/images/study.gif"))
    parser.add_argument("--keep", type=Path, help="folder where smear and study are kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = (arguments.keep or Path(scratch)).resolve()
        folder = prepare(place)
        viewer, study = open_window(folder)
        study._reviewing.call_observer("Ada")
        recorder = Recorder(viewer)
        recorder.take(1500)
        review(viewer, recorder, wrong_cells(folder, place / "monday" / TRUTH))
        teach(viewer, recorder)
        study._current.close()
        viewer.close()
        recorder.viewer, again = open_window(folder)
        QTest.qWait(1500)
        recorder.take(3000)
        again._current.close()
        recorder.viewer.close()
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        recorder.save(arguments.out)


if __name__ == "__main__":
    main()
