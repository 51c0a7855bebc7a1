"""Muon: moves matrices of weights by steps of the same length in all of their directions.

Gradients of a convolution are large in few directions and small in most, and Adam, which judges
each number by itself, moves hardly along the small ones. Muon (Jordan et al. 2024) replaces the
averaged gradient by the nearest matrix whose singular values are all 1: the small directions are
learnt as quickly as the large ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
"""Share of the past in the average of gradients, as published."""

LENGTH = 0.2
"""Root mean square of a step over the learning rate: about that of AdamW's, so that both have the
same rates and decays (Liu et al. 2025, section 2.2)."""

OPENING, SETTLING = 5.0, 100
"""How many times as long the first step is where new heads begin on a trained trunk, and in how
many updates the difference falls to 1/e. AdamW's first step moves every number by the whole rate,
five times as far as its later ones; without it, heads learn little in a hundred updates."""

TURNS, QUINTIC = 5, (3.4445, -4.7750, 2.0315)
"""Times that ``a s + b s^3 + c s^5`` is applied to all singular values s at once, and a, b, c, as
published: from 0.003 on they end between 0.68 and 1.21."""

LEAST = 1e-7
"""Norm below which a matrix counts as 0 and stays it."""


class Muon(torch.optim.AdamW):
    """Moves matrices of weights by Muon, norms, biases and depthwise convolutions by AdamW.

    A convolution is the matrix of its outputs by all that a window holds. Jordan et al. leave the
    first and the last layer to AdamW, too; here they learn as much either way.

    Args:
        module: What is trained, on its final device.
        rate: Learning rate of both.
        decay: Of weights, never of norms and biases.
        opening: How many times as long Muon's first step is as its late ones.
    """

    def __init__(self, module: nn.Module, rate: float, decay: float, opening: float = 1.0) -> None:
        trained = [each for each in module.parameters() if each.requires_grad]
        single = [each for each in trained if each.ndim > 1 and each.shape[1] == 1]
        matrices = [each for each in trained if each.ndim > 1 and each.shape[1] > 1]
        groups = [
            {"params": single, "weight_decay": decay},
            {"params": [each for each in trained if each.ndim <= 1], "weight_decay": 0.0},
            {"params": matrices, "weight_decay": decay, "opening": opening},
        ]
        fused = trained[0].device.type in ("cpu", "cuda")
        super().__init__(groups, lr=rate, fused=fused)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Moves all parameters that have a gradient; returns what the closure does."""
        *_, group = self.param_groups
        moved = [(weight, weight.grad) for weight in group["params"] if weight.grad is not None]
        for weight, _ in moved:
            weight.grad = None  # AdamW passes over it
        loss = super().step(closure)
        alike: defaultdict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for weight, gradient in moved:
            weight.grad, state = gradient, self.state[weight]
            if not state:
                state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(gradient)}
            state["step"] += 1  # AdamW expects it of all states that it loads
            average = state["exp_avg"].lerp_(gradient, 1 - MOMENTUM)
            ahead = gradient.lerp(average, MOMENTUM).flatten(1)
            alike[tuple(ahead.shape)].append((weight, ahead))
        for (rows, columns), pairs in alike.items():
            turned = orthogonal(torch.stack([ahead for _, ahead in pairs]))
            length = group["lr"] * LENGTH * max(rows, columns) ** 0.5
            for (weight, _), direction in zip(pairs, turned, strict=True):
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                # Tensors of no dimensions: nothing waits for a device.
                fades = torch.exp((1 - self.state[weight]["step"]) / SETTLING)
                far = length * (1 + (group["opening"] - 1) * fades)
                weight.sub_(direction.view(weight.shape) * far)
        return loss


def orthogonal(matrices: Tensor) -> Tensor:
    """Returns matrices with the same singular vectors, all of whose singular values are near 1.

    The iteration of Newton and Schulz, ``X <- (a I + b G + c G^2) X`` with ``G = X X'``, is run on
    the small square ``G`` alone, for its factors commute: 7 instead of 12 ms for all matrices of
    ``centernet_tiny``, where timm's Muon, in bfloat16, takes 33 (one thread of an Intel Xeon
    without AMX).

    Args:
        matrices: (N, rows, columns), float32.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonal(matrices.mT).mT
    norms = torch.linalg.matrix_norm(matrices, keepdim=True).clamp(min=LEAST)
    start: Tensor = matrices / norms
    gram = start @ start.mT
    factor = turn = _quintic(gram)
    for _ in range(TURNS - 1):
        gram = turn @ gram @ turn
        turn = _quintic(gram)
        factor = turn @ factor
    return factor @ start


def _quintic(gram: Tensor) -> Tensor:
    """Returns ``a I + b G + c G^2`` of squares (N, rows, rows)."""
    a, b, c = QUINTIC
    value = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    value.diagonal(dim1=1, dim2=2).add_(a)
    return value
