"""The demo of poses: articulated figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from heatpoint.data.annotations import Annotations
from heatpoint.demonstration.run import Scored, Settings
from heatpoint.demonstration.sheet import SHOWN, enlarge, write_sheet
from heatpoint.inference.poses import Poses

if TYPE_CHECKING:
    from heatpoint.training.loop import TrainResult

_CLOSING = """\
Now your own keypoints (COCO, MPII, LSP, FLIC or DeepLabCut):
  heatpoint inspect train.json --model pose_mobilenetv2
  heatpoint train train.json --val val.json --model pose_mobilenetv2 --pretrained
  heatpoint evaluate runs/train/best.safetensors val.json
  heatpoint predict runs/train/best.safetensors photos --boxes boxes.json --draw found
This model of figures is a checkpoint like any other:
  heatpoint predict {checkpoint} {images} --draw found"""


@dataclass(frozen=True)
class Figures:
    """See ``run.Show`` for what each part is."""

    out: str = "runs/demo-pose"
    model: str = "pose_tiny"
    images: int = 1500
    step: int = 64  # a crop at half the picture's side is sharp enough, and four times as quick
    closing: str = _CLOSING

    def draw(self, folder: Path, count: int, size: int, seed: int) -> Path:
        """Writes pictures of figures and returns the path of their COCO JSON file."""
        from heatpoint.synthetic.figures import write_figures

        return write_figures(folder, count, (size, size), seed)

    def train(self, data: Path, val: Path, out: Path, settings: Settings) -> TrainResult:
        """Trains with what was found to learn most within the time."""
        from heatpoint.training import train

        return train(
            str(data),
            str(val),
            model=self.model,
            out=str(out),
            size=settings.size,
            minutes=settings.minutes,
            epochs=settings.epochs,
            batch_size=8,
            lr=0.01,
            ema=0.998,
            augment="none",  # every picture is new; sides are told by colour, so a flip would lie
            eval_every=2,
            cache=1,
            workers=0,
            threads=settings.threads,
            seed=settings.seed,
        )

    def score(self, checkpoint: Path, truth: Annotations) -> Scored:
        """Returns PCK of the extent."""
        from heatpoint.scoring.evaluate_pose import evaluate_pose

        metrics = evaluate_pose(checkpoint, truth)
        scores = {name: metrics.scores[name] for name in ("pck@0.1", "pck@0.05")}
        return Scored(scores, metrics.as_dict(), metrics.summary(), metrics.images)

    def sheet(self, path: Path, checkpoint: Path, truth: Annotations) -> None:
        """Shows the first pictures, with every figure in them.

        They are chosen before anything is known about how well the model does on them.
        """
        from heatpoint.data.images import load_image
        from heatpoint.inference.draw import side_by_side
        from heatpoint.inference.draw_poses import annotated_poses, draw_poses
        from heatpoint.inference.predict_pose import predict_pose

        records = truth.images[:SHOWN]
        paths = [record.path for record in records]
        found = predict_pose(checkpoint, paths, boxes=[record.boxes for record in records])
        pairs = []
        for record, poses in zip(records, found, strict=True):
            large, zoom = enlarge(load_image(record.path))
            wanted = annotated_poses(record, poses.skeleton, poses.name)
            pictures = [draw_poses(large, _enlarged(each, zoom)) for each in (wanted, poses)]
            pairs.append(side_by_side(pictures, ["truth", "prediction"]))
        write_sheet(path, pairs)


def _enlarged(poses: Poses, zoom: int) -> Poses:
    """Returns poses in the pixels of an enlarged picture."""
    keypoints = poses.keypoints * np.array([zoom, zoom, 1], np.float32)
    return Poses(keypoints, poses.boxes * zoom, poses.scores, poses.skeleton, poses.name)
