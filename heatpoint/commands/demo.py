"""``heatpoint demo``: proves the installation on drawn pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from heatpoint.commands import parse
from heatpoint.options import Folder, Minutes

EXAMPLES = (
    "heatpoint demo",
    "heatpoint demo --task pose --minutes 1",
)


@dataclass
class Demo:
    """Draws a data set, trains on it, evaluates, predicts and saves pictures."""

    task: Literal["boxes", "pose"] = "boxes"
    """what to find: boxes of shapes, or the joints of articulated figures"""

    out: Folder = ""
    """folder for everything; runs/demo or runs/demo-pose by default"""

    minutes: Minutes = 1.7
    """time for everything, of which training takes what the rest leaves"""

    seed: int = 0
    """seed of the pictures and of the training"""


def run(words: Sequence[str]) -> int:
    """Runs the demo."""
    options = parse(words, "demo", Demo, EXAMPLES)
    from heatpoint.demonstration import demo

    demo(options.out or None, task=options.task, minutes=options.minutes, seed=options.seed)
    return 0
