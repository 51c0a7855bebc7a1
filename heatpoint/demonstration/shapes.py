"""The demo of boxes: shapes of five classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from heatpoint.data.annotations import Annotations, ImageRecord
from heatpoint.demonstration.run import Scored, Settings
from heatpoint.demonstration.sheet import SHOWN, enlarge, write_sheet
from heatpoint.geometry.affine import Image
from heatpoint.inference.results import Detections

if TYPE_CHECKING:
    from heatpoint.training.loop import TrainResult

_SCORE = 0.3  # least score of a drawn prediction

_CLOSING = """\
Now your own data (COCO JSON, a Pascal VOC or YOLO folder):
  heatpoint inspect train.json
  heatpoint train train.json --val val.json --model centernet_resnet18 --pretrained
  heatpoint evaluate runs/train/best.safetensors val.json
  heatpoint predict runs/train/best.safetensors photos --draw found
This detector of shapes is a checkpoint like any other:
  heatpoint predict {checkpoint} {images} --draw found"""


@dataclass(frozen=True)
class Shapes:
    """See ``run.Show`` for what each part is."""

    out: str = "runs/demo"
    model: str = "centernet_tiny"
    images: int = 2000
    step: int = 32
    closing: str = _CLOSING

    def draw(self, folder: Path, count: int, size: int, seed: int) -> Path:
        """Writes pictures of shapes and returns the path of their COCO JSON file."""
        from heatpoint.synthetic.pictures import write_shapes

        return write_shapes(folder, count, (size, size), seed)

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
            lr=0.014,
            ema=0.998,
            augment="none",  # every picture is a new one already
            size_region=0.5,
            giou_weight=1.0,
            eval_every=4,
            cache=1,
            workers=0,
            threads=settings.threads,
            seed=settings.seed,
        )

    def score(self, checkpoint: Path, truth: Annotations) -> Scored:
        """Returns COCO's scores."""
        from heatpoint.scoring.evaluate import evaluate

        metrics = evaluate(checkpoint, truth, metric=("coco",))
        scores = {"ap": metrics.ap, "ap50": metrics.ap50}
        return Scored(scores, metrics.as_dict(), metrics.summary(), metrics.images)

    def sheet(self, path: Path, checkpoint: Path, truth: Annotations) -> None:
        """Shows the first pictures that hold at least two objects.

        They are chosen before anything is known about how well the detector does on them.
        """
        from heatpoint.data.images import load_image
        from heatpoint.inference.predict import predict

        records = [record for record in truth.images if len(record) > 1][:SHOWN]
        records = records or truth.images[:SHOWN]
        found = predict(checkpoint, [record.path for record in records], score_threshold=_SCORE)
        pairs = [
            _pair(load_image(record.path), record, detections)
            for record, detections in zip(records, found, strict=True)
        ]
        write_sheet(path, pairs)


def _pair(image: Image, record: ImageRecord, detections: Detections) -> Image:
    """Returns truth and prediction of one picture side by side, both under a title."""
    from heatpoint.inference.draw import draw_detections, draw_truth, side_by_side

    large, zoom = enlarge(image)
    wanted = ImageRecord(record.path, None, record.boxes * zoom, record.labels)
    scaled = Detections(
        detections.boxes * zoom, detections.scores, detections.labels, detections.names
    )
    return side_by_side(
        [draw_truth(large, wanted, detections.names), draw_detections(large, scaled)],
        ["truth", "prediction"],
    )
