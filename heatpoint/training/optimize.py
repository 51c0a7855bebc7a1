"""How weights move: clock and learning rate, optimiser, frozen layers, moving average."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from heatpoint.errors import HeatpointError
from heatpoint.networks import Backbone
from heatpoint.training.muon import Muon

FIRST_FACTOR = 0.01
"""Factor of the very first step of a warm-up; nothing would be learnt from a step with factor 0."""


COOLING = 0.6
"""Fraction of a run from which on the schedule "cooldown" lowers the learning rate."""


class Clock:
    """Measures a run against its number of passes over the data and its time budget.

    Validation and saving count: the time of the longest validation so far is held back from the
    budget, so that the last one ends near the deadline and the learning rate has reached its end
    before it starts. Only a budget shorter than one epoch can overrun, by its first validation.

    Args:
        epochs: Passes in the whole run, or None if only time limits it.
        seconds: Budget in seconds, or None if only passes limit it.
        spent: Seconds used by earlier sessions of a resumed run.
        pace: Ascending fractions of the passes, and those of the run that are over by then.
    """

    def __init__(
        self,
        epochs: int | None,
        seconds: float | None,
        spent: float = 0.0,
        pace: tuple[Sequence[float], Sequence[float]] = ((0, 1), (0, 1)),
    ) -> None:
        self._epochs, self._seconds, self._reserve, self._pace = epochs, seconds, 0.0, pace
        self._start = time.monotonic() - spent
        self._agreed: float | None = None

    def elapsed(self) -> float:
        """Returns the seconds used so far, those of earlier sessions included."""
        return time.monotonic() - self._start

    def hold_back(self, seconds: float) -> float:
        """Keeps time for a validation as long as this one was, and returns how much is kept."""
        self._reserve = max(self._reserve, seconds)
        return self._reserve

    def has_room(self) -> bool:
        """Tells whether a validation ends before the last one has to begin.

        One that does not would take the time in which the learning rate comes to its end.
        """
        if self._seconds is None:
            return True
        return self._now() + 2 * self._reserve < self._seconds

    def agree(self, share: Callable[[tuple[float, float]], tuple[float, float]]) -> None:
        """Lets all processes go by the same times from now on, until asked again.

        That is for what they decide by; ``elapsed`` stays the own time of each.

        Args:
            share: Returns the first process's pair in all of them.
        """
        self._agreed, self._reserve = share((self.elapsed(), self._reserve))

    def counted(self, passes: float) -> float:
        """Returns the fraction of the run that is over after so many passes; 0 if none is set."""
        return float(np.interp(passes / self._epochs, *self._pace)) if self._epochs else 0.0

    def position(self, passes: float) -> float:
        """Returns the fraction of the run that is over after so many passes, in [0, 1]."""
        timed = 0.0
        if self._seconds is not None:
            timed = self._now() / max(self._seconds - self._reserve, 1e-9)
        return min(1.0, max(self.counted(passes), timed))

    def _now(self) -> float:
        return self.elapsed() if self._agreed is None else self._agreed

    def remaining(self, passes: float) -> float | None:
        """Returns an estimate of the seconds left, or None before there is anything to go by."""
        position = self.position(passes)
        return self.elapsed() * (1 - position) / position if position > 0 else None


@dataclass(frozen=True)
class Schedule:
    """Says by what the learning rate is multiplied; a pure function of the position.

    The position is the fraction of the run that is over, in steps or in time, whichever is
    further, so that a run cut by a time budget ends where the schedule ends.

    Attributes:
        kind: "cooldown" stays at 1 for ``COOLING`` of the run, then falls straight to 0
            (Hägele et al. 2024); "cosine" falls from 1 to 0 along half a cosine; "steps" divides by
            ten at every milestone (the published recipes: 90 and 120 of 140 epochs).
        milestones: Ascending fractions of the run in (0, 1), for "steps".
        warmup: Below 1 the fraction of the run, from 1 on the number of steps over which the
            factor rises linearly; 0 for none.
    """

    kind: Literal["cooldown", "cosine", "steps"] = "cooldown"
    milestones: Sequence[float] = ()
    warmup: float = 0.0

    def factor(self, position: float, step: int) -> float:
        """Returns the factor in [0, 1] for a step.

        Args:
            position: Fraction of the run that is over, in [0, 1].
            step: Number of optimiser steps taken so far.
        """
        if self.kind == "cooldown":
            factor = min(1.0, (1.0 - position) / (1.0 - COOLING))
        elif self.kind == "cosine":
            factor = 0.5 * (1.0 + math.cos(math.pi * position))
        else:
            factor = 0.1 ** sum(position >= milestone for milestone in self.milestones)
        if self.warmup <= 0:
            return factor
        over = position if self.warmup < 1 else float(step)
        return factor * min(1.0, max(FIRST_FACTOR, over / self.warmup))


Name = Literal["muon", "adamw", "adam", "sgd"]

DECAY: Mapping[str, float] = {"muon": 0.01, "adamw": 0.01, "adam": 0.0, "sgd": 1e-4}


def rate_factor(name: Name, more: float) -> float:
    """Returns by what the learning rate grows where an update has ``more`` times as many images.

    The Adam family divides the gradient by its own size, for which the square root keeps the noise
    of an update constant (Malladi et al. 2022); plain SGD follows the linear rule (Goyal et al.
    2017, section 2.1).
    """
    return more if name == "sgd" else more**0.5


def parameter_groups(module: nn.Module, decay: float) -> list[dict[str, object]]:
    """Returns two groups of trainable parameters: weights that decay, norms and biases that do not.

    Whatever has at most one dimension is a bias, or scale or shift of a norm.
    """
    trainable = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]


def build_optimizer(
    module: nn.Module, name: Name, rate: float, decay: float | None = None
) -> torch.optim.Optimizer:
    """Returns the optimiser; one fused kernel per update where the device has it.

    Args:
        module: What is trained, on its final device.
        name: Of the optimiser.
        rate: Learning rate.
        decay: Of weights; None for the usual one.
    """
    decay = DECAY[name] if decay is None else decay
    groups = parameter_groups(module, decay)
    fused = next(module.parameters()).device.type in ("cpu", "cuda")
    if name == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, fused=fused)
    kinds = {"muon": Muon, "adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
    optimizer: torch.optim.Optimizer = kinds[name](groups, lr=rate, fused=fused)
    return optimizer


def freeze(backbone: Backbone, stride: int) -> list[nn.Module]:
    """Stops training all that the feature map of ``stride`` is computed from.

    The first layers see the most pixels, so leaving them out of the backward pass saves much of an
    update's time, and ImageNet's edges and textures suit most data. With the coarsest stride the
    whole backbone stays as it is, and no backward pass runs in it.

    Args:
        backbone: In its final place; its parameters are changed.
        stride: Input pixels per cell of the last feature map that stays as it is.

    Returns:
        The norms with frozen parameters: whoever puts the network into training mode must put
        them back into evaluation mode, or their statistics would drift.

    Raises:
        HeatpointError: The backbone has no feature map of that stride.
    """
    parameters = list(backbone.parameters())
    training = backbone.training
    backbone.eval()
    side = 2 * backbone.multiple - backbone.trim
    images = torch.zeros(1, len(backbone.mean), side, side, device=parameters[0].device)
    maps = {backbone.strides[-1]: backbone(images)[-1], **backbone.inner(images)}
    backbone.train(training)
    if stride not in maps:
        known = ", ".join(str(each) for each in sorted(maps))
        raise HeatpointError(f"freeze is a stride of the backbone ({known}), not {stride}")
    used = torch.autograd.grad(maps[stride].sum(), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, used, strict=True):
        if gradient is not None:
            parameter.requires_grad_(False)
    norms = [module for module in backbone.modules() if hasattr(module, "running_mean")]
    return [n for n in norms if not any(p.requires_grad for p in n.parameters(recurse=False))]


class Ema:
    """Keeps an exponential moving average of a module's parameters and buffers.

    After update ``t`` (counted from 0) the average moves towards the weights by ``1 - d``, where
    ``d = min(decay, (1 + t) / (10 + t))``: a short run averages over about its last tenth instead
    of clinging to its random start. Integer buffers (batch norm's counter) are copied.

    timm's ``ModelEmaV3`` can do the same, torch's ``AveragedModel`` cannot (it averages counters
    and has no warm-up). Both gather the tensors anew at each update: 3.4 and 7.2 ms instead of
    0.9 for ``centernet_tiny``.

    Args:
        module: The module to follow, on its final device; the average starts as a copy of it.
        decay: Upper bound of ``d`` in [0, 1); 0 keeps no average: the copy equals the weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        old, new = self.module.state_dict(), module.state_dict()
        floating = [name for name, value in new.items() if value.is_floating_point()]
        self._averages = [old[name] for name in floating]
        self._sources = [new[name] for name in floating]
        self._copies = [(old[name], new[name]) for name in new.keys() - set(floating)]

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the weights the followed module has now."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(self._averages, self._sources, 1.0 - decay)
        for average, source in self._copies:
            average.copy_(source)
        self.updates += 1
