"""VGG Image Annotator: versions 1 to 3, JSON and CSV, and which attribute is the class."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_content import draw, write

from heatpoint.data import Annotations
from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError

RECT = {"name": "rect", "x": 1, "y": 2, "width": 10, "height": 20}


def data_of(folder: Path, *regions: Any, **more: Any) -> Annotations:
    """Returns a set of one picture with regions of shape and attributes, as a project."""
    listed = [{"shape_attributes": s, "region_attributes": a} for s, a in regions]
    item = {"filename": "a.jpg", "size": 9, "regions": listed, "file_attributes": {}}
    return read(write(folder / "via.json", {"_via_img_metadata": {"a.jpg9": item}} | more))


def test_shapes(tmp_path: Path) -> None:
    cat = {"class": "cat"}
    polygon = {"name": "polygon", "all_points_x": [3, 9, 5], "all_points_y": [4, 2, 8]}
    data = data_of(
        tmp_path,
        (RECT, cat),
        (polygon, cat),
        ({"name": "circle", "cx": 20, "cy": 20, "r": 5}, cat),
        ({"name": "ellipse", "cx": 20, "cy": 20, "rx": 8, "ry": 2, "theta": math.pi / 2}, cat),
        ({"name": "polyline", "all_points_x": [3, 9], "all_points_y": [4, 2]}, cat),
        (RECT, {}),
    )
    wanted = [[1, 2, 11, 22], [3, 2, 9, 8], [15, 15, 25, 25], [18, 12, 22, 28]]
    np.testing.assert_allclose(data.images[0].boxes, wanted)
    assert data.left_out == {"object without a box": 1, "object without a class": 1}
    assert [each.kind for each in data.findings].count("polygon read as its box") == 3


def test_of_several_attributes_the_first_by_rank_is_the_class(tmp_path: Path) -> None:
    data = data_of(tmp_path, (RECT, {"colour": "red", "Label": "cat", "type": "x"}))
    assert data.names == ("cat",)
    assert [(each.kind, each.detail) for each in data.findings] == [
        (
            "object of several classes",
            "'Label' is taken as the class; regions have 'colour', 'type' as well",
        )
    ]


def test_the_one_attribute_is_the_class_whatever_it_is_called(tmp_path: Path) -> None:
    attributes = {"region": {"species": {"type": "dropdown", "options": {"owl": "", "cat": "Cat"}}}}
    data = data_of(tmp_path, (RECT, {"species": "cat"}), _via_attributes=attributes)
    assert data.names == ("owl", "cat")
    assert data.images[0].labels.tolist() == [1]
    assert data.findings == []


def test_check_boxes_of_several_classes(tmp_path: Path) -> None:
    data = data_of(tmp_path, (RECT, {"kind": {"dog": True, "cat": True, "owl": False}}))
    assert data.names == ("dog",)
    assert [each.detail for each in data.findings] == ["region 1 of a.jpg: 'dog', 'cat'"]


def test_points_are_joints(tmp_path: Path) -> None:
    nose = {"name": "point", "cx": 5, "cy": 6}
    data = data_of(tmp_path, (RECT, {"name": "cat"}), (nose, {"name": "nose"}), (nose, {}))
    assert data.images[0].joints(1).tolist() == [[[5, 6, 2]]]
    assert data.left_out == {"point of no object": 1}


def test_version_1_and_the_default_folder(tmp_path: Path) -> None:
    draw(tmp_path / "photos")
    region = {"shape_attributes": RECT, "region_attributes": {"name": "cat"}}
    item = {"fileref": "", "size": 5, "filename": "a.jpg", "regions": {"0": region}}
    data = read(write(tmp_path / "one.json", {"a.jpg5": item}))
    assert data.images[0].boxes.tolist() == [[1, 2, 11, 22]]
    settings = {"core": {"default_filepath": "./photos/"}}
    data = data_of(tmp_path, (RECT, {"a": "cat"}), _via_settings=settings)
    assert data.images[0].path == tmp_path / "photos/a.jpg"
    assert data.findings == []


def test_csv_keeps_pictures_without_regions(tmp_path: Path) -> None:
    heading = "#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes"
    box = '"{""name"":""rect"",""x"":1,""y"":2,""width"":10,""height"":20}","{""name"":""cat""}"'
    text = (
        f'{heading},region_attributes\na.jpg,1,"{{}}",1,0,{box}\nb.jpg,1,"{{}}",0,0,"{{}}","{{}}"\n'
    )
    data = read(write(tmp_path / "via.csv", text))
    assert [(each.path.name, len(each)) for each in data.images] == [("a.jpg", 1), ("b.jpg", 0)]
    assert data.images[0].boxes.tolist() == [[1, 2, 11, 22]]
    broken = text.replace('""name"":""cat""', '""name"":""cat')
    with pytest.raises(HeatpointError, match=r"via.csv:2: expected JSON in a cell"):
        read(write(tmp_path / "via.csv", broken))


def test_version_3(tmp_path: Path) -> None:
    files = {"1": {"fid": "1", "fname": "a.jpg", "type": 2}, "2": {"fname": "b.mp4", "type": 4}}
    views = {"1": {"fid_list": ["1"]}, "2": {"fid_list": ["2"]}}
    shapes = ([7, 1, 2, 9, 4, 5, 8], [2, 1, 2, 3, 4], [], [6, 1, 1, 2, 2])
    regions = {
        f"1_{i}": {"vid": "1", "z": [], "xy": xy, "av": {"1": "1"}} for i, xy in enumerate(shapes)
    }
    regions["2_0"] = {"vid": "2", "z": [1.5], "xy": [2, 1, 2, 3, 4], "av": {"1": "0"}}
    attribute = {"1": {"aname": "kind", "options": {"0": "dog", "1": "cat"}}}
    content = {"project": {}, "attribute": attribute, "file": files, "view": views}
    data = read(write(tmp_path / "via3.json", content | {"metadata": regions}))
    assert data.names == ("dog", "cat")
    assert data.images[0].boxes.tolist() == [[1, 2, 9, 8], [1, 2, 4, 6]]
    assert data.left_out == {"object without a box": 1, "image not annotated": 1}
    films = content | {"file": {"1": files["2"]}, "metadata": {}}
    with pytest.raises(HeatpointError, match="VIA 3 without pictures; videos are not read"):
        read(write(tmp_path / "via3.json", films | {"view": {"1": {"fid_list": ["1"]}}}))
