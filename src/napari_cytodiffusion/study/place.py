"""Where the user of a study was: kept in the study while they work, found again when it opens."""

from __future__ import annotations

import contextlib
from typing import Any

from qtpy.QtCore import QObject, QTimer

from cytodiffusion.errors import CytoDiffusionError
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.layers.views import STYLES
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.study.current import CurrentStudy

#: Milliseconds without a change after which the place is written down.
_CALM_MS = 800

#: Name of the dock of a study in the Plugins menu.
_DOCK = "Study"

#: Entry of the study for the window, and beginning of those for its images.
_WINDOW, _IMAGE = "window", "window of "


class Place(QObject):
    """Writes down which image and cell are looked at, and how; goes there when a study opens."""

    def __init__(self, session: Session, current: CurrentStudy) -> None:
        super().__init__(current)
        self._session, self._current = session, current
        self._returning = False  # whether the image that is being opened is where the user was
        self._restored: str | None = None  # the image that the camera looks at
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_CALM_MS)
        self._timer.timeout.connect(self.write)
        for signal in (session.inspected, session.cells_changed, session.view_changed):
            signal.connect(self._soon)
        session.viewer.scene.camera.events.connect(self._soon)
        current.opened.connect(self._on_opened)
        current.image_opened.connect(self._on_image)
        current.leaving.connect(self._on_leaving)

    @classmethod
    def of(cls, session: Session) -> Place:
        """Return the one of a session, made at the first call."""
        current = CurrentStudy.of(session)
        found = current.findChild(cls)
        return found if isinstance(found, cls) else cls(session, current)

    def _soon(self, _: Any = None) -> None:
        if self._current.study is not None:
            self._timer.start()

    def write(self) -> None:
        """Write down what is looked at; where that fails, the next change tries again."""
        self._timer.stop()
        study, views, viewer = self._current.study, self._session.current, self._session.viewer
        name = self._current.image_of(views)
        if study is None or views is None or viewer is None or name is None:
            return
        if not self._current.writable or self._restored != name:
            return  # before it was gone to, the place of the image is not known
        camera = viewer.scene.camera
        window = {
            "image": name,
            "kind": views.kind,
            "style": self._session.style,
            "outlines": list(views.outlines),
            "hidden": views.hidden,
            "hidden_classes": [
                one
                for one, shown in zip(views.results.class_names, views.shown, strict=True)
                if not shown
            ],
            "docks": self._session.docked_names(),
        }
        where = {
            "cell": self._session.chosen,
            "center": [float(x) for x in camera.center[-2:]],
            "zoom": float(camera.zoom),
        }
        with contextlib.suppress(CytoDiffusionError):
            study.remember(_WINDOW, window)
            study.remember(f"{_IMAGE}{name}", where)

    def _on_leaving(self) -> None:
        self.write()
        self._restored = None

    def _on_opened(self) -> None:
        study = self._current.study
        window = None if study is None else study.recall(_WINDOW)
        self._restored = None
        if study is None or not isinstance(window, dict):
            return
        front = self._session.docked_names()
        for dock in [dock for dock in map(str, window.get("docks", ())) if dock not in front]:
            self._session.open_dock(dock)
        if _DOCK in front:
            # the day begins there; docks that were opened come to the front a moment later
            QTimer.singleShot(0, self._to_front)
        if window.get("style") in dict(STYLES):
            self._session.set_style(window["style"])
        name = window.get("image")
        if any(image.name == name for image in study.images()):
            self._returning = True
            self._current.open_image(str(name))

    def _to_front(self) -> None:
        self._session.open_dock(_DOCK)

    def _on_image(self, name: str) -> None:
        """Look where the user looked when this image was open before."""
        study, viewer, views = self._current.study, self._session.viewer, self._session.current
        if study is None or viewer is None or self._restored == name:
            return
        self._restored = name
        window, where = study.recall(_WINDOW), study.recall(f"{_IMAGE}{name}")
        if self._returning and views is not None and isinstance(window, dict):
            self._returning = False
            hidden = set(window.get("hidden_classes", ()))
            self._session.show_classes([n not in hidden for n in views.results.class_names])
            self._session.show_outlines(*map(bool, window.get("outlines", views.outlines)))
            if window.get("kind") == "uncertainty":
                self._session.show("uncertainty")
            if window.get("hidden"):
                self._session.toggle_colors()
            classify = self._session.docked("Classify cells")
            if isinstance(classify, ClassifyWidget):
                classify.model.value = views.model[0]
            self._session.view_changed.emit()
            self._session.cells_changed.emit()
        if not isinstance(where, dict):
            viewer.reset_view()
            return
        camera = viewer.scene.camera
        with contextlib.suppress(KeyError, TypeError, ValueError):
            camera.zoom = float(where["zoom"])
            y, x = (float(value) for value in where["center"])
            camera.center = (y, x)
            self._session.inspect(int(where["cell"]))
