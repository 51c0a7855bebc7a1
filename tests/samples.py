"""One small valid sample of every format, each with the same content.

Three pictures with five boxes of two classes; where a format has joints, three of them on each
object. Splits, where a format has them in one set, are ``train`` (a, b) and ``val`` (c).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Box = tuple[int, int, int, int]

SIZES = {"a.jpg": (40, 50), "b.jpg": (40, 50), "c.jpg": (50, 40)}
"""(height, width) of each picture."""

OBJECTS: dict[str, list[tuple[str, Box]]] = {
    "a.jpg": [("cat", (2, 4, 12, 20)), ("dog", (20, 6, 44, 30))],
    "b.jpg": [("dog", (5, 5, 25, 35)), ("cat", (30, 10, 46, 22))],
    "c.jpg": [("cat", (8, 10, 28, 40))],
}
"""Class and box, xyxy in pixels, of each object of each picture."""

NAMES = ("cat", "dog")
JOINTS = ("left_eye", "right_eye", "nose")
PARTS = (("a.jpg", "train"), ("b.jpg", "train"), ("c.jpg", "val"))
"""Split of each picture."""


def joints_of(box: Box) -> list[tuple[int, int]]:
    """Returns x and y, in continuous pixels, of the ``JOINTS`` of the object in a box."""
    x, y = box[:2]
    return [(x + 2, y + 3), (x + 8, y + 3), (x + 5, y + 9)]


def draw(folder: Path) -> Path:
    """Draws the three pictures into a folder, which it makes, and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, (height, width)) in enumerate(SIZES.items(), start=1):
        pixels = np.full((height, width, 3), 40 * number, np.uint8)
        for label, (x1, y1, x2, y2) in OBJECTS[name]:
            pixels[y1:y2, x1:x2, NAMES.index(label)] = 255
        Image.fromarray(pixels).save(folder / name, quality=95)
    return folder


def draw_split(folder: Path, split: str) -> Path:
    """Draws the pictures of one split into a folder and returns it."""
    for picture in draw(folder).iterdir():
        if (picture.name, split) not in PARTS:
            picture.unlink()
    return folder


def write(path: Path, content: Any) -> Path:
    """Writes a text, or JSON of anything else, and returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


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


def _label_studio(folder: Path, joints: bool) -> Path:
    draw(folder / "upload")
    tasks = []
    for number, (name, (height, width)) in enumerate(SIZES.items(), start=1):
        size = {"original_width": width, "original_height": height, "image_rotation": 0}
        result: list[dict[str, Any]] = []
        for label, (x1, y1, x2, y2) in OBJECTS[name]:
            key = f"r{len(result)}"
            percent = {"x": 100 * x1 / width, "y": 100 * y1 / height, "rotation": 0}
            percent |= {"width": 100 * (x2 - x1) / width, "height": 100 * (y2 - y1) / height}
            value: dict[str, Any] = percent | {"rectanglelabels": [label]}
            result.append({"id": key, "type": "rectanglelabels", "value": value} | size)
            points = zip(JOINTS, joints_of((x1, y1, x2, y2)), strict=True)
            for joint, (x, y) in points if joints else ():
                value = {"x": 100 * x / width, "y": 100 * y / height, "width": 0.3}
                value |= {"keypointlabels": [joint]}
                item = {"id": f"k{len(result)}", "parentID": key, "type": "keypointlabels"}
                result.append(item | {"value": value} | size)
        entry = {"id": number, "completed_by": 1, "was_cancelled": False, "result": result}
        picture = {"image": f"/data/local-files/?d=upload/{name}"}
        tasks.append({"id": number, "annotations": [entry], "predictions": [], "data": picture})
    return write(folder / "project-1-at-2026.json", tasks)


def label_studio(folder: Path) -> Path:
    return _label_studio(folder, joints=False)


def label_studio_joints(folder: Path) -> Path:
    return _label_studio(folder, joints=True)


def label_studio_min(folder: Path) -> Path:
    draw(folder)
    rows = []
    for number, (name, (height, width)) in enumerate(SIZES.items(), start=1):
        values = [
            {
                "x": 100 * x1 / width,
                "y": 100 * y1 / height,
                "width": 100 * (x2 - x1) / width,
                "height": 100 * (y2 - y1) / height,
                "rotation": 0,
                "rectanglelabels": [label],
                "original_width": width,
                "original_height": height,
            }
            for label, (x1, y1, x2, y2) in OBJECTS[name]
        ]
        row = {"image": f"/data/upload/1/0a1b2c{number:02}-{name}", "id": number, "label": values}
        rows.append(row | {"annotator": 1, "annotation_id": number, "lead_time": 2.5})
    return write(folder / "min.json", rows)


def _labelme(folder: Path, joints: bool) -> Path:
    for split in ("train", "val"):
        draw_split(folder / split, split)
    for name, split in PARTS:
        height, width = SIZES[name]
        shapes: list[dict[str, Any]] = []
        for group, (label, box) in enumerate(OBJECTS[name], start=1):
            corners = [list(box[2:]), list(box[:2])]
            shape = {"group_id": group, "description": "", "flags": {}}
            shapes.append(shape | {"label": label, "shape_type": "rectangle", "points": corners})
            points = zip(JOINTS, joints_of(box), strict=True) if joints else ()
            shapes += [
                shape | {"label": joint, "shape_type": "point", "points": [list(point)]}
                for joint, point in points
            ]
        content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": name}
        content |= {"imageData": None, "imageHeight": height, "imageWidth": width}
        write(folder / split / f"{name[0]}.json", content)
    return folder


def labelme(folder: Path) -> Path:
    return _labelme(folder, joints=False)


def labelme_joints(folder: Path) -> Path:
    return _labelme(folder, joints=True)


def createml(folder: Path) -> Path:
    pictures: dict[str, list[dict[str, Any]]] = {"train": [], "val": []}
    for name, split in PARTS:
        boxes = [
            {
                "label": label,
                "coordinates": {
                    "x": (x1 + x2) / 2,
                    "y": (y1 + y2) / 2,
                    "width": x2 - x1,
                    "height": y2 - y1,
                },
            }
            for label, (x1, y1, x2, y2) in OBJECTS[name]
        ]
        pictures[split].append({"image": name, "annotations": boxes})
    for split, content in pictures.items():
        draw_split(folder / split, split)
        write(folder / split / "_annotations.createml.json", content)
    return folder


def _via_regions(name: str, joints: bool) -> list[dict[str, Any]]:
    regions: list[dict[str, Any]] = []
    for label, box in OBJECTS[name]:
        x1, y1, x2, y2 = box
        shape = {"name": "rect", "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1}
        regions.append({"shape_attributes": shape, "region_attributes": {"class": label}})
        for joint, (x, y) in zip(JOINTS, joints_of(box), strict=True) if joints else ():
            shape = {"name": "point", "cx": x, "cy": y}
            regions.append({"shape_attributes": shape, "region_attributes": {"class": joint}})
    return regions


def _via(folder: Path, joints: bool) -> Path:
    files = {
        f"{path.name}{path.stat().st_size}": {
            "filename": path.name,
            "size": path.stat().st_size,
            "regions": _via_regions(path.name, joints),
            "file_attributes": {},
        }
        for path in sorted(draw(folder).iterdir())
    }
    content = {"_via_settings": {"core": {"default_filepath": ""}}, "_via_img_metadata": files}
    content |= {"_via_attributes": {"region": {}, "file": {}}}
    return write(folder / "via_project.json", content)


def via(folder: Path) -> Path:
    return _via(folder, joints=False)


def via_joints(folder: Path) -> Path:
    return _via(folder, joints=True)


def via_csv(folder: Path) -> Path:
    draw(folder)
    heading = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes"
    lines = [f"{heading},region_attributes"]
    for name in SIZES:
        regions = _via_regions(name, joints=False)
        for place, region in enumerate(regions):
            cells = [json.dumps(region[key]) for key in ("shape_attributes", "region_attributes")]
            quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
            lines.append(f'{name},1,"{{}}",{len(regions)},{place},{",".join(quoted)}')
    return write(folder / "via_export.csv", "\n".join(lines) + "\n")


def via_3(folder: Path) -> Path:
    draw(folder)
    files, views, regions = {}, {}, {}
    for number, name in enumerate(SIZES, start=1):
        files[str(number)] = {"fid": number, "fname": name, "type": 2, "loc": 1, "src": name}
        views[str(number)] = {"fid_list": [number]}
        for label, (x1, y1, x2, y2) in OBJECTS[name]:
            xy = [2, x1, y1, x2 - x1, y2 - y1]
            region = {"vid": str(number), "flg": 0, "z": [], "xy": xy}
            regions[f"{number}_r{len(regions)}"] = region | {"av": {"1": str(NAMES.index(label))}}
    attribute = {"aname": "kind", "type": 4, "options": dict(enumerate(NAMES))}
    content = {"project": {"vid_list": list(views)}, "attribute": {"1": attribute}, "file": files}
    return write(folder / "via3.json", content | {"view": views, "metadata": regions})


def _cvat(folder: Path, joints: bool) -> Path:
    draw(folder / "images")
    items = []
    for number, (name, split) in enumerate(PARTS):
        height, width = SIZES[name]
        shapes = []
        for group, (label, box) in enumerate(OBJECTS[name], start=1):
            corners = zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True)
            sides = " ".join(f'{key}="{value:.2f}"' for key, value in corners)
            shapes.append(f'<box label="{label}" occluded="0" {sides} group_id="{group}"></box>')
            points = "".join(
                f'<points label="{joint}" outside="0" points="{x:.2f},{y:.2f}"></points>'
                for joint, (x, y) in zip(JOINTS, joints_of(box), strict=True)
            )
            if joints:
                shapes.append(f'<skeleton label="pose" group_id="{group}">{points}</skeleton>')
        size = f'width="{width}" height="{height}"'
        items.append(
            f'<image id="{number}" name="{name}" subset="{split}" {size}>{"".join(shapes)}</image>'
        )
    labels = "".join(f"<label><name>{name}</name></label>" for name in NAMES)
    meta = f"<meta><task><labels>{labels}</labels></task></meta>"
    text = f"<annotations><version>1.1</version>{meta}{''.join(items)}</annotations>"
    return write(folder / "annotations.xml", f'<?xml version="1.0" encoding="utf-8"?>\n{text}')


def cvat(folder: Path) -> Path:
    return _cvat(folder, joints=False)


def cvat_joints(folder: Path) -> Path:
    return _cvat(folder, joints=True)


def tensorflow_csv(folder: Path) -> Path:
    draw(folder)
    lines = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
    for name, (height, width) in SIZES.items():
        lines += [
            f"{name},{width},{height},{label},{','.join(map(str, box))}"
            for label, box in OBJECTS[name]
        ]
    return write(folder / "labels.csv", "\n".join(lines) + "\n")


def roboflow_csv(folder: Path) -> Path:
    for split in ("train", "val"):
        draw_split(folder / split, split)
        lines = [
            f"{name},{SIZES[name][1]},{SIZES[name][0]},{label},{','.join(map(str, box))}"
            for name, part in PARTS
            for label, box in OBJECTS[name]
            if part == split
        ]
        heading = "filename,width,height,class,xmin,ymin,xmax,ymax"
        write(folder / split / "_annotations.csv", "\n".join([heading, *lines]) + "\n")
    return folder


def open_images(folder: Path) -> Path:
    draw(folder / "data")
    heading = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated"
    lines = [f"{heading},IsGroupOf,IsDepiction,IsInside"]
    for name, (height, width) in SIZES.items():
        for label, (x1, y1, x2, y2) in OBJECTS[name]:
            box = f"{x1 / width},{x2 / width},{y1 / height},{y2 / height}"
            lines.append(f"{name[0]},xclick,/m/0{label},1,{box},0,0,0,0,0")
    write(folder / "class-descriptions-boxable.csv", "/m/0cat,cat\n/m/0dog,dog\n")
    return write(folder / "validation-annotations-bbox.csv", "\n".join(lines) + "\n")


def retinanet_csv(folder: Path) -> Path:
    draw(folder)
    lines = [
        f"{name},{','.join(map(str, box))},{label}"
        for name, each in OBJECTS.items()
        for label, box in each
    ]
    write(folder / "classes.csv", "cat,0\ndog,1\n")
    return write(folder / "annotations.csv", "\n".join(lines) + "\n")


Maker = Callable[[Path], Path]
"""Writes a sample into a folder and returns what to give as data."""

SAMPLES: dict[str, Maker] = {
    "COCO": coco,
    "Pascal VOC": voc,
    "YOLO": yolo,
    "text lines": text_lines,
    "Label Studio": label_studio,
    "Label Studio (JSON-MIN)": label_studio_min,
    "LabelMe": labelme,
    "VIA": via,
    "VIA (CSV)": via_csv,
    "VIA (version 3)": via_3,
    "CVAT": cvat,
    "Create ML": createml,
    "table of boxes": tensorflow_csv,
    "table of boxes (Roboflow)": roboflow_csv,
    "table of boxes (Open Images)": open_images,
    "table of boxes (RetinaNet)": retinanet_csv,
}
"""Samples of boxes, by what the format is called or, where one has several layouts, with more."""

JOINT_SAMPLES: dict[str, Maker] = {
    "COCO": coco_joints,
    "DeepLabCut": deeplabcut,
    "MPII": mpii,
    "Label Studio": label_studio_joints,
    "LabelMe": labelme_joints,
    "VIA": via_joints,
    "CVAT": cvat_joints,
}
"""Samples of joints. DeepLabCut and MPII have a class and boxes of their own."""

SPLIT = frozenset(
    {
        *("Pascal VOC", "YOLO", "MPII", "LabelMe", "CVAT", "Create ML"),
        "table of boxes (Roboflow)",
    }
)
"""Samples that hold the splits train and val."""
