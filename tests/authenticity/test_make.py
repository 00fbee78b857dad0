"""Making a test: the same for real and synthetic cells, and refused where it cannot be."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from toys import PIXEL_SIZE_UM, write_discs

from cytodiffusion.authenticity import AuthenticitySettings, AuthenticityTest
from cytodiffusion.authenticity.leaks import leaks
from cytodiffusion.authenticity.make import common_view, fits, make_test
from cytodiffusion.authenticity.sources import RealCells, Window, images_by_class, shared_classes
from cytodiffusion.authenticity.standardise import (
    PAPER,
    decode,
    levelled,
    present,
)
from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.files.synthetic_mark import write_synthetic_png
from cytodiffusion.image.stain import estimate_background
from cytodiffusion.model.testing import tiny_bundle
from cytodiffusion.settings import make_settings

NAMES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A model, real cells, and other cells of the same kind in the guise of samples."""
    folder = tmp_path_factory.mktemp("made")
    tiny_bundle(folder / "model", NAMES, size=64)
    write_discs(folder / "data", {"train": 20, "test": 8})
    rng = np.random.default_rng(5)
    for path in sorted((folder / "data" / "train").rglob("*.png"))[::2]:
        name = path.parent.name
        pixels = np.asarray(Picture.open(path))
        target = folder / "generated" / name / f"{rng.integers(1 << 30)}.png"
        write_synthetic_png(target, pixels, {}, PIXEL_SIZE_UM)
        path.unlink()
    return folder


def settings(made: Path, output: Path, **changes) -> AuthenticitySettings:
    values = {"synthetic": made / "generated", "trials": 36, "model": str(made / "model")}
    values |= {"pixel_size_um": PIXEL_SIZE_UM, "device": "cpu", "steps": 2}
    return make_settings(
        AuthenticitySettings, {"real": made / "data", "output": output, **values, **changes}
    )


def test_a_test_is_balanced_and_its_file_tells_nothing(made, tmp_path) -> None:
    path = make_test(settings(made, tmp_path / "a.sqlite"))
    with AuthenticityTest(path) as test:
        truth = [test.truth(cell) for cell in range(len(test))]
        assert set(Counter(truth).values()) == {6}
        assert len(truth) == 36
        images = [test.image(cell) for cell in range(36)]
        assert {decode(image).shape for image in images} == {(48, 48, 3)}
        assert len({image for image in images}) == 36
        confidences = test.rows("SELECT confidence FROM cells")
        assert all(0 <= share <= 1 for (share,) in confidences)
        # samples of an ideal generator: no simple measure tells them
        assert min(row["p"] for row in test.record["leaks"]) > 0.05 / len(test.record["leaks"])


def test_the_seed_decides_everything(made, tmp_path) -> None:
    def cells(name: str, seed: int) -> list[tuple]:
        path = make_test(settings(made, tmp_path / name, seed=seed, trials=12))
        with AuthenticityTest(path) as test:
            return test.rows("SELECT image, synthetic, class FROM cells ORDER BY id")

    first = cells("a.sqlite", 1)
    assert first == cells("b.sqlite", 1)
    assert first != cells("c.sqlite", 2)


def test_the_model_generates_where_no_folder_is_given(made, tmp_path) -> None:
    path = make_test(settings(made, tmp_path / "a.sqlite", synthetic=None, trials=12))
    with AuthenticityTest(path) as test:
        sources = test.rows("SELECT source FROM cells WHERE synthetic")
        assert all(source.startswith("tiny 0, ") for (source,) in sources)
        assert len(set(sources)) == 6
        worst = test.record["leaks"][0]
        assert abs(worst["auc"] - 0.5) > 0.4  # noise is not hard to tell from discs


def test_what_does_not_fit_is_said(made, tmp_path) -> None:
    out = tmp_path / "a.sqlite"
    with pytest.raises(InputError, match="only 18 blue, 18 green, 18 red; at most 108 trials"):
        make_test(settings(made, out, trials=120))
    with pytest.raises(InputError, match=r"Too few synthetic cells: .* only 10 blue"):
        make_test(settings(made, out, trials=90))
    with pytest.raises(InputError, match="no real cells of the class 'purple'"):
        make_test(settings(made, out, classes=("purple",)))
    with pytest.raises(InputError, match="at least 6"):
        make_test(settings(made, out, trials=4))
    with pytest.raises(InputError, match="no labelled images in the split val"):
        images_by_class(write_discs(tmp_path / "tested", {"test": 1}), "val")
    assert not out.exists()
    out.touch()
    with pytest.raises(InputError, match="exists already"):
        make_test(settings(made, out))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trials": 0}, "at least 2"),
        ({"trials": 7}, "6 or 8"),
        ({"trials": 10**6}, "1,111 hours"),
        ({"seed": -1}, "seed"),
        ({"steps": 1}, "steps cannot be 1"),
        ({"guidance": 99.0}, "guidance"),
        ({"split": "half"}, "split"),
        ({"pixel_size_um": -1.0}, "pixel size"),
    ],
)
def test_settings_that_make_no_sense_are_refused(made, tmp_path, changes, said) -> None:
    with pytest.raises(InputError, match=said):
        settings(made, tmp_path / "a.sqlite", **changes)
    with pytest.raises(InputError, match=r"ends in \.sqlite"):
        settings(made, tmp_path / "a.csv")


def test_cancelling_leaves_nothing(made, tmp_path) -> None:
    def stop(fraction: float, message: str) -> None:
        if fraction > 0.3:
            raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        make_test(settings(made, tmp_path / "a.sqlite", synthetic=None), stop)
    assert list(tmp_path.iterdir()) == []


def test_classes_are_those_of_both_kinds() -> None:
    assert shared_classes(["Red cell", "blast"], ["red cell", "platelet"]) == ["Red cell"]
    with pytest.raises(InputError, match="No class has both"):
        shared_classes(["a"], ["b"])
    with pytest.raises(InputError, match="no synthetic cells of the class 'a'"):
        shared_classes(["a", "c"], ["b", "c"], ["a"])


def test_real_cells_that_say_they_are_synthetic_are_left_out(made, tmp_path) -> None:
    good = next((made / "data" / "test" / "red").iterdir())
    fake = write_synthetic_png(tmp_path / "f.png", np.asarray(Picture.open(good)), {})
    source = RealCells({"red": [good, fake]}, 0, PIXEL_SIZE_UM)
    assert [w.source for w in source.take({"red": 2})] == [str(good)]
    assert "says that it is synthetic" in source.skipped[0]


def window(side: int, um: float, centre: float | None = None) -> Window:
    middle = (side - 1) / 2 if centre is None else centre
    pixels = np.zeros((side, side, 3), np.uint8)
    return Window(pixels, um / side, (middle, middle), np.full(3, 235, np.float32), "a", "")


def test_the_common_view_enlarges_and_mirrors_nothing() -> None:
    samples = [window(128, 20)]
    view = common_view([window(264, 26.4)] * 10, samples)
    assert (view.window_um, view.side) == (20, 128)
    coarse = common_view([window(80, 24)] * 10, samples)
    assert (coarse.window_um, coarse.side) == (20, 66)
    narrow = common_view([window(150, 15)] * 10, samples)
    assert (narrow.window_um, narrow.side) == (15, 96)
    # one that lies at the border is left out, it does not narrow all
    off = window(264, 26.4, centre=60)
    view = common_view([window(264, 26.4)] * 19 + [off], samples)
    assert view.window_um == 20
    assert not fits(off, view)
    assert fits(window(264, 26.4), view)
    with pytest.raises(InputError, match="only 5 um around the cell"):
        common_view([window(50, 5)] * 4, samples)
    with pytest.raises(InputError, match="only 30 pixels"):
        common_view([window(30, 20)] * 4, samples)


@pytest.mark.parametrize("colour", [(235, 235, 235), (205, 190, 215), (250, 248, 255)])
def test_the_empty_slide_has_one_colour(colour) -> None:
    rng = np.random.default_rng(0)
    pixels = np.full((64, 64, 3), colour, np.uint8)
    pixels[20:44, 20:44] = (120, 60, 140)
    pixels = np.clip(pixels + rng.normal(0, 2, pixels.shape), 0, 255).astype(np.uint8)
    # the colour that is known from elsewhere may be off a little
    level = levelled(pixels, np.array(colour) * 0.97)
    assert level[:16].mean(axis=(0, 1)) == pytest.approx([PAPER] * 3, abs=1.2)
    image = present(pixels, colour, 5)
    assert np.abs(estimate_background(decode(image)) - PAPER).max() <= 1.6


def test_leaks_find_what_they_look_for() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(200, 20, (40, 48, 48, 3)).clip(0, 255).astype(np.uint8)
    synthetic = np.arange(40) % 2 == 1
    plain = [present(image, (235,) * 3, 0) for image in images]
    assert min(row["p"] for row in leaks(plain, synthetic)) > 0.005
    smooth = images.copy()
    smooth[synthetic] = (images[synthetic] // 4) * 4
    smooth[synthetic, 1:] = smooth[synthetic, 1:] // 2 + smooth[synthetic, :-1] // 2
    found = {
        row["measure"]: row for row in leaks([present(i, (235,) * 3, 0) for i in smooth], synthetic)
    }
    assert found["sharpness"]["auc"] < 0.05
    assert found["file size"]["auc"] < 0.05
