"""Muon: moves matrices of weights by steps of the same length in all of their directions.

Gradients of a convolution are large in few directions and small in most, and Adam, which judges
each number by itself, moves hardly along the small ones. Muon (Jordan et al. 2024) replaces the
averaged gradient by the nearest matrix whose singular values are all 1: the small directions are
learnt as quickly as the large ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
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

LEAST_SIDE = 32
"""Rows up to which matrices are turned in one go on a GPU."""

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
        averages = []
        for weight, gradient, _ in moved:
            weight.grad, state = gradient, self.state[weight]
            if not state:
                state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(gradient)}
            state["step"] += 1  # AdamW expects it of all states that it loads
            averages.append(state["exp_avg"])
        if moved:
            gradients = [gradient for _, gradient, _ in moved]
            torch._foreach_lerp_(averages, gradients, 1 - MOMENTUM)
            ahead = torch._foreach_lerp(gradients, averages, MOMENTUM)
            turned = orthogonal([each.flatten(1) for each in ahead])
            for (weight, _, group), direction in zip(moved, turned, strict=True):
                reach = LENGTH * max(direction.shape) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(direction.view(weight.shape), alpha=group["lr"] * reach)
        return loss


def _is_matrix(weight: Tensor) -> bool:
    """Says no of norms and biases, and of depthwise convolutions, whose rows share no inputs."""
    return weight.ndim > 1 and weight.shape[1] > 1


def orthogonal(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Returns matrices with the same singular vectors, all of whose singular values are near 1.

    The iteration of Newton and Schulz, ``X <- (a I + b G + c G^2) X`` with ``G = X X'``, is run on
    the small square ``G`` alone, for its factors commute: 7 instead of 12 ms for all matrices of
    ``centernet_tiny``, where timm's Muon, in bfloat16, takes 33 (one thread of an Intel Xeon
    without AMX). Squares of one side are turned together, whatever the other sides were.

    Args:
        matrices: (rows, columns) each, float32.
    """
    lying = [each if len(each) <= each.shape[1] else each.mT for each in matrices]
    norms = torch._foreach_norm(lying)
    torch._foreach_clamp_min_(norms, LEAST)
    starts = torch._foreach_div(lying, norms)
    together: defaultdict[int, list[int]] = defaultdict(list)
    for number, start in enumerate(starts):
        together[_side(start)].append(number)
    turned = [*starts]
    for side, numbers in together.items():
        grams = starts[numbers[0]].new_zeros(len(numbers), side, side)
        for gram, number in zip(grams, numbers, strict=True):
            start, rows = starts[number], len(starts[number])
            torch.mm(start, start.mT, out=gram[:rows, :rows])
        for factor, number in zip(_factors(grams), numbers, strict=True):
            rows = len(starts[number])
            turned[number] = factor[:rows, :rows] @ starts[number]
    return [
        each if len(given) <= given.shape[1] else each.mT
        for each, given in zip(turned, matrices, strict=True)
    ]


def _side(start: Tensor) -> int:
    """Returns the side of the square that a matrix is turned in.

    On a GPU, which waits for each call, few large ones: what lies beyond a matrix stays apart.
    """
    rows = len(start)
    return max(LEAST_SIDE, 1 << (rows - 1).bit_length()) if start.is_cuda else rows


def _factors(gram: Tensor) -> Tensor:
    """Returns what each matrix is multiplied by, for ``G`` of each: (N, rows, rows), both."""
    factor = turn = _quintic(gram)
    for _ in range(TURNS - 1):
        gram = turn @ gram @ turn
        turn = _quintic(gram)
        factor = turn @ factor
    return factor


def _quintic(gram: Tensor) -> Tensor:
    """Returns ``a I + b G + c G^2`` of squares (N, rows, rows)."""
    a, b, c = QUINTIC
    value = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    value.diagonal(dim1=1, dim2=2).add_(a)
    return value
