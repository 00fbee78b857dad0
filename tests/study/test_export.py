"""Exports hold what models and people say, each in its own column."""

from __future__ import annotations

import importlib.util
import json
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Picture
from studies import NAMES, FakeModel, fill, made_up

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import InputError
from cytodiffusion.study import Study
from cytodiffusion.study import export as exporting
from cytodiffusion.study.export import export_study

Make = Callable[..., Study]
FIRST = ["image", "label", "predicted", "human", "observer", "effective", "effective_source"]


@pytest.fixture
def study(make: Make, tmp_path: Path) -> Study:
    """Two images; a class from people on two cells."""
    made = make()
    fill(made, tmp_path / "more" / "b.png", 4, seed=1)
    made.annotate(("a.png", 1), "monocyte", "Ada")
    made.add_class("blast / odd?", "#112233")
    made.annotate(("b.png", 2), "blast / odd?", "Bob")
    return made


def test_a_table(study: Study, tmp_path: Path) -> None:
    (path,), notes = export_study(study, tmp_path / "out" / "cells.csv")
    frame = pd.read_csv(path, keep_default_na=False)
    assert notes == []
    assert list(frame.columns[:7]) == FIRST
    assert list(frame.columns[7:10]) == ["y", "x", "area_um2"]
    assert list(frame.columns[-3:]) == [f"p_{name}" for name in NAMES]
    assert len(frame) == 10
    row = frame[(frame["image"] == "b.png") & (frame["label"] == 2)].iloc[0]
    assert (row["human"], row["observer"]) == ("blast / odd?", "Bob")
    assert (row["effective"], row["effective_source"]) == ("blast / odd?", "human")
    assert row["predicted"] in NAMES
    (one,), _ = export_study(study, tmp_path / "b.csv", image="b.png")
    assert set(pd.read_csv(one)["image"]) == {"b.png"}


def test_outlines_as_qupath_exports_them(study: Study, tmp_path: Path) -> None:
    files, notes = export_study(study, tmp_path / "cells.geojson")
    assert [file.name for file in files] == ["cells.geojson", "cells-a.geojson", "cells-b.geojson"]
    assert "QuPath wants those of the image that is open" in notes[0]
    whole, first, second = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    assert whole["features"] == [*first["features"], *second["features"]]
    colors = {one.name: one.color for one in study.classes()}
    frame = study.cells().set_index(["image", "label"])
    for content, image in ((first, "a.png"), (second, "b.png")):
        assert content["type"] == "FeatureCollection"
        for feature in content["features"]:
            assert feature["type"] == "Feature"
            assert str(uuid.UUID(feature["id"])) == feature["id"]
            properties = feature["properties"]
            assert properties["objectType"] == "detection"
            row = frame.loc[(image, properties["measurements"]["Label"])]
            assert properties["classification"]["name"] == row["effective"]
            rgb = properties["classification"]["color"]
            assert "#" + "".join(f"{value:02x}" for value in rgb) == colors[row["effective"]]
            assert properties["metadata"]["Predicted class"] == row["predicted"]
            assert properties["metadata"].get("Human class", "") == row["human"]
            assert properties["metadata"].get("Observer", "") == row["observer"]
            assert properties["metadata"]["Image"] == image
            assert all(isinstance(v, int | float) for v in properties["measurements"].values())
            ring = feature["geometry"]["coordinates"][0]
            assert feature["geometry"]["type"] == "Polygon"
            assert ring[0] == ring[-1]
            middle = np.mean(ring[:-1], axis=0)
            np.testing.assert_allclose(middle, [row["x"] + 0.5, row["y"] + 0.5])
    (one,), notes = export_study(study, tmp_path / "b.geojson", image="b.png")
    assert json.loads(one.read_text(encoding="utf-8")) == second
    assert notes == []


def test_crops_in_a_folder_of_their_class(study: Study, tmp_path: Path) -> None:
    (folder,), notes = export_study(study, tmp_path / "crops")
    assert notes == []
    table = pd.read_csv(folder / "cells.csv", keep_default_na=False)
    assert len(table) == 10
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")} == {
        *table["file"]
    }
    row = table[(table["image"] == "b.png") & (table["label"] == 2)].iloc[0]
    assert row["file"] == "blast _ odd_/b_2.png"
    with Picture.open(folder / row["file"]) as picture:
        assert picture.size == (40, 40)  # 20 um at 0.5 um a pixel
        assert picture.info["dpi"][0] == pytest.approx(25_400 / 0.5, rel=1e-3)
        assert np.ptp(np.asarray(picture)[..., 0]) > 50
    with pytest.raises(InputError, match="is not empty"):
        export_study(study, folder)
    assert not list(tmp_path.glob(".partial-*"))
    (tmp_path / "more" / "b.png").unlink()
    (again,), notes = export_study(study, tmp_path / "again")
    assert len(list(again.rglob("*.png"))) == 6
    assert "b.png is no longer at" in notes[0]


@pytest.mark.parametrize(("suffix", "package"), [(".parquet", "pyarrow"), (".h5ad", "anndata")])
def test_a_package_that_is_missing_is_named(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, package: str
) -> None:
    monkeypatch.setattr(exporting.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=rf"need the package {package}: pip install"):
        export_study(study, tmp_path / f"cells{suffix}")


def test_bad_targets(study: Study, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"should end in \.csv"):
        export_study(study, tmp_path / "cells.xlsx")
    (tmp_path / "cells.csv").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        export_study(study, tmp_path / "cells.csv")
    with pytest.raises(InputError, match="no image c"):
        export_study(study, tmp_path / "c.csv", image="c.png")
    with (
        Study.create(tmp_path / "empty") as empty,
        pytest.raises(InputError, match="no cells in the study empty"),
    ):
        export_study(empty, tmp_path / "e.csv")


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs pyarrow")
def test_parquet(study: Study, tmp_path: Path) -> None:
    (path,), _ = export_study(study, tmp_path / "cells.parquet")
    frame = pd.read_parquet(path)
    pd.testing.assert_frame_equal(frame, study.cells().reset_index(drop=True), check_dtype=False)


def test_it_is_not_written_where_there_is_no_space(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cytodiffusion.files.atomic._settle", full)
    with pytest.raises(InputError, match="No space is left on the disk"):
        export_study(study, tmp_path / "cells.csv")
    assert not (tmp_path / "cells.csv").exists()


@pytest.mark.skipif(importlib.util.find_spec("anndata") is None, reason="needs anndata")
def test_anndata(study: Study, tmp_path: Path) -> None:
    import anndata

    embedding = keep_embeddings(study)
    (path,), notes = export_study(study, tmp_path / "cells.h5ad")
    assert notes == []
    data = anndata.read_h5ad(path)
    frame = study.cells()
    assert data.shape == (10, len(NAMES))
    assert data.var_names.tolist() == NAMES
    assert data.obs_names[:2].tolist() == ["a.png/1", "a.png/2"]
    posterior = frame[[f"p_{name}" for name in NAMES]].to_numpy()
    np.testing.assert_array_equal(data.obsm["posterior"], posterior)
    np.testing.assert_allclose(data.X, posterior, rtol=1e-6)
    np.testing.assert_array_equal(data.obsm["spatial"], frame[["x", "y"]].to_numpy())
    np.testing.assert_array_equal(data.obsm["embedding"], embedding)
    np.testing.assert_allclose(data.obsm["attributes"].sum(axis=1), 1)
    assert data.uns["attributes_names"].tolist() == ["nucleus: round", "nucleus: segmented"]
    for name in ("image", "predicted", "human", "observer", "effective", "effective_source"):
        assert data.obs[name].tolist() == frame[name].tolist()
    assert data.obs["label"].tolist() == frame["label"].tolist()
    colors = dict(
        zip(data.obs["effective"].cat.categories, data.uns["effective_colors"], strict=True)
    )
    assert colors.items() <= {one.name: one.color for one in study.classes()}.items()
    assert data.uns["study"]["models"].tolist()[0].startswith("fake")


@pytest.mark.skipif(importlib.util.find_spec("scanpy") is None, reason="needs scanpy")
@pytest.mark.filterwarnings("default")  # its own, and of what it stands on
@pytest.mark.slow
def test_scanpy_works_on_it(study: Study, tmp_path: Path) -> None:
    import scanpy

    fill(study, tmp_path / "c.png", 120, seed=5)
    keep_embeddings(study)
    (path,), _ = export_study(study, tmp_path / "cells.h5ad", image="c.png")
    data = scanpy.read_h5ad(path)
    for use in ("embedding", "posterior"):
        scanpy.pp.neighbors(data, n_neighbors=8, use_rep=use, random_state=0)
        scanpy.tl.umap(data, random_state=0)
        assert data.obsm["X_umap"].shape == (120, 2)
        assert np.isfinite(data.obsm["X_umap"]).all()
    # cells with the same class lie together: the made-up embedding is by class
    place, names = data.obsm["X_umap"], data.obs["predicted"].to_numpy()
    scanpy.pp.neighbors(data, n_neighbors=8, use_rep="embedding", random_state=0)
    graph = data.obsp["connectivities"].tocoo()
    assert (names[graph.row] == names[graph.col]).mean() > 0.95
    assert place.shape[0] == len(names)


@pytest.mark.skipif(importlib.util.find_spec("anndata") is None, reason="needs anndata")
def test_anndata_of_a_model_without_an_embedding(study: Study, tmp_path: Path) -> None:
    (path,), notes = export_study(study, tmp_path / "cells.h5ad")
    assert path.is_file()
    assert notes == ["The model keeps no embedding of cells: obsm has none."]


def keep_embeddings(study: Study) -> np.ndarray:
    """Keep a made-up classification of all images, whose embedding is by class; return that."""
    found = []
    for number, image in enumerate(study.images()):
        frame = study.cells(image.name)
        result = made_up(frame[[f"p_{name}" for name in NAMES]].to_numpy(), number)
        study.put_predictions(image.name, frame, FakeModel(), ClassifySettings(), result)
        found.append(result.embedding)
    return np.concatenate(found)
