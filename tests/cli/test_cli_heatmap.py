"""Command ``heatmap``: what it writes, and one sentence for bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture
from toys import COLORS, PIXEL_SIZE_UM, disc

from cytodiffusion.cli import main
from cytodiffusion.counterfactual.figures import COLOURS, heatmap_figure, overlay_rgba, save_figure
from cytodiffusion.counterfactual.heatmap import HeatmapSettings, iter_heatmaps
from cytodiffusion.image.labels import write_labels_tif
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.testing import tiny_bundle

Call = Callable[..., tuple[int, str, str]]
QUICK = ("--method", "published", "--trials", 1, "--quiet")
SCALE = ("--pixel-size", PIXEL_SIZE_UM)


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Call:
    """Call the command in this process: exit code, output, errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exited:
            main(["heatmap", *(str(a) for a in arguments)])
        out, err = capfd.readouterr()
        return int(exited.value.code or 0), out, err

    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("tiny") / "m", ["blue", "green", "red"])


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Cell 4 in the middle and cell 9 in the corner, and their labels."""
    rng = np.random.default_rng(2)
    image = np.full((100, 120, 3), 235, np.uint8)
    labels = np.zeros((100, 120), np.int32)
    yy, xx = np.mgrid[:100, :120]
    for label, colour, y, x in ((4, "blue", 45, 50), (9, "green", 95, 115)):
        inside = (yy - y) ** 2 + (xx - x) ** 2 < 11**2
        image[inside] = COLORS[colour]
        labels[inside] = label
    image = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    folder = tmp_path_factory.mktemp("field")
    Picture.fromarray(image).save(folder / "field.png")
    write_labels_tif(folder / "labels.tif", labels)
    return folder / "field.png", folder / "labels.tif"


def test_a_cell_of_a_field(
    call: Call, model: Path, field: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    asked = (field[0], "--labels", field[1], "--cell", 4, "-m", model, "-o", out, *SCALE)
    code, printed, err = call(*asked, "--json", *QUICK, "--threshold", 2.5)
    assert code == 0, err
    assert sorted(p.name for p in out.iterdir()) == ["figure.png", "heatmap.json", "heatmap.tif"]
    record = json.loads((out / "heatmap.json").read_text())
    assert json.loads(printed)["target"] == record["target"] != record["predicted"]
    assert record["settings"]["sigmas"] == 2.5
    assert record["settings"]["trials"] == 32  # one round of all levels, views and signs
    assert 0 < record["energy_in_mask"] < 1
    assert record["area_of_mask"] == pytest.approx(np.pi * 11**2 / 48**2, abs=0.02)
    assert -1 <= record["convergence"] <= 1
    assert {"model", "seed", "versions", "cell", "image", "probability"} <= set(record)
    with tifffile.TiffFile(out / "heatmap.tif") as tif:
        values = tif.asarray()
        assert 'PositionX="27.0"' in tif.ome_metadata
        assert 'PositionY="22.0"' in tif.ome_metadata
        assert "&quot;offset_y&quot;: 22" in tif.ome_metadata
    assert (values.shape, values.dtype) == ((48, 48), np.float32)
    assert values.min() < 0 < values.max()
    assert record["offset"] == {"y": 22, "x": 27}
    with Picture.open(out / "figure.png") as figure:
        assert figure.size[0] > 1500
    again = tmp_path / "again"
    assert call(*asked[:-3], again, *SCALE, *QUICK, "--threshold", 2.5)[0] == 0
    assert (again / "heatmap.tif").read_bytes() == (out / "heatmap.tif").read_bytes()


def test_a_cell_at_the_border(
    call: Call, model: Path, field: tuple[Path, Path], tmp_path: Path
) -> None:
    asked = (field[0], "-l", field[1], "--cell", 9, "-m", model, "-o", tmp_path / "o", *SCALE)
    code, _, err = call(*asked, "--trials", 1)
    assert code == 0
    assert "touches the border" in " ".join(err.split())
    offset = json.loads((tmp_path / "o" / "heatmap.json").read_text())["offset"]
    values = tifffile.imread(tmp_path / "o" / "heatmap.tif")
    assert (offset["y"] + values.shape[0], offset["x"] + values.shape[1]) == (100, 120)


def test_a_single_cell_image_and_every_class(call: Call, model: Path, tmp_path: Path) -> None:
    picture = tmp_path / "cell.png"
    Picture.fromarray(disc(COLORS["red"], np.random.default_rng(1))).save(picture)
    out = tmp_path / "out"
    code, printed, err = call(
        picture, "-m", model, "-o", out, *SCALE, *QUICK, "--target", "all", "--json"
    )
    assert code == 0, err
    record = json.loads((out / "heatmap.json").read_text())
    others = [entry["target"] for entry in record["all_classes"]]
    assert sorted([*others, record["predicted"]]) == ["blue", "green", "red"]
    assert (out / "all_classes.png").is_file()
    maps = {p.name for p in out.glob("heatmap-*.tif")}
    assert maps == {f"heatmap-{name}.tif" for name in others}
    assert json.loads(printed)["ok"] is True


def test_bad_input_is_said_in_a_sentence(
    call: Call, model: Path, field: tuple[Path, Path], tmp_path: Path
) -> None:
    picture = tmp_path / "cell.png"
    Picture.fromarray(disc(COLORS["red"], np.random.default_rng(1))).save(picture)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    alone = tiny_bundle(tmp_path / "alone", ["cell"])
    good = ("-m", model, "-o", tmp_path / "o", *SCALE)
    elsewhere = ("-m", model, "-o", tmp_path / "fine", *SCALE)
    assert call(picture, *elsewhere, *QUICK)[0] == 0
    taken = json.loads((tmp_path / "fine" / "heatmap.json").read_text())["predicted"]
    in_field = (field[0], "-l", field[1])
    for asked, sentence in (
        ((picture, *good, "--target", taken), f"target {taken} is the class"),
        ((picture, *good, "--target", "blast"), "knows no class 'blast'; it knows blue"),
        ((*in_field, "--cell", 5, *good), "no cell 5"),
        ((*in_field, *good), "2 cells"),
        ((picture, "--cell", 3, *good), "--labels"),
        ((tmp_path / "none.png", *good), "does not exist"),
        ((tmp_path / "broken.png", *good), "broken.png"),
        ((picture, "-m", alone, "-o", tmp_path / "o", *SCALE), "one class only"),
        ((picture, *good, "--views", 3), "1, 2, 4 or 8"),
        ((picture, *good, "--trials", 0), "greater than or equal to 1"),
        ((picture, *good, "--threshold", -1), "greater than or equal to 0"),
    ):
        code, _, err = call(*asked)
        assert code == 1, sentence
        assert sentence in " ".join(err.split())
        assert "Traceback" not in err
    assert not (tmp_path / "o").exists()


def test_figures_are_centred_on_zero_and_save_in_many_formats(model: Path, tmp_path: Path) -> None:
    bundle = load_bundle(model, device="cpu")
    crop = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    settings = HeatmapSettings(method="published", trials=1)
    (found,) = iter_heatmaps(crop, bundle, [1], predicted=[0], settings=settings)
    figure = heatmap_figure(found, mask=np.pad(np.ones((16, 16)), 8))
    shown = figure.axes[1].images[0]
    low, high = shown.get_clim()
    assert -low == high == pytest.approx(np.abs(found.values).max())
    assert shown.get_cmap().name == COLOURS
    assert [axes.get_title() for axes in figure.axes[:2]] == ["taken for blue", "towards green"]
    for name in ("f.png", "f.tif", "f.svg", "f.pdf"):
        assert save_figure(figure, tmp_path / name, dpi=50).stat().st_size > 1000
    colours = overlay_rgba(np.float32([-1, 0, 1]), 1.0)
    assert colours[1, 3] == 0 < colours[0, 3]
    assert colours[0, 2] > colours[0, 0]  # darker is blue
    assert colours[2, 0] > colours[2, 2]  # brighter is red


def test_a_cell_is_drawn_as_its_target_and_the_change_is_said(
    call: Call, model: Path, field: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    asked = (field[0], "-l", field[1], "--cell", 4, "-m", model, "-o", out, *SCALE)
    code, printed, err = call(*asked, "--versions", 2, "--target", "red", "--json", "--quiet")
    assert code == 0, err
    record = json.loads((out / "heatmap.json").read_text())
    assert (record["settings"]["method"], record["settings"]["versions"]) == ("edited", 2)
    assert "red" in record["sentence"]
    assert json.loads(printed)["sentence"] == record["sentence"]
    with Picture.open(out / "figure.png") as figure:
        assert figure.size[0] > 2000
    code, _, err = call(*asked, "--versions", 3)
    assert code == 1
    assert "2, 4 or 8" in " ".join(err.split())


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of single-cell images, one of which cannot be read."""
    folder = tmp_path_factory.mktemp("cells")
    for number in range(6):
        picture = disc(COLORS["red"], np.random.default_rng(number))
        Picture.fromarray(picture).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def test_cells_of_a_class_and_their_mean(
    call: Call, model: Path, discs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    asked = (discs, "-m", model, "-o", out, *SCALE, "--versions", 2, "--json")
    found = {}
    for name in ("blue", "green", "red"):  # a model of random weights takes them for any
        code, printed, err = call(*asked, "--class", name, "--most", 4)
        found[name] = (code, err)
        if code == 0:
            break
        assert "at least 3 cells" in err
    assert code == 0, found
    record = json.loads(printed)
    assert record["predicted"] == name
    assert 3 <= record["cells"] <= 4
    assert {"mean.json", "mean.png", "mean.tif"} <= {p.name for p in out.iterdir()}
    folders = [p for p in out.iterdir() if p.is_dir()]
    assert len(folders) == record["cells"]
    assert all((p / "heatmap.tif").is_file() for p in folders)
    assert "broken" in err


def test_cells_of_a_class_in_a_labelled_field(
    call: Call, model: Path, field: tuple[Path, Path], tmp_path: Path
) -> None:
    asked = (field[0], "-l", field[1], "-m", model, "-o", tmp_path / "o", *SCALE, "-q")
    code, _, err = call(*asked, "--class", "blue")
    assert code != 0
    assert "of 2 are taken for blue" in " ".join(err.split())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--class", "violet"), "knows no class"),
        (("--class", "blue", "--target", "blue"), "another target"),
        (("--class", "blue", "--target", "all"), "one target"),
        (("--class", "blue", "--cell", "1"), "--cell or --class"),
        (("--class", "blue", "--most", "2"), "at least 3"),
        (("--class", "blue", "--method", "published"), "edited heatmaps"),
        (("--class", "blue", "--saliency"), "one cell"),
        (("--most", "5"), "goes with --class"),
        ((), "is a folder"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(
    call: Call, model: Path, discs: Path, tmp_path: Path, options: tuple[str, ...], sentence: str
) -> None:
    code, _, err = call(discs, "-m", model, "-o", tmp_path / "o", *SCALE, "-q", *options)
    assert code != 0
    assert sentence in " ".join(err.split())
    assert not (tmp_path / "o").exists()


def test_saliency_is_written_beside(call: Call, model: Path, tmp_path: Path) -> None:
    picture = tmp_path / "cell.png"
    Picture.fromarray(disc(COLORS["red"], np.random.default_rng(1))).save(picture)
    out = tmp_path / "out"
    code, _, err = call(picture, "-m", model, "-o", out, *SCALE, *QUICK, "--saliency")
    assert code == 0, err
    record = json.loads((out / "heatmap.json").read_text())
    assert record["saliency"]["class"] == record["predicted"]
    assert tifffile.imread(out / "saliency.tif").shape == tifffile.imread(out / "heatmap.tif").shape
    assert (out / "saliency.png").is_file()
    listed = {entry["path"] for entry in record["outputs"]}
    assert {"saliency.tif", "saliency.png"} <= listed
