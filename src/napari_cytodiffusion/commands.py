"""Commands of the menus and the command palette."""

from __future__ import annotations

from napari.viewer import Viewer

from napari_cytodiffusion.layers.views import FILL, OUTLINE
from napari_cytodiffusion.session import Session


def show_class(viewer: Viewer) -> None:
    """Colour the classified cells by class."""
    Session.of(viewer).show("class")


def show_uncertainty(viewer: Viewer) -> None:
    """Colour the classified cells by how uncertain the class is."""
    Session.of(viewer).show("uncertainty")


def switch_colours(viewer: Viewer) -> None:
    """Switch between the colours of class and of uncertainty."""
    Session.of(viewer).switch()


def hide_colours(viewer: Viewer) -> None:
    """Hide the colours of the cells, or show them again."""
    Session.of(viewer).toggle_colors()


def switch_style(viewer: Viewer) -> None:
    """Switch between filled cells and outlines."""
    session = Session.of(viewer)
    session.set_style(FILL if session.style == OUTLINE else OUTLINE)
