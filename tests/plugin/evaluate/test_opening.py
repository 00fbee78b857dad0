"""The report widget opens reports and the images of their cells."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent

from napari_cytodiffusion.evaluate import widget as module


def test_a_click_on_a_cell_opens_its_image(opened, bare, metrics, qtbot) -> None:
    hardest, anomalous = (action.menu() for action in opened.page.cells.actions())
    entries = metrics["montage"]["hardest"]
    assert len(hardest.actions()) == len(entries) == 15
    action = hardest.actions()[0]
    assert not action.icon().isNull()
    assert action.text().startswith(entries[0]["label"])
    for _ in range(2):  # the second time the layer is there already
        action.trigger()
        qtbot.waitUntil(lambda: len(bare.layers) == 1, timeout=20_000)
    qtbot.wait(50)
    (layer,) = bare.layers
    assert layer.name == Path(entries[0]["path"]).stem
    assert layer.data.shape == (48, 48, 3)
    first = metrics["montage"]["anomalous"][0]
    assert anomalous.actions()[0].text().endswith(Path(first["path"]).name)


def test_an_image_that_is_gone_is_said(opened, bare, messages, qtbot, tmp_path) -> None:
    opened.open_image(str(tmp_path / "gone.png"))
    qtbot.waitUntil(lambda: bool(messages), timeout=20_000)
    assert "gone.png" in messages[0]
    assert len(bare.layers) == 0


def test_a_folder_without_a_report_is_said(widget, messages, qtbot, tmp_path) -> None:
    widget.open(tmp_path)
    qtbot.waitUntil(lambda: bool(messages), timeout=20_000)
    assert "no metrics.json" in messages[0]
    assert widget.problem.isVisible()
    assert widget.problem.text() == messages[0]
    assert widget.report is None
    assert widget.page.isHidden()


def test_a_dropped_folder_opens_and_is_remembered(widget, made, qtbot) -> None:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(made / "report" / "metrics.json"))])
    drop = QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        mime,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    widget.dropEvent(drop)
    qtbot.waitUntil(lambda: widget.report is not None, timeout=20_000)
    assert widget.recent_reports() == [str((made / "report").resolve())]
    widget.recent.aboutToShow.emit()
    assert [a.text() for a in widget.recent.actions()] == widget.recent_reports()


def test_the_page_opens_in_the_browser(opened, made, monkeypatch, qtbot) -> None:
    urls = []
    monkeypatch.setattr(module.QDesktopServices, "openUrl", lambda url: urls.append(url) or True)
    qtbot.mouseClick(opened.page.page_button, Qt.MouseButton.LeftButton)
    assert Path(urls[0].toLocalFile()) == (made / "report" / "report.html").resolve()
