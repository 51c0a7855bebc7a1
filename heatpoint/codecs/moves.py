"""Which peak of a heatmap a joint or a corner moves to, when another map has said about where."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from heatpoint.codecs.peaks import places_of, read_cells, top_peaks

LEAST = 0.1
"""Probability of a peak above which a joint may move to it, as released."""

NEAR = 0.3
"""How far a joint may move, in longer sides of its object's box, as released."""

BEYOND = 0.05
"""How far outside of the box a peak may be, in longer sides, where the likeliest is taken: boxes
that were found are not exact, and joints often lie on the edge of the true one."""

LEAST_CORNER = 0.3
"""Probability of a peak above which a corner may move to it."""

_LEAST_SPREAD = 0.1
"""Cells that joints are taken to be off at least: boxes of no size must not divide by nothing."""


def placed_peaks(
    heatmap: Tensor, offset: Tensor | None, count: int, kernel: int
) -> tuple[Tensor, Tensor]:
    """Returns the M = ``count`` best peaks of each kind: logits (B, J, M) float32, and places.

    Args:
        heatmap: (B, J, h, w) logits, one map of each kind.
        offset: (B, 2, h, w) x and y within the cells, the same for all kinds; None for the middle.
        count: Peaks of each kind.
        kernel: Side of the neighbourhood of which a peak is the maximum, in cells.

    Returns:
        Logits, and (B, J, M, 2), x and y in cells.
    """
    values, _, cells = top_peaks(heatmap.flatten(0, 1).unsqueeze(1), count, kernel)
    shape = *heatmap.shape[:2], count
    values, cells = values.float().reshape(shape), cells.reshape(shape)
    places = places_of(cells, heatmap.shape[-1]).float()
    if offset is None:
        return values, places + 0.5
    return values, places + read_cells(offset, cells.flatten(1)).float().reshape(*shape, 2)


class Chosen(NamedTuple):
    """The peak that each of N points takes.

    Attributes:
        distance: (B, J, N) float32, its square in cells; infinite where there is no peak.
        place: (B, J, N, 2), x and y in cells.
        value: (B, J, N), its logit.
    """

    distance: Tensor
    place: Tensor
    value: Tensor


def chosen_peaks(
    points: Tensor, values: Tensor, places: Tensor, least: float, spread: Tensor | None = None
) -> Chosen:
    """Returns for J kinds of points the nearest peaks of some probability, or the likeliest.

    Where it is known how far off points are, a peak of probability p at a distance d is the right
    one with a probability in proportion to p exp(-d^2 / 2 s^2): sure peaks are taken from further
    away than doubtful ones.

    Args:
        points: (B, J, N, 2) x and y in cells.
        values: (B, J, M) float32, logits of the peaks, M of each kind.
        places: (B, J, M, 2) x and y in cells.
        least: Probability above which a peak counts.
        spread: (B, 1, N), standard deviation s of the points' errors on each axis in cells, above
            0; None for the nearest peaks.
    """
    (x, y), (across, down) = points.unbind(-1), places.unbind(-1)
    apart = (x[..., None] - across[:, :, None]) ** 2 + (y[..., None] - down[:, :, None]) ** 2
    usable = (values > math.log(least / (1 - least)))[:, :, None]
    apart = torch.where(usable, apart, float("inf"))
    if spread is None:
        distance, chosen = apart.min(-1)
    else:
        doubt = F.softplus(-values)[:, :, None]  # -ln p
        chosen = (apart / (2 * spread[..., None] ** 2) + doubt).argmin(-1)
        distance = apart.gather(-1, chosen[..., None]).squeeze(-1)
    across, down, values = (each.gather(2, chosen) for each in (across, down, values))
    return Chosen(distance, torch.stack((across, down), -1), values)


def moved_joints(
    joints: Tensor,
    heights: Tensor,
    boxes: Tensor,
    peaks: tuple[Tensor, Tensor],
    spread: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Returns joints at a peak of their own heatmap, where one is near.

    Peaks of a probability above ``LEAST`` count. A joint stays where it is if the chosen one is
    outside of its object's box (with ``spread``, by more than ``BEYOND``), or further away than
    ``NEAR``; then no other one is tried.

    Args:
        joints: (B, K, J, 2) x and y in cells.
        heights: (B, K, J), how sure each of them is.
        boxes: (B, K, 4) xyxy of their objects in cells.
        peaks: (B, J, M) float32, logits of the peaks, M of each kind of joint, and (B, J, M, 2),
            their x and y in cells.
        spread: How far off joints are taken to be, in longer sides of their object's box; 0 takes
            the nearest peak, as released. See ``chosen_peaks``.

    Returns:
        Joints and heights, those that moved with the place and the probability of the peak.
    """
    left, top, right, bottom = boxes[:, None].unbind(-1)  # (B, 1, K)
    longer = torch.maximum(right - left, bottom - top)
    off = (spread * longer).clamp(min=_LEAST_SPREAD) if spread else None
    at = chosen_peaks(joints.transpose(1, 2), *peaks, LEAST, off)  # (B, J, K)
    across, down = at.place.unbind(-1)
    room = BEYOND * longer if spread else torch.zeros_like(longer)
    moves = (at.distance <= (NEAR * longer) ** 2) & (left - room <= across)
    moves = moves & (across <= right + room) & (top - room <= down) & (down <= bottom + room)
    moves = moves.transpose(1, 2)
    heights = torch.where(moves, torch.sigmoid(at.value).transpose(1, 2), heights)
    return torch.where(moves[..., None], at.place.transpose(1, 2), joints), heights


def moved_corners(quads: Tensor, peaks: tuple[Tensor, Tensor]) -> Tensor:
    """Returns corners at the nearest peak of their heatmap, where one is near.

    Peaks of a probability above ``LEAST_CORNER`` count. A corner moves by less than half of its
    object's shortest side, so that the two of a side never meet.

    Args:
        quads: (B, K, 4, 2) x and y in cells.
        peaks: (B, 1, M) float32, logits of the peaks, and (B, 1, M, 2), their x and y in cells.
    """
    near = chosen_peaks(quads.flatten(1, 2)[:, None], *peaks, LEAST_CORNER)
    sides = (quads - quads.roll(1, -2)).square().sum(-1)
    moves = near.distance.view(quads.shape[:-1]) < sides.amin(-1, keepdim=True) / 4
    return torch.where(moves[..., None], near.place.view(quads.shape), quads)
