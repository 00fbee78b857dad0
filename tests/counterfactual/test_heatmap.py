"""Heatmaps: invariants, a known answer, the null, and one sentence for bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from toys import COLORS, PIXEL_SIZE_UM, disc

from cytodiffusion.baselines.baseline import Baseline
from cytodiffusion.baselines.network import build_network
from cytodiffusion.cells.crops import centre_crop
from cytodiffusion.counterfactual.heatmap import (
    Heatmap,
    HeatmapSettings,
    all_class_heatmaps,
    check_explains,
    class_number,
    iter_heatmaps,
)
from cytodiffusion.counterfactual.residuals import Orientation, make_views
from cytodiffusion.errors import Cancelled, InputError, OutOfMemoryError
from cytodiffusion.model.bundle import CellClass, ModelBundle
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.testing import tiny_bundle, tiny_stable_diffusion_bundle
from cytodiffusion.model.validation_record import ValidationRecord

QUICK = HeatmapSettings(method="published", trials=32, noise=(0.5,))
GREY = np.full(3, 235.0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return load_bundle(tiny_bundle(tmp_path_factory.mktemp("tiny") / "m"), device="cpu")


@pytest.fixture(scope="module")
def stable(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    folder = tiny_stable_diffusion_bundle(tmp_path_factory.mktemp("sd") / "m")
    return load_bundle(folder, device="cpu")


@pytest.fixture(scope="module")
def discs(disc_model: Path) -> ModelBundle:
    return load_bundle(disc_model, device="cpu")


def noise_crops(n: int, size: int = 32, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), np.uint8)


def one(crop: NDArray[np.uint8], model: ModelBundle, **changes: Any) -> Heatmap:
    """Heatmap of class 1 less class 0."""
    settings = QUICK.model_copy(update=changes)
    (found,) = iter_heatmaps(
        crop[None], model, [1], predicted=[0], background=GREY, settings=settings
    )
    return found


def turned(array: NDArray[Any], quarter_turns: int, mirrored: bool) -> NDArray[Any]:
    array = np.rot90(array, quarter_turns)
    return np.ascontiguousarray(array[:, ::-1] if mirrored else array)


@pytest.mark.parametrize(("quarter_turns", "mirrored"), [(1, False), (2, True), (3, True)])
def test_a_turned_crop_gives_the_turned_map(
    tiny: ModelBundle, quarter_turns: int, mirrored: bool
) -> None:
    crop = noise_crops(1)[0]
    upright = one(crop, tiny)
    found = one(turned(crop, quarter_turns, mirrored), tiny)
    largest = np.abs(upright.values).max()
    for name in ("values", "change", "null_std"):
        expected = turned(getattr(upright, name), quarter_turns, mirrored)
        np.testing.assert_allclose(getattr(found, name), expected, atol=1e-4 * largest)
    assert found.convergence == pytest.approx(upright.convergence, abs=1e-4)
    assert np.abs(found.values - upright.values).max() > 0.1 * largest  # turning does something


def test_views_are_undone_but_for_the_edge_that_was_pushed_out() -> None:
    x = torch.rand(2, 3, 16, 16)
    for count in (1, 2, 4, 8):
        for number in range(8):
            views = make_views(count, number, 8)
            assert len({(v.quarter_turns, v.mirrored) for v in views}) == count
            for view in views:
                back = view.undo(view.apply(x))
                assert back.shape == x.shape
                assert torch.equal(back[:, :, 8:-8, 8:-8], x[:, :, 8:-8, 8:-8])
    plain = Orientation(3, True, (0, 0))
    assert torch.equal(plain.undo(plain.apply(x)), x)


def test_the_seed_alone_decides(tiny: ModelBundle) -> None:
    crop = noise_crops(1)[0]
    first = one(crop, tiny)
    np.testing.assert_array_equal(first.values, one(crop, tiny).values)
    largest = np.abs(first.values).max()
    assert np.abs(first.values - one(crop, tiny, seed=1).values).max() > 0.01 * largest
    for batch_size in (1, 7, 64):
        other = one(crop, tiny, batch_size=batch_size)
        np.testing.assert_allclose(other.values, first.values, atol=1e-4 * largest)


def test_cells_and_classes_do_not_depend_on_each_other(tiny: ModelBundle) -> None:
    crops = noise_crops(2)
    both = list(
        iter_heatmaps(crops, tiny, [1, 2], predicted=[0, 4], background=GREY, settings=QUICK)
    )
    assert [(h.predicted, h.target) for h in both] == [(0, 1), (4, 2)]
    np.testing.assert_array_equal(both[0].values, one(crops[0], tiny).values)
    grid = all_class_heatmaps(crops[1], tiny, predicted=4, background=GREY, settings=QUICK)
    assert [h.target for h in grid] == [k for k in range(10) if k != 4]
    assert [h.target_name for h in grid[:2]] == list(tiny.class_names[:2])
    np.testing.assert_allclose(grid[2].values, both[1].values, atol=1e-6)


def test_there_and_back_cancel(tiny: ModelBundle) -> None:
    crops = noise_crops(1).repeat(2, axis=0)
    there, back = iter_heatmaps(
        crops, tiny, [1, 0], predicted=[0, 1], background=GREY, settings=QUICK
    )
    np.testing.assert_allclose(there.values, -back.values, atol=1e-7)
    np.testing.assert_allclose(there.values, there.change.mean(axis=2), atol=1e-7)


def test_classified_cells_are_compared_with_the_runner_up(discs: ModelBundle) -> None:
    crop = disc_crop("blue", discs)
    (found,) = iter_heatmaps(crop[None], discs, background=GREY, settings=QUICK)
    assert found.predicted_name == "blue"
    assert found.target_name in {"green", "red"}


def disc_crop(colour: str, model: ModelBundle, seed: int = 0) -> NDArray[np.uint8]:
    image = disc(COLORS[colour], np.random.default_rng(seed))
    return centre_crop(image, PIXEL_SIZE_UM, model.input_size, model.window_um)


def test_what_differs_between_discs_is_their_colour(discs: ModelBundle) -> None:
    blue, red = (discs.class_names.index(name) for name in ("blue", "red"))
    crop = disc_crop("blue", discs)
    (found,) = iter_heatmaps(
        crop[None],
        discs,
        [red],
        predicted=[blue],
        background=GREY,
        settings=HeatmapSettings(method="published"),
    )
    middle = found.change[12:20, 12:20].mean(axis=(0, 1))
    assert middle[0] > 0 > middle[2]  # more red, less blue
    axis = np.arange(32) - 15.5
    inside = axis[:, None] ** 2 + axis**2 < 9**2
    assert found.energy_share(inside) > 2 * inside.mean()
    assert found.convergence > 0.9


def test_the_null_scatters_as_said(tiny: ModelBundle, discs: ModelBundle) -> None:
    crops = [(noise_crops(1)[0], tiny), (disc_crop("green", discs), discs)]
    for crop, model in crops:
        scores = np.stack(
            [(h.null / h.null_std) for s in range(6) for h in [one(crop, model, seed=s)]]
        )
        # never less often within the threshold than said; more often, as turns and shifts that
        # make a difference scatter too, although halves are balanced in them
        for sigmas, share in ((1, 0.683), (2, 0.954), (3, 0.997)):
            assert np.mean(np.abs(scores) < sigmas) > share - 0.02
        assert 0.3 < scores.std() < 1.02
        null = one(crop, model)
        fewer = one(crop, model, trials=16 * 8)
        assert fewer.null_std.mean() < 0.7 * null.null_std.mean()  # four times the trials


def test_threshold_keeps_what_stands_out(tiny: ModelBundle) -> None:
    found = one(noise_crops(1)[0], tiny)
    np.testing.assert_array_equal(found.thresholded(0), found.values)
    kept = [np.abs(found.significance()[found.thresholded(s) != 0]) for s in (1.0, 2.0, 3.0)]
    assert [bool((k > s).all()) for k, s in zip(kept, (1, 2, 3), strict=True)] == [True] * 3
    assert len(kept[0]) > len(kept[1]) > len(kept[2])
    np.testing.assert_array_equal(found.thresholded(), found.thresholded(QUICK.sigmas))


def test_energy_share_counts_squares_of_all_colours(tiny: ModelBundle) -> None:
    found = one(noise_crops(1)[0], tiny)
    change = np.zeros((32, 32, 3), np.float32)
    change[0, 0] = (3, 0, -4)
    change[5, 5] = (0, 5, 5)
    made = Heatmap(**{**found.__dict__, "change": change})
    mask = np.zeros((32, 32), np.uint8)
    mask[0, 0] = 255
    assert made.energy_share(mask) == pytest.approx(1 / 3)
    assert found.energy_share(np.ones((32, 32))) == pytest.approx(1)
    with pytest.raises(InputError, match=r"\(8, 8\)"):
        made.energy_share(np.ones((8, 8)))
    empty = Heatmap(**{**found.__dict__, "change": np.zeros((32, 32, 3), np.float32)})
    assert np.isnan(empty.energy_share(mask))


def test_a_record_says_how_it_was_made(tiny: ModelBundle) -> None:
    record = one(noise_crops(1)[0], tiny, trials=17).record()
    assert (record["predicted"], record["target"]) == tiny.class_names[:2]
    assert record["settings"]["trials"] == 32  # whole rounds
    assert record["model"]["name"] == "tiny"
    assert 0 <= record["share_beyond_threshold"] <= 1


def test_stable_diffusion_has_heatmaps(stable: ModelBundle) -> None:
    crop = noise_crops(1, 40)[0]
    found = one(crop, stable)
    assert found.values.shape == (40, 40)
    assert np.abs(found.values).max() > 0
    assert np.isfinite(found.null_std).all()
    again = one(turned(crop, 1, True), stable)
    largest = np.abs(found.values).max()
    np.testing.assert_allclose(again.values, turned(found.values, 1, True), atol=1e-3 * largest)
    single = one(crop, stable, views=1, trials=4)
    assert np.isfinite(single.convergence)


def test_full_memory_halves_the_batch(tiny: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    crop = noise_crops(1)[0]
    whole = one(crop, tiny)
    sizes: list[int] = []
    trunk = tiny.denoiser.trunk
    limit = 3

    def small(z: torch.Tensor, t: torch.Tensor) -> Any:
        sizes.append(len(z))
        if len(z) > limit:
            raise MemoryError
        return trunk(z, t)

    monkeypatch.setattr(tiny.denoiser, "trunk", small)
    found = one(crop, tiny, batch_size=16)
    np.testing.assert_allclose(found.values, whole.values, atol=1e-6)
    assert sizes[:4] == [16, 8, 4, 2]
    limit = 0
    with pytest.raises(OutOfMemoryError, match="one pass at a time"):
        one(crop, tiny)


def test_cancelling_a_batch_keeps_the_first(tiny: ModelBundle) -> None:
    def stop(fraction: float, message: str) -> None:
        if fraction > 0.5:
            raise Cancelled("enough")

    made = iter_heatmaps(
        noise_crops(2), tiny, [1, 1], predicted=[0, 0], settings=QUICK, progress=stop
    )
    assert next(made).target == 1
    with pytest.raises(Cancelled):
        next(made)


def test_bad_input_is_said_in_a_sentence(tiny: ModelBundle, tmp_path: Path) -> None:
    crops = noise_crops(2)
    with pytest.raises(InputError, match="taken for already: choose another"):
        list(iter_heatmaps(crops, tiny, [1, 3], predicted=[0, 3]))
    with pytest.raises(InputError, match="number 2 of 2"):
        list(iter_heatmaps(crops, tiny, [1, 3], predicted=[0, 3]))
    with pytest.raises(InputError, match="between 0 and 9"):
        list(iter_heatmaps(crops, tiny, [1, 10], predicted=[0, 3]))
    with pytest.raises(InputError, match="each of the 2 cells"):
        list(iter_heatmaps(crops, tiny, [1], predicted=[0, 3]))
    for settings, sentence in ((QUICK, "takes crops of shape"), (None, "changes crops of 32")):
        with pytest.raises(InputError, match=sentence):
            list(iter_heatmaps(noise_crops(1, 16), tiny, [1], predicted=[0], settings=settings))
    assert list(iter_heatmaps(crops[:0], tiny, np.zeros(0, int), predicted=np.zeros(0, int))) == []
    alone = load_bundle(tiny_bundle(tmp_path / "one", ["cell"]), device="cpu")
    with pytest.raises(InputError, match="one class only"):
        list(iter_heatmaps(crops, alone))
    with pytest.raises(InputError, match="knows no class 'blast'; it knows basophil"):
        class_number("blast", tiny.class_names)
    assert class_number(" Eosinophil", tiny.class_names) == tiny.class_names.index("eosinophil")
    with pytest.raises(InputError, match="Did you mean eosinophil"):
        class_number("eosinphil", tiny.class_names)


def test_a_baseline_explains_nothing() -> None:
    rival = Baseline(
        name="rival",
        version="0",
        kind="resnet18",
        classes=(CellClass("a", "#112233"), CellClass("b", "#223344")),
        input_size=32,
        window_um=20.0,
        network=build_network("resnet18", 2, 32),
        validation=ValidationRecord(torch.zeros(1)),
        anomaly_threshold=0.5,
        false_alarms=0.0,
        device=torch.device("cpu"),
    )
    with pytest.raises(InputError, match="rival is a baseline"):
        check_explains(rival)
