"""Times the decoding of 5,000 points, and compares a model with scikit-image's blob_log.

Run with ``python benchmarks/points.py``; with a checkpoint and data, such as those of ``heatpoint
demo --task points``, the second part follows (scikit-image must be installed):
``python benchmarks/points.py runs/demo-points/train/best.safetensors runs/demo-points/data/val``.
Times are processor time on one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from heatpoint.codecs import Target
from heatpoint.codecs.points import PointCodec
from heatpoint.data import Annotations
from heatpoint.data.images import load_image
from heatpoint.data.quads import as_points
from heatpoint.data.readers import read
from heatpoint.data.results import Detections
from heatpoint.inference.predict import predict
from heatpoint.scoring.points import score_points


def milliseconds(work: Callable[[], Any], turns: int = 20) -> float:
    """Returns the median processor time of a call."""
    times = []
    for _ in range(turns):
        start = time.process_time()
        work()
        times.append(1000 * (time.process_time() - start))
    return statistics.median(times)


def decoding(points: int = 5000) -> None:
    """Times maps that hold so many points of two classes, and noise, as small models decode."""
    generator = torch.Generator().manual_seed(0)
    for stride, side in ((4, 1024), (2, 512), (2, 1024)):
        codec = PointCodec(2, stride, max_detections=points, neighbours=1)
        places = torch.rand(points, 1, 2, generator=generator) * side
        labels = torch.randint(0, 2, (points,), generator=generator)
        target = Target(torch.zeros(points, 4), labels, points=places)
        maps = codec.ideal(codec.encode([target], (side, side)))
        maps["heatmap"] += 0.01 * torch.randn(maps["heatmap"].shape, generator=generator)
        taken = milliseconds(lambda codec=codec, maps=maps: codec.decode(maps))
        print(f"{points} points, {side}x{side} pixels at stride {stride}: {taken:.1f} ms")


def by_blobs(record_path: Path, threshold: float, names: tuple[str, ...]) -> Detections:
    """Returns what blob_log finds on the darkness of a picture, all of the first class."""
    from skimage.feature import blob_log

    grey = load_image(record_path).mean(2) / 255
    found = blob_log(1 - grey, min_sigma=3, max_sigma=7, num_sigma=5, threshold=threshold)
    places = found[:, 1::-1].astype(np.float32) + 0.5
    boxes, scores = np.tile(places, 2), np.ones(len(found), np.float32)
    return Detections(boxes, scores, np.zeros(len(found), np.int64), names)


def compared(checkpoint: Path, data: Path) -> None:
    """Prints F1 of points of whatever class, and seconds for all pictures."""
    truth = as_points(read(data))
    for record in truth.images:
        record.labels[:] = 0
    pictures = [record.path for record in truth.images]
    start = time.process_time()
    found = predict(checkpoint, pictures, workers=0)
    said(truth, [_one_class(one) for one in found], "heatpoint", time.process_time() - start)
    for threshold in (0.02, 0.05, 0.1, 0.15):
        start = time.process_time()
        blobs = [by_blobs(path, threshold, truth.names) for path in pictures]
        said(truth, blobs, f"blob_log {threshold:g}", time.process_time() - start)


def _one_class(found: Detections) -> Detections:
    return found.renamed(found.names, np.zeros(len(found.names), np.int64))


def said(truth: Annotations, found: list[Detections], name: str, seconds: float) -> None:
    """Prints the scores of one way."""
    scores = score_points(found, truth, (4.0, 8.0), 0.0)
    within = ", ".join(f"F1@{radius} {each.f1:.3f}" for radius, each in scores.within.items())
    counts = f"count off by {scores.counts.mae:.2f} (bias {scores.counts.bias:+.2f})"
    print(f"{name:15} {within}, {counts}, {seconds:.1f} s for {len(truth)} pictures")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, nargs="?")
    parser.add_argument("data", type=Path, nargs="?")
    given = parser.parse_args()
    torch.set_num_threads(1)
    decoding()
    if given.checkpoint and given.data:
        compared(given.checkpoint, given.data)


if __name__ == "__main__":
    main()
