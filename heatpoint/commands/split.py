"""``heatpoint split``: divides a data set into one part to train on and one to validate on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heatpoint.commands import parse
from heatpoint.options import Data, Folder

EXAMPLES = (
    "heatpoint split all.json",
    "heatpoint split yolo_folder --val 100 --out parts",
)


@dataclass
class Split:
    """Divides a data set into train.json and val.json, the same way every time."""

    data: Data
    """annotations of any format that can be read"""

    val: float = 0.2
    """images to validate on: a share below 1, or their number"""

    seed: int = 0
    """chooses the images"""

    out: Folder = "runs/split"
    """folder for train.json and val.json"""

    images: Folder = ""
    """folder of the pictures, if not beside the annotations"""


def run(words: Sequence[str]) -> int:
    """Divides, and prints what went where."""
    options = parse(words, "split", Split, EXAMPLES)
    from pathlib import Path

    from heatpoint.data.readers import TRAIN, VAL, write_split
    from heatpoint.data.validate import describe

    parts = write_split(
        options.data, options.out, options.val, options.seed, options.images or None
    )
    for part, name in zip(parts, (TRAIN, VAL), strict=True):
        print(f"{Path(options.out) / name}: {len(part):,} images, {part.objects:,} objects")
    if parts[0].left_out:
        print(f"in {options.data}: {describe(parts[0].left_out)}")
    return 0
