"""The subjects of a data set: the objects that have joints to find."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Affine, Image


class Subjects:
    """The objects of a data set that have joints to find, one after the other.

    Attributes:
        annotations: Where they are.
        skeleton: Of the data set.
        places: Index of the image, and of the object in it, per subject.
        left_out: Objects that are none, by why: "crowd", "difficult", "without joints" (none is
            labelled, or none finite) and "without a box" (no area, or not finite).

    Raises:
        HeatpointError: The data set does not name its joints.
    """

    def __init__(self, annotations: Annotations) -> None:
        if annotations.skeleton is None:
            raise HeatpointError(
                f"{annotations.source} does not name its joints; give data with keypoints"
            )
        self.annotations = annotations
        self.skeleton: Skeleton = annotations.skeleton
        self.places: list[tuple[int, int]] = []
        self.left_out = {"crowd": 0, "difficult": 0, "without joints": 0, "without a box": 0}
        for image, record in enumerate(annotations.images):
            for index in range(len(record)):
                if record.crowd[index]:
                    self.left_out["crowd"] += 1
                elif record.difficult[index]:
                    self.left_out["difficult"] += 1
                elif not (self._joints(image, index)[:, 2] > 0).any():
                    self.left_out["without joints"] += 1
                elif not _has_area(record.boxes[index]):
                    self.left_out["without a box"] += 1
                else:
                    self.places.append((image, index))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, subject: int) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
        """Returns the image's index, the box (4,) and the joints (J, 3), in image pixels.

        Joints that are not finite are not labelled.
        """
        image, index = self.places[subject]
        return image, self.annotations.images[image].boxes[index], self._joints(image, index)

    def _joints(self, image: int, index: int) -> NDArray[np.float64]:
        keypoints = self.annotations.images[image].keypoints
        if keypoints is None:
            return np.zeros((len(self.skeleton), 3))
        joints = keypoints[index]
        return np.where(np.isfinite(joints).all(1)[:, None], joints, 0.0)


def subject_name(annotations: Annotations) -> str:
    """Returns what the subjects are: their class, or "subject" where they are of several."""
    places = Subjects(annotations).places
    labels = {int(annotations.images[image].labels[index]) for image, index in places}
    return annotations.names[labels.pop()] if len(labels) == 1 else "subject"


def _has_area(box: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(box).all() and box[2] > box[0] and box[3] > box[1])


Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Scene:
    """A picture and the N objects to be learnt in it, in its own pixels.

    Attributes:
        image: (h, w, 3) uint8 RGB.
        boxes: (N, 4) xyxy.
        labels: (N,) int64, class indices.
        keypoints: (N, J, 3) x, y and visibility; None where there are no joints to learn.
        skeleton: Of the keypoints.
    """

    image: Image
    boxes: Floats
    labels: NDArray[np.int64]
    keypoints: Floats | None = None
    skeleton: Skeleton | None = None

    def moved(self, to_view: Affine, size: tuple[int, int]) -> Scene:
        """Returns a view of the scene: pixels, boxes and joints through one map.

        Boxes are not clipped. Where the map mirrors, left and right joints change places.

        Args:
            to_view: Map from the scene's pixels to those of the view.
            size: (H, W) of the view.
        """
        keypoints = self.keypoints
        if keypoints is not None:
            keypoints = place(keypoints, to_view, size)
            if self.skeleton is not None and mirrors(to_view):
                keypoints = keypoints[:, list(self.skeleton.flip)]
        image = to_view.warp(self.image, size)
        return replace(self, image=image, boxes=to_view.boxes(self.boxes), keypoints=keypoints)

    def keep(self, mask: NDArray[np.bool_]) -> Scene:
        """Returns the scene with only the objects where ``mask``, (N,) bool, is True."""
        keypoints = None if self.keypoints is None else self.keypoints[mask]
        return replace(self, boxes=self.boxes[mask], labels=self.labels[mask], keypoints=keypoints)


@dataclass(frozen=True)
class Samples:
    """What a training set shows, one after the other.

    Attributes:
        places: Index of the image, and those of the objects in it, per sample.
        left_out: Number of objects that are in no sample, by why.
    """

    places: list[tuple[int, NDArray[np.int64]]]
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.places)


class Variation(ABC):
    """How one kind of samples is varied; a frozen dataclass of numbers, which draws from ``rng``.

    Attributes:
        sees: What its samples are, for sentences: "whole pictures" or "crops".
        options: Its fields by the name that options of training have for them, those left out that
            every kind has.
        flip: Probability of the mirror image.
    """

    sees: ClassVar[str]
    options: ClassVar[dict[str, str]]
    flip: float

    @classmethod
    def published(cls) -> Self:
        """Returns the published recipe, which is the default."""
        return cls()

    @classmethod
    @abstractmethod
    def mild(cls) -> Self:
        """Returns small moves, for small data sets and fixed cameras."""

    @classmethod
    @abstractmethod
    def none(cls) -> Self:
        """Returns no variation at all: what evaluation sees."""

    @classmethod
    def named(cls, augment: str) -> Self:
        """Returns what training calls "published", "mild" or "none"."""
        recipes = {"published": cls.published, "mild": cls.mild, "none": cls.none}
        return recipes[augment]()

    @abstractmethod
    def samples(self, annotations: Annotations) -> Samples:
        """Returns the samples of a data set.

        Raises:
            HeatpointError: The data set lacks what they are about, or what the variation needs.
        """

    def others(self, samples: int, rng: np.random.Generator) -> list[int]:
        """Returns further samples, out of so many, that are to be joined to one; none by default.

        Args:
            samples: Number of samples to choose from.
            rng: The only source of chance.
        """
        return []

    @abstractmethod
    def view(
        self, scenes: Sequence[Scene], size: tuple[int, int], rng: np.random.Generator
    ) -> Scene:
        """Draws one view.

        Args:
            scenes: A sample and those that ``others`` chose.
            size: (H, W) of the network's input in pixels.
            rng: The only source of chance.

        Returns:
            What the network is to see and to find, in pixels of the view.
        """


def mirrors(to_view: Affine) -> bool:
    """Tells whether a map turns a left hand into a right one."""
    a, b, _, d, e, _ = to_view.matrix
    return a * e - b * d < 0


def place(joints: Floats, to_view: Affine, size: tuple[int, int]) -> Floats:
    """Returns joints in pixels of a view; those outside or not labelled become 0, 0, 0.

    Args:
        joints: (..., 3) x, y and visibility.
        to_view: Map to pixels of the view.
        size: (H, W) of the view; a joint on its upper or left rim is inside.
    """
    placed = np.concatenate((to_view.points(joints[..., :2]), joints[..., 2:]), -1)
    x, y, visibility = placed[..., 0], placed[..., 1], placed[..., 2]
    seen = (visibility > 0) & (x >= 0) & (y >= 0) & (x < size[1]) & (y < size[0])
    placed[~seen] = 0.0
    return placed
