"""Fields of an answer by kind: how each changes with the frame; and the truth of one look."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from heatpoint.errors import HeatpointError
from heatpoint.geometry import Affine

if TYPE_CHECKING:
    from torch import Tensor


Part = Literal["boxes", "keypoints", "points", "quads"]
"""Parts of a ``Target`` that a codec may learn from."""


@dataclass
class Target:
    """What is to be found in one look at an image.

    Attributes:
        boxes: (N, 4) float32, xyxy in input pixels.
        labels: (N,) int64, class index from 0.
        keypoints: (N, J, 3) float32, x and y in input pixels and visibility 0, 1 or 2; or None.
        points: (N, P, 2) float32, x and y in input pixels of the P points that say where an object
            is, or of its four corners, clockwise; or None. Its box is the one around them, without
            area around one.
    """

    boxes: Tensor
    labels: Tensor
    keypoints: Tensor | None = None
    points: Tensor | None = None

    def to(self, device: Any) -> Target:
        """Returns the target with every tensor on ``device``."""
        given = (self.boxes, self.labels, self.keypoints, self.points)
        there = (each if each is None else each.to(device, non_blocking=True) for each in given)
        return Target(*there)  # type: ignore[arg-type]


Kind = Literal[
    "score", "label", "box", "points", "length", "vector", "angle", "raw", "place", "density"
]
KINDS: tuple[str, ...] = get_args(Kind)

Arrays = dict[str, NDArray[Any]]
"""Fields by name: (B, K, *tail) of a batch, or (K, *tail) of one look."""


@dataclass(frozen=True)
class Field:
    """One array of an answer, (B, K, *tail).

    Attributes:
        name: "scores", "labels", "boxes", "keypoints", or any name of a codec's own.
        tail: What follows (B, K) in its shape: () for one number, (4,) for a box, (J, 3) for
            joints.
        kind: How a change of frame acts on it. "box": xyxy, of which the upright box around the
            mapped corners is taken. "points": the last axis begins with x and y, what follows
            them stays. "length": in pixels, scaled by the root of the map's factor of area.
            "vector": x and y of a displacement, turned and scaled. "angle": radians from the
            x axis towards the y axis, turned. "score", "label" (int64) and "raw" stay. "place":
            xyxy of a part of the picture, and how much a look at it is wanted, 0 for an empty row;
            these are no results but for the view, and a table with rows of its own. "density": how
            many objects of each class are in a cell; no results either, and a row for each cell of
            the map, line by line, whose sum is a count.
    """

    name: str
    tail: tuple[int, ...] = ()
    kind: Kind = "raw"

    def __post_init__(self) -> None:
        object.__setattr__(self, "tail", tuple(self.tail))  # JSON holds lists
        if self.kind not in KINDS or not all(isinstance(n, int) and n > 0 for n in self.tail):
            raise HeatpointError(
                f"a field's kind is one of {', '.join(KINDS)} and its tail whole numbers, not "
                f"{self.kind!r} and {self.tail} ({self.name})"
            )
        last = self.tail[-1] if self.tail else 0
        ends = {"box": last == 4, "points": last >= 2, "vector": last == 2, "place": last == 5}
        if not ends.get(self.kind, True):
            raise HeatpointError(
                f"the tail of a field of the kind 'box' ends in 4, of 'points' in 2 or more, of "
                f"'vector' in 2 and of 'place' in 5, but {self.name}, a {self.kind!r}, has "
                f"{self.tail}"
            )

    @property
    def type(self) -> type[np.generic]:
        """The type of its numbers: int64 for labels, else float32."""
        return np.int64 if self.kind == "label" else np.float32


@dataclass(frozen=True)
class Suppression:
    """What rows need before they are results.

    Attributes:
        sigma: Width of a gaussian soft-NMS; None where rows need none.
        weights: Name of a field (2,) that weights the upper-left and lower-right corners of boxes
            that are merged; "" for the score of the whole row.
    """

    sigma: float | None = None
    weights: str = ""


NO_SUPPRESSION = Suppression()
SCORES, LABELS = Field("scores", (), "score"), Field("labels", (), "label")
BOXES, POINTS = Field("boxes", (4,), "box"), Field("points", (2,), "points")
QUADS = Field("quads", (4, 2), "points")


def density_field(classes: int) -> Field:
    """Returns the field of a density map of so many classes."""
    return Field("density", (classes,), "density")


MIRRORED = [1, 0, 3, 2]
"""The corners of a quad in a mirror image: clockwise again, left and right change places."""


USUAL = 100
"""Most results of a picture where the user does not say: so many does COCO count."""


def of_results(fields: Sequence[Field]) -> tuple[Field, ...]:
    """Returns the fields that say something about single results, each row about one."""
    return tuple(field for field in fields if field.kind not in ("place", "density"))


def mapped(rows: Mapping[str, NDArray[Any]], fields: Sequence[Field], to_image: Affine) -> Arrays:
    """Returns the rows of one look in image pixels; positions are float64, nothing is clipped.

    Args:
        rows: (K, *tail) by name, in input pixels.
        fields: Their kinds.
        to_image: Map from input to image pixels.
    """
    a, b, _, d, e, _ = to_image.matrix
    done: Arrays = {}
    for field in fields:
        values = rows[field.name]
        if field.kind not in ("score", "label", "raw", "density"):
            values = values.astype(np.float64)
        if field.kind == "box":
            values = to_image.boxes(values)
        elif field.kind == "place":
            values = np.concatenate((to_image.boxes(values[..., :4]), values[..., 4:]), -1)
        elif field.kind == "points":
            values = to_image.points(values)
        elif field.kind == "length":
            values = values * math.sqrt(abs(a * e - b * d))
        elif field.kind == "vector":
            values = values @ np.array([[a, d], [b, e]])
        elif field.kind == "angle":
            x, y = np.cos(values), np.sin(values)
            values = np.arctan2(d * x + e * y, a * x + b * y)
        done[field.name] = values
    return done


def counted(
    density: NDArray[np.floating],
    size: tuple[int, int],
    to_image: Affine,
    ground: tuple[float, float, float, float],
) -> NDArray[np.float64]:
    """Returns how many objects of each class a density map says are in a part of the picture, (C,).

    A cell on the border of the part counts with the share of it that lies within.

    Args:
        density: (h * w, C), cells line by line.
        size: (H, W) of the input in pixels.
        to_image: Map from input to image pixels, which keeps the axes.
        ground: The part, xyxy in image pixels.
    """
    stride = math.sqrt(size[0] * size[1] / len(density))
    shape = round(size[0] / stride), round(size[1] / stride)
    shares = []
    for axis in (0, 1):
        line = np.arange(shape[1 - axis] + 1, dtype=np.float64) * stride
        places = np.zeros((len(line), 2))
        places[:, axis] = line
        ends = to_image.points(places)[:, axis]
        inside = np.diff(ends.clip(ground[axis], ground[axis + 2]))
        shares.append(inside / np.diff(ends))
    cells = density.reshape(*shape, -1).astype(np.float64)
    total: NDArray[np.float64] = np.einsum("x,y,yxc->c", *shares, cells)
    return total


def extents(rows: Mapping[str, NDArray[Any]], fields: Sequence[Field]) -> NDArray[np.float64]:
    """Returns boxes (K, 4) around rows: their own, or around their first field of points.

    Raises:
        HeatpointError: The fields say nothing about places.
    """
    telling = [field for kind in ("box", "points") for field in fields if field.kind == kind]
    if not telling:
        raise HeatpointError(
            f"an answer of {', '.join(field.name for field in fields)} says nothing about places; "
            "give one field the kind 'box' or 'points'"
        )
    places = rows[telling[0].name].astype(np.float64)
    places = places if telling[0].kind == "box" else places[..., :2]
    # There may be no row, from which NumPy could not tell the number of places.
    places = places.reshape(len(places), math.prod(places.shape[1:]) // 2, 2)
    return np.concatenate((places.min(1), places.max(1)), 1)
