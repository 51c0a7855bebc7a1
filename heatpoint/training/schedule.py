"""How much of a run is over, and by what the learning rate is multiplied there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

FIRST_FACTOR = 0.01
"""Factor of the very first step of a warm-up; nothing would be learnt from a step with factor 0."""


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

    def hold_back(self, seconds: float) -> None:
        """Keeps time for a validation as long as this one was."""
        self._reserve = max(self._reserve, seconds)

    def agree(self, share: Callable[[tuple[float, float]], tuple[float, float]]) -> None:
        """Lets ``position`` use the same times in all processes from now on, until asked again.

        Args:
            share: Returns the first process's pair in all of them.
        """
        self._agreed, self._reserve = share((self.elapsed(), self._reserve))

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


@dataclass(frozen=True)
class Schedule:
    """Says by what the learning rate is multiplied; a pure function of the position.

    The position is the fraction of the run that is over, in steps or in time, whichever is
    further, so that a run cut by a time budget ends where the schedule ends.

    Attributes:
        kind: "cosine" falls from 1 to 0 along half a cosine; "steps" divides by ten at every
            milestone (the published recipes: 90 and 120 of 140 epochs).
        milestones: Ascending fractions of the run in (0, 1), for "steps".
        warmup: Below 1 the fraction of the run, from 1 on the number of steps over which the
            factor rises linearly; 0 for none.
    """

    kind: Literal["cosine", "steps"] = "cosine"
    milestones: Sequence[float] = ()
    warmup: float = 0.0

    def factor(self, position: float, step: int) -> float:
        """Returns the factor in [0, 1] for a step.

        Args:
            position: Fraction of the run that is over, in [0, 1].
            step: Number of optimiser steps taken so far.
        """
        position = min(max(position, 0.0), 1.0)
        if self.kind == "cosine":
            factor = 0.5 * (1.0 + math.cos(math.pi * position))
        else:
            factor = 0.1 ** sum(position >= milestone for milestone in self.milestones)
        if self.warmup <= 0:
            return factor
        over = position if self.warmup < 1 else float(step)
        return factor * min(1.0, max(FIRST_FACTOR, over / self.warmup))
