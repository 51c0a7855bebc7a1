"""Starts the process of a contender, asks it, and says what it died of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

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
