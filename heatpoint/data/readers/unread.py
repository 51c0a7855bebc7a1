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
_COCO_OR_YOLO = "export COCO or YOLO there (apps 'Export to COCO', 'Export to YOLO')"
_FIFTYONE = "export fiftyone.types.COCODetectionDataset there"
_VOC_OR_CSV = "export Pascal VOC or CSV there"
_DATALOOP = "convert it there (dl.Converter, to COCO, YOLO or VOC)"
_LABELBOX = "convert it by its Python package (labelbox, to COCO)"
_SCALE = "write its boxes (left, top, width, height) as a CSV table or as COCO"
_RESULTS = "they are predictions: give the annotations that they were made for"


class _Tool(NamedTuple):
    """A tool's JSON.

    Attributes:
        name: What it is.
        keys: Keys that its object, or the first object of its list, has and no format has that is
            read, with commas.
        instead: What to do.
    """

    name: str
    keys: str
    instead: str


_TOOLS = (
    _Tool("a file of Supervisely", "objects,size,tags", _COCO_OR_YOLO),
    _Tool("the classes of a Supervisely project", "classes,tags,projectType", _COCO_OR_YOLO),
    _Tool("a file of V7 Darwin", "item,annotations", f"{_COCO} (Export, COCO)"),
    _Tool("an old file of V7 Darwin", "image,annotations,dataset", _COCO),
    _Tool("a file of Dataloop", "itemId,annotations", _DATALOOP),
    _Tool("a file of Dataloop", "filename,annotations,datasetId", _DATALOOP),
    _Tool("tasks of Scale", "task_id,response,params", _SCALE),
    _Tool("an export of Labelbox", "data_row,projects", _LABELBOX),
    _Tool("an old export of Labelbox", "Labeled Data,Label", _LABELBOX),
    _Tool("a file of SuperAnnotate", "metadata,instances", f"{_COCO} (SAConverter)"),
    _Tool("an export of Encord", "label_hash,data_units", _COCO),
    _Tool("an export of Hasty", "images,label_classes", _COCO),
    _Tool("a file of VoTT", "asset,regions", _VOC_OR_CSV),
    _Tool("a project of VoTT", "assets,tags", _VOC_OR_CSV),
    _Tool("a file of Datumaro", "items,categories", "convert it there, to COCO"),
    _Tool("a file of FiftyOne", "samples", _FIFTYONE),
    _Tool("a file of FiftyOne", "classes,labels", _FIFTYONE),
    _Tool("a file of Scalabel or BDD100K", "name,labels,timestamp", "convert it to COCO"),
    _Tool("a file of Scalabel", "frames,config", "convert it to COCO"),
    _Tool("a list of MMDetection", "filename,ann", "write it as COCO"),
    _Tool("a list of Detectron2", "file_name,annotations", "write it as COCO"),
    _Tool("a list of results", "image_id,category_id,score", _RESULTS),
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
    tool = next((tool for tool in _TOOLS if keys >= {*tool.keys.split(",")}), None)
    return "" if tool is None else f"{tool.name}, which is not read; {tool.instead}"
