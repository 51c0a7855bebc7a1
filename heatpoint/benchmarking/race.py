"""Starts the process of a contender, asks it, and says what it died of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from heatpoint.benchmarking.contenders import NAIVE, Contender
from heatpoint.benchmarking.report import Result, spread
from heatpoint.benchmarking.worker import Row
from heatpoint.errors import HeatpointError

if TYPE_CHECKING:
    from heatpoint.benchmarking.worker import Task


_PACKAGES = str(Path(__file__).resolve().parents[2])


class Process:
    """The process of one contender, which has run its first picture.

    Args:
        name: What messages call it.
        task: What it is to run.

    Attributes:
        ready: Seconds from its start until the network could be called.
        first: Seconds from its start until the results of the first picture.

    Raises:
        HeatpointError: It died or cannot do what the task says.
    """

    def __init__(self, name: str, task: Task) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile(  # noqa: SIM115  (lives as long as the process)
            "w+", encoding="utf-8", errors="replace"
        )
        known = os.environ.get("PYTHONPATH")
        start = time.perf_counter()
        # -P: a user's folder may hold a torch.py of its own.
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "heatpoint.benchmarking.worker", json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
            env=os.environ
            | {
                "OMP_NUM_THREADS": str(task["threads"]),
                "PYTHONPATH": _PACKAGES if not known else f"{_PACKAGES}{os.pathsep}{known}",
            },
        )
        try:
            self._hear()
            self.ready = time.perf_counter() - start
            self._hear()
            self.first = time.perf_counter() - start
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Returns the answer to a request of ``worker.answer_to``.

        Raises:
            HeatpointError: The process died or reports a mistake.
        """
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps(request) + "\n")
            self._child.stdin.flush()
        except OSError:  # it is gone; what it said last tells why
            raise self._died() from None
        return self._hear()

    def close(self) -> None:
        """Ends the process; a second call does nothing."""
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout, self._errors):
            assert stream is not None
            try:
                stream.close()
            except OSError:  # what was to be written has no reader any more
                continue

    def _hear(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise self._died()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise HeatpointError(str(answer["error"]))
        return answer

    def _died(self) -> HeatpointError:
        status = self._child.wait()
        self._errors.seek(0)
        said = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        last = said[-1] if said else "it said nothing, as when memory runs out"
        return HeatpointError(f"its process {how}: {last}")


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
        tell: Told of progress.
        failed: A sentence by name; grows as contenders die.
        processes: Those alive, in order.
        operations: What the naive contender counted and measured at the end.
    """

    size: tuple[int, int]
    threads: int
    paths: list[str]
    tell: Callable[[str, int, int], None]
    failed: dict[str, str]
    processes: dict[Contender, Process] = field(default_factory=dict)
    operations: dict[str, Any] = field(default_factory=dict)
    _started: dict[Contender, list[tuple[float, float]]] = field(default_factory=dict)
    _rounds: dict[Contender, list[list[Row]]] = field(default_factory=dict)
    _memory: dict[Contender, int | None] = field(default_factory=dict)
    _rates: dict[Contender, dict[str, float]] = field(default_factory=dict)

    def start(self, files: dict[Contender, Path], starts: int, stack: ExitStack) -> None:
        """Starts the processes one after the other, each as often as said; the last ones stay."""
        for attempt in range(starts):
            for place, (contender, path) in enumerate(files.items()):
                self.tell(
                    f"starting {contender.name}", attempt * len(files) + place, starts * len(files)
                )
                if contender.name in self.failed:
                    continue
                task: Task = {
                    "engine": contender.engine,
                    "precision": contender.precision,
                    "path": str(path),
                    "size": list(self.size),
                    "threads": self.threads,
                    "picture": self.paths[0],
                }
                try:
                    process = Process(contender.name, task)
                except HeatpointError as error:
                    self.failed[contender.name] = str(error)
                    continue
                times = self._started.setdefault(contender, [])
                times.append((process.ready, process.first))
                if attempt < starts - 1:
                    process.close()
                else:
                    self.processes[contender] = stack.enter_context(process)
        self._check()

    def run(self, rounds: int) -> None:
        """Gives every contender its turn in every round; each round begins with another one."""
        for turn in range(rounds):
            self.tell("timing", turn, rounds)
            first = turn * PER_ROUND
            count = min(PER_ROUND, len(self.paths))
            pictures = [self.paths[(first + i) % len(self.paths)] for i in range(count)]
            order = list(self.processes)
            shift = turn % len(order)
            for contender in order[shift:] + order[:shift]:
                time.sleep(_PAUSE)
                answer = self._ask(contender, {"do": "round", "pictures": pictures})
                if answer is not None:
                    self._rounds.setdefault(contender, []).append(answer["rows"])
            self._check()
        self.tell("timing", rounds, rounds)

    def measure(self, throughput: bool) -> None:
        """Asks for memory, then for what would have changed it: throughput, and the peaks."""
        for contender in list(self.processes):
            answer = self._ask(contender, {"do": "memory"})
            if answer is not None:
                self._memory[contender] = answer["memory"]
        if throughput:
            many = [self.paths[i % len(self.paths)] for i in range(MANY)]
            for place, contender in enumerate(list(self.processes)):
                self.tell(f"throughput of {contender.name}", place, len(self.processes))
                answer = self._ask(contender, {"do": "rates", "pictures": many})
                if answer is not None:
                    self._rates[contender] = answer["rates"]
        if NAIVE in self.processes:
            self.tell("the processor's peak", 0, 1)
            precisions = sorted({contender.precision for contender in self.processes} | {"fp32"})
            answer = self._ask(NAIVE, {"do": "operations", "precisions": precisions})
            self.operations = answer or {}
        self._check()

    def results(self) -> list[Result]:
        """Returns what was measured of those who are still alive."""
        found = []
        for contender in self.processes:
            ready, first = (min(times) for times in zip(*self._started[contender], strict=True))
            share, share_of = self._share(contender)
            found.append(
                Result(
                    contender,
                    ready,
                    first,
                    self._rounds[contender],
                    self._memory[contender],
                    self._rates.get(contender, {}),
                    share,
                    share_of,
                )
            )
        return found

    def _share(self, contender: Contender) -> tuple[float | None, str]:
        if not self.operations:
            return None, ""
        peaks = self.operations["peaks"]
        which = contender.precision if contender.precision in peaks else "fp32"
        rows = [row for rows in self._rounds[contender] for row in rows]
        seconds = spread([row["network"] for row in rows]).median
        count = self.operations["naive" if contender == NAIVE else "network"]
        return count / seconds / peaks[which], which

    def _ask(self, contender: Contender, request: dict[str, Any]) -> dict[str, Any] | None:
        """Returns the answer, or None if the contender died of the request."""
        try:
            return self.processes[contender].ask(request)
        except HeatpointError as error:
            self.failed[contender.name] = str(error)
            del self.processes[contender]
            return None

    def _check(self) -> None:
        """Raises HeatpointError if nobody is left."""
        if not self.processes:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.failed.items())
            raise HeatpointError(f"no contender could run; {reasons}")
