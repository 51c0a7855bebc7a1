"""Annotated images as samples of a torch ``DataLoader``, and the order they come in.

Nothing here keeps a random state. Sample (epoch, index) depends on (seed, epoch, index) alone and
the order on (seed, epoch), so a run that is resumed, or uses more workers, sees the same pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from heatpoint.codecs.types import Target
from heatpoint.data.annotations import Annotations, ImageRecord
from heatpoint.data.augment import Augment
from heatpoint.data.decoded import DecodedImages
from heatpoint.errors import HeatpointError
from heatpoint.views.picture import Frame, channels_first, prepare, prepare_original


@dataclass
class Sample:
    """One image with what is in it.

    Attributes:
        image: (3, H, W) uint8 RGB.
        target: Boxes in input pixels.
        index: Position in the annotations.
        frame: Way back to the image; None for training views.
    """

    image: Tensor
    target: Target
    index: int
    frame: Frame | None = None


@dataclass
class Batch:
    """Samples of equal size.

    Attributes:
        images: (B, 3, H, W) uint8 RGB.
        targets: B targets in input pixels.
        indices: B positions in the annotations.
        frames: B frames; empty for training views.
    """

    images: Tensor
    targets: list[Target]
    indices: list[int]
    frames: list[Frame] = field(default_factory=list)

    def to(self, device: Any) -> Batch:
        """Returns the batch with images and targets on ``device``."""
        targets = [target.to(device) for target in self.targets]
        images = self.images.to(device, non_blocking=True)
        return Batch(images, targets, self.indices, self.frames)

    def pin_memory(self) -> Batch:
        """Pins the images; ``DataLoader(pin_memory=True)`` calls this."""
        return Batch(self.images.pin_memory(), self.targets, self.indices, self.frames)


class TrainSet(Dataset[Sample]):
    """Random views of the training images, indexed by (epoch, index).

    Crowd regions and objects marked difficult are no targets; ``left_out`` counts them.

    Example:
        >>> from heatpoint.data.annotations import Annotations
        >>> nothing = Annotations(names=("cat",), images=[], source="", category_ids=(0,))
        >>> len(TrainSet(nothing, (512, 512)))
        0

    Args:
        annotations: The images and their objects.
        size: (H, W) of the views.
        augment: How the views vary; CenterNet's recipe by default.
        seed: Start of all chance, not negative.
        cache_bytes: Decoded images are kept in memory up to this many bytes. Each worker process
            has a cache of its own, so this is for small data sets and few workers.
    """

    def __init__(
        self,
        annotations: Annotations,
        size: tuple[int, int],
        augment: Augment | None = None,
        seed: int = 0,
        cache_bytes: int = 0,
    ) -> None:
        self.annotations = annotations
        self.size = size
        self.augment = Augment() if augment is None else augment
        self.seed = seed
        self._images = DecodedImages(annotations, cache_bytes)
        self.left_out = {
            "crowd": sum(int(record.crowd.sum()) for record in annotations.images),
            "difficult": sum(
                int((record.difficult & ~record.crowd).sum()) for record in annotations.images
            ),
        }

    def __len__(self) -> int:
        return len(self.annotations.images)

    def __getitem__(self, place: tuple[int, int]) -> Sample:
        """Returns the view of image ``index`` in ``epoch``.

        Raises:
            BadImage: The file cannot be read; names it.
        """
        epoch, index = place
        # 1 + index keeps these streams apart from the sampler's, which ends in 0.
        rng = np.random.default_rng([self.seed, epoch, 1 + index])
        if self.augment.mosaic and rng.random() < self.augment.mosaic:
            chosen = [index, *(int(i) for i in rng.integers(len(self), size=3))]
            boxes, labels = zip(*(self._objects(i) for i in chosen), strict=True)
            view, placed, kept = self.augment.mosaic_sample(
                [self._images[i] for i in chosen], boxes, labels, self.size, rng
            )
        else:
            view, placed, kept = self.augment.sample(
                self._images[index], *self._objects(index), self.size, rng
            )
        return Sample(torch.from_numpy(channels_first(view)), _target(placed, kept), index)

    def _objects(self, index: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        record = self.annotations.images[index]
        return _wanted(record)


class EvalSet(Dataset[Sample]):
    """The images as evaluation and prediction see them, indexed by position.

    Targets hold the objects that training would use, in input pixels and not clipped.

    Args:
        annotations: The images and their objects.
        size: (H, W) to letterbox to, or None to keep each image's resolution (batches of one).
        multiple: Without ``size``, the sides are padded to multiples of this.
        published: Without ``size``, pads as the released CenterNet does (``prepare_original``).
        scale: Test scale.
        cache_bytes: As for ``TrainSet``.
    """

    def __init__(
        self,
        annotations: Annotations,
        size: tuple[int, int] | None,
        multiple: int = 32,
        published: bool = False,
        scale: float = 1.0,
        cache_bytes: int = 0,
    ) -> None:
        self.annotations = annotations
        self.size = size
        self.multiple = multiple
        self.published = published
        self.scale = scale
        self._images = DecodedImages(annotations, cache_bytes)

    def __len__(self) -> int:
        return len(self.annotations.images)

    def __getitem__(self, index: int) -> Sample:
        """Returns image ``index``, prepared.

        Raises:
            BadImage: The file cannot be read; names it.
        """
        record = self.annotations.images[index]
        image, path = self._images[index], str(record.path)
        if self.size is None:
            pixels, frame = prepare_original(image, self.multiple, path, self.scale, self.published)
        else:
            pixels, frame = prepare(image, self.size, path, self.scale)
        boxes, labels = _wanted(record)
        target = _target(frame.to_image.inverse().boxes(boxes), labels)
        return Sample(torch.from_numpy(pixels), target, index, frame)


class EpochSampler(Sampler[tuple[int, int]]):
    """The order of one epoch for one process: (epoch, index) pairs.

    The order is a function of (seed, epoch). Process ``rank`` takes every ``world_size``-th entry;
    the order first repeats its beginning up to a multiple of ``world_size``, so that all processes
    take equally many steps and no image is left out.

    Example:
        >>> sampler = EpochSampler(3, shuffle=False, rank=1, world_size=2)
        >>> sampler.set_epoch(5)
        >>> list(sampler)
        [(5, 1), (5, 0)]

    Args:
        length: Number of images.
        seed: Start of all chance, not negative.
        rank: This process, from 0.
        world_size: Number of processes.
        shuffle: False keeps the order of the annotations.
    """

    def __init__(
        self,
        length: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must lie in [0, {world_size}), got {rank}")
        self.length, self.seed, self.shuffle = length, seed, shuffle
        self.rank, self.world_size = rank, world_size
        self.epoch, self.start = 0, 0

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Chooses the epoch, and how many samples of this process to skip: those of a resumed run.

        Call it before iterating; workers of a ``DataLoader`` need not be told.
        """
        self.epoch, self.start = epoch, start

    def order(self) -> NDArray[np.int64]:
        """Returns the (n,) indices of this process for the whole epoch, from its first sample."""
        order = np.arange(self.length)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch, 0]).permutation(self.length)
        per_rank = -(-self.length // self.world_size)
        return np.resize(order, per_rank * self.world_size)[self.rank :: self.world_size]

    def __len__(self) -> int:
        return max(0, -(-self.length // self.world_size) - self.start)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for index in self.order()[self.start :]:
            yield self.epoch, int(index)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stacks samples to a batch.

    Raises:
        HeatpointError: Inputs of different size, as keep-resolution gives in batches above one.
    """
    shapes = {tuple(sample.image.shape) for sample in samples}
    if len(shapes) > 1:
        raise HeatpointError(
            f"one batch holds inputs of different sizes {sorted(shapes)}; use batches of one, or a "
            "fixed input size"
        )
    return Batch(
        torch.stack([sample.image for sample in samples]),
        [sample.target for sample in samples],
        [sample.index for sample in samples],
        [sample.frame for sample in samples if sample.frame is not None],
    )


def worker_init(worker: int) -> None:
    """Keeps OpenCV to one thread in a worker process, of which there is one per core already."""
    cv2.setNumThreads(0)


def _wanted(record: ImageRecord) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Returns boxes and labels of the objects that are to be learnt."""
    wanted = ~(record.crowd | record.difficult)
    return record.boxes[wanted], record.labels[wanted]


def _target(boxes: NDArray[Any], labels: NDArray[np.int64]) -> Target:
    return Target(
        torch.from_numpy(boxes.astype(np.float32)).reshape(-1, 4),
        torch.from_numpy(labels.astype(np.int64)),
    )
