"""Commands of the menus and the command palette."""

from __future__ import annotations

from napari.viewer import Viewer

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
