"""SLEAP's labels: skeletons, coordinates of old and new files, pictures beside and inside."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from heatpoint.data.readers import arrays, read
from heatpoint.data.validate import validate
from heatpoint.errors import HeatpointError

pytest.importorskip("h5py")

import h5py
from sleap_files import INSTANCE, skeleton, write

SNOUT, LEFT, RIGHT = (1.0, 2.0, True), (3.0, 4.0, True), (5.0, float("nan"), False)
HIDDEN = (8.0, 9.0, False)


def listed(*names: str) -> dict[str, Any]:
    return {"backend": {"type": "ImageVideo", "filename": names[0], "filenames": list(names)}}


def packed(number: int) -> dict[str, Any]:
    return {"backend": {"type": "HDF5Video", "filename": ".", "dataset": f"video{number}/video"}}


def pack(
    path: Path, number: int, pictures: dict[int, Image.Image], order: str | None = None
) -> None:
    """Puts pictures into a file, by the number of their frame, as padded PNG bytes."""
    encoded = []
    for picture in pictures.values():
        stream = io.BytesIO()
        picture.save(stream, format="PNG")
        encoded.append(np.frombuffer(stream.getvalue(), np.int8))
    table = np.zeros((len(encoded), max(map(len, encoded))), np.int8)
    for row, each in zip(table, encoded, strict=True):
        row[: len(each)] = each
    with h5py.File(path, "a") as file:
        dataset = file.create_dataset(f"video{number}/video", data=table, compression="gzip")
        dataset.attrs["format"] = "png"
        if order is not None:
            dataset.attrs["channel_order"] = order
        file[f"video{number}/frame_numbers"] = list(pictures)


def pictures(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (40, 30)).save(folder / name)


def test_pictures_beside(tmp_path: Path) -> None:
    animals = [(0, [SNOUT, LEFT, RIGHT]), (1, [SNOUT, LEFT, LEFT]), (0, [LEFT, LEFT, HIDDEN])]
    frames = [(0, 1, animals), (0, 0, []), (1, 0, [(1, [SNOUT, LEFT, RIGHT])])]
    videos = [listed("C:\\me\\A\\a.png", "C:\\me\\A\\b.png"), listed("C:\\me\\B\\a.png")]
    pictures(tmp_path, "A/a.png", "A/b.png", "B/a.png")
    data = read(write(tmp_path / "labels.slp", frames, videos))
    assert data.format == "SLEAP"
    assert data.names == ("animal",)
    assert data.skeleton is not None
    assert data.skeleton.joints == ("snout", "ear_l", "ear_r")
    assert data.skeleton.edges == ((0, 1), (0, 2))
    assert data.skeleton.pairs == ((1, 2),)
    assert [(r.path, len(r)) for r in data.images] == [
        (tmp_path / "A/b.png", 2),
        (tmp_path / "A/a.png", 0),
    ]
    assert data.images[0].keypoints is not None
    assert data.images[0].keypoints.tolist() == [
        [[1.5, 2.5, 2], [3.5, 4.5, 2], [0, 0, 0]],
        [[3.5, 4.5, 2], [3.5, 4.5, 2], [0, 0, 0]],
    ]
    assert data.left_out == {"predicted, not labelled": 2}


def test_old_files_count_from_the_corner(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    frames = [(0, 0, [(0, [SNOUT, LEFT, RIGHT])])]
    data = read(write(tmp_path / "labels.slp", frames, [listed("a.png")], format_id=1.0))
    assert data.images[0].keypoints is not None
    assert data.images[0].keypoints[0, 0].tolist() == [1, 2, 2]


def test_pictures_elsewhere(tmp_path: Path) -> None:
    pictures(tmp_path, "disk/a.png")
    frames = [(0, 0, [(0, [SNOUT, LEFT, RIGHT])])]
    path = write(tmp_path / "labels.slp", frames, [listed("/gone/a.png")])
    assert read(path).searched
    data = read(path, images=tmp_path / "disk")
    assert data.images[0].path == tmp_path / "disk/a.png"


def test_packages_are_unpacked_once(tmp_path: Path) -> None:
    frames = [(0, 7, [(0, [SNOUT, LEFT, RIGHT])]), (1, 3, [(0, [SNOUT, LEFT, LEFT])])]
    path = write(tmp_path / "train.pkg.slp", frames, [packed(0), packed(1)])
    colours = {"BGR": (10, 20, 200), "RGB": (200, 20, 10)}
    pack(path, 0, {5: Image.new("RGB", (8, 6)), 7: Image.new("RGB", (40, 30), colours["BGR"])})
    pack(path, 1, {3: Image.new("RGB", (40, 30), colours["RGB"])}, "RGB")
    with pytest.raises(HeatpointError, match=r"holds its 2 pictures inside; .*--images DIR"):
        read(path)
    data = read(path, images=tmp_path / "new/frames")
    assert [record.path.name[:13] for record in data.images] == ["video0-000007", "video1-000003"]
    for record in data.images:
        assert Image.open(record.path).getpixel((0, 0)) == (200, 20, 10)
        assert Image.open(record.path).size == (40, 30)
    assert validate(data).counts() == {"pictures unpacked": 1}
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "new/frames").iterdir()}
    again = read(path, images=tmp_path / "new/frames")
    assert validate(again).counts() == {}
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "new/frames").iterdir()} == made


def test_a_package_of_some_videos_numbers_them_as_the_project_did(tmp_path: Path) -> None:
    frames = [(2, 0, [(0, [SNOUT, LEFT, RIGHT])])]
    path = write(tmp_path / "some.pkg.slp", frames, [packed(2)])
    pack(path, 2, {0: Image.new("L", (40, 30), 77)})
    data = read(path, images=tmp_path / "frames")
    assert Image.open(data.images[0].path).getpixel((0, 0)) == 77


def test_pictures_that_a_package_lacks_are_named(tmp_path: Path) -> None:
    frames = [(0, 4, [(0, [SNOUT, LEFT, RIGHT])])]
    path = write(tmp_path / "a.pkg.slp", frames, [packed(0)])
    pack(path, 0, {5: Image.new("L", (40, 30))})
    with pytest.raises(HeatpointError, match="frame 4 of video 0 is not among its pictures"):
        read(path, images=tmp_path / "frames")


def test_videos_are_named(tmp_path: Path) -> None:
    frames = [(0, 0, [(0, [SNOUT, LEFT, RIGHT])])]
    video = {"backend": {"type": "MediaVideo", "filename": "mice.mp4"}}
    with pytest.raises(HeatpointError, match=r"in the video 'mice.mp4'; export a labels package"):
        read(write(tmp_path / "labels.slp", frames, [video]))


def test_several_skeletons(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    frames = [(0, 0, [(0, [SNOUT, LEFT, RIGHT]), (0, [SNOUT, LEFT, RIGHT])])]
    both = [skeleton(1, 2, 0), skeleton(0, 1, 2)]
    path = tmp_path / "labels.slp"
    with pytest.raises(HeatpointError, match=r"animals of 2 skeletons \(of 3 and 3 joints\)"):
        read(write(path, frames, [listed("a.png")], skeletons=both, chosen=(0, 1)))
    data = read(write(path, frames, [listed("a.png")], skeletons=both, chosen=(1, 1)))
    assert data.skeleton is not None
    assert data.skeleton.joints == ("ear_r", "snout", "ear_l")


def test_damaged_files(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    path = write(tmp_path / "labels.slp", [(0, 0, [(0, [SNOUT, LEFT, RIGHT])])], [listed("a.png")])
    with h5py.File(path, "a") as file:
        file["instances"][:] = np.array([(0, 0, 0, 0, -1, -1, 0, 0, 2, 0)], INSTANCE)
    with pytest.raises(HeatpointError, match="expected 3 points of an animal, got 2"):
        read(path)
    with h5py.File(path, "a") as file:
        file["metadata"].attrs["json"] = b"{"
    with pytest.raises(HeatpointError, match="skeleton or videos cannot be read"):
        read(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(HeatpointError, match="is no whole HDF5 file"):
        read(path)


def test_hdf5_files_are_told_apart(tmp_path: Path) -> None:
    made = {
        "SLEAP": ("frames", "instances", "metadata"),
        "MPII": ("imgname", "part", "center", "scale", "visible"),
        "DeepLabCut": ("df_with_missing",),
    }
    for kind_, keys in made.items():
        with h5py.File(tmp_path / f"{kind_}.h5", "w") as file:
            for key in keys:
                file[key] = [0]
        assert arrays.kind(tmp_path / f"{kind_}.h5") == kind_
    assert arrays.kind(tmp_path / "labels.json") is None
    with h5py.File(tmp_path / "a.analysis.h5", "w") as file:
        file["tracks"], file["node_names"] = [0], [b"a"]
    with pytest.raises(HeatpointError, match="holds tracks that SLEAP predicted"):
        read(tmp_path / "a.analysis.h5")
