"""Corner pooling (Law and Deng 2018, section 3.3): running maxima along one axis of a map."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from heatpoint.errors import check_choice

Direction = Literal["top", "left", "bottom", "right"]

_AXES: dict[Direction, tuple[int, bool]] = {
    "top": (-2, True),
    "left": (-1, True),
    "bottom": (-2, False),
    "right": (-1, False),
}
"""Axis, and whether the scan runs from its end to its beginning."""


def corner_pool(features: Tensor, direction: Direction) -> Tensor:
    """Replaces each value by the maximum of itself and all values that lie behind it.

    A corner of a box often lies where there is nothing to see of the object. "top" looks down
    from each cell and "left" looks right, so that their sum gathers at the top-left corner what
    the upper and the left edge say (equations 6 and 7); "bottom" looks up and "right" looks left.

    The gradient goes to the maximum; of equal values, to the one that the scan reaches first,
    which is the farthest, as in the released C++. While a program is exported or compiled,
    another form takes over, of log2(n) comparisons of the map with its shifted self: the same
    values bit for bit, but equal values share the gradient.

    Args:
        features: (..., h, w), floating.
        direction: Edge or side that is gathered.

    Returns:
        A tensor of the same shape.

    Raises:
        HeatpointError: Unknown direction.
    """
    check_choice("direction", direction, get_args(Direction))
    axis, backwards = _AXES[direction]
    if _is_recorded():
        return _shifted(features, axis, backwards)
    pooled: Tensor = _Scan.apply(features, axis, backwards)
    return pooled


def _is_recorded() -> bool:
    """Returns whether operations are being written down for another runtime."""
    return bool(
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch.onnx.is_in_onnx_export()
    )


def _shifted(features: Tensor, axis: int, backwards: bool) -> Tensor:
    """Returns the running maxima by comparing with the map shifted by 1, 2, 4, ... cells."""
    length, shift = features.shape[axis], 1
    while shift < length:
        behind = features.narrow(axis, shift if backwards else 0, length - shift)
        pad = [0, 0, 0, 0]
        pad[2 * (-1 - axis) + (1 if backwards else 0)] = shift
        moved = functional.pad(behind, pad, value=float("-inf"))
        features = torch.maximum(features, moved)
        shift *= 2
    return features


class _Scan(torch.autograd.Function):
    """Scans line by line: each line of the result is the maximum of one before and the input's."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, axis: int, backwards: bool) -> Tensor:
        flat = features.stride(axis) == 1 and features.shape[axis] > 1
        source = _lines(features, axis, flat)
        pooled = torch.empty_like(source)
        before: Tensor | None = None
        for index in _order(len(source), backwards):
            if before is None:
                pooled[index].copy_(source[index])
            else:
                torch.maximum(before, source[index], out=pooled[index])
            before = pooled[index]
        if ctx.needs_input_grad[0]:
            ctx.axis, ctx.backwards, ctx.flat = axis, backwards, flat
            ctx.save_for_backward(_starts(source, pooled, backwards))
        return _whole(pooled, features, axis, flat)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        (starts,) = ctx.saved_tensors
        given = _lines(outer, ctx.axis, ctx.flat)
        gradient = torch.empty_like(given)
        # A maximum collects the gradients of all places up to where the next one takes over.
        collected = given.new_zeros(given.shape[1:])
        for index in _order(len(given), not ctx.backwards):
            collected += given[index]
            torch.mul(collected, starts[index], out=gradient[index])
            collected -= gradient[index]
        return _whole(gradient, outer, ctx.axis, ctx.flat), None, None


def _order(length: int, backwards: bool) -> range:
    return range(length - 1, -1, -1) if backwards else range(length)


def _lines(values: Tensor, axis: int, flat: bool) -> Tensor:
    """Returns the values with the axis in front, and copied to (n, the rest) where ``flat``.

    Lines that are spread over all of memory, a number here and there, take several times as long
    as lines in one piece; copying them there and back costs less.
    """
    if not flat:
        return values.movedim(axis, 0)
    last = values if axis == -1 else values.transpose(-1, -2)
    return last.reshape(-1, last.shape[-1]).t().contiguous()


def _whole(lines: Tensor, example: Tensor, axis: int, flat: bool) -> Tensor:
    """Returns what ``_lines`` was made from, in the shape and memory layout of the example."""
    if flat:
        shape = example.shape if axis == -1 else example.transpose(-1, -2).shape
        values = lines.t().reshape(shape)
        values = values if axis == -1 else values.transpose(-1, -2)
    else:
        values = lines.movedim(0, axis)
    if values.stride() == example.stride():
        return values
    return torch.empty_like(example).copy_(values)


def _starts(source: Tensor, pooled: Tensor, backwards: bool) -> Tensor:
    """Returns where a new maximum takes over: greater than all that the scan has seen before."""
    starts = torch.ones_like(source, dtype=torch.bool)
    if len(source) > 1:
        here, before = (slice(None, -1), slice(1, None))[:: 1 if backwards else -1]
        torch.gt(source[here], pooled[before], out=starts[here])
    return starts
