"""Settings of how cells are found."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from cytodiffusion.settings import BatchSize, setting


class CellposeSettings(BaseModel):
    """Settings of `cytodiffusion.segmentation.cellpose.cellpose`."""

    model_config = ConfigDict(frozen=True)

    diameter_um: float | None = setting(
        7.5,
        "Cell diameter",
        "Diameter of the cells to expect, in micrometres; none looks at the pixels as they are, "
        "which is slower for fine images.",
        unit="um",
        ge=0.5,
        le=200,
    )
    flow_threshold: float = setting(
        0.4,
        "Flow threshold",
        "Largest disagreement of a mask with its flows; larger keeps more masks.",
        more=True,
    )
    cellprob_threshold: float = setting(
        0.0, "Cell probability", "Smaller finds more and larger cells.", more=True
    )
    min_area_um2: float = setting(
        1.5,
        "Smallest area",
        "Smaller cells are dropped, in square micrometres; a platelet of 2 um has 3.",
        unit="um2",
        more=True,
        ge=0,
    )
    batch_size: BatchSize = setting(
        8,
        "Batch size",
        "Tiles computed at a time on a GPU; halved when its memory does not hold them.",
        unit="tiles",
        more=True,
        le=1024,
    )


class NetworkSettings(BaseModel):
    """Settings of `cytodiffusion.segmentation.network.network`."""

    model_config = ConfigDict(frozen=True)

    red_cells: bool = setting(True, "Red cells", "Outline red cells.")
    platelets: bool = setting(True, "Platelets", "Outline platelets.")
    cell_threshold: float = setting(
        0.0,
        "Cell threshold",
        "Added to the calibrated threshold; smaller finds more and larger cells.",
        more=True,
        ge=-6,
        le=6,
    )
    min_cell_um2: float = setting(
        8.0,
        "Smallest cell",
        "Smaller red and white cells are debris, in square micrometres; what the border cuts may "
        "be as small as two platelets.",
        unit="um2",
        more=True,
        ge=0,
    )
    min_platelet_um2: float = setting(
        1.0,
        "Smallest platelet",
        "Smaller platelets are debris, in square micrometres.",
        unit="um2",
        more=True,
        ge=0,
    )
    max_red_um2: float = setting(
        150.0,
        "Largest red cell",
        "Nothing larger is called a red cell, in square micrometres.",
        unit="um2",
        more=True,
        gt=0,
    )


class NucleusRules(BaseModel):
    """Sizes that tell nuclei from platelets, and cytoplasm from neighbours."""

    model_config = ConfigDict(frozen=True)

    min_lobe_um2: float = setting(
        2.5, "Smallest lobe", "Smallest lobe of a nucleus, in square micrometres.", unit="um2"
    )
    min_nucleus_um2: float = setting(
        12.0, "Smallest nucleus", "Smallest nucleus, in square micrometres.", unit="um2"
    )
    max_gap_um: float = setting(
        2.5, "Largest gap", "Largest gap between lobes of one nucleus, in micrometres.", unit="um"
    )
    max_cell_um: float = setting(
        24.0, "Largest white cell", "Largest extent of a white cell, in micrometres.", unit="um"
    )
    max_cytoplasm_um: float = setting(
        7.0,
        "Widest cytoplasm",
        "Largest width of the cytoplasm around a nucleus, in micrometres.",
        unit="um",
    )


class RedCellRules(BaseModel):
    """Sizes of red cells."""

    model_config = ConfigDict(frozen=True)

    min_um2: float = setting(
        10.0,
        "Smallest red cell",
        "Smaller pieces are debris, in square micrometres; at the border of the image half of it "
        "is enough.",
        unit="um2",
    )
    diameter_um: tuple[float, float] = setting(
        (4.5, 10.5),
        "Diameters in a clump",
        "Smallest and largest circle that counts as a cell in a clump, in micrometres.",
        unit="um",
    )
    single_um2: float = setting(
        75.0,
        "Largest single cell",
        "A convex piece up to this area is one cell, in square micrometres.",
        unit="um2",
    )
    pallor_um2: float = setting(
        25.0,
        "Largest pallor",
        "Larger holes are gaps between cells, in square micrometres.",
        unit="um2",
    )


class PlateletRules(BaseModel):
    """Size and shape of platelets."""

    model_config = ConfigDict(frozen=True)

    area_um2: tuple[float, float] = setting(
        (1.2, 22.0),
        "Area of a platelet",
        "Smallest and largest area of a platelet, in square micrometres.",
        unit="um2",
    )
    min_roundness: float = setting(
        0.45,
        "Least roundness",
        "Shorter over longer axis; slimmer spots are folds and rims of red cells.",
    )
    min_solidity: float = setting(0.8, "Least solidity", "Area over the convex area.")
    rim: float = setting(
        0.3,
        "Rim",
        "The outline runs where this share of the height over the surroundings is left.",
    )


class WatershedSettings(BaseModel):
    """Settings of `cytodiffusion.segmentation.watershed.watershed`."""

    model_config = ConfigDict(frozen=True)

    working_um: float = setting(
        0.2,
        "Working pixel size",
        "Micrometres per pixel that the work is done at; finer images are reduced to it, coarser "
        "ones enlarged at most two-fold.",
        unit="um",
        more=True,
        gt=0,
    )
    red_cells: bool = setting(True, "Red cells", "Outline red cells.")
    platelets: bool = setting(True, "Platelets", "Outline platelets.")
    nucleus: NucleusRules = setting(
        NucleusRules(), "Sizes of white cells", "Sizes of white cells and their nuclei.", more=True
    )
    red_cell: RedCellRules = setting(
        RedCellRules(), "Sizes of red cells", "Sizes of red cells.", more=True
    )
    platelet: PlateletRules = setting(
        PlateletRules(), "Shape of platelets", "Size and shape of platelets.", more=True
    )
