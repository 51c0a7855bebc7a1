"""Runs a pose detector over people in images: crops of many, batched together."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.engines.engine import Engine
from heatpoint.errors import HeatpointError
from heatpoint.geometry.affine import Image
from heatpoint.inference.pipeline import in_order, prefetch
from heatpoint.inference.poses import Poses, finish_poses
from heatpoint.inference.reading import check_stream, read_ahead
from heatpoint.inference.runner import Runner, input_size
from heatpoint.inference.sources import Source
from heatpoint.views.picture import Frame, prepare_crop
from heatpoint.views.subjects import Subjects, subjects_among, whole_picture


@dataclass(frozen=True)
class FoundPoses:
    """Who was found in one image of a stream.

    Attributes:
        index: Place of the image among the sources.
        path: Its file, or "".
        image_size: (height, width) of the image.
        poses: In image pixels, one row per box that was asked about.
    """

    index: int
    path: str
    image_size: tuple[int, int]
    poses: Poses


@dataclass(frozen=True, eq=False)
class Crops:
    """The subjects of one image as the network will see them.

    Attributes:
        path: The image's file, or "".
        image_size: (height, width) of the image.
        subjects: N boxes.
        inputs: N pairs of (3, H, W) uint8 pixels and the frame they are in.
    """

    path: str
    image_size: tuple[int, int]
    subjects: Subjects
    inputs: list[tuple[NDArray[np.uint8], Frame]]


class PoseRunner:
    """A pose detector made ready to run in one fixed way.

    Args:
        engine: Runs the network.
        size: Input (height, width) in pixels, one number for both, or None for the detector's own.

    Attributes:
        timings: What has been measured so far.
        skipped: Path and reason of each image that ``stream`` left out.

    Raises:
        HeatpointError: The engine finds boxes, not joints, or does not take crops of this size.
    """

    def __init__(self, engine: Engine, *, size: int | Sequence[int] | None = None) -> None:
        about = engine.description
        if about.skeleton is None:
            raise HeatpointError(
                f"{about.called} finds boxes, not joints; use predict or evaluate, or choose a "
                "model that finds joints"
            )
        self.engine, self.timings = engine, engine.timings
        self.skeleton, self.name, self.padding = about.skeleton, about.names[0], about.padding
        self.size = input_size(size) or about.size
        about.check_size(self.size, about.called)
        self.skipped: list[tuple[str, str]] = []

    def protocol(self) -> dict[str, Any]:
        """Returns everything that decides about the numbers, to be stored beside them."""
        from heatpoint import __version__

        return {
            "size": list(self.size),
            "padding": self.padding,
            "flip": self.engine.description.flip,
            "engine": self.engine.name,
            "precision": self.engine.precision,
            "device": self.engine.device,
            "version": __version__,
        }

    def __call__(
        self, images: Sequence[Image], boxes: Sequence[Subjects | None] | None = None
    ) -> list[Poses]:
        """Returns the poses in (h, w, 3) uint8 RGB images, all crops run as one batch.

        Args:
            images: Any number.
            boxes: The subjects of each, None for one that fills the image.
        """
        wanted = boxes if boxes is not None else [None] * len(images)
        every = [self.prepare(image, asked) for image, asked in zip(images, wanted, strict=True)]
        done = self.detect(every)
        counts = [len(crops.subjects) for crops in every]
        ends = [sum(counts[: place + 1]) for place in range(len(counts))]
        return [done[end - count : end] for end, count in zip(ends, counts, strict=True)]

    def prepare(self, image: Image, subjects: Subjects | None, path: str = "") -> Crops:
        """Returns the network's inputs for the subjects of one (h, w, 3) image; safe in threads.

        Raises:
            HeatpointError: A box lies wholly outside the image.
        """
        image_size = (image.shape[0], image.shape[1])
        subjects = whole_picture(image_size) if subjects is None else subjects
        subjects.check_inside(image_size, path or "the image")
        inputs = [
            prepare_crop(image, box, self.size, self.padding, path)
            for box in subjects.boxes.tolist()
        ]
        return Crops(path, image_size, subjects, inputs)

    def detect(self, crops: Sequence[Crops]) -> Poses:
        """Returns the poses of the crops of some images, in their order, run as one batch."""
        inputs = [one for each in crops for one in each.inputs]
        if not inputs:
            return Poses.empty(self.skeleton, self.name)
        answer = self.engine(np.stack([pixels for pixels, _ in inputs]))
        with self.timings.stage("finish"):
            return finish_poses(
                answer,
                [frame for _, frame in inputs],
                np.concatenate([each.subjects.boxes for each in crops]),
                np.concatenate([each.subjects.scores for each in crops]),
                self.skeleton,
                self.name,
            )

    def stream(
        self,
        sources: Sequence[Source],
        boxes: Sequence[Subjects | None] | None = None,
        batch_size: int = 8,
        workers: int = 2,
        skip_bad: bool = False,
    ) -> Iterator[FoundPoses]:
        """Yields the poses in each image, in order; threads read ahead while the network runs.

        Args:
            sources: The images; the crops of at most ``batch_size`` images beyond the current one
                are in memory.
            boxes: The subjects of each image, None for one that fills it.
            batch_size: Crops per run of the network; those of one image may be in several runs,
                and those of several images in one.
            workers: Threads that read and crop; 0 does both between the batches.
            skip_bad: Notes unreadable images in ``skipped``, warns of each, and goes on.

        Raises:
            HeatpointError: An image cannot be read or a box is outside of it and ``skip_bad`` is
                off, or ``batch_size`` or ``workers`` is out of range.
        """
        check_stream(batch_size, workers)
        wanted = boxes if boxes is not None else [None] * len(sources)
        if len(wanted) != len(sources):
            raise ValueError(f"{len(sources)} images, but boxes for {len(wanted)}")
        last = time.perf_counter()
        loaded = read_ahead(
            sources,
            lambda index, image: self.prepare(image, wanted[index], sources[index].path),
            ahead=batch_size,
            workers=workers,
            timings=self.timings,
            skipped=self.skipped if skip_bad else None,
        )
        for found in self._found(loaded, batch_size):
            # What the caller does between two results is none of our time.
            self.timings.wall += time.perf_counter() - last
            self.timings.images += 1
            yield found
            last = time.perf_counter()

    def _found(self, loaded: Iterator[tuple[int, Crops]], batch_size: int) -> Iterator[FoundPoses]:
        """Fills batches with crops across images; an image is yielded when its last is done."""
        waiting: deque[tuple[int, Crops]] = deque()

        def batches() -> Iterator[list[Crops]]:
            queue: list[Crops] = []  # one subject each
            for index, crops in loaded:
                waiting.append((index, crops))
                queue += _singles(crops)
                while len(queue) >= batch_size:
                    yield queue[:batch_size]
                    queue = queue[batch_size:]
            # Empty or not: the last images may hold no subject and are to be heard of too.
            yield queue

        done = Poses.empty(self.skeleton, self.name)
        for _, poses in in_order(self.detect, batches(), self.engine.streams):
            done = _joined(done, poses)
            while waiting and len(done) >= len(waiting[0][1].subjects):
                index, crops = waiting.popleft()
                count = len(crops.subjects)
                yield FoundPoses(index, crops.path, crops.image_size, done[:count])
                done = done[count:]

    def frames(
        self, images: Iterable[Image], boxes: Runner | None = None
    ) -> Iterator[tuple[Image, Poses]]:
        """Yields each image of a film, one after the other, with the poses in it.

        Args:
            images: (h, w, 3) uint8 RGB; read in a thread, a few of them ahead.
            boxes: Finds the subjects; without it one fills the image.
        """
        prepared: Iterator[tuple[Image, Crops]]
        if boxes is None:
            prepared = prefetch(((image, self.prepare(image, None)) for image in images), 2)
        else:
            prepared = (
                (image, self.prepare(image, subjects_among(found, self.name)))
                for image, found in boxes.frames(images)
            )
        for (image, _), poses in in_order(
            lambda pair: self.detect([pair[1]]), prepared, self.engine.streams
        ):
            yield image, poses


def _singles(crops: Crops) -> list[Crops]:
    return [
        Crops(
            crops.path,
            crops.image_size,
            Subjects(crops.subjects.boxes[i : i + 1], crops.subjects.scores[i : i + 1]),
            [one],
        )
        for i, one in enumerate(crops.inputs)
    ]


def _joined(first: Poses, second: Poses) -> Poses:
    return Poses(
        np.concatenate([first.keypoints, second.keypoints]),
        np.concatenate([first.boxes, second.boxes]),
        np.concatenate([first.scores, second.scores]),
        first.skeleton,
        first.name,
    )
