"""Small valid files of labelling tools and of tables, each with the same content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sample_content import JOINTS, NAMES, OBJECTS, PARTS, SIZES, draw, draw_split, joints_of, write


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
