"""The one in-memory form of a labelled data set, whatever format it was read from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.findings import Finding
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.geometry import RGB, Affine, Bands, box_area
from heatpoint.geometry.polygons import polygon_area

Box = tuple[float, float, float, float]

Size = tuple[int, int]
"""(height, width) in pixels."""

Id = int | str
"""What a file calls an image or a class, 7 or "7", as it is."""

MARGIN = 0.05
"""What ``joints_box`` adds on each side, in longer sides: joints lie inside of the body."""

_COLUMNS: dict[str, tuple[type[np.generic], float | None]] = {
    "labels": (np.int64, None),
    "crowd": (np.bool_, False),
    "difficult": (np.bool_, False),
    "areas": (np.float64, math.nan),
    "heads": (np.float64, None),
}
"""The flat arrays of an ``ImageRecord``: their types, and what one is filled with if left empty."""


_FURTHER = {"keypoints": ("J", 3), "points": ("P", 2)}
"""The arrays of an ``ImageRecord`` that may be lacking: letter of the middle axis, last axis."""


@dataclass(slots=True)
class ImageRecord:
    """One image and the objects in it, as the annotation says (nothing is repaired here).

    Left empty, ``crowd`` and ``difficult`` become all False; ``areas`` that are left empty or not
    finite become those of the boxes, or of the four corners.

    Attributes:
        path: The image file; it need not exist.
        size: (height, width) in image pixels as annotated, or None if the annotation is silent.
        boxes: (N, 4) float64, xyxy in image pixels, continuous; may be wrong in every way.
        labels: (N,) int64, class index from 0.
        crowd: (N,) bool, regions that training leaves alone and evaluation neither rewards nor
            punishes (COCO ``iscrowd`` and ``ignore``).
        difficult: (N,) bool, objects VOC evaluation does not count.
        areas: (N,) float64, square image pixels; the mask's area for COCO, else the box's.
        image_id: What results refer to, as the file has it.
        keypoints: (N, J, 3) float64, x and y in image pixels, continuous, and visibility 0 (not
            labelled; x and y are 0), 1 (hidden) or 2 (visible); None where there are no joints.
        heads: (N,) float64, length that PCKh divides by: 0.6 of the diagonal of the head's box in
            image pixels, NaN where it is not known; None where it is known of nobody.
        points: (N, P, 2) float64, x and y in image pixels, continuous, of objects that are
            labelled by a point each, or by four corners (clockwise as seen); None where they are
            labelled by boxes. The boxes are then those around the points, without area around a
            single one; of a crowd region, its own.

    Raises:
        ValueError: Arrays of different lengths, boxes that are not (N, 4), keypoints that are
            not (N, J, 3) or points that are not (N, P, 2).
    """

    path: Path
    size: Size | None = None
    boxes: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    crowd: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    difficult: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    areas: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    image_id: Id = 0
    keypoints: NDArray[np.float64] | None = None
    heads: NDArray[np.float64] | None = None
    points: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        self.path = Path(self.path)
        boxes = np.asarray(self.boxes, np.float64)
        self.boxes = boxes if boxes.size else boxes.reshape(0, 4)
        if self.boxes.ndim != 2 or self.boxes.shape[1] != 4:
            raise self._misfit("boxes", "shape (N, 4)", boxes.shape)
        n = len(self.boxes)
        for name, (kind, fill) in _COLUMNS.items():
            given = getattr(self, name)
            if given is None:
                continue
            values = np.asarray(given, kind).reshape(-1)
            if fill is not None and not len(values):
                values = np.full(n, fill, kind)
            if len(values) != n:
                raise self._misfit(name, f"{n} (one per box)", len(values))
            setattr(self, name, values)
        for name, (letter, last) in _FURTHER.items():
            if getattr(self, name) is None:
                continue
            values = np.asarray(getattr(self, name), np.float64)
            shape = list(values.shape)
            if len(shape) != 3 or shape[::2] != [n, last]:
                raise self._misfit(name, f"shape ({n}, {letter}, {last})", values.shape)
            setattr(self, name, values)
        with np.errstate(invalid="ignore", over="ignore"):
            own = box_area(self.boxes) if self.quads is None else np.abs(polygon_area(self.quads))
        self.areas = np.where(np.isfinite(self.areas), self.areas, own)

    def _misfit(self, name: str, wanted: str, got: object) -> ValueError:
        return ValueError(f"{name} of {self.path}: expected {wanted}, got {got}")

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def quads(self) -> NDArray[np.float64] | None:
        """The corners, (N, 4, 2), of objects that are labelled by four; None of all others."""
        return self.points if self.points is not None and self.points.shape[1] == 4 else None

    @property
    def pointed(self) -> bool:
        """Whether objects are labelled by one point each."""
        return self.points is not None and self.quads is None

    def moved(self, to: Affine) -> ImageRecord:
        """Returns the objects as they lie in a picture to which a map leads."""
        further = {name: getattr(self, name) for name in _FURTHER}
        mapped = {name: to.points(each) for name, each in further.items() if each is not None}
        return replace(self, boxes=to.boxes(self.boxes), **mapped)

    def keep(self, mask: NDArray[np.bool_]) -> ImageRecord:
        """Returns the record with only the objects where ``mask``, (N,) bool, is True."""
        columns = {name: getattr(self, name) for name in ("boxes", *_FURTHER, *_COLUMNS)}
        kept = {name: values[mask] for name, values in columns.items() if values is not None}
        return replace(self, **kept)

    def divided(self, images: Iterable[tuple[Path, Size | None, Id, int]]) -> list[ImageRecord]:
        """Returns the records of many images whose objects stand in this one, one after another.

        They share its memory, and are made without looking at each again.

        Args:
            images: Path, size and id of each image, and how many of the objects are its.
        """
        found: list[ImageRecord] = []
        known = self.heads if self.heads is not None and np.isfinite(self.heads).any() else None
        start = 0
        for path, size, image_id, count in images:
            part = slice(start, start := start + count)
            record = object.__new__(ImageRecord)
            record.path, record.size, record.image_id = path, size, image_id
            record.boxes, record.labels = self.boxes[part], self.labels[part]
            record.crowd, record.difficult = self.crowd[part], self.difficult[part]
            record.areas = self.areas[part]
            record.keypoints = None if self.keypoints is None else self.keypoints[part]
            record.points = None if self.points is None else self.points[part]
            heads = None if known is None else known[part]
            record.heads = heads if heads is not None and np.isfinite(heads).any() else None
            found.append(record)
        return found

    def joints(self, number: int) -> NDArray[np.float64]:
        """Returns the keypoints, (N, number, 3), of which those that are not finite become 0, 0, 0.

        Args:
            number: J, the joints of an object; none is labelled where there are no keypoints.
        """
        if self.keypoints is None:
            return np.zeros((len(self), number, 3))
        finite = np.isfinite(self.keypoints).all(-1, keepdims=True)
        return np.where(finite, self.keypoints, 0.0)


class Objects:
    """The objects of one image, or of several one after another, while a reader collects them.

    Args:
        joints: J, the joints each object of the data set has; None if they have none.
    """

    def __init__(self, joints: int | None = None) -> None:
        self._joints = joints
        self._rows: list[tuple[Any, ...]] = []
        self._corners: list[NDArray[np.float64] | None] = []

    def add(
        self,
        box: Box,
        label: int,
        crowd: bool = False,
        difficult: bool = False,
        area: float = math.nan,
        keypoints: NDArray[np.float64] | None = None,
        head: float = math.nan,
        corners: NDArray[np.float64] | None = None,
    ) -> None:
        """Adds one object.

        Args:
            box: xyxy in image pixels.
            label: Class index.
            crowd: A crowd region.
            difficult: Not counted by VOC evaluation.
            area: In square image pixels; NaN means the box's.
            keypoints: (J, 3) as in ``ImageRecord``; None means that no joint is labelled.
            head: Length that PCKh divides by; NaN if unknown.
            corners: (4, 2) of an object with four; ``quads.NONE`` of another outline that is no
                box; None of a box.
        """
        if keypoints is None and self._joints is not None:
            keypoints = np.zeros((self._joints, 3))
        self._rows.append((box, label, crowd, difficult, area, keypoints, head))
        self._corners.append(corners)

    def __len__(self) -> int:
        return len(self._rows)

    def record(self, path: Path, size: Size | None, image_id: Id) -> ImageRecord:
        """Returns the finished record of the image at ``path``."""
        columns = list(zip(*self._rows, strict=True)) or [()] * 7
        corners, *columns, points, lengths = columns
        labels, crowd, difficult, areas, heads = map(np.array, (*columns, lengths))
        boxes = np.fromiter(chain.from_iterable(corners), float, 4 * len(corners)).reshape(-1, 4)
        joints = None
        if self._joints is not None:
            joints = np.array(points).reshape(len(boxes), self._joints, 3)
        known = heads if np.isfinite(heads).any() else None
        quads = None
        if any(each is not None for each in self._corners):
            lacking = np.full((4, 2), math.nan)
            quads = np.array([lacking if each is None else each for each in self._corners])
        return ImageRecord(
            path, size, boxes, labels, crowd, difficult, areas, image_id, joints, known, quads
        )


@dataclass
class Annotations:
    """A labelled data set.

    Attributes:
        names: Class names; the index is the label.
        images: One record per image, images without objects included.
        source: Where it came from, as the user wrote it.
        format: As what it was read, such as "Pascal VOC"; "" for data that was made in memory.
        category_ids: The id class ``i`` has in the original file; 1 to C if left empty.
        left_out: How many things the reader (or ``clean``) could not keep, by kind.
        findings: What the reader noticed on its way; ``validate`` adds the rest.
        searched: Folders in which images were looked for in vain; empty if some were found.
        skeleton: What the joints are called; None where there are none, or they have no names.
        bits: How many bits the 16-bit pictures have that declare none; None where there is none,
            or they were not looked at (``clean`` does).
        channels: How many channels pictures are to keep; 0 takes grey for RGB, and of files of
            other numbers all.
        bands: What the pictures are read as; ``clean`` looks at their files for it.

    Raises:
        ValueError: Repeated names, or category ids that do not fit the names.
        HeatpointError: Objects have more or fewer joints than the skeleton, or its slices are those
            of more or fewer classes.
    """

    names: tuple[str, ...]
    images: list[ImageRecord]
    source: str = ""
    category_ids: tuple[Id, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    searched: tuple[str, ...] = ()
    skeleton: Skeleton | None = None
    format: str = ""
    bits: int | None = None
    channels: int = 0
    bands: Bands = RGB

    def __post_init__(self) -> None:
        self.names = tuple(self.names)
        n = len(self.names)
        self.category_ids = tuple(self.category_ids) or tuple(range(1, n + 1))
        for what, values in (("names", self.names), ("category_ids", self.category_ids)):
            if len(values) != n or len(set(values)) != n:
                raise ValueError(f"{what}: expected {n} distinct ones, a class each, got {values}")
        if self.skeleton is None:
            return
        joints, slices = self.skeleton.joints, self.skeleton.slices
        if len(slices) not in (0, n):
            raise HeatpointError(
                f"{self.source}: the skeleton gives {len(slices)} classes joints of their own, but "
                f"there are {n} ({', '.join(self.names)}); give each class its slice"
            )
        for record in self.images:
            if record.keypoints is not None and record.keypoints.shape[1] != len(joints):
                raise HeatpointError(
                    f"{self.source}: objects of {record.path.name} have "
                    f"{record.keypoints.shape[1]} joints, but the skeleton has {len(joints)} "
                    f"({', '.join(joints)}); give the skeleton the data was labelled with"
                )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def pointed(self) -> bool:
        """Whether objects are labelled by a point each instead of boxes."""
        return any(record.pointed for record in self.images)

    @property
    def cornered(self) -> bool:
        """Whether objects are labelled by four corners each."""
        return any(record.quads is not None for record in self.images)

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

    def say(self, kind: str, image: str, detail: str) -> None:
        """Adds a finding."""
        self.findings.append(Finding(kind, image, detail))

    def leave_out(self, kind: str, image: str, detail: str) -> None:
        """Counts one thing a reader cannot keep and remembers why."""
        self.left_out[kind] = self.left_out.get(kind, 0) + 1
        self.say(kind, image, detail)


def joints_box(keypoints: NDArray[np.float64]) -> Box | None:
    """Returns the box of a subject that was labelled without one: its joints and a margin.

    The extent of the labelled joints is grown on each side by ``MARGIN`` of its longer side, and
    by one pixel at least, so that joints on one line have a box as well.

    Args:
        keypoints: (J, 3) x, y in image pixels and visibility.

    Returns:
        xyxy in image pixels; it may reach beyond the image. None if no joint is labelled; of
        joints that are NaN the box is NaN.
    """
    points = keypoints[keypoints[:, 2] > 0, :2]
    if len(points) == 0:
        return None
    low, high = points.min(0), points.max(0)
    margin = max(1.0, MARGIN * float((high - low).max()))
    x1, y1, x2, y2 = np.concatenate((low - margin, high + margin)).tolist()
    return x1, y1, x2, y2


def check_names(names: Sequence[str], where: str | Path) -> tuple[str, ...]:
    """Returns class names as a tuple after making sure that a name means one class.

    Raises:
        HeatpointError: There is no name, an empty one, or one that occurs twice.
    """
    if not names:
        raise HeatpointError(f"{where} names no class; expected at least one")
    known: dict[str, int] = {}
    for index, name in enumerate(names):
        if not name:
            raise HeatpointError(f"{where}: class {index} has an empty name; give it one")
        first = known.setdefault(name, index)
        if first != index:
            raise HeatpointError(
                f"{where}: classes {first} and {index} are both called {name!r:.60}; rename one, "
                "or merge the two in the annotations"
            )
    return tuple(names)
