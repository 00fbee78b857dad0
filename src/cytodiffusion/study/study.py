"""A study: what models and people say of the cells of many images, kept apart and never lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cytodiffusion.progress import Progress, silent
from cytodiffusion.study import annotations as people
from cytodiffusion.study import classes, images, predictions
from cytodiffusion.study.annotations import Done
from cytodiffusion.study.classes import StudyClass
from cytodiffusion.study.folder import StudyFolder
from cytodiffusion.study.images import ImageFile, StudyImage
from cytodiffusion.study.predictions import Run

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from cytodiffusion.classification.result import Classification
    from cytodiffusion.classification.settings import ClassifySettings
    from cytodiffusion.predict import Classifier
    from cytodiffusion.settings import SegmentOptions
    from cytodiffusion.study.add import AddedCells
    from cytodiffusion.study.annotation_table import Imported
    from cytodiffusion.study.outlines import OutlineChanges

#: A cell: its number in the study, or the name of its image and its label there.
Cell = int | tuple[str, int]


class Study(StudyFolder):
    """A folder with what models and people say of cells; a context manager.

    One thread uses it, the one that opened it. Other threads and other programs open it for
    themselves: nobody's work is lost, and everybody sees what the others wrote.

    What people say (``human``) never takes the place of what a model says (``predicted``); which
    of them counts is ``effective``, and ``effective_source`` says where that comes from.

    Parameters
    ----------
    folder : str or Path
        Of a study that is there; `create` makes a new one.
    writable : bool
        False to look only, also where nothing may be written.
    busy_seconds : float
        How long a change waits for another program that is writing.

    Raises
    ------
    InputError
        If it is no study, damaged, of a newer version of the program, or cannot be written.

    Examples
    --------
    >>> with Study.create("my study") as study:
    ...     study.add_image("smear.tif", cd.load_model())
    ...     study.annotate(("smear.tif", 17), "monocyte", "Ada")
    ...     study.cells()[["predicted", "human", "effective"]]
    """

    # --- images and cells ------------------------------------------------------------------------

    def images(self) -> list[StudyImage]:
        """Return the images in the order in which they were added."""
        return images.all_images(self._database)

    def image(self, name: str) -> StudyImage:
        """Return the image of a name; InputError where there is none."""
        return images.find_image(self._database, name)

    def image_path(self, name: str) -> Path:
        """Return where the file of an image is now.

        Parameters
        ----------
        name : str
            Of the image.

        Returns
        -------
        Path

        Raises
        ------
        InputError
            If the file is not where it was nor in the study's folder, or its content has changed.
        """
        return images.image_path(self._database, self.folder, self.image(name))

    def find_images(self, folder: str | Path) -> list[str]:
        """Look for the files of images that were moved, by their checksums.

        Parameters
        ----------
        folder : str or Path
            Looked through with all folders in it.

        Returns
        -------
        list of str
            Names of the images that were found again.
        """
        return images.find_moved(self._database, self.folder, Path(folder))

    def labels(self, name: str) -> NDArray[np.int32]:
        """Return the label image ``(Y, X)`` of an image, 0 for the background."""
        return images.read_study_labels(self.folder, self.image(name))

    def add_image(
        self,
        path: str | Path,
        model: Classifier,
        settings: ClassifySettings | None = None,
        options: SegmentOptions | None = None,
        *,
        name: str | None = None,
        progress: Progress = silent,
    ) -> StudyImage:
        """Find and classify the cells of an image, and keep them.

        An image that is there, by its checksum, keeps its cells; they are classified where this
        model has not done so with these settings.

        Parameters
        ----------
        path : str or Path
            Of the image; the file stays where it is.
        model : ModelBundle or Baseline
            That classifies.
        settings : ClassifySettings, optional
            How.
        options : SegmentOptions, optional
            How cells are found.
        name : str, optional
            In tables; by default that of the file.
        progress : callable
            May raise ``Cancelled``; nothing is added then.

        Returns
        -------
        StudyImage

        Raises
        ------
        InputError
            If the image cannot be used, has no cells, or has changed since it was added.
        """
        from cytodiffusion.study.add import add_field

        return add_field(self, path, model, settings, options, name=name, progress=progress).image

    def add_cells(
        self,
        paths: Sequence[str | Path],
        model: Classifier,
        settings: ClassifySettings | None = None,
        *,
        pixel_size_um: float | None = None,
        progress: Progress = silent,
    ) -> AddedCells:
        """Classify images of one cell each, and keep them; see `add_image`.

        Parameters
        ----------
        paths : sequence of str or Path
            Of images of one laboratory, with the cell in or near the centre.
        model : ModelBundle or Baseline
            That classifies.
        settings : ClassifySettings, optional
            How.
        pixel_size_um : float, optional
            Micrometres a pixel of all of them; otherwise what their files state, or an estimate.
        progress : callable
            May raise ``Cancelled``; nothing is added then.

        Returns
        -------
        AddedCells
            ``added`` are those that are in the study now, ``failed`` those that could not be read.
        """
        from cytodiffusion.study.add import add_single_cells

        files = [Path(path) for path in paths]
        return add_single_cells(
            self, files, model, settings, pixel_size_um=pixel_size_um, progress=progress
        )

    def put_image(
        self,
        path: str | Path,
        labels: NDArray[np.integer],
        pixel_size_um: float,
        source: str = "given",
        *,
        name: str | None = None,
        record: Mapping[str, Any] | None = None,
    ) -> StudyImage:
        """Keep an image whose cells were found already.

        Parameters
        ----------
        path : str or Path
            Of the image; the file stays where it is.
        labels : (Y, X) integer array
            0 for the background.
        pixel_size_um : float
            Micrometres a pixel.
        source : str
            How that is known: ``"given"``, ``"file"``, ``"estimated"`` and so on.
        name : str, optional
            In tables; by default that of the file.
        record : mapping, optional
            What else is known of how the cells were found.

        Returns
        -------
        StudyImage
            The one that is there, as it is, where the study has the image already.
        """
        from cytodiffusion.cells.cell_table import cell_table

        file = ImageFile.of(path)
        known = images.image_of_file(self._database, file)
        if known is not None:
            return known
        return images.insert_image(
            self._database,
            self.folder,
            file,
            name or file.path.name,
            (labels.shape[0], labels.shape[1]),
            (pixel_size_um, source),
            cell_table(labels, pixel_size_um),
            record or {},
            labels,
        )

    def put_predictions(
        self,
        image: str,
        frame: pd.DataFrame,
        model: Classifier,
        settings: ClassifySettings,
        result: Classification | None = None,
    ) -> int:
        """Keep what a model says of cells of an image.

        Parameters
        ----------
        image : str
            Name of the image.
        frame : DataFrame
            With the columns of ``cells.csv``.
        model : ModelBundle or Baseline
            That said so.
        settings : ClassifySettings
            With which.
        result : Classification, optional
            Of all cells of the image, in the order of their labels, as the model left it: not
            corrected by people.

        Returns
        -------
        int
            Number of the run: of this model with these settings.
        """
        from cytodiffusion.classification.levels import classes_at

        number = self.image(image).id
        with self._database.transaction():
            run = predictions.open_run(
                self._database, model, classes_at(model, settings.level), settings
            )
            predictions.insert_predictions(self._database, run, number, frame, result)
        return run

    def replace_labels(self, image: str, labels: NDArray[np.integer]) -> OutlineChanges:
        """Keep changed outlines; what was said of cells stays with those that overlap.

        Parameters
        ----------
        image : str
            Name of the image.
        labels : (Y, X) integer array
            At the size of the image.

        Returns
        -------
        OutlineChanges
            Which cells were kept, changed, added, and are gone, and of how many of those people had
            said something. Cells that are gone keep what was said of them, but are in no table.
        """
        from cytodiffusion.study.outlines import replace_outlines

        return replace_outlines(self._database, self.folder, self.image(image), labels)

    def cell(self, image: str, label: int) -> int:
        """Return the number of a cell; InputError where there is none."""
        return images.cell_number(self._database, self.image(image), label)

    def places(self, cells: Iterable[int]) -> dict[int, tuple[str, int]]:
        """Return where cells are, by their numbers.

        Parameters
        ----------
        cells : iterable of int
            Numbers of cells.

        Returns
        -------
        dict
            Name of the image, and label; cells that are gone are left out.
        """
        return images.cell_places(self._database, cells)

    def cells(self, image: str | None = None, *, run: int | None = None) -> pd.DataFrame:
        """Return a table of all cells.

        Parameters
        ----------
        image : str, optional
            Only of the image of this name.
        run : int, optional
            Number of the run whose predictions are wanted; by default, for each cell, those of the
            run that was used last.

        Returns
        -------
        DataFrame
            One row a cell, by the number of the cell: ``image``, ``label``, ``predicted``,
            ``human``, ``observer``, ``effective``, ``effective_source`` (``"human"``, ``"model"``,
            or ``"disputed"`` where as many people say one thing as another, and the model's class
            counts), and the columns of ``cells.csv``. Texts are empty where nothing was said.
        """
        from cytodiffusion.study.table import cells_table

        if image is not None:
            self.image(image)
        frame: pd.DataFrame = cells_table(self._database, image, run)
        return frame

    def effective(self) -> pd.DataFrame:
        """Return the class that counts of each cell, and whether people or the model gave it.

        Returns
        -------
        DataFrame
            ``image``, ``label``, ``effective`` and ``effective_source``, by the number of the cell.
        """
        from cytodiffusion.study.table import effective_table

        return effective_table(self.cells())

    # --- models ----------------------------------------------------------------------------------

    def runs(self) -> list[Run]:
        """Return the models that classified cells, with their settings, the last used first."""
        return predictions.all_runs(self._database)

    def use_run(self, run: int) -> None:
        """Let the predictions of a run count again, by its number."""
        predictions.use_run(self._database, run)

    def classification(
        self, image: str, run: int | None = None
    ) -> tuple[NDArray[np.int64], Classification] | None:
        """Return all that a model said of an image, so that work can go on with it.

        Parameters
        ----------
        image : str
            Name of the image.
        run : int, optional
            Number of the run; by default the one that was used last.

        Returns
        -------
        (N,) int64 array and Classification, or None
            Numbers of the cells, and what was said of them; cells that are gone are left out. None
            where nothing was kept.
        """
        from cytodiffusion.study.evidence import read_evidence

        return read_evidence(self._database, self.image(image).id, run)

    # --- people ----------------------------------------------------------------------------------

    def annotate(
        self,
        cells: Cell | Sequence[Cell],
        class_name: str | None,
        observer: str,
        *,
        seconds: float | None = None,
        comment: str = "",
    ) -> int:
        """Give cells a class; it is on the disk when this returns.

        Parameters
        ----------
        cells : int, (str, int), or a sequence of such
            Numbers of cells, or names of images with labels. Several are one action: one `undo`
            takes them back.
        class_name : str or None
            One of `classes`; None takes back what this observer said.
        observer : str
            Who says so.
        seconds : float, optional
            That it took.
        comment : str
            Anything.

        Returns
        -------
        int
            Number of the action.

        Raises
        ------
        InputError
            If there is no such cell or class, or the study cannot be written.
        """
        single = isinstance(cells, Integral) or (
            isinstance(cells, tuple) and len(cells) == 2 and isinstance(cells[0], str)
        )
        several: Iterable[Any] = [cells] if single else cells  # type: ignore[assignment]
        given = dict.fromkeys((self._number(cell) for cell in several), class_name)
        return self.annotate_many(given, observer, seconds=seconds, comment=comment)

    def annotate_many(
        self,
        classes_of_cells: Mapping[int, str | None],
        observer: str,
        *,
        seconds: float | None = None,
        comment: str = "",
    ) -> int:
        """Give cells classes of their own in one action; see `annotate`.

        Parameters
        ----------
        classes_of_cells : mapping of int to str or None
            Class of each cell, by its number.
        observer : str
            Who says so.
        seconds : float, optional
            That each took.
        comment : str
            Anything.

        Returns
        -------
        int
            Number of the action.
        """
        return people.annotate(
            self._database, classes_of_cells, observer, seconds=seconds, comment=comment
        )

    def _number(self, cell: Cell) -> int:
        return self.cell(*cell) if isinstance(cell, tuple) else int(cell)

    def undo(self, observer: str) -> Done | None:
        """Undo what an observer did last; None where there is nothing to undo."""
        return people.undo(self._database, observer)

    def redo(self, observer: str) -> Done | None:
        """Do again what an observer undid last; None where there is nothing, or they went on."""
        return people.redo(self._database, observer)

    def said(
        self, *, image: str | None = None, cells: Iterable[int] | None = None
    ) -> dict[int, tuple[tuple[str, str], ...]]:
        """Return what people say of cells now, observer by observer.

        Parameters
        ----------
        image : str, optional
            Only of the cells of the image of this name that are not gone.
        cells : iterable of int, optional
            Only of the cells with these numbers.

        Returns
        -------
        dict
            Pairs of class and observer, in the order in which they were given, by the number of the
            cell. Cells of which nobody says anything are left out.
        """
        number = None if image is None else self.image(image).id
        return people.said_of_cells(self._database, cells, number)

    def observers(self) -> list[str]:
        """Return the people who annotated, in the order in which they came."""
        return [row[0] for row in self._database.rows("SELECT name FROM observers ORDER BY id")]

    def annotations(self) -> pd.DataFrame:
        """Return what each observer says of each cell now.

        Returns
        -------
        DataFrame
            ``cell``, ``image``, ``label``, ``observer``, ``class``, ``at`` (UTC), ``seconds`` and
            ``comment``, in the order in which they were given. Annotations that were undone, or
            whose cell is gone, are not in it.
        """
        from cytodiffusion.study.table import annotations_table

        frame: pd.DataFrame = annotations_table(self._database)
        return frame

    # --- classes ---------------------------------------------------------------------------------

    def classes(self) -> list[StudyClass]:
        """Return the classes that cells may be given."""
        return classes.classes_of(self._database)

    def meanings(self, names: Iterable[str]) -> dict[str, str]:
        """Return what the study calls each class, by names that models have for them.

        Earlier names and other spellings are known, too; names that mean no class are left out.
        """
        find = classes.class_finder(self._database)
        return {name: known.name for name in names if (known := find(name)) is not None}

    def add_class(self, name: str, color: str = "", group: str = "") -> StudyClass:
        """Add a class, or return the one that is meant already."""
        return classes.add_class(self._database, name, color, group)

    def change_class(
        self,
        name: str,
        *,
        new_name: str | None = None,
        color: str | None = None,
        group: str | None = None,
    ) -> StudyClass:
        """Rename, recolour or group a class; its labels follow."""
        return classes.change_class(
            self._database, name, new_name=new_name, color=color, group=group
        )

    def merge_classes(self, name: str, into: str) -> None:
        """Let a class mean another one; its labels become those of the other."""
        classes.merge_classes(self._database, name, into)

    def delete_class(self, name: str) -> None:
        """Delete a class; InputError where people gave it to cells."""
        classes.delete_class(self._database, name)

    # --- files for others ------------------------------------------------------------------------

    def export(self, target: str | Path, *, image: str | None = None) -> list[Path]:
        """Write the cells as CSV, Parquet, GeoJSON, AnnData or crops.

        Parameters
        ----------
        target : str or Path
            ``.csv``, ``.parquet``, ``.geojson``, ``.h5ad``, or a folder for crops.
        image : str, optional
            Only the cells of this image.

        Returns
        -------
        list of Path
            What was written.
        """
        from cytodiffusion.study.export import export_study

        return export_study(self, target, image=image)[0]

    def export_crops(
        self, target: str | Path, cells: Iterable[int], progress: Progress = silent
    ) -> list[str]:
        """Write crops of some cells into folders of their classes.

        Parameters
        ----------
        target : str or Path
            A new folder, or an empty one; its ``cells.csv`` says which file shows which cell.
        cells : iterable of int
            Numbers of cells.
        progress : callable
            May raise ``Cancelled``; nothing is written then.

        Returns
        -------
        list of str
            Sentences that the user should read, such as on an image that is gone.
        """
        from cytodiffusion.study.export import write_crops

        return write_crops(self, Path(target), self.cells().loc[list(cells)], progress)[1]

    def import_annotations(self, path: str | Path, observer: str = "") -> Imported:
        """Place annotations of a table (CSV) or of outlines (GeoJSON).

        Parameters
        ----------
        path : str or Path
            CSV with the columns ``label`` or ``path``, ``class``, and with several images
            ``image``; or GeoJSON.
        observer : str
            Who said so, where the file does not say.

        Returns
        -------
        Imported
            How many were placed, and ``sentences`` on those that were not.
        """
        from cytodiffusion.study.annotation_table import import_annotations

        return import_annotations(self, path, observer)
