"""Every format's sample is read as what it is, with the same content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sample_content import JOINTS, NAMES, OBJECTS, PARTS, SIZES, joints_of
from samples import JOINT_SAMPLES, SAMPLES, SPLIT

from heatpoint.data import Annotations
from heatpoint.data.readers import FORMATS, read
from heatpoint.data.readers.given import Given
from heatpoint.data.shards import is_file
from heatpoint.data.validate import validate

OWN_BOXES = ("DeepLabCut", "MPII")
SAID = {
    "Label Studio (JSON-MIN)": {"images under shorter names": 1},
    "CSV table (Open Images)": {"shares of the image as coordinates": 1},
}
"""What is told of samples whose pictures are called otherwise than on the disk."""


def told(data: Annotations) -> dict[str, list[tuple[str, list[float]]]]:
    """Returns class and box of every object, rounded, by the name of its picture."""
    return {
        record.path.name: [
            (data.names[label], box)
            for label, box in zip(record.labels, record.boxes.round(6).tolist(), strict=True)
        ]
        for record in data.images
    }


@pytest.mark.parametrize("name", SAMPLES)
def test_boxes(name: str, tmp_path: Path) -> None:
    data = read(SAMPLES[name](tmp_path))
    assert data.format == name.split(" (")[0]
    assert data.names == NAMES
    wanted = {k: [(label, list(box)) for label, box in v] for k, v in OBJECTS.items()}
    assert told(data) == wanted
    assert all(is_file(record.path) for record in data.images)
    assert {record.path.name: record.size for record in data.images if record.size} in ({}, SIZES)
    assert data.left_out == {}
    assert validate(data).counts() == SAID.get(name, {})


@pytest.mark.parametrize("name", JOINT_SAMPLES)
def test_joints(name: str, tmp_path: Path) -> None:
    data = read(JOINT_SAMPLES[name](tmp_path))
    assert data.format == name.split(" (")[0]
    assert data.skeleton is not None
    if name not in OWN_BOXES:
        assert told(data) == {k: [(n, list(b)) for n, b in v] for k, v in OBJECTS.items()}
    chosen = (
        [data.skeleton.joints.index(joint) for joint in JOINTS] if name != "MPII" else [0, 1, 2]
    )
    for record in data.images:
        assert record.keypoints is not None
        wanted = [[(*point, 2) for point in joints_of(b)] for _, b in OBJECTS[record.path.name]]
        np.testing.assert_allclose(record.keypoints[:, chosen], wanted, atol=1e-6)
    assert data.left_out == {}


@pytest.mark.parametrize("name", sorted(SPLIT))
def test_splits(name: str, tmp_path: Path) -> None:
    path = (SAMPLES | JOINT_SAMPLES)[name](tmp_path)
    for split in ("train", "val"):
        data = read(f"{path}:{split}")
        wanted = [picture for picture, part in PARTS if part == split]
        assert sorted(record.path.name for record in data.images) == wanted
        assert data.names == read(path).names


@pytest.mark.parametrize("name", sorted(SAMPLES.keys() | JOINT_SAMPLES.keys()))
def test_one_format_fits_and_no_other(name: str, tmp_path: Path) -> None:
    given = Given((SAMPLES | JOINT_SAMPLES)[name](tmp_path))
    fitting = {each.name for each in FORMATS if each.fits(given)}
    assert fitting == {name.split(" (")[0]}
