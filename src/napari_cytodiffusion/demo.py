"""The main job in the window: ``python -m napari_cytodiffusion.demo``.

Opens napari with the synthetic smear, segments its cells, classifies them, and leaves the window
to the user with the widgets docked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import napari

from napari_cytodiffusion.classify.inspect import InspectWidget
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.docks import raise_dock
from napari_cytodiffusion.sample_data import synthetic_smear
from napari_cytodiffusion.segment.widget import SegmentWidget
from napari_cytodiffusion.session import Session


@dataclass
class Desk:
    """A viewer with the three widgets docked."""

    viewer: Any
    segment: SegmentWidget
    classify: ClassifyWidget
    inspect: InspectWidget


def open_desk(viewer: Any) -> Desk:
    """Dock the three widgets in a viewer."""
    desk = Desk(viewer, SegmentWidget(viewer), ClassifyWidget(viewer), InspectWidget(viewer))
    first = viewer.window.add_dock_widget(desk.segment, name="Segment cells", area="right")
    second = viewer.window.add_dock_widget(
        desk.classify, name="Classify cells", area="right", tabify=True
    )
    viewer.window.add_dock_widget(desk.inspect, name="Inspect cell", area="right", tabify=True)
    second.raise_() if not first.isVisible() else first.raise_()
    return desk


def run(desk: Desk) -> None:
    """Segment, then classify, then look at the most uncertain cell; each starts the next."""
    session = Session.of(desk.viewer)
    steps = iter((desk.classify.start, lambda: desk.inspect.step(1)))

    def go_on(busy: bool) -> None:
        if busy:
            return
        step = next(steps, None)
        if step is None:
            session.busy_changed.disconnect(go_on)
        else:
            raise_dock(desk.classify if step == desk.classify.start else desk.inspect)
            step()

    session.busy_changed.connect(go_on)
    desk.segment.start()


def main() -> None:
    """Open the window and stay until it is closed."""
    viewer = napari.Viewer()
    for data, options, kind in synthetic_smear():
        getattr(viewer, f"add_{kind}")(data, **options)
    desk = open_desk(viewer)
    run(desk)
    napari.run()


if __name__ == "__main__":
    main()
