"""The report widget shows the headline figures and the plots of the page."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QPalette
from qtpy.QtWidgets import QApplication, QDialog, QLabel
from report_toys import texts

from cytodiffusion.evaluation.report_content import key_figures
from cytodiffusion.evaluation.stored import StoredPlot


def pixels(picture) -> np.ndarray:
    """What a plot looks like, as (Y, X, 3)."""
    image = picture.grab().toImage().convertToFormat(picture.grab().toImage().Format.Format_RGB888)
    rows = np.frombuffer(image.constBits().asstring(image.sizeInBytes()), np.uint8)
    rows = rows.reshape(image.height(), image.bytesPerLine())[:, : 3 * image.width()]
    return rows.reshape(image.height(), image.width(), 3)


def show(widget, metrics=None, **changes) -> None:
    report = widget.report
    widget.show_report(dataclasses.replace(report, metrics=metrics or report.metrics, **changes))


def paint(widget, ink: str, paper: str) -> None:
    """Give a window the colours of another theme."""
    palette = QPalette(widget.palette())
    for role in (QPalette.ColorRole.WindowText, QPalette.ColorRole.Text):
        palette.setColor(role, QColor(ink))
    palette.setColor(QPalette.ColorRole.Window, QColor(paper))
    widget.setPalette(palette)


def test_key_figures_are_those_of_the_page(opened, metrics, made) -> None:
    shown, page = texts(opened), (made / "report" / "report.html").read_text(encoding="utf-8")
    for found in key_figures(metrics):
        for text in (found.title, found.value, found.note):
            assert text in shown
            assert text in page
    assert f"{metrics['balanced_accuracy']:.3f}" in shown
    assert "tiny" in opened.title.text()
    assert "15 cells" in opened.title.text()
    assert opened.hint.isHidden()
    assert any("not a medical device" in text for text in shown)
    assert any(text.startswith("rival beside it") for text in shown)


def test_all_plots_of_the_page_are_there_with_their_captions(opened, made) -> None:
    page = (made / "report" / "report.html").read_text(encoding="utf-8")
    drawn = re.findall(r'alt="([^"]*)" src="data:image/svg', page)
    assert [picture.plot.caption for picture in opened.page.plots] == drawn
    assert len(drawn) >= 6
    shown = texts(opened)
    assert all(caption in shown for caption in drawn)
    for picture in opened.page.plots:
        # something is drawn, in more than one colour
        assert len(np.unique(pixels(picture).reshape(-1, 3), axis=0)) > 5


def test_plots_keep_their_proportions_in_a_narrow_dock(opened, qtbot) -> None:
    for width in (360, 700):
        opened.resize(width, 800)
        qtbot.wait(50)
        for picture in opened.page.plots:
            assert picture.height() == pytest.approx(picture.heightForWidth(picture.width()), abs=2)
            assert picture.width() > width - 60
    assert opened.page.minimumSizeHint().width() <= 380


def test_plots_follow_the_theme(opened, qtbot) -> None:
    picture = opened.page.plots[0]
    for ink, paper, dark in (("#f0f1f2", "#262930", True), ("#1b1b1b", "#efebe9", False)):
        paint(opened, ink, paper)
        picture.update()
        colours = pixels(picture).mean(axis=2)
        assert picture.is_dark is dark
        # text stands out from the background, which shows through
        background = QColor(paper).lightness()
        assert abs(np.median(colours) - background) < 12
        assert abs(colours - background).max() > 100


def test_a_click_enlarges_a_plot(opened, qtbot) -> None:
    qtbot.mouseClick(opened.page.plots[1], Qt.MouseButton.LeftButton)
    dialogs = [w for w in QApplication.topLevelWidgets() if isinstance(w, QDialog)]
    (dialog,) = [d for d in dialogs if d.windowTitle() == "Plot of the report" and d.isVisible()]
    assert dialog.width() > opened.width()
    assert opened.page.plots[1].plot.caption in [w.text() for w in dialog.findChildren(QLabel)]
    dialog.close()


def test_a_plot_of_an_earlier_report_is_shown_on_white(opened) -> None:
    paint(opened, "#f0f1f2", "#262930")
    square = '<rect x="4" y="4" width="8" height="8" style="fill: #2b2f36"/>'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20">{square}</svg>'
    show(opened, plots=(StoredPlot("Confusion matrix", svg),))
    (picture,) = opened.page.plots
    assert (pixels(picture)[0, 0] == 255).all()
    assert pixels(picture).min() < 80


def test_without_its_page_the_figures_are_shown_and_that_is_said(opened, metrics) -> None:
    show(opened, page=None, plots=())
    assert opened.page.plots == []
    assert not opened.page.page_button.isEnabled()
    assert any("report.html, is missing" in text for text in texts(opened))
    assert f"{metrics['accuracy']:.3f}" in texts(opened)


def test_a_report_with_fewer_figures_is_shown(opened, metrics) -> None:
    """One of an earlier version."""
    kept = ("format", "n", "accuracy", "balanced_accuracy", "per_class", "anomaly", "shift")
    show(opened, {key: metrics[key] for key in kept}, sheet=None)
    assert f"{metrics['accuracy']:.3f}" in texts(opened)
    assert not opened.page.cells_button.isEnabled()
    assert opened.problem.isHidden()


def test_what_is_no_report_leaves_what_is_shown(opened, metrics, messages) -> None:
    before, plots = opened.report, opened.page.plots
    show(opened, metrics | {"anomaly": "none"})
    assert opened.report is before
    assert opened.page.plots is plots
    assert "evaluate again" in opened.problem.text()
    assert opened.problem.text() == messages[0]
    assert opened.page.isVisible()
    show(opened, metrics)
    assert opened.problem.isHidden()


def test_many_warnings_are_left_to_the_page(opened, metrics) -> None:
    show(opened, metrics | {"warnings": [f"warning {n}" for n in range(5)]})
    shown = [text for text in texts(opened) if "warning" in text]
    assert len(shown) == 4
    assert "2 more warnings" in shown[-1]


def test_text_of_the_data_is_no_markup(opened, metrics) -> None:
    show(opened, metrics | {"warnings": ["<b>bold</b> is a file's name"]})
    labels = opened.page.findChildren(QLabel)
    (label,) = [found for found in labels if "bold" in found.text()]
    assert label.textFormat() == Qt.TextFormat.PlainText
