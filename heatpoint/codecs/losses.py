"""Losses of heatmaps and of values read at cells: pure functions of tensors.

Every loss is computed in float32, or in float64 where the prediction is float64; a sigmoid in half
precision is exactly 1 for ordinary logits, and the logarithm of the rest minus infinity.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from heatpoint.codecs.encoded import exact

# Blocks keep the scratch rows small and in the last-level cache of a processor. Smaller ones are
# no faster, and make threads wait for each other more often when the machine is busy.
BLOCK_CELLS = 1 << 19
BLOCK_CELLS_DEVICE = 1 << 24


def focal_loss(
    logits: Tensor,
    cells: Tensor,
    values: Tensor,
    starts: Tensor,
    peaks: Tensor,
    scale: Tensor,
    clamp: float | None = None,
) -> Tensor:
    """Returns the penalty-reduced focal loss of heatmaps whose target is a list of blobs.

    With p = sigmoid(logit) and the target t, the largest of the blobs' values at a cell and 0
    where there is none, the loss sums over all cells (CornerNet, equation 1, alpha 2, beta 4;
    CenterNet, equation 1)

        -(1 - p)^2 log p             where t = 1,
        -(1 - t)^4 p^2 log(1 - p)    elsewhere.

    The dense target never exists: the sum over empty cells needs none, and blobs are spread into
    a scratch block while that part of the logits is in the cache. Value and gradient come from the
    same pass, so the loss cannot be differentiated twice.

    Args:
        logits: (B, C, h, w), any real dtype; finite results for any finite logit.
        cells: (M,) int64, flat indices into ``logits``, repetitions allowed, grouped by plane.
        values: (M,) value of a blob at its cell, in (0, 1].
        starts: (B * C + 1,) int64; entries ``starts[i]:starts[i + 1]`` belong to plane i.
        peaks: (Q,) int64, flat indices of the cells with t = 1, without repetitions; their
            ``values`` must be exactly 1.
        scale: Scalar factor, one over the number of positives in the published systems.
        clamp: The released programs clamp p to [clamp, 1 - clamp], which takes the gradient from
            clamped cells: 1e-4 in CenterNet and CornerNet, 1e-6 in a popular port. ``None``
            computes the loss exactly.

    Returns:
        Scalar, float32 or float64.
    """
    limit = math.inf if clamp is None else math.log((1 - clamp) / clamp)
    total: Tensor = _Focal.apply(logits, (cells, values, starts, peaks), scale, limit)
    return total


def best_constant(share: float) -> float:
    """Returns the logit that a map, the same everywhere, has where its focal loss is least.

    Of a small probability p and a share r of peaks among the cells, the loss of ``focal_loss`` is
    ``-r log p + p^3`` for each cell but for what blobs take from it, so that ``p^3 = r / 3``.
    A network whose map begins there has nothing to learn about how rare objects are.

    Args:
        share: Peaks of a map over its cells, above 0.
    """
    probability = min((share / 3) ** (1 / 3), 0.5)
    return math.log(probability / (1 - probability))


class _Focal(torch.autograd.Function):
    """Computes the loss and its gradient block by block; see ``focal_loss``."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, blobs: tuple[Tensor, ...], scale: Tensor, limit: float
    ) -> Tensor:
        cells, values, starts, peaks = blobs
        precision = torch.float64 if logits.dtype == torch.float64 else torch.float32
        scale = scale.to(logits.device, precision)
        weights = (1 - values.to(precision)).square_().square_().mul_(scale)
        flat = logits.contiguous().view(-1)
        gradient = torch.empty_like(flat) if ctx.needs_input_grad[0] else None

        sums = []
        plane, planes = logits.shape[-2] * logits.shape[-1], len(starts) - 1
        block = BLOCK_CELLS if flat.device.type == "cpu" else BLOCK_CELLS_DEVICE
        step = max(1, block // max(1, plane))
        # Written to again and again: fresh memory would cost more than the arithmetic.
        largest = max(min(step, planes) * plane, len(peaks))
        scratch = flat.new_empty(6, largest, dtype=precision)
        edges = [*range(0, planes, step), planes]
        cells_of, entries_of = (edge * plane for edge in edges), starts[edges].tolist()
        spans = zip(pairwise(cells_of), pairwise(entries_of), strict=True)
        for (begin, end), (first, last) in spans:
            weight = scale
            if last > first:
                weight = scratch[5, : end - begin].fill_(scale)
                weight.scatter_reduce_(0, cells[first:last] - begin, weights[first:last], "amin")
            into = None if gradient is None else gradient[begin:end]
            sums.append(_background(flat[begin:end], weight, limit, into, scratch))
        if len(peaks):
            # The mirrored background, since -(1 - p)^2 log p is p^2 log(1 - p) of the opposite
            # logit; the background's weight at a peak is 0, so its gradient can be overwritten.
            into = None if gradient is None else torch.empty_like(flat[: len(peaks)])
            sums.append(_background(-flat[peaks], scale, limit, into, scratch))
            if gradient is not None and into is not None:
                gradient[peaks] = -into
        if gradient is not None:
            ctx.save_for_backward(gradient.view(logits.shape))
        total = torch.stack(sums).to(exact(flat)) if sums else flat.new_zeros(1)
        return total.sum().to(precision)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        # Spares a pass over memory in the common case; a comparison on a device would wait for it.
        if outer.device.type != "cpu" or outer.item() != 1:
            gradient = gradient * outer.to(gradient.dtype)
        return gradient, None, None, None


def _background(
    logits: Tensor, weight: Tensor, limit: float, gradient: Tensor | None, scratch: Tensor
) -> Tensor:
    """Returns the sum of weight * p^2 * -log(1 - p) and writes its gradient.

    Args:
        logits: (n,), any real dtype.
        weight: (n,) or scalar.
        limit: Bound of the clamped logits, or infinity.
        gradient: (n,), written to; or None.
        scratch: (at least 5, at least n), overwritten; its dtype is that of the computation.
    """
    x, power, surprise, rest, mass = (row[: len(logits)] for row in scratch[:5])
    x = x.copy_(logits) if logits.dtype != x.dtype else logits
    # log(1 + e^x) is -log(1 - p) to full precision until e^x overflows; beyond that it is x.
    top = 700.0 if x.dtype == torch.float64 else 80.0
    torch.clamp(x, -limit, min(limit, top), out=power).exp_()
    torch.log1p(power, out=surprise)
    if limit > top and (x.device.type != "cpu" or x.amax() > top):
        surprise.add_((x - top).clamp_(0, limit - top))
    torch.add(power, 1, out=rest).reciprocal_()
    p = power.mul_(rest)
    torch.mul(p, p, out=mass).mul_(weight)
    total = torch.dot(mass, surprise)
    if gradient is not None:
        # d/dx of p^2 s with s' = p is p^2 (p + 2 (1 - p) s).
        slope = torch.addcmul(p, rest, surprise, value=2, out=rest).mul_(mass)
        if limit != math.inf:
            slope.masked_fill_(x.abs() > limit, 0)
        gradient.copy_(slope)
    return total


def l1_loss(predicted: Tensor, target: Tensor, weight: Tensor, count: Tensor) -> Tensor:
    """Returns the weighted sum of absolute differences, divided by ``count``.

    Args:
        predicted: (P, 2), any real dtype.
        target: (P, 2), in the same unit.
        weight: (P,) of the rows.
        count: Scalar divisor.
    """
    predicted = accurate(predicted)
    return ((predicted - target).abs().sum(-1) * weight).sum() / count


def smooth_l1_loss(predicted: Tensor, target: Tensor, count: Tensor) -> Tensor:
    """Returns the sum of d^2 / 2 below, and of d - 1/2 from a difference d of 1 on, over ``count``.

    Args:
        predicted: (P, 2), any real dtype.
        target: (P, 2), in the same unit.
        count: Scalar divisor.
    """
    predicted = accurate(predicted)
    return functional.smooth_l1_loss(predicted, target.to(predicted), reduction="sum") / count


def pull_push_loss(
    first: Tensor, second: Tensor, mask: Tensor, published: bool = True
) -> tuple[Tensor, Tensor]:
    """Returns how far the two embeddings of an object are apart, and how near those of others.

    With e the mean of an object's two embeddings and N objects in an image (CornerNet, equations
    4 and 5, margin 1),

        pull = sum over objects of (first - e)^2 + (second - e)^2, / N,
        push = sum over ordered pairs of different objects of max(0, 1 - |e_i - e_j|), / N (N - 1).

    The released program adds 1e-4 to both divisors and also sums over pairs of an object with
    itself, each less 1 / (N + 1e-4): the gradient is the same to 1e-4, but the push of an image
    with a single object is a constant near 1 instead of 0. Its pair mask, a sum of two masks that
    must be 2, is never true for boolean tensors, which silently removes the push; here a pair
    counts where both are.

    Args:
        first: (B, M) embeddings of one corner, any real dtype; M slots for objects.
        second: (B, M) embeddings of the other corner.
        mask: (B, M) bool, which slots hold an object.
        published: As released, else as printed, which mmdet follows.

    Returns:
        Pull and push, each summed over the images.
    """
    first, second = accurate(first), accurate(second)
    epsilon = 1e-4 if published else 0.0
    number = mask.sum(1, dtype=first.dtype)
    mean = (first + second) / 2
    apart = ((first - mean).square() + (second - mean).square()) * mask
    pull = (apart.sum(1) / _divisor(number, epsilon)).sum()

    pairs = mask[:, :, None] & mask[:, None, :]
    near = (1 - (mean[:, :, None] - mean[:, None, :]).abs()).clamp(min=0)
    if published:
        near = near - (1 / _divisor(number, epsilon))[:, None, None]
    else:
        pairs = pairs & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    per_image = (near * pairs).sum((1, 2)) / _divisor(number * (number - 1), epsilon)
    return pull, per_image.sum()


def _divisor(number: Tensor, epsilon: float) -> Tensor:
    """Returns the number plus epsilon, but never 0: where it would be, so is what is divided."""
    return number + epsilon if epsilon else number.clamp(min=1)


def giou_loss(
    predicted: Tensor, target: Tensor, weight: Tensor, count: Tensor, ends: float = 0.0
) -> Tensor:
    """Returns the weighted sum of 1 - GIoU, divided by ``count`` (Rezatofighi et al. 2019).

    An inverted box counts as empty; the gradient of the enclosing box alone reaches it.

    Args:
        predicted: (P, 4) boxes xyxy, any unit and real dtype.
        target: (P, 4) boxes of positive area in the same frame.
        weight: (P,) of the rows.
        count: Scalar divisor.
        ends: What is added to every length: 1 where boxes name their last pixel instead of their
            end, as in TTFNet.
    """
    predicted = accurate(predicted)
    low = torch.maximum(predicted[:, :2], target[:, :2])
    high = torch.minimum(predicted[:, 2:], target[:, 2:])
    shared = (high - low + ends).clamp(min=0).prod(-1)
    boxes = predicted, target
    areas = [(box[:, 2:] - box[:, :2] + ends).clamp(min=0).prod(-1) for box in boxes]
    union = areas[0] + areas[1] - shared
    low = torch.minimum(predicted[:, :2], target[:, :2])
    high = torch.maximum(predicted[:, 2:], target[:, 2:])
    hull = (high - low + ends).prod(-1)
    giou = shared / union - (hull - union) / hull
    return ((1 - giou) * weight).sum() / count


def blob_loss(predicted: Tensor, target: Tensor, weight: Tensor, divisor: Tensor) -> Tensor:
    """Returns the sum over all cells of (w p - w t)^2, divided by ``divisor``.

    The mean-squared error of Stacked Hourglass (Newell et al. 2016, section 3.2); the released
    programs differ in their divisors.

    Args:
        predicted: (B, J, h, w), any real dtype.
        target: (B, J, h, w).
        weight: (B, J), of whole maps.
        divisor: Scalar.
    """
    errors = (accurate(predicted) - target).square().sum((-2, -1))
    return (errors * weight.square()).sum() / divisor


def accurate(values: Tensor) -> Tensor:
    """Returns float64 as it is and everything else in float32."""
    return values if values.dtype == torch.float64 else values.float()
