"""Damaged files of every kind end in one sentence or a right answer, soon and with little memory.

No code of theirs runs and no file outside of their folder is opened.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
pytest.importorskip("openvino", reason="needs the extra 'openvino'")
pytest.importorskip("h5py", reason="needs the extra 'hdf5'")
pytest.importorskip("imagecodecs", reason="needs the extra 'tiff'")

from fuzz_models import MODELS
from fuzz_seeds import SEEDS

WORKER = Path(__file__).with_name("fuzz_worker.py")
PATIENCE = 900.0
"""Seconds for all inputs of a process; one that hangs outside of Python ends with it."""


def tried(folder: Path, ends: dict[str, int]) -> dict[tuple[str, int], str]:
    """Returns what came of the inputs 0 to END of each format.

    An input that ends the process is noted, and another process goes on behind it.
    """
    found: dict[tuple[str, int], str] = {}
    jobs = dict.fromkeys(ends, 0)
    while jobs:
        words = [f"{name}:{first}:{ends[name]}" for name, first in jobs.items()]
        command = [sys.executable, str(WORKER), str(folder), *words]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
            lines, how = (
                ended.stdout,
                f"ended the process: {ended.returncode} {ended.stderr[-500:]}",
            )
        except subprocess.TimeoutExpired as error:
            lines, how = (error.stdout or b"").decode(), "hung"
        said = [json.loads(line) for line in lines.splitlines() if line.endswith("]")]
        assert said, how
        found |= {(name, number): outcome[0] for name, number, *outcome in said if outcome}
        name, number, *outcome = said[-1]
        order = list(jobs)
        jobs = dict.fromkeys(order[order.index(name) + 1 :], 0)
        if not outcome:
            found[name, number] = how
            jobs = {name: number + 1} | jobs
    return found


@pytest.mark.parametrize("inputs", [4, pytest.param(340, marks=pytest.mark.slow)])
def test_damaged_files_are_sentences_or_right_answers(
    tmp_path: Path, inputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    seeds = {name: seed for name, seed in (SEEDS | MODELS).items() if inputs > 4 or not seed.slow}
    ends = {name: max(2, round(inputs * seed.share)) for name, seed in seeds.items()}
    found = tried(tmp_path, ends)
    assert set(found) == {(name, number) for name, end in ends.items() for number in range(end)}
    for name in ends:
        counts = Counter(outcome[:9] for (each, _), outcome in found.items() if each == name)
        print(f"{name:20} {dict(counts)}")
    wrong = {
        key: outcome for key, outcome in found.items() if outcome not in ("answer", "sentence")
    }
    assert not wrong, "\n".join(f"{key}: {outcome[-1500:]}" for key, outcome in wrong.items())
    # Damage that no reader notices, or a reader that takes nothing, would show nothing.
    for kind in ("answer", "sentence"):
        assert sum(outcome == kind for outcome in found.values()) > len(found) / 10
