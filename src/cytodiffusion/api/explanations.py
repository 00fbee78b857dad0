"""Explain why a cell, or the cells of a class, are taken for what they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytodiffusion.api.inputs import as_image, as_model, labels_and_scale, single_cell_files
from cytodiffusion.progress import Progress, silent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from cytodiffusion.counterfactual.explain import Explanation
    from cytodiffusion.counterfactual.explain_class import ClassExplanation
    from cytodiffusion.image.image import Image
    from cytodiffusion.model.bundle import ModelBundle
    from cytodiffusion.segmentation.result import Segmentation


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
    loaded = as_model(model)
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
    opened = as_image(image)
    labels, (size, source) = labels_and_scale(opened, cells, pixel_size_um)
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
    bundle = check_explains(as_model(model))
    reading = part_of(progress, 0.0, 0.1)
    if cells is None:
        paths = single_cell_files(image)
        found = engine.cells_of_folder(paths, bundle, settings, pixel_size_um, reading)
    else:
        opened = as_image(image)
        labels, (size, source) = labels_and_scale(opened, cells, pixel_size_um)
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
