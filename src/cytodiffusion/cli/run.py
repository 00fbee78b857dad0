"""``cytodiffusion run``: images in, folders of results out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cytodiffusion.cli.options import (
    CorrectionsOption,
    DeviceOption,
    DownloadOption,
    Given,
    JsonOption,
    ModelOption,
    QuietOption,
    classify_settings,
    read_settings,
    takes_classification,
    takes_one_scale,
    takes_segmentation,
)
from cytodiffusion.cli.reporter import FAILED, Reporter, reporting
from cytodiffusion.errors import Cancelled, CytoDiffusionError, naming
from cytodiffusion.settings import SegmentOptions

if TYPE_CHECKING:
    from cytodiffusion.batch import Outcome, Task
    from cytodiffusion.classification.correction_table import CorrectionTable
    from cytodiffusion.classification.settings import ClassifySettings
    from cytodiffusion.image.formats import FoundImages
    from cytodiffusion.pipeline import Analysis
    from cytodiffusion.predict import Classifier
    from cytodiffusion.slide_scale import SlideScale


@takes_classification
@takes_segmentation
@takes_one_scale
def run(
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE", help="Images, or folders of images.", readable=False),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the results.")
    ],
    redo: Annotated[
        bool,
        typer.Option(
            "--redo",
            help="Do images again that an earlier run into FOLDER has done with the same "
            "settings, model and version; otherwise those are skipped.",
        ),
    ] = False,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    *,
    classification: Given,
    corrections: CorrectionsOption = None,
    allow_download: DownloadOption = False,
    cells: Given,
    scale: Given,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find and classify the cells of images.

    Writes labels.tif, cells.csv, cells.geojson (for QuPath), overlay.png, uncertainty.png and
    run.json into FOLDER, or into a folder for each image below it when there are several or a
    folder is given; then cells.csv (all cells) and images.csv (a row an image) stand beside these
    folders. Called again, it goes on where it was stopped. An image that fails is reported and the
    others go on; the exit code is 1 then.
    """
    with reporting("run", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.batch import check_place, request_of, write_tables
        from cytodiffusion.cli.shared import load_model
        from cytodiffusion.files.atomic import check_folder

        computer = {"device": device, "allow_download": allow_download}
        options = read_settings(SegmentOptions, cells | computer | scale)
        check_folder(out)
        inputs = expand(images, reporter)
        check_place(out, several=inputs.several)
        settings = classify_settings(classification)
        corrected = _corrections(corrections, inputs, reporter)
        bundle = load_model(reporter, model, device, allow_download)
        tasks = _tasks(inputs, out)
        work = _Work(reporter, tasks, bundle, settings, options, redo, corrected)
        tables: dict[str, Path] = {}
        outcomes: list[Outcome] = []
        try:
            for outcome in work.outcomes():
                outcomes.append(outcome)
        finally:  # what was done before a cancellation is in the tables as well
            if inputs.several and any(o.analysis for o in outcomes):
                missing = work.not_reached(outcomes)
                request = request_of(bundle, settings, options)
                unread = [str(path) for path in inputs.not_read]
                tables = write_tables(out, [*outcomes, *missing], request, not_read=unread)
        _report(reporter, inputs, outcomes, tables)


def expand(images: Sequence[Path], reporter: Reporter) -> FoundImages:
    """Return the images to work on, and tell what is to be known about them."""
    from cytodiffusion.image.formats import find_images

    found = find_images(images)
    for note in found.notes:
        reporter.warn(note)
    return found


def summary(analyses: Sequence[Analysis]) -> Any:
    """Return a table of the cells of every class, a column an image (or the sum of many)."""
    from rich.table import Table
    from rich.text import Text

    shown = analyses if len(analyses) <= 4 else []
    table = Table(box=None, pad_edge=False)
    table.add_column("Cells")
    for analysis in shown:
        table.add_column(Path(analysis.image).name, justify="right", overflow="fold")
    if len(shown) != 1:
        table.add_column("all", justify="right")
    names = dict.fromkeys(name for a in analyses for name in a.counts)  # some have new classes
    rows = [(Text(name), [a.counts.get(name, 0) for a in analyses]) for name in names]
    rows.append((Text("total", style="bold"), [a.cells for a in analyses]))
    rows.append((Text("anomalous"), [a.anomalies for a in analyses]))
    if any(a.review for a in analyses):
        rows.append((Text("for review"), [a.review for a in analyses]))
    for head, counts in rows:
        cells = [f"{n:,}" for n in counts] if shown else []
        table.add_row(head, *cells, *([f"{sum(counts):,}"] if len(shown) != 1 else []))
    return table


def _corrections(
    file: Path | None, inputs: FoundImages, reporter: Reporter
) -> dict[str, CorrectionTable]:
    """Read corrections and share them out to the images."""
    if file is None:
        return {}
    from cytodiffusion.classification.correction_table import lost_sentence, read_corrections

    table = read_corrections(file)
    names = list(inputs.names)
    lost = lost_sentence(table.lost(names), "among the images")
    if lost:
        reporter.warn(lost)
    shared = {name: table.of_image(name, names) for name in names}
    return {name: own for name, own in shared.items() if own.rows}


def _tasks(inputs: FoundImages, out: Path) -> list[Task]:
    from cytodiffusion.batch import Task
    from cytodiffusion.cli.inputs import result_folders

    folders = result_folders(inputs.paths, out, several=inputs.several)
    return [Task(*one) for one in zip(inputs.paths, inputs.names, folders, strict=True)]


def _report(
    reporter: Reporter,
    inputs: FoundImages,
    outcomes: Sequence[Outcome],
    tables: Mapping[str, Path],
) -> None:
    done = [outcome.analysis for outcome in outcomes if outcome.analysis is not None]
    failed = [{"image": str(o.task.path), "error": o.error} for o in outcomes if o.error]
    before = sum(outcome.before for outcome in outcomes)
    record: dict[str, Any] = {
        "images": [
            {**o.analysis.record(), "done_before": o.before} for o in outcomes if o.analysis
        ],
        "failed": failed,
        "not_read": inputs.not_read,
        "tables": tables,
    }
    if before:
        which = "The image" if len(outcomes) == 1 else f"{before:,} of {len(outcomes):,} images"
        reporter.say(
            f"{which} had been done before with the same settings, model and version; --redo "
            "does that again."
        )
    if failed:
        reporter.exit_code = FAILED
        if len(outcomes) == 1:
            record["error"] = failed[0]["error"]
        else:
            record["error"] = f"{len(failed)} of {len(outcomes)} images failed."
            reporter.error(record["error"])
    reporter.result(record, summary(done) if done else "")
    if tables:
        reporter.say(f"All cells are in {tables['cells']}, the images in {tables['images']}.")


@dataclass(frozen=True)
class _Work:
    """The images of a run, to be done one after the other."""

    reporter: Reporter
    tasks: Sequence[Task]
    bundle: Classifier
    settings: ClassifySettings
    options: SegmentOptions
    redo: bool
    corrections: Mapping[str, CorrectionTable]  #: by the name of the image, where it has some

    def outcomes(self) -> Iterator[Outcome]:
        """Yield what became of each image: analysed now, done before, or failed."""
        from cytodiffusion.batch import (
            Outcome,
            done_before,
            earlier_record,
            request_of,
            slides_of,
            with_corrections,
            with_scale,
        )
        from cytodiffusion.classification.prior import prior_record, prior_sentence, settled

        expected = prior_record(self.bundle, settled(self.settings, field=True))
        if sentence := prior_sentence(expected):
            self.reporter.say(sentence)
        request = request_of(self.bundle, self.settings, self.options)
        records = {t.path: None if self.redo else earlier_record(t) for t in self.tasks}
        slides: dict[Path, SlideScale | None] = {}
        if self.options.one_scale and self.options.pixel_size_um is None and len(self.tasks) > 1:
            with self.reporter.progress("Measuring the scale of the images") as progress:
                slides = slides_of(self.tasks, records, request, progress)
        for number, task in enumerate(self.tasks, start=1):
            slide = slides.get(task.path)
            wanted = with_corrections(with_scale(request, slide), self.corrections.get(task.name))
            known = done_before(task, records[task.path], wanted)
            if known is not None:
                outcome = Outcome(task, known, before=True)
            else:
                with self._errors(task) as outcome:
                    outcome.analysis = self._analyse(task, number, slide, wanted)
            self._tell(outcome)
            yield outcome

    def _analyse(
        self, task: Task, number: int, slide: SlideScale | None, request: Mapping[str, Any]
    ) -> Analysis:
        from cytodiffusion.pipeline import analyse

        name = task.path.name
        title = name if len(self.tasks) == 1 else f"{number}/{len(self.tasks)} {name}"
        with self.reporter.progress(title) as progress:
            return analyse(
                task.path,
                task.folder,
                self.bundle,
                self.settings,
                self.options,
                slide=slide,
                corrections=self.corrections.get(task.name),
                request=request,
                progress=progress,
            )

    @contextmanager
    def _errors(self, task: Task) -> Iterator[Outcome]:
        """Turn what is wrong with one image into its outcome, so that the others go on."""
        from cytodiffusion.batch import Outcome

        outcome = Outcome(task)
        try:
            yield outcome
        except Cancelled:
            raise
        except CytoDiffusionError as error:
            outcome.error = str(error)
            alone = len(self.tasks) == 1
            self.reporter.error(str(error) if alone else naming(task.path, error))

    def _tell(self, outcome: Outcome) -> None:
        found, name = outcome.analysis, outcome.task.path.name
        if found is None:
            return
        for warning in found.warnings:
            self.reporter.warn(f"{name}: {warning}")
        how = "done before" if outcome.before else f"{found.seconds:.1f} s"
        self.reporter.say(f"{name}: {found.cells:,} cells, {how} -> {found.folder}")

    def not_reached(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Return the images that a stopped run has not come to."""
        from cytodiffusion.batch import Outcome

        return [Outcome(task) for task in self.tasks[len(outcomes) :]]
