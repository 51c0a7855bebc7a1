"""One small valid sample of every format, each with the content of ``sample_content``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import sample_tools as tools
from sample_content import JOINTS, NAMES, OBJECTS, PARTS, SIZES, draw, draw_split, joints_of, write
from sample_shards import packed


def _coco(folder: Path, joints: bool) -> Path:
    draw(folder)
    images, objects = [], []
    for number, (name, (height, width)) in enumerate(SIZES.items(), start=1):
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        for label, box in OBJECTS[name]:
            x1, y1, x2, y2 = box
            item: dict[str, Any] = {
                "id": len(objects) + 1,
                "image_id": number,
                "category_id": NAMES.index(label) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
            if joints:
                item["keypoints"] = [v for x, y in joints_of(box) for v in (x - 0.5, y - 0.5, 2)]
                item["num_keypoints"] = len(JOINTS)
            objects.append(item)
    more = {"keypoints": list(JOINTS), "skeleton": [[1, 3], [2, 3]]} if joints else {}
    classes = [{"id": i, "name": name} | more for i, name in enumerate(NAMES, start=1)]
    content = {"images": images, "annotations": objects, "categories": classes}
    return write(folder / "annotations.json", content)


def coco(folder: Path) -> Path:
    return _coco(folder, joints=False)


def coco_joints(folder: Path) -> Path:
    return _coco(folder, joints=True)


def voc(folder: Path) -> Path:
    draw(folder / "JPEGImages")
    for name, (height, width) in SIZES.items():
        items = "".join(
            f"<object><name>{label}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
            f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for label, (x1, y1, x2, y2) in OBJECTS[name]
        )
        size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        text = f"<annotation><filename>{name}</filename>{size}{items}</annotation>"
        write(folder / "Annotations" / f"{name[0]}.xml", text)
    for split in ("train", "val"):
        lines = [name[0] for name, part in PARTS if part == split]
        write(folder / "ImageSets/Main" / f"{split}.txt", "\n".join(lines) + "\n")
    return folder


def yolo(folder: Path) -> Path:
    for name, split in PARTS:
        height, width = SIZES[name]
        lines = [
            f"{NAMES.index(label)} {(x1 + x2) / 2 / width} {(y1 + y2) / 2 / height} "
            f"{(x2 - x1) / width} {(y2 - y1) / height}"
            for label, (x1, y1, x2, y2) in OBJECTS[name]
        ]
        write(folder / "labels" / split / f"{name[0]}.txt", "\n".join(lines) + "\n")
    for split in ("train", "val"):
        draw_split(folder / "images" / split, split)
    write(folder / "data.yaml", "train: images/train\nval: images/val\nnames: [cat, dog]\n")
    return folder


def text_lines(folder: Path) -> Path:
    draw(folder)
    lines = [
        " ".join(
            [name, *(f"{','.join(map(str, box))},{NAMES.index(label)}" for label, box in each)]
        )
        for name, each in OBJECTS.items()
    ]
    write(folder / "boxes_classes.txt", "cat\ndog\n")
    return write(folder / "boxes.txt", "\n".join(lines) + "\n")


def deeplabcut(folder: Path) -> Path:
    """Five animals on three pictures, two at most on one: joints count from pixels' middles."""
    draw(folder)
    rows = [["scorer"], ["individuals"], ["bodyparts"], ["coords"]]
    for animal in ("one", "two"):
        for joint in JOINTS:
            for axis in "xy":
                for row, cell in zip(rows, ("me", animal, joint, axis), strict=True):
                    row.append(cell)
    for name, each in OBJECTS.items():
        points = [point for _, box in each for point in joints_of(box)]
        cells = [str(value - 0.5) for point in points for value in point]
        rows.append([name, *cells, *[""] * (12 - len(cells))])
    write(folder / "CollectedData_me.csv", "".join(",".join(row) + "\n" for row in rows))
    return folder


def mpii(folder: Path) -> Path:
    """Five people on three pictures; MPII has sixteen joints, of which three are labelled."""
    draw(folder)
    people = []
    for name, split in PARTS:
        for _, box in OBJECTS[name]:
            points = [[x + 0.5, y + 0.5, 1] for x, y in joints_of(box)]
            people.append(
                {
                    "img_paths": name,
                    "objpos": [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2],
                    "scale_provided": (box[3] - box[1]) / 200,
                    "joint_self": points + [[0, 0, 0]] * 13,
                    "isValidation": float(split == "val"),
                }
            )
    return write(folder / "mpii_annotations.json", people)


Maker = Callable[[Path], Path]
"""Writes a sample into a folder and returns what to give as data."""

SAMPLES: dict[str, Maker] = {
    "COCO": coco,
    "Pascal VOC": voc,
    "YOLO": yolo,
    "text lines": text_lines,
    "Label Studio": tools.label_studio,
    "Label Studio (JSON-MIN)": tools.label_studio_min,
    "LabelMe": tools.labelme,
    "VIA": tools.via,
    "VIA (CSV)": tools.via_csv,
    "VIA (version 3)": tools.via_3,
    "CVAT": tools.cvat,
    "Create ML": tools.createml,
    "CSV table": tools.tensorflow_csv,
    "CSV table (Roboflow)": tools.roboflow_csv,
    "CSV table (Open Images)": tools.open_images,
    "CSV table (RetinaNet)": tools.retinanet_csv,
    "WebDataset": packed(coco),
}
"""Samples of boxes, by what the format is called or, where one has several layouts, with more."""

JOINT_SAMPLES: dict[str, Maker] = {
    "COCO": coco_joints,
    "DeepLabCut": deeplabcut,
    "MPII": mpii,
    "Label Studio": tools.label_studio_joints,
    "LabelMe": tools.labelme_joints,
    "VIA": tools.via_joints,
    "CVAT": tools.cvat_joints,
    "WebDataset": packed(coco_joints),
}
"""Samples of joints. DeepLabCut and MPII have a class and boxes of their own."""

SPLIT = frozenset(
    {
        *("Pascal VOC", "YOLO", "MPII", "LabelMe", "CVAT", "Create ML"),
        *("CSV table (Roboflow)", "WebDataset"),
    }
)
"""Samples that hold the splits train and val."""
