"""Draws boxes and names on pictures; the pictures that come in are never changed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from heatpoint.data.annotations import ImageRecord
from heatpoint.errors import HeatpointError
from heatpoint.geometry.affine import Image
from heatpoint.inference.results import Detections
from heatpoint.system.files import atomic_write

if TYPE_CHECKING:
    import supervision


def draw_detections(image: Image, detections: Detections, min_score: float = 0.0) -> Image:
    """Returns a copy of the picture with a box, class name and score for each detection.

    Line widths and letters follow the picture's size, colours the class.

    Args:
        image: (H, W, 3) uint8 RGB.
        detections: In image pixels.
        min_score: Detections below it are not drawn.
    """
    shown = detections[detections.scores >= min_score]
    texts = [
        f"{shown.names[label]} {score:.2f}"
        for label, score in zip(shown.labels.tolist(), shown.scores.tolist(), strict=True)
    ]
    return _annotate(image, shown.to_supervision(), texts)


def draw_truth(image: Image, record: ImageRecord, names: Sequence[str]) -> Image:
    """Returns a copy of the picture with a box and class name for each annotated object.

    Crowd regions and difficult objects say so; boxes that are not finite are not drawn.

    Args:
        image: (H, W, 3) uint8 RGB.
        record: Its annotation, boxes in image pixels.
        names: Class names.
    """
    import supervision

    record = record.keep(np.isfinite(record.boxes.sum(1)))
    texts = [
        names[label] + (" (crowd)" if crowd else "") + (" (difficult)" if difficult else "")
        for label, crowd, difficult in zip(
            record.labels.tolist(), record.crowd, record.difficult, strict=True
        )
    ]
    boxes = supervision.Detections(xyxy=record.boxes.astype(np.float32), class_id=record.labels)
    return _annotate(image, boxes, texts)


def _annotate(image: Image, boxes: supervision.Detections, texts: list[str]) -> Image:
    import supervision

    if not texts:
        return image.copy()
    height, width = image.shape[:2]
    # Far outside, OpenCV's fixed-point coordinates overflow.
    boxes.xyxy = boxes.xyxy.clip(-width - height, 2 * (width + height))
    thickness = max(1, round(min(height, width) / 240))
    scale = min(max(min(height, width) / 1000, 0.4), 2.0)
    stroke, padding = max(1, round(scale)), max(2, round(6 * scale))
    # Labels stand on top of their boxes; the anchors are moved so that none is cut off.
    anchors = copy.deepcopy(boxes)
    for anchor, text in zip(anchors.xyxy, texts, strict=True):
        (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, stroke)
        anchor[0] = max(min(anchor[0], width - wide - 2 * padding), 0)
        anchor[1] = max(min(anchor[1], height), high + 2 * padding)
    palette = supervision.ColorPalette.DEFAULT
    ink = [
        supervision.Color.BLACK if _is_light(colour) else supervision.Color.WHITE
        for colour in palette.colors
    ]
    # supervision draws in BGR, the order of OpenCV's files.
    canvas = np.ascontiguousarray(image[..., ::-1])
    canvas = supervision.BoxAnnotator(color=palette, thickness=thickness).annotate(canvas, boxes)
    canvas = supervision.LabelAnnotator(
        color=palette,
        text_color=supervision.ColorPalette(ink),
        text_scale=scale,
        text_thickness=stroke,
        text_padding=padding,
    ).annotate(canvas, anchors, labels=texts)
    return np.ascontiguousarray(canvas[..., ::-1])


def _is_light(colour: supervision.Color) -> bool:
    """Says whether black letters read better on a colour than white ones (ITU-R 601 luma)."""
    return bool(0.299 * colour.r + 0.587 * colour.g + 0.114 * colour.b > 140)


def side_by_side(images: Sequence[Image], titles: Sequence[str] = ()) -> Image:
    """Returns the pictures in a row, as high as the highest, on white, titles above.

    Args:
        images: (H, W, 3) uint8 RGB each; they may differ in size.
        titles: One per picture, or none.

    Raises:
        HeatpointError: There is no picture, or the number of titles is another.
    """
    if not images or (titles and len(titles) != len(images)):
        raise HeatpointError(
            f"expected at least one picture and as many titles or none, got {len(images)} "
            f"pictures and {len(titles)} titles"
        )
    height, gap = max(image.shape[0] for image in images), 8
    scale = min(max(height / 900, 0.45), 1.5)
    strip = round(40 * scale) if titles else 0
    columns = []
    for place, image in enumerate(images):
        width = image.shape[1]
        column = np.full((strip + height, width + gap, 3), 255, np.uint8)
        column[strip : strip + image.shape[0], :width] = image
        if titles:
            cv2.putText(
                column,
                titles[place],
                (2, round(28 * scale)),
                cv2.FONT_HERSHEY_SIMPLEX,
                scale,
                (0, 0, 0),
                max(1, round(scale)),
                cv2.LINE_AA,
            )
        columns.append(column)
    row: Image = np.concatenate(columns, axis=1)[:, :-gap]
    return np.ascontiguousarray(row)


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
    path = Path(path)
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise HeatpointError(f"a picture is written as .jpg or .png, not as {path.name}")
    if path.suffix.lower() != ".png" and max(image.shape[:2]) > 65500:
        raise HeatpointError(f"{path.name}: a side is longer than JPEG's 65500 pixels; use .png")
    _, data = cv2.imencode(
        path.suffix,
        cv2.cvtColor(image, cv2.COLOR_RGB2BGR),
        [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix.lower() != ".png" else [],
    )
    with atomic_write(path) as temporary:
        temporary.write_bytes(data.tobytes())
