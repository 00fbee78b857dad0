"""The small public set: asked for, checked, cut out and kept; from files on this computer."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from cytodiffusion.datasets import public_cells as module
from cytodiffusion.datasets import read_dataset
from cytodiffusion.datasets.public_cells import (
    PIXEL_SIZE_UM,
    TRIALS,
    PublicCell,
    is_public,
    listed,
    public_cells,
)
from cytodiffusion.errors import CytoDiffusionError, DownloadNeeded, InputError
from cytodiffusion.image.image import open_image


class Served:
    """Two fields in a folder that stands for the address, and the list that names them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        rng = np.random.default_rng(0)
        self.cells = []
        for name, kind in (("one", "monocyte"), ("two", "neutrophil")):
            path = folder / f"{name}.jpg"
            Picture.fromarray(rng.integers(0, 255, (480, 640, 3), np.uint8)).save(path)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            self.cells.append(PublicCell(name, kind, 150, 240, digest))


@pytest.fixture
def served(tmp_path, monkeypatch) -> Served:
    """Files instead of a network: pooch is given a downloader that copies."""
    import pooch

    found = Served(tmp_path / "address")
    monkeypatch.setattr(module, "listed", lambda: found.cells)

    def copy(url: str, output_file: str, _: object) -> None:
        Path(output_file).write_bytes((found.folder / url.rsplit("/", 1)[1]).read_bytes())

    monkeypatch.setattr(pooch.core, "choose_downloader", lambda url, progressbar=False: copy)
    return found


def test_nothing_is_fetched_before_somebody_agrees(served, tmp_path) -> None:
    with pytest.raises(DownloadNeeded, match=r"MIT licence.*checksum"):
        public_cells(folder=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_cells_are_fetched_once_cut_out_and_recorded(served, tmp_path) -> None:
    kept = tmp_path / "kept"
    cells = public_cells(True, folder=kept)
    records = read_dataset(cells).records
    assert sorted(r.label for r in records) == ["monocyte", "neutrophil"]
    image = open_image(records[0].path)
    assert image.rgb().shape == (300, 300, 3)
    assert image.pixel_size_um == pytest.approx(PIXEL_SIZE_UM)
    told = json.loads((kept / "about.json").read_text())
    assert told["licence"] == "MIT"
    assert set(told["sha256"]) == {"one.jpg", "two.jpg"}
    for path in served.folder.iterdir():
        path.unlink()
    assert public_cells(False, folder=kept) == cells  # no network any more


def test_a_file_that_is_another_one_is_refused(served, tmp_path) -> None:
    (served.folder / "two.jpg").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"two.jpg .* checksum differs"):
        public_cells(True, folder=tmp_path / "kept")
    assert not (tmp_path / "kept" / "about.json").exists()
    assert not (tmp_path / "kept" / "fields" / "two.jpg").exists()


def test_no_network_is_one_sentence(served, tmp_path) -> None:
    (served.folder / "one.jpg").unlink()
    with pytest.raises(CytoDiffusionError, match="could not be fetched") as caught:
        public_cells(True, folder=tmp_path / "kept")
    assert "\n" not in str(caught.value)


def test_the_list_has_cells_for_the_trials_that_are_proposed() -> None:
    cells = listed()
    names = [cell.class_name for cell in cells]
    fewest = min(names.count(name) for name in set(names))
    assert 2 * fewest * len(set(names)) >= TRIALS
    assert len({cell.sha256 for cell in cells}) == len(cells)
    assert all(len(cell.sha256) == 64 for cell in cells)


def test_a_folder_of_that_name_is_a_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_public(Path("public"))
    Path("public").mkdir()
    assert not is_public(Path("public"))


@pytest.mark.data
def test_the_checksums_are_those_of_the_published_fields(data_root) -> None:
    for cell in listed():
        path = data_root / "bccd" / "images" / f"{cell.image}.jpg"
        assert hashlib.sha256(path.read_bytes()).hexdigest() == cell.sha256
