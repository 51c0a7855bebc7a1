"""Pictures of a run: its curves, and a few validation images with predictions beside the truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from heatpoint.data.annotations import Annotations
from heatpoint.data.images import load_image
from heatpoint.detector import Detector
from heatpoint.draw import draw_detections, draw_truth, side_by_side, write_picture
from heatpoint.files import atomic_write
from heatpoint.geometry import Image
from heatpoint.prediction import predict
from heatpoint.training.logs import Row

SCORES = ("ap", "ap50", "ap75")
SHOWN = 0.3
"""Score from which a prediction is drawn."""
ROW_WIDTH = 1000


def draw_curves(path: Path, history: Sequence[Row], terms: Sequence[str]) -> None:
    """Draws the loss terms (logarithmic) and the validation AP over the epochs.

    Args:
        path: PNG file to write, atomically.
        history: One row per epoch, as in log.csv.
        terms: Names of the loss terms; ``loss/NAME`` is the column of one.

    Raises:
        HeatpointError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    _line(losses, history, "loss", "all")
    for name in terms:
        _line(losses, history, f"loss/{name}", name)
    losses.set(title="training loss", xlabel="epoch", yscale="log")
    for name in SCORES:
        _line(scores, history, name, name.upper())
    scores.set(title="validation", xlabel="epoch", ylim=(0, 1))
    for axes in (losses, scores):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _line(axes: object, history: Sequence[Row], name: str, label: str) -> None:
    points = [
        (row["epoch"], row[name])
        for row in history
        if row.get(name) is not None and row.get("epoch") is not None
    ]
    if points:
        x, y = zip(*points, strict=True)
        axes.plot(x, y, label=label, marker="o", markersize=3)  # type: ignore[attr-defined]


def draw_predictions(
    path: Path,
    detector: Detector,
    annotations: Annotations,
    size: tuple[int, int],
    device: torch.device,
    count: int = 4,
) -> None:
    """Draws the truth beside the predictions for a few images spread over the data.

    Args:
        path: PNG file to write, atomically.
        detector: What predicts; results above ``SHOWN`` are drawn.
        annotations: Images with the truth.
        size: (H, W) of the input in pixels.
        device: Where to compute.
        count: Number of images at most; one row each.

    Raises:
        HeatpointError: An image cannot be read or the file cannot be written.
    """
    step = max(1, len(annotations) // count)
    records = [record for record in annotations.images[::step] if len(record)][:count]
    images = [load_image(record.path) for record in records]
    found = predict(detector, images, size=size, score_threshold=SHOWN, device=device, workers=0)
    rows = []
    for record, image, detections in zip(records, images, found, strict=True):
        truth = draw_truth(image, record, annotations.names)
        pair = side_by_side([truth, draw_detections(image, detections)], ["truth", "predicted"])
        rows.append(_fit(pair, ROW_WIDTH))
    if rows:
        write_picture(path, np.concatenate(rows))


def _fit(image: Image, width: int) -> Image:
    """Returns the picture scaled to a width in pixels."""
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
