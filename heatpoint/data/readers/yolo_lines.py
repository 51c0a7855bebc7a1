"""What the lines of YOLO label files mean: boxes, polygons, rotated boxes, or boxes and joints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Box
from heatpoint.data.quads import NONE
from heatpoint.data.readers import steps
from heatpoint.errors import HeatpointError

Meaning = Literal["polygon", "polygon and confidence", "rotated box", "keypoints", "ambiguous"]
"""What lines with more than a box may be."""

_SURE = 0.9
"""Share of the lines that must bear a meaning out, and that must not bear out the other one."""

_FEWEST = 10
"""Boxes from which the suspicion that all are corners is worth a word."""


class Row(NamedTuple):
    """A line of a label file.

    Attributes:
        file: The label file.
        number: Of the line, from 1.
        label: The class's number or, where the file has it so, its name.
        values: The numbers behind it, relative to the image.
    """

    file: str
    number: int
    label: int | str
    values: tuple[float, ...]

    @property
    def where(self) -> str:
        """The file and the line, for messages."""
        return f"{self.file}:{self.number}"


class Shape(NamedTuple):
    """What a line says, relative to the image.

    Attributes:
        box: xyxy.
        joints: (J, 3), x and y relative to the image; None if there are none.
        kind: The kind of finding that is to be told of it; "" for none.
        detail: What exactly.
        corners: (4, 2) of a polygon with four; ``quads.NONE`` of another one; None of a box.
    """

    box: Box
    joints: NDArray[np.float64] | None = None
    kind: str = ""
    detail: str = ""
    corners: NDArray[np.float64] | None = None


def read_rows(file: str, names: Sequence[str]) -> list[Row]:
    """Returns the lines of a label file that are not empty.

    Raises:
        HeatpointError: A line is malformed; names file and line.
    """
    rows: list[Row] = []
    for number, line in steps.read_lines(file):
        where, words = f"{file}:{number}", line.split()
        try:
            values = tuple(map(float, words[1:]))
            first = float(words[0])
            label: int | str = int(first) if first.is_integer() else ""
        except ValueError:
            # A name may have blanks in it, and stands before the last word that is no number.
            numbers = next((i for i in range(len(words)) if not _is_number(words[-1 - i])), 0)
            label = " ".join(words[: len(words) - numbers])
            if label not in names:
                wanted = "numbers, or a class's name and numbers"
                raise steps.unexpected(where, wanted, repr(line[:80])) from None
            values = tuple(map(float, words[len(words) - numbers :]))
        if label == "":
            raise steps.unexpected(where, "a class index first", repr(line[:80]))
        if len(values) < 4:
            raise _malformed(where, values)
        rows.append(Row(file, number, label, values))
    return rows


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _malformed(where: str, values: Sequence[float]) -> HeatpointError:
    got = f"{len(values) + 1} values: {' '.join(f'{value:g}' for value in values[:8])}"
    wanted = "'class cx cy w h' or a class and at least three points"
    return steps.unexpected(where, wanted, got)


def check_units(rows: Sequence[Row]) -> None:
    """Makes sure that the numbers are relative to the picture.

    Raises:
        HeatpointError: Most lines have numbers that no share of a picture comes near.
    """
    large = [row for row in rows if max(map(abs, row.values[:4])) > 2]
    if 2 * len(large) > len(rows):
        raise steps.unexpected(
            large[0].where,
            "shares of the picture from 0 to 1",
            f"{' '.join(f'{value:g}' for value in large[0].values[:4])}, and so in "
            f"{len(large):,} of {len(rows):,} lines",
            "; they seem to be pixels or percent: divide them by the picture's width and height",
        )


def seem_corners(rows: Sequence[Row]) -> bool:
    """Returns whether boxes are likely to be x1 y1 x2 y2 instead of centre and size.

    So it is where all of at least ten would be sound boxes as corners, and more than a quarter
    reaches out of the picture as centre and size.
    """
    boxes = np.array([row.values for row in rows if len(row.values) == 4]).reshape(-1, 4)
    first, second = boxes[:, :2], boxes[:, 2:]
    out = ((first - second / 2 < -0.02) | (first + second / 2 > 1.02)).any(1)
    return bool(len(boxes) >= _FEWEST and (second > first).all() and 4 * out.sum() > len(boxes))


def decide(rows: Sequence[Row], described: bool) -> Meaning:
    """Returns what lines with more than a box mean, by the evidence of all of a set.

    Polygons have as many points as they need, joints are always as many. Where all lines have the
    same number of values, visibilities of 0, 1 and 2 tell joints; opposite sides of the same
    length tell a rotated box; otherwise it counts how many lines have all points within the box
    that their first four values would be, and how many are polygons that do not cross themselves.

    Args:
        rows: All lines of the set.
        described: A data.yaml without ``kpt_shape`` is there, which no set with joints has: what
            may be either is a polygon.
    """
    long = [row.values for row in rows if len(row.values) > 5]
    count = len(long[0]) if long else 0
    scored = all(len(row.values) % 2 and 0 <= row.values[-1] <= 1 for row in rows)
    outline: Meaning = "polygon and confidence" if scored and long else "polygon"
    if any(len(values) != count for values in long) or not long:
        return outline
    values = np.array(long)
    size, points = values[:, None, 2:4], values[:, 4:]
    visible = points[:, 2::3] if count % 3 == 1 else np.full((1, 1), np.nan)
    if count % 2 and not np.isin(visible, (0, 1, 2)).all():
        return outline
    joints = points.reshape(len(values), -1, 3 if count % 2 else 2)[..., :2]
    beyond = np.abs(joints - values[:, None, :2]) > 0.51 * size + 0.01
    like_joints = float(np.mean((~beyond | (joints == 0)).all((1, 2)) & (size > 0).all((1, 2))))
    if np.isin(visible, (0, 1, 2)).all() and ((visible == 2).any() or like_joints > _SURE):
        return "keypoints"
    corners = values.reshape(len(values), -1, 2) if count % 2 == 0 else joints
    if count == 8:
        sides = corners[:, 0] + corners[:, 2] - corners[:, 1] - corners[:, 3]
        if np.mean((np.abs(sides) < 0.004).all(1)) > _SURE:
            return "rotated box"
    like_polygons = _polygon_share(corners)
    if abs(like_joints - like_polygons) > 0.3:
        return "keypoints" if like_joints > like_polygons else "polygon"
    certain = like_polygons > _SURE and len(values) * (corners.shape[1] - 3) >= 5
    return "polygon" if described or certain else "ambiguous"


def _polygon_share(corners: NDArray[np.float64]) -> float:
    """Returns the share of polygons, (N, M, 2), that may have been drawn by somebody.

    They do not cross themselves, and their second corner is not away from all others, where the
    size of a box would be.
    """
    number = corners.shape[1]
    if number > 500:
        return 1.0
    corners = corners[: max(1, 2_000_000 // number**2)]
    others = np.delete(corners, 1, axis=1)
    low, high = others.min(1), others.max(1)
    reach = (high - low).max(1, keepdims=True) / max(1, number - 3)
    near = ((corners[:, 1] >= low - reach) & (corners[:, 1] <= high + reach)).all(1)
    along = np.roll(corners, -1, 1) - corners
    away = corners[:, None] - corners[:, :, None]  # of corner j from the start of side i
    side = along[:, :, None, 0] * away[..., 1] - along[:, :, None, 1] * away[..., 0]
    apart = side * np.roll(side, -1, 2) < 0  # the ends of side j lie on two sides of side i
    crossed = (apart & apart.swapaxes(1, 2)).any((1, 2))
    return float(np.mean(near & ~crossed))


def shape(row: Row, joints: tuple[int, int] | None, meaning: Meaning) -> Shape:
    """Returns what a line says.

    Args:
        row: The line.
        joints: J and the values of a joint, 2 or 3, as ``kpt_shape`` tells; None if it does not.
        meaning: What lines with more than a box mean where ``kpt_shape`` does not tell.

    Raises:
        HeatpointError: The line has a number of values that means nothing.
    """
    values, kind, detail = row.values, "", ""
    whole = 4 if joints is None else 4 + joints[0] * joints[1]
    if len(values) in (5, whole + 1) or meaning == "polygon and confidence":
        kind, detail = "confidence behind a box", f"{values[-1]:g}, as predictions have"
        values = values[:-1]
    x, y, w, h = values[:4]
    box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    if len(values) == 4:
        return Shape(box, None, kind, detail)
    if joints is not None:
        if len(values) != whole:
            said = f"{len(values) - 4} values behind the box, expected {whole - 4}"
            return Shape(box, None, "malformed joints", said)
        return _with_joints(box, np.array(values[4:]).reshape(joints), kind, detail)
    if meaning == "keypoints":
        said = f"{len(values) - 4} values behind the box; say by kpt_shape in a data.yaml how many "
        said += "joints they are"
        return Shape(box, None, "joints without kpt_shape", said)
    if len(values) < 6 or len(values) % 2:
        raise _malformed(row.where, row.values)
    if meaning == "ambiguous":
        said = "a polygon, or a box and joints; write a data.yaml, with kpt_shape if it has joints"
        return Shape(box, None, "ambiguous line", said)
    points = np.array(values).reshape(-1, 2)
    (x1, y1), (x2, y2) = points.min(0).tolist(), points.max(0).tolist()
    upright = "rotated box read as upright" if meaning == "rotated box" else ""
    kind = kind or upright or "polygon read as its box"
    corners = points if len(points) == 4 else NONE
    return Shape((x1, y1, x2, y2), None, kind, detail or f"{len(points)} points", corners)


def _with_joints(box: Box, points: NDArray[np.float64], kind: str, detail: str) -> Shape:
    """Returns the shape of joints (J, 2) or (J, 3); (0, 0) without visibility is not labelled."""
    places = points[:, :2]
    seen = 2.0 * (places != 0).any(1) if points.shape[1] == 2 else points[:, 2]
    wrong = seen[~np.isin(seen, (0, 1, 2))]
    if len(wrong):
        said = f"visibility {wrong[0]:g}, expected 0, 1 or 2"
        return Shape(box, None, "malformed joints", said)
    return Shape(box, steps.as_joints(places, seen), kind, detail)
