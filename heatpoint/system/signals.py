"""How a run and its helpers meet the signals that ask them to stop."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")

_SAME = 1.0
"""Seconds within which SIGTERM that comes again is the same request."""

_GRACE = 30.0
"""Seconds for which a helper works on after SIGTERM."""


class Interrupt:
    """Turns the first Ctrl-C or SIGTERM into a request that the loop reads between two steps.

    A second signal raises ``KeyboardInterrupt`` at once; but SIGTERM within ``_SAME`` seconds is
    the first one again, which ``timeout`` sends to a command and to its group. A terminal that
    hangs up (SIGHUP: its window or its line was closed) asks for the same as often as it likes, for
    shell and system may both say so; nothing is shown there any more. Under ``nohup`` the signal
    stays ignored.

    Signals can only be caught in the main thread; elsewhere the object is inert and
    ``is_requested`` stays False.

    Args:
        quiet: Say nothing; for every process but the first.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._requested = False
        self._since = 0.0
        self._quiet = quiet
        self._may_break = False
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, *_hang_up()):
                self._former[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._former.clear()

    def is_requested(self) -> bool:
        """Tells whether a signal has come."""
        return self._requested

    def breakable(self, work: Callable[[], Result]) -> Result | None:
        """Runs work that a signal may break off; returns None if one did, or had come before.

        A signal that comes between the end of the work and the end of this call counts, too.
        """
        if self.is_requested():
            return None
        try:
            try:
                self._may_break = True
                return work()
            finally:
                self._may_break = False
        except KeyboardInterrupt:
            self._may_break = False
            if not self.is_requested():
                raise
            return None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        is_hang_up = number in _hang_up()
        if is_hang_up:
            _leave_terminal()
        if self._requested:
            again = number == signal.SIGTERM and time.monotonic() - self._since < _SAME
            if is_hang_up or again:
                return
            raise KeyboardInterrupt
        self._requested, self._since = True, time.monotonic()
        if not self._quiet:
            print("\nstopping after this step; once more: without saving", file=sys.stderr)
        if self._may_break:
            raise KeyboardInterrupt


def leave_to_parent() -> None:
    """Lets the signals that ask a run to stop pass by a process that only helps it.

    Ctrl-C, a closed terminal, ``timeout`` and schedulers of clusters signal all processes of a run.
    The run answers by saving, needs what its helpers load until then, and ends them itself. In
    haste it does so by SIGTERM: so that ends a helper when it comes again, or some time later.
    """
    for number in (signal.SIGINT, *_hang_up()):
        signal.signal(number, signal.SIG_IGN)
    asked: list[float] = []

    def handle(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if number != signal.SIGTERM or (asked and now - asked[0] >= _SAME):
            os._exit(0)
        if not asked:
            asked.append(now)
            if hasattr(signal, "setitimer"):
                signal.setitimer(signal.ITIMER_REAL, _GRACE)

    signal.signal(signal.SIGTERM, handle)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, handle)


def _hang_up() -> tuple[int, ...]:
    """Returns the signal of a closed terminal where there is one and nobody ignores it."""
    number = getattr(signal, "SIGHUP", None)
    return () if number is None or signal.getsignal(number) == signal.SIG_IGN else (number,)


def _leave_terminal() -> None:
    """Sends nowhere what would go to a terminal that is gone, where writing fails.

    Such a terminal no longer says that it is one, so every device counts; files and pipes stay.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):  # standard output and error
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(nowhere, descriptor)
    os.close(nowhere)
