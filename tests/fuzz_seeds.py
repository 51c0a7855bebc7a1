"""Data sets to damage: a sound one of every format, and how it is read. A row is a format."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from fuzz_damage import BYTES, JSON, TEXT, Damage, tags
from PIL import Image
from sleap_files import write as labels_of_sleap

from heatpoint.data import Annotations
from heatpoint.data.images import image_size, load_image, read_header
from heatpoint.data.rasters import open_parts
from heatpoint.data.readers import read
from heatpoint.data.validate import validate


@dataclass(frozen=True)
class Seed:
    """One kind of file.

    Attributes:
        write: Writes a sound file, and what it needs, into a folder; returns the file to damage.
        read: Reads it and checks what came of it.
        damages: Ways to damage it; what is there several times is more likely.
        share: Inputs for one of the others.
        slow: Whether it is for the whole run only: what has to be loaded first takes long.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], object]
    damages: tuple[Damage, ...] = TEXT
    share: float = 1.0
    slow: bool = False


def put(path: Path, content: str | bytes | dict[str, Any] | list[Any] = "") -> Path:
    """Writes a text, JSON, or a picture of 40x30 pixels where the content is empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if content == "":
        pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(pixels).save(path)
    elif isinstance(content, dict | list):
        path.write_text(json.dumps(content))
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def annotated(data: str | Path) -> None:
    """Reads a labelled data set and holds the answer to what is promised of it."""
    annotations: Annotations = read(data)
    report = validate(annotations)
    assert "\n" in report.summary()
    names = annotations.names
    assert len(set(names)) == len(names) == len(annotations.category_ids) > 0
    assert all(isinstance(name, str) and name for name in names)
    for record in annotations.images:
        assert record.boxes.shape == (len(record), 4)
        assert ((record.labels >= 0) & (record.labels < len(names))).all()
        assert record.size is None or min(record.size) >= 1
    assert sum(report.counts().values()) == len(report.findings)


def in_folder(levels: int = 1, split: str = "") -> Callable[[Path], None]:
    """Returns what reads the folder that a file lies in, so many levels down."""
    return lambda file: annotated(f"{file.parents[levels - 1]}{split and ':' + split}")


def coco(folder: Path) -> Path:
    put(folder / "images/a.png"), put(folder / "images/b.png")
    boxes = [[1, 2, 10, 12], [5.5, 6, 8.25, 9]]
    return put(
        folder / "a.json",
        {
            "images": [
                {"id": i, "file_name": f"{n}.png", "width": 40, "height": 30}
                for i, n in enumerate("ab", 1)
            ],
            "categories": [
                {"id": 1, "name": "cat", "keypoints": ["nose", "left_ear"], "skeleton": [[1, 2]]},
                {"id": 7, "name": "dog"},
            ],
            "annotations": [
                {"id": i, "image_id": i, "category_id": c, "bbox": box, "area": 9.5, "iscrowd": 0}
                | {"keypoints": [3, 4, 2, 5, 6, 1], "num_keypoints": 2}
                | {"segmentation": [[1, 2, 11, 2, 11, 14]]}
                for i, (box, c) in enumerate(zip(boxes, (1, 7), strict=True), 1)
            ],
        },
    )


def voc(folder: Path) -> Path:
    put(folder / "JPEGImages/a.png")
    put(folder / "ImageSets/Main/train.txt", "a\n")
    box = "<bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax>9</xmax><ymax>11</ymax></bndbox>"
    return put(
        folder / "Annotations/a.xml",
        "<?xml version='1.0' encoding='utf-8'?>\n<annotation><filename>a.png</filename><size>"
        "<width>40</width><height>30</height><depth>3</depth></size>"
        f"<object><name>cat</name><difficult>0</difficult>{box}</object></annotation>",
    )


def yolo(file: str) -> Callable[[Path], Path]:
    """Returns what writes a YOLO folder, of which one file is damaged."""

    def write(folder: Path) -> Path:
        put(folder / "images/a.png"), put(folder / "images/b.png")
        put(folder / "labels/a.txt", "0 0.5 0.5 0.2 0.3\n1 .25 .25 .1 .1 .9 .1 .9 .9\n")
        put(folder / "labels/b.txt", "1 0.5 0.5 0.2 0.3\n")
        put(folder / "train.txt", "images/a.png\nb\n./images/b.png\n")
        if file == "classes.txt":
            put(folder / file, "cat\ndog\n")
        else:
            put(folder / "data.yaml", "path: .\ntrain: images\nnc: 2\nnames:\n  0: cat\n  1: dog\n")
        return folder / file

    return write


def lines(folder: Path) -> Path:
    put(folder / "a.png"), put(folder / "b 1.png")
    return put(folder / "t.txt", "a.png 1,2,30,20,0 3,4,9,9.5,1\nb 1.png\nb 1.png 1,1,2,2,0\n")


def deeplabcut(folder: Path) -> Path:
    put(folder / "labeled-data/film/a.png")
    heads = "scorer,me,me,me,me\nbodyparts,nose,nose,left_ear,left_ear\ncoords,x,y,x,y\n"
    rows = "labeled-data/film/a.png,1.5,2,30,20.25\nlabeled-data/film/b.png,,,3,4\n"
    return put(folder / "CollectedData_me.csv", heads + rows)


JOINTS = [[float(10 + i), float(5 + i), float(i % 2)] for i in range(16)]


def mpii_json(folder: Path) -> Path:
    put(folder / "images/a.jpg")
    person = {"isValidation": 0.0, "img_paths": "a.jpg", "objpos": [20.0, 15.0]}
    return put(folder / "a.json", [person | {"scale_provided": 0.2, "joint_self": JOINTS}] * 2)


def mpii_h5(folder: Path) -> Path:
    import h5py

    put(folder / "images/a.jpg")
    with h5py.File(folder / "annot.h5", "w") as file:
        file["imgname"], file["center"] = [b"a.jpg"] * 2, [[20.0, 15.0]] * 2
        file["scale"], file["visible"], file["istrain"] = [0.2] * 2, np.ones((2, 16)), [1, 0]
        file["part"] = np.array([JOINTS] * 2)[..., :2]
        file["normalize"] = [3.0, 4.0]
    return folder / "annot.h5"


def lsp(folder: Path) -> Path:
    from scipy.io import savemat

    put(folder / "images/im0001.jpg")
    table = np.array(JOINTS)[:14, :, None]
    savemat(folder / "joints.mat", {"joints": table}, do_compression=folder.name.endswith("zip"))
    return folder / "joints.mat"


def flic(folder: Path) -> Path:
    from scipy.io import savemat

    put(folder / "images/a.jpg")
    names = ("filepath", "coords", "istrain", "istest")
    examples = np.empty((1, 1), dtype=[(name, object) for name in names])
    examples[0, 0] = ("a.jpg", np.arange(58.0).reshape(2, 29), True, False)
    savemat(folder / "examples.mat", {"examples": examples})
    return folder / "examples.mat"


def labelme(folder: Path) -> Path:
    put(folder / "a.png")
    shapes = [
        {"label": "cat", "points": [[1, 2], [9.5, 11]], "shape_type": "rectangle"},
        {"label": "dog", "points": [[1, 2], [9, 2], [9, 11]], "shape_type": "polygon"},
    ]
    size = {"imageHeight": 30, "imageWidth": 40}
    content = {"version": "5.0.1", "flags": {}, "shapes": shapes, "imagePath": "a.png"}
    return put(folder / "a.json", content | {"imageData": None} | size)


def label_studio(folder: Path) -> Path:
    put(folder / "a.png")
    size = {"original_width": 40, "original_height": 30, "image_rotation": 0}
    names = {"from_name": "label", "to_name": "image"}
    results = [
        {
            "type": "rectanglelabels",
            "value": {"x": 10.0, "y": 20, "width": 30, "height": 40.5}
            | {"rotation": 0, "rectanglelabels": ["cat"]},
        },
        {"type": "keypointlabels", "value": {"x": 10.0, "y": 20, "keypointlabels": ["nose"]}},
    ]
    tasks = [
        {
            "id": 1,
            "data": {"image": "a.png"},
            "annotations": [{"id": 1, "result": [size | names | one for one in results]}],
        }
    ]
    return put(folder / "a.json", tasks)


def via(folder: Path) -> Path:
    put(folder / "a.png")
    box = {"name": "rect", "x": 1, "y": 2, "width": 9, "height": 11}
    regions = [{"shape_attributes": box, "region_attributes": {"class": "cat"}}]
    entry = {"filename": "a.png", "size": 99, "regions": regions, "file_attributes": {}}
    return put(folder / "a.json", {"a.png99": entry})


def cvat(folder: Path) -> Path:
    put(folder / "images/a.png")
    box = '<box label="cat" occluded="0" xtl="1.0" ytl="2.0" xbr="9.5" ybr="11.0" z_order="0"/>'
    image = f'<image id="0" name="a.png" width="40" height="30">{box}</image>'
    label = "<labels><label><name>cat</name><type>bbox</type></label></labels>"
    meta = f"<version>1.1</version><meta><task><size>1</size>{label}</task></meta>"
    start = '<?xml version="1.0" encoding="utf-8"?>\n'
    return put(folder / "annotations.xml", f"{start}<annotations>{meta}{image}</annotations>")


def table(folder: Path) -> Path:
    put(folder / "a.png")
    head = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    return put(folder / "a.csv", head + "a.png,40,30,cat,1,2,9,11\na.png,40,30,dog,3.5,4,20,21\n")


def createml(folder: Path) -> Path:
    put(folder / "a.png")
    place = {"x": 10.0, "y": 12.5, "width": 9, "height": 11}
    return put(
        folder / "a.json",
        [{"image": "a.png", "annotations": [{"label": "cat", "coordinates": place}]}],
    )


def sleap(folder: Path) -> Path:
    put(folder / "a.png")
    video = {"backend": {"type": "ImageVideo", "filename": "a.png", "filenames": ["a.png"]}}
    path = folder / "a.slp"
    animal = (0, [(1.0, 2.0, True), (3.0, 4.0, True), (5.0, 6.0, False)])
    return labels_of_sleap(path, [(0, 0, [animal])], [video])


def picture(suffix: str) -> Seed:
    """Returns the seed of a format of pictures."""

    def seen(path: Path) -> None:
        height, width = image_size(path)
        pixels = load_image(path)
        assert pixels.shape == (height, width, 3)
        assert pixels.dtype == np.uint8

    return Seed(lambda folder: put(folder / f"a.{suffix}"), seen, BYTES, share=0.3)


def bands(dtype: str, planar: bool, **layout: Any) -> Seed:
    """Returns the seed of a TIFF file of five channels, which is read whole and part by part."""

    def write(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        shape = (5, 40, 60) if planar else (40, 60, 5)
        pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)
        about = {"photometric": "minisblack", "planarconfig": "separate" if planar else "contig"}
        tifffile.imwrite(folder / "a.tif", pixels, **about, **layout)
        return folder / "a.tif"

    def seen(path: Path) -> None:
        header = read_header(path)
        height, width = header.size
        left, top = max(0, width - 50), max(0, height - 30)
        parts = open_parts(path, header.bands)
        part = None if parts is None else parts.region(left, top, width, height)
        pixels = load_image(path, bands=header.bands)
        assert pixels.shape == (height, width, header.bands.channels)
        assert pixels.dtype == header.bands.dtype
        assert part is None or np.array_equal(part, pixels[top:, left:])

    return Seed(write, seen, (*BYTES, *[tags] * 7), share=0.3)


SEEDS: dict[str, Seed] = {
    "coco": Seed(coco, annotated, JSON, share=2.0),
    "voc": Seed(voc, in_folder(2)),
    "voc-split": Seed(
        lambda folder: voc(folder).parents[1] / "ImageSets/Main/train.txt",
        in_folder(3, "train"),
        share=0.5,
    ),
    "yolo-labels": Seed(yolo("labels/a.txt"), in_folder(2)),
    "yolo-yaml": Seed(yolo("data.yaml"), in_folder()),
    "yolo-names": Seed(yolo("classes.txt"), in_folder(), share=0.5),
    "yolo-split": Seed(yolo("train.txt"), in_folder(1, "train"), share=0.5),
    "lines": Seed(lines, annotated),
    "deeplabcut": Seed(deeplabcut, annotated),
    "mpii-json": Seed(mpii_json, annotated, JSON),
    "mpii-h5": Seed(mpii_h5, annotated, BYTES),
    "lsp": Seed(lsp, in_folder(), BYTES),
    "lsp-zip": Seed(lsp, in_folder(), BYTES, share=0.5),
    "labelme": Seed(labelme, annotated, JSON),
    "labelme-folder": Seed(labelme, in_folder(), JSON, share=0.5),
    "label-studio": Seed(label_studio, annotated, JSON),
    "via": Seed(via, annotated, JSON),
    "cvat": Seed(cvat, annotated),
    "csv": Seed(table, annotated),
    "createml": Seed(createml, annotated, JSON),
    "sleap": Seed(sleap, annotated, BYTES),
    "flic": Seed(flic, in_folder(), BYTES),
    **{
        f"picture-{suffix}": picture(suffix)
        for suffix in ("png", "jpg", "tif", "bmp", "gif", "webp")
    },
    "bands-strips": bands("uint16", False, rowsperstrip=16),
    "bands-planes": bands("uint8", True, rowsperstrip=16, compression="lzw", byteorder=">"),
    "bands-tiles": bands("uint16", False, tile=(32, 16), compression="zlib", predictor=True),
    "bands-big": bands("uint16", True, tile=(16, 32), bigtiff=True),
}
"""Every format by name; a new reader adds its row."""
