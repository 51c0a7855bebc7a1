"""The objects of a COCO file, a column at a time: hundreds of thousands are read in seconds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, Id, ImageRecord, Size, joints_box
from heatpoint.data.readers import steps
from heatpoint.data.readers.coco_shapes import extent, four_corners, is_empty, plain
from heatpoint.data.readers.outlines import around, number, turned
from heatpoint.errors import HeatpointError

Floats = NDArray[np.float64]

PIXEL = 0.5
"""From the index of a pixel to the continuous coordinate of its middle."""

_BEYOND = 0.1
"""Share of boxes beyond their images from which on other units are suspected."""


_ROTATED = "rotated box read as upright"

_NOTHING = msgspec.Raw(b"null")

_AT_ONCE = 1 << 16
"""Lists of numbers that are decoded together: as Python's numbers they take much memory."""


class Item(msgspec.Struct, gc=False):
    """An entry of ``annotations``, as it is; lists of numbers are text until they are wanted."""

    id: Any = None
    image_id: Any = None
    category_id: Any = None
    bbox: msgspec.Raw = _NOTHING
    area: Any = None
    iscrowd: Any = None
    ignore: Any = None
    difficult: Any = None
    keypoints: msgspec.Raw = _NOTHING
    head_size: Any = None
    segmentation: msgspec.Raw = _NOTHING
    attributes: msgspec.Raw = _NOTHING


class Columns:
    """The objects of a file, before they are divided among the images.

    What is left out, guessed or passed over is said in ``annotations``.

    Args:
        items: The objects as the file has them.
        images: The place of each image's id.
        paths: The file of each image.
        annotations: The data set without images.
    """

    def __init__(
        self,
        items: Sequence[Item],
        images: Mapping[Id, int],
        paths: Sequence[Path],
        annotations: Annotations,
    ) -> None:
        self._items, self._paths, self._annotations = items, paths, annotations
        labels = {number: label for label, number in enumerate(annotations.category_ids)}
        self._image = _places([item.image_id for item in items], images)
        self._labels = _places([item.category_id for item in items], labels)

    def read(self, sizes: Sequence[Size | None]) -> tuple[ImageRecord, NDArray[np.int64]]:
        """Returns all objects in the order of their images, and how many each image has.

        Args:
            sizes: The (height, width) of each image, None where the file is silent.

        Raises:
            HeatpointError: No object has as many joints as the skeleton.
        """
        kept = self._image >= 0
        for row in np.flatnonzero(~kept).tolist():
            detail = f"is for image {self._items[row].image_id!r:.60}, which the file does not list"
            self._leave_out("unknown image id", row, detail)
        for row in np.flatnonzero(kept & (self._labels < 0)).tolist():
            detail = f"has category {self._items[row].category_id!r:.60}, which the file does not "
            self._leave_out("unknown category id", row, f"{detail}list")
        kept &= self._labels >= 0
        joints = self._joints(kept)
        corners = self._corners(kept, joints)
        rows = np.flatnonzero(kept)
        rows = rows[np.argsort(self._image[rows], kind="stable")]
        self._check_ids()
        self._check_units(corners[rows], rows, sizes)
        heads = self._numbers("head_size", [item.head_size for item in self._items])[rows]
        crowd = self._flags("iscrowd", [item.iscrowd for item in self._items])
        crowd |= self._flags("ignore", [item.ignore for item in self._items])
        quads = None if joints is not None else self._quads(rows, crowd)
        outlined = (each for each in self._items if each.segmentation is not _NOTHING)
        boxed = (is_empty(one.segmentation) or is_empty(one.bbox) for one in outlined)
        if quads is None and not all(boxed):
            detail = "polygons or masks, which are not read where a box is there as well"
            self._say("outlines beside boxes", None, detail)
        record = ImageRecord(
            Path(self._annotations.source),
            None,
            corners[rows],
            self._labels[rows],
            crowd[rows],
            self._flags("difficult", [item.difficult for item in self._items])[rows],
            self._numbers("area", [item.area for item in self._items])[rows],
            keypoints=None if joints is None else joints[rows],
            heads=np.where(heads > 0, heads, math.nan),
            points=quads,
        )
        return record, np.bincount(self._image[rows], minlength=len(self._paths))

    def _corners(self, kept: NDArray[np.bool_], joints: Floats | None) -> Floats:
        """Returns boxes, (N, 4) xyxy; of an object that has none, that of its polygon or joints.

        Args:
            kept: (N,) bool, which objects are wanted; False is written where nothing says where
                an object is.
            joints: (N, J, 3) joints in image pixels, or None.
        """
        boxes, whole = _table([item.bbox for item in self._items], 4)
        with np.errstate(invalid="ignore", over="ignore"):
            sound = np.isfinite(boxes).all(1) & (boxes[:, 2:] > 0).all(1)
            boxes[:, 2:] += boxes[:, :2]
        for row in np.flatnonzero(kept & ~sound).tolist():
            item = self._items[row]
            given = plain(item.bbox)
            kind, found = "polygon read as its box", extent(plain(item.segmentation))
            if found is None and joints is not None:
                kind, found = "joints read as their box", joints_box(joints[row])
            if found is not None:
                boxes[row] = found
                self._say(kind, row, f"has {given!r:.60} as 'bbox'")
            elif not whole[row]:
                kept[row] = False
                detail = f"expected 'bbox' to be x, y, width, height, got {given!r:.60}"
                self._leave_out("object without a box", row, detail)
        self._turn(boxes)
        return boxes

    def _turn(self, boxes: Floats) -> None:
        """Gives corners to objects of which CVAT's attributes say that their boxes are turned."""
        for row, item in enumerate(self._items):
            if item.attributes is _NOTHING or not is_empty(item.segmentation):
                continue
            attributes, (x1, y1, x2, y2) = plain(item.attributes), boxes[row].tolist()
            turn = number(attributes.get("rotation")) if isinstance(attributes, dict) else 0.0
            if turn and math.isfinite(turn):
                corners = turned((x1, y1, x2, y2), turn, ((x1 + x2) / 2, (y1 + y2) / 2))
                item.segmentation = [list(chain.from_iterable(corners))]  # type: ignore[assignment]
                boxes[row] = around(corners)
                self._say(_ROTATED, row, f"is turned by {turn:g} degrees")

    def _quads(self, rows: NDArray[np.int64], crowd: NDArray[np.bool_]) -> Floats | None:
        """Returns the corners (N, 4, 2) of objects whose outlines are one polygon of four points.

        Objects without an outline are boxes (NaN). None where one object has another outline.

        Args:
            rows: The objects that are wanted, in order.
            crowd: (all,) which of all objects are crowd regions.
        """
        corners, wanted = np.full((len(crowd), 4, 2), math.nan), np.sort(rows[~crowd[rows]])
        for start in range(0, len(wanted), _AT_ONCE):
            part = wanted[start : start + _AT_ONCE]
            some = four_corners([self._items[row].segmentation for row in part.tolist()])
            if some is None:
                return None
            corners[part] = some
        return None if np.isnan(corners).all() else corners[rows]

    def _joints(self, kept: NDArray[np.bool_]) -> Floats | None:
        """Returns the joints of all objects, (N, J, 3) in image pixels; None if they have none.

        J is that of the skeleton, of which an object has the part of its class; where no class
        names its joints, it is what most objects have.
        """
        skeleton, label = self._annotations.skeleton, self._labels
        given = [item.keypoints for item in self._items]
        rows = [row for row, one in enumerate(given) if one is not _NOTHING and kept[row]]
        number = len(skeleton) if skeleton else _usual([given[row] for row in rows]) // 3
        if not number:
            return None
        parts = {(0, number): rows}
        if skeleton is not None and skeleton.slices:
            parts = {own: [] for own in skeleton.slices}
            for row in rows:
                parts[skeleton.slices[label[row]]].append(row)
        joints = np.zeros((len(given), number, 3))
        for (start, stop), rows in parts.items():
            table, whole = _table([given[row] for row in rows], 3 * (stop - start))
            table = table.reshape(len(rows), stop - start, 3)
            whole &= np.isin(table[..., 2], (0, 1, 2)).all(1)
            malformed = [rows[place] for place in np.flatnonzero(~whole)]
            self._say_malformed(malformed, rows, stop - start)
            joints[np.array(rows, np.int64)[whole], start:stop] = steps.as_joints(
                table[whole, :, :2] + PIXEL, table[whole, :, 2]
            )
        return joints

    def _say_malformed(self, malformed: Sequence[int], rows: Sequence[int], count: int) -> None:
        """Leaves out joints that are not those of their class.

        Args:
            malformed: Objects whose joints are something else, or nothing at all.
            rows: All objects of the class.
            count: Joints that the class has.

        Raises:
            HeatpointError: There are joints, and not one of the objects has as many.
        """
        rule = f"expected {3 * count}: x, y and 0, 1 or 2 as visibility of each joint"
        said = ""
        for row in malformed:
            one = plain(self._items[row].keypoints)
            if not one:
                continue
            if not count:
                name = self._annotations.names[self._labels[row]]
                self._leave_out("joints that no class names", row, f"is a {name!r}")
                continue
            got = f"{len(one)} numbers" if isinstance(one, list) else type(one).__name__
            if isinstance(one, list) and len(one) == 3 * count:
                got = f"{one!r:.60}"
            said = f"has {got}, {rule}"
            self._leave_out("malformed joints", row, said)
        if said and len(malformed) == len(rows):
            raise HeatpointError(
                f"{self._annotations.source}: no object has the {count} joints that the category "
                f"names; {self._annotations.findings[-1].detail}"
            )

    def _flags(self, key: str, values: Sequence[Any]) -> NDArray[np.bool_]:
        """Returns (N,) bool of a field; "0", "false" and nothing are False."""
        flags = np.zeros(len(values), np.bool_)
        if not any(values):
            return flags
        for row, value in enumerate(values):
            if value and (flag := _flag(value)) is None:
                self._say(_ODD, row, f"has {value!r:.60} as {key!r}")
            elif value:
                flags[row] = flag
        return flags

    def _numbers(self, key: str, values: Sequence[Any]) -> Floats:
        """Returns (N,) float64 of a field, NaN where it is not there."""
        try:
            numbers = np.array([math.nan if value is None else value for value in values], float)
            if numbers.ndim != 1:
                raise TypeError
        except (TypeError, ValueError, OverflowError):
            numbers = np.full(len(values), math.nan)
            for row, value in enumerate(values):
                try:
                    numbers[row] = math.nan if value is None else float(value)
                except (TypeError, ValueError, OverflowError):
                    self._say(_ODD, row, f"has {value!r:.60} as {key!r}")
        with np.errstate(invalid="ignore"):
            return np.where(np.abs(numbers) < 1e300, numbers, math.nan)

    def _check_units(
        self, corners: Floats, rows: NDArray[np.int64], sizes: Sequence[Size | None]
    ) -> None:
        """Says so where boxes look like x1, y1, x2, y2.

        Args:
            corners: (N, 4) xyxy, of x, y, width and height as they are in the file.
            rows: (N,) the objects.
            sizes: The (height, width) of each image, or None.
        """
        limits = np.array([(math.nan,) * 2 if size is None else size[::-1] for size in sizes])
        finite = np.isfinite(corners).all(1)
        corners, rows = corners[finite], rows[finite]
        if not len(rows):
            return
        limits, last = limits[self._image[rows]], corners[:, 2:]
        sides = last - corners[:, :2]
        # As x, y, width, height, a box that is x1, y1, x2, y2 often ends beyond its image.
        as_corners = (sides > corners[:, :2]).all(1) & (sides <= limits + 1).all(1)
        beyond: NDArray[np.bool_] = np.any(last > limits + 1, axis=1)
        if as_corners.all() and beyond.mean() > _BEYOND:
            number = f"{int(beyond.sum()):,} of {len(beyond):,} boxes"
            detail = f"{number} end beyond their images, as x1, y1, x2, y2 all fit; they are read "
            self._say("boxes in other units", None, f"{detail}as x, y, width and height in pixels")

    def _check_ids(self) -> None:
        """Says so where objects share an id."""
        ids = [item.id for item in self._items if isinstance(item.id, int | str)]
        if again := len(ids) - len(set(ids)):
            one = next(number for number, times in Counter(ids).most_common(1) if times)
            detail = f"{again:,} of {len(ids):,} objects, such as {one!r:.60}"
            self._say("object id used twice", None, detail)

    def _say(self, kind: str, row: int | None, detail: str) -> None:
        """Adds a finding about an object, or about all."""
        self._annotations.say(kind, *self._where(row, detail))

    def _leave_out(self, kind: str, row: int, detail: str) -> None:
        self._annotations.leave_out(kind, *self._where(row, detail))

    def _where(self, row: int | None, detail: str) -> tuple[str, str]:
        """Returns the image of an object, and a detail that begins with what the file calls it."""
        if row is None:
            return "", detail
        number, image = self._items[row].id, int(self._image[row])
        called = f"number {row + 1}" if number is None else f"{number}"
        return str(self._paths[image]) if image >= 0 else "", f"annotation {called:.60} {detail}"


_ODD = "field that cannot be read"


def _places(values: Sequence[Any], ids: Mapping[Id, int]) -> NDArray[np.int64]:
    """Returns (N,) int64, the place of each id, -1 where it is unknown.

    Where the very id is not there, 7 is looked for as "7" and "7" as 7.
    """
    try:
        places = np.fromiter(map(ids.get, values, repeat(-1)), np.int64, len(values))
    except TypeError:  # not hashable
        hashable = (value if isinstance(value, int | float | str) else None for value in values)
        return _places(list(hashable), ids)
    for row in np.flatnonzero(places < 0).tolist():
        value = values[row]
        if isinstance(value, str):
            if value.strip().removeprefix("-").isdecimal() and len(value) < 40:
                places[row] = ids.get(int(value), -1)
        elif value is not None:
            places[row] = ids.get(str(value), -1)
    return places


def _decoded(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yields values that may be text still, some at a time."""
    for start in range(0, len(values), _AT_ONCE):
        part = values[start : start + _AT_ONCE]
        if all(isinstance(one, msgspec.Raw) for one in part):
            yield msgspec.json.decode(b"[%b]" % b",".join(part))
        else:
            yield list(map(plain, part))


def _table(values: Sequence[Any], width: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Returns lists of so many numbers as (N, width) float64, and (N,) bool, which are that.

    The others are NaN.
    """
    table = np.full((len(values), width), math.nan)
    whole = np.zeros(len(values), np.bool_)
    start = 0
    for rows in _decoded(values):
        part = slice(start, start := start + len(rows))
        if all(type(row) is list and len(row) == width for row in rows):
            with suppress(TypeError, ValueError, OverflowError):
                numbers = np.fromiter(chain.from_iterable(rows), float, len(rows) * width)
                table[part], whole[part] = numbers.reshape(-1, width), True
                continue
        for place, row in enumerate(rows, start=part.start):
            if isinstance(row, list) and len(row) == width:
                with suppress(TypeError, ValueError, OverflowError):
                    table[place] = [float(value) for value in row]
                    whole[place] = True
    return table, whole


def _usual(given: Sequence[Any]) -> int:
    """Returns how many numbers most lists of joints have, of those that have three a joint."""
    numbers = Counter(len(one) for some in _decoded(given) for one in some if isinstance(one, list))
    return next((number for number, _ in numbers.most_common() if number % 3 == 0 < number), 0)


def _flag(value: Any) -> bool | None:
    """Returns a flag that is written as a number or a word; None if it is neither."""
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("true", "yes"):
            return True
        if word in ("", "false", "no", "none"):
            return False
    try:
        return bool(float(value))
    except (TypeError, ValueError, OverflowError):
        return None
