"""Training of the denoiser: batches of crops, and how far it is on validation cells."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cytodiffusion.errors import InputError
from cytodiffusion.model.bundle import ModelBundle
from cytodiffusion.model.codec import Codec, PixelCodec, to_network, to_unit
from cytodiffusion.model.denoiser import UNetDenoiser
from cytodiffusion.model.loading import load_bundle
from cytodiffusion.progress import Progress, silent
from cytodiffusion.training.augmentation.augment import augment
from cytodiffusion.training.augmentation.outlines import Outlines
from cytodiffusion.training.augmentation.settings import AugmentSettings, gentle
from cytodiffusion.training.data import BalancedSampler, CellSet, generator_for
from cytodiffusion.training.loop import TrainingLoop
from cytodiffusion.training.loss import HybridLoss, draw_levels
from cytodiffusion.training.quick_look import quick_look
from cytodiffusion.training.sets import load_sets
from cytodiffusion.training.settings import TrainSettings
from cytodiffusion.traits import Trait, sizes_of

log = logging.getLogger(__name__)

#: Unlabelled crops are drawn at most so many times as often as their number among all would have.
MOST_OFTEN = 4

#: How much an attribute of a strongly varied crop counts: its size and colours are not its own.
VARIED_WEIGHT = 0.25

#: Share of the unvaried crops that the network is told to be unvaried (for sampling).
TRAINING_STYLE_SHARE = 0.6


class Trainer(TrainingLoop):
    """Training of a denoiser on crops.

    Parameters
    ----------
    cells : (list of str, dict of CellSet), optional
        Class names and crops by split; read from ``settings.data`` where missing.
    start : dict of tensors, optional
        Weights to start the network from.
    """

    def __init__(
        self,
        settings: TrainSettings,
        progress: Progress = silent,
        cells: tuple[list[str], dict[str, CellSet]] | None = None,
        start: dict[str, Tensor] | None = None,
    ):
        self.start = start
        self.cells = cells
        super().__init__(like_start(settings), progress)

    def _load(self) -> None:
        s = self.settings
        self.names, self.sets = self.cells or load_sets(s, self.progress)
        self.sets["val"].of_laboratory(s.calibration_laboratory)  # wanted when all work is done
        self.outlines = Outlines(self.sets["train"].pixels, s.window_um / s.input_size)
        self.codec: Codec = PixelCodec(s.input_size, s.patch)

    def _build(self) -> None:
        super()._build()
        s = self.settings
        labels = self.sets["train"].labels
        self.labelled = (labels >= 0).nonzero().squeeze(1)
        self.unlabelled = (labels < 0).nonzero().squeeze(1)
        self.sampler = self._sampler(self.labelled, s.batch_size)
        self.traits = self.sets["train"].told
        told = self.sets["train"].traits
        self.told = self.labelled[:0]
        if told is not None:
            attribute = torch.tensor([not trait.parent for trait in self.traits])
            self.told = (told[:, attribute] >= 0).any(dim=1).nonzero().squeeze(1)
        gentle = round(s.gentle_share * s.batch_size) if len(self.told) else 0
        self.gently = self._sampler(self.told, gentle) if gentle else None

    def _sampler(self, among: Tensor, size: int) -> BalancedSampler:
        """Return what draws from some of the training crops."""
        s, cells = self.settings, self.sets["train"].take(among.tolist())
        return BalancedSampler(
            cells.labels,
            size,
            s.seed,
            s.balance,
            cells.laboratories,
            cells.slides,
            s.laboratory_balance,
        )

    def _network(self) -> nn.Module:
        """Build the network together with its loss, as one module."""
        s = self.settings
        denoiser = UNetDenoiser(
            num_classes=len(self.names),
            in_channels=self.codec.channels,
            widths=s.widths,
            blocks=s.blocks,
            head_channels=s.head_channels,
            dropout=s.dropout,
            trait_sizes=sizes_of(self.sets["train"].told),
        )
        if s.init is not None:
            start = load_bundle(s.init, device="cpu")
            start_from(denoiser, self.names, start, self.sets["train"].told)
        if self.start is not None:
            denoiser.load_state_dict(self.start)
        return HybridLoss(
            denoiser.to(memory_format=torch.channels_last),
            self.codec.grid,
            class_loss=s.class_loss,
            disc_radius=s.disc_radius,
            label_smoothing=s.label_smoothing,
            traits=self.sets["train"].told,
            trait_loss=s.trait_loss,
        )

    def _draw(self, step: int) -> Tensor:
        """Draw the indices ``(batch_size,)`` of the training crops of a step."""
        s = self.settings
        index = self.labelled[self.sampler(step)]
        if len(self.unlabelled):
            share = len(self.unlabelled) / len(self.sets["train"])
            most = math.ceil(MOST_OFTEN * share * s.batch_size)  # a handful must not fill batches
            extra = min(round(s.unlabelled_share * s.batch_size), most)
            generator = generator_for(s.seed, step, "unlabelled")
            draw = torch.randint(len(self.unlabelled), (extra,), generator=generator)
            index = torch.cat([index[: s.batch_size - extra], self.unlabelled[draw]])
        return index

    def _views(
        self,
        index: Tensor,
        generator: torch.Generator,
        varied: AugmentSettings | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Varied windows ``(N, 3, S, S)``, 0 to 1, of training crops, and which kept their stain.

        Every kind of model sees the same ones.
        """
        s, cells = self.settings, self.sets["train"]
        unit = to_unit(cells.pixels[index], cells.backgrounds[index])
        varied = varied or s.augment
        return augment(unit, s.input_size, generator, varied, self.outlines.of(index))

    def _batch(self, step: int) -> tuple[Tensor, ...]:
        s, cells = self.settings, self.sets["train"]
        index = self._draw(step)
        generator = generator_for(s.seed, step, "augment")
        if self.gently is None:
            window, plain = self._views(index, generator)
        else:
            few = self.told[self.gently(step)]
            index = index[: s.batch_size - len(few)]
            window, plain = self._views(index, generator)
            calm, _ = self._views(few, generator, gentle())
            window = torch.cat([window, calm])
            plain = torch.cat([plain, torch.zeros(len(few), dtype=torch.bool)])
            index = torch.cat([index, few])
        clean = self.codec.encode(to_network(window))
        t = draw_levels(len(index), generator, s.level_tilt)
        epsilon = torch.randn(clean.shape, generator=generator)
        labels = cells.labels[index]
        drop = torch.rand(len(index), generator=generator) < s.class_dropout
        conditions = labels.where(~drop, -1)
        told = torch.rand(len(index), generator=generator) < TRAINING_STYLE_SHARE
        batch: tuple[Tensor, ...] = (clean, t, epsilon, labels, conditions, plain & told)
        if cells.traits is not None:
            weights = torch.full((len(index), len(self.traits)), VARIED_WEIGHT)
            weights[:, torch.tensor([bool(trait.parent) for trait in self.traits])] = 1.0
            weights[len(index) - (0 if self.gently is None else self.gently.batch_size) :] = 1.0
            batch = (*batch, cells.traits[index], weights)
        return tuple(x.to(self.accelerator.device) for x in batch)

    def ema_denoiser(self) -> UNetDenoiser:
        """Copy of the network with the averaged weights."""
        plain = self.accelerator.unwrap_model(self.model)
        averaged = UNetDenoiser.from_config(plain.denoiser.config)
        averaged.to(self.accelerator.device).to(memory_format=torch.channels_last)
        with torch.no_grad():
            for target, source in zip(averaged.parameters(), self.ema.shadow_params, strict=True):
                target.copy_(source)
        return averaged.eval()  # type: ignore[no-any-return]

    def final_denoiser(self) -> UNetDenoiser:
        """Averaged network, mixed with that of the start where the settings say so.

        The mean of weights before and after further training keeps more of what was known before
        than it loses of what was learned (WiSE-FT, Wortsman et al. 2022, section 3).
        """
        found, share = self.ema_denoiser(), self.settings.start_share
        if not share or self.settings.init is None:
            return found
        start = UNetDenoiser.from_config(found.config).to(self.accelerator.device)
        start.load_state_dict(found.state_dict())
        model = load_bundle(self.settings.init, device=str(self.accelerator.device))
        start_from(start, self.names, model, self.traits)
        with torch.no_grad():
            for target, source in zip(found.parameters(), start.parameters(), strict=True):
                target.lerp_(source.to(target), share)
        return found

    def _figures(self) -> dict[str, float]:
        """Figures of merit of the averaged network on validation cells."""
        return quick_look(
            self.ema_denoiser(), self.codec, self.sets["val"], self.settings, self.accelerator
        )

    def _validate(self, parts: dict[str, float]) -> None:
        found = self._figures()
        self.history.append({"step": self.step, **parts, **found})
        more = "".join(f", {k} {v:.4f}" for k, v in found.items() if k != "validation")
        log.info(
            "step %d: validation balanced accuracy %.4f%s", self.step, found["validation"], more
        )

    def _told(self, parts: dict[str, float]) -> str:
        """Words of the progress on the last batch."""
        return (
            f"denoising {parts['denoising']:.4f}, classes {parts['classes']:.3f}, "
            f"batch accuracy {parts['accuracy']:.2f}"
        )


def like_start(settings: TrainSettings) -> TrainSettings:
    """Return ``settings`` with the network of the model that ``settings.init`` names.

    An input that is as many times finer as the patch is larger keeps the network's grid, so that
    all weights but those of the patches can be taken as they are.
    """
    if settings.init is None or settings.kind != "diffusion":
        return settings
    model = load_bundle(settings.init, device="cpu")
    if not isinstance(model.denoiser, UNetDenoiser) or not isinstance(model.codec, PixelCodec):
        raise InputError(f"A training cannot start from {model.name}: its network is another.")
    config = model.denoiser.config
    finer = {"input_size", "patch"} <= settings.model_fields_set
    grid = model.codec.grid
    times = settings.patch / model.codec.patch
    if finer and (settings.input_size != settings.patch * grid or times % 1):
        raise InputError(
            f"A training that starts from {model.name} keeps its grid of {grid} x {grid} patches: "
            f"the patch must be a multiple of {model.codec.patch} px, the input size {grid} times "
            "as much."
        )
    update: dict[str, object] = {
        "window_um": model.window_um,
        "disc_radius": model.disc_radius,
        "widths": tuple(config.widths),
        "blocks": tuple(config.blocks),
        "head_channels": config.head_channels,
    }
    if not finer:
        update |= {"input_size": model.input_size, "patch": model.codec.patch}
    return settings.model_copy(update=update)


def start_from(
    denoiser: UNetDenoiser,
    names: Sequence[str],
    model: ModelBundle,
    traits: Sequence[Trait] = (),
) -> None:
    """Copy the weights of ``model`` into ``denoiser``; classes go by name.

    Classes that ``model`` does not know keep their random rows of the class table, and the head
    of other traits its random weights. Patches that are finer are met by weights that see the
    means of their pixels, so that the network starts as one that looks at the coarser picture.
    """
    own = denoiser.state_dict()
    source = dict(model.denoiser.state_dict())
    if traits != list(model.traits) and tuple(traits) != tuple(model.traits):
        source = {k: v for k, v in source.items() if not k.startswith("trait_head.")}
        source |= {k: v for k, v in own.items() if k.startswith("trait_head.")}
    ratio = math.isqrt(denoiser.config.in_channels // model.codec.channels)
    if ratio > 1:
        source["conv_in.weight"] = _finer(source["conv_in.weight"].transpose(0, 1), ratio, True)
        source["conv_in.weight"] = source["conv_in.weight"].transpose(0, 1).contiguous()
        for name in ("base.weight", "base.bias", "head_out"):
            source[name] = _finer(source[name], ratio, False)
    table = denoiser.class_table.detach().clone()
    known = {name: row for row, name in enumerate(model.untaught.class_names)}
    for row, name in enumerate(names):
        if name in known:
            table[row] = source["class_table"][known[name]]
    try:
        denoiser.load_state_dict({**source, "class_table": table})
    except RuntimeError as error:
        raise InputError(
            f"A training cannot start from {model.name}: its network is another."
        ) from error


def _finer(weight: Tensor, ratio: int, mean: bool) -> Tensor:
    """Weights ``(C, ...)`` of the pixels of a patch, for one with ``ratio`` times as many a side.

    Channels are red, green and blue, each with the rows of the patch (`torch.pixel_unshuffle`).
    """
    side = math.isqrt(weight.shape[0] // 3)
    split = weight.reshape(3, side, side, *weight.shape[1:])
    split = split.repeat_interleave(ratio, dim=1).repeat_interleave(ratio, dim=2)
    finer = split.reshape(-1, *weight.shape[1:])
    return finer / ratio**2 if mean else finer
