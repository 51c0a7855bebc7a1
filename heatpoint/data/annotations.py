"""The one in-memory form of a labelled data set, whatever format it was read from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError

Kind = Literal[
    "missing image",
    "unreadable image",
    "image listed twice",
    "image without annotation file",
    "image without objects",
    "size mismatch",
    "unknown image id",
    "unknown category id",
    "object without a box",
    "object without a class",
    "object of an unreadable image",
    "non-finite box",
    "degenerate box",
    "box outside the image",
    "box partly outside",
    "duplicate box",
    "crowd region",
    "malformed joints",
    "non-finite joint",
    "joint outside the image",
    "person without joints",
]
"""Everything that can be said about a data set; ``validate.TREATMENT`` says what follows of it."""


@dataclass(frozen=True)
class Finding:
    """One thing about the data that its owner should know.

    Attributes:
        kind: What it is.
        image: Path of the image it concerns; "" if it belongs to none.
        detail: What exactly, with numbers: the box, the line, the sizes.
    """

    kind: Kind
    image: str
    detail: str


def _empty_boxes() -> NDArray[np.float64]:
    return np.zeros((0, 4), np.float64)


def _empty_labels() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


def _empty_flags() -> NDArray[np.bool_]:
    return np.zeros(0, np.bool_)


def _empty_areas() -> NDArray[np.float64]:
    return np.zeros(0, np.float64)


@dataclass
class ImageRecord:
    """One image and the objects in it, as the annotation says (nothing is repaired here).

    Left empty, ``crowd`` and ``difficult`` become all False and
    ``areas`` the areas of the boxes.

    Attributes:
        path: The image file; it need not exist.
        size: (height, width) in image pixels as annotated, or None if the annotation is silent.
        boxes: (N, 4) float64, xyxy in image pixels, continuous; may be wrong in every way.
        labels: (N,) int64, class index from 0.
        crowd: (N,) bool, regions that training leaves alone and evaluation neither rewards nor
            punishes (COCO ``iscrowd`` and ``ignore``).
        difficult: (N,) bool, objects VOC evaluation does not count.
        areas: (N,) float64, square image pixels; the mask's area for COCO, else the box's.
        image_id: The number results refer to.
        keypoints: (N, J, 3) float64, x and y in image pixels, continuous, and visibility 0 (not
            labelled; x and y are 0), 1 (hidden) or 2 (visible); None where there are no joints.
        heads: (N,) float64, length that PCKh divides by: 0.6 of the diagonal of the head's box in
            image pixels, NaN where it is not known; None where it is known of nobody.

    Raises:
        ValueError: Arrays of different lengths, boxes that are not (N, 4) or keypoints that are
            not (N, J, 3).
    """

    path: Path
    size: tuple[int, int] | None = None
    boxes: NDArray[np.float64] = field(default_factory=_empty_boxes)
    labels: NDArray[np.int64] = field(default_factory=_empty_labels)
    crowd: NDArray[np.bool_] = field(default_factory=_empty_flags)
    difficult: NDArray[np.bool_] = field(default_factory=_empty_flags)
    areas: NDArray[np.float64] = field(default_factory=_empty_areas)
    image_id: int = 0
    keypoints: NDArray[np.float64] | None = None
    heads: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        self.path = Path(self.path)
        boxes = np.asarray(self.boxes, np.float64)
        if boxes.size == 0:
            boxes = boxes.reshape(0, 4)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"boxes of {self.path}: expected shape (N, 4), got {boxes.shape}")
        self.boxes = boxes
        n = len(boxes)
        self.labels = np.asarray(self.labels, np.int64).reshape(-1)
        self.crowd = np.asarray(self.crowd, np.bool_).reshape(-1)
        self.difficult = np.asarray(self.difficult, np.bool_).reshape(-1)
        self.areas = np.asarray(self.areas, np.float64).reshape(-1)
        if len(self.crowd) == 0:
            self.crowd = np.zeros(n, np.bool_)
        if len(self.difficult) == 0:
            self.difficult = np.zeros(n, np.bool_)
        if len(self.areas) == 0:
            self.areas = box_areas(boxes)
        for name in ("labels", "crowd", "difficult", "areas"):
            length = len(getattr(self, name))
            if length != n:
                raise ValueError(f"{name} of {self.path}: expected {n} (one per box), got {length}")
        if self.keypoints is not None:
            joints = np.asarray(self.keypoints, np.float64)
            if joints.ndim != 3 or joints.shape[::2] != (n, 3):
                raise ValueError(
                    f"keypoints of {self.path}: expected shape ({n}, J, 3), got {joints.shape}"
                )
            self.keypoints = joints
        if self.heads is not None:
            self.heads = np.asarray(self.heads, np.float64).reshape(-1)
            if len(self.heads) != n:
                raise ValueError(
                    f"heads of {self.path}: expected {n} (one per box), got {len(self.heads)}"
                )

    def __len__(self) -> int:
        return len(self.boxes)

    def keep(self, mask: NDArray[np.bool_]) -> ImageRecord:
        """Returns the record with only the objects where ``mask``, (N,) bool, is True."""
        return replace(
            self,
            boxes=self.boxes[mask],
            labels=self.labels[mask],
            crowd=self.crowd[mask],
            difficult=self.difficult[mask],
            areas=self.areas[mask],
            keypoints=None if self.keypoints is None else self.keypoints[mask],
            heads=None if self.heads is None else self.heads[mask],
        )


@dataclass
class Annotations:
    """A labelled data set.

    Attributes:
        names: Class names; the index is the label.
        images: One record per image, images without objects included.
        source: Where it came from, as the user wrote it.
        category_ids: The id class ``i`` has in the original file; 1 to C if left empty.
        left_out: How many things the reader (or ``clean``) could not keep, by kind.
        findings: What the reader noticed on its way; ``validate`` adds the rest.
        searched: Folders in which images were looked for in vain; empty if some were found.
        skeleton: What the joints are called; None where there are none, or they have no names.

    Raises:
        ValueError: Repeated names, or category ids that do not fit the names.
        HeatpointError: Objects have more or fewer joints than the skeleton.
    """

    names: tuple[str, ...]
    images: list[ImageRecord]
    source: str = ""
    category_ids: tuple[int, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    searched: tuple[str, ...] = ()
    skeleton: Skeleton | None = None

    def __post_init__(self) -> None:
        self.names = tuple(self.names)
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"names: expected distinct class names, got {self.names}")
        self.category_ids = tuple(self.category_ids) or tuple(range(1, len(self.names) + 1))
        if len(self.category_ids) != len(self.names):
            raise ValueError(
                f"category_ids: expected {len(self.names)} (one per name), "
                f"got {len(self.category_ids)}"
            )
        if len(set(self.category_ids)) != len(self.category_ids):
            raise ValueError(f"category_ids: expected distinct ids, got {self.category_ids}")
        if self.skeleton is not None:
            self._check_joints(self.skeleton)

    def _check_joints(self, skeleton: Skeleton) -> None:
        for record in self.images:
            got = len(skeleton) if record.keypoints is None else record.keypoints.shape[1]
            if got != len(skeleton):
                raise HeatpointError(
                    f"{self.source}: objects of {record.path.name} have {got} joints, but the "
                    f"skeleton has {len(skeleton)} ({', '.join(skeleton.joints)}); give the "
                    "skeleton the data was labelled with"
                )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def objects(self) -> int:
        """Number of boxes over all images, crowd regions included."""
        return sum(len(record) for record in self.images)

    def counts(self) -> dict[str, int]:
        """Returns the number of objects of each class, in class order, without crowd regions."""
        total = np.zeros(len(self.names), np.int64)
        for record in self.images:
            total += np.bincount(record.labels[~record.crowd], minlength=len(self.names))
        return dict(zip(self.names, total.tolist(), strict=True))

    def subset(self, indices: Iterable[int]) -> Annotations:
        """Returns the data set with only the images at ``indices``, in that order."""
        return replace(self, images=[self.images[i] for i in indices])

    def leave_out(self, kind: Kind, image: str, detail: str) -> None:
        """Counts one thing a reader cannot keep and remembers why."""
        self.left_out[kind] = self.left_out.get(kind, 0) + 1
        self.findings.append(Finding(kind, image, detail))


def box_areas(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the areas (N,) of xyxy boxes (N, 4); 0 for a negative side, NaN for a NaN."""
    with np.errstate(invalid="ignore", over="ignore"):
        sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
        areas: NDArray[np.float64] = sides[:, 0] * sides[:, 1]
    return areas


def check_names(names: Sequence[str], where: str | Path) -> tuple[str, ...]:
    """Returns class names as a tuple after making sure that a name means one class.

    Raises:
        HeatpointError: There is no name, an empty one, or one that occurs twice.
    """
    if not names:
        raise HeatpointError(f"{where} names no class; expected at least one")
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if not name:
            raise HeatpointError(f"{where}: class {index} has an empty name; give it one")
        if name in seen:
            raise HeatpointError(
                f"{where}: classes {seen[name]} and {index} are both called {name!r}; "
                "rename one, or merge the two in the annotations"
            )
        seen[name] = index
    return tuple(names)
