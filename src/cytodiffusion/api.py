"""The public face: the functions of ``import cytodiffusion as cd``, documented in full.

Each gathers its arguments and calls the engine. Imports are inside the functions, so that looking
at one of them costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytodiffusion.progress import Progress, silent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from cytodiffusion.classification.correction_table import CorrectionTable
    from cytodiffusion.counterfactual.explain import Explanation
    from cytodiffusion.counterfactual.explain_class import ClassExplanation
    from cytodiffusion.evaluation.report import Evaluation
    from cytodiffusion.generation.cells import GeneratedCells
    from cytodiffusion.image.image import Image
    from cytodiffusion.model.bundle import ModelBundle
    from cytodiffusion.pipeline import Analysis, CellResults
    from cytodiffusion.predict import Classifier
    from cytodiffusion.segmentation.result import Segmentation


def open_image(path: str | Path) -> Image:
    """Open a microscope image.

    Reads PNG, JPEG, BMP, GIF, WebP, PPM, TIFF, OME-TIFF, SVS and relatives. Pyramids and very
    large TIFF files stay on disk and are read where they are needed.

    Parameters
    ----------
    path : str or Path
        File of the image.

    Returns
    -------
    Image
        ``image.rgb()`` is the full size as a ``(Y, X, 3)`` uint8 array, ``image.shape`` is
        ``(Y, X)``, and ``image.pixel_size_um`` is in micrometres, or None where the file says
        nothing credible. ``image.notes`` are sentences about how the file was read.

    Raises
    ------
    InputError
        If the file is missing, damaged, empty or not an image.

    Examples
    --------
    >>> image = cd.open_image("smear.tif")
    >>> image.shape, image.pixel_size_um
    ((1536, 2048), 0.1)
    """
    from cytodiffusion.image.image import open_image as open_file

    return open_file(path)


def segment(
    image: Image | ArrayLike | str | Path,
    method: str = "auto",
    *,
    pixel_size_um: float | None = None,
    cellpose_model: str | Path | None = None,
    device: str = "auto",
    allow_download: bool = False,
    progress: Progress = silent,
    **options: Any,
) -> Segmentation:
    """Outline the cells of a stained blood smear.

    Large images are segmented in overlapping tiles.

    Parameters
    ----------
    image : Image, array or path
        An opened image, a file, or an array of shape ``(Y, X)``, ``(Y, X, C)`` or ``(C, Y, X)``
        with 1 to 4 channels. Other types than uint8 are scaled to 8 bits.
    method : {"auto", "network", "watershed", "cellpose"}
        The smear network (``"network"``) is a part of the default model and made for blood smears;
        the watershed goes by rules alone; Cellpose needs its weights and is slow without a GPU.
        ``"auto"`` takes Cellpose where both are there, and the smear network otherwise.
    pixel_size_um : float, optional
        Micrometres a pixel. By default the value of the image's file, and where that has none an
        estimate from the red cells, which are 7.5 um wide.
    cellpose_model : str or Path, optional
        Name of one of Cellpose's models, or a file of your own weights.
    device : str
        Where Cellpose runs: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    allow_download : bool
        Whether Cellpose's weights (1.2 GB) may be fetched where they are missing.
    progress : callable
        Called with the fraction done, 0 to 1, and a short message. It may raise ``Cancelled``.
    **options
        Fields of `cytodiffusion.segmentation.settings.NetworkSettings`, `WatershedSettings` or
        `CellposeSettings`.

    Returns
    -------
    Segmentation
        ``cells.labels`` is a ``(Y, X)`` int32 array with 0 for the background and the cells
        numbered from 1; ``cells.n_cells``, ``cells.pixel_size_um`` and ``cells.warnings`` say
        the rest.

    Raises
    ------
    InputError
        If the image cannot be used, or there is no such method, model or setting.
    DownloadNeeded
        If Cellpose's weights are missing and may not be fetched.
    OutOfMemoryError
        If the device runs out of memory even for the smallest batch.
    Cancelled
        If `progress` raised it.

    Notes
    -----
    The smear network finds the flows of Stringer, Wang, Michaelos & Pachitariu (2021), *Cellpose:
    a generalist algorithm for cellular segmentation*, Nature Methods 18:100, section "Methods"; it
    and the watershed are described in ``docs/segmentation.md``. Cellpose itself is the one of
    Pachitariu, Rariden & Stringer (2025), *Cellpose-SAM: superhuman generalization for cellular
    segmentation*, bioRxiv.

    Examples
    --------
    >>> cells = cd.segment(image)
    >>> cells.n_cells, cells.labels.dtype
    (312, dtype('int32'))
    """
    from cytodiffusion.segmentation import segment as segment_image

    return segment_image(
        image,
        method,
        pixel_size_um,
        model=cellpose_model,
        device=device,
        allow_download=allow_download,
        progress=progress,
        **options,
    )


def load_model(
    source: str | Path = "default", *, device: str = "auto", allow_download: bool = False
) -> Classifier:
    """Load a model and check all of its files.

    Parameters
    ----------
    source : str or Path
        ``"default"`` for the model that comes with the package, the folder of a model or of a
        baseline that ``cytodiffusion train`` wrote, or ``owner/name`` on the Hugging Face Hub.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    allow_download : bool
        Whether a model of the Hub may be fetched.

    Returns
    -------
    ModelBundle or Baseline
        ``model.class_names`` are its classes and ``model.card`` says what it was trained on.

    Raises
    ------
    BundleError
        If a file is missing, altered, or not what it claims to be. Nothing is ever unpickled.
    DownloadNeeded
        If the model must be fetched first and that was not allowed.
    InputError
        If there is no such device.

    Examples
    --------
    >>> model = cd.load_model()
    >>> model.class_names[:3]
    ('basophil', 'eosinophil', 'erythroblast')
    """
    from cytodiffusion.predict import load_classifier

    return load_classifier(source, device, allow_download=allow_download)


def classify(
    image: Image | ArrayLike | str | Path | Sequence[str | Path],
    cells: Segmentation | NDArray[np.integer[Any]] | str | Path | None = None,
    model: Classifier | str | Path = "default",
    *,
    pixel_size_um: float | None = None,
    corrections: str | Path | Mapping[int | str, str] | None = None,
    progress: Progress = silent,
    **options: Any,
) -> CellResults:
    """Classify the cells of an image, or images of one cell each.

    Parameters
    ----------
    image : Image, array, path or sequence of paths
        The image that `cells` belong to. Without `cells`: a folder of single-cell images, or the
        files of some, with the cell in or near the centre.
    cells : Segmentation, ``(Y, X)`` integer array or path, optional
        What `segment` returned, or labels of any other program: 0 is background, one number a
        cell; masks are divided into cells.
    model : ModelBundle, Baseline, str or Path
        A loaded model, or what `load_model` takes.
    pixel_size_um : float, optional
        Micrometres a pixel. By default that of the segmentation, else of the file, else an
        estimate from the red cells; of single-cell images, one estimate for all of them.
    corrections : str, Path or mapping, optional
        Classes that you know: a CSV table with the columns ``label`` (or ``path``) and ``class``,
        and perhaps ``observer``; or ``{label: class}``. All other cells are classified by them,
        too; a class may be new to the model.
    progress : callable
        Called with the fraction done, 0 to 1, and a short message. It may raise ``Cancelled``.
    **options
        Fields of `ClassifySettings`: ``trials``, ``seed``, ``coverage``, ``error_rate``,
        ``alone``, ``level``, ``prior``, ``prior_shares`` and others.

    Returns
    -------
    CellResults
        ``result.table`` is a pandas table with one row a cell: ``label`` (or ``path``), ``y`` and
        ``x`` in pixels, ``area_um2``, ``predicted``, ``confidence`` and the other columns of
        ``cells.csv``, with the probability of each class in ``p_CLASS``; of a model that tells
        them, finer classes (or those alone, with ``level="fine"``) and attributes, ``attr_NAME``.
        ``result.record`` says how it came about: model, versions, settings, scale, and images
        that were skipped. With corrections, ``human`` and ``observer`` say what people said;
        ``predicted`` is the model's.

    Raises
    ------
    InputError
        If image and labels do not fit, there are no cells, or a setting is out of range.
    BundleError
        If the model cannot be loaded.
    OutOfMemoryError
        If the device runs out of memory even for one cell at a time.
    Cancelled
        If `progress` raised it.

    Notes
    -----
    The same seed gives the same result on the same device, whatever the batch size. Classification
    by the error of a diffusion model that knows the class is that of Li et al. (2023), *Your
    diffusion model is secretly a zero-shot classifier*, ICCV, and Clark & Jaini (2023),
    *Text-to-image diffusion models are zero-shot classifiers*, NeurIPS; for blood cells Deltadahl
    et al. (2025), Nature Machine Intelligence 7:1791. The network is this project's own.

    Examples
    --------
    >>> result = cd.classify(image, cells, model)
    >>> result.table[["label", "predicted", "confidence"]].head()
    """
    from cytodiffusion.classification.settings import ClassifySettings
    from cytodiffusion.image.image import as_rgb8
    from cytodiffusion.pipeline import classify_labels
    from cytodiffusion.settings import make_settings

    settings = make_settings(ClassifySettings, options)
    if cells is None:
        return _classify_single_cells(
            image, _loaded(model), settings, pixel_size_um, _corrections(corrections), progress
        )
    opened = _opened(image)
    labels, (size, _) = _labels_and_scale(opened, cells, pixel_size_um)
    return classify_labels(
        as_rgb8(opened),
        labels,
        _loaded(model),
        settings,
        pixel_size_um=size,
        corrections=_corrections(corrections, opened),
        progress=progress,
    )


def run(
    image: Image | str | Path,
    folder: str | Path,
    model: Classifier | str | Path = "default",
    *,
    method: str = "auto",
    pixel_size_um: float | None = None,
    cellpose_model: str | Path | None = None,
    device: str = "auto",
    allow_download: bool = False,
    corrections: str | Path | Mapping[int | str, str] | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Analysis:
    """Segment and classify one image and write all results, as ``cytodiffusion run`` does.

    Parameters
    ----------
    image : Image, str or Path
        An opened image, or a file.
    folder : str or Path
        Where ``labels.tif``, ``cells.csv``, ``cells.geojson``, two pictures and ``run.json``
        go. It is made where it is missing, and gets all files or none.
    model : ModelBundle, Baseline, str or Path
        A loaded model, or what `load_model` takes.
    method : {"auto", "network", "watershed", "cellpose"}
        How cells are found, see `segment`.
    pixel_size_um : float, optional
        Micrometres a pixel; see `segment` for what is taken without it.
    cellpose_model : str or Path, optional
        Name of one of Cellpose's models, or a file of your own weights.
    device : str
        Where Cellpose runs, and a model that is not loaded yet.
    allow_download : bool
        Whether weights may be fetched.
    corrections : str, Path or mapping, optional
        Classes that you know, by the labels of an earlier run, as for `classify`.
    progress : callable
        Called with the fraction done, 0 to 1, and a short message. It may raise ``Cancelled``.
    **options
        Fields of `ClassifySettings`: ``trials``, ``seed``, ``coverage``, ``error_rate``,
        ``alone``, ``level``, ``prior``, ``prior_shares`` and others.

    Returns
    -------
    Analysis
        ``analysis.files`` has the path of each file, ``analysis.counts`` the cells of each class,
        ``analysis.table`` the cells, one row each, and ``analysis.warnings`` what you should read.

    Raises
    ------
    InputError
        If the image or the folder cannot be used, there are no cells, or a setting is out of range.
    BundleError
        If the model cannot be loaded.
    DownloadNeeded
        If weights are missing and may not be fetched.
    OutOfMemoryError
        If the device runs out of memory even for one cell at a time.
    Cancelled
        If `progress` raised it; nothing is written then.

    Examples
    --------
    >>> analysis = cd.run("smear.tif", "results")
    >>> analysis.counts["neutrophil"]
    11
    """
    from cytodiffusion.classification.settings import ClassifySettings
    from cytodiffusion.image.image import Image as Opened
    from cytodiffusion.pipeline import analyse
    from cytodiffusion.settings import SegmentOptions, make_settings

    settings = make_settings(ClassifySettings, options)
    cellpose = None if cellpose_model is None else str(cellpose_model)
    finding = make_settings(
        SegmentOptions,
        {
            "method": method,
            "pixel_size_um": pixel_size_um,
            "model": cellpose,
            "device": device,
            "allow_download": allow_download,
        },
    )
    source = image if isinstance(image, Opened) else Path(image)
    return analyse(
        source,
        Path(folder),
        _loaded(model, device, allow_download),
        settings,
        finding,
        corrections=_corrections(corrections, image),
        progress=progress,
    )


def explain(
    image: Image | ArrayLike | str | Path,
    cells: Segmentation | NDArray[np.integer[Any]] | str | Path | None = None,
    model: ModelBundle | str | Path = "default",
    *,
    label: int | None = None,
    target: str | None = None,
    saliency: bool = False,
    pixel_size_um: float | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Explanation:
    """Show what would have to change in a cell for the model to take it for another class.

    Parameters
    ----------
    image : Image, array or path
        The image that `cells` belong to; without them the file of an image of a single cell.
    cells : Segmentation, ``(Y, X)`` integer array or path, optional
        What `segment` returned, or labels of any other program.
    model : ModelBundle, str or Path
        A loaded diffusion model, or what `load_model` takes. Baselines have no heatmaps.
    label : int, optional
        Which cell, by its number in the labels; may be left out where there is one only.
    target : str, optional
        Class to compare with. By default the likeliest other one, of white cells for a white cell;
        ``"all"`` makes a map for every other class besides.
    saliency : bool
        Whether to make ``why.saliency`` besides, by integrated gradients: which pixels the answer
        rests on. It knows no target.
    pixel_size_um : float, optional
        Micrometres a pixel, as for `classify`.
    progress : callable
        Called with the fraction done, 0 to 1, and a short message. It may raise ``Cancelled``.
    **options
        Fields of `HeatmapSettings`: ``method``, ``versions``, ``sigmas``, ``seed`` and others.

    Returns
    -------
    Explanation
        ``why.sentence`` says it in words. ``why.heatmap.values`` is an ``(S, S)`` float32 array
        over the crop, S = 128 with the default model: how much brighter (above 0) or darker the
        target's version of the cell is, as a share of full brightness.
        ``why.heatmap.convergence`` says whether more versions would change it, and
        ``why.save(folder)`` writes maps, figure and record.

    Raises
    ------
    InputError
        If there is no such cell or class, the target is the class that the cell is taken for
        already, or the model has no heatmaps.
    OutOfMemoryError
        If the device runs out of memory even for one pass at a time.
    Cancelled
        If `progress` raised it.

    Notes
    -----
    ``method="published"`` makes the counterfactual heatmaps of Deltadahl et al. (2025), Nature
    Machine Intelligence 7:1791. By default the cell is drawn as the target class, and the map is
    what changes; ``docs/heatmaps.md`` says why.

    Examples
    --------
    >>> why = cd.explain(image, cells, label=12, target="lymphocyte")
    >>> why.save("why")
    """
    from cytodiffusion.counterfactual.explain import (
        cut_cell,
        explain_cell,
        explain_chosen,
        which_cell,
    )
    from cytodiffusion.counterfactual.heatmap import map_size
    from cytodiffusion.counterfactual.settings import HeatmapSettings
    from cytodiffusion.errors import InputError
    from cytodiffusion.image.image import as_rgb8
    from cytodiffusion.model.bundle import ModelBundle as Diffusion
    from cytodiffusion.settings import make_settings

    settings = make_settings(HeatmapSettings, options)
    loaded = _loaded(model)
    if not isinstance(loaded, Diffusion):
        raise InputError(f"{loaded.name} is a baseline: only diffusion models have heatmaps.")
    if cells is None:
        file = image if isinstance(image, str | Path) else getattr(image, "path", None)
        if file is None:
            raise InputError("Give the cells of the image, or the file of a single-cell image.")
        return explain_cell(
            Path(file),
            loaded,
            cell=label,
            target=target,
            settings=settings,
            saliency=saliency,
            pixel_size_um=pixel_size_um,
            progress=progress,
        )
    opened = _opened(image)
    labels, (size, source) = _labels_and_scale(opened, cells, pixel_size_um)
    label = which_cell(labels, label, "the label image", "label=")
    rgb = as_rgb8(opened)
    side = map_size(loaded, settings)
    one = cut_cell(rgb, labels, label, side, loaded.window_um, size, source)
    return explain_chosen(
        one,
        rgb,
        loaded,
        target=target,
        settings=settings,
        saliency=saliency,
        progress=progress,
        image=getattr(opened, "path", None),
        cell=label,
    )


def explain_class(
    image: Image | ArrayLike | str | Path | Sequence[str | Path],
    class_name: str,
    cells: Segmentation | NDArray[np.integer[Any]] | str | Path | None = None,
    model: ModelBundle | str | Path = "default",
    *,
    target: str | None = None,
    most: int = 20,
    pixel_size_um: float | None = None,
    progress: Progress = silent,
    **options: Any,
) -> ClassExplanation:
    """Show what the cells of one class would need, on average, to be taken for another.

    The heatmaps of the cells that are taken for the class are laid on one another, centred and
    turned by their nuclei, and averaged.

    Parameters
    ----------
    image : Image, array, path or list of paths
        The image that `cells` belong to; without them a folder of single-cell images, or a list
        of such files.
    class_name : str
        Whose cells.
    cells : Segmentation, ``(Y, X)`` integer array or path, optional
        What `segment` returned, or labels of any other program.
    model : ModelBundle, str or Path
        A loaded diffusion model, or what `load_model` takes. Baselines have no heatmaps.
    target : str, optional
        Class to compare with. By default what is the likeliest other one for most of the cells.
    most : int
        At most so many cells, the surest; three at least.
    pixel_size_um : float, optional
        Micrometres a pixel, as for `classify`.
    progress : callable
        Called with the fraction done, 0 to 1, and a short message. It may raise ``Cancelled``.
    **options
        Fields of `HeatmapSettings`: ``versions``, ``sigmas``, ``seed`` and others.

    Returns
    -------
    ClassExplanation
        ``found.sentence`` says it in words. ``found.mean.heatmap.values`` is the mean map, an
        ``(S, S)`` float32 array, ``found.mean.cells`` the number of cells, and
        ``found.mean.heatmap.null_std`` the standard error over them. ``found.cells`` has the
        heatmap of each cell, and ``found.save(folder)`` writes all.

    Raises
    ------
    InputError
        If fewer than three cells are taken for the class, there is no such class, or the model has
        no heatmaps.
    OutOfMemoryError
        If the device runs out of memory even for one pass at a time.
    Cancelled
        If `progress` raised it.

    Examples
    --------
    >>> found = cd.explain_class("cells", "eosinophil", target="neutrophil")
    >>> found.save("eosinophils")
    """
    from cytodiffusion.counterfactual import explain_class as engine
    from cytodiffusion.counterfactual.heatmap import check_explains
    from cytodiffusion.counterfactual.settings import HeatmapSettings
    from cytodiffusion.image.image import as_rgb8
    from cytodiffusion.image.pixels import Scale
    from cytodiffusion.progress import part_of
    from cytodiffusion.settings import make_settings

    settings = make_settings(HeatmapSettings, options)
    bundle = check_explains(_loaded(model))
    reading = part_of(progress, 0.0, 0.1)
    if cells is None:
        paths = _single_cell_files(image)
        found = engine.cells_of_folder(paths, bundle, settings, pixel_size_um, reading)
    else:
        opened = _opened(image)
        labels, (size, source) = _labels_and_scale(opened, cells, pixel_size_um)
        scale = Scale(size, source)
        found = engine.cells_of_labels(as_rgb8(opened), labels, scale, bundle, settings, reading)
    return engine.explain_class(
        found,
        bundle,
        class_name,
        target=target,
        most=most,
        settings=settings,
        progress=part_of(progress, 0.1, 1.0),
    )


def generate(
    counts: Mapping[str, int],
    model: ModelBundle | str | Path = "default",
    *,
    towards: str | None = None,
    share: float = 0.5,
    stain_of: str | Path | NDArray[Any] | None = None,
    insist: bool = False,
    progress: Progress = silent,
    **options: Any,
) -> GeneratedCells:
    """Draw synthetic cells.

    A cell that the model's own classifier does not accept is drawn anew, and left out when it is
    never accepted. Synthetic cells are for research and teaching; never count them as patients'.

    Parameters
    ----------
    counts : mapping of str to int
        How many cells of each class.
    model : ModelBundle, str or Path
        A loaded diffusion model, or what `load_model` takes.
    towards : str, optional
        Another class, to draw cells between the two.
    share : float
        How far to go towards it: 0 stays at the asked class, 1 arrives at the other.
    stain_of : str, Path or array, optional
        An image of a smear in whose stain the cells are to be: a file, or a ``(Y, X, 3)`` array.
        Its empty slide, red cells and nuclei give the colours (linear in optical density, as in
        Ruifrok & Johnston 2001); focus and grain are not imitated.
    insist : bool
        Whether to begin orders of more than 2,000 cells.
    progress : callable
        Called with the fraction done, 0 to 1, and a short message. It may raise ``Cancelled``;
        the cells that are done by then are returned.
    **options
        Fields of `GenerationSettings`: ``seed``, ``steps``, ``guidance``, ``reject`` and others.

    Returns
    -------
    GeneratedCells
        ``cells.pixels`` is an ``(N, S, S, 3)`` uint8 array, S = 128 with the default model, and
        ``cells.pixel_size_um`` its scale; ``cells.classes`` and ``cells.frame()`` say what each
        is, and ``cells.warnings`` what is missing.

    Raises
    ------
    InputError
        If the model draws no such class, a count or setting makes no sense, or so many cells are
        asked for without `insist`, or ``stain_of`` shows no cells.
    OutOfMemoryError
        If the device runs out of memory even for one cell at a time.
    Cancelled
        If `progress` raised it before any cell was done.

    Notes
    -----
    Two networks draw one after the other (Ho et al. 2022, *Cascaded diffusion models for high
    fidelity image generation*, JMLR 23:47) with classifier-free guidance (Ho & Salimans 2022).
    Each cell depends on the seed, its class and its number alone.

    Examples
    --------
    >>> cells = cd.generate({"neutrophil": 4}, seed=1)
    >>> cells.pixels.shape
    (4, 128, 128, 3)
    """
    from cytodiffusion.errors import InputError
    from cytodiffusion.generation.generate import generate as draw
    from cytodiffusion.generation.order import GenerationSettings, Mix
    from cytodiffusion.image.image import as_rgb8
    from cytodiffusion.model.bundle import ModelBundle as Diffusion
    from cytodiffusion.settings import make_settings

    settings = make_settings(GenerationSettings, options)
    mix = None if towards is None else make_settings(Mix, {"name": towards, "share": share})
    loaded = _loaded(model)
    if not isinstance(loaded, Diffusion):
        raise InputError(f"{loaded.name} is a baseline: only diffusion models draw cells.")
    return draw(
        loaded,
        counts,
        settings,
        towards=mix,
        insist=insist,
        progress=progress,
        stain_of=None if stain_of is None else as_rgb8(_opened(stain_of)),
    )


def evaluate(
    model: Classifier | str | Path,
    data: str | Path,
    folder: str | Path | None = None,
    *,
    progress: Progress = silent,
    **options: Any,
) -> Evaluation:
    """Measure a model on labelled images of single cells.

    Parameters
    ----------
    model : ModelBundle, Baseline, str or Path
        A loaded model, or what `load_model` takes. A loaded one is read again from where it came.
    data : str or Path
        Labelled images in any layout of ``docs/datasets.md``, such as a folder per class.
    folder : str or Path, optional
        Where ``report.html``, ``metrics.json``, ``cells.csv`` and ``montage.png`` go, as
        ``cytodiffusion evaluate`` writes them. Without it nothing is written.
    progress : callable
        Called with the fraction done, 0 to 1, and a short message. It may raise ``Cancelled``.
    **options
        Fields of `EvaluateSettings`: ``split``, ``shift``, ``baselines``, ``pixel_size_um``,
        ``limit`` and others; and of `ClassifySettings` as ``classify={"trials": 4}``.

    Returns
    -------
    Evaluation
        ``report.metrics`` has every figure by name, such as ``balanced_accuracy``;
        ``report.cells`` is a pandas table with one row a cell, set and classifier.

    Raises
    ------
    InputError
        If data, model and settings do not go together.
    BundleError
        If a model cannot be loaded.
    OutOfMemoryError
        If the device runs out of memory even for one cell at a time.
    Cancelled
        If `progress` raised it; nothing is written then.

    Notes
    -----
    ``docs/report.md`` says what each figure means and where it comes from.

    Examples
    --------
    >>> report = cd.evaluate(model, "my_cells", split="all")
    >>> report.metrics["balanced_accuracy"]
    """
    from tempfile import TemporaryDirectory

    from cytodiffusion.errors import InputError
    from cytodiffusion.evaluation.report import write_report
    from cytodiffusion.evaluation.run import Run
    from cytodiffusion.evaluation.settings import EvaluateSettings
    from cytodiffusion.files.atomic import check_folder
    from cytodiffusion.settings import make_settings
    from cytodiffusion.study.agreement import answers_of

    source = str(model) if isinstance(model, str | Path) else model.source
    if not source:
        raise InputError(f"The model {model} was never saved: save it and give its folder.")
    with TemporaryDirectory() as scratch:
        output = Path(scratch if folder is None else folder)
        settings = make_settings(
            EvaluateSettings, {"model": source, "data": data, "output": output, **options}
        )
        check_folder(output)
        evaluation = Run(settings, progress, answers_of(settings.annotations)).all()
        if folder is not None:
            write_report(output, evaluation)
    return evaluation


def _loaded(
    model: Classifier | str | Path, device: str = "auto", allow_download: bool = False
) -> Classifier:
    if isinstance(model, str | Path):
        return load_model(model, device=device, allow_download=allow_download)
    return model


def _corrections(
    given: str | Path | Mapping[int | str, str] | None, image: Any = None
) -> CorrectionTable | None:
    """Return what people said; of the cells of one image, where it has a name."""
    from cytodiffusion.classification.correction_table import from_mapping, read_corrections

    if given is None:
        return None
    table = read_corrections(given) if isinstance(given, str | Path) else from_mapping(given)
    name = Path(image).name if isinstance(image, str | Path) else getattr(image, "name", "")
    return table.of_image(name, [name]) if name else table


def _opened(image: Any) -> Any:
    return open_image(image) if isinstance(image, str | Path) else image


def _labels_and_scale(
    image: Any, cells: Any, pixel_size_um: float | None
) -> tuple[NDArray[np.integer[Any]], tuple[float, str]]:
    """Return labels (Y, X), and micrometres a pixel with what that rests on."""
    from cytodiffusion.cells.single_cell import labelled_scale, open_labels
    from cytodiffusion.image.image import Image as Opened
    from cytodiffusion.image.image import as_rgb8
    from cytodiffusion.image.labels import understand_labels
    from cytodiffusion.image.pixels import check_pixel_size, known_scale
    from cytodiffusion.segmentation.network_scale import field_scale
    from cytodiffusion.segmentation.result import Segmentation

    if isinstance(cells, Segmentation):
        if pixel_size_um is not None:
            return cells.labels, (check_pixel_size(pixel_size_um), "given")
        return cells.labels, (cells.pixel_size_um, cells.pixel_size_source)
    if not isinstance(image, Opened):
        image = Opened((as_rgb8(image),), None, "image")
    if isinstance(cells, str | Path):
        scale = labelled_scale(image, Path(cells), pixel_size_um)
        return open_labels(Path(cells), image).labels, (scale.pixel_size_um, scale.source)
    labels = understand_labels(cells).labels
    known = known_scale(pixel_size_um, image.pixel_size_um)
    if known is not None:
        return labels, (known.pixel_size_um, known.source)
    found = field_scale(image.rgb())
    return labels, (found.pixel_size_um, found.source)


def _single_cell_files(images: Any) -> list[Path]:
    """Return the files of single-cell images, given as a folder or as a list."""
    from cytodiffusion.errors import InputError
    from cytodiffusion.image.formats import image_files

    if isinstance(images, str | Path):
        folder = Path(images)
        if not folder.is_dir():
            raise InputError(
                f"{folder} is no folder of single-cell images: give the cells of an image too, "
                "as segment() finds them."
            )
        images = image_files(folder)
        if not images:
            raise InputError(f"There are no images in the folder {folder}.")
    elif not isinstance(images, Sequence) or not all(isinstance(i, str | Path) for i in images):
        raise InputError("Give the cells of the image too, as segment() finds them.")
    elif not images:
        raise InputError("There are no images of single cells.")
    return [Path(image) for image in images]


def _classify_single_cells(
    images: Any,
    model: Classifier,
    settings: Any,
    pixel_size_um: float | None,
    corrections: CorrectionTable | None,
    progress: Progress,
) -> CellResults:
    from cytodiffusion.classification.prior import settled
    from cytodiffusion.files.record import provenance
    from cytodiffusion.pipeline import CellResults
    from cytodiffusion.single_cells import classify_images

    images = _single_cell_files(images)
    table, skipped = classify_images(
        images,
        model,
        settings,
        pixel_size_um=pixel_size_um,
        corrections=corrections,
        progress=progress,
    )
    said = {str(key): value for key, value in table.attrs.items()}
    record = provenance(model, settled(settings, field=False), skipped=skipped, **said)
    return CellResults(table, record)
