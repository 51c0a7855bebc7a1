"""``heatpoint predict``: finds objects, or the joints of subjects, in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from heatpoint.commands import parse
from heatpoint.inference import PredictOptions
from heatpoint.options import File, Folder

if TYPE_CHECKING:
    from heatpoint.data.results import Detections

EXAMPLES = (
    "heatpoint predict runs/train/best.safetensors photos --draw found",
    "heatpoint predict model.onnx photo.jpg --score 0.5 --json found.json",
)

COLUMNS = ("picture", "class", "score", "x1", "y1", "x2", "y2")
JOINT_COLUMNS = ("picture", "subject", "joint", "score", "x", "y")


@dataclass
class Predict:
    """Finds what a model was trained to find, in pictures."""

    find: PredictOptions

    OUTPUT: ClassVar[str] = "what is written"

    json: File = ""
    """file for the results, COCO rows with file and class names; printed as a table without it"""

    draw: Folder = ""
    """folder for the pictures with what is found drawn in"""

    profile: bool = False
    """say where the time went"""


def run(words: Sequence[str]) -> int:
    """Predicts, and writes what was asked for."""
    options = parse(words, "predict", Predict, EXAMPLES)
    from heatpoint.commands.display import print_table, track
    from heatpoint.data.draw import drawing_paths, write_picture
    from heatpoint.inference.engines.engine import Timings
    from heatpoint.inference.predict import start, write_results

    timings = Timings() if options.profile else None
    sources, _, stream = start(options.find, timings)
    drawn = drawing_paths([source.path for source in sources], options.draw) if options.draw else []
    found = []
    for one in track(stream, total=len(sources), text="predicting"):
        found.append(one)
        if options.draw:
            write_picture(drawn[one.index], one.detections.plot(one.path))
    count = sum(len(one.detections) for one in found)
    done = f"{count} {what(found[0].detections, count) if found else 'results'} in"
    if options.json:
        write_results(options.json, found)
        print(f"{done} {len(found)} pictures: {options.json}")
    elif not options.draw:
        jointed = any(one.detections.skeleton is not None for one in found)
        tell = _joint_rows if jointed else _rows
        rows = [row for one in found for row in tell(Path(one.path).name, one.detections)]
        print_table(JOINT_COLUMNS if jointed else COLUMNS, rows)
        print(f"{done} {len(found)} pictures")
    if options.draw:
        print(f"{len(found)} pictures drawn in {options.draw}")
    if timings:
        print(timings.summary())
    return 0


def what(found: Detections, count: int) -> str:
    """Returns what a model's results are called."""
    noun = "object" if found.keypoints is None else "pose"
    return noun if count == 1 else f"{noun}s"


def _rows(name: str, found: Detections) -> list[tuple[str, ...]]:
    return [
        (
            name,
            found.names[label],
            f"{score:.2f}",
            *(f"{side:.1f}" for side in box),
        )
        for box, score, label in zip(
            found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
        )
    ]


def _joint_rows(name: str, found: Detections) -> list[tuple[str, ...]]:
    if found.keypoints is None or found.skeleton is None:
        return []
    return [
        (name, f"{found.names[label]} {place}", joint, f"{score:.2f}", f"{x:.1f}", f"{y:.1f}")
        for place, (joints, label) in enumerate(
            zip(found.keypoints.tolist(), found.labels.tolist(), strict=True), 1
        )
        for joint, (x, y, score) in zip(found.skeleton.joints, joints, strict=True)
    ]
