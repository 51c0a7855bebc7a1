"""Draws boxes and names on pictures and lays pictures out; those that come in stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from heatpoint.data import ImageRecord
from heatpoint.data.skeleton import Side, Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Image
from heatpoint.system.files import atomic_write

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""


def draw_boxes(
    image: Image, boxes: NDArray[np.floating], labels: NDArray[np.int64], texts: Sequence[str]
) -> Image:
    """Returns a copy of the picture with a box and a text for each row.

    Line widths and letters follow the picture's size, colours the class.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) xyxy in image pixels.
        labels: (N,) class of each.
        texts: What stands above each box.
    """
    canvas, colours = image.copy(), [colour_of(label) for label in labels.tolist()]
    # Far outside, OpenCV's coordinates overflow.
    reach = sum(image.shape[:2])
    frames = boxes.astype(np.float32).clip(-reach, 2 * reach).astype(int)
    for frame, colour in zip(frames.tolist(), colours, strict=True):
        cv2.rectangle(canvas, frame[:2], frame[2:], colour, line_width(image))
    write_texts(canvas, frames[:, :2], colours, texts)
    return canvas


def draw_quads(
    image: Image, quads: NDArray[np.floating], labels: NDArray[np.int64], texts: Sequence[str]
) -> Image:
    """Returns a copy of the picture with the outline and a text of each row, as ``draw_boxes``.

    A dot with a white rim marks the first corner.

    Args:
        image: (H, W, 3) uint8 RGB.
        quads: (N, 4, 2) x and y in image pixels.
        labels: (N,) class of each.
        texts: What stands above each.
    """
    canvas, colours, width = image.copy(), list(map(colour_of, labels.tolist())), line_width(image)
    quads, radius = quads.astype(np.float64), 1.2 * width + 0.5
    for corners, colour in zip(quads, colours, strict=True):
        outline = np.array(_fixed(corners, image))
        cv2.polylines(canvas, [outline], True, colour, width, cv2.LINE_AA, _SHIFT)
        for reach, ink in ((radius + 1, (255, 255, 255)), (radius, colour)):
            first, size = outline[0].tolist(), round(reach * 2**_SHIFT)
            cv2.circle(canvas, first, size, ink, cv2.FILLED, cv2.LINE_AA, _SHIFT)
    highest = quads.min(1).clip(-1e6, 1e6).astype(int)
    write_texts(canvas, highest, colours, texts)
    return canvas


def line_width(image: Image) -> int:
    """Returns the width of outlines on a picture."""
    width: int = max(1, round(min(image.shape[:2]) / 240))
    return width


@lru_cache(1024)
def colour_of(label: int) -> Colour:
    """Returns the colour of a class or identity; supervision makes its palette whenever asked."""
    import supervision

    colour: Colour = supervision.ColorPalette.DEFAULT.by_idx(label).as_rgb()
    return colour


def write_texts(
    canvas: Image, places: NDArray[np.int64], colours: Sequence[Colour], texts: Sequence[str]
) -> None:
    """Writes a text above each place (x, y), moved so that none is cut off, on its colour."""
    (height, width), font = canvas.shape[:2], cv2.FONT_HERSHEY_SIMPLEX
    scale = min(max(min(height, width) / 1000, 0.4), 2.0)
    stroke, padding = max(1, round(scale)), max(2, round(6 * scale))
    for (left, bottom), colour, text in zip(places.tolist(), colours, texts, strict=True):
        (wide, high), _ = cv2.getTextSize(text, font, scale, stroke)
        wide, high = wide + 2 * padding, high + 2 * padding
        left, bottom = max(min(left, width - wide), 0), max(min(bottom, height), high)
        cv2.rectangle(canvas, (left, bottom - high), (left + wide, bottom), colour, cv2.FILLED)
        # Black letters read better than white ones on a light colour (ITU-R 601 luma).
        ink = (0, 0, 0) if np.dot(colour, (0.299, 0.587, 0.114)) > 140 else (255, 255, 255)
        at = (left + padding, bottom - padding)
        cv2.putText(canvas, text, at, font, scale, ink, stroke, cv2.LINE_AA)


def draw_points(
    image: Image, boxes: NDArray[np.floating], labels: NDArray[np.int64], names: Sequence[str]
) -> Image:
    """Returns a copy of the picture with a dot at each point, and each class's count in a corner.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) xyxy in image pixels, of which the middle is drawn.
        labels: (N,) class of each.
        names: Class names; ``MOST_COUNTED`` of them are counted at most, the most frequent first.
    """
    canvas, side = image.copy(), min(image.shape[:2])
    radius = max(2.0, side / 200) * 2**_SHIFT
    colours = [colour_of(label) for label in range(len(names))]
    places = _fixed(boxes.astype(np.float64).reshape(-1, 2, 2).mean(1), image)
    for grown, own in ((2**_SHIFT, None), (0, colours)):  # rims lie below all dots
        for place, label in zip(places, labels.tolist(), strict=True):
            shade, reach = own[label] if own else (255, 255, 255), round(radius + grown)
            cv2.circle(canvas, place, reach, shade, cv2.FILLED, cv2.LINE_AA, _SHIFT)
    counts = np.bincount(labels, minlength=len(names))
    shown = [one for one in np.argsort(-counts, kind="stable")[:MOST_COUNTED] if counts[one]]
    texts = [f"{names[label]} {counts[label]}" for label in shown]
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, min(max(side / 1000, 0.4), 2.0)
    stroke, line = max(1, round(scale)), round(36 * scale)
    widths = [line + cv2.getTextSize(text, font, scale, stroke)[0][0] for text in texts]
    points = np.array(places, np.int64).reshape(-1, 2) >> _SHIFT
    left, top = _emptiest(image, points, (max(widths, default=0), line * len(texts)))
    for label, text, wide in zip(shown, texts, widths, strict=True):
        cv2.rectangle(canvas, (left, top), (left + wide, top + line), (255, 255, 255), cv2.FILLED)
        at = left + line // 2, top + line // 2
        cv2.circle(canvas, at, line // 4, colours[label], cv2.FILLED)
        at = left + line, top + round(0.75 * line)
        cv2.putText(canvas, text, at, font, scale, (0, 0, 0), stroke, cv2.LINE_AA)
        top += line
    return canvas


def _emptiest(image: Image, points: NDArray[np.int64], size: tuple[int, int]) -> tuple[int, int]:
    """Returns where a box starts in the corner in which it hides the fewest of (N, 2) points."""
    x, y = (max(0, image.shape[1 - axis] - size[axis] - 1) for axis in (0, 1))
    corners = [(0, 0), (x, 0), (0, y), (x, y)]
    return min(corners, key=lambda at: ((points >= at) & (points <= np.add(at, size))).all(1).sum())


def draw_marks(
    image: Image, boxes: NDArray[np.floating], labels: NDArray[np.int64], texts: Sequence[str]
) -> Image:
    """Returns a copy of the picture with each text that is not "" above the box of its row.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) xyxy in image pixels.
        labels: (N,) what the colour of each follows.
        texts: One for each row, or none at all.
    """
    canvas, rows = image.copy(), [row for row, text in enumerate(texts) if text]
    places, gap = boxes[rows, :2].clip(-1e6, 1e6).astype(int), max(3, min(image.shape[:2]) // 100)
    colours = [colour_of(label) for label in labels[rows].tolist()]
    write_texts(canvas, places - gap, colours, [texts[row].strip() for row in rows])
    return canvas


def draw_heat(image: Image, heat: NDArray[np.uint8]) -> Image:
    """Returns the picture in dark grey under a heatmap.

    Args:
        image: (H, W, 3) uint8 RGB.
        heat: (h, w) of any size, 0 for nothing and 255 for 1; each cell covers its pixels.
    """
    height, width = image.shape[:2]
    cells = cv2.resize(heat, (width, height), interpolation=cv2.INTER_NEAREST)
    colours = cv2.cvtColor(cv2.applyColorMap(cells, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    weight = (cells > 0)[..., None] * (0.25 + 0.75 * cells[..., None] / 255)
    mixed: Image = np.round(grey * 0.5 * (1 - weight) + colours * weight).astype(np.uint8)
    return mixed


MOST_COUNTED = 12
"""Classes whose counts are written on a picture."""


def draw_truth(
    image: Image,
    record: ImageRecord,
    names: Sequence[str],
    skeleton: Skeleton | None = None,
    boxes: bool = False,
) -> Image:
    """Returns a copy of the picture with a box and class name for each annotated object.

    Objects that are labelled by points are dots, and are counted; four corners are outlines. Crowd
    regions and difficult objects say so; boxes that are not finite are not drawn.

    Args:
        image: (H, W, 3) uint8 RGB.
        record: Its annotation, boxes in image pixels.
        names: Class names.
        skeleton: Draws the labelled joints instead, as bones.
        boxes: Draws the boxes of objects that have labelled joints as well.
    """
    if skeleton is not None and record.keypoints is not None:
        posed: NDArray[np.bool_] = np.any(record.keypoints[..., 2] > 0, axis=1)
        rest = record if boxes else record.keep(~posed)
        image = draw_truth(image, rest, names)
        return draw_joints(image, record.keypoints, skeleton, least=0.5)
    record = record.keep(np.isfinite(record.boxes.sum(1)))
    if record.pointed:
        return draw_points(image, record.boxes, record.labels, names)
    texts = [
        names[label] + (" (crowd)" if crowd else "") + (" (difficult)" if difficult else "")
        for label, crowd, difficult in zip(
            record.labels.tolist(), record.crowd, record.difficult, strict=True
        )
    ]
    if record.quads is not None:
        return draw_quads(image, record.quads, record.labels, texts)
    return draw_boxes(image, record.boxes, record.labels, texts)


def enlarge(image: Image, least: int) -> tuple[Image, int]:
    """Returns the picture with every pixel repeated along both axes, and how often.

    Args:
        image: (H, W, 3) uint8 RGB.
        least: Height that it shall have at least, in pixels.
    """
    zoom = max(1, -(-least // image.shape[0]))
    return np.ascontiguousarray(image.repeat(zoom, 0).repeat(zoom, 1)), zoom


def montage(
    pictures: Sequence[Image],
    columns: int,
    titles: Sequence[str] = (),
    gap: int = 8,
    width: int | None = None,
) -> Image:
    """Returns pictures in rows on white, each row as high as its highest picture.

    Args:
        pictures: (H, W, 3) uint8 RGB each; they may differ in size.
        columns: Pictures in a row.
        titles: What stands above the pictures of each row, one per column; or none.
        gap: Pixels between pictures and between rows.
        width: Scales every row to this width in pixels; None leaves the pictures as they are.

    Raises:
        HeatpointError: There is no picture, or the number of titles is another.
    """
    if not pictures or (titles and len(titles) != columns):
        raise HeatpointError(
            f"expected at least one picture and a title for each of {columns} columns or none, got "
            f"{len(pictures)} pictures and {len(titles)} titles"
        )
    rows = []
    for start in range(0, len(pictures), columns):
        row = pictures[start : start + columns]
        if titles:
            height = max(picture.shape[0] for picture in row)
            row = [_titled(*each, height) for each in zip(row, titles, strict=False)]
        sheet = _lined_up(row, gap, 1)
        if width is not None:
            size = (width, max(1, round(sheet.shape[0] * width / sheet.shape[1])))
            sheet = cv2.resize(sheet, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        rows.append(sheet)
    return _lined_up(rows, gap, 0)


def _lined_up(pictures: Sequence[Image], gap: int, axis: int) -> Image:
    """Returns pictures on white, ``gap`` pixels apart: below each other (axis 0), in a row (1)."""
    extent = [max(picture.shape[side] for picture in pictures) for side in (0, 1)]
    extent[axis] = sum(picture.shape[axis] + gap for picture in pictures) - gap
    sheet, place = np.full((*extent, 3), 255, np.uint8), [0, 0]
    for picture in pictures:
        (top, left), (height, width) = place, picture.shape[:2]
        sheet[top : top + height, left : left + width] = picture
        place[axis] += picture.shape[axis] + gap
    return sheet


def _titled(picture: Image, title: str, height: int) -> Image:
    """Returns the picture below its title, whose letters fit a row of this height in pixels."""
    scale = min(max(height / 900, 0.45), 1.5)
    strip, at = np.full((round(40 * scale), picture.shape[1], 3), 255, np.uint8), round(28 * scale)
    font, stroke = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(scale))
    cv2.putText(strip, title, (2, at), font, scale, (0, 0, 0), stroke, cv2.LINE_AA)
    return np.concatenate((strip, picture))


def drawing_paths(paths: Sequence[str | Path], folder: str | Path) -> list[Path]:
    """Returns where to write the pictures drawn of images: their names in ``folder``, all distinct.

    ``a/1.jpg`` and ``b/1.jpg`` become ``1.jpg`` and ``1_2.jpg``. PNG stays PNG, everything else
    becomes JPEG. The same images always get the same names.

    Args:
        paths: Files of the images; "" for one in memory.
        folder: Where the pictures shall go.
    """
    # Some file systems hold A.jpg and a.jpg to be one file, hence lower().
    taken: set[str] = set()
    targets = []
    for path in map(Path, paths):
        stem, suffix = path.stem or "image", ".png" if path.suffix.lower() == ".png" else ".jpg"
        name, count = f"{stem}{suffix}", 1
        while name.lower() in taken:
            count += 1
            name = f"{stem}_{count}{suffix}"
        taken.add(name.lower())
        targets.append(Path(folder) / name)
    return targets


def write_picture(path: str | Path, image: Image) -> None:
    """Writes an (H, W, 3) uint8 RGB picture as JPEG of quality 95 or PNG, atomically.

    Raises:
        HeatpointError: The ending is neither, the picture is too large for JPEG, or the file
            cannot be written.
    """
    path, suffix = Path(path), Path(path).suffix.lower()
    options = [] if suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 95]
    if suffix not in (".jpg", ".jpeg", ".png"):
        raise HeatpointError(f"a picture is written as .jpg or .png, not as {path.name}")
    if options and max(image.shape[:2]) > 65500:
        raise HeatpointError(f"{path.name}: a side is longer than JPEG's 65500 pixels; use .png")
    _, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    with atomic_write(path) as temporary:
        temporary.write_bytes(data.tobytes())


SEEN = 0.2
"""Height of a peak above which a joint is drawn."""

COLOURS: dict[Side, tuple[int, int, int]] = {
    "left": (0, 158, 255),
    "right": (255, 106, 0),
    "middle": (64, 214, 88),
}
"""RGB of each side of the body: blue and orange are told apart by all kinds of colour vision."""

_SHIFT = 4
"""Binary digits of OpenCV's fixed-point coordinates behind the point."""


def draw_joints(
    image: Image, keypoints: NDArray[np.floating], skeleton: Skeleton, least: float = SEEN
) -> Image:
    """Returns a copy of the picture with the joints and bones of each subject.

    A bone takes the side of its joints; one that joins left and right is in the middle. Line
    widths follow the subject's size. The lines are our own, because supervision's annotators know
    one colour per call, round to whole pixels and leave out a joint at (0, 0).

    Args:
        image: (H, W, 3) uint8 RGB.
        keypoints: (N, J, 3) x and y in image pixels and how sure each joint is.
        skeleton: Names, bones and sides of the J joints.
        least: Joints that are less sure, and their bones, are not drawn.
    """
    canvas = image.copy()
    for joints in keypoints.astype(np.float64):
        shown = (joints[:, 2] >= least) & np.isfinite(joints).all(1)
        places, thickness = _fixed(joints[:, :2], image), _thickness(joints[shown, :2], image)
        radius, sides = round(0.9 * thickness * 2**_SHIFT), skeleton.sides
        for one, other in skeleton.edges:
            if shown[one] and shown[other]:
                outer = {sides[one], sides[other]} - {"middle"}
                colour = COLOURS[outer.pop() if len(outer) == 1 else "middle"]
                ends = places[one], places[other]
                cv2.line(canvas, *ends, colour, thickness, cv2.LINE_AA, _SHIFT)
        for joint in np.flatnonzero(shown):
            dot = (canvas, places[joint])
            if thickness > 1:
                rim = radius + 2**_SHIFT
                cv2.circle(*dot, rim, (255, 255, 255), -1, cv2.LINE_AA, _SHIFT)
            cv2.circle(*dot, radius, COLOURS[sides[joint]], -1, cv2.LINE_AA, _SHIFT)
    return canvas


def _thickness(points: NDArray[np.float64], image: Image) -> int:
    """Returns the width of bones: a fiftieth of the subject, within what the picture bears."""
    extent = float(np.ptp(points, axis=0).max()) if len(points) else 0.0
    most: int = round(min(image.shape[0], image.shape[1]) / 60)
    return max(1, min(most, round(extent / 50)))


def _fixed(points: NDArray[np.float64], image: Image) -> list[tuple[int, int]]:
    """Returns (N, 2) points in OpenCV's fixed-point form, which counts pixels by their middles.

    Far outside, OpenCV's coordinates overflow; clipped there, a line keeps nearly its direction.
    """
    reach = 2 * sum(image.shape[:2])
    near = np.nan_to_num(points - 0.5).clip(-reach, reach + max(image.shape[:2]))
    return [(round(x * 2**_SHIFT), round(y * 2**_SHIFT)) for x, y in near.tolist()]
