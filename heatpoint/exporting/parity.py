"""Compares an exported file with its checkpoint along the whole path, from pixels to results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError
from heatpoint.exporting.inside import ObservedEngine, apart
from heatpoint.geometry import Bands, Image, box_iou
from heatpoint.inference import KeepOptions, RunOptions
from heatpoint.inference.engines import open_engine
from heatpoint.inference.engines.description import Description
from heatpoint.inference.engines.engine import Answer
from heatpoint.inference.places import places_of
from heatpoint.inference.predict import open_runner
from heatpoint.inference.runner import Ask, Job, Runner
from heatpoint.inference.sources import Images, expand
from heatpoint.synthetic.figures import draw_figures
from heatpoint.synthetic.pictures import draw_shapes
from heatpoint.views import Places
from heatpoint.views.fields import Field
from heatpoint.wording import amount
from heatpoint.zoo.detector import Detector

SURE = 0.3
"""Results of at least this score are compared; where there is none, the ``FEW`` best are."""

FEW = 5
_CUT = 1 / 3  # share of the results that the end of an answer may cut off
_SAME = 0.5  # overlap from which two boxes of one class are taken for the same result
_LEAST = 8.0  # image pixels: side that a box is taken to have at least where rows are matched
_DRAWN = ((240, 320), (360, 200), (150, 400))  # heights and widths, none of them square


@dataclass(frozen=True)
class Tolerance:
    """How far an exported file may be from its checkpoint.

    Attributes:
        pixels: Largest distance of a box's side, or of a joint, in image pixels.
        overlap: Boxes that overlap at least this much pass, whatever their distance in pixels:
            one pixel is much for a small box and nothing for one of a thousand.
        score: Largest difference of two scores.
        lost: Share of the results that may be farther off or missing: of two neighbours that are
            equally high, rounding makes one the peak, the other, or both. A mistake of an export
            moves all results.
        maps: Largest difference of a map, as a share of its range, where nothing is found.
    """

    pixels: float
    overlap: float
    score: float
    lost: float
    maps: float


TOLERANCES = {
    # The same numbers, added up in another order: what differs is the last digits of fp32.
    "fp32": Tolerance(pixels=0.01, overlap=1.0, score=1e-4, lost=0.05, maps=0.01),
    # Weights of 11 significant bits, rounded once; what is computed from them is not rounded.
    "fp16": Tolerance(pixels=1.0, overlap=0.9, score=0.02, lost=0.05, maps=0.05),
    # 8 significant bits of every number between the layers.
    "bf16": Tolerance(pixels=2.0, overlap=0.8, score=0.05, lost=0.1, maps=0.2),
    # 256 steps for every number. Only a wreck is found here; the accuracy check is the judge.
    "int8": Tolerance(pixels=4.0, overlap=0.7, score=0.2, lost=0.2, maps=0.5),
}
"""What each precision allows."""


class Differences(NamedTuple):
    """Differences of one picture's results, one row each: infinite where one is missing.

    Attributes:
        scores: (N,) the higher of the two scores.
        pixels: (N,) largest distance in image pixels: of box sides, points, lengths and vectors.
        overlaps: (N,) of two boxes; 0 for joints, which have none.
        apart: (N,) difference of the scores.
        above: (N,) by how much the row scores more than the last one of the other answer, if that
            is full: it has no room for others. Infinite if it is not.
        before: (A,) scores of all results of the checkpoint.
        after: (B,) those of the exported file.
    """

    scores: NDArray[np.float64]
    pixels: NDArray[np.float64]
    overlaps: NDArray[np.float64]
    apart: NDArray[np.float64]
    above: NDArray[np.float64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]


@dataclass(frozen=True)
class Parity:
    """How far an exported file is from its checkpoint.

    Attributes:
        precision: Of the exported file.
        pictures: Number of pictures run, each input size counted.
        compared: Number of results compared.
        sure: They score ``SURE`` or more.
        pixels: Largest distance of a box's side, or of a joint, in image pixels.
        score: Largest difference of two scores.
        off: Number of results beyond what the precision allows, missing ones included.
        cut: Number of results left out, since the other answer ends above them.
        maps: Number of maps compared, where nothing is found.
        apart: Largest difference of one, as a share of its range.
    """

    precision: str
    pictures: int
    compared: int
    sure: bool
    pixels: float
    score: float
    off: int
    cut: int = 0
    maps: int = 0
    apart: float = 0.0

    @property
    def holds(self) -> bool:
        """Tells whether no more results are off than the precision allows, nor any map."""
        allowed = TOLERANCES[self.precision]
        return self.off <= allowed.lost * self.compared and self.apart <= allowed.maps

    def summary(self) -> str:
        """Returns one line for people."""
        pictures = amount(self.pictures, "picture")
        if self.maps:
            return (
                f"nothing is found in {pictures}, so {amount(self.maps, 'map')} were compared "
                f"with the checkpoint's: {self.apart:.2g} of their range at most"
            )
        if not self.compared:
            return (
                f"not compared: neither the checkpoint nor the file finds anything in "
                f"{pictures}; give pictures of what it finds with --check"
            )
        kind = "sure" if self.sure else "best (none sure)"
        return (
            f"against the checkpoint, {amount(self.compared, f'{kind} result')} in {pictures}: "
            f"{self.pixels:.2g} px, score {self.score:.2g} at most; {self.off} off"
            + (f"; {self.cut} left out, for which the other answer has no room" * bool(self.cut))
        )


class Ending(Runner):
    """A runner that notes where each picture's answer ends.

    Attributes:
        ends: Least score of each result's answer, if it is full, so that what scores less may be
            lacking; minus infinity if it is not, or if scores are changed afterwards.
    """

    def __init__(self, plain: Runner) -> None:
        super().__init__(plain.engine, plain.view, plain.keep)
        self.ends: list[float] = []
        self._least: dict[Job, float] = {}

    def read(self, answer: Answer, asks: Sequence[Ask]) -> None:
        """Puts what an answer says about some looks into their jobs, as every runner does."""
        super().read(answer, asks)
        for (job, _), scores in zip(asks, answer["scores"], strict=True):
            self._least[job] = min(self._least.get(job, np.inf), float(scores.min()))

    def conclude(self, job: Job) -> Detections:
        """Returns the result of a picture."""
        found, least = super().conclude(job), self._least.pop(job, 0.0)
        full = least > 0 and self.keep.soft_nms == "none"
        self.ends.append(least if full else -np.inf)
        return found


def check_parity(detector: Detector, path: str | Path, pictures: Images | None = None) -> Parity:
    """Returns how far an exported file is from its detector, which torch runs in fp32.

    Both prepare, run and finish the same pictures, one by one. A file that takes any input size is
    run at a second one as well, on several pictures at once.

    Args:
        detector: What was exported.
        path: The exported file.
        pictures: Pictures that show what the detector finds; drawn ones without.

    Raises:
        HeatpointError: The difference is larger than the file's precision allows, or the file
            cannot be run.
    """
    exported = open_engine(path, device="cpu")
    about = exported.description
    engines = (counterpart(detector, about), exported)
    shown = _pictures(pictures, about.skeleton is not None, about.bands)
    runs = [(about.size, [one]) for one in shown]
    if about.dynamic:
        other = (about.size[0] + about.multiple, about.size[1])
        runs.append((other, shown[: about.batch or len(_DRAWN)]))
    keep = KeepOptions(max_detections=engines[0].description.rows)
    rows: list[Differences] = []
    for size, batch in runs:
        images, places = zip(*batch, strict=True)
        runners = [Ending(open_runner(each, RunOptions(size=size), keep, 0.0)) for each in engines]
        asks = runners[0].view.asks
        results = [each(images, places if asks else None) for each in runners]
        for one, another, *ends in zip(*results, *(each.ends for each in runners), strict=True):
            if asks and one.keypoints is not None:
                rows.append(joint_differences(one, another))
            else:
                rows.append(differences(one, another, about.answer, ends))
    parity = judge(rows, about.precision, sum(len(batch) for _, batch in runs))
    allowed = TOLERANCES[about.precision]
    if not parity.compared:
        maps, farthest = apart(Path(path), about, engines[0])
        parity = replace(parity, maps=maps, apart=farthest)
    if not parity.holds:
        remedy = "give pictures of what it finds with --check, or export with --precision fp32"
        if about.precision == "fp32":
            remedy = "try another --opset or the other format, and please report it"
        raise HeatpointError(
            f"{path} does not give the results of its checkpoint ({parity.summary()}), "
            f"but {about.precision} allows {allowed.pixels} px and a score of {allowed.score}"
            + f" and {allowed.maps} of a map's range" * bool(parity.maps)
            + f"; {remedy}"
        )
    return parity


def counterpart(detector: Detector, about: Description) -> ObservedEngine:
    """Returns a detector run by torch in fp32, with as many rows as the file made of it.

    Args:
        detector: What was exported.
        about: What the file says about itself.
    """
    codec = detector.codec
    # The rows of a file may be those of an image and of its mirror image, one beside the other.
    most = about.rows * codec.rows() // codec.rows(about.flip)
    return ObservedEngine(detector, about.flip, most)


def judge(rows: Sequence[Differences], precision: str, pictures: int) -> Parity:
    """Returns the verdict over the differences of some pictures.

    Where nothing is sure and numbers are rounded, which of many weak peaks come first is chance:
    then the heights of the best are compared, wherever they are.

    An answer has room for so many rows, and where many peaks are equally high (an untrained network
    in the margin of a picture), rounding decides how many of them there are and which are given.
    Then one answer ends above rows that the other one gives. These are not missing but cut off,
    unless they are so many that little is left to compare.
    """
    all_rows = Differences(*(np.concatenate(column) for column in zip(*rows, strict=True)))
    scores, pixels, overlaps, apart, above, before, after = all_rows
    allowed = TOLERANCES[precision]
    chosen = scores >= SURE
    sure = bool(chosen.any())
    if not sure:
        chosen[np.argsort(-scores, kind="stable")[:FEW]] = True
    near = (pixels <= allowed.pixels) | (overlaps >= allowed.overlap)
    differs = ~(near & (apart <= allowed.score))
    beyond = chosen & differs & (above <= allowed.score)
    if beyond.sum() <= _CUT * chosen.sum():
        chosen &= ~beyond
    off, cut = int((chosen & differs).sum()), int((beyond & ~chosen).sum())
    both = chosen & np.isfinite(pixels)
    largest = float(apart[both].max(initial=0.0))
    if not sure and precision != "fp32":
        heights = np.abs(_best(before) - _best(after))
        off, largest = int((heights > allowed.score).sum()), float(heights.max())
    farthest = float(pixels[both].max(initial=0.0))
    return Parity(precision, pictures, int(chosen.sum()), sure, farthest, largest, off, cut)


def _best(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the (FEW,) highest scores, 0 where there are fewer."""
    return np.sort(np.append(scores, np.zeros(FEW)))[::-1][:FEW]


def _pictures(
    given: Images | None, figures: bool, bands: Bands
) -> list[tuple[Image, Places | None]]:
    """Returns the pictures to compare, and where to look in each that figures are drawn in."""
    if given is not None:
        return [(replace(source, bands=bands).load(), None) for source in expand(given)]
    numbered = list(enumerate(_DRAWN, 1))
    if not figures:
        drawn = (draw_shapes(size, np.random.default_rng(seed)) for seed, size in numbered)
        return [(bands.like(image), None) for image, _, _ in drawn]
    scenes = (draw_figures(size, np.random.default_rng(seed)) for seed, size in numbered)
    return [
        (bands.like(scene.image), places_of(scene.boxes, "a drawn picture")) for scene in scenes
    ]


def differences(
    first: Detections,
    second: Detections,
    fields: Sequence[Field],
    ends: Sequence[float] = (-np.inf, -np.inf),
) -> Differences:
    """Returns the differences of two results: of each row of either to its like in the other.

    Rows are alike if they are of one class and overlap by half or more; the best overlap counts.

    Args:
        first: Of the checkpoint.
        second: Of the exported file.
        fields: Kinds of the fields, by which further columns are compared.
        ends: Least score of either's answer, minus infinity where there was room for more.
    """
    both_ways = (_one_way(first, second, fields), _one_way(second, first, fields))
    scores, pixels, overlaps, apart = np.hstack(both_ways)
    before, after = first.scores.astype(np.float64), second.scores.astype(np.float64)
    above = np.concatenate((before - ends[1], after - ends[0]))
    return Differences(scores, pixels, overlaps, apart, above, before, after)


def _one_way(first: Detections, second: Detections, fields: Sequence[Field]) -> NDArray[np.float64]:
    """Returns the first four fields of the differences, (4, N), for the rows of ``first``."""
    count = len(first)
    scores = first.scores.astype(np.float64)
    missing = np.full(count, np.inf)
    if not count or not len(second):
        return np.stack((scores, missing, np.zeros(count), missing))
    overlaps = box_iou(_grown(first.boxes), _grown(second.boxes))
    overlaps[first.labels[:, None] != second.labels[None, :]] = 0.0
    apart = np.abs(scores[:, None] - second.scores[None, :])
    # Of several that overlap alike (double peaks) the one of the nearest score is meant.
    like = np.lexsort((apart, -overlaps.round(3)), axis=1)[:, 0]
    rows = np.arange(count)
    best, theirs = overlaps[rows, like], second[like]
    found = best >= _SAME
    higher = np.where(found, np.maximum(scores, theirs.scores), scores)
    pixels = np.where(found, _distances(first, theirs, fields), np.inf)
    return np.stack((higher, pixels, best, np.where(found, apart[rows, like], np.inf)))


def _grown(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns boxes with sides of ``_LEAST`` pixels at least, so that points can overlap."""
    short = (_LEAST - (boxes[:, 2:] - boxes[:, :2])).clip(0) / 2
    return np.concatenate((boxes[:, :2] - short, boxes[:, 2:] + short), 1).astype(np.float64)


def _distances(
    first: Detections, second: Detections, fields: Sequence[Field]
) -> NDArray[np.float64]:
    """Returns the largest distance of rows that are alike, (N,) in image pixels."""
    largest: NDArray[np.float64] = np.abs(first.boxes - second.boxes).max(1).astype(np.float64)
    named = [({"keypoints": each.keypoints} | dict(each.columns)) for each in (first, second)]
    for field in fields:
        one, other = (arrays.get(field.name) for arrays in named)
        if one is None or other is None or field.kind not in ("points", "length", "vector", "box"):
            continue
        if field.kind == "points":
            one, other = one[..., :2], other[..., :2]
        gaps = np.abs(one.astype(np.float64) - other).reshape(len(one), -1)
        largest = np.maximum(largest, gaps.max(1, initial=0.0))
    return largest


def joint_differences(first: Detections, second: Detections) -> Differences:
    """Returns the differences of the joints of two equal lists of subjects, joint by joint."""
    mine, theirs = (
        np.asarray(each.keypoints, np.float64).reshape(-1, 3) for each in (first, second)
    )
    before, after = mine[:, 2], theirs[:, 2]
    return Differences(
        scores=np.maximum(before, after),
        pixels=np.linalg.norm(mine[:, :2] - theirs[:, :2], axis=1),
        overlaps=np.zeros(len(mine)),
        apart=np.abs(before - after),
        above=np.full(len(mine), np.inf),
        before=before,
        after=after,
    )
