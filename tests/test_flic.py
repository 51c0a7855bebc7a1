"""Frames Labeled In Cinema: an array of structures with eleven labelled joints of 29."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from heatpoint.data.readers import read
from heatpoint.data.readers.people import PLACES
from heatpoint.data.skeleton import SKELETONS
from heatpoint.data.validate import validate
from heatpoint.errors import HeatpointError


def coords() -> np.ndarray:
    values = np.full((2, 29), np.nan)
    values[:, PLACES] = np.stack((np.arange(11) + 5.0, np.arange(11) + 7.0))
    return values


def example(name: str = "a.jpg", **more: Any) -> dict[str, Any]:
    row = {"filepath": name, "coords": coords(), "istrain": True, "istest": False}
    return row | {"torsobox": np.array([1.0, 2, 3, 4]), "moviename": "film"} | more


def write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    (folder / "images").mkdir(exist_ok=True)
    for row in rows:
        Image.new("RGB", (40, 30)).save(folder / "images" / row.get("filepath", "a.jpg"))
    examples = np.empty((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for index, row in enumerate(rows):
        examples[0, index] = tuple(row.values())
    savemat(folder / "examples.mat", {"examples": examples})
    return folder


def test_people_by_frame(tmp_path: Path) -> None:
    data = read(write(tmp_path, [example(), example("b.jpg"), example()]))
    assert data.skeleton == SKELETONS["flic11"]
    assert [(r.path.name, len(r)) for r in data.images] == [("a.jpg", 2), ("b.jpg", 1)]
    assert data.images[0].keypoints is not None
    assert data.images[0].keypoints[0, [0, 10]].tolist() == [[4.5, 6.5, 2], [14.5, 16.5, 2]]
    assert validate(data).counts() == {"duplicate box": 1}


def test_pictures_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, [example(), example("b.jpg")])
    (tmp_path / "images").rename(tmp_path / "disk")
    data = read(tmp_path, images=tmp_path / "disk")
    assert [r.path for r in data.images] == [tmp_path / "disk/a.jpg", tmp_path / "disk/b.jpg"]
    assert read(tmp_path).searched


def test_nan_is_not_labelled(tmp_path: Path) -> None:
    partly, nothing = coords(), np.full((2, 29), np.nan)
    partly[0, 0] = np.nan
    rows = [example(coords=partly), example("b.jpg", coords=nothing)]
    data = read(write(tmp_path, rows))
    assert data.images[0].keypoints is not None
    assert data.images[0].keypoints[0, 0].tolist() == [0, 0, 0]
    assert data.left_out == {"object without a box": 1}
    assert [len(record) for record in data.images] == [1, 0]


def test_splits(tmp_path: Path) -> None:
    write(tmp_path, [example(), example("b.jpg", istrain=False, istest=True)])
    assert [r.path.name for r in read(f"{tmp_path}:train").images] == ["a.jpg"]
    assert [r.path.name for r in read(f"{tmp_path}:test").images] == ["b.jpg"]
    with pytest.raises(HeatpointError, match=r"no split 'val' .* it has test, train"):
        read(f"{tmp_path}:val")


def test_another_layout(tmp_path: Path) -> None:
    row = example()
    del row["coords"]
    with pytest.raises(HeatpointError, match="expected examples with coords, filepath, got"):
        read(write(tmp_path, [row]))
    with pytest.raises(HeatpointError, match=r"example 1: expected coords of shape \(2, 29\)"):
        read(write(tmp_path, [example(coords=np.zeros((2, 11)))]))
    savemat(tmp_path / "examples.mat", {"examples": np.zeros((3, 4))})
    with pytest.raises(HeatpointError, match="got no fields"):
        read(tmp_path)
