"""Files and folders that may not be read are one sentence that says so, in every command."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from heatpoint.cli import main
from heatpoint.data.readers import read
from heatpoint.errors import LONGEST, HeatpointError
from heatpoint.system.files import check_file
from heatpoint.training.state import load_resume


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a folder below which nothing may be read, even by root."""
    folder = tmp_path / "locked"
    folder.mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "b.png")
    for name in ("a.json", "a.safetensors", "a.onnx", "a.pth", "resume.pt", "a.yaml", "a.txt"):
        (folder / name).write_text("x")

    def refusing(real: Any) -> Any:
        def refuses(path: Any, *more: Any, **options: Any) -> Any:
            if isinstance(path, str | Path) and str(path).startswith(str(folder)):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return real(path, *more, **options)

        return refuses

    monkeypatch.setattr(os, "stat", refusing(os.stat))
    monkeypatch.setattr(os, "scandir", refusing(os.scandir))
    monkeypatch.setattr("builtins.open", refusing(open))
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "locked/a.json"],
        ["inspect", "locked/a.txt"],
        ["inspect", "locked"],
        ["predict", "locked/a.safetensors", "b.png"],
        ["convert", "locked/a.pth", "--out", "b.safetensors"],
        ["train", "--config", "locked/a.yaml"],
    ],
)
def test_what_may_not_be_read_is_one_sentence(
    locked: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    named = ("locked", "b.")
    words = [str(locked.parent / word) if word.startswith(named) else word for word in words]
    try:
        status = main(words)
    except SystemExit as stop:
        status = int(str(stop.code))
    said = capsys.readouterr().err
    assert status in (1, 2)
    assert f"heatpoint {words[0]}: " in said
    assert "cannot read" in said
    assert str(locked) in said
    assert "Permission denied" in said
    assert said.count("\n") == (2 if "--config" in words else 1)


def test_functions_say_so_too(locked: Path) -> None:
    for path in (locked / "a.json", locked):
        with pytest.raises(HeatpointError, match=r"cannot read .*locked.*: Permission denied$"):
            read(path)
    with pytest.raises(HeatpointError, match="Permission denied; to resume from it"):
        load_resume(locked / "resume.pt")
    with pytest.raises(HeatpointError, match=r"cannot read .*: Permission denied; ask$"):
        check_file(locked / "a.onnx", "; ask")


def test_names_that_no_system_takes_are_missing_images(tmp_path: Path) -> None:
    name = "x" * 300
    (tmp_path / "a.txt").write_text(f"{name}.jpg 1,2,3,4,0\n")
    data = read(tmp_path / "a.txt")
    assert [record.path.name for record in data.images] == [f"{name}.jpg"]


def test_long_messages_lose_their_middle() -> None:
    text = str(HeatpointError("begin " + "x" * 5000 + " end"))
    assert text.startswith("begin xx")
    assert text.endswith("xx end")
    assert len(text) < LONGEST
    assert str(HeatpointError("short")) == "short"
