"""Two processes, joined by gloo, train to the same weights as one; docs/many-gpus.md says how."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from heatpoint.synthetic.figures import write_figures
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.training.processes import is_cut_off, lost
from heatpoint.training.recipe import FREE_AMONG_PROCESSES, differences
from heatpoint.zoo.detector import Detector

ROOT = Path(__file__).resolve().parent.parent

# Each process has its own batch norm statistics, as in all published systems; with fixed ones one
# and two processes compute the same. Spawned processes import this file, so they are fixed there,
# and each notes what it has seen and learnt.
SCRIPT = """
import sys, torch
from torch import nn
from heatpoint.errors import HeatpointError
from heatpoint.training import loop, train

nn.BatchNorm2d.train = lambda self, mode=True: nn.Module.train(self, False)
torch.set_num_threads(1)
fit, take_update, seen = loop.fit, loop.take_update, []

def noted(run, batches):
    seen.append((run.position.epoch, [index for batch in batches for index in batch.indices]))
    take_update(run, batches)

def fitted(run):
    result = fit(run)
    notes = {"seen": seen, "network": run.network.state_dict(), "ema": run.ema.module.state_dict()}
    torch.save(notes, run.out / f"process{run.fabric.global_rank}.pt")
    return result

loop.take_update, loop.fit = noted, fitted

if __name__ == "__main__":
    data, out, devices, rate, model = sys.argv[1:]
    try:
        result = train(data, data, out=out, devices=int(devices), lr=float(rate), optimizer="sgd",
                       ema=0.0, epochs=2, batch_size=4, accumulate=2, model=model,
                       size=64, workers=0, accelerator="cpu", pictures=False, clip=0.0)
    except HeatpointError as error:
        sys.exit(f"mistake: {error}")
    print("result", result.updates, result.ap)
"""


def start(
    folder: Path,
    data: str,
    devices: int,
    rate: str = "1e-3",
    model: str = "centernet_tiny",
    more: str = "",
    out: str = "",
) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT.replace("epochs=2", f"epochs=2{more}"))
    place = folder / (out or f"{devices}")
    return subprocess.Popen(
        [sys.executable, str(script), data, str(place), str(devices), rate, model],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "model", "updates"),
    [(write_shapes, "centernet_tiny", 4), (write_figures, "pose_tiny", 6)],
)
def test_two_processes_equal_one(tmp_path, write, model, updates):
    data = str(write(tmp_path / "data", 16, (64, 64), seed=2))
    for devices in (1, 2):
        process = start(tmp_path, data, devices, model=model)
        text, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
        assert f"result {updates} " in text
        assert text.count("learning rate") == 1  # only the first process speaks
    one, two = (Detector.load(tmp_path / f"{n}" / "last.safetensors") for n in (1, 2))
    for name, value in one.network.state_dict().items():
        torch.testing.assert_close(
            two.network.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name
        )
    notes = [torch.load(tmp_path / "2" / f"process{rank}.pt") for rank in (0, 1)]
    for part in ("network", "ema"):
        for name, value in notes[0][part].items():
            assert torch.equal(notes[1][part][name], value), f"the processes differ in {name}"
    whole = torch.load(tmp_path / "1" / "process0.pt")["seen"]
    assert [len(images) for _, images in whole] == [8] * updates
    for (epoch, images), *halves in zip(whole, *(each["seen"] for each in notes), strict=True):
        assert {number for number, _ in halves} == {epoch}
        # The pictures of each update are those of one process, each shown once, half and half.
        assert [len(half) for _, half in halves] == [4, 4]
        assert sorted(index for _, half in halves for index in half) == sorted(images)
    rows = [(tmp_path / f"{n}" / "log.csv").read_text().splitlines()[-1] for n in (1, 2)]
    losses = [float(row.split(",")[5]) for row in rows]
    assert abs(losses[0] - losses[1]) < 1e-3 * losses[0]


@pytest.mark.slow
def test_two_processes_go_on_as_if_they_had_never_stopped(tmp_path):
    data = str(write_shapes(tmp_path / "data", 16, (64, 64), seed=2))
    for folder, steps in (("whole", [""]), ("halves", [", stop_after=1", ", resume=True"])):
        (tmp_path / folder).mkdir()
        for more in steps:
            process = start(tmp_path / folder, data, 2, more=more)
            errors = process.communicate(timeout=240)[1]
            assert process.returncode == 0, errors
    for rank in (0, 1):
        whole, halves = (
            torch.load(tmp_path / folder / "2" / f"process{rank}.pt")
            for folder in ("whole", "halves")
        )
        assert whole["seen"][2:] == halves["seen"]
        for part in ("network", "ema"):
            for name, value in whole[part].items():
                assert torch.equal(halves[part][name], value), name


@pytest.mark.slow
def test_more_and_fewer_processes_go_on(tmp_path):
    # 18 pictures are not shared evenly by four processes, nor by updates of 8.
    data = str(write_shapes(tmp_path / "data", 18, (64, 64), seed=2))

    def run(folder: str, devices: int, more: str = "") -> tuple[list, dict]:
        (tmp_path / folder).mkdir(exist_ok=True)
        process = start(tmp_path / folder, data, devices, more=more, out="run")
        errors = process.communicate(timeout=400)[1]
        assert process.returncode == 0, errors
        notes = [torch.load(tmp_path / folder / f"run/process{n}.pt") for n in range(devices)]
        # The batches of an update one after the other, each put together from those of processes.
        order = []
        for update in zip(*(each["seen"] for each in notes), strict=True):
            ranks = torch.tensor([images for _, images in update])
            order += ranks.T.flatten().tolist()
        return order, notes[0]["network"]

    whole, wanted = run("whole", 1)
    assert len(whole) == 32
    first, _ = run("two", 2, ", stop_after=1")
    assert first == whole[:16]
    for devices in (1, 4):
        shutil.copytree(tmp_path / "two", tmp_path / f"on{devices}")
        rest, network = run(f"on{devices}", devices, ", resume=True")
        assert rest == whole[16:]
        for name, value in wanted.items():
            torch.testing.assert_close(network[name], value, rtol=1e-4, atol=1e-5, msg=name)
        logs = [tmp_path / each / "run/log.csv" for each in ("whole", f"on{devices}")]
        rows = [log.read_text().splitlines() for log in logs]
        losses = [[float(row.split(",")[5]) for row in each[1:]] for each in rows]
        assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def agents(
    folder: Path, data: str, more: str = "", rates: tuple[str, str] = ("1e-3", "1e-3")
) -> list[subprocess.Popen[str]]:
    """Starts two agents of torchrun, as on two machines, each with a process of its own."""
    script = folder / "script.py"
    script.write_text(SCRIPT.replace("epochs=2", f"epochs=2{more}"))
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    words = [sys.executable, "-m", "torch.distributed.run"]
    words += ["--nnodes", "2", "--nproc-per-node", "1"]
    words += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "a"]
    words += ["--local-addr", "127.0.0.1"]
    told = [str(script), data, str(folder / "nodes"), "1"]
    there = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    pipe = subprocess.PIPE
    return [
        subprocess.Popen(
            [*words, "--rdzv-conf", f"is_host={host}", *told, rate, "centernet_tiny"],
            stdout=pipe,
            stderr=pipe,
            text=True,
            env=there,
            start_new_session=True,
        )
        for host, rate in zip(("1", "0"), rates, strict=True)
    ]


@pytest.mark.slow
def test_two_agents_of_torchrun_are_two_processes(tmp_path):
    data = str(write_shapes(tmp_path / "data", 16, (64, 64), seed=2))
    both = agents(tmp_path, data)
    for agent in both:
        errors = agent.communicate(timeout=400)[1]
        assert agent.returncode == 0, errors
    (tmp_path / "one").mkdir()
    process = start(tmp_path / "one", data, 2)
    errors = process.communicate(timeout=400)[1]
    assert process.returncode == 0, errors
    for rank in (0, 1):
        notes = [torch.load(tmp_path / f / f"process{rank}.pt") for f in ("nodes", "one/2")]
        assert notes[0]["seen"] == notes[1]["seen"]
        for name, value in notes[1]["network"].items():
            torch.testing.assert_close(notes[0]["network"][name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_machines_with_other_options_are_told_so(tmp_path):
    data = str(write_shapes(tmp_path / "data", 8, (64, 64), seed=2))
    for agent in agents(tmp_path, data, rates=("1e-3", "2e-3")):
        errors = agent.communicate(timeout=400)[1]
        assert agent.returncode != 0
        assert "do not train alike, as the first one does; process 1: lr was 0.00" in errors


@pytest.mark.parametrize("name", ["epochs", "minutes", "eval_every", "patience", "stop_after"])
def test_processes_that_validate_at_other_times_are_not_alike(name):
    one, other = {"lr": 1.0, name: 1}, {"lr": 1.0, name: 2}
    assert not differences(one, other)
    assert differences(one, other, FREE_AMONG_PROCESSES) == [f"{name} was 1 and is 2"]


@pytest.mark.slow
def test_sigterm_to_the_command_stops_its_processes_and_saves(tmp_path):
    data = str(write_shapes(tmp_path / "data", 8, (64, 64), seed=2))
    process = start(tmp_path, data, 2, more="*2500")
    deadline = time.monotonic() + 300
    while not (tmp_path / "2/resume.pt").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=100)
    assert process.returncode != 0
    assert "interrupted and saved after update" in said[0] + said[1]


@pytest.mark.slow
def test_a_lost_node_ends_the_others(tmp_path):
    data = str(write_shapes(tmp_path / "data", 8, (64, 64), seed=2))
    first, second = agents(tmp_path, data, "*2500")
    deadline = time.monotonic() + 300
    while not (tmp_path / "nodes/resume.pt").exists() and time.monotonic() < deadline:
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.5)
    children = Path(f"/proc/{second.pid}/task/{second.pid}/children").read_text().split()
    for process in (second.pid, *map(int, children)):
        os.kill(process, signal.SIGKILL)
    second.communicate()
    errors = first.communicate(timeout=200)[1]
    assert first.returncode != 0
    assert "a process of this run has died, so that the others stopped" in errors


TELLING = """
import os, pathlib, torch

def tell(scene, rng):
    told = pathlib.Path(__file__).parent / f"{os.getpid()}.threads"
    told.write_text(f"{torch.get_num_threads()}")
    return scene

AUGMENTATIONS = {"tell": tell}
"""


@pytest.mark.slow
def test_spawned_processes_know_the_plugin_and_the_number_of_threads(tmp_path):
    data = str(write_shapes(tmp_path / "data", 8, (64, 64), seed=2))
    page = (ROOT / "docs" / "your-own-codec.md").read_text()
    plugin = tmp_path / "discs.py"
    plugin.write_text(re.findall(r"```python\n(# discs\.py\n.*?)```", page, re.DOTALL)[0] + TELLING)
    words = f"train {data} --val {data} --plugin {plugin} --model discs_tiny --devices 2 "
    words += f"--accelerator cpu --strategy ddp_spawn --size 64 --epochs 1 --out {tmp_path / 'run'}"
    command = [sys.executable, "-m", "heatpoint", *words.split(), "--workers", "0"]
    command += ["--threads", "3", "--augment-with", "tell"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "2 x cpu" in done.stdout
    assert [file.read_text() for file in tmp_path.glob("*.threads")] == ["3", "3"]
    with safe_open(tmp_path / "run" / "best.safetensors", "pt") as file:
        assert json.loads(file.metadata()["heatpoint"])["codec"]["class"] == "DiscCodec"


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies_ends_the_run_with_a_sentence(tmp_path, victim):
    data = str(write_shapes(tmp_path / "data", 8, (64, 64), seed=2))
    (tmp_path / "script.py").write_text(SCRIPT.replace("epochs=2", "epochs=5000"))
    words = [sys.executable, str(tmp_path / "script.py"), data, str(tmp_path / "out"), "2", "1e-3"]
    out, pipe = tmp_path / "out" / "resume.pt", subprocess.PIPE
    with subprocess.Popen([*words, "centernet_tiny"], stderr=pipe, text=True) as process:
        while not out.exists() and process.poll() is None:
            time.sleep(0.2)
        tree = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [
            pid for pid in tree if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        os.kill(int(workers[victim]), signal.SIGKILL)
        errors = process.communicate(timeout=100)[1]
    assert process.returncode == 1, errors
    assert "mistake: a process of this run has died" in errors
    assert "Traceback" not in errors
    after_the_start = errors.rpartition("-" * 40)[2].strip()
    assert len(after_the_start.splitlines()) <= 4, errors


def test_what_torch_says_of_a_lost_process_is_cut_short():
    said = (
        "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by peer "
        "[127.0.0.1]:10157. This is typically caused by a remote worker crashing."
    )
    assert is_cut_off(RuntimeError(said))
    assert not is_cut_off(RuntimeError("shapes differ"))
    assert "(Connection closed by peer [127.0.0.1]:10157)" in str(lost(RuntimeError(said)))


@pytest.mark.slow
def test_a_mistake_in_two_processes_is_one_sentence(tmp_path):
    data = str(write_shapes(tmp_path / "data", 16, (64, 64), seed=2))  # two updates an epoch
    process = start(tmp_path, data, 2, rate="1e30")
    errors = process.communicate(timeout=240)[1]
    assert process.returncode == 1, errors
    assert "mistake: the loss is not finite" in errors
    assert "Traceback" not in errors
