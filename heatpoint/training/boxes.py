"""Training to find boxes: centre points, scored by COCO's AP."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from heatpoint import zoo
from heatpoint.codecs.types import Target
from heatpoint.data.annotations import Annotations
from heatpoint.data.augment import Augment
from heatpoint.data.dataset import TrainSet
from heatpoint.data.images import load_image
from heatpoint.detector.detector import Detector
from heatpoint.errors import HeatpointError
from heatpoint.inference.draw import draw_detections, draw_truth
from heatpoint.inference.predict import predict
from heatpoint.scoring.evaluate import evaluate
from heatpoint.training.checks import input_size
from heatpoint.training.options import POSE_OPTIONS, TrainOptions
from heatpoint.training.pictures import spread, write_rows
from heatpoint.training.state import Row

AUGMENTS = {"published": Augment, "mild": Augment.mild, "none": Augment.none}
SHOWN = 0.3
"""Score from which a prediction is drawn."""


@dataclass(frozen=True)
class BoxTask:
    """See ``tasks.Task`` for what each part is."""

    scores: tuple[str, ...] = ("ap", "ap50", "ap75")
    stacks: Literal["mean", "sum"] = "mean"  # as in CenterNet's released trainer
    codec_options: tuple[str, ...] = (
        *("radius", "overlap", "max_detections", "size_region", "giou_weight"),
    )
    foreign_options: tuple[str, ...] = POSE_OPTIONS
    finds: str = "boxes"

    def adopt(self, annotations: Annotations, options: TrainOptions) -> Annotations:
        """Returns the data as it is; joints, if there are any, are not looked at."""
        return annotations

    def check_pair(self, train: Annotations, val: Annotations) -> None:
        """Makes sure that both have the same classes, in whatever order.

        Raises:
            HeatpointError: They do not; lists the differences.
        """
        missing = [name for name in train.names if name not in val.names]
        extra = [name for name in val.names if name not in train.names]
        if missing or extra:
            phrases = [f"only in {train.source}: {', '.join(missing)}"] if missing else []
            phrases += [f"only in {val.source}: {', '.join(extra)}"] if extra else []
            raise HeatpointError(
                f"training and validation data have different classes; {'; '.join(phrases)}; "
                "list the same classes in both"
            )

    def is_empty(self, annotations: Annotations) -> bool:
        """Tells whether there is no object but crowd regions and those marked difficult."""
        return not any((~(r.crowd | r.difficult)).any() for r in annotations.images)

    def content(self, annotations: Annotations) -> str:
        """Returns the number of objects, by class."""
        objects = annotations.counts()
        classes = ", ".join(f"{name} {number:,}" for name, number in list(objects.items())[:12])
        more = f" and {len(objects) - 12} more classes" if len(objects) > 12 else ""
        return f"{sum(objects.values()):,} objects ({classes}{more})"

    def build(self, options: TrainOptions, train: Annotations) -> Detector:
        """Returns an untrained detector of the data's classes."""
        return zoo.build(
            options.model, train.names, options.backbone_weights or None, options.pretrained
        )

    def adapt(self, detector: Detector, train: Annotations) -> list[str]:
        """Gives the detector the data's classes; those it knows by name keep what it learnt."""
        return detector.adapt(train.names)

    def samples(
        self, options: TrainOptions, train: Annotations, detector: Detector
    ) -> tuple[TrainSet, list[str]]:
        """Returns views of the images, one per epoch and image."""
        window = None
        if options.window is not None:
            network = detector.network
            window = input_size(
                options.window, detector.size, network.multiple, "window", network.trim
            )
            if window[0] > detector.size[0] or window[1] > detector.size[1]:
                raise HeatpointError(
                    f"window {window[0]}x{window[1]} is larger than the input of "
                    f"{detector.size[0]}x{detector.size[1]} pixels; choose a part of it"
                )
        augment = AUGMENTS[options.augment]()
        augment = replace(
            augment,
            mosaic=options.mosaic,
            flip=augment.flip if options.flip is None else options.flip,
            flip_vertical=0.5 if options.flip_vertical else 0.0,
            quarter_turn=0.5 if options.quarter_turns else 0.0,
            window=window,
        )
        cache = round(options.cache * 2**30)
        views = TrainSet(train, detector.size, augment, options.seed, cache)
        return views, [str(record.path) for record in train.images]

    def nothing(self, detector: Detector) -> Target:
        """Returns the target of an empty image."""
        return Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))

    def validate(
        self, detector: Detector, val: Annotations, size: tuple[int, int], device: torch.device
    ) -> Row:
        """Returns AP, AP50 and AP75 as ``evaluate`` gives them."""
        metrics = evaluate(detector, val, size=size, device=device, metric=("coco",))
        return {name: getattr(metrics, name) for name in self.scores}

    def draw(
        self,
        path: Path,
        detector: Detector,
        shown: Annotations,
        size: tuple[int, int],
        device: torch.device,
    ) -> None:
        """Draws boxes of truth and prediction; results above ``SHOWN`` are drawn."""
        records = spread(shown, len)
        images = [load_image(record.path) for record in records]
        found = predict(
            detector, images, size=size, score_threshold=SHOWN, device=device, workers=0
        )
        pairs = [
            (draw_truth(image, record, shown.names), draw_detections(image, detections))
            for record, image, detections in zip(records, images, found, strict=True)
        ]
        write_rows(path, pairs)
