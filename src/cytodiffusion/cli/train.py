"""``cytodiffusion train``: labelled images in, a model out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from cytodiffusion.cli.options import DownloadOption, JsonOption, QuietOption
from cytodiffusion.cli.reporter import reporting
from cytodiffusion.errors import InputError

_DATA, _NETWORK, _LEARNING, _ENDING = "Data", "Network", "Learning", "Run and calibration"


def _option(*names: str, help: str, panel: str, metavar: str | None = None) -> Any:
    return typer.Option(
        *names, help=help, rich_help_panel=panel, metavar=metavar, show_default=False
    )


Number: TypeAlias = float | None
Whole: TypeAlias = int | None
Words: TypeAlias = list[str] | None


def train(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder with a folder per class (perhaps below train, val and test), or a CSV "
            "with the columns path, class (empty: unlabelled) and perhaps split.",
            readable=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="MODEL", help="Folder for the model.")
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that was begun for MODEL.")
    ] = False,
    settings: Annotated[
        Path | None,
        typer.Option(
            "--settings",
            metavar="FILE.json",
            help="Settings to start from; options override.",
            readable=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print all settings as JSON and stop.")
    ] = False,
    kind: Annotated[
        str | None,
        _option(
            "--kind",
            help="diffusion (default); a baseline to compare it with: resnet18 or vit; "
            "stable-diffusion, the published network, fine-tuned from --init; or what is added to "
            "the model --init: generator, which draws synthetic cells, or laboratory, which "
            "corrects the cells of a slide for what they have in common.",
            panel=_NETWORK,
        ),
    ] = None,
    init: Annotated[
        str | None,
        _option(
            "--init",
            help="Model to start from, or to add something to; for stable-diffusion a folder, or "
            "a Hugging Face id, with unet and vae.",
            panel=_NETWORK,
            metavar="MODEL",
        ),
    ] = None,
    lora: Annotated[
        Whole,
        _option(
            "--lora",
            help="stable-diffusion: train adapters of this rank only, for a small GPU; needs peft.",
            panel=_NETWORK,
            metavar="RANK",
        ),
    ] = None,
    pretrained: Annotated[
        bool | None,
        _option(
            "--pretrained",
            help="Start a baseline from ImageNet weights (on this machine, or with "
            "--allow-download).",
            panel=_NETWORK,
        ),
    ] = None,
    allow_download: DownloadOption = False,
    name: Annotated[str | None, _option("--name", help="Name of the model.", panel=_DATA)] = None,
    pixel_size: Annotated[
        Number,
        _option("--pixel-size", help="Micrometres per pixel.", panel=_DATA, metavar="UM"),
    ] = None,
    layout: Annotated[
        str | None,
        _option("--layout", help="How DATA lies on disk; see docs/datasets.md.", panel=_DATA),
    ] = None,
    attribution: Annotated[
        str | None,
        _option("--attribution", help="Whose data, under which licence.", panel=_DATA),
    ] = None,
    color: Annotated[
        Words, _option("--color", help="Repeatable.", panel=_DATA, metavar="CLASS=#rrggbb")
    ] = None,
    group: Annotated[
        Words, _option("--group", help="Repeatable.", panel=_DATA, metavar="CLASS=GROUP")
    ] = None,
    taxonomy: Annotated[
        str | None,
        _option(
            "--taxonomy",
            help="Class hierarchy with colours; else the ready one that fits the classes.",
            panel=_DATA,
            metavar="NAME|FILE.json",
        ),
    ] = None,
    duplicates: Annotated[
        str | None,
        _option(
            "--duplicates",
            help="What to do with an image that is in two splits: refuse (default) to train, drop "
            "it from the split that matters less, or allow it.",
            panel=_DATA,
            metavar="POLICY",
        ),
    ] = None,
    balance: Annotated[
        Number,
        _option("--balance", help="0: classes as frequent as in DATA; 1: all alike.", panel=_DATA),
    ] = None,
    unlabelled_share: Annotated[
        Number, _option("--unlabelled-share", help="Of each batch.", panel=_DATA)
    ] = None,
    pseudo_labels: Annotated[
        Number,
        _option(
            "--pseudo-labels",
            help="Guess missing labels where the guess has this share of the votes.",
            panel=_LEARNING,
        ),
    ] = None,
    augment: Annotated[
        Words,
        _option(
            "--augment",
            help="How far crops are varied. Repeatable.",
            panel=_DATA,
            metavar="NAME=VALUE",
        ),
    ] = None,
    input_size: Annotated[
        Whole, _option("--input-size", help="Side of the input in pixels.", panel=_NETWORK)
    ] = None,
    window_um: Annotated[
        Number, _option("--window-um", help="Side of the window around a cell.", panel=_NETWORK)
    ] = None,
    patch: Annotated[
        Whole, _option("--patch", help="Pixels folded into channels.", panel=_NETWORK)
    ] = None,
    widths: Annotated[
        str | None,
        _option("--widths", help="Channels of each level.", panel=_NETWORK, metavar="N,N,..."),
    ] = None,
    blocks: Annotated[
        str | None,
        _option("--blocks", help="Blocks of each level.", panel=_NETWORK, metavar="N,N,..."),
    ] = None,
    base_widths: Annotated[
        str | None,
        _option(
            "--base-widths", help="generator: of the coarse picture's network.", panel=_NETWORK
        ),
    ] = None,
    base_blocks: Annotated[
        str | None, _option("--base-blocks", help="generator: likewise.", panel=_NETWORK)
    ] = None,
    detail_widths: Annotated[
        str | None,
        _option("--detail-widths", help="generator: of the detail's network.", panel=_NETWORK),
    ] = None,
    detail_blocks: Annotated[
        str | None, _option("--detail-blocks", help="generator: likewise.", panel=_NETWORK)
    ] = None,
    detail_steps: Annotated[
        Whole,
        _option("--detail-steps", help="generator: steps of the detail's network.", panel=_NETWORK),
    ] = None,
    head_channels: Annotated[
        Whole, _option("--head-channels", help="Channels of a class's head.", panel=_NETWORK)
    ] = None,
    dropout: Annotated[Number, _option("--dropout", help="", panel=_NETWORK)] = None,
    laboratories: Annotated[
        Whole,
        _option("--laboratories", help="laboratory: how many are made up.", panel=_LEARNING),
    ] = None,
    steps: Annotated[Whole, _option("--steps", help="", panel=_LEARNING)] = None,
    batch_size: Annotated[Whole, _option("--batch-size", help="", panel=_LEARNING)] = None,
    learning_rate: Annotated[Number, _option("--learning-rate", help="", panel=_LEARNING)] = None,
    weight_decay: Annotated[Number, _option("--weight-decay", help="", panel=_LEARNING)] = None,
    warmup: Annotated[
        Whole, _option("--warmup", help="Steps in which the rate rises.", panel=_LEARNING)
    ] = None,
    cooldown: Annotated[
        Number, _option("--cooldown", help="Share of steps in which it falls.", panel=_LEARNING)
    ] = None,
    ema_decay: Annotated[
        Number, _option("--ema-decay", help="Of the averaged weights.", panel=_LEARNING)
    ] = None,
    class_loss: Annotated[
        Number, _option("--class-loss", help="Weight of the cross-entropy.", panel=_LEARNING)
    ] = None,
    level_tilt: Annotated[
        Number,
        _option(
            "--level-tilt",
            help="Kind diffusion. 1: noise levels alike; more: rather low ones, which tell most.",
            panel=_LEARNING,
        ),
    ] = None,
    label_smoothing: Annotated[
        Number, _option("--label-smoothing", help="", panel=_LEARNING)
    ] = None,
    snr_gamma: Annotated[
        Number,
        _option("--snr-gamma", help="stable-diffusion: of the min-SNR weight.", panel=_LEARNING),
    ] = None,
    noise_offset: Annotated[
        Number,
        _option(
            "--noise-offset",
            help="stable-diffusion: share of noise that a channel has in common.",
            panel=_LEARNING,
        ),
    ] = None,
    mixup: Annotated[
        Number,
        _option(
            "--mixup",
            help="stable-diffusion: alpha; 0.3 as published, 0 (default) mixes nothing.",
            panel=_LEARNING,
        ),
    ] = None,
    class_dropout: Annotated[
        Number,
        _option("--class-dropout", help="Share trained without a class.", panel=_LEARNING),
    ] = None,
    disc_radius: Annotated[
        Number,
        _option("--disc-radius", help="Share of the window that decides.", panel=_LEARNING),
    ] = None,
    seed: Annotated[Whole, _option("--seed", help="", panel=_ENDING)] = None,
    device: Annotated[str | None, _option("--device", help="", panel=_ENDING)] = None,
    mixed_precision: Annotated[
        str | None, _option("--mixed-precision", help="auto, no or bf16.", panel=_ENDING)
    ] = None,
    checkpoint_every: Annotated[
        Whole, _option("--checkpoint-every", help="Steps.", panel=_ENDING)
    ] = None,
    validate_every: Annotated[
        Whole, _option("--validate-every", help="Steps.", panel=_ENDING)
    ] = None,
    coverage: Annotated[
        Number, _option("--coverage", help="Stated one of the prediction sets.", panel=_ENDING)
    ] = None,
    false_alarms: Annotated[
        Number, _option("--false-alarms", help="Stated rate of anomalies.", panel=_ENDING)
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a model on single-cell images and write it to the folder MODEL.

    A run that was stopped, even by a crash, goes on with --resume and ends as if it had not been
    stopped. Options that are not given keep the values that --dry-run shows.
    """
    # a flag that is not given is False, and leaves the file's word alone
    given = {k: v for k, v in locals().items() if v is not None and v is not False}
    with reporting("train", as_json=as_json, quiet=quiet) as reporter:
        from cytodiffusion.cli.shared import make_settings
        from cytodiffusion.training.settings import TrainSettings, merged

        wanted = make_settings(TrainSettings, merged(_load(settings), _as_settings(given)))
        if dry_run:
            record = wanted.model_dump(mode="json")
            reporter.result({"settings": record}, json.dumps(record, indent=2))
            return
        from cytodiffusion.training.train import train as run

        with reporter.progress(f"Training {out.name}") as progress:
            folder = run(wanted, progress)
        record = {"model": folder, "settings": wanted.model_dump(mode="json")}
        reporter.result(record, f"The model is in {folder}.")


def _load(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = error.strerror or "no such file"
        raise InputError(f"The settings {path} cannot be read: {why}.") from error
    except ValueError as error:
        raise InputError(f"The settings {path} cannot be read: they are not JSON.") from error
    if not isinstance(found, dict):
        raise InputError(f"The settings {path} are not a JSON object.")
    return found


def _as_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given under the names of `TrainSettings`."""
    names = {"out": "output", "pixel_size": "pixel_size_um", "color": "colors", "group": "groups"}
    parse: dict[str, Callable[[Any], Any]] = {
        "widths": _whole_numbers,
        "blocks": _whole_numbers,
        **dict.fromkeys(
            ("base_widths", "base_blocks", "detail_widths", "detail_blocks"), _whole_numbers
        ),
        "color": _pairs,
        "group": _pairs,
        "augment": _pairs,
    }
    own = {"settings", "dry_run", "as_json", "quiet"}
    return {
        names.get(key, key): parse[key](value) if key in parse else value
        for key, value in given.items()
        if key not in own
    }


def _whole_numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{text!r} is not a list of whole numbers such as 64,128.") from None


def _pairs(items: list[str]) -> dict[str, str]:
    pairs = dict(item.split("=", 1) for item in items if "=" in item)
    if len(pairs) != len(items):
        wrong = next((item for item in items if "=" not in item), items[-1])
        raise InputError(f"{wrong!r} is not of the form NAME=VALUE, or a name is given twice.")
    return pairs
