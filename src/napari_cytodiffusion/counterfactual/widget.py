"""*Counterfactual*: what would have to change in a cell for it to be of another class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.layers import Shapes
from qtpy.QtCore import QSize
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from cytodiffusion.errors import CytoDiffusionError
from napari_cytodiffusion.counterfactual import exports, targets
from napari_cytodiffusion.counterfactual import jobs as engine
from napari_cytodiffusion.counterfactual import texts as words
from napari_cytodiffusion.counterfactual.batch_page import BatchPage
from napari_cytodiffusion.counterfactual.form import CounterfactualForm
from napari_cytodiffusion.counterfactual.heatmap_page import ClassGrid, HeatmapPage
from napari_cytodiffusion.counterfactual.layers import HeatmapLayer, add_frames
from napari_cytodiffusion.counterfactual.look import HeatLook
from napari_cytodiffusion.counterfactual.morph_page import MorphPage
from napari_cytodiffusion.counterfactual.save_menu import SaveButton
from napari_cytodiffusion.counterfactual.store import CounterfactualStore
from napari_cytodiffusion.counterfactual.targets import NUMBERS, SHAPES, TargetChoice
from napari_cytodiffusion.layers.placement import is_derived
from napari_cytodiffusion.layers.results import CellRecord
from napari_cytodiffusion.layers.views import CellViews, mark_cell
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.blind import BlindNote
from napari_cytodiffusion.shared.common import RunBar, Squeezed, SqueezedTabs, TallArea, tell
from napari_cytodiffusion.shared.defaults import default
from napari_cytodiffusion.shared.latest_run import LatestRun

_NOTHING = "Nothing is classified yet: Classify cells comes first."

_ONE_CLASS = "The model knows one class only: there is nothing to compare a cell with."

_CLICK = "Click a cell in the image."

#: Pages, and what the button says on each.
HEATMAP, CLASSES, MORPH, MANY = range(4)

_PAGES = ("Heatmap", "All classes", "Morph", "Many cells")

_BUTTONS = ("Make heatmap", "Compare all classes", "Make morph", "Make heatmaps")


class CounterfactualWidget(QWidget):
    """Dock widget *Counterfactual heatmap*.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer it is docked in.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._session = Session.of(napari_viewer)
        self._session.attach(self)
        self._session.watch(self)
        self._views: CellViews | None = None
        self._record: CellRecord | None = None
        self.found = CounterfactualStore()
        self._done = 0  # things made by the run that goes on
        self._saved: Path | None = None  # and where it saved them
        self._drawn = False  # whether a heatmap lies in the slide
        self._why_empty = _NOTHING
        self._build()
        self._run = LatestRun(self._session, self, self.run_bar, self._on_item, self._on_end)
        self._connect()
        self._squeeze_others(HEATMAP)
        self._on_cells()
        self.show_cell(self._session.chosen)

    # -- layout -------------------------------------------------------------------------------

    def _build(self) -> None:
        colors = words.heat_colors()
        self._heat = HeatmapLayer(colors)
        self.save = SaveButton(self.saveable, self)
        self.form = CounterfactualForm(self.save, self)
        self.run_bar = RunBar(_BUTTONS[HEATMAP], self)
        self.run_bar.follow(self._session)
        self.page = HeatmapPage(colors, self)
        self.grid = ClassGrid(colors, self)
        self.morph = MorphPage(self)
        self.batch = BatchPage(colors, self)
        self.tabs = SqueezedTabs(self)
        pages = (self.page, self.grid, self.morph, self.batch)
        for title, page in zip(_PAGES, pages, strict=True):
            self.tabs.addTab(page, title)
        self.tabs.setTabToolTip(CLASSES, "What would have to change for each class")
        self.tabs.setTabToolTip(MORPH, "From the cell to the other class's version of it")
        self.tabs.setTabToolTip(MANY, "Heatmaps of a selection of cells, and their mean")
        self.look = HeatLook(colors, default("counterfactual", "threshold"), self)
        inside = Squeezed(self)
        parts = QVBoxLayout(inside)
        parts.setContentsMargins(0, 0, 0, 0)
        parts.addWidget(self.form)
        parts.addWidget(self.run_bar)
        parts.addWidget(self.tabs, 1)
        parts.addWidget(self.look)
        area = TallArea(inside, self)
        self.blind = BlindNote(self._session, "what the model would change in cells", self, area)
        layout = QVBoxLayout(self)
        layout.addWidget(self.blind)
        layout.addWidget(area)

    def _connect(self) -> None:
        self.run_bar.run.connect(self.start)
        self.run_bar.cancel.connect(self._run.cancel)
        self.form.changed.connect(self._on_wish)
        self.form.class_colors.changed.connect(self._show_class_colors)
        self.tabs.currentChanged.connect(self._on_tab)
        self.look.threshold_changed.connect(self._on_threshold)
        self.look.opacity_changed.connect(self._on_opacity)
        self.page.more_asked.connect(self._use_more)
        self.grid.chosen.connect(self._on_class)
        self.morph.layer_asked.connect(self._add_morph)
        self.batch.chosen.connect(self._on_row)
        self.save.asked.connect(self.save_as)
        self._session.inspected.connect(self.show_cell)
        self._session.cells_changed.connect(self._on_cells)
        self._session.blind_changed.connect(self._on_blind)

    def sizeHint(self) -> QSize:
        """Room for four pictures."""
        return QSize(400, 720)

    # -- which cell, which target -------------------------------------------------------------

    def _on_cells(self) -> None:
        views = self._session.current
        if views is not self._views:
            self._run.cancel()
            self._views, self._record = views, None
            self.found, self._drawn = CounterfactualStore(), False
            self.batch.set_views(views)
        known = views is not None and len(views.coarse) > 0
        one = views is not None and len(views.coarse.class_names) < 2
        self._why_empty = _NOTHING if not known else _ONE_CLASS if one else _CLICK
        self.run_bar.offer(known and not one)
        self.form.show_cell(self._record, views)
        self._refresh()

    def show_cell(self, label: int) -> None:
        """Show a cell, and make its heatmap at once if that is wanted."""
        views = self._session.current
        record = None if views is None else views.coarse.record(label)
        if views is None or record is None:
            return
        self._record = record
        self._on_cells()
        if self._session.viewer is not None:
            mark_cell(self._session.viewer, views, record)
        self._at_once()

    def showEvent(self, event: Any) -> None:
        """Make what was not made while the widget was hidden."""
        super().showEvent(event)
        self._at_once()

    def _on_blind(self, blind: bool) -> None:
        """Heatmaps in the slide are hidden as the widget is, and nothing goes on being made."""
        if blind:
            self._run.cancel()
        self._heat.set_blind(blind)
        self._refresh()
        self._at_once()

    def _at_once(self) -> None:
        page = self.tabs.currentIndex()
        wanted = self.form.at_once.value and page in (HEATMAP, CLASSES) and not self._session.blind
        if wanted and self.isVisible() and self.form.asked() is not None:
            self.start()

    def _on_wish(self) -> None:
        self._refresh()
        self._at_once()

    def _on_class(self, target: int) -> None:
        self.tabs.setCurrentIndex(HEATMAP)
        self.form.choose(target)

    def _on_row(self, label: int) -> None:
        target = next(m.asked.target for m in self.found.maps() if m.asked.label == label)
        self._session.inspect(label)
        self.form.choose(target)

    def _on_tab(self, index: int) -> None:
        self.run_bar.set_text(_BUTTONS[index])
        self.look.setVisible(index != MORPH)
        self._squeeze_others(index)
        self.form.show_strength(index != CLASSES)
        self._refresh()
        self._at_once()

    def _squeeze_others(self, index: int) -> None:
        """Take the height that the page in front asks for, not that of the tallest."""
        for number in range(self.tabs.count()):
            page = self.tabs.widget(number)
            policy = page.sizePolicy()
            mine = QSizePolicy.Policy.Preferred if number == index else QSizePolicy.Policy.Ignored
            policy.setVerticalPolicy(mine)
            page.setSizePolicy(policy)

    def _use_more(self) -> None:
        if self.form.more() is not None:
            self.form.use_more()
            self.start()

    # -- runs ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Make what the current page shows, as far as it is not made yet."""
        views = self._views
        if views is None or not len(views.coarse):
            self.run_bar.line.setText(_NOTHING)
            return
        try:
            body = self._body(views)
        except CytoDiffusionError as error:
            self.run_bar.line.setText(str(error))
            return
        if body is not None:
            self._begin(body, views)

    def _begin(self, body: engine.Body, views: CellViews) -> None:
        if self._run.start(body, (views.image, views.labels)):
            self._done, self._saved = 0, None

    def _body(self, views: CellViews) -> engine.Body | None:
        """Work of the current page; None where there is nothing to do."""
        slide = engine.slide_of(views, self._session.engine)
        page, asked = self.tabs.currentIndex(), self.form.asked()
        if page == MANY:
            wish = self.form.wish(self.batch.form["versions"].value, saliency=False)
            return engine.cells_body(slide, self._many(views), wish)
        if asked is None:
            self.run_bar.line.setText(self._why_empty)
            return None
        wish = self.form.wish()
        if page == CLASSES:
            others = len(views.coarse.class_names) - 1
            known = [m for m in self.found.all_classes(asked.label) if m.wish.same_map(wish)]
            return None if len(known) == others else engine.all_classes_body(slide, asked, wish)
        if page == MORPH:
            return engine.morph_body(slide, asked, wish, self.morph.form["frames"].value)
        missing = self.found.missing(asked, wish)
        there = not (missing.maps or missing.versions or missing.saliency)
        return None if there else engine.cells_body(slide, [asked], missing)

    def _many(self, views: CellViews) -> list[TargetChoice]:
        """Cells of the batch; InputError where there are none."""
        page, results = self.batch, views.coarse
        only = page.which.value
        if only == NUMBERS:
            labels = targets.parse_numbers(page.form["numbers"].value, results)
        else:
            labels = results.ordered("uncertainty", None if only == SHAPES else only)
        if only == SHAPES:
            labels = targets.inside_shapes(views, self._shapes(), labels)
        target = page.target.value
        return targets.asked_of_many(results, labels, target, page.form["most"].value)

    def _shapes(self) -> list[Shapes]:
        viewer = self._session.viewer
        layers = () if viewer is None else viewer.layers
        return [layer for layer in layers if isinstance(layer, Shapes) and not is_derived(layer)]

    def _on_item(self, item: Any) -> None:
        if self._views is None:
            return
        if isinstance(item, engine.Background):
            self._views.background = item.colour
        elif isinstance(item, exports.SavedFiles):
            self._saved = item.path
        elif isinstance(item, engine.MeanResult):
            self.found.add(item)
            self._refresh()
        else:
            self.found.add(item)
            if self.tabs.currentIndex() != CLASSES:
                self.found.choose(item.asked)
            self._done += 1
            self._show_first(item.asked)
            self._refresh()

    def _show_first(self, asked: TargetChoice) -> None:
        """Show a cell of a batch where none was chosen."""
        if self._record is None and self._views is not None:
            self._record = self._views.coarse.record(asked.label)
            self.form.show_cell(self._record, self._views)
            self.form.choose(asked.target)

    def _on_end(self, outcome: str, error: CytoDiffusionError | None) -> str:
        self._on_cells()
        if outcome == "failed":
            if error is not None:
                tell(error)
            return "Stopped by an error."
        if outcome == "cancelled":
            return "Cancelled; what was made is kept." if self._done else "Cancelled."
        if self._saved is not None:
            return f"Saved: {self._saved}"
        return f"Made in {self._run.seconds:.1f} s."

    # -- what is shown ------------------------------------------------------------------------

    def _refresh(self) -> None:
        """Show what there is of the current cell, on all pages and in the slide."""
        if self._session.blind:
            return
        views, asked = self._views, self.form.asked()
        self.batch.show_found(self.found.maps(), self.found.means(), self.look)
        if views is None or asked is None:
            for page in (self.page, self.grid):
                page.show_nothing(self._why_empty)
            self.morph.set_frames(None, instead=self._why_empty)
            return
        self.found.choose(asked)
        self._show_page()
        self._show_morph(views, asked)
        mapped = self.found.map(asked)
        if mapped is not None:
            limit, whose = self._scale(mapped)
            self.look.bar.set_scale(limit, whose)
            self._show_layer(views, mapped, limit)

    def _scale(self, mapped: engine.HeatmapResult) -> tuple[float, str]:
        """Value of the outermost colours, and whose version they are of."""
        page = self.tabs.currentIndex()
        if page == CLASSES:
            return words.limit_of(self.found.all_classes(mapped.asked.label)), "each class"
        if page == MANY:
            return words.limit_of(self.found.maps()), "the target"
        return mapped.piece.limit, mapped.heatmap.target_name

    def _show_page(self) -> None:
        """Show the pictures of the current page; also while a slider is dragged."""
        views, record, asked = self._views, self._record, self.form.asked()
        if views is None or record is None or asked is None:
            return
        if self.tabs.currentIndex() == CLASSES:
            found = self.found.all_classes(asked.label)
            order = targets.ranking(record, views.coarse)
            self.grid.show_maps(order, found, self.look, asked.target)
        else:
            mapped, version = self.found.map(asked), self.found.version(asked)
            more = self.form.more()
            salient = self.found.saliency(asked.label) if self.form.saliency.value else None
            self.page.show_maps(record, views.coarse, mapped, version, salient, self.look, more)
            self.batch.show_mean(self.look)

    def _show_layer(self, views: CellViews, mapped: engine.HeatmapResult, limit: float) -> None:
        viewer = self._session.viewer
        if viewer is None:
            return
        others = [m.piece for m in self.found.maps() if m.asked.label != mapped.asked.label]
        self._heat.show(
            viewer,
            views.labels,
            [*others, mapped.piece],
            mapped.piece,
            limit=limit,
            sigmas=self.look.sigmas,
            opacity=self.look.alpha,
        )
        if not self._drawn:
            self._drawn = True
            self._show_class_colors()

    def _show_class_colors(self, _: Any = None) -> None:
        """Show or hide the colours of the classes, which would tint the heatmap."""
        views, shown = self._views, self.form.class_colors.value
        layer = None if views is None else views.layers.get(views.kind)
        if layer is not None and (self._drawn or shown):
            layer.visible = shown

    def _show_morph(self, views: CellViews, asked: TargetChoice) -> None:
        found = self.found.morph(asked)
        if found is None:
            self.morph.set_frames(None)
        elif found.film.frames is not self.morph.frames():
            names = views.coarse.class_names
            last = found.film.last
            still = "" if last.flipped[0] else names[last.taken_for[0]]
            ends = (names[asked.predicted], names[asked.target])
            self.morph.set_frames(found.film.frames, ends, views.window_um, still=still)

    def _on_threshold(self, sigmas: float) -> None:
        self._heat.set_threshold(sigmas)
        self._show_page()

    def _on_opacity(self, opacity: float) -> None:
        self._heat.set_opacity(opacity)
        self._show_page()

    def _add_morph(self) -> None:
        """Add the morph as a layer over its cell."""
        viewer, views, asked = self._session.viewer, self._views, self.form.asked()
        found = None if asked is None else self.found.morph(asked)
        if viewer is None or views is None or found is None:
            return
        name = f"synthetic: cell {found.asked.label} {self.morph.towards()}"
        add_frames(viewer, views.labels, found.on_image, found.origin, name)

    # -- saving -------------------------------------------------------------------------------

    def saveable(self) -> set[str]:
        """Return what can be saved now, by the keys of `SaveButton`."""
        return self.found.saveable(self.form.asked())

    def save_as(self, key: str, path: Path) -> None:
        """Save what was asked for."""
        views = self._views
        if self._run.busy:
            self.run_bar.line.setText("Wait until the run ends, or cancel it; then save.")
        elif views is not None and key in self.saveable():
            chosen = (self.found, self.form.asked(), views, self.look.sigmas)
            self._begin(exports.save_body(key, path, *chosen), views)
