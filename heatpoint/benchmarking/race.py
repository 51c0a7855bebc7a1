"""Starts the process of each contender, lets them take turns, and says what one died of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from heatpoint.benchmarking.contenders import NAIVE, Contender
from heatpoint.benchmarking.report import Result
from heatpoint.benchmarking.worker import Task
from heatpoint.errors import HeatpointError

_PACKAGES = str(Path(__file__).resolve().parents[2])


class Process:
    """The process of one contender, which has run its first picture.

    It is no process of ``multiprocessing``: those import the program that started them first, and
    with it what a contender does without.

    Args:
        task: What it is to run.

    Attributes:
        ready: Seconds from its start until the network could be called.
        first: Seconds from its start until the results of the first picture.

    Raises:
        HeatpointError: It died or cannot do what the task says.
    """

    def __init__(self, task: Task) -> None:
        self._errors = tempfile.TemporaryFile(  # noqa: SIM115  (lives as long as the process)
            "w+", encoding="utf-8", errors="replace"
        )
        known = [path for path in (_PACKAGES, os.environ.get("PYTHONPATH")) if path]
        environment = {"OMP_NUM_THREADS": str(task.threads), "PYTHONPATH": os.pathsep.join(known)}
        start = time.perf_counter()
        # -P: a user's folder may hold a torch.py of its own.
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "heatpoint.benchmarking.worker", json.dumps(asdict(task))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
            env=os.environ | environment,
        )
        try:
            self._hear()
            self.ready = time.perf_counter() - start
            self._hear()
            self.first = time.perf_counter() - start
        except BaseException:
            self.close()
            raise

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Returns the answer to a request of ``worker.answer_to``.

        Raises:
            HeatpointError: The process died or reports a mistake.
        """
        assert self._child.stdin is not None
        with suppress(OSError):  # it is gone; what it said last tells why
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
        return self._hear()

    def close(self) -> None:
        """Ends the process."""
        # What was still to be written has no reader any more.
        with suppress(OSError), self._errors, self._child:
            self._child.kill()

    def _hear(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            status = self._child.wait()
            self._errors.seek(0)
            said = [line.strip() for line in self._errors if line.strip()]
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            last = said[-1] if said else "it said nothing, as when memory runs out"
            raise HeatpointError(f"its process {how}: {last}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise HeatpointError(str(answer["error"]))
        return answer


PER_ROUND = 4
"""Pictures of one contender's turn at most."""

MANY = 32
"""Pictures that throughput is measured on, the given ones over and over."""

_PAUSE = 0.02  # seconds; the threads of the last contender go on spinning for a while


@dataclass
class Race:
    """The processes of the contenders, and what they have measured so far.

    Attributes:
        size: Input (height, width) in pixels.
        threads: Of each contender.
        paths: The pictures.
        device: Where all run.
        tell: Told of progress.
        failed: A sentence by name; grows as contenders die.
        processes: Those alive, in order.
        operations: What the naive contender counted and measured at the end.
    """

    size: tuple[int, int]
    threads: int
    paths: list[str]
    device: str
    tell: Callable[[str, int, int], None]
    failed: dict[str, str]
    processes: dict[Contender, Process] = field(default_factory=dict)
    operations: dict[str, Any] = field(default_factory=dict)
    _results: dict[Contender, Result] = field(default_factory=dict)

    def start(self, files: dict[Contender, Path], starts: int, stack: ExitStack) -> None:
        """Starts the processes one after the other, each as often as said; the last ones stay."""
        for attempt in range(starts):
            for place, (contender, path) in enumerate(files.items()):
                name, done = contender.name, attempt * len(files) + place
                self.tell(f"starting {name}", done, starts * len(files))
                if name in self.failed:
                    continue
                how = (contender.engine, contender.precision, str(path), self.device)
                try:
                    process = Process(Task(*how, self.size, self.threads, self.paths[0]))
                except HeatpointError as error:
                    self.failed[name] = str(error)
                    continue
                best = self._results.setdefault(contender, Result(contender))
                best.ready = min(best.ready, process.ready)
                best.first = min(best.first, process.first)
                if attempt < starts - 1:
                    process.close()
                else:
                    stack.callback(process.close)
                    self.processes[contender] = process
        self._check()

    def run(self, rounds: int) -> None:
        """Gives every contender its turn in every round; each round begins with another one."""
        for turn in range(rounds):
            self.tell("timing", turn, rounds)
            places = range(turn * PER_ROUND, turn * PER_ROUND + min(PER_ROUND, len(self.paths)))
            pictures = [self.paths[place % len(self.paths)] for place in places]
            order = list(self.processes)
            shift = turn % len(order)
            request = {"do": "round", "pictures": pictures}
            for result, answer in self._ask(request, order[shift:] + order[:shift]):
                result.rounds.append(answer["rows"])
        self.tell("timing", rounds, rounds)

    def measure(self, throughput: bool) -> None:
        """Asks for memory, then for what would have changed it: throughput, a processor's peaks."""
        for result, answer in self._ask({"do": "memory"}, list(self.processes)):
            result.memory = answer["memory"]
        if throughput:
            many = [self.paths[place % len(self.paths)] for place in range(MANY)]
            request = {"do": "rates", "pictures": many}
            for result, answer in self._ask(request, list(self.processes), "throughput of"):
                result.rates = answer["rates"]
        if NAIVE in self.processes and self.device == "cpu":
            self.tell("the processor's peak", 0, 1)
            precisions = sorted({contender.precision for contender in self.processes} | {"fp32"})
            request = {"do": "operations", "precisions": precisions}
            for _, answer in self._ask(request, [NAIVE]):
                self.operations = answer

    def results(self) -> list[Result]:
        """Returns what was measured of those who are still alive."""
        results = [self._results[contender] for contender in self.processes]
        peaks = self.operations.get("peaks", {})
        for result in results if peaks else ():
            precision = result.contender.precision
            result.share_of = precision if precision in peaks else "fp32"
            count = self.operations["naive" if result.contender == NAIVE else "network"]
            seconds = result.stages["network"].median
            result.share = count / seconds / peaks[result.share_of]
        return results

    def _ask(
        self, request: dict[str, Any], contenders: Sequence[Contender], title: str = ""
    ) -> Iterator[tuple[Result, dict[str, Any]]]:
        """Asks one after the other, and yields the answers of those who do not die of it.

        Raises:
            HeatpointError: Nobody is left.
        """
        for place, contender in enumerate(contenders):
            if title:
                self.tell(f"{title} {contender.name}", place, len(contenders))
            time.sleep(_PAUSE)
            try:
                answer = self.processes[contender].ask(request)
            except HeatpointError as error:
                self.failed[contender.name] = str(error)
                del self.processes[contender]
            else:
                yield self._results[contender], answer
        self._check()

    def _check(self) -> None:
        """Raises HeatpointError if nobody is left."""
        if not self.processes:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.failed.items())
            raise HeatpointError(f"no contender could run; {reasons}")
