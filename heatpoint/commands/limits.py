"""``heatpoint limits``: says which of a model's maps cost the most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from heatpoint.commands import parse
from heatpoint.inference import LimitsOptions
from heatpoint.options import File, Folder

EXAMPLES = (
    "heatpoint limits runs/train/best.safetensors val.json",
    "heatpoint limits best.safetensors voc:val --size 384 --json limits.json",
)


@dataclass
class Limits:
    """Says which of a model's maps cost the most, by putting in the true ones one after another."""

    measure: LimitsOptions

    FILES: ClassVar[str] = "files"

    images: Folder = ""
    """folder of the pictures, if not beside the annotations"""

    json: File = ""
    """file for the numbers and the protocol they were measured by"""


def run(words: Sequence[str]) -> int:
    """Scores with ever more true maps and prints a table."""
    options = parse(words, "limits", Limits, EXAMPLES)
    from heatpoint.commands.display import Progress, print_table
    from heatpoint.data.readers import read
    from heatpoint.inference.limits import run_limits
    from heatpoint.system.files import write_json

    options.measure.data = read(str(options.measure.data), options.images or None)
    with Progress("scoring") as progress:
        found = run_limits(options.measure, progress)
    print(f"{found.images} images, {found.objects} objects")
    print_table(("maps", *found.titles, "gain"), found.table())
    print(found.verdict())
    if options.json:
        write_json(options.json, found.as_dict())
        print(f"numbers and protocol: {options.json}")
    return 0
