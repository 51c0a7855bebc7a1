"""MATLAB's files are read as SciPy writes them, and damaged ones end in one sentence."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from heatpoint.data.readers.arrays import variables


def written(folder: Path, compressed: bool = False, **content: Any) -> dict[str, Any]:
    savemat(folder / "a.mat", content, do_compression=compressed)
    return dict(variables(folder / "a.mat"))


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_of_every_type_and_shape(tmp_path: Path, compressed: bool) -> None:
    arrays = {
        f"{kind}{sides}": np.arange(sides**3).reshape((sides,) * 3).astype(kind)
        for kind in ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
        for sides in (1, 3)
    }
    read = written(tmp_path, compressed, **arrays, none=np.zeros((0, 2)), flag=True)
    assert list(read) == [*arrays, "none", "flag"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
    assert read["none"].shape == (0, 2)
    assert read["flag"].tolist() == [[1]]


def test_texts_cells_and_structures(tmp_path: Path) -> None:
    rows = np.empty((1, 2), dtype=[("name", object), ("place", object)])
    rows[0, 0], rows[0, 1] = ("a.jpg", np.array([1.5, 2])), ("bäum 汽", np.array([]))
    cells = np.array(["x", np.array([[3]])], object)
    read = written(tmp_path, rows=rows, cells=cells, text="hello")
    assert read["text"] == "hello"
    assert [row["name"] for row in read["rows"]] == ["a.jpg", "bäum 汽"]
    assert read["rows"][0]["place"].tolist() == [[1.5, 2]]
    assert read["rows"][1]["place"].size == 0
    assert (read["cells"][0], read["cells"][1].tolist()) == ("x", [[3]])


def test_the_real_file_is_read_as_by_scipy(shared: Path) -> None:
    path = shared / "data/lspet/joints.mat"
    np.testing.assert_array_equal(dict(variables(path))["joints"], loadmat(path)["joints"])


def test_big_endian(tmp_path: Path) -> None:
    def element(kind: int, data: bytes) -> bytes:
        return struct.pack(">II", kind, len(data)) + data + b"\0" * (-len(data) % 8)

    parts = element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(">ii", 1, 2))
    parts += element(1, b"x") + element(3, struct.pack(">hh", 7, -7))
    (tmp_path / "a.mat").write_bytes(bytes(124) + b"\1\0MI" + element(14, parts))
    assert dict(variables(tmp_path / "a.mat"))["x"].tolist() == [[7, -7]]


def test_every_cut_is_noticed_and_bombs_are_not_inflated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mat"
    written(tmp_path, x=np.arange(6.0), y="text")
    whole = path.read_bytes()
    ends = {len(whole)} | {128}  # a file without variables is whole, too
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        try:
            assert len(dict(variables(path))) < 2
        except ValueError:
            continue
        assert end in ends or whole[end : end + 4] == struct.pack("<I", 14)
    bomb = zlib.compress(bytes(1 << 20))
    path.write_bytes(whole[:128] + struct.pack("<II", 15, len(bomb)) + bomb)
    monkeypatch.setattr("heatpoint.data.readers.arrays.MATLAB_LARGEST", 1 << 16)
    with pytest.raises(ValueError, match="a variable in it has more than 65,536 bytes"):
        dict(variables(path))
