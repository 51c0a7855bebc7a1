"""Further layouts of formats that tools write, and joints that come as arrays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from sample_content import NAMES, OBJECTS, PARTS, SIZES, draw, draw_split, joints_of, write
from samples import coco, voc, yolo


def coco_roboflow(folder: Path) -> Path:
    """A folder for each split, each with its pictures and ``_annotations.coco.json``."""
    content = json.loads(coco(folder / "whole").read_text())
    for split in ("train", "val"):
        inside = draw_split(folder / "set" / split, split)
        ids = {each["id"] for each in content["images"] if (each["file_name"], split) in PARTS}
        part = content | {
            "images": [each for each in content["images"] if each["id"] in ids],
            "annotations": [each for each in content["annotations"] if each["image_id"] in ids],
        }
        write(inside / "_annotations.coco.json", part)
    return folder / "set"


def coco_fiftyone(folder: Path) -> Path:
    """Pictures in ``data``, beside ``labels.json``."""
    coco(folder / "whole").rename(folder / "labels.json")
    (folder / "whole").rename(folder / "data")
    return folder


def voc_labelimg(folder: Path) -> Path:
    """Each XML file beside its picture."""
    whole = voc(folder / "whole")
    draw(folder / "set")
    for path in (whole / "Annotations").iterdir():
        path.rename(folder / "set" / path.name)
    return folder / "set"


def yolo_yaml(folder: Path) -> Path:
    """The ``data.yaml`` itself."""
    return yolo(folder) / "data.yaml"


def yolo_cvat(folder: Path) -> Path:
    """CVAT's YOLO 1.1: labels beside the pictures, lists that name another folder."""
    whole = yolo(folder / "whole")
    inside = draw(folder / "set" / "obj_train_data")
    for path in (whole / "labels").rglob("*.txt"):
        path.rename(inside / path.name)
    write(folder / "set/obj.names", "cat\ndog\n")
    lists = "".join(f"{split} = data/{split}.txt\n" for split in ("train", "val"))
    write(folder / "set/obj.data", f"classes = 2\n{lists}names = data/obj.names\n")
    for split in ("train", "val"):
        lines = [f"data/obj_train_data/{name}\n" for name, part in PARTS if part == split]
        write(folder / f"set/{split}.txt", "".join(lines))
    return folder / "set"


def yolo_pose(folder: Path) -> Path:
    """Joints behind the boxes, and ``kpt_shape`` in the ``data.yaml``."""
    yolo(folder)
    for name, split in PARTS:
        scale = np.array(SIZES[name][::-1], np.float64)
        path = folder / "labels" / split / f"{name[0]}.txt"
        lines = path.read_text().splitlines()
        for line, (_, box) in enumerate(OBJECTS[name]):
            points = (joints_of(box) / scale).tolist()
            lines[line] += "".join(f" {x} {y} 2" for x, y in points)
        path.write_text("\n".join(lines) + "\n")
    with open(folder / "data.yaml", "a") as file:
        joints = "[left_eye, right_eye, nose]"
        file.write("kpt_shape: [3, 3]\nflip_idx: [1, 0, 2]\nkpt_names:\n")
        file.write("".join(f"  {label}: {joints}\n" for label in range(len(NAMES))))
    return folder
