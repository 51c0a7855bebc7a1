"""Asks how exact the labels of dark, separate objects are, and what AP that leaves to a model.

Run with ``python benchmarks/rough_labels.py ../shared/data/bccd:val RBC CHECKPOINT...``, with
models that have not seen these pictures. Three witnesses say where each object's four sides are:
its label, a model, and a threshold (Otsu's) on the green channel, which knows nothing of labels.
Only objects count that stand alone: one label, one dark region that touches no other and no edge
of the picture, one result of every model. What a witness adds to a side on average is taken off.

The three differ from each other pairwise. If their errors do not depend on each other, the three
variances of these differences give each one's own (Grubbs, "On Estimating Precision of Measuring
Instruments and Product Variability", 1948): that of labels is half of (label - edge) + (label -
model) - (edge - model). So much of the difference between labels and edges is then put on true
boxes, which says how well somebody would score who made no mistake at all.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.images import load_image
from heatpoint.data.readers import read
from heatpoint.data.results import Detections
from heatpoint.geometry import box_iou
from heatpoint.inference.predict import predict

SAME = 0.5
"""IoU from which on two boxes are taken for the same object's."""


def dark_regions(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Returns the boxes xyxy (N, 4) of dark regions that touch no edge of the picture."""
    green = cv2.GaussianBlur(image[..., 1], (0, 0), 1.5)
    _, dark = cv2.threshold(green, 0, 255, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
    filled = ndimage.binary_fill_holes(dark > 0).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(filled)
    x, y, across, down, area = stats[1:].T.astype(float)
    boxes = np.stack((x, y, x + across, y + down), 1)
    height, width = green.shape
    inside = (x > 0) & (y > 0) & (x + across < width) & (y + down < height)
    return np.asarray(boxes[inside & (area > 0.5 * across * down)])


def witnesses(
    record: ImageRecord, label: int, found: list[Detections], names: tuple[str, ...]
) -> NDArray[np.float64]:
    """Returns the boxes (M, 2 + models, 4) of label, edge and models for each object alone."""
    rows, regions = [], dark_regions(load_image(record.path))
    truth = record.boxes[record.labels == label]
    lists = [truth]
    for one in found:
        lists.append(one.boxes[one.labels == one.names.index(names[label])].astype(float))
    centres = (record.boxes[:, :2] + record.boxes[:, 2:]) / 2
    for region in regions:
        holds = ((centres > region[:2]) & (centres < region[2:])).all(1).sum()
        matches = [box_iou(region[None], boxes)[0] for boxes in lists]
        if holds == 1 and all(len(each) and each.max() >= SAME for each in matches):
            best = [boxes[each.argmax()] for boxes, each in zip(lists, matches, strict=True)]
            rows.append(np.stack((best[0], region, *best[1:])))
    return np.stack(rows) if rows else np.zeros((0, 2 + len(found), 4))


def levelled(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns boxes (M, W, 4) with sides in the lengths of the edge's box, less what is usual."""
    edge = boxes[:, 1:2]
    sides = np.tile(edge[..., 2:] - edge[..., :2], 2)
    apart = (boxes - edge) / sides
    return np.asarray(apart - apart.mean(0))


def as_boxes(apart: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns boxes (M, 4) around the unit square whose sides are off by so much."""
    return np.array([0.0, 0.0, 1.0, 1.0]) + apart


def scores(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the mean IoU of boxes (M, 4) by pairs, and the AP of results in no order.

    With one result for each object, of which a share p fits at a threshold, precision is p up to
    a recall of p: AP is p squared, averaged over 0.5, 0.55 ... 0.95.
    """
    fits = np.array([box_iou(a[None], b[None])[0, 0] for a, b in zip(ours, theirs, strict=True)])
    shares = [(fits >= least).mean() for least in np.arange(0.5, 0.96, 0.05)]
    return float(fits.mean()), float(np.square(shares).mean())


def own_errors(
    label: NDArray[np.float64], edge: NDArray[np.float64], model: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Returns the standard deviation of each witness's own errors, 0 where less than nothing."""
    pairs = [(label - edge).var(), (label - model).var(), (edge - model).var()]
    whole = sum(pairs) / 2
    one, two, three = (float(max(whole - pairs[number], 0.0) ** 0.5) for number in (2, 1, 0))
    return one, two, three


def told(truth: Annotations, label: int, checkpoints: list[Path]) -> None:
    """Prints what the witnesses say."""
    pictures = [record.path for record in truth.images]
    found = [predict(each, pictures, score=0.1, workers=0) for each in checkpoints]
    boxes = np.concatenate(
        [
            witnesses(record, label, [each[number] for each in found], truth.names)
            for number, record in enumerate(truth.images)
        ]
    )
    if not len(boxes):
        raise SystemExit(f"no {truth.names[label]} stands alone with all witnesses")
    names = ["label", "edge", *(f"model {number}" for number in range(len(checkpoints)))]
    total = sum(int((record.labels == label).sum()) for record in truth.images)
    print(f"{len(boxes)} of {total} {truth.names[label]} stand alone and have all witnesses")
    apart = levelled(boxes)
    for first, name in enumerate(names):
        for second in range(first + 1, len(names)):
            mean, ap = scores(as_boxes(apart[:, first]), as_boxes(apart[:, second]))
            spread = (apart[:, first] - apart[:, second]).std()
            print(
                f"{name:8} and {names[second]:8} mean IoU {mean:.3f}, AP {ap:.3f}, "
                f"sides apart by {100 * spread:.1f} % of a length"
            )
    for number in range(2, len(names)):
        own = own_errors(apart[:, 0], apart[:, 1], apart[:, number])
        share = min(1.0, own[0] / apart[:, 0].std())  # the edge's place is 0
        true = as_boxes((1 - share) * apart[:, 0])
        mean, ap = scores(as_boxes(apart[:, 0]), true)
        print(
            f"with {names[number]}: sides are off by {100 * own[0]:.1f} % (label), "
            f"{100 * own[1]:.1f} % (edge), {100 * own[2]:.1f} % (model); true boxes would have "
            f"mean IoU {mean:.3f}, AP {ap:.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("name", help="the class")
    parser.add_argument("checkpoint", type=Path, nargs="+")
    given = parser.parse_args()
    truth = read(given.data)
    told(truth, truth.names.index(given.name), given.checkpoint)


if __name__ == "__main__":
    main()
