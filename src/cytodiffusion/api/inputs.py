"""What the public functions take: images, models, labels and corrections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cytodiffusion.classification.correction_table import CorrectionTable
    from cytodiffusion.image.image import Image
    from cytodiffusion.predict import Classifier


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


def as_model(
    model: Classifier | str | Path, device: str = "auto", allow_download: bool = False
) -> Classifier:
    """Load a model that is named."""
    if isinstance(model, str | Path):
        return load_model(model, device=device, allow_download=allow_download)
    return model


def as_corrections(
    given: str | Path | Mapping[int | str, str] | None, image: Any = None
) -> CorrectionTable | None:
    """Return what people said; of the cells of one image, where it has a name."""
    from cytodiffusion.classification.correction_table import from_mapping, read_corrections

    if given is None:
        return None
    table = read_corrections(given) if isinstance(given, str | Path) else from_mapping(given)
    name = Path(image).name if isinstance(image, str | Path) else getattr(image, "name", "")
    return table.of_image(name, [name]) if name else table


def as_image(image: Any) -> Any:
    """Open an image that is named."""
    return open_image(image) if isinstance(image, str | Path) else image


def labels_and_scale(
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


def single_cell_files(images: Any) -> list[Path]:
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
