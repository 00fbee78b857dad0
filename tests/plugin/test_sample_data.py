"""Sample data; the network is never touched."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from napari_cytodiffusion import sample_data


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr(sample_data.pooch, "os_cache", lambda name: tmp_path)
    return tmp_path


@pytest.fixture
def served(monkeypatch):
    """Pretend to download: pooch gets these bytes for any address."""
    from PIL import Image

    asked = []

    class Server:
        content = b""

    def fetch(url, output, pooch_object, check_only=False):
        asked.append(url)
        with open(output, "wb") as file:
            file.write(Server.content)

    monkeypatch.setattr("pooch.core.choose_downloader", lambda *a, **k: fetch)
    import io

    buffer = io.BytesIO()
    Image.fromarray(np.full((48, 64, 3), 200, np.uint8)).save(buffer, "JPEG")
    Server.content = buffer.getvalue()
    monkeypatch.setattr(sample_data, "REAL_SHA256", hashlib.sha256(Server.content).hexdigest())
    return asked


def test_synthetic_smear_has_ground_truth(monkeypatch, qtbot):
    import cytodiffusion.model as model_package
    import cytodiffusion.smear as smear_package

    make = smear_package.synthetic_smear
    # random weights generate no cells, and the real ones take their time: sketches will do
    monkeypatch.setattr(model_package, "load_bundle", lambda *a, **k: None)
    monkeypatch.setattr(
        smear_package,
        "synthetic_smear",
        lambda model, settings, **options: make(
            model,
            settings.model_copy(update={"height": 384, "width": 512, "n_white": 3}),
            **options,
        ),
    )
    (rgb, image_options, kind), (labels, label_options, label_kind) = sample_data.synthetic_smear()
    assert (kind, label_kind) == ("image", "labels")
    assert rgb.shape[:2] == labels.shape
    features = label_options["features"]
    assert len(features["true_class"]) == labels.max() + 1
    assert features["true_class"][0] == ""
    assert "red cell" in features["true_class"]
    assert image_options["units"] == ("um", "um")
    from napari.components import ViewerModel

    viewer = ViewerModel()
    viewer.add_image(rgb, **image_options)
    viewer.add_labels(labels, **label_options)


def test_real_field_asks_then_downloads_and_verifies_once(cache, served, monkeypatch):
    monkeypatch.setattr(sample_data, "_may_download", lambda: True)
    ((rgb, options, kind),) = sample_data.real_field()
    assert rgb.shape == (48, 64, 3)
    assert kind == "image"
    assert options["metadata"]["cytodiffusion"]["licence"] == "MIT"
    assert served == [sample_data.REAL_URL]
    monkeypatch.setattr(sample_data, "_may_download", lambda: pytest.fail("asked again"))
    sample_data.real_field()
    assert len(served) == 1


def test_a_declined_download_fetches_nothing(cache, served, monkeypatch):
    monkeypatch.setattr(sample_data, "_may_download", lambda: False)
    with pytest.raises(sample_data.NotDownloaded, match="not downloaded"):
        sample_data.real_field()
    assert served == []


def test_altered_content_is_refused(cache, served, monkeypatch):
    monkeypatch.setattr(sample_data, "_may_download", lambda: True)
    monkeypatch.setattr(sample_data, "REAL_SHA256", "0" * 64)
    with pytest.raises(sample_data.NotDownloaded, match="could not be downloaded"):
        sample_data.real_field()


@pytest.mark.data
def test_the_checksum_is_that_of_the_real_file(data_root):
    content = (data_root / "bccd" / "images" / "BloodImage_00001.jpg").read_bytes()
    assert hashlib.sha256(content).hexdigest() == sample_data.REAL_SHA256
