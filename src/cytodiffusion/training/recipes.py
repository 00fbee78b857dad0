"""Recipes of the kinds of training: where their settings differ from those of a classifier."""

from __future__ import annotations

from typing import Any

from cytodiffusion.training.augmentation.settings import nothing_but

#: What differs from the defaults for other kinds of models.
RECIPES: dict[str, dict[str, Any]] = {
    "resnet18": {"steps": 3000, "learning_rate": 1e-3},
    "vit": {"steps": 3000, "learning_rate": 5e-4},
    "generator": {
        "input_size": 128,
        "batch_size": 64,
        "steps": 8000,
        "balance": 0.7,
        "augment": nothing_but(scale=0.06, aspect=0.03, shift=0.02),
    },
    "generator-detail": {
        "input_size": 128,
        "batch_size": 16,
        "steps": 5000,
        "learning_rate": 1e-4,
        "warmup": 50,
        "cooldown": 0.2,
        "ema_decay": 0.998,
        "balance": 1.0,
        "augment": nothing_but(),
    },
    "slide-correction": {
        "steps": 3000,
        "learning_rate": 2e-3,
        "weight_decay": 0.1,
        "augment": {
            "scale": 0.25,
            "shift": 0.05,
            "cut_share": 0.1,
            "dried_share": 0.4,
            "blur": 2.4,
            "plain_share": 0.1,
        },
    },
    "segmenter": {
        "input_size": 192,
        "patch": 2,
        "widths": (32, 64, 96, 160),
        "blocks": (1, 1, 1, 1),
        "batch_size": 8,
        "steps": 3000,
        "learning_rate": 1.5e-3,
        "weight_decay": 1e-4,
        "warmup": 50,
        "cooldown": 0.6,
        "ema_decay": 0.995,
    },
    "stable-diffusion": {  # as published for few images; `balance` and augmentation are ours
        "input_size": 360,
        "disc_radius": 20 / 45,
        "steps": 20_000,
        "batch_size": 10,
        "learning_rate": 1e-5,
        "weight_decay": 0.01,
        "warmup": 500,
        "cooldown": 0.0,
        "ema_decay": 0.9999,
    },
}
