"""A picture with what is to be learnt in it, and what all ways to vary it have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.annotations import Annotations
from heatpoint.data.skeleton import Skeleton
from heatpoint.geometry.affine import Affine, Image

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
