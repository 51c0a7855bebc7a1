"""Finds where a trained model disagrees with the labels: of the two, one is wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.results import Detections
from heatpoint.data.validate import Progress
from heatpoint.errors import HeatpointError
from heatpoint.geometry import box_area, box_iou
from heatpoint.inference import KeepOptions, RunOptions
from heatpoint.inference.doubts import SAME, Doubt, Doubted, joint_doubts
from heatpoint.inference.engines import Engine
from heatpoint.inference.match import Match
from heatpoint.inference.page import picture, write_page
from heatpoint.inference.predict import SCORE, open_runner
from heatpoint.inspection.oracle import RADIUS
from heatpoint.scoring import alike
from heatpoint.zoo.detector import Detector

_SEEN = 0.05  # least score of something that the model takes to be possible
_BESIDE = 0.1, 0.3  # overlap from which a result is beside a label of its class, and of another
_LISTED = 1000  # pictures, at most, in report.json

PICTURES = 60
"""Pictures on a page, at most."""


@dataclass(frozen=True, eq=False)
class Disagreement:
    """What a model and the labels disagree about.

    Attributes:
        images: Pictures that were compared.
        truth: The annotations, with the classes that were compared.
        disputed: The pictures with a doubt, the most suspicious first.
        why_not: Why nothing could be compared; "" if it was.
    """

    images: int
    truth: Annotations
    disputed: tuple[Doubted, ...] = ()
    why_not: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Returns the doubts as plain numbers and strings, of 1000 pictures at most."""
        pictures = [
            {
                "image": str(each.record.path),
                "doubts": [{**d._asdict(), "box": d.box.tolist()} for d in each.doubts],
            }
            for each in self.disputed[:_LISTED]
        ]
        return {"images": self.images, "why_not": self.why_not, "pictures": pictures}

    def lines(self) -> list[str]:
        """Returns the counts in words."""
        if self.why_not:
            return [f"not looked for: {self.why_not}"]
        counts = Counter(doubt.kind for each in self.disputed for doubt in each.doubts)
        said = ", ".join(f"{n:,} {_KINDS[kind]}" for kind, n in counts.most_common())
        of = f"{len(self.disputed):,} of {self.images:,} images"
        return [f"model and labels disagree about {of}" + (f": {said}" if said else "")]


_KINDS = {
    "missed": "labels that nothing was found for",
    "unlabelled": "found where nothing is labelled",
    "other class": "found as another class",
    "misplaced": "found beside the label",
    "joint": "joints found elsewhere",
    "sides": "subjects whose left and right seem swapped",
}


def disagreement(
    model: Detector | Engine,
    annotations: Annotations,
    size: tuple[int, int],
    progress: Progress | None = None,
) -> Disagreement:
    """Returns what a trained model and the labels of a data set disagree about.

    Args:
        model: The model.
        annotations: The data set, as ``clean`` leaves it.
        size: (H, W) of the input in pixels.
        progress: Called with the number of images done and of all.
    """
    runner = open_runner(model, RunOptions(size=size), KeepOptions(), _SEEN)
    try:
        match = Match.of(runner.engine.description, annotations)
    except HeatpointError as error:  # a model for other things still has its size and stride
        return Disagreement(0, annotations, why_not=str(error))
    compared: list[tuple[ImageRecord, Detections]] = []
    for one in runner.stream(match.sources, match.places(), skip_bad=True):
        compared.append((match.truth.images[one.index], match.answer(one.detections)))
        if progress is not None:
            progress(one.index + 1, len(annotations))
    return Disagreement(len(compared), match.truth, disputed(match, compared))


def disputed(
    match: Match, compared: Sequence[tuple[ImageRecord, Detections]]
) -> tuple[Doubted, ...]:
    """Returns the pictures with a doubt, the most suspicious first.

    Args:
        match: Says what is compared.
        compared: Labels and findings of each picture, with the classes and joints of the labels.
    """
    doubts: dict[int, list[Doubt]] = defaultdict(list)
    if (match.boxes or match.points) and not match.asks:
        for place, doubt in _box_doubts(match, compared):
            doubts[place].append(doubt)
    if match.joints:
        for place, (record, found) in enumerate(compared):
            doubts[place] += joint_doubts(match, record, found, match.asks)
    pictures = []
    for place, some in doubts.items():
        if some:
            record, found = compared[place]
            shown = found if match.asks else found[found.scores >= SCORE]
            ordered = tuple(sorted(some, key=lambda doubt: -doubt.suspicion))
            pictures.append(Doubted(record, shown, ordered))
    return tuple(sorted(pictures, key=lambda each: [-doubt.suspicion for doubt in each.doubts]))


def _box_doubts(
    match: Match, compared: Sequence[tuple[ImageRecord, Detections]]
) -> Iterator[tuple[int, Doubt]]:
    """Yields the index of the picture and what is doubtful about its boxes.

    A label that nothing was found for is as suspicious as the model is good at finding its class.
    """
    names, sought, hit = match.truth.names, Counter[int](), Counter[int]()
    missed: list[tuple[int, int, NDArray[np.float64]]] = []
    for place, (record, found) in enumerate(compared):
        truth, scores = record.keep(match.wanted(record)), found.scores
        pair = truth.boxes, found.boxes.astype(np.float64)
        overlaps = alike(*pair, RADIUS) if match.points else box_iou(*pair)
        same = truth.labels[:, None] == found.labels[None]
        right = np.where((overlaps >= SAME) & same, scores, 0).max(1, initial=0)
        wrong = np.where((overlaps >= SAME) & ~same & (scores >= SCORE), scores, 0)
        # What is about a label, or lies in a region that is nobody's concern, is not unlabelled.
        free = (scores >= SCORE) & ~(overlaps >= SAME).any(0)
        free &= _share_within(found.boxes, record.boxes[~match.wanted(record)]) < SAME
        beside = np.where((overlaps >= np.where(same, *_BESIDE)) & free, overlaps, 0)
        for row, label in enumerate(truth.labels.tolist()):
            sought[label] += 1
            hit[label] += bool(right[row])
            box, name = truth.boxes[row], names[label]
            if wrong[row].max(initial=0) > right[row]:
                other = int(wrong[row].argmax())
            elif right[row]:
                continue
            elif beside[row].any():
                other = int(beside[row].argmax())
                free[other], beside[:, other] = False, 0
            else:
                missed.append((place, label, box))
                continue
            score, overlap = float(scores[other]), float(overlaps[row, other])
            reason = f"{names[found.labels[other]]} found with {score:.2f}, "
            if same[row, other]:
                common = f"but only {overlap:.2f} of it and its label in common"
                reason += "but beside its label" if match.points else common
                yield place, Doubt("misplaced", reason, score * (1 - overlap), box)
            else:
                reason += f"labelled {name}"
                yield place, Doubt("other class", reason, score - float(right[row]), box)
        for row in np.flatnonzero(free).tolist():
            score, box = float(scores[row]), found.boxes[row].astype(np.float64)
            reason = f"{names[found.labels[row]]} found with {score:.2f} where nothing is labelled"
            yield place, Doubt("unlabelled", reason, score, box)
    for place, label, box in missed:
        share, name = hit[label] / sought[label], names[label]
        reason = f"{name} labelled where nothing is found ({share:.0%} of all {name} are found)"
        yield place, Doubt("missed", reason, share, box)


def _share_within(boxes: NDArray[Any], regions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the (N,) greatest share of each box's area that lies in one of the regions."""
    low = np.maximum(boxes[:, None, :2], regions[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    common = (high - low).clip(0).prod(-1).max(1, initial=0)
    share: NDArray[np.float64] = common / box_area(boxes).astype(np.float64).clip(1e-9)
    return share


def write_disputed(path: str | Path, source: str, model: str, found: Disagreement) -> None:
    """Writes a page of the most suspicious pictures, labels beside what the model finds.

    Args:
        path: A file that ends in .html.
        source: The data, as the user wrote it.
        model: The model, likewise.
        found: What the two disagree about.
    """
    shown = found.disputed[:PICTURES]
    lead = f"{found.lines()[0]}. The most suspicious come first; of each, one side is wrong."
    if more := len(found.disputed) - len(shown):
        lead += f" {more:,} more are in report.json."
    parts = (picture(each, found.truth, "suspicion") for each in shown)
    title = f"Labels of {source} and findings of {model}"
    write_page(path, title, chain([f"<p>{escape(lead)}</p>\n"], parts))
