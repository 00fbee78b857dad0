"""Settings of augmentation: how far crops are varied while a model learns."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from cytodiffusion.settings import setting

#: How far something is varied, and share of the crops in which it is.
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


def _vary(default: float, title: str, description: str) -> Any:
    return setting(default, title, description, more=True)


class AugmentSettings(BaseModel):
    """How far crops are varied; 0 leaves out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: Amount = _vary(0.35, "Zoom", "Largest zoom in or out, as a logarithm.")
    aspect: Amount = _vary(0.07, "Stretch", "Largest stretch of one axis, as a logarithm.")
    shift: Amount = _vary(0.08, "Shift", "Largest shift of the centre, as a share of the window.")
    bend: Amount = _vary(
        0.05, "Bend", "Largest displacement of outlines, as a share of half the window."
    )
    bend_share: Share = _vary(0.3, "Bent crops", "Share of the crops whose outlines are bent.")
    shrunken: Amount = _vary(
        0.45,
        "Shrinking",
        "How far cells shrink among what surrounds them, as the logarithm of the diameter.",
    )
    spread: Amount = _vary(
        0.25, "Spreading", "How far cells spread, as the logarithm of the diameter."
    )
    dried_share: Share = _vary(
        0.3, "Shrunken or spread crops", "Share of the crops whose cells shrink or spread."
    )
    cut_share: Share = _vary(
        0.25, "Cut crops", "Share of the crops of which less than the window is seen."
    )
    mixing: Amount = _vary(
        0.13, "Colour mixing", "Standard deviation of the mixing of the colours' optical densities."
    )
    dyes: Amount = _vary(
        0.25,
        "Dye strength",
        "Standard deviation of the strength of each dye (azure, eosin), as a logarithm.",
    )
    density: Amount = _vary(
        0.22,
        "Colour strength",
        "Standard deviation of the strength of each colour's optical density, as a logarithm.",
    )
    thickness: Amount = _vary(
        0.22,
        "Thickness",
        "Standard deviation of the common strength of the optical densities, as a logarithm.",
    )
    contrast: Amount = _vary(
        0.22,
        "Contrast",
        "Standard deviation of the exponent of the optical densities, as a logarithm.",
    )
    grey: Share = _vary(0.7, "Fading", "Largest loss of colour, as a share.")
    grey_share: Share = _vary(0.3, "Faded crops", "Share of the crops that lose colour.")
    tint: Amount = _vary(
        0.05,
        "White balance",
        "Standard deviation of the error of the background's colour, as a logarithm.",
    )
    hue: Amount = _vary(
        0.35, "Hue", "Standard deviation of the rotation of colours about grey, in radians."
    )
    palette: Amount = _vary(
        0.8,
        "Palette",
        "Standard deviation of the gain of a node of the map of colours, as a logarithm.",
    )
    palette_tone: Amount = _vary(
        0.35,
        "Palette of each colour",
        "Standard deviation of that gain for each colour apart, as a logarithm.",
    )
    palette_share: Share = _vary(
        0.5, "Repainted crops", "Share of the crops with a map of colours of their own."
    )
    surroundings: Share = _vary(
        0.8, "Surroundings", "Largest share of their density that faded surroundings keep."
    )
    alone_share: Share = _vary(
        0.5,
        "Cells without surroundings",
        "Share of the crops with faded surroundings, where outlines are known.",
    )
    exchange_share: Share = _vary(
        0.5,
        "Exchanged surroundings",
        "Share of the crops with faded surroundings that first get those of another cell.",
    )
    texture: Amount = _vary(
        1.0, "Texture", "Largest gain or loss of detail, as a share of what there is."
    )
    texture_share: Share = _vary(
        0.4, "Crops with another texture", "Share of the crops whose detail is varied."
    )
    fringe: Amount = _vary(
        1.0, "Colour fringes", "Displacement of the colours, as a share of the largest."
    )
    fringe_share: Share = _vary(
        0.3, "Crops with colour fringes", "Share of the crops whose colours are displaced."
    )
    exposure: Amount = _vary(0.35, "Overexposure", "Largest overexposure, as a logarithm.")
    exposure_share: Share = _vary(
        0.15, "Overexposed crops", "Share of the crops that are overexposed."
    )
    rim: Amount = _vary(0.5, "Dark outlines", "Largest strength of dark outlines.")
    rim_share: Share = _vary(
        0.25, "Crops with dark outlines", "Share of the crops that get dark outlines."
    )
    blur: Amount = _vary(
        1.8,
        "Blur",
        "Standard deviation of the largest blur, in pixels of a window that is 96 px wide.",
    )
    chromatic: Amount = _vary(
        0.4,
        "Blur of each colour",
        "Standard deviation of the blur from colour to colour, as a logarithm.",
    )
    noise: Amount = _vary(0.03, "Noise", "Largest noise of the camera, where white is 1.")
    plain_share: Share = _vary(
        0.2, "Plain crops", "Share of the crops whose stain and focus are left as they are."
    )


def nothing_but(**given: float) -> dict[str, float]:
    """Entries of `AugmentSettings` that vary what is named, and nothing that is not."""
    return {**dict.fromkeys(AugmentSettings.model_fields, 0.0), **given}


def gentle() -> AugmentSettings:
    """How crops are varied whose size and colours are to stay what they are."""
    return AugmentSettings(
        **nothing_but(
            scale=0.03,
            aspect=0.02,
            shift=0.06,
            mixing=0.02,
            dyes=0.05,
            density=0.05,
            thickness=0.06,
            contrast=0.05,
            tint=0.02,
            hue=0.05,
            blur=0.8,
            noise=0.01,
        )
    )
