"""The structure of the package, held to its limits: floors, circles, who knows whom."""

from __future__ import annotations

import ast
import importlib
import re
import tomllib
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from scripts import script

import heatpoint

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "heatpoint"
FLOORS = 8
LINES = 400
SCRIPTS = sorted(path for room in ("benchmarks", "tools") for path in (ROOT / room).glob("*.py"))
OWN = re.compile(r"\b(CenterCodec|CornerCodec|JointCodec)\b")
KNOWING = ("codecs", "zoo", "weights", "__init__.py")


@pytest.fixture(scope="module")
def structure() -> ModuleType:
    return script("tools/structure.py")


def test_no_files_import_each_other(structure: ModuleType) -> None:
    assert structure.circles(structure.imports(structure.modules())) == []


def test_rooms_import_downwards_only(structure: ModuleType) -> None:
    heights = structure.floors(structure.imports(structure.modules()))
    assert min(heights.values()) == 1, [room for room, floor in heights.items() if not floor]
    assert max(heights.values()) <= FLOORS


def test_a_circle_is_found(structure: ModuleType) -> None:
    graph = {"p.a": {"p.b"}, "p.b": {"p.c"}, "p.c": {"p.a"}, "p.d": {"p.a"}}
    assert structure.circles(graph) == [["p.a", "p.b", "p.c"]]


def test_code_lines_are_neither_blank_nor_comment_nor_docstring(structure: ModuleType) -> None:
    words = '"""What it is.\n\nMore.\n"""\n\n# why\nx = 1\n\n\n'
    source = words + 'def f():\n    """Does."""\n    y = 2\n'
    assert structure.code_lines(source) == 3


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_import_what_is_there(path: Path) -> None:
    # Nothing else runs them, so that a name that moved would be missed for months.
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("heatpoint"):
            module = importlib.import_module(str(node.module))
            for name in (each.name for each in node.names):
                missing = not hasattr(module, name)
                assert not missing or find_spec(f"{node.module}.{name}"), f"{node.module}.{name}"


@pytest.mark.parametrize("folder", ["heatpoint", "tests", "benchmarks", "tools"])
def test_no_file_is_long(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= LINES, f"{path.relative_to(ROOT)} has {lines} lines"


def test_codecs_are_known_by_name_where_they_are_made_only() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] not in KNOWING:
            found = OWN.findall(path.read_text(encoding="utf-8"))
            assert not found, f"{path.relative_to(ROOT)} knows {found[0]} by name"


def test_the_version_is_said_once_in_effect() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert heatpoint.__version__ == project["version"]


def test_constraints_name_no_address() -> None:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"(^|\s)(-e|file:|\.\.?/|/)", text)
