"""How much of a run is over, in updates and in wall-clock time."""

from __future__ import annotations

import time


class Clock:
    """Measures a run against its number of updates and its time budget.

    Validation and saving count: the time of the longest validation so far is held back from the
    budget, so that the last one ends near the deadline and the learning rate has reached its end
    before it starts. Only a budget shorter than one epoch can overrun, by its first validation.

    Args:
        updates: Updates in the whole run, or None if only time limits it.
        seconds: Budget in seconds, or None if only updates limit it.
        spent: Seconds used by earlier sessions of a resumed run.
    """

    def __init__(self, updates: int | None, seconds: float | None, spent: float = 0.0) -> None:
        self._updates = updates
        self._seconds = seconds
        self._reserve = 0.0
        self._start = time.monotonic() - spent
        self._agreed: float | None = None

    def elapsed(self) -> float:
        """Returns the seconds used so far, those of earlier sessions included."""
        return time.monotonic() - self._start

    def agree(self, elapsed: float) -> None:
        """Lets ``position`` use this time from now on: the one all processes agreed upon."""
        self._agreed = elapsed

    def hold_back(self, seconds: float) -> None:
        """Keeps time for a validation as long as this one was."""
        self._reserve = max(self._reserve, seconds)

    def position(self, updates: int) -> float:
        """Returns the fraction of the run that is over after ``updates``, in [0, 1]."""
        counted = updates / self._updates if self._updates else 0.0
        timed = 0.0
        if self._seconds is not None:
            elapsed = self.elapsed() if self._agreed is None else self._agreed
            timed = elapsed / max(self._seconds - self._reserve, 1e-9)
        return min(1.0, max(counted, timed))

    def remaining(self, updates: int) -> float | None:
        """Returns an estimate of the seconds left, or None before there is anything to go by."""
        position = self.position(updates)
        return self.elapsed() * (1 - position) / position if position > 0 else None
