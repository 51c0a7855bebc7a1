"""Processes that load pictures: what stops them, and what a run says when they fail."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import pytest

from heatpoint import plugins
from heatpoint.errors import HeatpointError
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.system.signals import leave_to_parent
from heatpoint.training import loop, train

QUICK: dict[str, Any] = {
    "model": "centernet_tiny",
    "size": 64,
    "epochs": 3,
    "eval_every": 3,
    "batch_size": 2,
    "workers": 1,
    "threads": 1,
    "accelerator": "cpu",
    "pictures": False,
    "precision": "fp32",
}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_shapes(tmp_path_factory.mktemp("shapes"), 7, (80, 64), seed=5))


@pytest.fixture
def signalled(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sends a signal to the loading processes of a run after its second update."""

    def arrange(name: str) -> None:
        real = loop.take_update

        def take(run: loop.Run, batches: Any) -> None:
            real(run, batches)
            if run.position.updates == 2:
                loading = [str(child.pid) for child in active_children()]
                assert loading
                # By another process, as schedulers do it.
                subprocess.run(["kill", f"-{name}", *loading], check=True)
                time.sleep(0.5)

        monkeypatch.setattr(loop, "take_update", take)

    return arrange


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP"])
def test_a_signal_to_all_processes_of_a_run_is_answered_by_the_run_alone(
    name: str,
    shapes: str,
    tmp_path: Path,
    signalled: Callable[[str], None],
    capfd: pytest.CaptureFixture[str],
) -> None:
    signalled(name)
    assert train(shapes, shapes, out=str(tmp_path / "run"), **QUICK).finished
    assert "stopping" not in capfd.readouterr().err


def test_a_loading_process_that_dies_is_one_sentence(
    shapes: str, tmp_path: Path, signalled: Callable[[str], None]
) -> None:
    signalled("KILL")
    with pytest.raises(HeatpointError, match=r"a process that loads pictures has died .*workers"):
        train(shapes, shapes, out=str(tmp_path / "run"), **QUICK)


def wait(ready: Any) -> None:
    leave_to_parent()
    ready.set()
    time.sleep(60)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_helper_ends_when_the_signal_comes_again(start: Any) -> None:
    context = get_context(start)
    ready = context.Event()
    helper = context.Process(target=wait, args=(ready,), daemon=True)
    helper.start()
    assert ready.wait(60)
    subprocess.run(["kill", "-TERM", str(helper.pid)], check=True)
    helper.join(1.5)
    assert helper.is_alive()
    helper.terminate()
    helper.join(30)
    assert helper.exitcode == 0


def test_a_helper_ends_some_time_after_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heatpoint.system.signals._GRACE", 0.5)
    context = get_context("fork")
    ready = context.Event()
    helper = context.Process(target=wait, args=(ready,), daemon=True)
    helper.start()
    assert ready.wait(60)
    helper.terminate()
    helper.join(30)
    assert helper.exitcode == 0


def test_a_mistake_in_a_loading_process_is_one_sentence(
    shapes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "_LOADED", {})
    monkeypatch.setenv(plugins.VARIABLE, "")
    (tmp_path / "own.py").write_text(
        "from dataclasses import replace\n"
        "def other(scene, rng):\n"
        "    is_first = other.first in (None, scene.boxes[0, 0])\n"
        "    other.first = scene.boxes[0, 0]\n"
        "    return scene if is_first else replace(scene, labels=scene.labels + 99)\n"
        "other.first = None\n"
        'AUGMENTATIONS = {"other": other}\n'
    )
    plugins.load(tmp_path / "own.py")
    with pytest.raises(HeatpointError) as caught:
        train(shapes, shapes, out=str(tmp_path / "run"), augment_with="other", **QUICK)
    assert str(caught.value).startswith("augment_with other: its labels must lie in")
