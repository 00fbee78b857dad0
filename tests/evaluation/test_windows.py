"""Windows cut for classifiers: of the asked scale, measured once, as ``classify`` cuts them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.cells import single_cell as module
from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.datasets import Record
from cytodiffusion.evaluation.cells import score
from cytodiffusion.evaluation.windows import Frames
from cytodiffusion.model import load_bundle
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.single_cells import classify_images


def records_of(folder: Path) -> list[Record]:
    return [Record(path, path.parent.name, "test") for path in sorted(folder.rglob("*.png"))]


def test_windows_have_the_asked_scale(tmp_path) -> None:
    records = records_of(write_discs(tmp_path, {"test": 1}, ("red",)))
    near = Frames(records, PIXEL_SIZE_UM).cut(records, 32, 20.0).pixels[0]
    far = Frames(records, PIXEL_SIZE_UM / 2).cut(records, 32, 20.0).pixels[0]

    def red(pixels) -> float:
        return float((pixels[..., 1] < 150).mean())

    # half the pixel size: the whole image fills the middle of the window
    assert 0.1 < red(near) < 0.4
    assert red(far[8:24, 8:24]) == pytest.approx(red(near), rel=0.2)


def test_each_image_is_measured_once_for_all_classifiers(tmp_path, monkeypatch) -> None:
    records = records_of(write_discs(tmp_path, {"test": 3}, ("red", "blue")))
    measured, found = [], []
    for name, calls in (("_measured", measured), ("_nucleus_distance_um", found)):
        real = getattr(module, name)

        def counted(*given, real=real, calls=calls):
            calls.append(given)
            return real(*given)

        monkeypatch.setattr(module, name, counted)
    frames = Frames([*records, records[0]])
    one = frames.cut(records, 32, 20.0)
    other = frames.cut([records[0], records[4], records[0]], 16, 20.0)
    assert len(measured) == len(records)
    assert len(found) == len(records)
    assert one.pixels.shape == (6, 32, 32, 3)
    assert other.pixels.shape == (3, 16, 16, 3)
    # a part of a set has the scale of the whole set
    np.testing.assert_array_equal(frames.cut(records[4:5], 32, 20.0).pixels[0], one.pixels[4])


def test_unreadable_images_are_named(tmp_path) -> None:
    records = records_of(write_discs(tmp_path, {"test": 1}, ("red",)))
    (tmp_path / "broken.png").write_bytes(b"no image")
    records.append(Record(tmp_path / "broken.png", "red", "test"))
    cut = Frames(records).cut(records, 32, 20.0)
    assert cut.records == records[:1]
    (sentence,) = cut.skipped
    assert "broken.png" in sentence
    nothing = Frames(records[1:]).cut(records[1:], 32, 20.0)
    assert nothing.pixels.shape == (0, 32, 32, 3)
    assert nothing.backgrounds.shape == (0, 3)


def test_evaluate_and_classify_see_the_same(tmp_path) -> None:
    records = records_of(write_discs(tmp_path / "d", {"test": 2}))
    model = load_bundle(tiny_bundle(tmp_path / "m", ("blue", "green", "red")))
    settings = ClassifySettings(trials=4)
    scored = score(model, records, settings)
    table, _ = classify_images([r.path for r in records], model, settings)
    columns = [f"p_{name}" for name in model.class_names]
    np.testing.assert_allclose(scored.result.posterior, table[columns], atol=1e-5)
