"""What training is shown: samples of a data set, the scene of each, and how scenes are varied."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord, Size
from heatpoint.data.skeleton import Skeleton, skeleton_of
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Affine, Image, is_rgb
from heatpoint.views.fields import MIRRORED

Floats = NDArray[np.floating[Any]]
Rng = np.random.Generator
"""The only source of chance."""


class Samples:
    """What a training set shows, one after the other: whole images with what is to be found.

    Attributes:
        annotations: Where they are.
        places: Index of the image, and those of the objects in it, per sample.
        left_out: Number of objects that are in no sample, by why: "crowd", "difficult".
    """

    def __init__(self, annotations: Annotations) -> None:
        self.annotations = annotations
        self.places: list[tuple[int, NDArray[np.int64]]] = []
        self.left_out: Counter[str] = Counter()
        for image, record in enumerate(annotations.images):
            wanted = np.ones(len(record), np.bool_)
            for why, unfit in self._unfit(record).items():
                self.left_out[why] += int((wanted & unfit).sum())
                wanted &= ~unfit
            self.places.append((image, np.flatnonzero(wanted)))

    def __len__(self) -> int:
        return len(self.places)

    def _unfit(self, record: ImageRecord) -> dict[str, NDArray[np.bool_]]:
        """Returns which objects are not to be found, (N,) each by why."""
        return {"crowd": record.crowd, "difficult": record.difficult}


class Singles(Samples):
    """The objects of a data set that have a box, one after the other, with joints or not.

    Attributes:
        left_out: Also "without a box" (no area, or not finite).
    """

    def __init__(self, annotations: Annotations) -> None:
        super().__init__(annotations)
        self.places = [(image, one) for image, objects in self.places for one in objects[:, None]]

    def _unfit(self, record: ImageRecord) -> dict[str, NDArray[np.bool_]]:
        low, high = record.boxes[:, :2], record.boxes[:, 2:]
        boxed = np.isfinite(record.boxes).all(1) & (high > low).all(1)
        return super()._unfit(record) | {"without a box": np.asarray(~boxed)}


class Subjects(Singles):
    """The objects of a data set that have joints to find, one after the other.

    Attributes:
        skeleton: Of the data set.
        left_out: Also "without joints" (none is labelled, or none finite).

    Raises:
        HeatpointError: The data set does not name its joints, or several classes have joints of
            their own.
    """

    def __init__(self, annotations: Annotations) -> None:
        if annotations.skeleton is None:
            raise HeatpointError(
                f"{annotations.source} does not name its joints; give data with keypoints"
            )
        kinds = {part for part in annotations.skeleton.slices if part != (0, 0)}
        if len(kinds) > 1:
            raise HeatpointError(
                f"classes of {annotations.source} have joints of their own, and a model that looks "
                "at one subject at a time finds those of one class: keep one (heatpoint filter "
                f"--classes {annotations.names[0]}), or choose a model that finds boxes and joints "
                "in whole pictures (heatpoint models lists them)"
            )
        self.skeleton: Skeleton = replace(annotations.skeleton, slices=())
        super().__init__(annotations)

    def __getitem__(self, subject: int) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
        """Returns the image's index, the box (4,) and the joints (J, 3), in image pixels.

        Joints that are not finite are not labelled.
        """
        image, (index,) = self.places[subject]
        record = self.annotations.images[image]
        return image, record.boxes[index], record.joints(len(self.skeleton))[index]

    def _unfit(self, record: ImageRecord) -> dict[str, NDArray[np.bool_]]:
        labelled = (record.joints(len(self.skeleton))[..., 2] > 0).any(1)
        reasons = super()._unfit(record)
        boxless = reasons.pop("without a box")
        return reasons | {"without joints": np.asarray(~labelled), "without a box": boxless}


def subject_name(annotations: Annotations, joints: bool = True) -> str:
    """Returns what the subjects are: their class, or "subject" where they are of several.

    Args:
        annotations: The data set.
        joints: Whether subjects are objects with joints; otherwise all that have a box are.
    """
    places = (Subjects if joints else Singles)(annotations).places
    labels = {int(annotations.images[image].labels[index]) for image, (index,) in places}
    return annotations.names[labels.pop()] if len(labels) == 1 else "subject"


def with_skeleton(annotations: Annotations, skeleton: str) -> Annotations:
    """Returns data with the skeleton that its joints are to be read with.

    Args:
        annotations: The data.
        skeleton: Name or file of a skeleton; "" for the data's own.

    Raises:
        HeatpointError: The data has no joints, or not as many as the skeleton.
    """
    given = (record.keypoints for record in annotations.images)
    number = next((joints.shape[1] for joints in given if joints is not None), None)
    if number is None:
        raise HeatpointError(
            f"{annotations.source} has no joints, which a model of joints learns from; give COCO "
            "keypoints or another format that docs/pose.md lists, or choose a model that finds "
            "boxes (heatpoint models lists them)"
        )
    found = skeleton_of(skeleton) if skeleton else annotations.skeleton
    if found is None:
        raise HeatpointError(
            f"{annotations.source} does not name its {number} joints; name them with skeleton: "
            "coco17, mpii16, lsp14, flic11, face5 or a JSON file"
        )
    if len(found) != number:
        raise HeatpointError(
            f"skeleton {skeleton} has {len(found)} joints, but every subject of "
            f"{annotations.source} has {number}; name the skeleton the data was labelled with, or "
            "leave skeleton out where the data names its joints"
        )
    return replace(annotations, skeleton=found)


@dataclass(frozen=True)
class Scene:
    """A picture and the N objects to be learnt in it, in its own pixels.

    Attributes:
        image: (h, w, 3) uint8 RGB, or the picture shrunk to this.
        boxes: (N, 4) xyxy.
        labels: (N,) int64, class indices.
        keypoints: (N, J, 3) x, y and visibility; None where there are no joints to learn.
        points: (N, P, 2) x and y of the points that objects are labelled by, or of their four
            corners; None where they have boxes.
        skeleton: Of the keypoints.
        shrunk: Pixels of the picture along each side of a pixel of ``image``.
    """

    image: Image
    boxes: Floats
    labels: NDArray[np.int64]
    keypoints: Floats | None = None
    skeleton: Skeleton | None = None
    shrunk: int = 1
    points: Floats | None = None

    @property
    def size(self) -> Size:
        """(height, width) of the picture."""
        return self.image.shape[0] * self.shrunk, self.image.shape[1] * self.shrunk

    def moved(self, to_view: Affine, size: Size) -> Scene:
        """Returns a view of the scene: pixels, boxes, joints and points through one map.

        Boxes are not clipped; those of points are the ones around them. Where the map mirrors, left
        and right joints or corners change places.

        Args:
            to_view: Map from the scene's pixels to those of the view.
            size: (H, W) of the view.
        """
        keypoints = self.keypoints
        if keypoints is not None:
            keypoints = place(keypoints, to_view, size)
            if self.skeleton is not None and mirrors(to_view):
                keypoints = keypoints[:, list(self.skeleton.flip)]
        image = (to_view @ Affine.scale(self.shrunk, self.shrunk)).warp(self.image, size)
        boxes, points = to_view.boxes(self.boxes), self.points
        if points is not None:
            order = MIRRORED if points.shape[1] == 4 and mirrors(to_view) else slice(None)
            points = to_view.points(points)[:, order]
            boxes = np.concatenate((points.min(1), points.max(1)), -1)
        moved = replace(self, image=image, boxes=boxes, keypoints=keypoints, shrunk=1)
        return replace(moved, points=points)

    def keep(self, mask: NDArray[np.bool_]) -> Scene:
        """Returns the scene with only the objects where ``mask``, (N,) bool, is True."""
        kept: dict[str, Any] = {name: values[mask] for name, values in self.columns.items()}
        return replace(self, **kept)

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """What there is of every object, one row each, by the name of the field."""
        names = ("boxes", "labels", "keypoints", "points")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


_GREY = np.array([0.299, 0.587, 0.114])
# Principal components of COCO's colours for values in [0, 1]; one row per channel. The released
# table is for blue, green, red pixels, so its rows are reversed here.
_COMPONENTS = np.array(
    [
        [-0.56089297, 0.71832671, 0.41158938],
        [-0.58327470, 0.00994535, -0.81221408],
        [-0.58752847, -0.69563484, 0.41340352],
    ]
)
_SPREAD = np.array([0.2141788, 0.01817699, 0.00341571])


class Variation(ABC):
    """How one kind of samples is varied; a frozen dataclass of numbers, which draws from ``rng``.

    Attributes:
        sees: What its samples are, for sentences: "whole pictures" or "crops".
        options: Its fields by the name that options of training have for them, those left out that
            every kind has.
        flip: Probability of the mirror image.
        colour: Brightness, contrast and saturation each change by up to this share.
        lighting: Spread of the shift along the principal components of colour; 0 for kinds without.
        gain: Each colour channel is multiplied by a factor up to this far from 1; 0 likewise.
    """

    sees: ClassVar[str]
    options: ClassVar[dict[str, str]]
    flip: float
    colour: float
    lighting: float = 0.0
    gain: float = 0.0

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
        return {"published": cls.published, "mild": cls.mild, "none": cls.none}[augment]()

    def samples(self, annotations: Annotations, joints: bool = True) -> Samples:
        """Returns the samples of a data set: each image with its objects.

        Args:
            annotations: The data set.
            joints: Whether joints are to be learnt, where samples may be about them.

        Raises:
            HeatpointError: The data set lacks what they are about, or what the variation needs.
        """
        return Samples(annotations)

    def others(self, samples: int, rng: Rng) -> list[int]:
        """Returns further samples, out of so many, that are to be joined to one; none by default.

        Args:
            samples: Number of samples to choose from.
            rng: The only source of chance.
        """
        return []

    def enlarges(self, image_size: Size, size: Size) -> float:
        """Returns the most pixels of a view along one of the picture; infinite by default.

        Args:
            image_size: (height, width) of the picture.
            size: (H, W) of the network's input in pixels.
        """
        return math.inf

    @abstractmethod
    def view(self, scenes: Sequence[Scene], size: Size, rng: Rng) -> Scene:
        """Draws one view.

        Args:
            scenes: A sample and those that ``others`` chose.
            size: (H, W) of the network's input in pixels.
            rng: The only source of chance.

        Returns:
            What the network is to see and to find, in pixels of the view.
        """

    def recolour(self, image: Image, rng: Rng) -> Image:
        """Returns the (H, W, C) image in random colours, cut to the range of its type.

        Gains come first. One matrix (3, 4) does the rest: new RGB = matrix @ (R, G, B, 1), values
        0-255. Brightness multiplies, contrast blends with the image's mean grey, saturation blends
        with the pixel's grey, in random order; both greys are those of the unchanged image, as
        released. Lighting (Krizhevsky et al. 2012) comes last. The released CenterNet goes on with
        the uncut floats; otherwise the result is the same to one grey level.

        Where channels are no colours, each has a gain and a contrast of its own: up to ``colour``,
        or ``gain`` if that is more.
        """
        if not is_rgb(image):
            return self._rescaled(image, rng)
        if self.gain:
            gains = 1 + rng.uniform(-self.gain, self.gain, 3)
            image = cv2.transform(image, np.diag(gains))  # type: ignore[assignment]
        if self.colour == 0 and self.lighting == 0:
            return image
        matrix = np.eye(3, 4)
        for step in rng.permutation(3):
            keep = 1 + rng.uniform(-self.colour, self.colour)
            matrix *= keep
            if step == 1:
                matrix[:, 3] += (1 - keep) * (_GREY @ cv2.mean(image)[:3])
            elif step == 2:
                matrix[:, :3] += (1 - keep) * _GREY
        matrix[:, 3] += 255 * _COMPONENTS @ (_SPREAD * rng.normal(size=3) * self.lighting)
        return cv2.transform(image, matrix)  # type: ignore[return-value]

    def _rescaled(self, image: Image, rng: Rng) -> Image:
        """Returns the image, each of whose channels is brighter or darker and has other contrast.

        A channel's value v becomes ``g (c v + (1 - c) m)``, m the mean of the channel.
        """
        spread = max(self.colour, self.gain)
        if not spread:
            return image
        gain, contrast = 1 + rng.uniform(-spread, spread, (2, image.shape[2])).astype(np.float32)
        mean = image.mean((0, 1), dtype=np.float32)
        changed = image * (gain * contrast) + gain * (1 - contrast) * mean
        cut: Image = changed.round().clip(0, np.iinfo(image.dtype).max).astype(image.dtype)
        return cut

    def _check(self, low: float, high: float, *names: str, below: bool = False) -> None:
        """Makes sure that the fields of these names lie in [low, high], or ``below`` high.

        Raises:
            HeatpointError: One does not.
        """
        for name in names:
            value = getattr(self, name)
            if not low <= value <= high or (below and value == high):
                most = f"below {high:g}" if below else f"{high:g}"
                raise HeatpointError(f"augment {name} is from {low:g} to {most}, got {value}")


def cut_normal(rng: Rng, spread: float, cut: float) -> float:
    """Returns a random number of a normal distribution about 0, cut at -``cut`` and ``cut``."""
    return float(np.clip(rng.normal() * spread, -cut, cut))


def mirrors(to_view: Affine) -> bool:
    """Tells whether a map turns a left hand into a right one."""
    a, b, _, d, e, _ = to_view.matrix
    return a * e - b * d < 0


def place(joints: Floats, to_view: Affine, size: Size) -> Floats:
    """Returns joints in pixels of a view; those outside or not labelled become 0, 0, 0.

    Args:
        joints: (..., 3) x, y and visibility.
        to_view: Map to pixels of the view.
        size: (H, W) of the view; a joint on its upper or left rim is inside.
    """
    placed = to_view.points(joints)
    inside = ((placed[..., :2] >= 0) & (placed[..., :2] < size[::-1])).all(-1)
    placed[~(inside & (placed[..., 2] > 0))] = 0.0
    return placed
