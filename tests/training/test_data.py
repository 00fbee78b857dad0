"""Training data: folders, tables, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from toys import PIXEL_SIZE_UM, SIDE, write_discs

from cytodiffusion.datasets.splits import split_by_name
from cytodiffusion.errors import Cancelled, InputError
from cytodiffusion.training.data import (
    BalancedSampler,
    CellSet,
    Record,
    class_names,
    find_records,
    generator_for,
    load_cells,
)


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("data"), {"train": 3, "val": 2, "test": 1})


def test_folders_of_splits(discs: Path) -> None:
    records = find_records(discs)
    assert len(records) == 18
    assert class_names(records) == ["blue", "green", "red"]
    assert {r.split for r in records if "val" in r.path.parts} == {"val"}


def test_a_folder_per_class_is_split_by_names(discs: Path) -> None:
    records = find_records(discs / "train")
    assert {r.label for r in records} == {"blue", "green", "red"}
    for label in ("blue", "green", "red"):  # few as they are, every class is on both sides
        assert {r.split for r in records if r.label == label} == {"train", "val"}
    splits = [split_by_name(f"{n}.png") for n in range(2000)]
    assert 0.12 < splits.count("val") / 2000 < 0.18


def test_hidden_files_and_folders_are_left_out(tmp_path: Path) -> None:
    folder = write_discs(tmp_path, {"train": 1})
    (folder / "train" / ".cache").mkdir()
    (folder / "train" / ".cache" / "x.png").touch()
    (folder / "train" / "red" / "._000.png").touch()
    (folder / "train" / "red" / "notes.txt").touch()
    assert len(find_records(folder)) == 3


def test_a_table(discs: Path, tmp_path: Path) -> None:
    table = tmp_path / "cells.csv"
    inside = tmp_path / "000.png"
    inside.write_bytes((discs / "train" / "red" / "000.png").read_bytes())
    table.write_text(f"path,class,split\n000.png,red,train\n{discs}/val/blue/000.png,,train\n")
    records = find_records(table)
    assert records[0].path == inside
    assert [r.label for r in records] == ["red", None]
    table.write_text("path,class\n000.png,red\n")
    assert find_records(table)[0].split == split_by_name("000.png")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("picture,class\na.png,red\n", "path"),
        ("path,class,split\na.png,red,often\n", "'often'"),
        ("path,class\n", "no images"),
        ("", "CSV"),
        ('path,class\n"a', "CSV"),
        ("path,class\na,b,c,d\ne,f\ng,h,i,j,k,l\n", "."),
    ],
)
def test_a_wrong_table_is_told(tmp_path: Path, content: str, said: str) -> None:
    table = tmp_path / "cells.csv"
    table.write_text(content)
    with pytest.raises(InputError, match=said):
        find_records(table)


def test_wrong_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither"):
        find_records(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no images"):
        find_records(tmp_path)
    folder = write_discs(tmp_path / "one", {"train": 1, "val": 1}, ("red",))
    with pytest.raises(InputError, match=r"two classes.*red"):
        class_names(find_records(folder))
    (folder / "train" / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no images"):
        find_records(folder)


def test_a_class_name_that_would_break_the_table_is_told(tmp_path: Path) -> None:
    folder = write_discs(tmp_path, {"train": 1}, ("red", "blue"))
    (folder / "train" / "red").rename(folder / "train" / "red|cell")
    with pytest.raises(InputError, match="must not contain"):
        class_names(find_records(folder))


def test_cells_are_read_with_their_surroundings(discs: Path, tmp_path: Path) -> None:
    records = find_records(discs)[:4]
    broken = tmp_path / "broken.png"
    broken.touch()
    records.append(type(records[0])(broken, "red", "train"))
    records.append(type(records[0])(records[0].path, None, "train"))
    names = ["blue", "green", "red"]
    cells, skipped = load_cells(
        records, names, size=24, window_um=20.0, pixel_size_um=PIXEL_SIZE_UM
    )
    assert len(cells) == 5
    assert cells.pixels.shape == (5, 3, 32, 32)
    assert cells.labels.tolist() == [*(names.index(r.label) for r in records[:4] if r.label), -1]
    np.testing.assert_allclose(cells.backgrounds, 235, atol=4)
    windows = cells.windows(24)
    assert windows.shape == (5, 24, 24, 3)
    assert windows.flags.c_contiguous
    assert windows[0, 12, 12, 2] > windows[0, 12, 12, 0] + 50  # the disc is blue and in the middle
    assert abs(int(windows[0, 0, 0, 0]) - 235) < 25
    assert len(skipped) == 1
    assert "broken.png" in skipped[0]
    assert SIDE == 48


def test_nothing_readable_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "data" / "train" / "red" / "0.png"
    broken.parent.mkdir(parents=True)
    broken.touch()
    records = find_records(tmp_path / "data")
    with pytest.raises(InputError, match="None of the 1 images"):
        load_cells(records, ["red"], size=24, window_um=20.0, pixel_size_um=0.5)


def test_reading_can_be_cancelled(discs: Path) -> None:
    def cancel(share: float, message: str) -> None:
        raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        load_cells(
            find_records(discs), ["blue", "green", "red"], size=24, window_um=20.0,
            pixel_size_um=0.5, progress=cancel,
        )  # fmt: skip


def test_batches_depend_on_seed_and_step_only() -> None:
    labels = torch.tensor([0] * 90 + [1] * 10)
    sampler = BalancedSampler(labels, 16, seed=3)
    assert torch.equal(sampler(7), BalancedSampler(labels, 16, seed=3)(7))
    assert not torch.equal(sampler(7), sampler(8))
    assert not torch.equal(sampler(7), BalancedSampler(labels, 16, seed=4)(7))
    assert len(torch.unique(sampler(7))) == 16


@pytest.mark.parametrize(("balance", "low", "high"), [(0, 0.05, 0.15), (1, 0.42, 0.58)])
def test_balance_lifts_rare_classes(balance: float, low: float, high: float) -> None:
    labels = torch.tensor([0] * 900 + [1] * 100)
    sampler = BalancedSampler(labels, 20, seed=0, balance=balance)
    drawn = torch.cat([labels[sampler(step)] for step in range(100)])
    assert low < drawn.float().mean() < high


def test_fewer_crops_than_a_batch_are_drawn_again() -> None:
    index = BalancedSampler(torch.tensor([0, 0, 1]), 16, seed=0)(0)
    assert len(index) == 16
    assert set(index.tolist()) <= {0, 1, 2}


def test_generators_are_told_apart_by_purpose() -> None:
    seeds = {generator_for(s, n, p).initial_seed() for s in (0, 1) for n in (0, 1) for p in "ab"}
    assert len(seeds) == 8


def test_no_laboratory_drowns_another() -> None:
    labels = torch.tensor([0] * 1100 + [1] * 1100)
    laboratories = (["large"] * 1000 + ["small"] * 100) * 2
    shares = {}
    for balance in (0.0, 0.5, 1.0):
        sampler = BalancedSampler(
            labels, 50, 0, 1.0, laboratories, [""] * 2200, laboratory_balance=balance
        )
        drawn = torch.cat([sampler(step) for step in range(60)]).tolist()
        shares[balance] = sum(laboratories[i] == "small" for i in drawn) / len(drawn)
        assert 0.45 < labels[drawn].float().mean() < 0.55, "classes stay even"
    assert shares[0.0] == pytest.approx(1 / 11, abs=0.03)
    assert shares[0.5] == pytest.approx(0.24, abs=0.04)
    assert shares[1.0] == pytest.approx(0.5, abs=0.05)


def test_slides_are_evened_within_their_laboratory() -> None:
    labels = torch.zeros(400, dtype=torch.int64)
    laboratories = ["a"] * 200 + ["b"] * 200
    slides = ["a1"] * 190 + ["a2"] * 10 + ["b1"] * 200
    sampler = BalancedSampler(labels, 5, 0, 0.5, laboratories, slides, laboratory_balance=1.0)
    drawn = torch.cat([sampler(step) for step in range(400)]).tolist()
    counts = {name: sum(slides[i] == name for i in drawn) / len(drawn) for name in set(slides)}
    assert counts["b1"] == pytest.approx(0.5, abs=0.05)
    assert counts["a1"] == pytest.approx(0.25, abs=0.05)


def test_each_image_at_its_own_pixel_size(tmp_path: Path) -> None:
    records = []
    for number, (pixel_size, side) in enumerate(((0.5, 40), (0.25, 80))):
        image = np.full((side, side, 3), 235, np.uint8)
        cv2.circle(image, (side // 2, side // 2), round(4 / pixel_size), (90, 20, 120), -1)
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
        records.append(
            Record(
                tmp_path / f"{number}.png", "x", "train", laboratory="l", pixel_size_um=pixel_size
            )
        )
    cells, _ = load_cells(records, ["x"], size=24, window_um=20.0, pixel_size_um=None)
    widths = (cells.pixels[:, :, 16, :].float().mean(1) < 180).sum(1)
    assert abs(int(widths[0]) - int(widths[1])) <= 1
    assert cells.laboratories == ["l", "l"]


def test_a_white_cell_beside_it_is_not_taken_for_a_cell_in_the_middle(tmp_path: Path) -> None:
    image = np.full((150, 150, 3), 235, np.uint8)
    cv2.circle(image, (75, 75), 17, (150, 170, 225), -1)  # BGR: a red cell
    cv2.circle(image, (115, 75), 22, (190, 150, 200), -1)
    cv2.circle(image, (115, 75), 15, (120, 30, 90), -1)  # a nucleus
    cv2.imwrite(str(tmp_path / "a.png"), image)
    crops = {}
    for said in (False, True):
        record = Record(tmp_path / "a.png", "x", "train", pixel_size_um=0.2, centred=said)
        cells, _ = load_cells([record], ["x"], size=48, window_um=20.0, pixel_size_um=None)
        crops[said] = cells.windows(48)[0, 24, 24].astype(int)
    assert crops[False][1] < 80, "by itself, the image is thought to be about the white cell"
    assert crops[True][1] > 120, "the red cell in the middle"


def test_a_calibration_may_be_that_of_one_laboratory() -> None:
    cells = CellSet(
        torch.zeros(4, 3, 8, 8, dtype=torch.uint8),
        torch.tensor([0, 1, -1, 0]),
        torch.zeros(4, 3),
        ["a", "b", "c", "d"],
        laboratories=["here", "there", "elsewhere", "here"],
    )
    assert cells.of_laboratory("") is cells
    assert cells.of_laboratory("here").paths == ["a", "d"]
    for name in ("elsewhere", "nowhere"):  # one has no class, the other no cell
        with pytest.raises(InputError, match="elsewhere, here, there"):
            cells.of_laboratory(name)
