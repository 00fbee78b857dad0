"""Find and classify the cells of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytodiffusion.api.inputs import (
    as_corrections,
    as_image,
    as_model,
    labels_and_scale,
    single_cell_files,
)
from cytodiffusion.progress import Progress, silent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from cytodiffusion.classification.correction_table import CorrectionTable
    from cytodiffusion.image.image import Image
    from cytodiffusion.pipeline import Analysis, CellResults
    from cytodiffusion.predict import Classifier
    from cytodiffusion.segmentation.result import Segmentation


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
            image, as_model(model), settings, pixel_size_um, as_corrections(corrections), progress
        )
    opened = as_image(image)
    labels, (size, _) = labels_and_scale(opened, cells, pixel_size_um)
    return classify_labels(
        as_rgb8(opened),
        labels,
        as_model(model),
        settings,
        pixel_size_um=size,
        corrections=as_corrections(corrections, opened),
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
        as_model(model, device, allow_download),
        settings,
        finding,
        corrections=as_corrections(corrections, image),
        progress=progress,
    )


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

    images = single_cell_files(images)
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
