"""A run that stops, however it stops, goes on as if it had not."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError
from heatpoint.networks import features
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.training import loop, train
from heatpoint.training.state import load_resume
from heatpoint.zoo.detector import Detector

QUICK = {
    "model": "centernet_tiny",
    "size": 64,
    "epochs": 4,
    "batch_size": 2,
    "workers": 0,
    "threads": 1,
    "accelerator": "cpu",
    "pictures": False,
    "eval_every": 2,
    "mosaic": 0.3,
    "repeat_rare": 0.9,
}
PLAIN = {**QUICK, "mosaic": 0.0, "repeat_rare": 0.0}
TIMED = ("seconds", "images_per_second")

SCRIPT = """
import sys, torch
from heatpoint.training import train
torch.set_num_threads(1)
try:
    train(sys.argv[1], sys.argv[1], out=sys.argv[2], epochs=100000, eval_every=2, batch_size=2,
          model="centernet_tiny", size=64, workers=0, accelerator="cpu", pictures=False)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return str(write_shapes(tmp_path_factory.mktemp("shapes"), 7, (80, 64), seed=5))


@pytest.fixture(scope="module")
def straight(tmp_path_factory, shapes):
    """Returns the folder of a run of four epochs without a stop."""
    out = tmp_path_factory.mktemp("straight")
    train(shapes, shapes, out=str(out), **QUICK)
    return out


def assert_same(one: Path, two: Path) -> None:
    """Asserts that two runs ended in the same state, bit for bit."""
    for name in ("last.safetensors", "best.safetensors"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    first, second = load_resume(one / "resume.pt"), load_resume(two / "resume.pt")
    for state in (first, second):
        for measured in ("seconds", "reserve"):  # by the clock
            state["position"].pop(measured)
        for row in state["position"]["history"]:
            for name in TIMED:
                row.pop(name)
    assert first["position"] == second["position"]
    assert first["ema_updates"] == second["ema_updates"]
    assert_equal(first["network"], second["network"])
    assert_equal(first["ema"], second["ema"])
    assert_equal(first["optimizer"], second["optimizer"])
    assert torch.equal(first["random"], second["random"])


def assert_equal(one, two) -> None:
    if isinstance(one, dict):
        assert one.keys() == two.keys()
        for key in one:
            assert_equal(one[key], two[key])
    elif isinstance(one, list):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_equal(a, b)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, two)
    else:
        assert one == two


def test_two_and_two_epochs_equal_four(shapes, straight, tmp_path):
    first = train(shapes, shapes, out=str(tmp_path), stop_after=2, **QUICK)
    assert (first.epochs, first.finished, first.interrupted) == (2, False, False)
    torch.rand(3)  # another process would have another random state
    second = train(shapes, shapes, out=str(tmp_path), resume=True, **QUICK)
    assert second.finished
    assert_same(straight, tmp_path)


def deliver(number: signal.Signals) -> None:
    """Calls the handler of a signal, as Python does between two instructions once one came.

    Real signals are sent to processes of their own further down: one that also holds half a dozen
    native libraries, as this one may, is not always left alive by them.
    """
    handler = signal.getsignal(number)
    assert callable(handler), handler
    handler(number, None)


@pytest.mark.parametrize("update", [2, 3, 7])
def test_a_signal_within_an_epoch_loses_nothing(shapes, straight, tmp_path, monkeypatch, update):
    real = loop.take_update

    def take(run, batches):
        real(run, batches)
        if run.position.updates == update:
            deliver(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)  # a background job is started with it ignored
    monkeypatch.setattr(loop, "take_update", take)
    with pytest.raises(KeyboardInterrupt):
        train(shapes, shapes, out=str(tmp_path), **QUICK)
    monkeypatch.undo()
    assert load_resume(tmp_path / "resume.pt")["position"]["updates"] == update
    assert signal.getsignal(signal.SIGINT) is before
    train(shapes, shapes, out=str(tmp_path), resume=True, **QUICK)
    assert_same(straight, tmp_path)


@pytest.mark.parametrize("epoch", [2, 4])
def test_a_signal_within_validation_is_made_up_for(shapes, straight, tmp_path, monkeypatch, epoch):
    real = loop.evaluate

    def evaluate(*words, **named):
        calls.append(1)
        if len(calls) == epoch // 2:
            deliver(signal.SIGTERM)
        return real(*words, **named)

    calls: list[int] = []
    monkeypatch.setattr(loop, "evaluate", evaluate)
    with pytest.raises(KeyboardInterrupt):
        train(shapes, shapes, out=str(tmp_path), **QUICK)
    monkeypatch.undo()
    train(shapes, shapes, out=str(tmp_path), resume=True, **QUICK)
    assert_same(straight, tmp_path)


def test_death_between_checkpoint_and_resume_file(shapes, straight, tmp_path, monkeypatch):
    real, calls = loop.save_resume, []

    def die(path, parts):
        calls.append(1)
        if len(calls) == 2:
            raise SystemExit("killed")
        real(path, parts)

    monkeypatch.setattr(loop, "save_resume", die)
    with pytest.raises(SystemExit):
        train(shapes, shapes, out=str(tmp_path), **QUICK)
    monkeypatch.undo()
    assert load_resume(tmp_path / "resume.pt")["position"]["epoch"] == 2
    assert Detector.load(tmp_path / "last.safetensors").meta["trained"]["epochs"] == 4
    train(shapes, shapes, out=str(tmp_path), resume=True, **QUICK)
    assert_same(straight, tmp_path)


def test_resuming_a_finished_run_changes_nothing(shapes, straight):
    before = {path.name: path.read_bytes() for path in straight.glob("*.safetensors")}
    result = train(shapes, shapes, out=str(straight), resume=True, **QUICK)
    assert result.finished
    assert before == {path.name: path.read_bytes() for path in straight.glob("*.safetensors")}


def test_other_options_or_data_are_refused(shapes, straight, tmp_path):
    with pytest.raises(
        HeatpointError, match=r"batch_size was 2 and is 1; lr was 0\.0005 and is 0\.1"
    ):
        train(
            shapes, shapes, out=str(straight), resume=True, **{**QUICK, "batch_size": 1, "lr": 0.1}
        )
    other = str(write_shapes(tmp_path, 7, (80, 64), seed=6))
    with pytest.raises(HeatpointError, match="checksum of the data"):
        train(other, shapes, out=str(straight), resume=True, **QUICK)


def test_a_damaged_resume_file_is_named(shapes, straight, tmp_path):
    whole = (straight / "resume.pt").read_bytes()
    (tmp_path / "resume.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(HeatpointError, match=r"resume\.pt"):
        train(shapes, shapes, out=str(tmp_path), resume=True, **QUICK)


def test_damage_of_every_kind_is_one_sentence(shapes, straight, tmp_path):
    whole, path = (straight / "resume.pt").read_bytes(), tmp_path / "resume.pt"
    choice, refused = np.random.default_rng(0), 0
    pickled = whole.index(b"data.pkl")
    damaged = [whole[: int(n)] for n in choice.integers(0, len(whole), 20)]
    for place in choice.integers(pickled, pickled + 20_000, 60):
        damaged.append(whole[:place] + choice.bytes(2) + whole[place + 2 :])
    for content in damaged:
        path.write_bytes(content)
        try:
            load_resume(path)
        except HeatpointError:  # any other error fails the test
            refused += 1
    assert refused >= 20  # those that are cut off at least


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("position", {}),
        ("position", {"epoch": "1"}),
        ("ema_updates", None),
        ("detector", "{}"),
        ("detector", 3),
        ("network", []),
        ("options", "x"),
        ("random", 1),
    ],
)
def test_a_resume_file_is_validated_whole(straight, tmp_path, name, value):
    state = torch.load(straight / "resume.pt", weights_only=True)
    position = {**state["position"], **value} if value == {"epoch": "1"} else value
    torch.save({**state, name: position if name == "position" else value}, tmp_path / "resume.pt")
    with pytest.raises(HeatpointError, match=r"resume\.pt is( not a resume file| damaged)"):
        load_resume(tmp_path / "resume.pt")
    torch.save({**state, "format": 1}, tmp_path / "resume.pt")
    with pytest.raises(HeatpointError, match=r"has format 1, this version reads 3"):
        load_resume(tmp_path / "resume.pt")
    (tmp_path / "resume.pt").write_bytes(pickle.dumps(["no", "dict"]))
    with pytest.raises(HeatpointError, match="is not a resume file"):
        load_resume(tmp_path / "resume.pt")


def test_the_state_of_another_network_is_refused(shapes, straight, tmp_path):
    state = torch.load(straight / "resume.pt", weights_only=True)
    other = "does not hold the state of this model"
    parts = {"network": other, "ema": "does not fit the architecture", "optimizer": other}
    for part, words in parts.items():
        torch.save({**state, part: {}}, tmp_path / "resume.pt")
        with pytest.raises(HeatpointError, match=words):
            train(shapes, shapes, out=str(tmp_path), resume=True, **QUICK)


def test_resuming_needs_neither_weights_nor_network(shapes, straight, tmp_path, monkeypatch):
    data = read(shapes)
    other = replace(data, names=("new", *data.names[1:]))
    weights = tmp_path / "weights.safetensors"
    shutil.copy(straight / "best.safetensors", weights)
    choice = {**QUICK, "model": "centernet_resnet18", "weights": str(weights), "overlap": 0.5}
    train(other, other, out=str(tmp_path / "a"), **choice)
    train(other, other, out=str(tmp_path / "b"), stop_after=2, **choice)
    weights.unlink()
    train(other, other, out=str(tmp_path / "b"), resume=True, **choice)
    assert_same(tmp_path / "a", tmp_path / "b")
    detector = Detector.load(tmp_path / "b" / "last.safetensors")
    assert detector.names[0] == "new"
    assert detector.codec.overlap == 0.5
    assert detector.meta["architecture"] == "centernet_tiny"


def test_resuming_downloads_no_pretrained_weights(shapes, tmp_path, monkeypatch):
    real, asked = features.create, []

    def create(name: str, pretrained: bool):
        asked.append(pretrained)
        return real(name, False)

    monkeypatch.setattr(features, "create", create)
    choice = {**QUICK, "model": "centernet_mobilenetv2", "pretrained": True, "eval_every": 9}
    train(shapes, shapes, out=str(tmp_path), stop_after=1, **choice)
    train(shapes, shapes, out=str(tmp_path), resume=True, stop_after=2, **choice)
    assert asked == [True, False, False]  # the second time without memory, to compare


def start(shapes: str, out: Path) -> subprocess.Popen[str]:
    """Starts a long run in a process of its own and waits for its first checkpoint."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, shapes, str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    end = time.monotonic() + 90
    while not (out / "resume.pt").exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.05)
    return process


def test_ctrl_c_saves_and_ends_with_130(shapes, tmp_path):
    process = start(shapes, tmp_path)
    process.send_signal(signal.SIGINT)
    text = process.communicate(timeout=60)[0]
    assert process.returncode == 130, text
    assert "interrupted and saved after update" in text
    position = load_resume(tmp_path / "resume.pt")["position"]
    trained = Detector.load(tmp_path / "last.safetensors").meta["trained"]
    assert trained["updates"] == position["updates"]


def test_kill_leaves_files_that_load_and_resume(shapes, tmp_path):
    process = start(shapes, tmp_path)
    for _ in range(3):
        time.sleep(0.4)
        Detector.load(tmp_path / "last.safetensors")
    process.kill()
    process.communicate(timeout=60)
    Detector.load(tmp_path / "last.safetensors")
    epoch = load_resume(tmp_path / "resume.pt")["position"]["epoch"]
    again = {**PLAIN, "epochs": 100000, "resume": True, "stop_after": epoch + 1}
    result = train(shapes, shapes, out=str(tmp_path), **again)
    assert result.epochs == epoch + 1


WINDOWS = {**PLAIN, "window": {32: 1, 64: 3}, "batch_size": 3, "eval_every": 9}


@pytest.fixture(scope="module")
def grown(tmp_path_factory, shapes):
    """Returns the folder of a run whose windows grow within its third epoch."""
    out = tmp_path_factory.mktemp("grown")
    train(shapes, shapes, out=str(out), **WINDOWS)
    return out


@pytest.mark.parametrize("update", [4, 5, 7, 12])
def test_windows_of_several_sizes_go_on_exactly(shapes, grown, tmp_path, monkeypatch, update):
    real, shown = loop.take_update, []

    def take(run, batches):
        real(run, batches)
        shown.append((len(batches[0].indices), *batches[0].images.shape[-2:]))
        if len(shown) == update:
            deliver(signal.SIGINT)

    monkeypatch.setattr(loop, "take_update", take)
    with pytest.raises(KeyboardInterrupt):
        train(shapes, shapes, out=str(tmp_path), **WINDOWS)
    train(shapes, shapes, out=str(tmp_path), resume=True, **WINDOWS)
    assert_same(grown, tmp_path)
    # The first quarter of the work, which the smaller windows are, is more than half of the passes:
    # two epochs of two updates, and three of the seven pictures of the third.
    assert shown == 5 * [(3, 32, 32)] + 11 * [(1, 64, 64)]
    history = load_resume(tmp_path / "resume.pt")["position"]["history"]
    assert [row["window_height"] for row in history] == [32, 32, 64, 64]
    rates = [row["learning_rate"] for row in history]
    assert rates[2] < 0.6 * rates[1]


def test_windows_follow_the_clock_and_never_go_back(shapes, tmp_path, monkeypatch):
    now = [0.0]

    def take(run, batches):
        real(run, batches)
        shown.append(batches[0].images.shape[-1])
        now[0] += 6.0
        if len(shown) == 7:
            deliver(signal.SIGINT)

    monkeypatch.setattr("heatpoint.training.optimize.time.monotonic", lambda: now[0])
    real, shown = loop.take_update, []
    monkeypatch.setattr(loop, "take_update", take)
    chosen = {**WINDOWS, "epochs": None, "window": {32: 2, 64: 1}, "eval_every": 1000}
    with pytest.raises(KeyboardInterrupt):
        train(shapes, shapes, out=str(tmp_path), minutes=0.9, **chosen)
    train(shapes, shapes, out=str(tmp_path), minutes=1.2, resume=True, **chosen)
    # Two thirds of 54 seconds, then what is left of 72, at six seconds an update.
    assert shown == 6 * [32] + 6 * [64]
