"""A moving average of the weights: what is validated, saved and used is the average."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Ema:
    """Keeps an exponential moving average of a module's parameters and buffers.

    After update ``t`` (counted from 0) the average moves towards the weights by ``1 - d``, where
    ``d = min(decay, (1 + t) / (10 + t))``: a short run averages over about its last tenth instead
    of clinging to its random start. Integer buffers (batch norm's counter) are copied.

    Args:
        module: The module to follow, on its final device; the average starts as a copy of it.
        decay: Upper bound of ``d`` in [0, 1); 0 keeps no average: the copy equals the weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self._pairs = _pairs(self.module, module)

    def current_decay(self) -> float:
        """Returns ``d`` of the next update."""
        return min(self.decay, (1 + self.updates) / (10 + self.updates))

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the weights the followed module has now."""
        averages, sources, copies = self._pairs
        torch._foreach_lerp_(averages, sources, 1.0 - self.current_decay())
        for average, source in copies:
            average.copy_(source)
        self.updates += 1


def _pairs(
    average: nn.Module, source: nn.Module
) -> tuple[list[Tensor], list[Tensor], list[tuple[Tensor, Tensor]]]:
    """Returns the floating tensors of both modules side by side, and the others in pairs."""
    old, new = average.state_dict(), source.state_dict()
    floating = [name for name, value in new.items() if value.is_floating_point()]
    others = [(old[name], new[name]) for name in new if name not in set(floating)]
    return [old[name] for name in floating], [new[name] for name in floating], others
