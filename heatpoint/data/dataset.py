"""Annotated data as samples of a torch ``DataLoader``.

Nothing here keeps a random state. Sample (epoch, index) depends on (seed, epoch, index) alone, so a
run that is resumed, or uses more workers, sees the same pixels; ``order`` says which come when.
"""

from __future__ import annotations

import gc
import pickle
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import starmap
from typing import Any, NamedTuple, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from heatpoint.data import Annotations, Size
from heatpoint.data.augment import Augment
from heatpoint.data.closeups import CloseAugment
from heatpoint.data.images import load_image
from heatpoint.data.order import Place, repeat_factors
from heatpoint.data.own_augment import OwnAugment
from heatpoint.data.pose_augment import PoseAugment
from heatpoint.data.scene import Rng, Scene, Variation
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Image
from heatpoint.system.signals import leave_to_parent
from heatpoint.views import View, channels_first
from heatpoint.views.fields import Part, Target
from heatpoint.views.zoom import Zoom


@dataclass
class Sample:
    """One view with what is in it.

    Attributes:
        image: (3, H, W) uint8 RGB, or (C, H, W) of other bands.
        target: Objects in input pixels.
        index: Number of the sample.
    """

    image: Tensor
    target: Target
    index: int


@dataclass
class Batch:
    """Samples of equal size.

    Attributes:
        images: (B, 3, H, W) uint8 RGB, or (B, C, H, W) of other bands.
        targets: B targets in input pixels.
        indices: B numbers of samples.
    """

    images: Tensor
    targets: list[Target]
    indices: list[int]

    def to(self, device: Any) -> Batch:
        """Returns the batch with images and targets on ``device``."""
        images = self.images.to(device, non_blocking=True)
        return Batch(images, [target.to(device) for target in self.targets], self.indices)

    def pin_memory(self) -> Batch:
        """Pins the images; ``DataLoader(pin_memory=True)`` calls this."""
        return Batch(self.images.pin_memory(), self.targets, self.indices)


def varied(view: type[View]) -> type[Variation]:
    """Returns how the samples of a view are chosen and varied in training.

    A view that asks about one thing at a time learns from crops of one subject, one that looks
    again from what a closer look shows, others from whole pictures.
    """
    if view.asks:
        return PoseAugment
    return CloseAugment if issubclass(view, Zoom) else Augment


def shrink_of(size: Size, most: float) -> int:
    """Returns how many pixels of an image may become one along each side: 1, 2, 4 or 8.

    They fill it without a rest, which would lie left or right by how the file is turned.

    Args:
        size: (height, width) of the image.
        most: The most pixels of a view along one of the image.
    """
    fit = [shrink for shrink in (2, 4, 8) if not (size[0] % shrink or size[1] % shrink)]
    return max((shrink for shrink in fit if shrink * most <= 1), default=1)


class _Place(NamedTuple):
    """What is known of a sample before its picture is read; see ``ImageRecord``."""

    image: int
    path: str
    size: Size | None
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    joints: NDArray[np.float64] | None
    points: NDArray[np.float64] | None


class _Shared:
    """Places of samples, all of which lie in one piece of memory that loading processes share.

    Python notes in each object how often it is named, so that a forked process that goes through a
    list makes its own copy of it by and by; of tensors, none is made for one that starts afresh.

    Args:
        held: (n,) uint8, each place in Python's own form, one after the other.
        ends: (N + 1,) int64, where each begins, and where the last one ends.
    """

    def __init__(self, held: Tensor, ends: Tensor) -> None:
        # No view of their memory is kept: they move when a process is sent them.
        self._held, self._ends = held, ends

    @classmethod
    def of(cls, places: Iterable[_Place]) -> Self:
        """Returns places as they are shared."""
        held, ends = bytearray(), [0]
        for place in places:
            held += pickle.dumps(tuple(place), pickle.HIGHEST_PROTOCOL)
            ends.append(len(held))
        return cls(torch.from_numpy(np.frombuffer(held, np.uint8)), torch.tensor(ends))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> _Place:
        start, end = self._ends[number : number + 2].tolist()
        return _Place(*pickle.loads(self._held[start:end].numpy().data))


class TrainSet(Dataset[Sample]):
    """Random views of the training data, indexed by (epoch, index); see ``Place`` of ``order``.

    Example:
        >>> from heatpoint.data import Annotations
        >>> nothing = Annotations(names=("cat",), images=[], source="", category_ids=(0,))
        >>> len(TrainSet(nothing, (512, 512)))
        0

    Args:
        annotations: The images, their objects and the skeleton.
        size: (H, W) of the views.
        augment: Which samples there are and how they vary; CenterNet's recipe by default.
        seed: Start of all chance, not negative.
        cache_bytes: Decoded images are kept in memory up to this many bytes, JPEGs of which no
            view shows every pixel at a half, quarter or eighth of their sides. Each worker process
            has a cache of its own, so this is for small data sets and few workers.
        learns: Parts of the targets that are wanted; joints cost time in each sample.
        own: Changes each scene before ``augment`` does.

    Attributes:
        samples: Which images and objects there are, and what is left out.

    Raises:
        HeatpointError: ``augment`` needs joints, or others than those of the data set.
    """

    def __init__(
        self,
        annotations: Annotations,
        size: tuple[int, int],
        augment: Variation | None = None,
        seed: int = 0,
        cache_bytes: int = 0,
        learns: Collection[Part] = ("boxes", "keypoints"),
        own: OwnAugment | None = None,
    ) -> None:
        self.annotations, self.size, self.seed = annotations, size, seed
        self.augment, self.own = Augment() if augment is None else augment, own
        self.samples = self.augment.samples(annotations, "keypoints" in learns)
        self._skeleton = annotations.skeleton if "keypoints" in learns else None
        self._bits, self._bands = annotations.bits, annotations.bands
        self._places = _Shared.of(starmap(self._place, self.samples.places))
        self._kept: dict[int, Image] = {}
        self._left = cache_bytes

    def __getstate__(self) -> dict[str, Any]:
        """Returns what a loading process needs that is started afresh."""
        mine = {"annotations", "samples"}
        return {name: value for name, value in vars(self).items() if name not in mine}

    @property
    def paths(self) -> list[str]:
        """The image file of each sample."""
        return [str(self.annotations.images[image].path) for image, _ in self.samples.places]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: Place) -> Sample:
        """Returns the view of sample ``index`` in ``epoch``; each time it comes another one.

        Raises:
            BadImage: The file cannot be read; names it.
            HeatpointError: ``own`` returns what cannot be; names the file.
        """
        epoch, index, *before = place
        # 1 + index keeps these streams apart from the sampler's, which ends in 0.
        rng = np.random.default_rng([self.seed, epoch, 1 + index, *before])
        chosen = (index, *self.augment.others(len(self), rng))
        scenes = [self._changed(i, rng) for i in chosen]
        drawn = self.augment.view(scenes, self.size, rng)
        boxes, labels = drawn.boxes.astype(np.float32), drawn.labels.astype(np.int64)
        target = Target(torch.from_numpy(boxes), torch.from_numpy(labels))
        if drawn.keypoints is not None:
            target.keypoints = torch.from_numpy(drawn.keypoints.astype(np.float32))
        if drawn.points is not None:
            target.points = torch.from_numpy(drawn.points.astype(np.float32))
        return Sample(torch.from_numpy(channels_first(drawn.image)), target, index)

    def _changed(self, sample: int, rng: Rng) -> Scene:
        """Returns the scene of a sample as the user's own augmentation, if any, wants it."""
        scene = self._scene(sample)
        if self.own is None:
            return scene
        try:
            return self.own(scene, rng)
        except HeatpointError as error:
            raise HeatpointError(f"{error} ({self._places[sample].path})") from error

    def repeated(self, share: float) -> NDArray[np.float64]:
        """Returns how often each sample is to come in an epoch, (N,); see ``repeat_factors``."""
        images = self.annotations.images
        return repeat_factors([images[i].labels[on] for i, on in self.samples.places], share)

    def show(self, window: Size | None, mosaic: float) -> None:
        """Shows windows of (H, W) pixels of the input, or mosaics, from now on; not for crops."""
        assert isinstance(self.augment, Augment)
        self.augment = replace(self.augment, window=window, mosaic=mosaic)

    def turn(self) -> None:
        """Mirrors pictures up and down and lets x and y change places too, from now on."""
        assert isinstance(self.augment, Augment)
        self.augment = replace(self.augment, flip_vertical=0.5, quarter_turn=0.5)

    def _place(self, image: int, objects: NDArray[np.int64]) -> _Place:
        """Returns what is known of a sample; joints that are not finite are not labelled.

        Objects without joints have some that are not labelled.
        """
        record, skeleton = self.annotations.images[image], self._skeleton
        joints = None if skeleton is None else record.joints(len(skeleton))[objects]
        points = None if record.points is None else record.points[objects]
        boxes, labels = record.boxes[objects], record.labels[objects]
        return _Place(image, str(record.path), record.size, boxes, labels, joints, points)

    def _scene(self, sample: int) -> Scene:
        """Returns what a sample is before it varies."""
        place = self._places[sample]
        shrink = self._shrink(place.size)
        pixels = self._image(place, shrink)
        shrunk = 1 if pixels.shape[:2] == place.size else shrink
        boxes, labels, joints, points = place[3:]
        return Scene(pixels, boxes, labels, joints, self._skeleton, shrunk, points)

    def _shrink(self, size: Size | None) -> int:
        """Returns how many pixels of an image of this size may become one; see ``shrink_of``.

        An augmentation of the user's own gets pictures as they are on the disk.
        """
        if size is None or self.own is not None:
            return 1
        return shrink_of(size, self.augment.enlarges(size, self.size))

    def _image(self, place: _Place, shrink: int) -> Image:
        """Returns the image of a sample, decoded and kept as long as the budget lasts."""
        if place.image in self._kept:
            return self._kept[place.image]
        image = load_image(place.path, bits=self._bits, shrink=shrink, bands=self._bands)
        if image.nbytes <= self._left:
            self._left -= image.nbytes
            self._kept[place.image] = image
        return image


def collate(samples: Sequence[Sample]) -> Batch:
    """Stacks samples of equal size to a batch."""
    images = torch.stack([sample.image for sample in samples])
    return Batch(images, [sample.target for sample in samples], [each.index for each in samples])


def worker_init(worker: int) -> None:
    """Keeps OpenCV to one thread in a worker process, of which there is one per core already.

    The collector of garbage leaves alone what was there before: it would write to all of it. The
    run alone answers the signals that ask it to stop.
    """
    leave_to_parent()
    cv2.setNumThreads(0)
    gc.freeze()
