"""``heatpoint inspect`` and ``split``: what is in a data set, and its two parts."""

from __future__ import annotations

from dataclasses import dataclass

from heatpoint.options import Data, Folder, Model, Size, passed


@dataclass
class Inspect:
    """Says what is in the data, what is wrong with it, and what a model can reach on it."""

    EXAMPLES = (
        "heatpoint inspect train.json",
        "heatpoint inspect train.json --model centernet_resnet18 --size 384",
    )

    data: Data
    """COCO json, VOC folder[:split], YOLO folder[:split] or a text-lines file"""

    images: Folder | None = None
    """folder of the pictures, if not beside the annotations"""

    model: Model | None = None
    """architecture or checkpoint whose size and stride to use; heatpoint models lists them. With
    one of joints, joints are inspected"""

    size: Size | None = None
    """input size, 512 or 384x512 (height x width); the model's own by default"""

    padding: float | None = None
    """for models of joints: side of a crop over that of its box; the model's by default"""

    out: Folder = "runs/inspect"
    """folder for report.json and the pictures"""

    def run(self) -> None:
        """Inspects and prints the report."""
        from heatpoint.commands.display import Progress
        from heatpoint.inspection import inspect

        with Progress("inspecting") as progress:
            inspection = inspect(**passed(self), progress=progress.step)
        print(inspection.summary())
        print(f"report and pictures: {self.out}")


@dataclass
class Split:
    """Divides a data set into train.json and val.json, the same way every time."""

    EXAMPLES = (
        "heatpoint split all.json",
        "heatpoint split yolo_folder --val 100 --out parts",
    )

    data: Data
    """annotations of any format that can be read"""

    val: float = 0.2
    """images to validate on: a share below 1, or their number"""

    seed: int = 0
    """chooses the images"""

    out: Folder = "runs/split"
    """folder for train.json and val.json"""

    images: Folder | None = None
    """folder of the pictures, if not beside the annotations"""

    def run(self) -> None:
        """Divides, and prints what went where."""
        from pathlib import Path

        from heatpoint.data.readers import TRAIN, VAL, write_split
        from heatpoint.data.validate import describe

        parts = write_split(**passed(self))
        for part, name in zip(parts, (TRAIN, VAL), strict=True):
            print(f"{Path(self.out) / name}: {len(part):,} images, {part.objects:,} objects")
        if parts[0].left_out:
            print(f"in {self.data}: {describe(parts[0].left_out)}")
