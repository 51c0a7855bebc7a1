"""The benchmark: who takes part, that all take turns, and what is told of it."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from heatpoint.benchmarking import contenders, race
from heatpoint.benchmarking.contenders import NAIVE, Contender, choose, choose_for_file
from heatpoint.benchmarking.race import Race
from heatpoint.benchmarking.report import Report, Result, draw_chart, spread
from heatpoint.benchmarking.worker import STAGES, Row, Task
from heatpoint.commands import run
from heatpoint.commands.deployment import Benchmark
from heatpoint.errors import EXIT_MISTAKE, HeatpointError
from heatpoint.inference.engines.description import Description

TORCH, ONNX = Contender("torch", "fp32"), Contender("onnx", "fp32")
ABOUT = Description(names=("thing",), size=(64, 64), multiple=32)


def row(**seconds: float) -> Row:
    return {**dict.fromkeys(STAGES, 0.0), **seconds}


def result(contender: Contender, totals: list[float], **more: Any) -> Result:
    """Returns what was measured of rounds of one picture each, half of the time in the network."""
    rounds = [[row(network=total / 2, finish=total / 2)] for total in totals]
    return Result(contender, 1.0, 2.0, rounds, 2**20, **more)


@pytest.fixture
def everything_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "find_spec", lambda name: name)


def test_asked_for_engines_and_precisions_are_crossed(everything_installed: None) -> None:
    chosen, left_out = choose(["openvino", "torch"], ["fp32", "int8"])
    assert [each.name for each in chosen] == [
        "naive",
        "openvino fp32",
        "openvino int8",
        "torch fp32",
    ]
    assert list(left_out) == ["torch int8"]


@pytest.mark.parametrize(
    ("engines", "precisions", "part"),
    [
        (["onx"], [], "did you mean 'onnx'"),
        ([], ["int9"], "did you mean 'int8'"),
        (["torch", "torch"], [], "twice"),
        (["torch", "onnx"], ["int8"], "openvino, not by torch or onnx"),
    ],
)
def test_wrong_names_are_mistakes(
    everything_installed: None, engines: list[str], precisions: list[str], part: str
) -> None:
    with pytest.raises(HeatpointError, match=part):
        choose(engines, precisions)


def test_a_missing_runtime_is_left_out_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)
    chosen, left_out = choose([], ["fp32"])
    assert chosen == [NAIVE, TORCH]
    assert "pip install 'heatpoint[onnx]'" in left_out["onnx"]
    assert "pip install 'heatpoint[openvino]'" in left_out["openvino"]
    with pytest.raises(HeatpointError, match=r"pip install 'heatpoint\[onnx\]'"):
        choose(["onnx"], [])


def test_an_exported_file_is_run_by_its_engine_in_its_precision() -> None:
    assert choose_for_file(Path("a.onnx"), ABOUT, [], []) == [ONNX]
    both = choose_for_file(Path("a.onnx"), ABOUT, ["onnx", "openvino"], [])
    assert [each.engine for each in both] == ["onnx", "openvino"]
    with pytest.raises(HeatpointError, match="not by torch"):
        choose_for_file(Path("a.xml"), ABOUT, ["torch"], [])
    with pytest.raises(HeatpointError, match="cannot run in bf16"):
        choose_for_file(Path("a.onnx"), ABOUT, [], ["bf16"])
    for precision in ("int8", "fp16"):
        with pytest.raises(HeatpointError, match=f"cannot run in {precision}"):
            choose_for_file(Path("a.xml"), ABOUT, [], [precision])


class Fake:
    """A process that answers at once, and dies of its n-th request.

    Each contender takes a second for each letter of its name, twice as long in odd rounds.
    """

    log: list[str]

    def __init__(self, task: Task) -> None:
        self.name, self.path = Contender(task.engine, task.precision).name, task.path
        self.requests, self.ready, self.first = 0, 3.0, 4.0

    def close(self) -> None:
        self.log.append(f"{self.name} ends")

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self.requests += 1
        if self.path == f"dies at {self.requests}":
            raise HeatpointError("its process was killed by signal 9: out of memory")
        if request["do"] == "round":
            self.log.append(self.name)
            slow = 2 if self.requests % 2 == 0 else 1
            return {"rows": [row(network=slow * len(self.name)) for _ in request["pictures"]]}
        if request["do"] == "memory":
            return {"memory": 5}
        if request["do"] == "rates":
            return {"rates": {"one": float(len(request["pictures"]))}}
        return {"naive": 100, "network": 50, "peaks": {"fp32": 10.0}}


def fake_race(
    monkeypatch: pytest.MonkeyPatch, files: dict[Contender, Path], rounds: int
) -> tuple[Race, list[str]]:
    monkeypatch.setattr(race, "Process", Fake)
    monkeypatch.setattr(Fake, "log", [], raising=False)
    running = Race((64, 64), 1, ["a.jpg", "b.jpg"], "cpu", lambda *_: None, {})
    with ExitStack() as stack:
        running.start(files, 1, stack)
        running.run(rounds)
        running.measure(throughput=True)
    return running, Fake.log


def test_contenders_take_turns_and_each_round_begins_with_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everyone = dict.fromkeys([NAIVE, TORCH, ONNX], Path("fine"))
    running, log = fake_race(monkeypatch, everyone, 3)
    names = [each.name for each in everyone]
    assert log[:9] == [*names, *names[1:], *names[:1], *names[2:], *names[:2]]
    found = running.results()
    assert [each.contender for each in found] == list(everyone)
    assert [len(rows) for rows in found[0].rounds] == [2, 2, 2]  # as many pictures as there are
    # Rounds in which all are slow do not change what is compared within each.
    assert found[1].times_as_fast(found[0]) == spread([0.5] * 3)
    assert found[0].share == 100 / 5 / 10.0
    assert found[1].share == 50 / 10 / 10.0
    assert found[0].rates == {"one": float(race.MANY)}


def test_a_contender_that_dies_is_named_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {NAIVE: Path("fine"), TORCH: Path("dies at 2"), ONNX: Path("fine")}
    running, log = fake_race(monkeypatch, files, 3)
    assert log.count(TORCH.name) == 1
    assert log.count(ONNX.name) == 3
    assert "out of memory" in running.failed[TORCH.name]
    assert [each.contender for each in running.results()] == [NAIVE, ONNX]


def test_the_quickest_of_several_starts_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([9.0, 7.0, 2.0, 8.0])

    class Starting(Fake):
        def __init__(self, task: Task) -> None:
            super().__init__(task)
            self.ready = next(times)
            self.first = self.ready + 1

    monkeypatch.setattr(race, "Process", Starting)
    monkeypatch.setattr(Fake, "log", [], raising=False)
    running = Race((64, 64), 1, ["a.jpg"], "cpu", lambda *_: None, {})
    with ExitStack() as stack:
        running.start(dict.fromkeys([NAIVE, TORCH], Path("fine")), 2, stack)
        assert Fake.log == ["naive ends", "torch fp32 ends"]  # the first ones, in turns
        running.run(1)
        running.measure(throughput=False)
    assert [(each.ready, each.first) for each in running.results()] == [(2.0, 3.0), (7.0, 8.0)]
    assert all(each.rates == {} for each in running.results())


def test_nobody_left_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HeatpointError, match="no contender could run; onnx fp32: its process"):
        fake_race(monkeypatch, {ONNX: Path("dies at 1")}, 3)


def test_medians_ratios_and_the_middle_half() -> None:
    slow, quick = result(NAIVE, [4.0, 8.0, 4.0, 100.0]), result(TORCH, [2.0, 2.0, 1.0, 25.0])
    assert quick.total == (2.0, 1.75, 7.75)
    assert quick.stages["network"].median == 1.0
    assert quick.times_as_fast(slow).median == 4.0
    assert sum(quick.middle.values()) == 2.0  # without the quickest and the slowest


def test_tables_and_chart_of_a_report(tmp_path: Path) -> None:
    protocol = {
        "model": "best.safetensors",
        "architecture": "",
        "size": [64, 96],
        "threads": 1,
        "device": "cpu",
        "processor": "a processor",
        "operations": 2_000_000_000,
        "peaks": {"fp32": 5e10},
    }
    int8 = Contender("openvino", "int8")
    report = Report(
        protocol,
        [
            result(NAIVE, [0.2], rates={"one": 5.0}, share=0.1, share_of="fp32"),
            result(int8, [0.05], rates={"one": 20.0}, share=0.8, share_of="fp32"),
        ],
        {},
        {},
    )
    assert report.totals()[1][1][:4] == ("openvino int8", "50.0", "50.0 - 50.0", "4.00")
    assert report.parts()[1][0] == ("naive", "0.00", "0.00", "0.00", "100", "0.00", "100")
    assert report.throughput()[1][1] == ("openvino int8", "20.0", "-", "-")
    assert report.shares()[1:] == ["  naive: 10%", "  openvino int8: 80%, of the peak in fp32"]
    assert json.loads(json.dumps(report.as_dict()))["contenders"][1]["total"]["median"] == 0.05
    draw_chart(tmp_path / "chart.png", report)
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_a_failed_contender_is_told_and_changes_the_status(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    protocol = {"model": "x", "architecture": "", "size": [64, 64], "threads": 1, "device": "cpu"}
    protocol["processor"] = "y"
    report = Report(protocol, [result(NAIVE, [1.0])], {"onnx": "not here"}, {"torch": "it died"})
    monkeypatch.setattr("heatpoint.benchmarking.benchmark.benchmark", lambda *_, **__: report)
    words = ["x.safetensors", "--out", str(tmp_path)]
    assert run(words, "benchmark", Benchmark) == EXIT_MISTAKE
    said = capsys.readouterr().err
    assert "left out onnx: not here" in said
    assert "torch failed: it died" in said


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--rounds", "0"], "rounds must be at least 1"),
        (["--starts", "0"], "starts must be at least 1"),
        (["--threads", "0"], "threads must be at least 1"),
        (["--images", "nowhere.jpg"], r"nowhere\.jpg does not exist"),
        (["--engine", "torhc"], "did you mean 'torch'"),
        (["--engine", "torch"], r"x\.safetensors"),
    ],
)
def test_mistakes_are_found_before_anything_starts(
    words: list[str], part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HeatpointError, match=part):
        run(["x.safetensors", *words], "benchmark", Benchmark)
