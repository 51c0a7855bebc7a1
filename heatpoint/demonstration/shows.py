"""What each demo draws, what it trains, and how it shows what was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.draw import draw_truth, enlarge, montage, write_picture
from heatpoint.data.images import load_image
from heatpoint.data.results import Detections
from heatpoint.geometry import Image
from heatpoint.synthetic.figures import write_figures
from heatpoint.synthetic.pictures import write_shapes

_BOXES_NEXT = """\
Now your own data (COCO JSON, a Pascal VOC or YOLO folder):
  heatpoint inspect train.json
  heatpoint train train.json --val val.json --model centernet_resnet18 --pretrained
  heatpoint evaluate runs/train/best.safetensors val.json
  heatpoint predict runs/train/best.safetensors photos --draw found
This detector of shapes is a checkpoint like any other:
  heatpoint predict {checkpoint} {images} --draw found"""

_JOINTS_NEXT = """\
Now your own keypoints (COCO, MPII, LSP, FLIC or DeepLabCut):
  heatpoint inspect train.json --model pose_mobilenetv2
  heatpoint train train.json --val val.json --model pose_mobilenetv2 --pretrained
  heatpoint evaluate runs/train/best.safetensors val.json
  heatpoint predict runs/train/best.safetensors photos --boxes boxes.json --draw found
This model of figures is a checkpoint like any other:
  heatpoint predict {checkpoint} {images} --draw found"""

_SHEET = 12
"""Pictures on a sheet."""

_TILE = 256  # least height of a picture on it, in pixels


@dataclass(frozen=True)
class Show:
    """One demo.

    Attributes:
        out: Default folder.
        model: Architecture.
        images: Default number of training pictures.
        step: What the pictures' side must be a multiple of; the input's is of 32.
        write: Draws pictures into a folder, so many, of a size, by a seed, and returns the path of
            their COCO JSON file.
        recipe: Options of training that were found to learn most within the time.
        scores: Names of the scores that are told, the main one first.
        closing: Commands to go on with; takes ``checkpoint`` and ``images``.
    """

    out: str
    model: str
    images: int
    step: int
    write: Callable[[str | Path, int, tuple[int, int], int], Path]
    recipe: dict[str, Any]
    scores: tuple[str, ...]
    closing: str


SHOWS = {
    "boxes": Show(
        out="runs/demo",
        model="centernet_tiny",
        images=2000,
        step=32,
        write=write_shapes,
        # Every picture is a new one already, so that none is varied.
        recipe={"lr": 0.014, "size_region": 0.5, "giou_weight": 1.0, "eval_every": 4},
        scores=("ap", "ap50"),
        closing=_BOXES_NEXT,
    ),
    "pose": Show(
        out="runs/demo-pose",
        model="pose_tiny",
        images=1500,
        step=64,  # a crop at half the picture's side is sharp enough, and four times as quick
        write=write_figures,
        # Sides are told by colour, so that a mirror image would lie.
        recipe={"lr": 0.01, "eval_every": 2},
        scores=("pck@0.1", "pck@0.05"),
        closing=_JOINTS_NEXT,
    ),
}
"""The demos by name."""


def write_sheet(path: Path, checkpoint: Path, truth: Annotations) -> None:
    """Writes pairs of truth and prediction of the first pictures, in rows of three.

    Those with at least two objects come first. They are chosen before anything is known about how
    well the model does on them.

    Args:
        path: A file that ends in .png or .jpg.
        checkpoint: The model; one that asks about places gets the annotated ones.
        truth: Pictures with their objects.
    """
    from heatpoint.inference.predict import predict
    from heatpoint.zoo.detector import Detector

    detector = Detector.load(checkpoint)
    asks = detector.codec.view.asks
    records = [record for record in truth.images if asks or len(record) > 1][:_SHEET]
    records = records or truth.images[:_SHEET]
    boxes: Sequence[Any] | None = [record.boxes for record in records] if asks else None
    found = predict(detector, [record.path for record in records], boxes=boxes)
    pairs = [_pair(record, result) for record, result in zip(records, found, strict=True)]
    write_picture(path, montage(pairs, columns=3, gap=24))


def _pair(record: ImageRecord, found: Detections) -> Image:
    large, zoom = enlarge(load_image(record.path), _TILE)
    scale = np.array([zoom, zoom, 1], np.float32)
    labelled = None if record.keypoints is None else record.keypoints * scale
    wanted = ImageRecord(record.path, None, record.boxes * zoom, record.labels, keypoints=labelled)
    joints = None if found.keypoints is None else found.keypoints * scale
    scaled = Detections(
        found.boxes * zoom, found.scores, found.labels, found.names, joints, found.skeleton
    )
    drawn = [draw_truth(large, wanted, found.names, found.skeleton), scaled.plot(large)]
    return montage(drawn, 2, ["truth", "prediction"])
