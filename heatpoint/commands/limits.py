"""``heatpoint limits``: says which of a checkpoint's maps cost the most AP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from heatpoint.commands.arguments import CommandParser


@dataclass
class LimitsOptions:
    """Says which of a checkpoint's maps cost the most AP, by putting in the true ones."""

    checkpoint: str
    """a checkpoint of train or convert that finds boxes"""

    data: str
    """COCO json, VOC folder[:split], YOLO folder[:split] or a text-lines file"""

    images: str = ""
    """folder of the pictures, if not beside the annotations"""

    json: str = ""
    """file for the numbers and the protocol they were measured by"""

    size: int | tuple[int, int] | None = None
    """input size, 512 or 384x512 (height x width); the checkpoint's own by default"""

    nms: float | None = None
    """overlap (IoU) above which the worse of two boxes of one class is removed"""

    soft_nms: Literal["gaussian", "linear", "merge", "none"] | None = None
    """as for evaluate"""

    max_detections: int = 100
    """most results per picture"""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto is bf16 where the hardware multiplies it natively"""

    batch_size: int = 8
    """pictures per run of the network"""

    workers: int = 2
    """threads that read pictures while the network runs"""


def run(words: Sequence[str]) -> int:
    """Scores with ever more true maps and prints a table."""
    options = CommandParser("limits", LimitsOptions, LimitsOptions.__doc__ or "").parse(words)
    from heatpoint.commands.display import Progress, print_table
    from heatpoint.data.read import read
    from heatpoint.scoring.limits import limits
    from heatpoint.system.files import write_json

    data = read(options.data, options.images or None)
    with Progress("scoring") as progress:
        found = limits(
            options.checkpoint,
            data,
            size=options.size,
            nms=options.nms,
            soft_nms=options.soft_nms,
            max_detections=options.max_detections,
            device=options.device,
            precision=options.precision,
            batch_size=options.batch_size,
            workers=options.workers,
            progress=progress,
        )
    print(f"{found.images} images, {found.objects} objects")
    print_table(("maps", "AP", "AP50", "gain"), found.table())
    print(found.verdict())
    if options.json:
        write_json(options.json, found.as_dict())
        print(f"numbers and protocol: {options.json}")
    return 0
