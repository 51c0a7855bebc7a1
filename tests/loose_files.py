"""Makers of small files as people have them: a picture, and one box of a cat in some format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from heatpoint.data import Annotations

APPLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        \x00\x02\xff\xfe"
"""How the twins of files begin that macOS writes on foreign disks."""

BOX = [10.0, 20, 40, 60]


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path.with_suffix(".png")), np.full((80, 100, 3), 90, np.uint8))
    path.with_suffix(".png").rename(path)


def text(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def coco(path: Path, name: str, box: list[Any] | None = None, **item: Any) -> None:
    one = {"id": 1, "image_id": 1, "category_id": 1, "bbox": box or [10, 20, 30, 40]} | item
    images = [{"id": 1, "file_name": name, "width": 100, "height": 80}]
    classes = [{"id": 1, "name": "cat"}]
    content = {"images": images, "annotations": [one], "categories": classes}
    text(path, json.dumps(content))


def labelme(path: Path, points: Any = ((10, 20), (40, 60))) -> None:
    shape = {"label": "cat", "points": points, "shape_type": "rectangle", "group_id": None}
    content = {"version": "5", "shapes": [shape], "imagePath": f"{path.stem}.png"}
    text(path, json.dumps(content | {"imageHeight": 80, "imageWidth": 100}))


def voc(path: Path, box: tuple[float, ...] = (10, 20, 40, 60), more: str = "") -> None:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    bounds = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
    one = f"<object><name>cat</name><bndbox>{bounds}</bndbox>{more}</object>"
    name = f"<filename>{path.stem}.png</filename>"
    text(path, f"<annotation>{name}{one}</annotation>")


def table(path: Path, *rows: str, head: str = "filename,xmin,ymin,xmax,ymax,class") -> None:
    text(path, "\n".join((head, *rows)))


def only_box(data: Annotations) -> list[float]:
    (box,) = np.concatenate([record.boxes for record in data.images])
    return box.tolist()


def kinds(data: Annotations) -> list[str]:
    return [each.kind for each in data.findings]
