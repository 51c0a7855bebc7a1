"""One small valid sample of every format that gives points, or single joints, with one content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sample_content import NAMES, OBJECTS, SIZES, draw, write

POINTS: dict[str, list[tuple[str, tuple[float, float]]]] = {
    picture: [
        (label, point)
        for label, (x1, y1, x2, y2) in objects
        for point in ((x1 + 1.5, y1 + 2.5), (x2 - 2.5, y2 - 1.5))
    ]
    for picture, objects in OBJECTS.items()
}
"""Class, x and y, in continuous pixels, of each point of each picture: two for each object."""


def table(folder: Path) -> Path:
    draw(folder)
    rows = [f"{name},{x},{y},{label}" for name, own in POINTS.items() for label, (x, y) in own]
    return write(folder / "points.csv", "\n".join(["image,x,y,label", *rows]) + "\n")


def napari(folder: Path) -> Path:
    draw(folder)
    for name, own in POINTS.items():
        rows = [f"{i},{y - 0.5},{x - 0.5},{label}" for i, (label, (x, y)) in enumerate(own)]
        text = "\n".join(["index,axis-0,axis-1,label", *rows]) + "\n"
        write((folder / name).with_suffix(".csv"), text)
    return folder


def labelme(folder: Path) -> Path:
    draw(folder)
    for name, own in POINTS.items():
        height, width = SIZES[name]
        shapes = [
            {"label": label, "shape_type": "point", "points": [[x, y]], "group_id": None}
            for label, (x, y) in own
        ]
        content = {"imagePath": name, "imageHeight": height, "imageWidth": width, "shapes": shapes}
        write((folder / name).with_suffix(".json"), content)
    return folder


def label_studio(folder: Path) -> Path:
    draw(folder)
    tasks: list[Any] = []
    for number, (name, own) in enumerate(POINTS.items(), start=1):
        height, width = SIZES[name]
        results = [
            {
                "id": f"r{place}",
                "type": "keypointlabels",
                "original_width": width,
                "original_height": height,
                "value": {"x": 100 * x / width, "y": 100 * y / height, "keypointlabels": [label]},
            }
            for place, (label, (x, y)) in enumerate(own)
        ]
        task = {"id": number, "data": {"image": name}, "annotations": [{"result": results}]}
        tasks.append(task)
    return write(folder / "tasks.json", tasks)


def coco(folder: Path, joint: bool = False) -> Path:
    draw(folder)
    images, objects = [], []
    for number, (name, own) in enumerate(POINTS.items(), start=1):
        height, width = SIZES[name]
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        for label, (x, y) in own:
            item: dict[str, Any] = {
                "id": len(objects) + 1,
                "image_id": number,
                "category_id": NAMES.index(label) + 1,
                "bbox": [x, y, 0, 0],
            }
            if joint:  # its box says where to look, not where it is
                item |= {"bbox": [x - 1, y - 2, 9, 8], "keypoints": [x - 0.5, y - 0.5, 2]}
            objects.append(item)
    more = {"keypoints": ["middle"]} if joint else {}
    classes = [{"id": i, "name": name} | more for i, name in enumerate(NAMES, start=1)]
    content = {"images": images, "annotations": objects, "categories": classes}
    return write(folder / "annotations.json", content)


def coco_joint(folder: Path) -> Path:
    return coco(folder, joint=True)


def yolo_joint(folder: Path) -> Path:
    draw(folder / "images")
    for name, own in POINTS.items():
        height, width = SIZES[name]
        lines = [
            f"{NAMES.index(label)} 0.5 0.5 0.2 0.2 {x / width:.9f} {y / height:.9f} 2"
            for label, (x, y) in own
        ]
        write((folder / "labels" / name).with_suffix(".txt"), "\n".join(lines) + "\n")
    text = "train: images\nval: images\nnames: [cat, dog]\nkpt_shape: [1, 3]\n"
    write(folder / "data.yaml", text)
    return folder


POINT_SAMPLES: dict[str, Callable[[Path], Path]] = {
    "COCO": coco,
    "CSV table": table,
    "napari points": napari,
    "LabelMe": labelme,
    "Label Studio": label_studio,
}
"""Samples that are read as points."""

SINGLE_JOINTS: dict[str, Callable[[Path], Path]] = {"COCO": coco_joint, "YOLO": yolo_joint}
"""Samples of objects with one joint, which are points where these are asked for."""
