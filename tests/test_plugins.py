"""Plugins: loaded once, only when named, and in every process that follows."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import heatpoint
from heatpoint import plugins
from heatpoint.cli import main
from heatpoint.errors import HeatpointError

SHAPES = """
from dataclasses import dataclass

LOADS = []
LOADS.append(__name__)


@dataclass(frozen=True)
class Disc:
    radius: float = 3.0


def my_model(names):
    return [Disc(), *names]


MODELS = {"my_model": my_model}
"""


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(plugins.VARIABLE, "")
    monkeypatch.setattr(plugins, "_LOADED", {})
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if name.startswith("heatpoint.plugins."):
            del sys.modules[name]


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    path = tmp_path / "my shapes.py"
    path.write_text(SHAPES)
    return path


def test_a_file_is_loaded_once(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heatpoint.plugin(shapes)
    link = tmp_path / "link.py"
    link.symlink_to(shapes)
    monkeypatch.chdir(tmp_path)
    for name in (link, "my shapes.py", "./my shapes.py"):
        plugins.load(name)
    assert plugins.loaded() == (str(shapes.resolve()),)
    assert list(plugins.models()) == ["my_model"]
    assert len(plugins.models()["my_model"].__globals__["LOADS"]) == 1
    assert plugins.models()["my_model"](["a"])[1:] == ["a"]


def test_a_module_is_loaded_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "module_of_mine.py").write_text(SHAPES)
    monkeypatch.syspath_prepend(tmp_path)
    plugins.load("module_of_mine")
    assert plugins.loaded() == ("module_of_mine",)
    assert plugins.models()["my_model"].__module__ == "module_of_mine"


def test_files_of_one_name_are_two_plugins(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "codec.py").write_text(f"MODELS = {{'of_{folder}': dict}}")
        plugins.load(tmp_path / folder / "codec.py")
    assert list(plugins.models()) == ["of_a", "of_b"]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("x = 1\ny = x / 0\n", "failed in line 2: ZeroDivisionError: division by zero"),
        ("def f(:\n", "failed: SyntaxError: "),
        ("import nothing_of_that_name\n", "failed in line 1: ModuleNotFoundError: No module"),
        ("import sys\nsys.exit(3)\n", "failed in line 2: SystemExit: 3"),
        ("MODELS = ['a']\n", "MODELS must be a dict of names and functions"),
        ("MODELS = {'a': 3}\n", "MODELS must be a dict of names and functions"),
        ("from heatpoint.errors import HeatpointError\nraise HeatpointError('no')\n", "line 2: no"),
    ],
)
def test_a_plugin_that_fails_is_one_sentence(content: str, part: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(content)
    with pytest.raises(HeatpointError) as caught:
        plugins.load(path)
    assert str(caught.value).startswith(f"plugin {path}")
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert plugins.loaded() == ()
    assert os.environ[plugins.VARIABLE] == ""


@pytest.mark.parametrize(
    "name", ["nowhere.py", "some/where", "nomodule", "nomodule.part", "data.txt"]
)
def test_a_plugin_that_is_not_there(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HeatpointError, match=f"there is no plugin {name}: give a Python file"):
        plugins.load(name)


def test_what_is_no_python_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("x")
    with pytest.raises(HeatpointError, match=r"it must be a Python file, name\.py"):
        plugins.load(tmp_path / "data.txt")


def test_two_plugins_cannot_share_a_model(shapes: Path, tmp_path: Path) -> None:
    plugins.load(shapes)
    (tmp_path / "other.py").write_text(SHAPES)
    with pytest.raises(HeatpointError, match="another plugin has a model 'my_model'; rename one"):
        plugins.load(tmp_path / "other.py")
    assert plugins.loaded() == (str(shapes.resolve()),)


def test_every_command_takes_plugins(
    shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.py").write_text("")
    words = ["split", f"--plugin={shapes}", "a.json", "--plugin", str(tmp_path / "other.py")]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--print-config"])
    assert stop.value.code == 0
    assert "plugin" not in capsys.readouterr().out
    assert plugins.loaded() == (str(shapes.resolve()), str((tmp_path / "other.py").resolve()))
    with pytest.raises(SystemExit) as stop:
        main(["split", "a.json", "--plugin"])
    assert stop.value.code == 2


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_plugins_reach_processes_that_follow(method: str, shapes: Path) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    plugins.load(shapes)
    disc = plugins.models()["my_model"]([])[0]
    with multiprocessing.get_context(method).Pool(1) as pool:
        names, back = pool.apply(_there, (disc,))
    assert names == plugins.loaded()
    assert back == disc


def _there(disc: object) -> tuple[tuple[str, ...], object]:
    return plugins.loaded(), disc


def test_pickles_of_plugins_open_in_a_fresh_process(shapes: Path, tmp_path: Path) -> None:
    plugins.load(shapes)
    (tmp_path / "disc").write_bytes(pickle.dumps(plugins.models()["my_model"]([])))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')))"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "disc"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[Disc(radius=3.0)]\n"


def test_a_plugin_may_use_the_package(tmp_path: Path) -> None:
    path = tmp_path / "user.py"
    path.write_text("import heatpoint\nfrom heatpoint import plugins\nX = heatpoint.__version__\n")
    code = f"import heatpoint; heatpoint.plugin({str(path)!r}); print(heatpoint.plugin.__name__)"
    for listed in ("", str(path)):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, plugins.VARIABLE: listed},
        )
        assert done.stdout == "load\n", done.stderr


def test_a_row_of_the_zoo_is_a_model_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.py"
    path.write_text(
        "from heatpoint.zoo.table import TABLE\nMODELS = {'mine': TABLE['centernet_tiny']}\n"
    )
    plugins.load(path)
    assert heatpoint.build("mine", ["a"]).meta["architecture"] == "mine"
