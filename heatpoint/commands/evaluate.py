"""``heatpoint evaluate``: scores a model on annotated data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from heatpoint.commands import parse
from heatpoint.inference import EvaluateOptions
from heatpoint.options import File, Folder

EXAMPLES = (
    "heatpoint evaluate runs/train/best.safetensors val.json",
    "heatpoint evaluate model.onnx voc:val --nms 0.5 --json numbers.json",
)


@dataclass
class Evaluate:
    """Scores a model on annotated pictures."""

    score: EvaluateOptions

    FILES: ClassVar[str] = "files"

    images: Folder = ""
    """folder of the pictures, if not beside the annotations"""

    json: File = ""
    """file for the numbers and the protocol they were measured by"""


def run(words: Sequence[str]) -> int:
    """Scores, and prints the numbers."""
    options = parse(words, "evaluate", Evaluate, EXAMPLES)
    from heatpoint.commands.display import Progress
    from heatpoint.data.readers import read
    from heatpoint.inference.evaluate import run_evaluation
    from heatpoint.system.files import write_json

    options.score.data = read(str(options.score.data), options.images or None)
    with Progress("evaluating") as progress:
        metrics = run_evaluation(options.score, progress)
    print(metrics.summary())
    if options.json:
        write_json(options.json, metrics.as_dict())
        print(f"numbers and protocol: {options.json}")
    return 0
