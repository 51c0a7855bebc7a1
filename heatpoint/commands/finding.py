"""``heatpoint predict``, ``evaluate`` and ``limits``: what a model finds, and how well."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from heatpoint.inference import EvaluateOptions, LimitsOptions, PredictOptions
from heatpoint.options import File, Folder

if TYPE_CHECKING:
    from heatpoint.data.results import Detections
    from heatpoint.data.skeleton import Skeleton

COLUMNS = ("picture", "class", "score", "x1", "y1", "x2", "y2")
JOINT_COLUMNS = ("picture", "subject", "joint", "score", "x", "y")


@dataclass
class Predict:
    """Finds what a model was trained to find, in pictures."""

    EXAMPLES = (
        "heatpoint predict runs/train/best.safetensors photos --draw found",
        "heatpoint predict model.onnx photo.jpg --score 0.5 --json found.json",
    )

    find: PredictOptions

    OUTPUT: ClassVar[str] = "what is written"

    json: File = ""
    """file for the results, COCO rows with file and class names; printed as a table without it"""

    draw: Folder = ""
    """folder for the pictures with what is found drawn in"""

    profile: bool = False
    """say where the time went"""

    def run(self) -> None:
        """Predicts, and writes what was asked for."""
        from heatpoint.commands.display import print_table, track
        from heatpoint.data.draw import drawing_paths, write_picture
        from heatpoint.inference.engines.engine import Timings
        from heatpoint.inference.predict import start, write_results

        timings = Timings() if self.profile else None
        sources, runner, stream = start(self.find, timings)
        drawn = drawing_paths([source.path for source in sources], self.draw) if self.draw else []
        found = []
        for one in track(stream, len(sources), "predicting"):
            found.append(one)
            if drawn:
                write_picture(drawn[one.index], one.detections.plot(one.path))
        skeleton = runner.engine.description.skeleton
        done = f"{counted(sum(len(one.detections) for one in found), skeleton)} in"
        if self.json:
            write_results(self.json, found)
            print(f"{done} {len(found)} pictures: {self.json}")
        elif not self.draw:
            tell, columns = (_joints, JOINT_COLUMNS) if skeleton else (_boxes, COLUMNS)
            rows = [row for one in found for row in tell(Path(one.path).name, one.detections)]
            print_table(columns, rows)
            print(f"{done} {len(found)} pictures")
        if self.draw:
            print(f"{len(found)} pictures drawn in {self.draw}")
        if timings:
            print(timings.summary())


def counted(count: int, skeleton: Skeleton | None) -> str:
    """Returns how much was found, such as ``"3 poses"``."""
    return f"{count} {'object' if skeleton is None else 'pose'}{'' if count == 1 else 's'}"


def _boxes(picture: str, found: Detections) -> list[tuple[str, ...]]:
    return [
        (picture, found.names[label], f"{score:.2f}", *(f"{side:.1f}" for side in box))
        for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True)
    ]


def _joints(picture: str, found: Detections) -> list[tuple[str, ...]]:
    assert found.keypoints is not None
    assert found.skeleton is not None
    return [
        (picture, f"{found.names[label]} {place}", joint, f"{score:.2f}", f"{x:.1f}", f"{y:.1f}")
        for place, (label, joints) in enumerate(zip(found.labels, found.keypoints, strict=True), 1)
        for joint, (x, y, score) in zip(found.skeleton.joints, joints, strict=True)
    ]


@dataclass
class Files:
    """What evaluate and limits read and write beside their model and data."""

    FILES: ClassVar[str] = "files"

    images: Folder | None = None
    """folder of the pictures, if not beside the annotations"""

    json: File = ""
    """file for the numbers and the protocol they were measured by"""

    def write(self, numbers: dict[str, Any]) -> None:
        """Writes the numbers if that was asked for."""
        from heatpoint.system.files import write_json

        if self.json:
            write_json(self.json, numbers)
            print(f"numbers and protocol: {self.json}")


@dataclass
class Evaluate:
    """Scores a model on annotated pictures."""

    EXAMPLES = (
        "heatpoint evaluate runs/train/best.safetensors val.json",
        "heatpoint evaluate model.onnx voc:val --nms 0.5 --json numbers.json",
    )

    score: EvaluateOptions
    files: Files = field(default_factory=Files)

    def run(self) -> None:
        """Scores, and prints the numbers."""
        from heatpoint.commands.display import Progress
        from heatpoint.data.readers import read
        from heatpoint.inference.evaluate import run_evaluation

        self.score.data = read(str(self.score.data), self.files.images)
        with Progress("evaluating") as progress:
            metrics = run_evaluation(self.score, progress)
        print(metrics.summary())
        self.files.write(metrics.as_dict())


@dataclass
class Limits:
    """Says which of a model's maps cost the most, by putting in the true ones one after another."""

    EXAMPLES = (
        "heatpoint limits runs/train/best.safetensors val.json",
        "heatpoint limits best.safetensors voc:val --size 384 --json limits.json",
    )

    measure: LimitsOptions
    files: Files = field(default_factory=Files)

    def run(self) -> None:
        """Scores with ever more true maps and prints a table."""
        from heatpoint.commands.display import Progress, print_table
        from heatpoint.data.readers import read
        from heatpoint.inference.limits import run_limits

        self.measure.data = read(str(self.measure.data), self.files.images)
        with Progress("scoring") as progress:
            found = run_limits(self.measure, progress)
        print(f"{found.images} images, {found.objects} objects")
        print_table(("maps", *found.titles, "gain"), found.table())
        print(found.verdict())
        self.files.write(found.as_dict())
