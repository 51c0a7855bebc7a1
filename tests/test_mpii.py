"""MPII as the ports publish it: people by image, frames, boxes that give the published crop."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from published import pose_crop

from heatpoint.data.readers import read
from heatpoint.data.readers.people import person_box
from heatpoint.data.skeleton import SKELETONS
from heatpoint.data.validate import clean, validate
from heatpoint.errors import HeatpointError
from heatpoint.geometry import crop_affine

JOINTS = [[float(10 + i), float(20 + i), float(i % 2)] for i in range(16)]


def person(image: str = "a.jpg", **more: Any) -> dict[str, Any]:
    row = {
        "dataset": "MPI",
        "isValidation": 0.0,
        "img_paths": image,
        "img_width": 64.0,
        "img_height": 48.0,
        "objpos": [30.0, 24.0],
        "joint_self": JOINTS,
        "scale_provided": 0.2,
        "people_index": 1.0,
    }
    return row | more


def write(folder: Path, people: list[Any]) -> Path:
    for name in ("a.jpg", "b.jpg"):
        (folder / "images").mkdir(exist_ok=True)
        Image.new("RGB", (64, 48)).save(folder / "images" / name)
    path = folder / "mpii_annotations.json"
    path.write_text(json.dumps(people))
    return path


def test_people_of_one_image_are_together(tmp_path: Path) -> None:
    path = write(tmp_path, [person(), person("b.jpg"), person(objpos=[40.0, 20.0])])
    data = read(path)
    assert data.skeleton == SKELETONS["mpii16"]
    assert data.names == ("person",)
    assert [(record.path.name, len(record)) for record in data.images] == [
        ("a.jpg", 2),
        ("b.jpg", 1),
    ]
    assert data.images[0].size == (48, 64)
    assert data.images[0].path.is_file()
    keypoints = data.images[0].keypoints
    assert keypoints is not None
    assert keypoints[0, :2].tolist() == [[9.5, 19.5, 1], [10.5, 20.5, 2]]
    assert validate(data).counts() == {}
    assert clean(data)[0].images[0].boxes.tolist() == data.images[0].boxes.tolist()


def test_box_gives_the_published_crop() -> None:
    box = person_box((594.0, 257.0), 3.021)
    assert box is not None
    np.testing.assert_allclose(box, [291.4, 256.5 + 45.315 - 302.1, 895.6, 256.5 + 45.315 + 302.1])
    ours = crop_affine(box, (256, 256))
    published = pose_crop((594.0, 257.0 + 15 * 3.021), 3.021 * 1.25, (256, 256))
    np.testing.assert_allclose(ours.numpy()[:, :2], published.numpy()[:, :2], atol=1e-12)
    # The released code takes 1 from the point but not from the centre; ours take 0.5 from both.
    point = np.array([620.0, 394.0])
    apart = ours.points(point - 0.5) - published.points(point - 1)
    np.testing.assert_allclose(apart, published.matrix[0] * np.ones(2), atol=1e-9)


def test_unlabelled_joints(tmp_path: Path) -> None:
    joints = [[0.0, 0.0, 0.0], [-1.0, -1.0, 1.0], *JOINTS[2:]]
    data = read(write(tmp_path, [person(joint_self=joints)]))
    assert data.images[0].keypoints is not None
    assert data.images[0].keypoints[0, :2].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_a_size_that_is_no_number_is_not_known(tmp_path: Path) -> None:
    rows = [person(img_width=float("inf")), person("b.jpg", img_height="tall")]
    assert [record.size for record in read(write(tmp_path, rows)).images] == [None, None]


def test_person_without_any_joint_or_centre(tmp_path: Path) -> None:
    nobody = person(joint_self=[[0.0, 0.0, 0.0]] * 16)
    data = read(write(tmp_path, [nobody, person(objpos=[-1.0, -1.0]), person(scale_provided=-1.0)]))
    assert data.left_out == {"object without a box": 2}
    assert validate(data).counts() == {"object without a box": 2, "person without joints": 1}


def test_splits_by_is_validation(tmp_path: Path) -> None:
    path = write(tmp_path, [person(), person("b.jpg", isValidation=1.0)])
    assert [r.path.name for r in read(f"{path}:train").images] == ["a.jpg"]
    assert [r.path.name for r in read(f"{path}:val").images] == ["b.jpg"]
    with pytest.raises(HeatpointError, match=r"no split 'test' .* it has train, val"):
        read(f"{path}:test")


def test_the_other_published_file(tmp_path: Path) -> None:
    row = {
        "image": "a.jpg",
        "center": [30.0, 24.0],
        "scale": 0.2,
        "joints": [joint[:2] for joint in JOINTS],
        "joints_vis": [int(joint[2]) for joint in JOINTS],
    }
    one, other = read(write(tmp_path, [row])), read(write(tmp_path, [person()]))
    assert one.images[0].keypoints is not None
    assert np.array_equal(one.images[0].keypoints, other.images[0].keypoints)  # type: ignore[arg-type]
    assert one.images[0].boxes.tolist() == other.images[0].boxes.tolist()
    with pytest.raises(HeatpointError, match="'isValidation' in every row"):
        read(f"{write(tmp_path, [row])}:val")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"joint_self": JOINTS[:14]}, r"person 2: expected 16 joints .* \(14, 3\)"),
        ({"joint_self": [["x", 1, 1]] * 16}, "person 2: expected numbers"),
        ({"objpos": [1.0]}, "person 2: expected numbers"),
        ({"objpos": None}, "person 2: expected numbers"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(HeatpointError, match=message):
        read(write(tmp_path, [person(), person(**row)]))


def test_rows_with_a_field_too_few_and_cut_files(tmp_path: Path) -> None:
    less = person()
    del less["objpos"]
    with pytest.raises(HeatpointError, match="person 2 has no 'objpos'"):
        read(write(tmp_path, [person(), less]))
    path = write(tmp_path, [person()])
    path.write_text(path.read_text()[:-30])
    with pytest.raises(HeatpointError, match="may be cut off"):
        read(path)
    with pytest.raises(HeatpointError, match="got a list with bbox, image_id, score"):
        read(write(tmp_path, [{"image_id": 1, "bbox": [0, 0, 1, 1], "score": 1}]))


def test_folder_of_images(tmp_path: Path) -> None:
    path = write(tmp_path, [person("far.jpg")])
    (tmp_path / "other").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "other" / "far.jpg")
    assert read(path).searched
    assert read(path, tmp_path / "other").images[0].path.is_file()
    with pytest.raises(HeatpointError, match="holds none of the 1 images"):
        read(path, tmp_path / "images")


def test_h5_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "train.h5").write_bytes(b"\x89HDF")
    with pytest.raises(HeatpointError, match=r"needs h5py: install heatpoint\[hdf5\]"):
        read(tmp_path / "train.h5")


def write_h5(path: Path, **fields: Any) -> Path:
    h5py = pytest.importorskip("h5py", reason="the HDF5 files of MPII need h5py")
    part = np.array([[joint[:2] for joint in JOINTS]])
    with h5py.File(path, "w") as file:
        columns = {
            "imgname": np.array([b"a.jpg"]),
            "center": np.array([[30.0, 24.0 + 15 * 0.2]]),
            "scale": np.array([0.2 * 1.25]),
            "part": part,
            "visible": np.array([[joint[2] for joint in JOINTS]]),
            "normalize": np.array([7.5]),
        }
        for name, value in (columns | fields).items():
            if value is not None:
                file[name] = value
    return path


def test_h5_says_the_same_as_json(tmp_path: Path) -> None:
    json_data = read(write(tmp_path, [person()]))
    data = read(write_h5(tmp_path / "train.h5"))
    np.testing.assert_allclose(data.images[0].boxes, json_data.images[0].boxes)
    np.testing.assert_array_equal(data.images[0].keypoints, json_data.images[0].keypoints)  # type: ignore[arg-type]
    assert data.images[0].heads is not None
    assert data.images[0].heads.tolist() == [7.5]
    assert data.images[0].path.is_file()
    codes = np.zeros((1, 16))
    codes[0, :5] = [ord(letter) for letter in "a.jpg"]
    raw = write_h5(
        tmp_path / "annot.h5",
        imgname=codes,
        center=np.array([[30.0, 24.0]]),
        scale=np.array([0.2]),
        part=np.array([[joint[:2] for joint in JOINTS]]) - 1,
        istrain=np.array([1.0]),
    )
    data = read(f"{raw}:train")
    np.testing.assert_allclose(data.images[0].boxes, json_data.images[0].boxes)
    np.testing.assert_array_equal(data.images[0].keypoints, json_data.images[0].keypoints)  # type: ignore[arg-type]
    with pytest.raises(HeatpointError, match=r"no split 'val' .* it has test, train"):
        read(f"{raw}:val")


def test_bad_h5(tmp_path: Path) -> None:
    with pytest.raises(HeatpointError, match="found no 'visible' among"):
        read(write_h5(tmp_path / "a.h5", visible=None))
    with pytest.raises(HeatpointError, match=r"'part' of shape \(1, 16, 2\), got \(1, 14, 2\)"):
        read(write_h5(tmp_path / "b.h5", part=np.zeros((1, 14, 2))))
    (tmp_path / "c.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:200])
    with pytest.raises(HeatpointError, match="no whole HDF5 file"):
        read(tmp_path / "c.h5")
