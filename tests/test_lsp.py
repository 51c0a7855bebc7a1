"""Leeds Sports Pose: two layouts whose flags mean opposite things, and the real extended set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from heatpoint.data import MARGIN, joints_box
from heatpoint.data.readers import read
from heatpoint.data.skeleton import SKELETONS
from heatpoint.data.validate import clean, validate
from heatpoint.errors import HeatpointError


def write(folder: Path, joints: np.ndarray, images: int | None = None) -> Path:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number in range(joints.shape[2] if images is None else images):
        Image.new("RGB", (60, 50)).save(folder / "images" / f"im{number + 1:04d}.jpg")
    savemat(folder / "joints.mat", {"joints": joints})
    return folder


def table(count: int, flag: float = 1.0) -> np.ndarray:
    """Returns (14, 3, N): joint j of image n at (10 + j, 5 + j + n)."""
    joint, image = np.meshgrid(np.arange(14.0), np.arange(count), indexing="ij")
    return np.stack((10 + joint, 5 + joint + image, np.full_like(joint, flag)), 1)


def test_pictures_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, table(2))
    (tmp_path / "images").rename(tmp_path / "disk")
    data = read(tmp_path, images=tmp_path / "disk")
    assert [record.path.parent for record in data.images] == [tmp_path / "disk"] * 2
    with pytest.raises(HeatpointError, match=r"has 2 images, but .*images holds 0"):
        read(tmp_path)


def test_extended_flag_means_labelled(tmp_path: Path) -> None:
    joints = table(2)
    joints[3, :, 1] = [-7.0, 900.0, 0.0]
    data = read(write(tmp_path, joints))
    assert data.skeleton == SKELETONS["lsp14"]
    assert [len(record) for record in data.images] == [1, 1]
    keypoints = data.images[1].keypoints
    assert keypoints is not None
    assert keypoints[0, 2].tolist() == [11.5, 7.5, 2]
    assert keypoints[0, 3].tolist() == [0, 0, 0]
    assert validate(data).counts() == {}


def test_original_flag_means_hidden(tmp_path: Path) -> None:
    joints = table(2, flag=0.0)
    joints[3, 2, 1] = 1.0
    data = read(write(tmp_path, joints.transpose(1, 0, 2)))
    keypoints = data.images[1].keypoints
    assert keypoints is not None
    assert keypoints[0, 2:4].tolist() == [[11.5, 7.5, 2], [12.5, 8.5, 1]]


def test_one_image_loses_its_axis_in_matlab(tmp_path: Path) -> None:
    write(tmp_path, table(1))
    savemat(tmp_path / "joints.mat", {"joints": table(1)[..., 0]})
    assert len(read(tmp_path)) == 1


def test_box_is_the_extent_and_a_margin(tmp_path: Path) -> None:
    data = read(write(tmp_path, table(1)))
    x1, y1, x2, y2 = data.images[0].boxes[0].tolist()
    assert MARGIN * 13 < 1  # so that the least margin counts
    assert (x1, y1, x2, y2) == (8.5, 3.5, 23.5, 18.5)
    far = np.array([[0.0, 0, 2], [200, 100, 2], [999, 999, 0]])
    assert joints_box(far) == (-10.0, -10.0, 210.0, 110.0)
    assert joints_box(far * [1, 1, 0]) is None


def test_person_without_any_labelled_joint(tmp_path: Path) -> None:
    joints = table(2)
    joints[:, 2, 0] = 0
    data = read(write(tmp_path, joints))
    assert data.left_out == {"object without a box": 1}
    assert [len(record) for record in data.images] == [0, 1]
    assert data.images[0].keypoints is not None
    assert data.images[0].keypoints.shape == (0, 14, 3)
    assert clean(data)[1] == {"object without a box": 1}


def test_order_and_splits(tmp_path: Path) -> None:
    write(tmp_path, table(3))
    (tmp_path / "images.txt").write_text("im0003\nim0001.jpg\n\nim0002\n")
    (tmp_path / "val.txt").write_text("im0001\nim0003\n")
    data = read(f"{tmp_path}:val")
    assert [record.path.name for record in data.images] == ["im0001.jpg", "im0003.jpg"]
    assert [record.keypoints[0, 0, 1] for record in data.images] == [5.5, 4.5]  # type: ignore[index]
    with pytest.raises(HeatpointError, match=r"no split 'train' .*; it has val"):
        read(f"{tmp_path}:train")
    (tmp_path / "val.txt").write_text("im0009\n")
    with pytest.raises(HeatpointError, match="lists 'im0009', which has no joints"):
        read(f"{tmp_path}:val")


def test_an_image_listed_twice_counts_once(tmp_path: Path) -> None:
    write(tmp_path, table(2))
    (tmp_path / "val.txt").write_text("im0002\nim0001\nim0002.jpg\n")
    data = read(f"{tmp_path}:val")
    assert [(record.path.stem, record.image_id) for record in data.images] == [
        ("im0002", 2),
        ("im0001", 1),
    ]
    assert data.left_out == {"image listed twice": 1}


def test_missing_image_is_reported(tmp_path: Path) -> None:
    write(tmp_path, table(2), images=1)
    (tmp_path / "images.txt").write_text("im0001\nim0002\n")
    assert validate(read(tmp_path)).counts() == {"missing image": 1}


@pytest.mark.parametrize(
    ("joints", "message"),
    [
        (np.zeros((16, 3, 2)), r"expected 'joints' of shape .* got \(16, 3, 2\)"),
        (np.zeros((2, 14, 3)), r"got \(2, 14, 3\)"),
        (np.full((14, 3, 2), 7.0), "expected 0 or 1 as third value"),
        (table(5), "has 5 images, but .* holds 2"),
    ],
)
def test_another_layout(tmp_path: Path, joints: np.ndarray, message: str) -> None:
    write(tmp_path, joints, images=2)
    with pytest.raises(HeatpointError, match=message):
        read(tmp_path)


def test_other_and_damaged_matlab_files(tmp_path: Path) -> None:
    write(tmp_path, table(2))
    savemat(tmp_path / "joints.mat", {"points": table(2), "other": 1})
    with pytest.raises(HeatpointError, match="expected the variable 'joints', got other, points"):
        read(tmp_path)
    whole = (tmp_path / "joints.mat").read_bytes()
    for broken in (whole[:300], b"no matlab file", b""):
        (tmp_path / "joints.mat").write_bytes(broken)
        with pytest.raises(HeatpointError, match="is no whole MATLAB file"):
            read(tmp_path)
    version73 = b"MATLAB 7.3 MAT-file".ljust(124, b" ") + b"\x00\x02IM"
    (tmp_path / "joints.mat").write_bytes(version73 + bytes(512))
    with pytest.raises(HeatpointError, match=r"version 7\.3"):
        read(tmp_path)
    with pytest.raises(HeatpointError, match="for the folder it is in"):
        read(tmp_path / "joints.mat")


def test_nan_joints_are_found(tmp_path: Path) -> None:
    joints = table(1)
    joints[4, 0, 0] = np.nan
    counts = validate(read(write(tmp_path, joints))).counts()
    assert counts["non-finite joint"] == 1


def test_real_extended_set(shared: Path) -> None:
    folder = shared / "data" / "lspet"
    data = read(f"{folder}:val")
    assert len(data) == data.objects == 500
    labelled = np.array([record.keypoints[0, :, 2] > 0 for record in data.images])  # type: ignore[index]
    assert labelled.sum(1).min() >= 4
    assert 0.85 < labelled.mean() < 0.9
    report = validate(data.subset(range(0, 500, 5)))
    assert set(report.counts()) <= {"joint outside the image"}
    longer = np.array([(record.boxes[0, 2:] - record.boxes[0, :2]).max() for record in data.images])
    assert 110 < np.median(longer / (1 + 2 * MARGIN)) < 125
    assert len(read(f"{folder}:train")) == 3000
