"""The benchmark runs: processes, stages, and a naive contender that finds what the others find."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blobs import spot_detector, spot_image
from numpy.typing import NDArray
from ramps import joints_of, ramp_detector, ramp_image

from heatpoint import zoo
from heatpoint.benchmarking.benchmark import benchmark
from heatpoint.benchmarking.contenders import Contender
from heatpoint.benchmarking.race import PER_ROUND, Process
from heatpoint.benchmarking.worker import STAGES, EnginePassage, Laps, NaivePassage, Task
from heatpoint.commands import run
from heatpoint.commands.deployment import Benchmark
from heatpoint.data.draw import write_picture
from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError
from heatpoint.inference import KeepOptions, RunOptions
from heatpoint.inference.engines.engine import Timings
from heatpoint.inference.engines.torch import TorchEngine
from heatpoint.inference.predict import open_runner
from heatpoint.zoo.detector import Detector

ONNX = Contender("onnx", "fp32")


def test_a_process_that_breaks_tells_its_last_line() -> None:
    no_path: Any = 7
    with pytest.raises(HeatpointError, match=r"status 1: TypeError: .*str.* not '?int"):
        Process(Task("onnx", "fp32", no_path, "cpu", (64, 64), 1, "nowhere.jpg"))


def test_worker_imports_no_torch_by_itself() -> None:
    code = (
        "import sys, heatpoint.benchmarking.worker\n"
        "print('HEAVY', sorted({'torch', 'timm', 'matplotlib', 'rich'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "HEAVY []"


@pytest.fixture
def spots(tmp_path: Path) -> Path:
    path = tmp_path / "spots.png"  # each spot in the middle of a cell, so that one cell is best
    write_picture(path, spot_image((96, 128), [(42.0, 42.0), (90.0, 62.0)]))
    return path


def found_by(
    detector: Detector, size: int | tuple[int, int], path: Path, **keep: float
) -> Detections:
    runner = open_runner(detector, RunOptions(size=size), KeepOptions(**keep), 0.0)
    return runner([_pixels(path)])[0]


def test_naive_boxes_are_those_of_the_engine(spots: Path) -> None:
    detector, laps = spot_detector(), Laps()
    found = NaivePassage(detector, (128, 128)).find(str(spots), laps)
    theirs = found[found.scores >= 0.5]
    ours = found_by(detector, 128, spots, score=0.5)
    assert len(ours) == len(theirs) == 2
    assert ours.labels.tolist() == [0, 0]
    first, second = (each[np.argsort(each.boxes[:, 0])] for each in (ours, theirs))
    np.testing.assert_allclose(second.boxes, first.boxes, atol=1e-3)
    np.testing.assert_allclose(second.scores, first.scores, atol=1e-6)
    assert min(laps.row.values()) > 0


def test_naive_joints_are_in_their_place(tmp_path: Path) -> None:
    path, box = tmp_path / "ramp.png", (0.0, 0.0, 120.0, 120.0)
    write_picture(path, ramp_image((120, 120), [box]))
    found = NaivePassage(ramp_detector(), (128, 128)).find(str(path), Laps())
    assert found.keypoints is not None
    assert np.abs(found.keypoints[0, :, :2] - joints_of(box)).max() < 2


def test_naive_corners_are_those_of_the_engine(spots: Path) -> None:
    detector = zoo.build("cornernet_tiny", ["thing"])
    detector.network.eval()
    found = NaivePassage(detector, detector.size).find(str(spots), Laps())
    ours = found_by(detector, detector.size, spots)
    assert len(ours) == len(found)
    np.testing.assert_allclose(found.scores, ours.scores, atol=1e-2)


def _pixels(path: Path) -> NDArray[np.uint8]:
    from heatpoint.data.images import load_image

    return load_image(path)


def test_naive_says_which_picture_it_cannot_decode(tmp_path: Path) -> None:
    path = tmp_path / "words.jpg"
    path.write_text("no picture")
    with pytest.raises(HeatpointError, match=r"cannot decode .*words\.jpg"):
        NaivePassage(spot_detector(), (64, 64))(str(path))


@pytest.mark.parametrize("detector", [spot_detector(), ramp_detector()])
def test_stages_of_an_engine_fill_the_whole(detector: Detector, spots: Path) -> None:
    passage = EnginePassage(TorchEngine(detector, device="cpu", timings=Timings()), (64, 64))
    stages = passage(str(spots))
    assert list(stages) == list(STAGES)
    assert min(stages.values()) > 0
    assert passage.rate([str(spots)] * 3, 2) > 0


def test_an_exported_file_is_timed_alone(tmp_path: Path, spots: Path) -> None:
    pytest.importorskip("onnx", reason="needs the extra 'onnx'")
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    from drawn_graphs import draw_onnx

    path = draw_onnx(tmp_path / "model.onnx")
    options: dict[str, Any] = {"rounds": 2, "starts": 1, "threads": 2, "out": tmp_path}
    report = benchmark(path, images=str(spots), throughput=True, **options)
    assert report.failed == {}
    (one,) = report.results
    assert one.contender == ONNX
    assert [len(rows) for rows in one.rounds] == [1, 1]
    assert one.total.median > 0
    assert 0 < one.ready < one.first
    assert one.memory is None or 2**20 < one.memory < 2**30
    assert set(one.rates) == {"one", "streams", "batch"}
    assert one.share is None
    assert report.shares() == []
    with pytest.raises(HeatpointError, match="next legal size is 96x128"):
        benchmark(path, size=(90, 128), **options)
    spots.write_text("no picture")
    with pytest.raises(HeatpointError, match=r"onnx fp32: .*spots\.png"):
        benchmark(path, images=str(spots), **options)


def test_command_times_a_checkpoint_and_what_is_exported_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shared_graphs: None
) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    from test_export import lively_detector

    lively_detector("centernet_tiny").save(tmp_path / "tiny.safetensors")  # exported elsewhere too
    words = f"--engine onnx --size 64 --rounds 2 --starts 1 --threads 1 --out {tmp_path / 'out'}"
    status = run([str(tmp_path / "tiny.safetensors"), *words.split()], "benchmark", Benchmark)
    shown = capsys.readouterr()
    assert status == 0, shown.err
    report = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    naive, onnx = report["contenders"]
    assert (naive["engine"], onnx["engine"]) == ("naive", "onnx")
    assert naive["times_as_fast_as_first"]["median"] == 1
    assert onnx["share_of_peak"] > 0
    assert len(onnx["by_round"]) == 2
    assert report["protocol"]["pictures"] == 2 * PER_ROUND
    assert report["protocol"]["operations"] > 1e6
    assert (tmp_path / "out" / "benchmark.png").is_file()
    assert (tmp_path / "out" / "model.onnx").is_file()
    assert "onnx fp32" in shown.out
    assert "GFLOP/s in fp32" in shown.out
