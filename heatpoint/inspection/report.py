"""Counts what is in a data set: images, objects, classes, sizes; and what every report needs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from heatpoint.codecs import Codec, Target
from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.validate import Progress
from heatpoint.geometry import next_multiple
from heatpoint.inference.metrics import null_for_nan
from heatpoint.views.pictures import Picture
from heatpoint.wording import amount

_CELLS = 1 << 24  # of all maps of a batch: 64 MiB in float32
_SIZES = {"small": 0.0, "medium": 32.0**2, "large": 96.0**2}  # COCO's, from so many square pixels

SPARSE = 0.1
"""Share of the input that objects cover, below which windows around them see more of them."""

LEAST_WINDOW = 96.0
"""Input pixels of a training window at least. In windows of 64 the coarsest maps of a network are
two cells wide and see more of the border than of a picture: one of four models of tiny objects had
AP 0.22 in whole pictures, where one that learnt from windows of 96 had 0.81."""


class Spread(NamedTuple):
    """Least, median and greatest of some numbers; zeros if there are none."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: NDArray[Any]) -> Spread:
        """Returns the spread of an array of any shape."""
        if values.size == 0:
            return cls(0.0, 0.0, 0.0)
        return cls(float(values.min()), float(np.median(values)), float(values.max()))

    def __str__(self) -> str:
        least, median, most = (f"{v:.0f}" if v >= 100 else f"{v:.3g}" for v in self)
        return least if least == most else f"{least} to {most} (median {median})"


@dataclass(frozen=True)
class Counted:
    """What every report has: numbers that are ready for JSON."""

    def as_dict(self) -> dict[str, Any]:
        """Returns plain numbers and strings; JSON has no NaN but null."""
        plain: dict[str, Any] = null_for_nan(vars(self))
        return plain


@dataclass(frozen=True)
class DataReport(Counted):
    """What a data set holds.

    Attributes:
        images: Number of images.
        empty: Images without a single object.
        objects: Boxes that are to be found, without crowd regions.
        crowd: Crowd regions.
        difficult: Boxes marked difficult (VOC); they are among ``objects``.
        classes: Objects by class name, in label order.
        heights: Of the images, in image pixels.
        widths: Of the images, in image pixels.
        pointed: Whether objects are points; ``sides`` are distances to the nearest other one.
        sides: Square roots of box areas, in image pixels.
        input_sides: The same in input pixels, after the letterbox.
        aspects: Width over height of the boxes.
        per_image: Objects per image, empty images included.
        by_area: Objects by COCO's size classes: areas below 32^2, below 96^2, and above.
        covered: Share of the input that boxes cover, overlaps counted twice.
        window: Side in input pixels of a training window that would pay, or None.
    """

    images: int
    empty: int
    objects: int
    crowd: int
    difficult: int
    classes: dict[str, int]
    heights: Spread
    widths: Spread
    pointed: bool
    sides: Spread
    input_sides: Spread
    aspects: Spread
    per_image: Spread
    by_area: dict[str, int]
    covered: float
    window: int | None

    def lines(self) -> list[str]:
        """Returns the report in words, one statement per line."""
        ordered = sorted(self.classes.items(), key=lambda item: -item[1])
        names = _few([f"{name} {count:,}" for name, count in ordered])
        lines = [
            f"{amount(self.images, 'image')} ({self.empty:,} without objects), "
            f"height {self.heights}, width {self.widths}",
            f"{amount(self.objects, 'object')} of {amount(len(self.classes), 'class')}: {names}",
        ]
        if self.crowd or self.difficult:
            lines.append(f"{self.crowd:,} crowd regions, {self.difficult:,} marked difficult")
        if self.pointed:
            lines += [
                f"distance to the nearest other point {self.sides} pixels; at the input "
                f"{self.input_sides}",
                f"points per image {self.per_image}",
            ]
        elif self.objects:
            sizes = ", ".join(f"{count:,} {name}" for name, count in self.by_area.items())
            lines += [
                f"object side {self.sides} pixels ({sizes}); at the input {self.input_sides}",
                f"objects per image {self.per_image}; they cover {self.covered:.1%} of the input",
            ]
        if self.window is not None:
            lines.append(
                f"most of the input is background: training on windows around the objects "
                f"(--window {self.window}) learns faster"
            )
        unused = [name for name, count in self.classes.items() if count == 0]
        if unused:
            lines.append(f"no object at all of {amount(len(unused), 'class')}: {_few(unused)}")
        return lines


@dataclass(frozen=True)
class Measured:
    """The numbers behind a report, one entry per object, for histograms.

    Attributes:
        sides: (N,) square roots of areas, of boxes or four corners, in input pixels; of points,
            distances to the nearest.
        aspects: (N,) width over height; empty for points.
        per_image: (images,) objects of each image.
        places: (N, 2) middles, in shares of the image's width and height.
    """

    sides: NDArray[np.float64]
    aspects: NDArray[np.float64]
    per_image: NDArray[np.int64]
    places: NDArray[np.float64]


def measure(annotations: Annotations, view: Picture) -> tuple[DataReport, Measured]:
    """Counts and measures every object that is not a crowd region.

    Args:
        annotations: A data set as ``clean`` leaves it; every image has its size.
        view: How a picture is seen.
    """
    records, size = annotations.images, view.size
    frames = np.array([known_size(r) for r in records], np.float64).reshape(-1, 2)
    zooms = np.array([view.looks(known_size(r))[0].to_input.matrix[0] for r in records])
    boxes = [r.boxes[~r.crowd] for r in records]
    per_image = np.array([len(b) for b in boxes], np.int64)
    extents = np.concatenate([b[:, 2:] - b[:, :2] for b in boxes] or [np.zeros((0, 2))])
    areas = np.concatenate([r.areas[~r.crowd] for r in records] or [np.zeros(0)])
    pointed = annotations.pointed
    if pointed:
        sides = np.concatenate([_spacing(*each) for each in zip(boxes, frames, strict=True)])
    else:
        sides = np.sqrt(areas if annotations.cornered else extents.prod(1))
    input_sides = sides * np.repeat(zooms, per_image)
    aspects = extents[:0, 0] if pointed else extents[:, 0] / extents[:, 1]
    of_size = np.bincount(np.digitize(areas, [*_SIZES.values()][1:]), minlength=len(_SIZES))
    covered = float((input_sides**2).sum()) / max(1, len(records) * size[0] * size[1])
    window = window_side(input_sides, size, view.multiple, view.trim) if covered < SPARSE else None
    report = DataReport(
        images=len(records),
        empty=int((per_image == 0).sum()),
        objects=int(per_image.sum()),
        crowd=int(sum(r.crowd.sum() for r in records)),
        difficult=int(sum(r.difficult.sum() for r in records)),
        pointed=pointed,
        classes=annotations.counts(),
        heights=Spread.of(frames[:, 0]),
        widths=Spread.of(frames[:, 1]),
        sides=Spread.of(sides),
        input_sides=Spread.of(input_sides),
        aspects=Spread.of(aspects),
        per_image=Spread.of(per_image),
        by_area=dict(zip(_SIZES, of_size.tolist(), strict=True)),
        covered=covered,
        window=window,
    )
    middles = np.concatenate([b.reshape(-1, 2, 2).mean(1) for b in boxes] or [np.zeros((0, 2))])
    places = middles / np.repeat(frames[:, ::-1], per_image, axis=0)
    return report, Measured(input_sides, aspects, per_image, places)


def _spacing(boxes: NDArray[np.float64], frame: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns how far each of N points is from the nearest other one, (N,) in image pixels.

    A point without others is as far from them as the picture's shorter side.
    """
    from scipy.spatial import cKDTree

    if len(boxes) < 2:
        return np.full(len(boxes), frame.min())
    away, _ = cKDTree(boxes[:, :2]).query(boxes[:, :2], k=2)
    return np.asarray(np.minimum(away[:, 1], frame.min()))


def window_side(
    sides: NDArray[np.float64], size: tuple[int, int], multiple: int = 1, trim: int = 0
) -> int | None:
    """Returns the side of a training window that shows objects well and that the model takes.

    It is ``LEAST_WINDOW`` pixels at least, in steps of about 32, and holds nineteen objects in
    twenty with as much again around them. It is None where there are no objects, and where it would
    be more than a quarter of the input.

    Args:
        sides: (N,) square roots of box areas in input pixels.
        size: (H, W) of the input.
        multiple: Sides of inputs are multiples of this number of pixels ...
        trim: ... less this.
    """
    if not len(sides):
        return None
    step = next_multiple(32, multiple)
    wished = max(LEAST_WINDOW, 2 * float(np.quantile(sides, 0.95)))
    side = max(1, round((wished + trim) / step)) * step - trim
    return side if 4 * side * side <= size[0] * size[1] and side <= min(size) else None


def side_text(size: tuple[int, int]) -> str:
    """Returns an (H, W) as the command line takes it."""
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"


def known_size(record: ImageRecord) -> tuple[int, int]:
    """Returns the (height, width) of an image, which ``inspect`` has filled in beforehand."""
    assert record.size is not None, f"{record.path} has no size"
    return record.size


def evenly(count: int, limit: int) -> NDArray[np.int64]:
    """Returns at most ``limit`` of the numbers below ``count``, evenly spread."""
    return np.linspace(0, count - 1, min(count, limit)).round().astype(np.int64)


def perfect(
    codec: Codec, targets: Sequence[Target], size: tuple[int, int], progress: Progress | None
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yields what a network that is always right would answer to each target: its rows by name.

    Args:
        codec: Encodes and decodes, so many at a time that the maps stay near 64 MiB.
        targets: In pixels of the input.
        size: (H, W) of the input in pixels.
        progress: Called after every batch with the number of targets done and of all.
    """
    cells = math.prod(side // codec.stride for side in size)
    batch = max(1, _CELLS // (cells * sum(spec.channels for spec in codec.maps)))
    for start in range(0, len(targets), batch):
        part = targets[start : start + batch]
        with torch.inference_mode():
            rows = codec.decode(codec.ideal(codec.encode(part, size)))
        for place in range(len(part)):
            yield {name: values[place].numpy() for name, values in rows.items()}
        if progress is not None:
            progress(start + len(part), len(targets))


def sought(record: ImageRecord) -> NDArray[np.bool_]:
    """Returns (N,) bool: which objects training looks for, neither crowd nor difficult."""
    return ~(record.crowd | record.difficult)


def _few(words: Sequence[str]) -> str:
    more = f" and {len(words) - 8} more" if len(words) > 8 else ""
    return ", ".join(words[:8]) + more
