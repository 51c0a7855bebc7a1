"""Runs a detector over images: the one path from pixels to results of evaluation and prediction."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from heatpoint.engines.engine import Answer, Engine
from heatpoint.errors import HeatpointError, check_choice
from heatpoint.geometry.affine import Image
from heatpoint.inference.finish import Mapped, check_thresholds, conclude, joined, map_to_images
from heatpoint.inference.pipeline import in_order, prefetch
from heatpoint.inference.reading import check_stream, read_ahead
from heatpoint.inference.results import Detections
from heatpoint.inference.sources import Source
from heatpoint.inference.suppress import SoftNms
from heatpoint.views.picture import Frame, prepare, prepare_original

Inputs = list[tuple[NDArray[np.uint8], Frame]]
"""One image as the network will see it: (3, H, W) uint8 and its frame, for each test scale."""


@dataclass(frozen=True)
class Found:
    """What was found in one image of a stream.

    Attributes:
        index: Place of the image among the sources.
        path: Its file, or "".
        image_size: (height, width) of the image.
        detections: In image pixels.
    """

    index: int
    path: str
    image_size: tuple[int, int]
    detections: Detections


class Runner:
    """A detector of boxes made ready to run in one fixed way.

    Args:
        engine: Runs the network.
        size: Input (height, width) in pixels, one number for both, or None for the detector's own.
        scales: Test scales; several are merged by soft-NMS. The input's sides are scaled and
            rounded to what the network accepts, so that nothing of the image is cut off (the
            released code with a fixed input zooms instead and loses the rim).
        nms: Overlap above which the worse of two boxes of one class is removed, or None.
        soft_nms: "gaussian", "linear", "merge" or "none", see ``suppress.soften``. None
            is what the detector needs (centres nothing, pairs of corners gaussian) unless there
            is ``nms``, and gaussian where there are several scales to merge.
        score_threshold: Least score of a result.
        max_detections: Most results per image.
        keep_resolution: Pads every image to a legal size instead of resizing it to ``size``.

    Attributes:
        timings: What has been measured so far.
        skipped: Path and reason of each image that ``stream`` left out.

    Raises:
        HeatpointError: The engine finds joints or does not take such images; an argument is out
            of range.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        size: int | Sequence[int] | None = None,
        scales: Sequence[float] = (1.0,),
        nms: float | None = None,
        soft_nms: SoftNms | None = None,
        score_threshold: float = 0.0,
        max_detections: int = 100,
        keep_resolution: bool = False,
    ) -> None:
        about = engine.description
        if about.task != "boxes":
            raise HeatpointError(
                f"{about.called} finds the joints of a {about.names[0]}, not boxes; use "
                "predict_pose or evaluate_pose, or choose a model that finds boxes"
            )
        check_thresholds(score_threshold, nms, max_detections)
        if not scales or any(not 0 < scale <= 10 for scale in scales):
            raise HeatpointError(f"scales must be numbers in (0, 10], at least one, not {scales}")
        self.engine, self.names, self.timings = engine, about.names, engine.timings
        self.size = input_size(size) or about.size
        self.scales, self.keep_resolution = tuple(scales), keep_resolution
        self.nms, self.score_threshold, self.max_detections = nms, score_threshold, max_detections
        self.soft_nms = choose_soft_nms(soft_nms, nms, about.sigma, len(self.scales))
        self.sigma = about.sigma or 0.5
        self.multiple, self.trim = about.multiple, about.trim
        if not keep_resolution:
            for scale in self.scales:
                about.check_size(self._scaled(scale), about.called)
        elif not about.dynamic:
            raise HeatpointError(
                f"{about.called} takes images of {about.size[0]}x{about.size[1]} pixels only, so "
                "that their resolution cannot be kept; export it with --dynamic"
            )
        self.skipped: list[tuple[str, str]] = []

    def protocol(self) -> dict[str, Any]:
        """Returns everything that decides about the numbers, to be stored beside them."""
        from heatpoint import __version__

        return {
            "size": None if self.keep_resolution else list(self.size),
            "keep_resolution": self.keep_resolution,
            "flip": self.engine.description.flip,
            "scales": list(self.scales),
            "max_detections": self.max_detections,
            "score_threshold": self.score_threshold,
            "nms": self.nms,
            "soft_nms": self.soft_nms,
            "soft_nms_sigma": self.sigma if self.soft_nms in ("gaussian", "merge") else None,
            "engine": self.engine.name,
            "precision": self.engine.precision,
            "device": self.engine.device,
            "version": __version__,
        }

    def __call__(self, images: Sequence[Image]) -> list[Detections]:
        """Returns what is in the images, (h, w, 3) uint8 RGB each, run as one batch."""
        return self.detect([self.prepare(image) for image in images])

    def prepare(self, image: Image, path: str = "") -> Inputs:
        """Returns the network's inputs for one (h, w, 3) uint8 RGB image; safe in threads."""
        inputs = []
        for scale in self.scales:
            if self.keep_resolution:
                inputs.append(prepare_original(image, self.multiple, path, scale, trim=self.trim))
            else:
                inputs.append(prepare(image, self._scaled(scale), path))
        return inputs

    def _scaled(self, scale: float) -> tuple[int, int]:
        height, width = (self._legal(side, scale) for side in self.size)
        return height, width

    def _legal(self, side: int, scale: float) -> int:
        if scale == 1.0:
            return side
        wanted = (side + self.trim) * scale
        return max(1, round(wanted / self.multiple)) * self.multiple - self.trim

    def detect(self, batch: Sequence[Inputs]) -> list[Detections]:
        """Returns the results of prepared images; those of equal size run together."""
        by_scale = [
            self._one_scale([inputs[place] for inputs in batch])
            for place in range(len(self.scales))
        ]
        with self.timings.stage("finish"):
            if len(by_scale) == 1:
                return [self.conclude(mapped) for mapped in by_scale[0]]
            return [
                self.conclude(joined(parts, self.max_detections))
                for parts in zip(*by_scale, strict=True)
            ]

    def conclude(self, mapped: Mapped) -> Detections:
        """Returns the result of one image: what suppression and threshold leave."""
        return conclude(
            mapped,
            self.score_threshold,
            self.nms,
            self.max_detections,
            self.soft_nms,
            self.sigma,
        )

    def _one_scale(self, rows: Sequence[tuple[NDArray[np.uint8], Frame]]) -> list[Mapped]:
        groups: dict[tuple[int, ...], list[int]] = {}
        for place, (pixels, _) in enumerate(rows):
            groups.setdefault(pixels.shape, []).append(place)
        results: dict[int, Mapped] = {}
        for places in groups.values():
            answer = self.engine(np.stack([rows[place][0] for place in places]))
            mapped = self.read(answer, [rows[place][1] for place in places])
            results.update(zip(places, mapped, strict=True))
        return [results[place] for place in range(len(rows))]

    def read(self, answer: Answer, frames: Sequence[Frame]) -> list[Mapped]:
        """Returns what an answer says about each image, one frame each, before suppression."""
        with self.timings.stage("finish"):
            return map_to_images(answer, frames, self.names)

    def stream(
        self,
        sources: Sequence[Source],
        batch_size: int = 8,
        workers: int = 2,
        skip_bad: bool = False,
    ) -> Iterator[Found]:
        """Yields what is in each image, in order; reading, network and finishing overlap.

        Args:
            sources: The images; at most two batches beyond those under way are in memory.
            batch_size: Images per run of the network.
            workers: Threads that read and resize; 0 does both between the batches.
            skip_bad: Notes unreadable images in ``skipped``, warns of each, and goes on.

        Raises:
            HeatpointError: An image cannot be read and ``skip_bad`` is off, or ``batch_size`` or
                ``workers`` is out of range.
        """
        check_stream(batch_size, workers)
        last = time.perf_counter()
        loaded = read_ahead(
            sources,
            lambda index, image: self.prepare(image, sources[index].path),
            ahead=2 * batch_size,
            workers=workers,
            timings=self.timings,
            skipped=self.skipped if skip_bad else None,
        )
        batches = iter(lambda: list(islice(loaded, batch_size)), [])
        for batch, results in in_order(self._detect_batch, batches, self.engine.streams):
            # What the caller does between two results is none of our time.
            self.timings.wall += time.perf_counter() - last
            self.timings.images += len(batch)
            for (index, inputs), detections in zip(batch, results, strict=True):
                frame = inputs[0][1]
                yield Found(index, frame.path, frame.image_size, detections)
            last = time.perf_counter()

    def _detect_batch(self, batch: Sequence[tuple[int, Inputs]]) -> list[Detections]:
        return self.detect([inputs for _, inputs in batch])

    def frames(self, images: Iterable[Image]) -> Iterator[tuple[Image, Detections]]:
        """Yields each image of a film, one after the other, with what is in it.

        Args:
            images: (h, w, 3) uint8 RGB; read in a thread, a few of them ahead.
        """
        loaded = prefetch(((image, self.prepare(image)) for image in images), 2)
        for (image, _), (found,) in in_order(
            lambda pair: self.detect([pair[1]]), loaded, self.engine.streams
        ):
            yield image, found


def choose_soft_nms(
    wanted: SoftNms | None, nms: float | None, own: float | None, scales: int
) -> SoftNms:
    """Returns the kind of soft-NMS that is meant.

    Args:
        wanted: The user's choice, None for none made.
        nms: The user's hard NMS.
        own: The codec's sigma; None where its candidates need no soft-NMS.
        scales: Number of test scales.

    Raises:
        HeatpointError: The choice is unknown, is at odds with ``nms``, or leaves the boxes of
            several scales side by side.
    """
    if wanted is None:
        needed = scales > 1 or (own is not None and nms is None)
        return "gaussian" if needed else "none"
    check_choice("soft_nms", wanted, get_args(SoftNms))
    if wanted != "none" and nms is not None:
        raise HeatpointError(
            f"nms={nms} removes double boxes and soft_nms={wanted!r} lowers their scores; "
            "choose one of them"
        )
    if wanted == "none" and nms is None and scales > 1:
        raise HeatpointError(
            f"{scales} scales find every object {scales} times; leave out soft_nms='none', or "
            "give nms"
        )
    return wanted


def input_size(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Returns (height, width) of one or two numbers, None for None.

    Raises:
        HeatpointError: It is neither.
    """
    if size is None:
        return None
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or any(not isinstance(side, int) or side < 1 for side in sides):
        raise HeatpointError(f"size must be one or two positive whole numbers, not {size}")
    return sides[0], sides[1]
