"""The one way from the window to the engine: an `Engine` that the session of a viewer holds.

Its methods are called in the threads of jobs. They import what they need when they are called, as
importing the networks takes seconds. What is only drawn, read or checked (colours, settings,
errors, tables of results) is imported where it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from cytodiffusion.errors import InputError
from cytodiffusion.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd

    from cytodiffusion.authenticity import AuthenticitySettings, AuthenticityTest
    from cytodiffusion.authenticity.judge import Judgement
    from cytodiffusion.authenticity.result import AuthenticityResult
    from cytodiffusion.classification.settings import ClassifySettings
    from cytodiffusion.counterfactual.cells import Counterfactuals
    from cytodiffusion.counterfactual.heatmap import Heatmap
    from cytodiffusion.counterfactual.mean_map import MeanMap
    from cytodiffusion.counterfactual.morph import Morph
    from cytodiffusion.counterfactual.saliency import Saliency
    from cytodiffusion.evaluation.settings import EvaluateSettings
    from cytodiffusion.evaluation.stored import StoredReport
    from cytodiffusion.generation import GeneratedCells, GenerationSettings, Mix
    from cytodiffusion.generation.order import Effort, GenerationOrder
    from cytodiffusion.image.label_changes import CellChanges
    from cytodiffusion.image.labels import LabelImage
    from cytodiffusion.image.pixel_size import StatedScale
    from cytodiffusion.lessons import Lesson, LessonSettings
    from cytodiffusion.metrics.differential import Differential
    from cytodiffusion.model.bundle import CellClass, ModelBundle
    from cytodiffusion.pipeline import CellBatch
    from cytodiffusion.segmentation import Segmentation
    from cytodiffusion.slide_scale import SlideScale
    from cytodiffusion.smear import Smear, SmearSettings
    from cytodiffusion.smear.exercise import ExerciseResult
    from cytodiffusion.study.opening import OpenedImage
    from cytodiffusion.teaching import LabelledCells, TeachSettings, Version

_LOCK = Lock()


class Engine:
    """Calls of the engine, and the model that is loaded."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str, float], ModelBundle] = {}

    # -- models -------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Import what classifies: seconds the first time, nothing after."""
        with _LOCK, _without_triton():
            import cytodiffusion.pipeline  # noqa: F401
            from cytodiffusion.device import ask_for_triton

            # PyTorch remembers the answer, and what is imported later does not ask again
            ask_for_triton()

    def load_model(
        self, source: str, device: str = "auto", allow_download: bool = False
    ) -> ModelBundle:
        """Return a diffusion model, loaded once per source, device and state of its files."""
        self.prepare()
        from cytodiffusion.baselines import is_baseline
        from cytodiffusion.model import load_bundle

        folder = Path(source)
        if source != "default" and is_baseline(folder):
            raise InputError(
                f"{folder} is a baseline: it gives no uncertainty by noise trials and no heatmaps. "
                "Choose a diffusion model here; the command line classifies with baselines too."
            )
        files = folder.glob("*") if folder.is_dir() else ()
        key = (source, device, max((f.stat().st_mtime for f in files), default=0.0))
        if key not in self._models:
            # one model at a time: memory, on a GPU above all, is for the work
            loaded = load_bundle(source, device=device, allow_download=allow_download)
            self._models.clear()
            self._models[key] = loaded
        return self._models[key]

    def drawing_model(self, source: str, device: str, allow_download: bool) -> ModelBundle:
        """Return a model, which must be one that draws cells."""
        from cytodiffusion.model.bundle import ModelBundle

        model = self.load_model(source, device, allow_download)
        if not isinstance(model, ModelBundle):
            raise InputError(f"{model.name} draws no cells: only diffusion models do.")
        return model

    def forget_models(self) -> None:
        """Free the memory of the model that is loaded."""
        self._models.clear()

    # -- segmentation and classification ------------------------------------------------------

    def segment(
        self,
        image: Any,
        method: str,
        pixel_size_um: float | None,
        *,
        path: str | None = None,
        model: str | None = None,
        device: str = "auto",
        allow_download: bool = False,
        progress: Progress = silent,
    ) -> Segmentation:
        """Outline the cells of an image; where no pixel size is given, its file may state one."""
        from cytodiffusion.image.image import Image
        from cytodiffusion.segmentation import segment

        if method != "watershed":  # which needs no network, and importing one takes seconds
            self.prepare()
        notes: tuple[str, ...] = ()
        if pixel_size_um is None and path is not None and Path(path).is_file():
            stated = self.stated_scale(path, image)
            notes = stated.notes
            if stated.value_um is not None:
                image = Image((image,), stated.value_um, Path(path).name, Path(path))
        found = segment(
            image,
            method,
            pixel_size_um,
            model=model,
            device=device,
            allow_download=allow_download,
            progress=progress,
        )
        return replace(found, warnings=(*notes, *found.warnings))

    def scale_beside(
        self,
        image: Any,
        path: str | None,
        others_um: Sequence[float],
        *,
        method: str = "auto",
        model: str | None = None,
        device: str = "auto",
    ) -> SlideScale | None:
        """Return the scale of other images of a slide where that of an image is another.

        None where it agrees with them, or its file states one. It is measured as the method does.
        """
        from cytodiffusion.field import middle_part
        from cytodiffusion.image.image import Image
        from cytodiffusion.segmentation import choose_method
        from cytodiffusion.slide_scale import scale_beside, scale_of_pixels

        if method != "watershed":  # which needs no network, and importing one takes seconds
            self.prepare()
        chosen = choose_method(method, model=model, device=device)
        known = path is not None and Path(path).is_file()
        if known and self.stated_scale(str(path), image).value_um is not None:
            return None
        part = middle_part(Image((image,), None, path or ""))
        shape = (int(image.shape[0]), int(image.shape[1]))
        return scale_beside(scale_of_pixels(part, shape, chosen), others_um)

    def stated_scale(self, path: str, image: Any) -> StatedScale:
        """Return the pixel size that a file states, held against the red cells in the image."""
        from cytodiffusion.errors import InputError
        from cytodiffusion.field import middle_part, trusted_pixel_size
        from cytodiffusion.image.image import Image
        from cytodiffusion.image.pixel_size import StatedScale

        try:
            return trusted_pixel_size(path, middle_part(Image((image,), None, path)))
        except InputError:  # a file that napari reads with another plugin
            return StatedScale()

    def cellpose_models(self) -> list[str]:
        """Names of Cellpose's models, one whose weights are here first."""
        from cytodiffusion.segmentation.cellpose_weights import available_models, default_model

        first = default_model()
        return [first, *(name for name in available_models() if name != first)]

    def cellpose_effort(
        self, model: str, shape: Sequence[int], device: str, pixel_size_um: float | None
    ) -> tuple[str, float, int]:
        """Say where Cellpose would run, the seconds it takes, and the bytes to download."""
        self.prepare()
        from cytodiffusion.device import pick_device
        from cytodiffusion.segmentation.cellpose import expected_seconds
        from cytodiffusion.segmentation.cellpose_weights import download_size

        chosen = str(pick_device(device))
        seconds = expected_seconds(shape, chosen, model=model, pixel_size_um=pixel_size_um)
        return chosen, seconds, download_size(model)

    def pixel_size(self, rgb: np.ndarray, given: float | None) -> tuple[float, str]:
        """Micrometres a pixel, as given or measured by the red cells, and where it is from."""
        if given is not None:
            from cytodiffusion.image.pixels import check_pixel_size

            return check_pixel_size(given), "given"
        from cytodiffusion.segmentation.network_scale import field_scale

        estimate = field_scale(rgb)
        return estimate.pixel_size_um, estimate.source

    def as_rgb8(self, image: Any) -> np.ndarray:
        """Return any image as (Y, X, 3) uint8."""
        from cytodiffusion.image.image import as_rgb8

        return as_rgb8(image)

    def check_promises(self, model: ModelBundle, settings: ClassifySettings) -> float | None:
        """Raise where a model cannot promise what is asked for; return the error rate it keeps."""
        from cytodiffusion.classification.decision import check_model, promised_rate

        check_model(model, settings)
        return promised_rate(model, settings)

    def iter_classify(
        self,
        rgb: np.ndarray,
        labels: np.ndarray,
        model: ModelBundle,
        settings: ClassifySettings,
        *,
        pixel_size_um: float,
        kinds: Sequence[int] | None = None,
        known: Sequence[CellBatch] = (),
        progress: Progress = silent,
    ) -> Generator[CellBatch, None, None]:
        """Classify the cells of a label image, batch by batch.

        ``kinds`` is what the segmentation took each label for, where it said so; cells that are
        known already come first.
        """
        from cytodiffusion.pipeline import iter_classify_labels

        return iter_classify_labels(
            rgb,
            labels,
            model,
            settings,
            pixel_size_um=pixel_size_um,
            kinds=None if kinds is None else np.asarray(kinds, np.uint8),
            known=known,
            progress=progress,
        )

    def understand_labels(self, labels: Any, name: str) -> LabelImage:
        """Make labels of cells of what another tool has written as such."""
        from cytodiffusion.image.labels import LabelImage, understand_labels

        array = np.asarray(labels)
        if array.dtype.kind in "iu" and array.size and array.max() > np.iinfo(np.int32).max:
            return LabelImage(array)  # no mask and no kinds of cells have such numbers
        return understand_labels(labels, name)

    def changed_cells(self, before: Any, after: Any) -> CellChanges:
        """Compare two states of a label image."""
        from cytodiffusion.image.label_changes import changed_cells

        return changed_cells(before, after)

    def learn(
        self,
        batches: Sequence[CellBatch],
        said: Mapping[int, tuple[str, str]],
        model: ModelBundle,
        settings: ClassifySettings,
        kinds: Sequence[int] | None = None,
    ) -> tuple[list[CellBatch], list[CellClass]]:
        """Learn from the classes and observers of some cells, by label.

        Returns all cells as they are then, and the classes with colours, new ones at the end.
        """
        from cytodiffusion.classification.correction_table import CorrectionRow, CorrectionTable
        from cytodiffusion.classification.levels import classes_at
        from cytodiffusion.model.bundle import with_new_classes
        from cytodiffusion.pipeline import learn_from_corrections

        rows = [CorrectionRow(str(i), name, observer=who) for i, (name, who) in said.items()]
        numbers = None if kinds is None else np.asarray(kinds, np.uint8)
        table = CorrectionTable(tuple(rows))
        learned = learn_from_corrections(batches, model, settings, table, numbers)
        known = classes_at(model, settings.level)
        return learned, list(with_new_classes(known, learned[0].result.class_names))

    def same_cells(self, before: Any, after: Any, ids: Iterable[int]) -> dict[int, int]:
        """Find cells of one label image in another one, by their pixels."""
        from cytodiffusion.image.label_changes import same_cells

        return same_cells(before, after, ids)

    def cells_frame(self, batches: Iterable[CellBatch]) -> pd.DataFrame:
        """Make the table of classified cells."""
        from cytodiffusion.pipeline import cells_frame

        return cells_frame(batches)

    def differential(
        self, fields: Iterable[tuple[Sequence[CellBatch], Any]], stop_at: int | None
    ) -> Differential:
        """Count the white cells of images: their batches, and which classes are white."""
        from cytodiffusion.metrics.differential import differential
        from cytodiffusion.pipeline import field_cells

        some = [field_cells(batches, white) for batches, white in fields if batches]
        return differential(some, stop_at)

    def export_cells(
        self,
        kind: str,
        path: Path,
        batches: Iterable[CellBatch],
        labels: Any,
        classes: Sequence[tuple[str, str]],
        *,
        name: str = "",
        decimal_comma: bool = False,
        progress: Progress = silent,
    ) -> int:
        """Write classified cells as ``csv``, ``excel`` or ``geojson``; return how many.

        ``classes`` are names and colours.
        """
        from cytodiffusion.files.writers import write_cells_csv, write_excel_csv
        from cytodiffusion.image.geojson import write_geojson
        from cytodiffusion.model.bundle import CellClass

        frame = self.cells_frame(batches)
        if kind == "geojson":
            own = [CellClass(*pair) for pair in classes]
            write_geojson(path, np.asarray(labels), frame, own, name=name, progress=progress)
        elif kind == "excel":
            write_excel_csv(path, frame, decimal_comma=decimal_comma)
        else:
            write_cells_csv(path, frame)
        return len(frame)

    def crop(
        self,
        image: Any,
        labels: Any,
        label: int,
        centre: tuple[float, float],
        pixel_size_um: float,
        window_um: float,
        size: int,
    ) -> np.ndarray:
        """Window (S, S, 3) around a cell as the classifier sees it, resampled to ``size`` pixels.

        Only the surroundings of the cell are read, so it is quick on a slide too.
        """
        from cytodiffusion.cells.crops import extract_crops

        y, x = centre
        reach = int(np.ceil(window_um / pixel_size_um)) + 2
        rows = slice(max(0, int(y) - reach), int(y) + reach)
        columns = slice(max(0, int(x) - reach), int(x) + reach)
        part = (np.asarray(labels[rows, columns]) == label).astype(np.uint8)
        return extract_crops(
            np.asarray(image[rows, columns]), part, pixel_size_um, size, window_um
        ).pixels[0]

    # -- studies ------------------------------------------------------------------------------

    def read_study_image(self, folder: Path, name: str, writable: bool) -> OpenedImage:
        """Read an image of a study, its cells, and what models and people say of them.

        Where the study is writable, an image that was moved is noted to be where it was found.
        """
        self.prepare()
        from cytodiffusion.study import Study
        from cytodiffusion.study.opening import read_image

        with Study.open(folder, writable=writable) as study:
            return read_image(study, name)

    def keep_classified(
        self,
        folder: Path,
        name: str,
        batches: Sequence[CellBatch],
        source: tuple[str, str],
        settings: ClassifySettings,
    ) -> None:
        """Keep in a study what a model, by source and device, said of all cells of an image."""
        model = self.load_model(*source)
        from cytodiffusion.pipeline import cells_frame
        from cytodiffusion.study import Study
        from cytodiffusion.study.add import joined

        with Study.open(folder) as study:
            study.put_predictions(name, cells_frame(batches), model, settings, joined(batches))

    # -- teaching -----------------------------------------------------------------------------

    def labelled(
        self, folder: Path, source: str, settings: TeachSettings
    ) -> tuple[LabelledCells, str, Mapping[str, str]]:
        """Return what a study can teach a model, why it cannot yet, and colours by class."""
        model = self.load_model(source, settings.device)
        from cytodiffusion.study import Study
        from cytodiffusion.teaching import survey
        from cytodiffusion.teaching.labelled import check_labelled

        with Study.open(folder, writable=False) as study:
            colors = {one.name: one.color for one in study.classes()}
            found = survey(study, model, settings)
        try:
            check_labelled(found)
        except InputError as error:
            return found, str(error), colors
        return found, "", colors

    def teach(
        self, folder: Path, source: str, settings: TeachSettings, progress: Progress
    ) -> Version:
        """Make the next version of a model from the labels of a study."""
        model = self.load_model(source, settings.device)
        from cytodiffusion.study import Study
        from cytodiffusion.teaching import next_version, teach, versions_of

        with Study.open(folder) as study:
            number, target = next_version(study, deep=settings.deep)
            teach(study, target, model, settings, number=number, progress=progress)
            return next(v for v in versions_of(study) if v.number == number)

    # -- counterfactuals ----------------------------------------------------------------------

    def background(self, rgb: np.ndarray) -> np.ndarray:
        """Colour (3,) of the empty slide."""
        from cytodiffusion.image.stain import estimate_background

        return estimate_background(rgb)

    def iter_heatmaps(self, pixels: Any, model: ModelBundle, targets: Any, **how: Any) -> Any:
        """Yield counterfactual heatmaps; see `cytodiffusion.counterfactual.heatmap`."""
        from cytodiffusion.counterfactual.heatmap import iter_heatmaps

        return iter_heatmaps(pixels, model, targets, **how)

    def all_class_heatmaps(
        self, pixels: np.ndarray, model: ModelBundle, **how: Any
    ) -> Sequence[Heatmap]:
        """Make the heatmaps of a cell towards every other class."""
        from cytodiffusion.counterfactual.heatmap import all_class_heatmaps

        return all_class_heatmaps(pixels, model, **how)

    def map_size(self, model: ModelBundle, settings: Any) -> int:
        """Side of the crops that a heatmap shows most of."""
        from cytodiffusion.counterfactual.heatmap import map_size

        return map_size(model, settings)

    def describe(self, heatmap: Heatmap, mask: np.ndarray) -> str:
        """Say what a heatmap asks for."""
        from cytodiffusion.counterfactual.wording import describe

        return describe(heatmap, mask)

    def stain_change(self, heatmap: Heatmap, mask: np.ndarray) -> np.ndarray:
        """Return how the stains change, (S, S, 3)."""
        from cytodiffusion.counterfactual.wording import stain_change

        return stain_change(heatmap, mask)

    def mean_maps(
        self, heatmaps: Sequence[Heatmap], masks: Sequence[np.ndarray]
    ) -> list[tuple[list[int], MeanMap]]:
        """Average the heatmaps of each pair of classes with enough cells; places and mean map."""
        from cytodiffusion.counterfactual.mean_map import mean_map, pairs_of

        return [
            (group, mean_map([heatmaps[i] for i in group], [masks[i] for i in group]))
            for group in pairs_of(heatmaps)
        ]

    def saliency_map(
        self, crop: np.ndarray, model: ModelBundle, predicted: int, **how: Any
    ) -> Saliency:
        """Map which pixels of a cell speak for its class."""
        from cytodiffusion.counterfactual.saliency import saliency_map

        return saliency_map(crop, model, predicted, **how)

    def counterfactual_cells(
        self, pixels: Any, model: ModelBundle, targets: Any, **how: Any
    ) -> Counterfactuals:
        """Change cells into other classes."""
        from cytodiffusion.counterfactual.cells import counterfactual_cells

        return counterfactual_cells(pixels, model, targets, **how)

    def make_morph(self, pixels: np.ndarray, model: ModelBundle, target: int, **how: Any) -> Morph:
        """Make the frames between a cell and another class of it."""
        from cytodiffusion.counterfactual.morph import make_morph

        return make_morph(pixels, model, target, **how)

    # -- synthetic cells and smears -----------------------------------------------------------

    def drawing_effort(self, model: ModelBundle, settings: GenerationSettings) -> Effort:
        """Estimate what one cell takes."""
        from cytodiffusion.generation import estimate_effort

        return estimate_effort(model, 1, settings)

    def take_order(
        self, model: ModelBundle, counts: Mapping[str, int], mix: Mix | None
    ) -> GenerationOrder:
        """Put the counts of classes into an order of single cells."""
        from cytodiffusion.generation.order import take_order

        return take_order(model, counts, mix)

    def check_order(
        self, order: Any, model: ModelBundle, settings: GenerationSettings, insist: bool
    ) -> None:
        """Raise where an order is too large to be made without asking."""
        from cytodiffusion.generation.order import check_order

        check_order(order, model, settings, insist)

    def generate_parts(
        self, model: ModelBundle, counts: Mapping[str, int], settings: Any, **how: Any
    ) -> Generator[GeneratedCells, None, None]:
        """Draw cells, part by part; ``stain_of`` is what `as_rgb8` takes, or None."""
        from cytodiffusion.generation import generate_parts
        from cytodiffusion.image.image import as_rgb8

        if how.get("stain_of") is not None:
            how["stain_of"] = as_rgb8(how["stain_of"])
        return generate_parts(model, counts, settings, **how)

    def synthetic_smear(
        self, model: ModelBundle | None, settings: SmearSettings, progress: Progress = silent
    ) -> Smear:
        """Make a smear; without a model its cells are plain drawings."""
        from cytodiffusion.smear import synthetic_smear

        return synthetic_smear(model, settings, progress=progress)

    def score_exercise(
        self, truth: pd.DataFrame, counts: Mapping[str, int], cells: Mapping[int, str] | None
    ) -> ExerciseResult:
        """Lay a count of a smear, or the classes given to its cells, beside the truth."""
        from cytodiffusion.smear.exercise import score_cells, score_counts

        return score_counts(truth, counts) if cells is None else score_cells(truth, cells)

    # -- evaluation and authenticity tests ----------------------------------------------------

    def evaluate(self, settings: EvaluateSettings, progress: Progress) -> StoredReport:
        """Evaluate a model and read the report."""
        self.prepare()
        from cytodiffusion.evaluation.run import evaluate
        from cytodiffusion.study.agreement import answers_of

        return self.read_report(evaluate(settings, progress, answers_of(settings.annotations)))

    def read_report(self, path: Path) -> StoredReport:
        """Read a report that was written before."""
        from cytodiffusion.evaluation.stored import read_report

        return read_report(path)

    def make_test(
        self, settings: AuthenticitySettings, progress: Progress, model: ModelBundle
    ) -> Path:
        """Make an authenticity test."""
        from cytodiffusion.authenticity.make import make_test

        return make_test(settings, progress, model=model)

    def test_summary(self, test: AuthenticityTest) -> str:
        """Say what an authenticity test is, and what its pictures give away."""
        from cytodiffusion.authenticity.make import summary

        text = summary(test.record, len(test), test.classes)
        return f"{text[:1].upper()}{text[1:]}."

    def leak_note(self, test: AuthenticityTest) -> str:
        """Say what of an authenticity test could give the answer away."""
        from cytodiffusion.authenticity.leaks import leak_note

        return leak_note(test)

    def judge_test(self, path: Path, progress: Progress = silent) -> Judgement | None:
        """Let the judge look at all cells of an authenticity test."""
        from cytodiffusion.authenticity.judge import judge_test

        return judge_test(path, progress)

    def explain(
        self,
        pixels: np.ndarray,
        window_um: float,
        class_name: str,
        model: ModelBundle,
        progress: Progress,
    ) -> Heatmap:
        """Make the heatmap of a cell of an authenticity test, against its likeliest rival."""
        from cytodiffusion.authenticity.explain import explain

        return explain(pixels, window_um, class_name, model, progress=progress)

    def test_results(
        self, paths: Sequence[Path], mode: str, progress: Progress
    ) -> AuthenticityResult:
        """Read the answers to authenticity tests."""
        self.prepare()
        from cytodiffusion.authenticity.result import read_results

        return read_results(list(paths), mode, progress=progress)

    # -- lessons ------------------------------------------------------------------------------

    def make_lesson(self, settings: LessonSettings, progress: Progress, model: ModelBundle) -> Path:
        """Make a lesson on the morphology of cells."""
        from cytodiffusion.lessons import make_lesson

        return make_lesson(settings, progress, model=model)

    def export_lesson(self, lesson: Lesson, folder: Path) -> str:
        """Write what came of a lesson to a folder; return it in a sentence."""
        self.prepare()
        from cytodiffusion.lessons import read_results
        from cytodiffusion.lessons.export import save_result

        found = read_results(lesson)
        save_result(folder, found)
        return found.sentence()


def model_body(
    engine: Engine, source: str, device: str, allow_download: bool = False
) -> Callable[[Progress], Iterator[Any]]:
    """Body of a `Job` that loads a model, and with it everything a run imports."""

    def body(report: Progress) -> Iterator[Any]:
        yield engine.load_model(source, device, allow_download)

    return body


@contextmanager
def _without_triton() -> Iterator[None]:
    """Keep Triton, a compiler that nothing here uses, from being loaded by an import.

    On Linux its library carries a copy of LLVM. Where Mesa draws the window with another one
    (software rendering, some AMD drivers), loading Triton after the first OpenGL context ends the
    process with a segmentation fault. Whoever loaded it before the window came up keeps it.
    """
    if "triton" in sys.modules or not sys.platform.startswith("linux"):
        yield
        return
    # an entry None makes ``import triton`` fail cleanly
    sys.modules["triton"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if sys.modules.get("triton", ...) is None:
            del sys.modules["triton"]
