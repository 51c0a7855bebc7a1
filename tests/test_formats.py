"""The table of formats in the documents: every mark is tried with a drawn sample.

``python tests/test_formats.py`` writes the table anew.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sample_layouts as layouts
from sample_content import OBJECTS, PARTS, SIZES
from sample_quads import QUAD_SAMPLES, dota, quad_of
from samples import JOINT_SAMPLES, SAMPLES

from heatpoint.data.readers import FORMATS, read
from heatpoint.errors import HeatpointError

Maker = Callable[[Path], Path]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "formats.md"
TABLE = re.compile(r"(?<=anew -->\n)(.*)(?=<!-- end of table -->)", re.DOTALL)
WITHOUT_SAMPLES = ("SLEAP", "Leeds Sports Pose", "FLIC", "napari points")
"""Formats whose samples are of other content; their own tests show what the table says."""

ROWS: dict[str, tuple[str, Maker | None, Maker | None]] = {
    "COCO": ("the JSON file", SAMPLES["COCO"], JOINT_SAMPLES["COCO"]),
    "COCO (Roboflow)": (
        "the folder of `train/_annotations.coco.json`",
        layouts.coco_roboflow,
        None,
    ),
    "COCO (FiftyOne)": ("the folder of `labels.json` and `data`", layouts.coco_fiftyone, None),
    "DOTA": ("the folder of `images` and `labelTxt`", dota, None),
    "YOLO": ("the folder of `images` and `labels`", SAMPLES["YOLO"], layouts.yolo_pose),
    "YOLO (ultralytics, Roboflow)": ("`data.yaml`", layouts.yolo_yaml, layouts.yolo_pose),
    "YOLO (CVAT 1.1, darknet)": ("the folder of `obj.data`", layouts.yolo_cvat, None),
    "Pascal VOC": ("the folder of `Annotations`", SAMPLES["Pascal VOC"], None),
    "Pascal VOC (LabelImg)": ("the folder of XML files and pictures", layouts.voc_labelimg, None),
    "Label Studio": (
        "the JSON file",
        SAMPLES["Label Studio"],
        JOINT_SAMPLES["Label Studio"],
    ),
    "Label Studio (JSON-MIN)": ("the JSON file", SAMPLES["Label Studio (JSON-MIN)"], None),
    "LabelMe": ("the folder of JSON files", SAMPLES["LabelMe"], JOINT_SAMPLES["LabelMe"]),
    "CVAT": ("`annotations.xml` for images", SAMPLES["CVAT"], JOINT_SAMPLES["CVAT"]),
    "VIA": ("the JSON file", SAMPLES["VIA"], JOINT_SAMPLES["VIA"]),
    "VIA (CSV)": ("the CSV file", SAMPLES["VIA (CSV)"], None),
    "VIA (version 3)": ("the JSON file", SAMPLES["VIA (version 3)"], None),
    "Create ML": ("the folder or JSON file", SAMPLES["Create ML"], None),
    "CSV table": ("the CSV file (TensorFlow)", SAMPLES["CSV table"], None),
    "CSV table (Roboflow)": (
        "the folder of `train/_annotations.csv`",
        SAMPLES["CSV table (Roboflow)"],
        None,
    ),
    "CSV table (Open Images)": (
        "the CSV file",
        SAMPLES["CSV table (Open Images)"],
        None,
    ),
    "CSV table (RetinaNet)": ("the CSV file", SAMPLES["CSV table (RetinaNet)"], None),
    "text lines": ("`path x1,y1,x2,y2,class …`, one a line", SAMPLES["text lines"], None),
    "DeepLabCut": (
        "the project, its `config.yaml` or `CollectedData_*.csv`",
        None,
        JOINT_SAMPLES["DeepLabCut"],
    ),
    "WebDataset": (
        "the `.tar` files, their folder or a pattern",
        SAMPLES["WebDataset"],
        JOINT_SAMPLES["WebDataset"],
    ),
    "MPII": ("the JSON or HDF5 file of the ports", None, JOINT_SAMPLES["MPII"]),
}
"""What is given, and samples with boxes and with joints, by the name of a format's layout."""


def row(name: str, folder: Path) -> tuple[str, ...]:
    """Returns a row of the table; every mark but the first column's stands for a reading."""
    given, boxes, joints = ROWS[name]
    one = boxes or joints
    assert one is not None
    path = one(folder / "one")
    whole = read(path)
    assert whole.format == name.split(" (")[0]
    if boxes is not None:
        found = {
            record.path.name: [
                (whole.names[label], tuple(map(round, box)))
                for label, box in zip(record.labels, record.boxes.tolist(), strict=True)
            ]
            for record in whole.images
        }
        assert found == OBJECTS
    if joints is not None:
        posed = read(joints(folder / "posed"))
        assert sum(len(record) for record in posed.images) == sum(map(len, OBJECTS.values()))
        assert all((r.keypoints[..., 2] == 2).sum() == 3 * len(r) for r in posed.images)  # type: ignore[index]
    if quads := QUAD_SAMPLES.get(name):
        turned = read(quads(folder / "turned"))
        assert not turned.findings
        for record in turned.images:
            wanted = [quad_of(box) for _, box in OBJECTS[record.path.name]]
            np.testing.assert_allclose(record.points, wanted, atol=1e-6)  # type: ignore[arg-type]
    marks = boxes is not None, joints is not None, quads is not None
    marks += _splits(path), _elsewhere(one, folder / "two")
    return f"{name}", given, *("yes" if mark else "" for mark in marks)


def _splits(path: Path) -> bool:
    """Tells whether a sample gives one of its splits."""
    try:
        part = read(f"{path}:train")
    except HeatpointError:
        return False
    wanted = [name for name, split in PARTS if split == "train"]
    return sorted(record.path.name for record in part.images) == wanted


def _elsewhere(maker: Maker, folder: Path) -> bool:
    """Tells whether pictures in another folder are found by its name."""
    path = maker(folder / "set")
    other = folder / "pictures"
    other.mkdir()
    pictures = [*folder.rglob("*.jpg")]
    if not pictures:  # they are in the file itself
        return False
    for picture in pictures:
        picture.rename(other / picture.name)
    found = read(path, other).images
    return sorted(r.path for r in found if r.path.is_file()) == [other / name for name in SIZES]


def table() -> str:
    """Returns the table of all formats as it should stand in the documents."""
    lines = [
        "format",
        "what is given",
        "boxes",
        "joints",
        "four corners",
        "splits",
        "pictures elsewhere",
    ]
    rows = [f"| {' | '.join(lines)} |", "|---" * len(lines) + "|"]
    for number, name in enumerate(ROWS):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(f"| {' | '.join(row(name, Path(folder, str(number))))} |")
    return "\n".join(rows).replace("|  |", "| |").replace("|  |", "| |") + "\n"


def test_every_format_has_a_row() -> None:
    names = {name.split(" (")[0] for name in ROWS}
    assert names | {*WITHOUT_SAMPLES} == {each.name for each in FORMATS}


def test_the_table_in_the_documents_is_true() -> None:
    found = TABLE.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None
    assert found[1] == table()


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(TABLE.sub(lambda _: table(), text), encoding="utf-8")
