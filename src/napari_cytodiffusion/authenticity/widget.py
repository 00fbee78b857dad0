"""*Authenticity test*: real or synthetic? Make a test, take it, see what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari.utils import notifications
from qtpy.QtWidgets import QFileDialog

from cytodiffusion.authenticity import (
    AuthenticitySettings,
    AuthenticityTest,
    Feedback,
    ParticipantSession,
    Question,
)
from cytodiffusion.authenticity.standardise import decode
from cytodiffusion.errors import CytoDiffusionError
from napari_cytodiffusion.authenticity import jobs as words
from napari_cytodiffusion.authenticity.form import KINDS
from napari_cytodiffusion.authenticity.result import ResultPage
from napari_cytodiffusion.authenticity.start import StartPage
from napari_cytodiffusion.authenticity.trial import TrialPage
from napari_cytodiffusion.remembered import remember_file
from napari_cytodiffusion.shared.common import tell
from napari_cytodiffusion.shared.sitting_dock import SittingDock, close_all
from napari_cytodiffusion.shared.sitting_start import Sitting
from napari_cytodiffusion.workers import Body, Job


class AuthenticityWidget(SittingDock):
    """Dock widget *Authenticity test*.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer it is docked in.
    """

    what, kinds, recent = "test", KINDS, "authenticity/recent"

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.test: AuthenticityTest | None = None
        self.result: Any = None
        self._compared: list[Path] = []
        self._mode = "blind"
        self._leaks = ""
        self._explaining: Job | None = None
        self._judging: Job | None = None
        self._judgement: tuple[Any] | None = None
        self._untold: tuple[Question, int] | None = None
        self.start_page = StartPage(self.pages)
        self.trial_page = TrialPage(self.pages)
        self.result_page = ResultPage(self.pages)
        self._add_pages(self.start_page, self.trial_page, self.result_page)
        self._connect()

    def _connect(self) -> None:
        trial, result = self.trial_page, self.result_page
        self.start_page.results.connect(self.show_results)
        trial.told.connect(self._explain)
        trial.left.connect(self.leave)
        trial.finished.connect(self._on_finished)
        result.back.connect(self._show_start)
        result.more.connect(self._on_more)
        result.export.connect(self._on_export)
        self._session.closed.connect(self._on_closed)

    # -- making and opening -------------------------------------------------------------------

    def make_body(self, settings: AuthenticitySettings) -> Body:
        """Return the body of a `Job` that makes a test and yields its path."""
        return words.make_body(words.NewTest(settings, self._session.engine))

    def tell_maker(self) -> None:
        """Say what the command line says of a new test, such as what gives the answers away."""
        if self.test is None:
            return
        notes = self.test.record.get("notes", [])
        for sentence in notes:
            notifications.show_warning(sentence)
        self.start_page.show_remarks([*notes, self._session.engine.test_summary(self.test)])

    def open(self, path: str | Path) -> None:
        """Open a test."""
        try:
            test = AuthenticityTest(path)
        except CytoDiffusionError as error:
            tell(error)
            return
        self._close_test()
        self.test = self.keeper["test"] = test
        self._leaks = self._session.engine.leak_note(test)
        remember_file(self.recent, test.path)
        self.start_page.show_remarks(())
        self._show_start()

    def _close_test(self) -> None:
        self._stop_explaining()
        self._stop_judging()
        self.trial_page.end()
        self.test = None
        close_all(self.keeper)

    def _show_start(self) -> None:
        if self.test is not None:
            try:
                sittings = self.test.sittings()
            except CytoDiffusionError as error:
                tell(error)
                sittings = []
            begun = [Sitting(s.participant, s.mode, s.started, s.answered, s.of) for s in sittings]
            self.start_page.show_opened(words.headline(self.test), begun, self._leaks)
        self.pages.setCurrentIndex(0)

    # -- taking it ----------------------------------------------------------------------------

    def begin(self, name: str, mode: str) -> None:
        """Begin a sitting, or go on with it."""
        if self.test is None:
            return
        try:
            sitting = ParticipantSession(self.test, name, mode)
        except CytoDiffusionError as error:
            tell(error)
            return
        self._mode = mode
        self.start_page.show_remarks(())
        if mode == "teaching":
            self._judge()
        self.pages.setCurrentIndex(1)
        self.trial_page.begin(sitting)

    def leave(self) -> None:
        """Stop for now; every answer is in the file."""
        self._stop_explaining()
        self.trial_page.end()
        self._show_start()

    def _on_finished(self) -> None:
        self._stop_explaining()
        self.trial_page.end()
        notifications.show_info("The test is finished, and every answer is saved. Thank you.")
        self._show_start()
        self.show_results(self._mode)

    def _judge(self) -> None:
        """Let the judge look at all cells, once a test, while the first ones are answered."""
        if self.test is None or self._judging is not None:
            return
        job = self._judging = Job(words.judge_body(self._session.engine, self.test.path), self)
        job.yielded.connect(self._on_judged)
        job.failed.connect(self._on_not_judged)
        job.start()

    def _on_judged(self, judgement: tuple[Any]) -> None:
        self._judgement = judgement
        if self._untold is not None:
            self._give_reason(*self._untold)

    def _on_not_judged(self, error: CytoDiffusionError) -> None:
        if self._untold is not None:
            self.trial_page.give_reason(self._untold[0], f"The judge cannot look: {error}")

    def _give_reason(self, trial: Question, cell: int) -> None:
        """Say what the judge saw in a cell, now or when it has looked at all."""
        self._untold = (trial, cell)
        text = "The judge is still looking at the cells of this test ..."
        if self._judgement is not None:
            text, self._untold = words.reason_text(self._judgement[0], cell), None
        self.trial_page.give_reason(trial, text)

    def _explain(self, trial: Question, told: Feedback) -> None:
        """Say why a cell was synthetic or real, and work out its heatmap."""
        if self.test is None:
            return
        self._give_reason(trial, told.cell)
        self._stop_explaining()
        record = self.test.record
        settings = record["settings"]
        page = self.trial_page
        body = words.explain_body(
            trial.pixels,
            float(record["window_um"]),
            told.class_name,
            page.side,
            (str(settings["model"]), str(settings["device"])),
            self._session.engine,
        )
        page.explanation.setText("Working out what speaks for the class ...")
        job = self._explaining = Job(body, self)
        job.yielded.connect(lambda found: page.explain(trial, found))
        job.failed.connect(self._on_no_explanation)
        job.start()

    def _stop_explaining(self) -> None:
        job, self._explaining = self._explaining, None
        if job is not None:
            job.abandon()

    def _stop_judging(self) -> None:
        job, self._judging = self._judging, None
        self._judgement = self._untold = None
        if job is not None:
            job.abandon()

    def _on_closed(self, owner: int) -> None:
        if owner == id(self):
            self._stop_explaining()
            self._stop_judging()

    def _on_no_explanation(self, error: CytoDiffusionError) -> None:
        self.trial_page.explanation.setText(f"No heatmap: {error}")

    # -- results ------------------------------------------------------------------------------

    def show_results(self, mode: str = "blind", paths: Sequence[Path] = ()) -> None:
        """Show the results of the opened test, and of others beside it."""
        if self.test is None:
            return
        self._mode, self._compared = mode, list(paths)
        body = words.result_body(self._session.engine, [self.test.path, *paths], mode)
        self._run(body, self._on_result)

    def _on_result(self, result: Any) -> None:
        self.result = result
        made = [] if self.test is None else self.test.record.get("notes", [])
        test = self.test
        self.result_page.show_result(
            result,
            made,
            "" if test is None else test.id,
            None if test is None else lambda cell: decode(test.image(cell)),
        )
        self.pages.setCurrentIndex(2)

    def _on_more(self) -> None:
        found, _ = QFileDialog.getOpenFileNames(self, "Tests to compare with", "", self.kinds)
        if found:
            self.show_results(self._mode, [*self._compared, *map(Path, found)])

    def export(self, folder: Path) -> None:
        """Write the result that is shown to a folder."""
        if self.result is not None:
            self._run(words.export_body(folder, self.result), self._on_exported)

    def _on_exported(self, folder: Path) -> None:
        notifications.show_info(f"Saved in {folder}.")

    def _on_progress(self, fraction: float, text: str) -> None:
        if self.pages.currentIndex() == 0:
            self.start_page.results_button.setText(text)
