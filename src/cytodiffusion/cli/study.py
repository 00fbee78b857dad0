"""``cytodiffusion study``: images, what models and people say of their cells, in one folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cytodiffusion.cli.options import (
    DeviceOption,
    DownloadOption,
    Given,
    JsonOption,
    ModelOption,
    QuietOption,
    SeedOption,
    classify_settings,
    read_settings,
    takes_classification,
    takes_one_scale,
    takes_segmentation,
)
from cytodiffusion.cli.reporter import FAILED, Reporter, reporting
from cytodiffusion.errors import InputError
from cytodiffusion.settings import SegmentOptions

if TYPE_CHECKING:
    from cytodiffusion.image.formats import FoundImages
    from cytodiffusion.study import Study
    from cytodiffusion.study.add import Added, Failed
    from cytodiffusion.study.agreement import ObserverAgreement
    from cytodiffusion.study.suspects import Suspect
    from cytodiffusion.teaching import Version

app = typer.Typer(
    help="Keep images, cells, and what models and people say of them, in one folder.",
    no_args_is_help=True,
)

#: Cells that a page lists.
_LISTED = 10


StudyArgument = Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of the study.")]


@app.command()
def new(
    study: StudyArgument,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a new study in a folder."""
    with reporting("study new", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.study import Study

        with Study.create(study) as made:
            reporter.result({"study": study, "id": made.id}, f"A new study in {study}")


@app.command()
@takes_classification
@takes_segmentation
@takes_one_scale
def add(
    study: StudyArgument,
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE|FOLDER...", help="Images, or folders of images.", readable=False
        ),
    ],
    cells_only: Annotated[
        bool,
        typer.Option("--cells", help="The images show one cell each, in or near the centre."),
    ] = False,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    *,
    classification: Given,
    allow_download: DownloadOption = False,
    cells: Given,
    scale: Given,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find and classify the cells of images, as `run` does, and keep them in a study.

    An image that is there, by its checksum, is skipped; with another model or other settings its
    cells are classified again, and both answers are kept. An image that fails is reported and the
    others go on; the exit code is 1 then.
    """
    with reporting("study add", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.cli.run import expand
        from cytodiffusion.cli.shared import load_model
        from cytodiffusion.study import Study
        from cytodiffusion.study.add import add_fields, add_single_cells, outside

        computer = {"device": device, "allow_download": allow_download}
        options = read_settings(SegmentOptions, cells | computer | scale)
        settings = classify_settings(classification)
        inputs = outside(expand(images, reporter), study)
        with Study(study) as opened:  # before the work, so that what is wrong with it is said
            bundle = load_model(reporter, model, device, allow_download)
            done: list[Added | Failed] = []
            notes: list[str] = []
            title = f"Adding {_images(len(inputs.paths))}"
            if cells_only:
                with reporter.progress(title) as progress:
                    found = add_single_cells(
                        opened,
                        inputs.paths,
                        bundle,
                        settings,
                        names=inputs.names,
                        pixel_size_um=options.pixel_size_um,
                        progress=progress,
                    )
                done, notes = [*found.added, *found.failed], list(found.notes)
            else:
                with reporter.progress(title) as progress:
                    for one in add_fields(
                        opened, inputs.paths, inputs.names, bundle, settings, options, progress
                    ):
                        done.append(one)
                        _tell(reporter, one)
            _report_added(reporter, opened, done, inputs, notes, single=cells_only)


def _tell(reporter: Reporter, one: Added | Failed) -> None:
    from cytodiffusion.study.add import THERE, Failed

    if isinstance(one, Failed):
        reporter.error(one.error if one.path.name in one.error else f"{one.path.name}: {one.error}")
        return
    for warning in one.warnings:
        reporter.warn(f"{one.image.name}: {warning}")
    how = "there already" if one.status == THERE else one.status
    reporter.say(f"{one.image.name}: {one.cells:,} cells, {how}")


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def _report_added(
    reporter: Reporter,
    study: Study,
    done: list[Added | Failed],
    inputs: FoundImages,
    notes: list[str],
    *,
    single: bool,
) -> None:
    from cytodiffusion.study.add import Failed

    failed = [one for one in done if isinstance(one, Failed)]
    added = [one for one in done if not isinstance(one, Failed)]
    if single:
        for one in failed:
            _tell(reporter, one)
        for note in notes:
            reporter.warn(note)
    counts = Counter(one.status for one in added)
    record: dict[str, Any] = {
        "study": study.folder,
        "images": [
            {
                "image": one.image.name,
                "path": one.image.path,
                "status": one.status,
                "cells": one.cells,
                "pixel_size_um": one.image.pixel_size_um,
                "pixel_size_source": one.image.pixel_size_source,
                "warnings": one.warnings,
            }
            for one in added
        ],
        "added": counts["added"],
        "classified": counts["classified"],
        "there": counts["there"],
        "failed": [{"image": str(one.path), "error": one.error} for one in failed],
        "not_read": inputs.not_read,
    }
    if failed:
        reporter.exit_code = FAILED
        record["error"] = (
            failed[0].error
            if len(done) == 1
            else f"{len(failed)} of {len(done)} images were not added."
        )
    said = [f"{_images(counts['added'])} added"]
    if counts["classified"]:
        said.append(f"{counts['classified']:,} classified again")
    if counts["there"]:
        said.append(f"{counts['there']:,} there already")
    if failed:
        said.append(f"{len(failed):,} failed")
    reporter.result(record, ", ".join(said))


@app.command()
def annotate(
    study: StudyArgument,
    table: Annotated[
        Path,
        typer.Argument(
            metavar="CSV",
            help="Table with the columns label or path, class, and image where there are several; "
            "or the outlines of QuPath or of study export (.geojson).",
            readable=False,
        ),
    ],
    observer: Annotated[
        str, typer.Option("--observer", metavar="NAME", help="Who said so, where CSV does not say.")
    ] = "",
    image: Annotated[
        str,
        typer.Option("--image", metavar="NAME", help="Of which image, where CSV does not say."),
    ] = "",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Take over the classes that people gave cells, from a table or from outlines."""
    with reporting("study annotate", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.study import Study
        from cytodiffusion.study.annotation_table import import_annotations

        with Study(study) as opened:
            done = import_annotations(opened, table, observer, image=image)
        for sentence in done.sentences:
            reporter.warn(sentence)
        record = {
            "study": study,
            "placed": done.placed,
            "known": done.known,
            "not_placed": [*done.lost, *done.disputed],
            "new_classes": done.new_classes,
            "observers": done.observers,
            "said": done.sentences,
        }
        known = f", {done.known:,} were known already" if done.known else ""
        cells = "1 cell" if done.placed == 1 else f"{done.placed:,} cells"
        reporter.result(record, f"{cells} annotated{known}")


@app.command()
def export(
    study: StudyArgument,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="A name with .csv, .parquet, .geojson (for QuPath) or .h5ad (AnnData), or a "
            "folder for a crop of each cell in a folder of its class.",
        ),
    ],
    image: Annotated[
        str | None, typer.Option("--image", metavar="NAME", help="Only of this image.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write the cells of a study, with what models and people say of them."""
    with reporting("study export", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.study import Study
        from cytodiffusion.study.export import export_study

        with Study(study, writable=False) as opened, reporter.progress("Exporting") as progress:
            files, notes = export_study(opened, out, image=image, progress=progress)
        for note in notes:
            reporter.warn(note)
        reporter.result({"study": study, "files": files, "said": notes}, f"Written: {files[0]}")


@app.command()
def info(
    study: StudyArgument,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say what is in a study: images, cells, classes, observers, models."""
    with reporting("study info", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.study import Study
        from cytodiffusion.study.check import study_info

        with Study(study, writable=False) as opened:
            record = study_info(opened)
        from rich.table import Table
        from rich.text import Text

        page = Table("Image", "Cells", "Annotated", box=None, pad_edge=False)
        for one in record["images"]:
            page.add_row(one["image"], f"{one['cells']:,}", f"{one['annotated']:,}")
        everything = Text("all", style="bold")
        page.add_row(everything, f"{record['cells']:,}", f"{record['annotated']:,}")
        for name, count in record["observers"].items():
            page.add_row(f"by {name}", "", f"{count:,}")
        reporter.result(record, page)


@app.command()
def check(
    study: StudyArgument,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="FOLDER",
            help="Look here, too, for images that were moved.",
            readable=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check that a study is whole, and find images that were moved.

    The exit code is 1 when something is wrong.
    """
    with reporting("study check", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.study import Study
        from cytodiffusion.study.check import check_study
        from cytodiffusion.study.database import may_write

        with Study(study, writable=may_write(study)) as opened:  # to note where images are now
            problems, notes = check_study(opened, images)
        for note in notes:
            reporter.say(note)
        for problem in problems:
            reporter.error(problem)
        if problems:
            reporter.exit_code = FAILED
        record: dict[str, Any] = {"study": study, "problems": problems, "notes": notes}
        if problems:
            record["error"] = problems[0]
        reporter.result(record, "" if problems else f"{study}: whole")


@app.command()
def agreement(
    study: StudyArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="CSV",
            help="Table of the cells that several observers labelled: what each says, and the "
            "class that most of them gave.",
        ),
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say how far the observers of a study agree, and which cells they should look at together.

    Cohen's kappa of every two, Fleiss' kappa of all, and agreement about each class, with 95 %
    intervals; then the cells on which they agree least.
    """
    with reporting("study agreement", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.study import Study
        from cytodiffusion.study.agreement import observer_agreement, write_shared_cells

        with Study(study, writable=False) as opened:
            found = observer_agreement(opened, seed=seed)
        for sentence in found.sentences:
            reporter.say(sentence)
        record: dict[str, Any] = {"study": study, **found.record()}
        if out is not None:
            record["table"] = write_shared_cells(out, found.cells)
        reporter.result(record, _agreement_page(found) if found.cells else "")


def _agreement_page(found: ObserverAgreement) -> Any:
    from rich.console import Group
    from rich.table import Table

    page = Table("Class", "Cells", "Agreement", "95 %", box=None, pad_edge=False)
    for name, one in found.classes.items():
        low, high = one.interval
        page.add_row(name, f"{one.cells:,}", f"{one.share:.0%}", f"{low:.0%} to {high:.0%}")
    if not found.disputed:
        return page
    cells = Table("Disputed", "Cell", "Observers", "Majority", box=None, pad_edge=False)
    for cell in found.disputed[:_LISTED]:
        said = ", ".join(f"{name}: {given}" for name, given in cell.classes.items())
        columns = (cell.image, str(cell.label), said, cell.consensus or "none")
        cells.add_row(*columns)
    more = len(found.disputed) - _LISTED
    return Group(page, "", cells, *([f"and {more:,} more; -o CSV has all"] if more > 0 else []))


@app.command()
def suspects(
    study: StudyArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="CSV", help="Table of all of them."),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List labels for a second look: both the model and similar cells contradict them.

    Nothing is changed. The worst come first.
    """
    with reporting("study suspects", as_json=as_json, quiet=quiet) as reporter:
        from dataclasses import asdict

        from cytodiffusion.study import Study
        from cytodiffusion.study.suspects import suspect_labels, write_suspects

        with (
            Study(study, writable=False) as opened,
            reporter.progress("Comparing cells") as progress,
        ):
            found = suspect_labels(opened, progress=progress)
        cells = "1 label is" if len(found) == 1 else f"{len(found):,} labels are"
        reporter.say(f"{cells} contradicted by both the model and similar cells.")
        record: dict[str, Any] = {"study": study, "suspects": [asdict(one) for one in found]}
        if out is not None:
            record["table"] = write_suspects(out, found)
        reporter.result(record, _suspects_page(found) if found else "")


def _suspects_page(found: list[Suspect]) -> Any:
    from rich.console import Group
    from rich.table import Table

    page = Table("Image", "Cell", "Human", "Observer", "Model", "Similar cells", box=None)
    for one in found[:_LISTED]:
        columns = (one.image, str(one.label), one.human, one.observer, one.predicted, one.similar)
        page.add_row(*columns)
    more = len(found) - _LISTED
    return Group(page, *([f"and {more:,} more; -o CSV has all"] if more > 0 else []))


@app.command()
def versions(
    study: StudyArgument,
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep",
            metavar="NUMBER",
            min=0,
            help="Let the study go on with this version; 0 is the model that nobody taught.",
        ),
    ] = None,
    discard: Annotated[
        int | None,
        typer.Option("--discard", metavar="NUMBER", min=1, help="Delete this version."),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the versions of the model that were taught in a study; keep or delete one.

    What people said stays as it is, and so does what earlier versions said of the cells.
    """
    with reporting("study versions", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.study import Study
        from cytodiffusion.teaching import discard_version, keep_version, versions_of
        from cytodiffusion.teaching.versions import find_version

        with Study(study, writable=not (keep is None and discard is None)) as opened:
            if keep is not None and keep == discard:
                raise InputError(f"Version {keep} cannot be both kept and deleted: choose one.")
            for number in filter(None, (keep, discard)):  # before anything is changed
                find_version(opened, number)
            if keep is not None:
                keep_version(opened, keep or None)
            if discard is not None:
                discard_version(opened, discard)
            found = versions_of(opened)
        if not found:
            reporter.say("No version of a model was taught in this study.")
        rows = [{"number": v.number, "model": v.folder, "kept": v.kept, **v.record} for v in found]
        reporter.result({"study": study, "versions": rows}, _versions_page(found) if found else "")


def _versions_page(found: list[Version]) -> Any:
    from rich.table import Table

    page = Table("Version", "Kind", "Learnt from", "Right before", "Now", box=None)
    for version in found:
        record = version.record
        learnt = sum(record.get("learnt", {}).values())
        tried = [record.get(when, {}) for when in ("before", "after")]
        right = [f"{one['accuracy']:.1%}" if one.get("n") else "" for one in tried]
        kind = "thorough" if record.get("kind") == "deep" else "head"
        kept = " (kept)" if version.kept else ""
        name = f"{version.number}{kept}"
        page.add_row(name, kind, f"{learnt:,} cells", *right)
    page.caption = f"The models are in {found[0].folder.parent}, as v1, v2 and so on."
    return page
