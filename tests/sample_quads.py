"""Samples of four corners: the boxes of ``sample_content`` turned clockwise by 30 degrees."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sample_tools as tools
from numpy.typing import NDArray
from sample_content import NAMES, OBJECTS, PARTS, SIZES, Box, draw_split, write
from sample_shards import packed
from samples import coco, voc, yolo

TURN = 30.0


def quad_of(box: Box) -> NDArray[np.float64]:
    """Returns the corners (4, 2) of a box that is turned about its middle, its upper left first."""
    x1, y1, x2, y2 = box
    middle = np.array([x1 + x2, y1 + y2]) / 2
    cos, sin = math.cos(math.radians(TURN)), math.sin(math.radians(TURN))
    away = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)]) - middle
    return np.asarray(middle + away @ np.array([[cos, sin], [-sin, cos]]))


def coco_quads(folder: Path) -> Path:
    path = coco(folder)
    content = json.loads(path.read_text())
    boxes = [box for each in OBJECTS.values() for _, box in each]
    for item, box in zip(content["annotations"], boxes, strict=True):
        item["segmentation"] = [quad_of(box).ravel().tolist()]
    return write(path, content)


def voc_quads(folder: Path) -> Path:
    path = voc(folder)
    for name in SIZES:
        file = path / "Annotations" / f"{name[0]}.xml"
        for _, (x1, y1, x2, y2) in OBJECTS[name]:
            text = f"<robndbox><cx>{(x1 + x2) / 2}</cx><cy>{(y1 + y2) / 2}</cy><w>{x2 - x1}</w>"
            text += f"<h>{y2 - y1}</h><angle>{math.radians(TURN)}</angle></robndbox>"
            file.write_text(re.sub("<bndbox>.*?</bndbox>", text, file.read_text(), count=1))
    return path


def yolo_quads(folder: Path) -> Path:
    path = yolo(folder)
    for name, split in PARTS:
        lines = [
            " ".join(map(str, (NAMES.index(label), *(quad_of(box) / SIZES[name][::-1]).ravel())))
            for label, box in OBJECTS[name]
        ]
        write(path / "labels" / split / f"{name[0]}.txt", "\n".join(lines) + "\n")
    return path


def label_studio_quads(folder: Path) -> Path:
    path = tools.label_studio(folder)
    tasks = json.loads(path.read_text())
    for task, name in zip(tasks, SIZES, strict=True):
        results = task["annotations"][0]["result"]
        for result, (_, box) in zip(results, OBJECTS[name], strict=True):
            x, y = (100 * quad_of(box)[0] / SIZES[name][::-1]).tolist()
            result["value"] |= {"x": x, "y": y, "rotation": TURN}
    return write(path, tasks)


def labelme_quads(folder: Path) -> Path:
    path = tools.labelme(folder)
    for name, split in PARTS:
        file = path / split / f"{name[0]}.json"
        content = json.loads(file.read_text())
        for shape, (_, box) in zip(content["shapes"], OBJECTS[name], strict=True):
            shape |= {"shape_type": "rotation", "points": quad_of(box).tolist()}
        write(file, content)
    return path


def cvat_quads(folder: Path) -> Path:
    path = tools.cvat(folder)
    return write(path, path.read_text().replace("<box ", f'<box rotation="{TURN}" '))


def via_quads(folder: Path) -> Path:
    path = tools.via(folder)
    content = json.loads(path.read_text())
    for item in content["_via_img_metadata"].values():
        for region, (_, box) in zip(item["regions"], OBJECTS[item["filename"]], strict=True):
            xs, ys = quad_of(box).T.tolist()
            shape = {"name": "polygon", "all_points_x": xs, "all_points_y": ys}
            region["shape_attributes"] = shape
    return write(path, content)


def _dota(folder: Path, corners: Callable[[Box], NDArray[np.float64]]) -> Path:
    for split in ("train", "val"):
        draw_split(folder / split / "images", split)
    for name, split in PARTS:
        lines = ["imagesource:GoogleEarth", "gsd:0.146"]
        for label, box in OBJECTS[name]:
            lines.append(" ".join([*map(str, corners(box).ravel()), label, "0"]))
        write(folder / split / "labelTxt" / f"{name[0]}.txt", "\n".join(lines) + "\n")
    return folder


def dota(folder: Path) -> Path:
    return _dota(
        folder, lambda box: np.array([box[:2], (box[2], box[1]), box[2:], (box[0], box[3])])
    )


def dota_quads(folder: Path) -> Path:
    return _dota(folder, quad_of)


QUAD_SAMPLES: dict[str, Callable[[Path], Path]] = {
    "COCO": coco_quads,
    "DOTA": dota_quads,
    "YOLO": yolo_quads,
    "Pascal VOC": voc_quads,
    "Label Studio": label_studio_quads,
    "LabelMe": labelme_quads,
    "CVAT": cvat_quads,
    "VIA": via_quads,
    "WebDataset": packed(coco_quads),
}
"""Samples of four corners by what the format is called."""
