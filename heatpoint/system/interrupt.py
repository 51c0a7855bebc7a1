"""Ctrl-C and SIGTERM end long work in order: what is under way is finished and saved."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TypeVar

Result = TypeVar("Result")


class Interrupt:
    """Turns the first Ctrl-C or SIGTERM into a request that the loop reads between two steps.

    A second signal raises ``KeyboardInterrupt`` at once. Signals can only be caught in the main
    thread; elsewhere the object is inert and ``is_requested`` stays False.

    Args:
        quiet: Say nothing; for every process but the first.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._requested = False
        self._quiet = quiet
        self._may_break = False
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._former[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
        if self._requested:
            raise KeyboardInterrupt
        self._requested = True
        if not self._quiet:
            print("\nstopping after this step; once more: without saving", file=sys.stderr)
        if self._may_break:
            raise KeyboardInterrupt
