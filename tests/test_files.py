"""Files are whole or not there, and what goes wrong is said in a sentence."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from heatpoint.errors import HeatpointError
from heatpoint.system.files import atomic_write, read_json, write_json


def test_json_round_trip(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "a.json", {"ap": 0.5})
    assert read_json(tmp_path / "new" / "a.json") == {"ap": 0.5}
    assert os.listdir(tmp_path / "new") == ["a.json"]


def test_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_json(path, "old")

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(HeatpointError, match=r"a\.json.*No space left on device.*untouched"):
        write_json(path, "new")
    assert read_json(path) == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HeatpointError, match="cannot write"):
        write_json(tmp_path / "file" / "a.json", 1)


def test_an_error_inside_leaves_nothing(tmp_path: Path) -> None:
    def fail_halfway() -> None:
        with atomic_write(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "part"),
    [(b'{"a": [1, 2', "cut off"), (b"\xff\xfe\x00", "not a JSON text"), (None, "does not exist")],
)
def test_unreadable_json_is_explained(tmp_path: Path, content: bytes | None, part: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HeatpointError, match=part):
        read_json(path)
