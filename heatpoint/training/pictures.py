"""Puts the truth of a few validation images beside what the model says about them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from heatpoint.data.annotations import Annotations
from heatpoint.data.dataset import varied
from heatpoint.data.draw import draw_truth, montage, write_picture
from heatpoint.data.images import load_image
from heatpoint.inference.predict import predict
from heatpoint.zoo.detector import Detector

COUNT = 4
ROW_WIDTH = 1000


def draw_predictions(
    path: Path,
    detector: Detector,
    shown: Annotations,
    size: tuple[int, int],
    device: torch.device,
) -> None:
    """Writes rows of truth and prediction, each 1000 pixels wide; nothing if there is no object.

    Args:
        path: PNG file to write, atomically.
        detector: What is to be seen at work; where it asks about places, it gets the annotated.
        shown: Cleaned data, some images of which are drawn.
        size: (H, W) of the input in pixels.
        device: Where the network runs.

    Raises:
        HeatpointError: The file cannot be written.
    """
    view = detector.codec.view
    wanted = [np.zeros(len(record), bool) for record in shown.images]
    for index, objects in varied(view)().samples(shown).places:
        wanted[index][objects] = True
    spread = range(0, len(shown), max(1, len(shown) // COUNT))
    chosen = [index for index in spread if wanted[index].any()][:COUNT]
    records = [shown.images[index].keep(wanted[index]) for index in chosen]
    images = [load_image(record.path) for record in records]
    found = predict(
        detector,
        images,
        boxes=[record.boxes for record in records] if view.asks else None,
        size=size,
        device=device,
        workers=0,
    )
    joints = shown.skeleton if "keypoints" in detector.codec.learns else None
    pictures = [
        picture
        for image, record, one in zip(images, records, found, strict=True)
        for picture in (draw_truth(image, record, shown.names, joints), one.plot(image))
    ]
    if pictures:
        write_picture(path, montage(pictures, 2, ["truth", "predicted"], width=ROW_WIDTH))
