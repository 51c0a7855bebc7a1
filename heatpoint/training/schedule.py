"""How the learning rate moves between the start and the end of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

FIRST_FACTOR = 0.01
"""Factor of the very first step of a warm-up; nothing would be learnt from a step with factor 0."""


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
        return factor * self._warm(position, step)

    def _warm(self, position: float, step: int) -> float:
        if self.warmup <= 0:
            return 1.0
        over = position if self.warmup < 1 else float(step)
        return min(1.0, max(FIRST_FACTOR, over / self.warmup))
