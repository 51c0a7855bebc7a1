"""Runs a pose detector over people in images: crops of many, batched together."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from heatpoint.data.crops import PADDING
from heatpoint.detector import Detector
from heatpoint.fast import Precision
from heatpoint.forward import Forward
from heatpoint.geometry import Image
from heatpoint.pose.boxes import Subjects, whole_picture
from heatpoint.pose.results import Poses, finish_poses
from heatpoint.prepare import Frame, prepare_crop
from heatpoint.reading import check_stream, read_ahead
from heatpoint.runner import input_size
from heatpoint.sources import Source
from heatpoint.timings import Timings


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
    inputs: list[tuple[Tensor, Frame]]


class PoseRunner:
    """A pose detector made ready to run in one fixed way.

    Args:
        detector: Left as it is; the runner works on a faster copy of its network.
        size: Input (height, width) in pixels, one number for both, or None for the detector's own.
        flip: Averages the maps with those of the mirrored crop, left and right joints exchanged.
        device: "auto" (CUDA, else Apple's MPS, else the CPU) or any torch device.
        precision: "auto", "fp32" or "bf16"; see ``heatpoint.fast.fast``.
        timings: Filled as the runner works; given, the device is waited for after each stage.

    Attributes:
        timings: What has been measured so far.
        skipped: Path and reason of each image that ``stream`` left out.

    Raises:
        HeatpointError: The detector finds boxes, not joints; ``size`` or ``device`` is unusable.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        size: int | Sequence[int] | None = None,
        flip: bool = False,
        device: str | torch.device = "auto",
        precision: Precision = "auto",
        timings: Timings | None = None,
    ) -> None:
        self.codec = detector.joint_codec
        assert detector.skeleton is not None  # a detector with joints has one
        self.skeleton, self.name = detector.skeleton, detector.names[0]
        self.size = input_size(size) or detector.size
        self.padding = float(detector.meta.get("padding", PADDING))
        self.flip, self.precision = flip, precision
        self.forward = Forward(
            detector.network,
            self.codec,
            flip=flip,
            precision=precision,
            device=device,
            timings=timings,
        )
        self.timings = self.forward.timings
        self.skipped: list[tuple[str, str]] = []

    def protocol(self) -> dict[str, Any]:
        """Returns everything that decides about the numbers, to be stored beside them."""
        from heatpoint import __version__

        return {
            "size": list(self.size),
            "padding": self.padding,
            "flip": self.flip,
            "precision": self.precision,
            "device": self.forward.device.type,
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
        with torch.inference_mode():
            maps = self.forward(torch.stack([pixels for pixels, _ in inputs]))
            with self.timings.stage("decode"):
                candidates = self.codec.decode(maps)
                self.forward.wait()
        with self.timings.stage("finish"):
            return finish_poses(
                candidates,
                [frame for _, frame in inputs],
                torch.cat([each.subjects.boxes for each in crops]),
                torch.cat([each.subjects.scores for each in crops]),
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
        queue: list[Crops] = []  # one subject each, in the order of ``waiting``
        done = Poses.empty(self.skeleton, self.name)
        more = True
        while more:
            following = next(loaded, None)
            more = following is not None
            if following is not None:
                waiting.append(following)
                queue += _singles(following[1])
            while len(queue) >= batch_size or (queue and not more):
                done = _joined(done, self.detect(queue[:batch_size]))
                queue = queue[batch_size:]
            while waiting and len(done) >= len(waiting[0][1].subjects):
                index, crops = waiting.popleft()
                count = len(crops.subjects)
                yield FoundPoses(index, crops.path, crops.image_size, done[:count])
                done = done[count:]


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
        torch.cat([first.keypoints, second.keypoints]),
        torch.cat([first.boxes, second.boxes]),
        torch.cat([first.scores, second.scores]),
        first.skeleton,
        first.name,
    )
