"""Corner pooling (Law and Deng 2018, section 3.3), and the branches of heads that gather by it.

Pooling is a running maximum along one axis of a map; branches are of corners, cascades, centres.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from heatpoint.errors import check_choice
from heatpoint.networks import convolution

Direction = Literal["top", "left", "bottom", "right"]

CACHED = 1 << 19
"""Numbers that are scanned together, so that they stay in the processor's cache."""

_LONGEST = ContextVar("_LONGEST", default=16384)
"""Most lines that an exported program can pool: 65536 pixels at stride 4, more than files have."""


@contextmanager
def at_most(lines: int) -> Iterator[None]:
    """Lets exported programs pool maps of up to so many lines, with fewer comparisons."""
    token = _LONGEST.set(lines)
    try:
        yield
    finally:
        _LONGEST.reset(token)


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
    down, backwards = direction in ("top", "bottom"), direction in ("top", "left")
    lines = features if down else features.transpose(-1, -2)
    scan = _shifted if torch.compiler.is_compiling() else _Scan.apply
    pooled: Tensor = scan(lines, backwards)
    return pooled if down else pooled.transpose(-1, -2)


def line_pool(features: Tensor, direction: Direction) -> Tensor:
    """Returns the maximum of each whole line: what is left by a direction and then its opposite.

    So centre pooling takes one scan instead of two (Duan et al. 2019, section 3.3), and none where
    no gradient is wanted. The gradient goes where ``corner_pool`` has it go; while a program is
    exported or compiled, equal values share it.

    Args:
        features: (..., h, w), floating.
        direction: "top" or "bottom" for columns, "left" or "right" for rows; of equal values, the
            farthest gets the gradient.

    Returns:
        (..., 1, w) for columns and (..., h, 1) for rows.

    Raises:
        HeatpointError: Unknown direction.
    """
    check_choice("direction", direction, get_args(Direction))
    axis = -2 if direction in ("top", "bottom") else -1
    wanted = features.requires_grad and torch.is_grad_enabled()
    if torch.compiler.is_compiling() or not wanted:
        return features.amax(axis, keepdim=True)
    pooled = corner_pool(features, direction)
    return pooled.narrow(axis, 0 if direction in ("top", "left") else pooled.shape[axis] - 1, 1)


def _shifted(whole: Tensor, backwards: bool) -> Tensor:
    """Returns the running maxima of lines (..., n, m), comparing with them 1, 2, 4, ... lines off.

    What would come from beyond the border comes from the first line of the scan instead, which
    every maximum includes. A shift beyond the border then changes nothing, so that one written
    form can serve maps of any length up to ``_LONGEST``.
    """
    # Whole lines are moved, since runtimes copy single numbers many times more slowly. With three
    # axes there is one layout in memory: OpenVINO turns four to channels-last and back each time.
    length, across = whole.shape[-2:]
    lines = whole.reshape(-1, length, across)
    place = torch.arange(length, device=whole.device)
    shift, end = 1, _LONGEST.get() if torch.compiler.is_exporting() else length
    while shift < end:
        if backwards:
            source = torch.minimum(place + shift, place[-1:])
        else:
            source = torch.maximum(place - shift, place[:1])
        lines = torch.maximum(lines, lines.index_select(-2, source))
        shift *= 2
    return lines.reshape(whole.shape)


class _Scan(torch.autograd.Function):
    """Scans (..., n, m): each line of the result is the maximum of the one before and the input's.

    Where a line would be numbers here and there in memory, the values are taken as rows that lie
    in one piece each, and scanned along them. GPUs, which wait for each call, compare whole maps
    instead, and a few times.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, backwards: bool) -> Tensor:
        # Whether neighbours of a column are so in memory, which is a matter of processors.
        flat = features.stride(-2) == 1 and features.shape[-2] > 1
        flat = flat and features.device.type == "cpu" and not _at_once(features)
        source = _arranged(features, flat)
        lines = _double_lines if _at_once(features) else _scan_lines
        pooled = (_scan_rows if flat else lines)(source, backwards)
        if ctx.needs_input_grad[0]:
            ctx.backwards, ctx.flat = backwards, flat
            ctx.save_for_backward(_starts(source, pooled, -1 if flat else 0, backwards))
        return _whole(pooled, features, flat)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None]:
        (starts,) = ctx.saved_tensors
        lines = _collect_at_once if _at_once(outer) else _collect_lines
        collect = _collect_rows if ctx.flat else lines
        gradient = collect(_arranged(outer, ctx.flat), starts, ctx.backwards)
        return _whole(gradient, outer, ctx.flat), None


def _at_once(values: Tensor) -> bool:
    """Returns whether few calls on whole maps are quicker than many on their lines."""
    return values.is_cuda


def _arranged(values: Tensor, flat: bool) -> Tensor:
    """Returns values (..., n, m) as rows (the rest, n) or as lines (n, the rest ...)."""
    if flat:
        return values.transpose(-1, -2).reshape(-1, values.shape[-2])
    return values.movedim(-2, 0)


def _whole(values: Tensor, example: Tensor, flat: bool) -> Tensor:
    """Returns rows or lines in the shape and memory layout of the example."""
    if flat:
        values = values.reshape(example.transpose(-1, -2).shape).transpose(-1, -2)
    else:
        values = values.movedim(0, -2)
    same = values.stride() == example.stride()
    return values if same else torch.empty_like(example).copy_(values)


def _scan_lines(source: Tensor, backwards: bool) -> Tensor:
    """Returns the running maxima along the first axis."""
    pooled = torch.empty_like(source)
    before: Tensor | None = None
    for index in _order(len(source), backwards):
        if before is None:
            pooled[index].copy_(source[index])
        else:
            torch.maximum(before, source[index], out=pooled[index])
        before = pooled[index]
    return pooled


def _double_lines(source: Tensor, backwards: bool) -> Tensor:
    """Returns the running maxima along the first axis, by comparing with lines 1, 2, 4, ... off."""
    pooled, length, shift = source, len(source), 1
    while shift < length:
        last = length - shift
        start, behind, rest = (0, shift, last) if backwards else (shift, 0, 0)
        wider = torch.empty_like(pooled)
        out = wider.narrow(0, start, last)
        torch.maximum(pooled.narrow(0, start, last), pooled.narrow(0, behind, last), out=out)
        wider.narrow(0, rest, shift).copy_(pooled.narrow(0, rest, shift))
        pooled, shift = wider, 2 * shift
    return pooled if length > 1 else source.clone()


def _scan_rows(source: Tensor, backwards: bool) -> Tensor:
    """Returns the running maxima of rows (m, n), by comparing with shifts of 1, 2, 4, ... cells.

    Rows go through in pieces that stay in the processor's cache. Minus infinities beside them
    save the comparison at the row's end a case of its own.
    """
    length = source.shape[1]
    margin = 1 << ((length - 1).bit_length() - 1)
    start = 0 if backwards else margin
    pooled = torch.empty_like(source)
    count = min(max(1, CACHED // length), max(1, len(source)))
    shape = (2, count, length + margin)
    space = source.new_full(shape, float("-inf"))
    for values, out in zip(torch.split(source, count), torch.split(pooled, count), strict=True):
        now, other = space[:, : len(values)]
        now.narrow(1, start, length).copy_(values)
        shift = 1
        while shift < length:
            behind = now.narrow(1, start + shift if backwards else start - shift, length)
            goal = other.narrow(1, start, length) if 2 * shift < length else out
            torch.maximum(now.narrow(1, start, length), behind, out=goal)
            now, other, shift = other, now, 2 * shift
    return pooled


def _collect_lines(given: Tensor, starts: Tensor, backwards: bool) -> Tensor:
    """Returns gradients of lines: each maximum's own, and those up to where the next takes over."""
    gradient = torch.empty_like(given)
    collected = given.new_zeros(given.shape[1:])
    for index in _order(len(given), not backwards):
        collected += given[index]
        torch.mul(collected, starts[index], out=gradient[index])
        collected -= gradient[index]
    return gradient


def _collect_at_once(given: Tensor, starts: Tensor, backwards: bool) -> Tensor:
    """Returns the same by finding out first which line's maximum each line has, for GPUs."""
    place = torch.arange(len(starts), device=starts.device, dtype=torch.int32)
    place = (len(starts) - 1 - place if backwards else place).view(-1, *[1] * (starts.ndim - 1))
    # Later starts have greater numbers, so that the greatest so far is the last one.
    leader = _double_lines(torch.where(starts, place, 0), backwards).long()
    leader = len(starts) - 1 - leader if backwards else leader
    exact = torch.promote_types(given.dtype, torch.float32)
    sums = torch.zeros_like(given, dtype=exact).scatter_add_(0, leader, given.to(exact))
    return sums.to(given.dtype)


def _collect_rows(given: Tensor, starts: Tensor, backwards: bool) -> Tensor:
    """Returns the same for rows: in memory, what a maximum collects is one piece after another."""
    place = starts.flatten().nonzero()[:, 0]
    if backwards:
        edges = torch.cat((place.new_zeros(1), place + 1))
    else:
        edges = torch.cat((place, place.new_tensor([given.numel()])))
    sums = torch.segment_reduce(given.flatten(), "sum", offsets=edges)
    return given.new_zeros(given.numel()).index_copy_(0, place, sums).view_as(given)


def _order(length: int, backwards: bool) -> range:
    return range(length - 1, -1, -1) if backwards else range(length)


def _starts(source: Tensor, pooled: Tensor, axis: int, backwards: bool) -> Tensor:
    """Returns where a new maximum takes over: greater than all that the scan has seen before."""
    starts = torch.ones_like(source, dtype=torch.bool)
    last = source.shape[axis] - 1
    if last > 0:
        here, before = (0, 1) if backwards else (1, 0)
        torch.gt(
            source.narrow(axis, here, last),
            pooled.narrow(axis, before, last),
            out=starts.narrow(axis, here, last),
        )
    return starts


class CornerBranch(nn.Module):
    """A residual block with corner pooling in place of its first convolution, and a convolution.

    CornerNet, section 3.4 and figure 7: a 3x3 convolution for each direction, the sum of the two
    pooled maps, a 3x3 convolution, beside a 1x1 convolution of the input.

    Args:
        channels: Channels of the input and of the output.
        pooled: Channels that are pooled; 128 of 256 in the published network.
        directions: The two directions, up or down and then to a side.
    """

    def __init__(self, channels: int, pooled: int, directions: tuple[Direction, Direction]) -> None:
        super().__init__()
        self.directions = directions
        self.first = convolution(channels, pooled, 3)
        self.second = convolution(channels, pooled, 3)
        self.after = convolution(pooled, channels, 3, relu=False)
        self.shortcut = convolution(channels, channels, 1, relu=False)
        self.last = convolution(channels, channels, 3)

    def forward(self, features: Tensor) -> Tensor:
        """Returns a tensor of the shape of ``features``, (B, channels, h, w)."""
        gathered = self.after(self.gather(features)) + self.shortcut(features)
        return cast(Tensor, self.last(functional.relu(gathered, inplace=True)))

    def gather(self, features: Tensor) -> Tensor:
        """Returns what lies along the two directions, (B, pooled, h, w)."""
        first = corner_pool(self.first(features), self.directions[0])
        return first + corner_pool(self.second(features), self.directions[1])


class CascadeBranch(CornerBranch):
    """Looks into the box first from where each of its edges lies: cascade corner pooling.

    Duan et al. 2019, section 3.3 and figure 4 (c): a corner sees along two edges only. Here what
    is pooled along an edge holds, at each of its cells, what another map says from there towards
    the inside. Between the two poolings there is a bare 3x3 convolution, as released.

    The arguments are those of ``CornerBranch``.
    """

    def __init__(self, channels: int, pooled: int, directions: tuple[Direction, Direction]) -> None:
        super().__init__(channels, pooled, directions)
        bare = partial(nn.Conv2d, pooled, pooled, 3, padding=1, bias=False)
        self.first_look = convolution(channels, pooled, 3)
        self.second_look = convolution(channels, pooled, 3)
        self.first_both, self.second_both = bare(), bare()

    def gather(self, features: Tensor) -> Tensor:
        """Returns what lies along the two directions and inside of them, (B, pooled, h, w)."""
        down, across = self.directions
        inside = corner_pool(self.first_look(features), across)
        first = corner_pool(self.first_both(self.first(features) + inside), down)
        inside = corner_pool(self.second_look(features), down)
        return first + corner_pool(self.second_both(self.second(features) + inside), across)


class CenterBranch(CornerBranch):
    """Gathers the maxima of a cell's whole column and row: centre pooling.

    Duan et al. 2019, section 3.3 and figure 4 (a): what tells an object from others need not be
    visible at its centre. The arguments are those of ``CornerBranch``.
    """

    def gather(self, features: Tensor) -> Tensor:
        """Returns the largest of the column plus the largest of the row, (B, pooled, h, w)."""
        columns = line_pool(self.first(features), self.directions[0])
        return columns + line_pool(self.second(features), self.directions[1])


Make = Callable[[int, int], CornerBranch]
"""Makes a branch of so many channels, of which so many are pooled."""

BRANCHES: dict[str, Make] = {
    "top_left": partial(CornerBranch, directions=("top", "left")),
    "bottom_right": partial(CornerBranch, directions=("bottom", "right")),
    "cascade_top_left": partial(CascadeBranch, directions=("top", "left")),
    "cascade_bottom_right": partial(CascadeBranch, directions=("bottom", "right")),
    "center": partial(CenterBranch, directions=("top", "left")),
}
"""What is made of the name of a map's branch."""
