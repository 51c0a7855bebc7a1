"""An engine that sees bright rectangles on black, exactly, without any network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from heatpoint.inference.engines.description import Description
from heatpoint.inference.engines.engine import Timings
from heatpoint.views.fields import BOXES, LABELS, SCORES

ROWS = 100


class SeeingEngine:
    """Answers with the box of every connected bright region; its score is the share of 255.

    Attributes:
        shapes: (B, H, W) of every call, in order.
    """

    name, device, precision, streams = "seeing", "cpu", "fp32", 1

    def __init__(self, **changes: Any) -> None:
        about = Description(
            names=("thing",),
            size=(64, 64),
            multiple=16,
            answer=(BOXES, SCORES, LABELS),
            rows=ROWS,
        )
        self.description = replace(about, **changes)
        self.timings = Timings()
        self.shapes: list[tuple[int, int, int]] = []

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        count, _, height, width = images.shape
        self.shapes.append((count, height, width))
        boxes = np.zeros((count, ROWS, 4), np.float32)
        scores = np.zeros((count, ROWS), np.float32)
        for number, image in enumerate(images):
            _, regions, stats, _ = cv2.connectedComponentsWithStats(
                (image[0] > 40).astype(np.uint8), connectivity=4
            )
            found = []
            for region, (x, y, wide, high, _area) in enumerate(stats[1:], start=1):
                brightest = image[0][regions == region].max() / 255
                found.append((float(brightest), (x, y, x + wide, y + high)))
            for row, (score, box) in enumerate(sorted(found, reverse=True)[:ROWS]):
                scores[number, row], boxes[number, row] = score, box
        return {"boxes": boxes, "scores": scores, "labels": np.zeros((count, ROWS), np.int64)}


def scene(size: tuple[int, int], boxes: list[tuple[int, int, int, int]]) -> np.ndarray:
    """Returns a black (h, w, 3) picture with one bright rectangle per xyxy box."""
    image = np.zeros((*size, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 200
    return image
