from __future__ import annotations

import time
from pathlib import Path

import pytest

from heatpoint.data.readers.given import Given
from heatpoint.data.readers.yolo import read_yolo
from heatpoint.errors import HeatpointError
from heatpoint.system.files import read_yaml


def read(folder: Path, text: str | bytes) -> object:
    path = folder / "data.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path)


def test_values_stay_what_was_written(tmp_path: Path) -> None:
    text = "names: [on, no, Yes, y, null, ~, 007, 1e3, 12:30, 2001-99-99, true, '', 'a: b']\n"
    names = ["on", "no", "Yes", "y", "null", "~", "007", "1e3", "12:30", "2001-99-99", "true"]
    assert read(tmp_path, text) == {"names": [*names, "", "a: b"]}
    assert read(tmp_path, "path:\nkpt_shape: !!python/tuple [17, 3]\n1: {2: x}\n") == {
        "path": "",
        "kpt_shape": ["17", "3"],
        "1": {"2": "x"},
    }
    assert read(tmp_path, "a: &x [1]\nb: *x\n") == {"a": ["1"], "b": ["1"]}
    assert read(tmp_path, "# nothing\n") == ""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_every_unicode_is_read(tmp_path: Path, encoding: str) -> None:
    assert read(tmp_path, "names: [汽车]\r\n".encode(encoding)) == {"names": ["汽车"]}


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("a: 1\nb: [x", "at line 2|at line 3"),
        ("a: 1\n\tb: 2", "at line 2: "),
        ("a: *x", "at line 1: found undefined alias"),
        ("a: 1\nb: 2\na: 3", "at line 3: the key 'a' stands twice"),
        ("a: &x {b: 1}\nc: {<<: *x}", "at line 2: lists, mappings and '<<' are not taken for keys"),
        ("? [a, b]\n: 1", "at line 1: lists, mappings and"),
        ("a: !!python/object/apply:os.system [x]", "at line 1: the tag 'tag:yaml.org,2002:python"),
        ("a: !mine x", "at line 1: the tag '!mine' is not taken"),
        ("a: &x [*x]", "at line 1: more than 200,000 values or 50 levels"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("a: \x01", "unacceptable character"),
        ("[" * 100_000, "not valid YAML"),
        ("- " * 60, "50 levels"),
        ("- [{a: " * 20_000, "not valid YAML"),
        (b"names:\n  - \xb9\xfb", r"\(byte 11, line 2\), but may be gb18030 .'果'. or"),
        (b"PK\x03\x04\xff\x00", "it holds no text at all"),
        (b"x" * (5 << 20), "has more than 4,194,304 characters"),
    ],
)
def test_what_is_no_plain_yaml_is_one_sentence(
    tmp_path: Path, content: str | bytes, part: str
) -> None:
    start = time.process_time()
    with pytest.raises(HeatpointError, match=part) as caught:
        read(tmp_path, content)
    message = str(caught.value)
    assert "data.yaml" in message
    assert "\n" not in message
    assert len(message) < 500
    assert time.process_time() - start < 2


def test_a_bomb_of_aliases_ends_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20)]
    start = time.process_time()
    with pytest.raises(HeatpointError, match="more than 200,000 values"):
        read(tmp_path, "\n".join(lines))
    assert time.process_time() - start < 2


def test_files_that_cannot_be_read_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    for path, part in (
        (tmp_path, "is a folder, no file; expected a YAML text file"),
        (Path("/dev/null"), "is a device or socket"),
        (loop, "cannot read .*symbolic links"),
        (tmp_path / ("x" * 300), "cannot read 'x*.*File name too long"),
        (tmp_path / "a\0b", "cannot read .*embedded null byte"),
        (tmp_path / "none", "does not exist"),
    ):
        with pytest.raises(HeatpointError, match=part):
            read_yaml(path)
    monkeypatch.setattr("heatpoint.system.files.LARGEST_TEXT", 3)
    with pytest.raises(HeatpointError, match=r"has 4 bytes, .* read whole up to 3; split it"):
        read(tmp_path, "a: 1")


def test_thirty_thousand_classes_are_quick(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    names = [f"class {i}" for i in range(30_000)]
    (tmp_path / "data.yaml").write_text(f"names: [{', '.join(names)}]")
    start = time.process_time()
    assert read_yolo(Given(tmp_path)).names == tuple(names)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("names", ["[[cat, kitten], dog]", "{0: {a: b}}", "cat", "[]", "{1: a}"])
def test_names_of_another_kind_are_refused(tmp_path: Path, names: str) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "data.yaml").write_text(f"names: {names}")
    with pytest.raises(HeatpointError, match=r"'names' to list the classes|names no class"):
        read_yolo(Given(tmp_path))
