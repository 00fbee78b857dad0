"""Counterfactual cells: the class turns, the rest stays, and bad input is said in a sentence."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import ndimage
from toys import COLORS, PIXEL_SIZE_UM, disc

from cytodiffusion.cells.crops import centre_crop
from cytodiffusion.counterfactual import editing as run
from cytodiffusion.counterfactual.cells import (
    Counterfactuals,
    CounterfactualSettings,
    counterfactual_cells,
    runner_up,
)
from cytodiffusion.counterfactual.editing import Change, edit
from cytodiffusion.errors import Cancelled, InputError, OutOfMemoryError
from cytodiffusion.generation.sampler import cell_noise, drawn_size, walk
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.model.schedule import NoiseSchedule
from cytodiffusion.model.testing import tiny_bundle, tiny_generator, tiny_stable_diffusion_bundle

GROUND = np.float32([235, 235, 235])
QUICK = CounterfactualSettings(strength=0.5, steps=3, trials=2)


@pytest.fixture(scope="module")
def discs(disc_model: Path) -> ModelBundle:
    return load_bundle(disc_model, device="cpu")


@pytest.fixture(scope="module")
def crops(discs: ModelBundle) -> NDArray[np.uint8]:
    """A blue, a green and a red disc, in the order of the classes."""
    rng = np.random.default_rng(5)
    cells = [disc(COLORS[name], rng) for name in discs.class_names]
    return np.stack([centre_crop(c, PIXEL_SIZE_UM, discs.input_size, 20.0) for c in cells])


@pytest.fixture(scope="module")
def turned(discs: ModelBundle, crops: NDArray[np.uint8]) -> Counterfactuals:
    settings = CounterfactualSettings(strength=0.4, guidance=1, steps=6)
    return counterfactual_cells(crops, discs, [1, 2, 0], background=GROUND, settings=settings)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    return load_bundle(tiny_bundle(tmp_path_factory.mktemp("tiny") / "m"), device="cpu")


@pytest.fixture(scope="module")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    """A model with a generator, whose cells are larger than the classifier's."""
    folder = tiny_bundle(tmp_path_factory.mktemp("drawing") / "m", generator=tiny_generator(10))
    return load_bundle(folder, device="cpu")


def noise_crops(model: ModelBundle, n: int = 3, size: int | None = None) -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    side = size or model.input_size
    smooth = np.kron(rng.integers(80, 220, (n, side // 8, side // 8, 3)), np.ones((1, 8, 8, 1)))
    return smooth.astype(np.uint8)


def others(model: ModelBundle, crops: NDArray[np.uint8]) -> NDArray[np.int64]:
    return runner_up(crops, model, GROUND, QUICK)


def test_a_disc_takes_the_colour_of_the_target(
    turned: Counterfactuals, crops: NDArray[np.uint8], discs: ModelBundle
) -> None:
    assert turned.flipped.all()
    assert (turned.confidence > 0.5).all()
    assert (turned.confidence_before < 0.1).all()
    middle = slice(13, 19)
    for made, crop, target in zip(turned.pixels, crops, turned.target, strict=True):
        colour = np.array(COLORS[discs.class_names[target]])
        now = np.abs(made[middle, middle].mean(axis=(0, 1)) - colour).mean()
        before = np.abs(crop[middle, middle].mean(axis=(0, 1)) - colour).mean()
        assert now < before / 2


def test_what_is_around_the_cell_stays(turned: Counterfactuals, crops: NDArray[np.uint8]) -> None:
    corners = np.ix_(range(3), [0, 1, 2, -3, -2, -1], [0, 1, 2, -3, -2, -1])
    np.testing.assert_array_equal(turned.pixels[corners], crops[corners])


def test_distance_is_that_within_the_disc(
    turned: Counterfactuals, crops: NDArray[np.uint8], discs: ModelBundle
) -> None:
    from cytodiffusion.model.schedule import centred_disc

    inside = centred_disc(discs.input_size, discs.disc_radius).double().numpy()
    unit = 0.92 / 235
    apart = np.abs(turned.pixels.astype(float) - crops.astype(float)).mean(axis=3) * unit
    expected = (apart * inside).sum(axis=(1, 2)) / inside.sum()
    np.testing.assert_allclose(turned.distance, expected, atol=0.01)
    assert (turned.feature_distance > 0).all()


def test_the_stain_of_the_slide_is_kept(discs: ModelBundle, crops: NDArray[np.uint8]) -> None:
    yellow = np.float32([235, 225, 160])
    dyed = (crops * (yellow / 235)).round().astype(np.uint8)
    mild = QUICK.model_copy(update={"guidance": 1.0})  # what is exaggerated, is clipped
    one = counterfactual_cells(dyed, discs, [1, 2, 0], background=yellow, settings=mild)
    plain = counterfactual_cells(crops, discs, [1, 2, 0], background=GROUND, settings=mild)
    np.testing.assert_allclose(one.pixels, plain.pixels * (yellow / 235), atol=6)


def test_nothing_changes_far_from_the_mask(
    discs: ModelBundle, crops: NDArray[np.uint8], turned: Counterfactuals
) -> None:
    masks = np.zeros(crops.shape[:3], bool)
    masks[:, 14:18, 14:18] = True  # 2.5 um wide; 2 um and the soft edge around it may change
    made = counterfactual_cells(
        crops, discs, [1, 2, 0], background=GROUND, masks=masks, settings=turned.settings
    )
    changed = (made.pixels != crops).any(axis=3)
    assert changed[:, 15:17, 15:17].all()
    assert not changed[:, :9].any()
    assert not changed[:, :, 23:].any()
    assert (made.distance < turned.distance).all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("method", ["inversion", "noise"])
def test_neighbours_and_background_stay_to_the_pixel(
    drawing: ModelBundle, seed: int, method: str
) -> None:
    rng = np.random.default_rng(seed)
    crops = noise_crops(drawing, 2, 64)
    away = np.hypot(*(np.indices((64, 64)) - 32 - rng.integers(-6, 7, (2, 1, 1))))
    masks = np.stack([away < radius for radius in rng.integers(6, 20, 2)])
    side = rng.permutation(4)[:2]
    beside = np.zeros_like(masks)
    for one, turns in zip(beside, side, strict=True):  # they touch the cells
        np.rot90(one, turns)[:, : rng.integers(16, 30)] = True
    beside &= ~masks
    settings = QUICK.model_copy(update={"method": method, "strength": 1.0})
    made = counterfactual_cells(
        crops, drawing, others(drawing, crops), background=GROUND,
        masks=masks, neighbours=beside, settings=settings,
    )  # fmt: skip
    changed = (made.pixels != crops).any(axis=3)
    assert changed[masks].mean() > 0.5
    assert not changed[beside].any()
    far = ndimage.distance_transform_edt(~masks, sampling=(1, 20 / 64, 20 / 64)) >= 3.0
    assert not changed[far].any()


def test_a_cell_larger_than_the_disc_keeps_no_rim(drawing: ModelBundle) -> None:
    crops = noise_crops(drawing, 1, 64)
    masks = np.ones((1, 64, 64), bool)
    masks[:, :2] = False
    settings = QUICK.model_copy(update={"strength": 1.0})
    made = counterfactual_cells(
        crops, drawing, others(drawing, crops), background=GROUND, masks=masks, settings=settings
    )
    assert (made.pixels != crops).any(axis=3)[0, 4:, [0, -1]].mean() > 0.5


def test_the_least_strength_that_suffices(
    discs: ModelBundle, crops: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cytodiffusion.counterfactual import cells

    monkeypatch.setattr(cells, "LADDER", (0.03, 0.3, 0.6))
    mild = CounterfactualSettings(guidance=0.3, steps=4, strength=0.03, confidence=0.6)
    first = counterfactual_cells(crops, discs, [1, 2, 0], background=GROUND, settings=mild)
    enough = first.flipped & (first.confidence >= 0.6)
    search = mild.model_copy(update={"strength": None})
    made = counterfactual_cells(crops, discs, [1, 2, 0], background=GROUND, settings=search)
    assert set(made.strength) <= {0.03, 0.3, 0.6}
    assert (made.strength[enough] == 0.03).all()
    assert (made.strength[made.flipped & ~enough] > 0.03).all()
    assert (made.confidence >= first.confidence - 1e-6).all()


def test_more_confidence_is_had_by_more_change(
    discs: ModelBundle, crops: NDArray[np.uint8]
) -> None:
    near, sure = (
        counterfactual_cells(
            crops, discs, [1, 2, 0], background=GROUND,
            settings=CounterfactualSettings(guidance=0.5, steps=4, confidence=confidence),
        )
        for confidence in (0.3, 0.999)
    )  # fmt: skip
    assert (near.strength <= sure.strength).all()
    assert (sure.confidence >= near.confidence - 1e-6).all()
    assert near.distance.mean() <= sure.distance.mean()


def test_a_cell_that_no_strength_turns_is_drawn_anew(
    tiny: ModelBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cytodiffusion.counterfactual import cells

    crops, tried = noise_crops(tiny, 1), []
    targets = others(tiny, crops)
    plain = cells.edit_cells

    def nothing_changes(unit: torch.Tensor, *rest: object) -> torch.Tensor:
        tried.append(rest[3])
        return plain(unit, *rest) * 0 + unit  # type: ignore[arg-type]

    monkeypatch.setattr(cells, "edit_cells", nothing_changes)
    settings = CounterfactualSettings(steps=2, trials=2)
    made = counterfactual_cells(crops, tiny, targets, background=GROUND, settings=settings)
    assert not made.flipped[0]
    assert made.record()["taken_for"] == made.record()["predicted"]
    ways = [(one.method, one.guidance, one.seed) for one in tried]
    assert ways[:8] == [("inversion", 5.0, 0)] * 8
    assert ways[8:] == [("inversion", 2.5, 0), *(("noise", 5.0, seed) for seed in range(3))]


def test_both_methods_and_their_seeds(tiny: ModelBundle) -> None:
    crops = noise_crops(tiny)
    targets = others(tiny, crops)

    def make(**changes: object) -> NDArray[np.uint8]:
        settings = QUICK.model_copy(update=changes)
        made = counterfactual_cells(crops, tiny, targets, background=GROUND, settings=settings)
        return made.pixels

    np.testing.assert_array_equal(make(method="noise"), make(method="noise"))
    np.testing.assert_array_equal(make(), make())
    assert (make(method="noise") != make(method="noise", seed=1)).any()
    assert (make(method="noise") != make()).any()


@pytest.mark.parametrize("method", ["inversion", "noise"])
def test_the_same_whatever_the_batch(drawing: ModelBundle, method: str) -> None:
    crops = noise_crops(drawing, 5)
    settings = QUICK.model_copy(update={"method": method})
    targets = others(drawing, crops)
    one, many = (
        counterfactual_cells(
            crops,
            drawing,
            targets,
            background=GROUND,
            settings=settings.model_copy(update={"batch_size": size}),
        )
        for size in (2, 64)
    )
    np.testing.assert_allclose(one.pixels, many.pixels, atol=1)
    np.testing.assert_allclose(one.confidence, many.confidence, atol=1e-3)


@pytest.mark.parametrize("side", [32, 64])
def test_a_generator_takes_crops_of_either_size(drawing: ModelBundle, side: int) -> None:
    assert drawn_size(drawing) == 64
    crops = noise_crops(drawing, 2, side)
    made = counterfactual_cells(
        crops, drawing, others(drawing, crops), background=GROUND, settings=QUICK
    )
    assert made.pixels.shape == crops.shape
    assert (made.distance > 0).all()
    assert made.record()["size"] == side


def test_stable_diffusion(tmp_path: Path) -> None:
    model = load_bundle(tiny_stable_diffusion_bundle(tmp_path / "m"), device="cpu")
    crops = noise_crops(model, 2)
    made = counterfactual_cells(
        crops, model, others(model, crops), background=GROUND, settings=QUICK
    )
    assert made.pixels.shape == crops.shape
    assert (made.pixels != crops).any()


def test_an_unchanged_class_gives_the_cell_back(drawing: ModelBundle, tiny: ModelBundle) -> None:
    """Inversion loses nothing: with no change of class the picture is the very same."""
    for model in (tiny, drawing):
        pixels = torch.rand(2, 3, drawn_size(model), drawn_size(model)) * 2 - 1
        classes, one = torch.tensor([0, 1]), torch.ones(2)
        change = Change(classes, classes, one, one, one * 0.6)
        with torch.inference_mode():
            noise = cell_noise([0, 1], 0, model.device)
            back = edit(model, pixels, change, 3, noise, lambda share: None)
            room = torch.ones_like(pixels[:, :1])
            again = edit(model, pixels, change, 3, noise, lambda share: None, room=room)
        torch.testing.assert_close(back, pixels, atol=1e-4, rtol=0)
        torch.testing.assert_close(again, pixels, atol=1e-4, rtol=0)


def test_a_walk_up_and_down_comes_back() -> None:
    """With an exact denoiser DDIM's path is a straight line in signal and noise."""
    clean, epsilon = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    schedule = NoiseSchedule()
    one = torch.ones(2)
    levels = Change(one, one, one, one, torch.tensor([0.3, 0.9])).levels(5)
    assert levels[0].tolist() == [20, 20]
    assert levels[-1].tolist() == [300, 899]
    start = schedule.add_noise(clean, levels[0], epsilon)
    steps: list[int] = []

    def exact(z: torch.Tensor, t: torch.Tensor, step: int) -> torch.Tensor:
        steps.append(step)
        return clean

    top = walk(start, levels, exact, schedule, lambda share: None)
    torch.testing.assert_close(
        top, schedule.add_noise(clean, levels[-1], epsilon), atol=1e-4, rtol=0
    )
    back = walk(top, levels.flip(0), exact, schedule, lambda share: None)
    torch.testing.assert_close(back, start, atol=1e-4, rtol=0)
    assert steps == [0, 1, 2, 3, 4, 4, 3, 2, 1, 0]


def test_memory_runs_out(tiny: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    crops = noise_crops(tiny, 4)
    targets = others(tiny, crops)
    expected = counterfactual_cells(crops, tiny, targets, background=GROUND, settings=QUICK)
    seen: list[int] = []

    def tight(model: ModelBundle, pixels: torch.Tensor, *rest: object) -> torch.Tensor:
        seen.append(len(pixels))
        if len(pixels) > 1:
            raise RuntimeError("CUDA out of memory: tried to allocate")
        return edit(model, pixels, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "edit", tight)
    made = counterfactual_cells(crops, tiny, targets, background=GROUND, settings=QUICK)
    assert seen == [4, 2, 1, 1, 1, 1]
    np.testing.assert_allclose(made.pixels, expected.pixels, atol=1)

    def never(*rest: object) -> torch.Tensor:
        raise MemoryError

    monkeypatch.setattr(run, "edit", never)
    with pytest.raises(OutOfMemoryError, match="one cell at a time"):
        counterfactual_cells(crops, tiny, targets, background=GROUND, settings=QUICK)


def test_progress_rises_and_can_cancel(tiny: ModelBundle) -> None:
    crops = noise_crops(tiny, 4)
    targets = others(tiny, crops)
    settings = QUICK.model_copy(update={"strength": None, "batch_size": 2})
    told: list[float] = []
    counterfactual_cells(
        crops, tiny, targets, settings=settings, progress=lambda done, text: told.append(done)
    )
    assert told == sorted(told)
    assert told[-1] == 1
    assert len(told) > 20

    def stop(done: float, text: str) -> None:
        if done > 0.15:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        counterfactual_cells(crops, tiny, targets, settings=settings, progress=stop)


def test_no_cells(tiny: ModelBundle) -> None:
    made = counterfactual_cells(np.zeros((0, 32, 32, 3), np.uint8), tiny, [])
    assert len(made) == 0


def test_bad_input(tiny: ModelBundle, tmp_path: Path) -> None:
    crops = noise_crops(tiny, 2)
    targets = others(tiny, crops)
    now = counterfactual_cells(crops, tiny, targets, settings=QUICK).predicted
    with pytest.raises(InputError, match="number 1 of 2 is taken for already"):
        counterfactual_cells(crops, tiny, now, settings=QUICK)
    with pytest.raises(InputError, match="between 0 and 9"):
        counterfactual_cells(crops, tiny, [0, 10], settings=QUICK)
    with pytest.raises(InputError, match="one class number for each of the 2"):
        counterfactual_cells(crops, tiny, [0, 1, 2], settings=QUICK)
    with pytest.raises(InputError, match="by their numbers"):
        counterfactual_cells(crops, tiny, [0.5, 1.0], settings=QUICK)
    with pytest.raises(InputError, match="crops of 32 pixels a side"):
        counterfactual_cells(crops[:, :16], tiny, targets, settings=QUICK)
    with pytest.raises(InputError, match="background must be one colour"):
        counterfactual_cells(crops, tiny, targets, background=GROUND[:2], settings=QUICK)
    with pytest.raises(InputError, match="masks must have the shape"):
        counterfactual_cells(crops, tiny, targets, masks=np.ones((2, 3, 3), bool), settings=QUICK)
    single = load_bundle(tiny_bundle(tmp_path / "one", ("blue",)), device="cpu")
    with pytest.raises(InputError, match="knows one class only"):
        counterfactual_cells(crops, single, [0, 0], settings=QUICK)


@pytest.mark.parametrize(
    "values",
    [{"strength": 0}, {"strength": 1.1}, {"guidance": -1}, {"guidance": 21}, {"steps": 1},
     {"method": "magic"}, {"seed": -1}],
)  # fmt: skip
def test_settings_out_of_range(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CounterfactualSettings(**values)


def test_record(turned: Counterfactuals, discs: ModelBundle) -> None:
    record = turned.record(1)
    assert record["synthetic"] is True
    assert record["predicted"] == "green"
    assert record["target"] == "red"
    assert record["flipped"] is True
    assert record["seed"] == 0
    assert record["model"]["name"] == discs.name
    assert record["confidence"] == pytest.approx(turned.confidence[1])
    still = dataclasses.replace(turned, taken_for=turned.predicted)
    assert still.record(1)["taken_for"] == "green"
