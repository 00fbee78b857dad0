"""Pictures and labels with their pixel size and a note, as OME-TIFF."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from cytodiffusion.errors import InputError
from cytodiffusion.image.calibrated_tiff import Calibration, read_calibration, write_calibrated

NOTE = {"role": "class", "list": [1, 2], "name": "a <b> & \u00e4"}


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((20, 30), np.int32), ((20, 30, 3), np.uint8), ((20, 30), np.float32), ((20, 30), bool)],
)
def test_pixels_size_and_note_come_back(tmp_path, shape, dtype):
    rng = np.random.default_rng(0)
    pixels = (rng.random(shape) * 100).astype(dtype)
    path = write_calibrated(tmp_path / "a.tif", pixels, 0.125, NOTE)
    np.testing.assert_array_equal(tifffile.imread(path), pixels)
    found = read_calibration(path)
    assert found.pixel_size_um == pytest.approx(0.125)
    assert found.note == NOTE
    again = write_calibrated(tmp_path / "b.tif", pixels, 0.125, NOTE)
    assert path.read_bytes() == again.read_bytes()


def test_without_a_pixel_size(tmp_path):
    path = write_calibrated(tmp_path / "a.tif", np.zeros((4, 4), np.int32), None, NOTE)
    assert read_calibration(path) == Calibration(None, NOTE)


def test_files_of_others_say_nothing(tmp_path):
    tifffile.imwrite(tmp_path / "plain.tif", np.zeros((4, 4), np.uint8))
    about = {"Description": "by a microscope", "PhysicalSizeX": 0.1}
    tifffile.imwrite(tmp_path / "ome.ome.tif", np.zeros((4, 4), np.uint8), metadata=about)
    (tmp_path / "text.tif").write_text("no TIFF")
    for name in ("plain.tif", "ome.ome.tif", "text.tif", "missing.tif"):
        assert read_calibration(tmp_path / name) == Calibration()


def test_only_flat_pictures(tmp_path):
    with pytest.raises(InputError, match="flat"):
        write_calibrated(tmp_path / "a.tif", np.zeros((2, 3, 4, 5)))
