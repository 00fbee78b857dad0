"""How a study is filled, in threads: images added, classified again, taken over from the viewer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import CytoDiffusionError
from cytodiffusion.progress import Progress
from cytodiffusion.settings import SegmentOptions
from napari_cytodiffusion.classify.widget import ClassifyWidget
from napari_cytodiffusion.engine import Engine
from napari_cytodiffusion.segment.widget import SegmentWidget
from napari_cytodiffusion.session import Session
from napari_cytodiffusion.shared.defaults import default, defaults
from napari_cytodiffusion.shared.settings_form import checked

if TYPE_CHECKING:
    import numpy as np

#: What a body is: see `napari_cytodiffusion.workers.Job`.
Body = Callable[[Progress], Iterator[Any]]


@dataclass(frozen=True)
class AnalysisRequest:
    """How images are segmented and classified: a model, its device, and the settings."""

    source: str = "default"
    device: str = "auto"
    settings: ClassifySettings = field(default_factory=ClassifySettings)
    options: SegmentOptions = field(default_factory=SegmentOptions)
    allow_download: bool = False

    @property
    def words(self) -> str:
        """The same in a few words."""
        method = {"auto": "automatic", "network": "smear network"}.get(
            self.options.method, self.options.method
        )
        name = self.source if self.source == "default" else Path(self.source).name
        return f"Model: {name}. Cells: {method}."


def analysis_request(session: Session) -> AnalysisRequest:
    """Return what *Segment cells* and *Classify cells* say, or the preferences without them.

    InputError where what they say makes no sense.
    """
    classify, segment = session.docked("Classify cells"), session.docked("Segment cells")
    if isinstance(classify, ClassifyWidget):
        source, device = classify.model.value or "default", classify.device.value
        settings = classify.settings()
    else:
        source, device = default("classification", "model"), default("classification", "device")
        wanted = defaults("classification", "level", "trials", "seed", "prior")
        settings = checked(ClassifySettings, wanted)
    if isinstance(segment, SegmentWidget):
        options = segment.options()
    else:
        options = checked(SegmentOptions, {"method": default("segmentation", "method")})
    return AnalysisRequest(str(source), str(device), settings, options)


def add_body(
    engine: Engine, folder: Path, paths: Sequence[Path], request: AnalysisRequest, single: bool
) -> Body:
    """Body of a `Job` that yields ``Added`` or ``Failed`` of each image, and sentences.

    ``single`` is for images of one cell each.
    """

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, "Loading the model ...")
        model = engine.load_model(request.source, request.device, request.allow_download)
        from cytodiffusion.image.formats import find_images
        from cytodiffusion.study import Study
        from cytodiffusion.study.add import add_fields, add_single_cells, outside

        found = outside(find_images(paths), folder)
        yield from found.notes
        options = request.options.model_copy(update={"allow_download": request.allow_download})
        with Study.open(folder) as study:
            if single:
                done = add_single_cells(
                    study,
                    found.paths,
                    model,
                    request.settings,
                    names=found.names,
                    pixel_size_um=options.pixel_size_um,
                    progress=report,
                )
                yield from (*done.added, *done.failed, *done.notes)
                return
            yield from add_fields(
                study, found.paths, found.names, model, request.settings, options, report
            )

    return body


def classify_body(engine: Engine, folder: Path, request: AnalysisRequest) -> Body:
    """Body of a `Job` that classifies all images of a study again, and yields as `add_body`."""

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, "Loading the model ...")
        model = engine.load_model(request.source, request.device, request.allow_download)
        from cytodiffusion.study import Study
        from cytodiffusion.study.add import Failed, add_fields

        with Study.open(folder) as study:
            paths, names = [], []
            for image in study.images():
                try:
                    paths.append(study.image_path(image.name))
                    names.append(image.name)
                except CytoDiffusionError as error:
                    yield Failed(Path(image.path), str(error))
            # its images have their scales already
            options = request.options.model_copy(update={"one_scale": False})
            if paths:
                yield from add_fields(study, paths, names, model, request.settings, options, report)

    return body


@dataclass(frozen=True, eq=False)
class FieldToKeep:
    """An image of the viewer that is to be kept, and the model that classified it, if any.

    ``known`` is what `cytodiffusion.study.taking.OpenField` is made of.
    """

    known: Mapping[str, Any]
    source: str | None = None
    device: str = "auto"


def keep_body(engine: Engine, folder: Path, fields: Sequence[FieldToKeep], observer: str) -> Body:
    """Body of a `Job` that yields one ``Kept`` for each image of the viewer."""

    def body(report: Progress) -> Iterator[Any]:
        engine.prepare()
        from cytodiffusion.study import Study
        from cytodiffusion.study.taking import OpenField, keep_field

        with Study.open(folder) as study:
            for number, one in enumerate(fields):
                report(number / len(fields), f"Keeping {one.known['name']} ...")
                model = None if one.source is None else engine.load_model(one.source, one.device)
                yield keep_field(study, OpenField(**one.known), model, observer)

    return body


def outlines_body(
    engine: Engine,
    folder: Path,
    name: str,
    labels: np.ndarray,
    model: tuple[str, str],
    settings: ClassifySettings,
) -> Body:
    """Body of a `Job` that yields one ``TakenOver``."""

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, "Loading the model ...")
        loaded = engine.load_model(*model)
        from cytodiffusion.study import Study
        from cytodiffusion.study.taking import take_over_outlines

        with Study.open(folder) as study:
            yield take_over_outlines(study, name, labels, loaded, settings, report)

    return body


def find_body(folder: Path, place: Path) -> Body:
    """Body of a `Job` that yields the names of images that were found again below a folder."""

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, f"Looking through {place.name} ...")
        from cytodiffusion.study import Study

        with Study.open(folder) as study:
            yield tuple(study.find_images(place))

    return body


def export_body(folder: Path, target: Path, image: str | None) -> Body:
    """Body of a `Job` that writes the cells, and yields the files and what to say of them."""

    def body(report: Progress) -> Iterator[Any]:
        report(0.0, f"Writing {target.name} ...")
        from cytodiffusion.study import Study
        from cytodiffusion.study.export import export_study

        with Study.open(folder, writable=False) as study:
            yield export_study(study, target, image=image, progress=report)

    return body
