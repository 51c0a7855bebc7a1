"""CVAT's XML: shapes, skeletons, subsets, tracks, and what a damaged file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sample_content import write

from heatpoint.data import Annotations
from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError

BOX = '<box label="cat" occluded="0" xtl="10" ytl="5" xbr="30" ybr="15"{}></box>'


def data_of(folder: Path, shapes: str, meta: str = "", **more: str) -> Annotations:
    attributes = "".join(f' {key}="{value}"' for key, value in more.items())
    image = f'<image id="0" name="a.jpg" width="40" height="30"{attributes}>{shapes}</image>'
    text = f"<annotations><version>1.1</version><meta>{meta}</meta>{image}</annotations>"
    return read(write(folder / "annotations.xml", text))


def labels(*names: str) -> str:
    return "".join(f"<label><name>{name}</name></label>" for name in names)


def test_shapes(tmp_path: Path) -> None:
    shapes = [
        BOX.format(""),
        BOX.format(' rotation="90.0"'),
        '<polygon label="dog" points="1.5,2;9,4.25;3,8"></polygon>',
        '<ellipse label="dog" cx="20" cy="10" rx="8" ry="4" rotation="90"></ellipse>',
        '<mask label="dog" rle="1, 2" left="3" top="4" width="10" height="5"></mask>',
        '<polyline label="dog" points="1,2;3,4"></polyline>',
        '<tag label="dog"></tag>',
    ]
    meta = f"<task><labels>{labels('dog', 'cat', 'owl')}</labels></task>"
    data = data_of(tmp_path, "".join(shapes), meta)
    assert data.names == ("dog", "cat", "owl")
    assert data.images[0].size == (30, 40)
    wanted = [[10, 5, 30, 15], [15, 0, 25, 20], [1.5, 2, 9, 8], [16, 2, 24, 18], [3, 4, 13, 9]]
    np.testing.assert_allclose(data.images[0].boxes, wanted, atol=1e-9)
    assert data.images[0].labels.tolist() == [1, 1, 0, 0, 0]
    assert data.left_out == {"object without a box": 2}
    kinds = [each.kind for each in data.findings]
    assert kinds.count("polygon read as its box") == 2
    assert kinds.count("rotated box read as upright") == 1


def test_a_skeleton_is_an_object_with_joints(tmp_path: Path) -> None:
    svg = (
        '<line data-type="edge" data-node-from="1" data-node-to="2"></line>'
        '<circle data-type="element node" data-node-id="1" data-label-name="nose"></circle>'
        '<circle data-type="element node" data-node-id="2" data-label-name="tail"></circle>'
    )
    svg = svg.replace("<", "&lt;").replace(">", "&gt;")
    parts = "".join(
        f"<label><name>{name}</name><parent>dog</parent></label>" for name in ("nose", "tail")
    )
    meta = f"<job><labels><label><name>dog</name><svg>{svg}</svg></label>{parts}</labels></job>"
    points = [
        '<points label="tail" outside="0" occluded="1" points="50.00,20.00"></points>',
        '<points label="nose" outside="0" occluded="0" points="10.00,20.00"></points>',
    ]
    away = points[0].replace('outside="0"', 'outside="1"')
    data = data_of(
        tmp_path,
        f'<skeleton label="dog">{"".join(points)}</skeleton>'
        f'<skeleton label="dog">{away}{points[1]}</skeleton>',
        meta,
    )
    assert data.names == ("dog",)
    assert data.skeleton is not None
    assert (data.skeleton.joints, data.skeleton.edges) == (("nose", "tail"), ((0, 1),))
    assert data.images[0].joints(2).tolist() == [
        [[10, 20, 2], [50, 20, 1]],
        [[10, 20, 2], [0, 0, 0]],
    ]
    assert data.images[0].boxes.tolist() == [[8, 18, 52, 22], [9, 19, 11, 21]]


def test_points_join_the_box_of_their_group(tmp_path: Path) -> None:
    nose = '<points label="nose" points="12,7"{}></points>'
    both = BOX.format(' group_id="3"') + BOX.format("") + nose.format(' group_id="3"')
    data = data_of(tmp_path, both, f"<task><labels>{labels('cat', 'nose')}</labels></task>")
    assert data.names == ("cat",)
    assert data.images[0].joints(1).tolist() == [[[12, 7, 2]], [[0, 0, 0]]]
    several = '<points label="face" points="10,10;30,10;20,20"></points>'
    data = data_of(tmp_path, several)
    assert data.names == ("face",)
    assert data.images[0].joints(3).tolist() == [[[10, 10, 2], [30, 10, 2], [20, 20, 2]]]


def test_subsets_are_splits(tmp_path: Path) -> None:
    data_of(tmp_path, BOX.format(""), subset="Train")
    assert len(read(f"{tmp_path / 'annotations.xml'}:Train")) == 1
    assert len(read(f"{tmp_path}:Train")) == 1
    with pytest.raises(HeatpointError, match=r"no split 'train' .*it has Train; did you mean"):
        read(f"{tmp_path}:train")


def film(folder: Path, track: str, pictures: int) -> Path:
    for frame in range(pictures):
        path = folder / "images" / f"frame_{frame:06d}.PNG"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30)).save(path)
    frames = "<start_frame>0</start_frame><stop_frame>3</stop_frame>"
    size = "<original_size><width>40</width><height>30</height></original_size>"
    meta = f"<meta><task>{frames}<labels>{labels('cat')}</labels></task>{size}</meta>"
    return write(folder / "annotations.xml", f"<annotations>{meta}{track}</annotations>")


def tracked(*frames: tuple[int, int]) -> str:
    """Returns a track of frames, each inside (0) or outside (1) of the picture."""
    shapes = "".join(
        f'<box frame="{frame}" outside="{out}" keyframe="1" xtl="{frame}" ytl="0" xbr="9" ybr="8"/>'
        for frame, out in frames
    )
    return f'<track id="0" label="cat">{shapes}</track>'


def test_tracks_lie_on_the_frames_of_a_video(tmp_path: Path) -> None:
    data = read(film(tmp_path, tracked((0, 0), (1, 0), (2, 1)), pictures=4))
    assert [each.path.name for each in data.images] == [f"frame_{i:06d}.PNG" for i in range(4)]
    assert [each.boxes.tolist() for each in data.images[:3]] == [[[0, 0, 9, 8]], [[1, 0, 9, 8]], []]
    assert data.images[0].size == (30, 40)


def test_videos_without_pictures_or_with_keyframes_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HeatpointError, match=r"about a video, and none of its frames .*ffmpeg"):
        read(film(tmp_path, tracked((0, 0)), pictures=0))
    tasks = [tracked((0, 0)).replace("<track", f'<track task_id="{task}"') for task in (1, 1, 2)]
    with pytest.raises(HeatpointError, match=r"the videos of 2 tasks, .*export each task"):
        read(film(tmp_path, "".join(tasks), pictures=2))
    assert len(read(film(tmp_path, "".join(tasks[:2]), pictures=2)).images[0].boxes) == 2
    with pytest.raises(HeatpointError, match="track 0 has frames 0 and 3 and none between"):
        read(film(tmp_path, tracked((0, 0), (3, 0)), pictures=4))


def test_damaged_files_are_told_in_a_sentence(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY b "c">]><annotations><meta>&b;</meta></annotations>'
    for text, said in ((bomb, "declares entities"), ("<annotations><image", "not valid XML")):
        with pytest.raises(HeatpointError, match=said):
            read(write(tmp_path / "annotations.xml", text))
    far = '<annotations><track id="0" label="a"><box frame="{}" outside="0"/></track></annotations>'
    for frame in ("x", "1e99", "-1"):
        with pytest.raises(HeatpointError, match="track 0: expected a frame's number"):
            read(write(tmp_path / "annotations.xml", far.format(frame)))
    with pytest.raises(HeatpointError, match="expected a name of every image"):
        read(write(tmp_path / "annotations.xml", "<annotations><image id='0'/></annotations>"))


def test_an_encoding_that_is_declared(tmp_path: Path) -> None:
    text = '<?xml version="1.0" encoding="iso-8859-1"?><annotations><image name="\xe9.jpg">'
    path = tmp_path / "annotations.xml"
    path.write_bytes((text + BOX.format("") + "</image></annotations>").encode("latin-1"))
    assert read(path).images[0].path.name == "\xe9.jpg"
