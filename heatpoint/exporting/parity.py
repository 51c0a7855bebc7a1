"""Compares an exported file with its checkpoint along the whole path, from pixels to results."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heatpoint.detector.detector import Detector
from heatpoint.engines import open_engine
from heatpoint.engines.engine import Engine
from heatpoint.engines.torch import TorchEngine
from heatpoint.errors import HeatpointError
from heatpoint.exporting.differences import Differences, box_differences, joint_differences
from heatpoint.geometry.affine import Image
from heatpoint.inference.pose_runner import PoseRunner
from heatpoint.inference.runner import Runner
from heatpoint.inference.sources import Images, expand
from heatpoint.synthetic.figures import draw_figures
from heatpoint.synthetic.pictures import draw_shapes
from heatpoint.views.subjects import Subjects, subjects

SURE = 0.3
"""Results of at least this score are compared; where there is none, the ``FEW`` best are."""

FEW = 5
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
    """

    pixels: float
    overlap: float
    score: float
    lost: float


TOLERANCES = {
    # The same numbers, added up in another order: what differs is the last digits of fp32.
    "fp32": Tolerance(pixels=0.01, overlap=1.0, score=1e-4, lost=0.05),
    # Weights of 11 significant bits, rounded once; what is computed from them is not rounded.
    "fp16": Tolerance(pixels=1.0, overlap=0.9, score=0.02, lost=0.05),
    # 8 significant bits of every number between the layers.
    "bf16": Tolerance(pixels=2.0, overlap=0.8, score=0.05, lost=0.1),
    # 256 steps for every number. Only a wreck is found here; the accuracy check is the judge.
    "int8": Tolerance(pixels=4.0, overlap=0.7, score=0.2, lost=0.2),
}
"""What each precision allows."""


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
    """

    precision: str
    pictures: int
    compared: int
    sure: bool
    pixels: float
    score: float
    off: int

    @property
    def holds(self) -> bool:
        """Tells whether no more results are off than the precision allows."""
        return self.off <= TOLERANCES[self.precision].lost * self.compared

    def summary(self) -> str:
        """Returns one line for people."""
        if not self.compared:
            return (
                f"not compared: neither the checkpoint nor the file finds anything in "
                f"{self.pictures} pictures; give pictures of what it finds with --check"
            )
        kind = "sure" if self.sure else "best (none sure)"
        return (
            f"against the checkpoint, {self.compared} {kind} results in {self.pictures} pictures: "
            f"{self.pixels:.2g} px, score {self.score:.2g} at most; {self.off} off"
        )


def check_parity(
    detector: Detector,
    path: str | Path,
    pictures: Images | None = None,
    called: str | Path = "",
) -> Parity:
    """Returns how far an exported file is from its detector, which torch runs in fp32.

    Both prepare, run and finish the same pictures, one by one. A file that takes any input size is
    run at a second one as well, on several pictures at once.

    Args:
        detector: What was exported.
        path: The exported file.
        pictures: Pictures that show what the detector finds; drawn ones without.
        called: What messages call the file, if it is at ``path`` for the check only.

    Raises:
        HeatpointError: The difference is larger than the file's precision allows, or the file
            cannot be run.
    """
    exported = open_engine(path)
    about = exported.description
    checkpoint = TorchEngine(
        detector,
        flip=about.flip,
        max_detections=about.max_detections or 1,
        device="cpu",
        precision="fp32",
    )
    shown = _pictures(pictures, about.task)
    rows = _differences(checkpoint, exported, about.size, [[one] for one in shown])
    run = len(shown)
    if about.dynamic:
        other = (about.size[0] + about.multiple, about.size[1])
        together = shown[: about.batch or len(_DRAWN)]
        rows += _differences(checkpoint, exported, other, [together])
        run += len(together)
    parity = judge(rows, about.precision, run)
    if not parity.holds:
        allowed = TOLERANCES[about.precision]
        raise HeatpointError(
            f"{called or path} does not give the results of its checkpoint ({parity.summary()}), "
            f"but {about.precision} allows {allowed.pixels} px and a score of {allowed.score}; "
            + _remedy(about.precision)
        )
    return parity


def judge(rows: Sequence[Differences], precision: str, pictures: int) -> Parity:
    """Returns the verdict over the differences of some pictures.

    Where nothing is sure and numbers are rounded, which of many weak peaks come first is chance:
    then the heights of the best are compared, wherever they are.
    """
    scores, pixels, overlaps, apart, before, after = (
        np.concatenate([getattr(one, field.name) for one in rows])
        for field in dataclasses.fields(Differences)
    )
    allowed = TOLERANCES[precision]
    chosen = scores >= SURE
    sure = bool(chosen.any())
    if not sure:
        chosen[np.argsort(-scores, kind="stable")[:FEW]] = True
    near = (pixels <= allowed.pixels) | (overlaps >= allowed.overlap)
    off = int((chosen & ~(near & (apart <= allowed.score))).sum())
    both = chosen & np.isfinite(pixels)
    largest = float(apart[both].max(initial=0.0))
    if not sure and precision != "fp32":
        heights = np.abs(_best(before) - _best(after))
        off, largest = int((heights > allowed.score).sum()), float(heights.max())
    return Parity(
        precision=precision,
        pictures=pictures,
        compared=int(chosen.sum()),
        sure=sure,
        pixels=float(pixels[both].max(initial=0.0)),
        score=largest,
        off=off,
    )


def _best(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the (FEW,) highest scores, 0 where there are fewer."""
    return np.sort(np.append(scores, np.zeros(FEW)))[::-1][:FEW]


def _remedy(precision: str) -> str:
    if precision == "fp32":
        return "try another --opset or the other format, and please report it"
    return "give pictures of what it finds with --check, or export with --precision fp32"


def _pictures(given: Images | None, task: str) -> list[tuple[Image, Subjects | None]]:
    """Returns the pictures to compare, and the subjects in each that is drawn for a pose."""
    if given is not None:
        return [(source.load(), None) for source in expand(given)]
    if task == "boxes":
        drawn = (draw_shapes(size, np.random.default_rng(seed)) for seed, size in _numbered())
        return [(image, None) for image, _, _ in drawn]
    scenes = (draw_figures(size, np.random.default_rng(seed)) for seed, size in _numbered())
    return [(scene.image, subjects(scene.boxes, "a drawn picture")) for scene in scenes]


def _numbered() -> list[tuple[int, tuple[int, int]]]:
    return [(seed, size) for seed, size in enumerate(_DRAWN, 1)]


def _differences(
    first: Engine,
    second: Engine,
    size: tuple[int, int],
    batches: Sequence[Sequence[tuple[Image, Subjects | None]]],
) -> list[Differences]:
    """Returns the differences of each picture at one input size, run batch by batch."""
    rows: list[Differences] = []
    if first.description.task == "boxes":
        most = first.description.max_detections
        one, other = (Runner(each, size=size, max_detections=most) for each in (first, second))
        for batch in batches:
            images = [image for image, _ in batch]
            rows += map(box_differences, one(images), other(images))
        return rows
    here, there = (PoseRunner(each, size=size) for each in (first, second))
    for batch in batches:
        images, boxes = [image for image, _ in batch], [asked for _, asked in batch]
        for mine, theirs in zip(here(images, boxes), there(images, boxes), strict=True):
            rows.append(joint_differences(mine.keypoints, theirs.keypoints))
    return rows
