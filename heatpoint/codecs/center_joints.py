"""Joints of objects that are found at their centres: what is to be learnt, and where peaks are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from heatpoint.codecs.encoded import CenterEncoded, Points
from heatpoint.codecs.peaks import places_of

LEAST = 0.1
"""Probability of a peak above which a joint may move to it, as released."""

NEAR = 0.3
"""How far a joint may move, in longer sides of its object's box, as released."""


@dataclass(frozen=True, eq=False, kw_only=True)
class CenterPoseEncoded(CenterEncoded):
    """The targets of ``CenterPoseCodec`` for a batch.

    Attributes:
        joints: (P, J, 2) float32, x and y of each object's joints in cells.
        labelled: (P, J) bool, which of them are learnt.
        at: The L labelled joints: cells, offsets in [0, 1] and the target of their heatmaps.
        at_image: (L,) int64, their images.
        counts: (5,) float32, number of the heatmap's positive cells, sum of the samples' weights,
            the same times the labelled joints of each, positive cells of the joints' heatmaps, L.
        left_out: Objects that have no area within the input, and labelled joints outside of it or
            of another class.
    """

    joints: Tensor
    labelled: Tensor
    at: Points
    at_image: Tensor

    def preview(self) -> Tensor:
        """Draws the targets of both heatmaps: (B, C + J, h, w) float32 in [0, 1]."""
        return torch.cat((super().preview(), self.drawn(self.at.blobs, self.joints.shape[1])), 1)

    @property
    def displacement(self) -> Tensor:
        """From the corner of each sample's cell to its object's joints, (S, J, 2) in cells.

        It is 0 where a joint is not learnt.
        """
        at = self.samples
        corner = places_of(at.cell, self.map_size[1])[:, None]
        return (self.joints[at.owner] - corner) * self.labelled[at.owner, :, None]


def moved_to_peaks(
    joints: Tensor, heights: Tensor, boxes: Tensor, values: Tensor, places: Tensor
) -> tuple[Tensor, Tensor]:
    """Moves joints to the nearest peak of their own heatmap, as released.

    Peaks of a probability above ``LEAST`` count. A joint stays where it is if the nearest one is
    outside of its object's box, or further away than ``NEAR``; then no other one is tried.

    Args:
        joints: (B, K, J, 2) x and y in cells.
        heights: (B, K, J), how sure each of them is.
        boxes: (B, K, 4) xyxy of their objects in cells.
        values: (B, J, M) float32, logits of the peaks, M of each kind of joint.
        places: (B, J, M, 2) x and y in cells.

    Returns:
        Joints and heights, those that moved with the place and the probability of the peak.
    """
    across, down = places.unbind(-1)
    x, y = joints.transpose(1, 2).unbind(-1)  # (B, J, K)
    apart = (x[..., None] - across[:, :, None]) ** 2 + (y[..., None] - down[:, :, None]) ** 2
    usable = values > math.log(LEAST / (1 - LEAST))
    distance, nearest = torch.where(usable[:, :, None], apart, float("inf")).min(-1)
    across, down, values = (each.gather(2, nearest) for each in (across, down, values))
    left, top, right, bottom = boxes[:, None].unbind(-1)  # (B, 1, K)
    reach = NEAR * torch.maximum(right - left, bottom - top)
    moves = (distance <= reach**2) & (left <= across) & (across <= right)
    moves = (moves & (top <= down) & (down <= bottom)).transpose(1, 2)
    there = torch.stack((across, down), -1).transpose(1, 2)
    heights = torch.where(moves, torch.sigmoid(values).transpose(1, 2), heights)
    return torch.where(moves[..., None], there, joints), heights
