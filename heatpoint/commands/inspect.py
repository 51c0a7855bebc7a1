"""``heatpoint inspect``: says what is in the data and what a model can reach on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heatpoint.commands import parse
from heatpoint.options import Data, Folder, Model, Size

EXAMPLES = (
    "heatpoint inspect train.json",
    "heatpoint inspect train.json --model centernet_resnet18 --size 384",
)


@dataclass
class Inspect:
    """Says what is in the data, what is wrong with it, and what a model can reach on it."""

    data: Data
    """COCO json, VOC folder[:split], YOLO folder[:split] or a text-lines file"""

    images: Folder = ""
    """folder of the pictures, if not beside the annotations"""

    model: Model = ""
    """architecture or checkpoint whose size and stride to use; heatpoint models lists them. With
    one of joints, joints are inspected"""

    size: Size | None = None
    """input size, 512 or 384x512 (height x width); the model's own by default"""

    padding: float | None = None
    """for models of joints: side of a crop over that of its box; the model's by default"""

    out: Folder = "runs/inspect"
    """folder for report.json and the pictures"""


def run(words: Sequence[str]) -> int:
    """Inspects and prints the report."""
    options = parse(words, "inspect", Inspect, EXAMPLES)
    from heatpoint.commands.display import Progress
    from heatpoint.inspection import inspect

    with Progress("inspecting") as progress:
        inspection = inspect(
            options.data,
            images=options.images or None,
            model=options.model or None,
            size=options.size,
            padding=options.padding,
            out=options.out,
            progress=progress.step,
        )
    print(inspection.summary())
    print(f"report and pictures: {options.out}")
    return 0
