"""Inspection of joints: numbers counted by hand, pictures, and data that does not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from heatpoint.codecs.joints import JointCodec
from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.readers import read
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.inspection.inspect import Inspection, inspect
from heatpoint.inspection.joints import JointCounts, JointReport, measure_joints
from heatpoint.inspection.report import Spread
from heatpoint.synthetic.figures import write_figures
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.system import VERSION
from heatpoint.views.pictures import Crops

ARM = Skeleton(("nose", "left_wrist", "right_wrist"), pairs=((1, 2),))


def judge(subjects: list[tuple[tuple[float, ...], list[tuple[float, ...]]]]) -> JointReport:
    """Measures subjects of three joints in a picture of their own at 64 x 64, without padding."""
    images = [
        ImageRecord(
            Path(f"{i}.png"), (200, 200), np.array([box]), np.array([0]),
            keypoints=np.array([joints], float),
        )
        for i, (box, joints) in enumerate(subjects)
    ]  # fmt: skip
    annotations = Annotations(("person",), images, "by hand", skeleton=ARM)
    view = Crops((64, 64), padding=1.0)
    return measure_joints(annotations, JointCodec(3, ARM.flip), view, 100)[0]


def test_labels_sizes_and_lost_joints_are_counted() -> None:
    found = judge(
        [
            ((10, 10, 42, 42), [(20, 20, 2), (41, 41, 1), (60, 20, 2)]),
            ((0, 0, 128, 64), [(64, 32, 2), (0, 0, 0), (0, 0, 0)]),
            ((0, 0, 10, 10), [(0, 0, 0)] * 3),
        ]
    )
    assert (found.subjects, found.left_out) == (2, {"without joints": 1})
    assert found.joints == {
        "nose": JointCounts(2, 0, 0),
        "left_wrist": JointCounts(0, 1, 1),
        "right_wrist": JointCounts(1, 0, 1),
    }
    assert (found.labelled, found.outside) == (4, 1)
    assert found.per_subject == Spread(1, 2, 3)
    assert found.sides == Spread(32, 80, 128)
    assert found.zooms == Spread(0.5, 1.25, 2)
    text = "\n".join(found.lines())
    assert "2 subjects with 4 labelled joints; objects left out: 1 without joints" in text
    assert "1 hidden (25.0%)" in text
    assert "loses 1 of 4 labelled joints (25.00%)" in text
    assert json.dumps(found.as_dict(), allow_nan=False)


def test_floor_is_that_of_the_cells() -> None:
    # Both joints lie a quarter of a cell from the middle of theirs: one input pixel each way.
    found = judge([((0, 0, 64, 64), [(23, 23, 2), (43, 43, 2), (0, 0, 0)])])
    assert found.floor.input_pixels < 1e-3
    assert found.floor.pck == 1
    assert found.whole_cells.input_pixels == pytest.approx(2**0.5)
    assert found.whole_cells.image_pixels == pytest.approx(2**0.5)
    assert found.whole_cells.pck == 0, "0.05 of an extent of 20 pixels is less"
    # At half the scale the error in the picture is twice that at the input.
    found = judge([((0, 0, 128, 128), [(46, 46, 2), (86, 86, 2), (0, 0, 0)])])
    assert found.whole_cells.input_pixels == pytest.approx(2**0.5)
    assert found.whole_cells.image_pixels == pytest.approx(2 * 2**0.5)


def test_no_subjects_at_all() -> None:
    found = judge([((0, 0, 10, 10), [(0, 0, 0)] * 3)])
    assert found.subjects == 0
    assert found.as_dict()["floor"]["pck"] is None
    assert len(found.lines()) == 1


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_figures(tmp_path_factory.mktemp("figures"), 8, (96, 96), seed=2)


@pytest.fixture(scope="module")
def inspection(figures: Path, tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    out = tmp_path_factory.mktemp("out")
    return inspect(figures, model="pose_tiny", size=64, out=out, samples=4)


def test_files_are_written_and_readable(inspection: Inspection) -> None:
    names = ["report.json", "charts.png", "targets.png", "mirrored.png"]
    assert [path.name for path in inspection.files] == names
    saved = json.loads(inspection.files[0].read_text())
    assert saved.pop("written_by") == f"heatpoint {VERSION}"
    assert saved == inspection.as_dict()
    assert saved["oracle"] is None
    assert saved["joints"]["floor"]["pck"] > 0.95
    for path in inspection.files[1:]:
        picture = cv2.imread(str(path))
        assert min(picture.shape[:2]) > 300
        assert picture.std() > 10, "something is drawn"


def test_mirrored_crop_is_the_mirror_image(inspection: Inspection) -> None:
    picture = cv2.imread(str(inspection.files[-1]))
    assert picture.shape[0] > 4 * 300
    assert "joints:" in inspection.summary()
    assert "a perfect network is off by" in inspection.summary()


def test_boxes_of_keypoint_data_are_inspected_without_a_model_of_joints(figures: Path) -> None:
    found = inspect(figures, size=64, out=None)
    assert found.joints is None
    assert found.oracle is not None


def test_what_does_not_fit_is_explained(figures: Path, tmp_path: Path) -> None:
    shapes = write_shapes(tmp_path, 2, (64, 64))
    with pytest.raises(HeatpointError, match="has no joints, which a model of joints learns from"):
        inspect(shapes, model="pose_tiny", out=None)
    with pytest.raises(HeatpointError, match="leave out stride and max_detections"):
        inspect(figures, model="pose_tiny", stride=4, out=None)
    with pytest.raises(HeatpointError, match="padding is about crops"):
        inspect(figures, padding=1.5, out=None)
    with pytest.raises(HeatpointError, match="divisible by 32: the next legal size is 96"):
        inspect(figures, model="pose_tiny", size=65, out=None)
    from heatpoint import zoo

    data = read(figures)
    zoo.build("pose_tiny", ["arm"], skeleton=ARM).save(tmp_path / "arm.safetensors")
    with pytest.raises(HeatpointError, match="finds 3 joints"):
        inspect(data, model=tmp_path / "arm.safetensors", out=None)
    blank = replace(data, images=[replace(r, keypoints=None) for r in data.images])
    with pytest.raises(HeatpointError, match="has no joints"):
        inspect(blank, model="pose_tiny", out=None)


def test_joints_without_names_are_named_by_a_skeleton(figures: Path, tmp_path: Path) -> None:
    nameless = replace(read(figures), skeleton=None)
    with pytest.raises(
        HeatpointError, match=r"does not name its .* joints; name them with skeleton"
    ):
        inspect(nameless, model="pose_tiny", out=None)
    names = [f"joint {n}" for n in range(len(read(figures).skeleton or ()))]
    file = tmp_path / "names.json"
    file.write_text(json.dumps({"joints": names}))
    found = inspect(nameless, model="pose_tiny", skeleton=str(file), out=None, limit=4)
    assert found.joints is not None
    assert list(found.joints.as_dict()["joints"]) == names
