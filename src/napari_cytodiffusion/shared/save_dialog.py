"""Where to save a file: the dialog that remembers the folder and replaces nothing unasked."""

from __future__ import annotations

import re
from pathlib import Path

from napari.utils.history import get_save_history, update_save_history
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_cytodiffusion.shared.common import ask


def ask_where(parent: QWidget, title: str, name: str, kind: str) -> Path | None:
    """Ask for the file to save to; None where nobody wants to.

    Parameters
    ----------
    name : str
        Proposed name without an ending; what no file name may have is left out.
    kind : str
        Kind of file, such as ``CSV (*.csv)``.
    """
    ending = kind.partition("*")[2].rstrip(")")
    proposed = re.sub(r'[<>:"/\\|?*\x00-\x1f]+', " ", name).strip(" .") or "cells"
    start = Path(get_save_history()[0]) / (proposed + ending)
    chosen, _ = QFileDialog.getSaveFileName(parent, title, str(start), kind)
    if not chosen:
        return None
    path = Path(chosen)
    if path.suffix.lower() != ending:
        # the dialog asked about the name that was typed, not about this one
        path = path.with_name(path.name + ending)
        question = f"{path.name} is there already.\n\nReplace it?"
        if path.exists() and not ask(parent, title, question):
            return None
    update_save_history(str(path))
    return path
