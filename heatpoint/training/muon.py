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
from torch import Tensor

MOMENTUM = 0.95
"""Share of the past in the average of gradients, as published."""

LENGTH = 0.2
"""Root mean square of a step over the learning rate: about that of AdamW's, so that both have the
same rates and decays (Liu et al. 2025, section 2.2)."""

TURNS, QUINTIC = 5, (3.4445, -4.7750, 2.0315)
"""Times that ``a s + b s^3 + c s^5`` is applied to all singular values s at once, and a, b, c, as
published: from 0.003 on they end between 0.68 and 1.21."""

LEAST = 1e-7
"""Norm below which a matrix counts as 0 and stays it."""


class Muon(torch.optim.AdamW):
    """Moves matrices of weights by Muon, norms, biases and depthwise convolutions by AdamW.

    A convolution is the matrix of its outputs by all that a window holds. Jordan et al. leave the
    first and the last layer to AdamW, too; here they learn as much either way. The
    arguments are AdamW's, groups of parameters first.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Moves all parameters that have a gradient; returns what the closure does."""
        moved = [
            (weight, weight.grad, group)
            for group in self.param_groups
            for weight in group["params"]
            if weight.grad is not None and _is_matrix(weight)
        ]
        for weight, _, _ in moved:
            weight.grad = None  # AdamW passes over it
        loss = super().step(closure)
        alike: defaultdict[tuple[int, ...], list[tuple[Tensor, Tensor, Any]]] = defaultdict(list)
        for weight, gradient, group in moved:
            weight.grad, state = gradient, self.state[weight]
            if not state:
                state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(gradient)}
            state["step"] += 1  # AdamW expects it of all states that it loads
            average = state["exp_avg"].lerp_(gradient, 1 - MOMENTUM)
            ahead = gradient.lerp(average, MOMENTUM).flatten(1)
            alike[tuple(ahead.shape)].append((weight, ahead, group))
        for (rows, columns), same in alike.items():
            turned = orthogonal(torch.stack([ahead for _, ahead, _ in same]))
            reach = LENGTH * max(rows, columns) ** 0.5
            for (weight, _, group), direction in zip(same, turned, strict=True):
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(direction.view(weight.shape), alpha=group["lr"] * reach)
        return loss


def _is_matrix(weight: Tensor) -> bool:
    """Says no of norms and biases, and of depthwise convolutions, whose rows share no inputs."""
    return weight.ndim > 1 and weight.shape[1] > 1


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
