"""Names the tool that made a JSON file which is not read, and what to export there instead."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from heatpoint.data.formats import matching
from heatpoint.errors import HeatpointError
from heatpoint.system.files import read_json

_TRIED = 5
"""JSON files of a folder that are looked at."""

_COCO = "export COCO there"
_FIFTYONE = "export fiftyone.types.COCODetectionDataset there"


class _Tool(NamedTuple):
    """A tool's JSON.

    Attributes:
        name: What it is.
        keys: Keys that its object, or the first object of its list, has and no format has that is
            read.
        instead: What to do.
    """

    name: str
    keys: frozenset[str]
    instead: str


_TOOLS = (
    _Tool(
        "a file of Supervisely",
        frozenset({"objects", "size", "tags"}),
        "export COCO or YOLO there (apps 'Export to COCO', 'Export to YOLO')",
    ),
    _Tool(
        "the classes of a Supervisely project",
        frozenset({"classes", "tags", "projectType"}),
        "export COCO or YOLO there (apps 'Export to COCO', 'Export to YOLO')",
    ),
    _Tool("a file of V7 Darwin", frozenset({"item", "annotations"}), f"{_COCO} (Export, COCO)"),
    _Tool("an old file of V7 Darwin", frozenset({"image", "annotations", "dataset"}), _COCO),
    _Tool(
        "a file of Dataloop",
        frozenset({"itemId", "annotations"}),
        "convert it there (dl.Converter, to COCO, YOLO or VOC)",
    ),
    _Tool(
        "a file of Dataloop",
        frozenset({"filename", "annotations", "datasetId"}),
        "convert it there (dl.Converter, to COCO, YOLO or VOC)",
    ),
    _Tool(
        "tasks of Scale",
        frozenset({"task_id", "response", "params"}),
        "write its boxes (left, top, width, height) as a CSV table or as COCO",
    ),
    _Tool(
        "an export of Labelbox",
        frozenset({"data_row", "projects"}),
        "convert it by its Python package (labelbox, to COCO)",
    ),
    _Tool(
        "an old export of Labelbox",
        frozenset({"Labeled Data", "Label"}),
        "convert it by its Python package (labelbox, to COCO)",
    ),
    _Tool(
        "a file of SuperAnnotate", frozenset({"metadata", "instances"}), f"{_COCO} (SAConverter)"
    ),
    _Tool("an export of Encord", frozenset({"label_hash", "data_units"}), _COCO),
    _Tool("an export of Hasty", frozenset({"images", "label_classes"}), _COCO),
    _Tool("a file of VoTT", frozenset({"asset", "regions"}), "export Pascal VOC or CSV there"),
    _Tool("a project of VoTT", frozenset({"assets", "tags"}), "export Pascal VOC or CSV there"),
    _Tool("a file of Datumaro", frozenset({"items", "categories"}), "convert it there, to COCO"),
    _Tool("a file of FiftyOne", frozenset({"samples"}), _FIFTYONE),
    _Tool("a file of FiftyOne", frozenset({"classes", "labels"}), _FIFTYONE),
    _Tool(
        "a file of Scalabel or BDD100K",
        frozenset({"name", "labels", "timestamp"}),
        "convert it to COCO",
    ),
    _Tool("a file of Scalabel", frozenset({"frames", "config"}), "convert it to COCO"),
    _Tool("a list of MMDetection", frozenset({"filename", "ann"}), "write it as COCO"),
    _Tool("a list of Detectron2", frozenset({"file_name", "annotations"}), "write it as COCO"),
    _Tool(
        "a list of results",
        frozenset({"image_id", "category_id", "score"}),
        "they are predictions: give the annotations that they were made for",
    ),
)


_FOLDERS = {
    "data of KITTI": ("label_2/*.txt", "*/label_2/*.txt"),
    "a sequence of MOT": ("gt/gt.txt", "*/gt/gt.txt"),
    "data of VisDrone": ("annotations/*.txt", "*/annotations/*.txt"),
    "data of the OIDv4 toolkit": ("*/label/*.txt", "*/*/label/*.txt"),
    "data in lines of JSON, as for Hugging Face": ("*.jsonl", "*/*.jsonl"),
}
"""What folders hold that are not read, by their files."""


def folder_of(folder: Path) -> str:
    """Returns what a folder holds and what to do instead, ``""`` if nothing is recognised."""
    for path in matching(folder, "*.json", "*/*.json", "*/*/*.json")[:_TRIED]:
        with suppress(HeatpointError):
            if tool := made_by(read_json(path)):
                return f"{path} is {tool}"
    for name, patterns in _FOLDERS.items():
        if matching(folder, *patterns):
            return f"{folder} seems to be {name}, which is not read; convert it to COCO or YOLO"
    return ""


def made_by(content: Any) -> str:
    """Returns what parsed JSON is and what to do instead, ``""`` if no tool is recognised."""
    first = content[0] if isinstance(content, list) and content else content
    keys = first.keys() if isinstance(first, dict) else frozenset()
    tool = next((tool for tool in _TOOLS if tool.keys <= keys), None)
    return "" if tool is None else f"{tool.name}, which is not read; {tool.instead}"
