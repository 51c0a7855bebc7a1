"""Prediction on clusters of two workers: equal rows, whatever dies meanwhile; all of it is slow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drawn_graphs import BOXES, JOINTS, draw_onnx
from ray_rows import KEPT, draw, of_one_process, told, written

from heatpoint.errors import HeatpointError
from heatpoint.ray import predict
from heatpoint.scale import ScaleOptions
from heatpoint.scale.work import check, start
from heatpoint.views.fields import LABELS, POINTS, SCORES

pytest.importorskip("ray", reason="needs the extra 'ray'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for workers in /proc"),
]

MEBIBYTE = 2**20


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(draw_onnx(tmp_path / "model.onnx"))


@pytest.fixture(scope="class")
def cluster() -> Iterator[None]:
    """A cluster that the program is connected to, which is used as it is."""
    ray = check(ScaleOptions("", []))
    how = {"num_cpus": 2, "include_dashboard": False, "log_to_driver": False}
    start(ray, {**how, "object_store_memory": 128 * MEBIBYTE})
    yield
    ray.shutdown()


def workers_below(process: int) -> list[int]:
    """Returns the workers of the cluster that a process has started."""
    parents, found = dict[int, int](), list[int]()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit():
                state = entry.joinpath("stat").read_text().rpartition(") ")[2].split()
                parents[int(entry.name)] = int(state[1])
                if b"ray::MapWorker" in entry.joinpath("cmdline").read_bytes():
                    found.append(int(entry.name))
        except OSError:
            continue

    def below(one: int) -> bool:
        return one == process or (one in parents and below(parents[one]))

    return [one for one in found if below(one)]


def memory(process: int) -> int:
    """Returns the bytes of memory that a process alone holds."""
    _, resident, shared = Path(f"/proc/{process}/statm").read_text().split()[:3]
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")


KINDS: dict[str, dict[str, Any]] = {
    "boxes": {**KEPT},
    "tiles": {**KEPT, "tiles": (64, 96), "overlap": 0.3},
    "points": {**KEPT, "tiles": (64, 96)},
    "joints": {"score": 0.1},
}


@pytest.mark.usefixtures("cluster")
class TestOnAClusterThatIsThere:
    @pytest.mark.parametrize("kind", KINDS)
    def test_rows_of_every_kind_are_those_of_one_process(self, kind: str, tmp_path: Path) -> None:
        photos, how, columns = draw(tmp_path / "photos", 120), KINDS[kind], 4
        about = {"points": replace(BOXES, answer=(POINTS, SCORES, LABELS)), "joints": JOINTS}
        if kind == "points":
            columns = 2
        if kind == "joints":
            subjects = replace(BOXES, names=("animal", "b", "c"), rows=100)
            how = {**how, "detector": str(draw_onnx(tmp_path / "subjects.onnx", subjects))}
        path = draw_onnx(tmp_path / "model.onnx", about.get(kind, BOXES), columns=columns)
        out = tmp_path / "out"
        done = predict(str(path), str(photos), out=out, part=16, actors=2, **how)
        assert (done.pictures, done.bad) == (120, 1)
        rows = written(out)
        assert len(rows) == done.found > 3
        assert rows == of_one_process(str(path), photos, **how)
        assert [row["image_id"] for row in told(out)] == list(range(120))

    def test_versions_that_differ_are_a_sentence(
        self, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import heatpoint.ray

        job_of = heatpoint.ray.job_of

        def older(*given: Any) -> Any:
            job, files = job_of(*given)
            return replace(job, version="0.0.1"), files

        monkeypatch.setattr(heatpoint.ray, "job_of", older)
        with pytest.raises(HeatpointError, match=r"started by 0\.0\.1; install the same version"):
            predict(model, str(draw(tmp_path / "photos", 8)), out=tmp_path / "out", actors=1)

    def test_a_cluster_without_room_is_a_sentence(self, model: str, tmp_path: Path) -> None:
        photos = str(draw(tmp_path / "photos", 8))
        with pytest.raises(HeatpointError, match="has 2 processor cores and 0 GPUs, too few for"):
            predict(model, photos, out=tmp_path / "out", gpus=1)


def test_a_worker_that_is_killed_changes_nothing(model: str, tmp_path: Path) -> None:
    photos, killed = draw(tmp_path / "photos", 2000), list[int]()
    alone, held = of_one_process(model, photos), list[int]()

    def progress(done: int, total: int) -> None:
        assert total == 2000
        if not killed:
            killed.extend(workers_below(os.getpid())[:1])
            os.kill(killed[0], signal.SIGKILL)
            Path(model).unlink()  # the next worker has it from here
        if done > 500:
            held.append(memory(os.getpid()) + sum(map(memory, workers_below(os.getpid()))))

    out = tmp_path / "out"
    done = predict(model, str(photos), out=out, part=32, actors=2, progress=progress, **KEPT)
    assert killed
    assert (done.pictures, done.bad, done.parts, done.before) == (2000, 1, 63, 0)
    assert written(out) == alone
    third = len(held) // 3
    assert max(held[-third:]) < max(held[:-third]) + 64 * MEBIBYTE


def test_a_driver_that_is_killed_goes_on(model: str, tmp_path: Path) -> None:
    photos, out = draw(tmp_path / "photos", 2000), tmp_path / "out"
    options = [
        "--out",
        str(out),
        "--part",
        "8",
        "--score",
        "0.1",
        "--max-detections",
        "3",
        "--actors",
        "2",
    ]
    words = [sys.executable, "-m", "heatpoint", "predict", model, str(photos), "--ray"]
    first = subprocess.Popen([*words, *options])
    while len(list(out.glob("pictures/part-*"))) < 2 and first.poll() is None:
        time.sleep(0.02)
    first.kill()
    assert first.wait() == -signal.SIGKILL
    there = {file: file.stat().st_mtime_ns for file in out.glob("pictures/part-*")}
    assert 2 <= len(there) < 250
    again = subprocess.run([*words, *options], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert f"{len(there)} parts were there already" in again.stdout
    assert {file: file.stat().st_mtime_ns for file in there} == there
    assert written(out) == of_one_process(model, photos)


def test_a_cluster_that_is_not_there(model: str, tmp_path: Path) -> None:
    photos = draw(tmp_path / "photos", 4)
    with pytest.raises(HeatpointError, match=r"the cluster 127\.0\.0\.1:9 cannot be used"):
        predict(model, str(photos), out=tmp_path / "out", address="127.0.0.1:9")
