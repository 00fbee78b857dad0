"""The cells of a study as they are reviewed, and their pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Picture
from studies import NAMES, FakeModel, fill, made_up, predictions, square_labels, write_image

from cytodiffusion.classification.settings import ClassifySettings
from cytodiffusion.errors import InputError
from cytodiffusion.review.cells import NOBODY
from cytodiffusion.review.pictures import CellPictures
from cytodiffusion.review.study_cells import cells_of_study, said_in_study
from cytodiffusion.study import Study


@pytest.fixture
def study(tmp_path):
    with Study.create(tmp_path / "study") as made:
        fill(made, tmp_path / "a.png", 6)  # only the table of its cells was kept
        labels = square_labels(8)
        image = made.put_image(write_image(tmp_path / "b.png", labels, 1), labels, 0.5, "file")
        posterior = np.random.default_rng(3).dirichlet(np.ones(3), 8)
        frame = predictions(labels)
        frame["predicted"] = [NAMES[i] for i in posterior.argmax(axis=1)]
        made.put_predictions(image.name, frame, FakeModel(), ClassifySettings(), made_up(posterior))
        yield made


def test_cells_of_all_images(study):
    cells = cells_of_study(study)
    frame = study.cells()
    assert cells.images == ("a.png", "b.png")
    assert cells.class_names == tuple(NAMES)
    assert cells.numbers.tolist() == frame.index.tolist()
    assert [NAMES[k] for k in cells.predicted] == frame["predicted"].tolist()
    assert cells.labels.tolist() == frame["label"].tolist()
    np.testing.assert_allclose(cells.posterior.sum(axis=1), 1)
    assert np.isnan(cells.embedding[:6]).all()
    assert np.isfinite(cells.embedding[6:]).all()
    assert cells.row_of(int(cells.numbers[9])) == 9
    assert cells.rows_of([int(cells.numbers[3]), 12345]).tolist() == [3]


def test_what_people_say_of_them(study):
    cells = cells_of_study(study)
    one, other = (int(n) for n in cells.numbers[[2, 9]])
    study.annotate([one, other], "monocyte", "Ada")
    study.annotate(one, "neutrophil", "Ben")
    said = said_in_study(study, cells)
    assert said.by("Ada")[[2, 9]].tolist() == [1, 1]
    assert said.by("Ben")[2] == 2
    assert said.human[9] == 1
    assert (said.human[[0, 1]] == NOBODY).all()


def test_classes_that_were_renamed_and_merged_are_followed(study):
    study.change_class("monocyte", new_name="Mono")
    study.merge_classes("neutrophil", "lymphocyte")
    cells = cells_of_study(study)
    assert cells.class_names == ("lymphocyte", "Mono")
    np.testing.assert_allclose(cells.posterior.sum(axis=1), 1)
    words = {"lymphocyte": 0, "monocyte": 1, "neutrophil": 0}
    assert cells.predicted.tolist() == [words[name] for name in study.cells()["predicted"]]


def test_an_empty_study(tmp_path):
    with Study.create(tmp_path / "empty") as made:
        cells = cells_of_study(made)
        assert len(cells) == 0
        assert len(said_in_study(made, cells).human) == 0


def test_pictures_are_cut_out_of_files_that_are_kept_open(tmp_path):
    labels = square_labels(6)
    paths = [write_image(tmp_path / f"{name}.png", labels, seed) for seed, name in enumerate("ab")]
    opened = []

    def open_image(index):
        opened.append(index)
        return paths[index]

    pictures = CellPictures(open_image)
    centres = np.array([(3.5, 2.5), (3.5, 8.5)])
    made = pictures.cut(0, centres, 0.5, 16, window_um=8.0)
    assert made.shape == (2, 16, 16, 3)
    whole = np.asarray(Picture.open(paths[0]))
    assert abs(float(made[0].mean()) - float(whole[:12, :11].mean())) < 25
    pictures.cut(1, centres, 0.5, 16)
    pictures.cut(0, centres, 0.5, 16)
    assert opened == [0, 1]


def test_a_file_that_is_gone_is_told(tmp_path):
    with pytest.raises(InputError, match="no file"):
        CellPictures(lambda _: tmp_path / "gone.png").cut(0, np.zeros((1, 2)), 0.5, 16)
