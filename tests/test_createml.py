"""Create ML, and JSON files of tools that are not read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sample_content import write

from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError


def test_boxes_are_given_by_their_middle(tmp_path: Path) -> None:
    at = {"x": 6, "y": 12, "width": 10, "height": 20}
    boxes: list[dict[str, Any]] = [{"label": "cat", "coordinates": at}, {"label": "cat"}]
    content = [
        {"image": "a.jpg", "annotations": boxes},
        {"imagefilename": "b.jpg", "annotations": []},
    ]
    data = read(write(tmp_path / "labels.json", content))
    assert [record.boxes.tolist() for record in data.images] == [[[1, 2, 11, 22]], []]
    assert data.left_out == {"object without a box": 1}
    content.append({"image": "c.jpg"})
    with pytest.raises(HeatpointError, match="picture 3: expected 'image' and a list of 'annot"):
        read(write(tmp_path / "labels.json", content))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"description": "", "tags": [], "size": {}, "objects": []}, "Supervisely.*COCO"),
        ({"version": "2.0", "item": {}, "annotations": []}, "V7 Darwin.*COCO"),
        ({"filename": "/a.jpg", "datasetId": "1", "annotations": []}, "Dataloop.*dl.Converter"),
        ([{"task_id": "1", "response": {}, "params": {}}], "Scale.*left, top"),
        ([{"data_row": {}, "projects": {}, "media_attributes": {}}], "Labelbox.*COCO"),
        ({"asset": {}, "regions": [], "version": "2.1.0"}, "VoTT.*Pascal VOC"),
        ({"info": {}, "categories": {}, "items": []}, "Datumaro.*COCO"),
        ([{"image_id": 1, "category_id": 2, "bbox": [], "score": 0.5}], "results.*predictions"),
        ({"images": [], "label_classes": [], "project_name": ""}, "Hasty.*COCO"),
    ],
)
def test_other_tools_are_named(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(HeatpointError, match=rf"x.json is .*{said}"):
        read(write(tmp_path / "x.json", content))
