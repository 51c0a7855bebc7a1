"""What heatmaps of joints should say about a batch: one blob per joint, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from heatpoint.codecs.base import Encoded

BlobRule = Literal["exact", "rounded", "udp", "cauchy", "princeton"]


@dataclass(frozen=True, eq=False, kw_only=True)
class JointEncoded(Encoded):
    """The targets of ``JointCodec`` for a batch; no map is stored.

    Attributes:
        position: (B, J, 2) float32, x and y in cells; the centre of cell i is at i.
        visibility: (B, J) int64, 0 not labelled, 1 hidden, 2 visible, as given.
        drawn: (B, J) bool, whether the joint has a blob; the others' maps are 0.
        weight: (B, J) float32, 1 for joints that are trained and 0 for the others.
        sigma: Width of the blobs in cells.
        rule: How they are drawn; see ``draw_joints``.
        counts: (2,) float32: number of trained joints and of all joints, B * J.
        left_out: Number of labelled joints that are not trained: outside of the input, or hidden.
    """

    position: Tensor
    visibility: Tensor
    drawn: Tensor
    weight: Tensor
    sigma: float
    rule: BlobRule

    def preview(self) -> Tensor:
        """Returns the heatmaps of all joints, (B, J, h, w) float32."""
        return self._heatmaps

    @cached_property
    def _heatmaps(self) -> Tensor:
        """Drawn once, for the losses of all stacks."""
        return draw_joints(self.position, self.drawn, self.sigma, self.map_size, self.rule)

    @property
    def unlabelled(self) -> int:
        """Number of joints that nobody labelled."""
        return int((self.visibility == 0).sum())


def draw_joints(
    position: Tensor, drawn: Tensor, sigma: float, map_size: tuple[int, int], rule: BlobRule
) -> Tensor:
    """Returns the heatmaps of joints, each with a blob of height 1, or empty.

    With d the distance of a cell's centre from the joint, a blob is exp(-d^2 / (2 sigma^2)). The
    rules differ in where its centre is and how far it reaches:

    * ``exact``: the joint itself, over the whole map; mmpose's "unbiased".
    * ``rounded``: the cell that holds the joint, cut off 3 sigma away on each axis; bearpaw,
      mmpose, the original in Torch 7 (Newell et al. 2016).
    * ``udp``: the joint itself, cut off 3 sigma from the cell that holds it (Huang et al. 2020).
    * ``cauchy``: as ``rounded``, but sigma / (d^2 + sigma^2)^1.5, whose height is 1 / sigma^2;
      an option of bearpaw's.
    * ``princeton``: as ``rounded``, but cut off 3 sigma + 1 away.

    Joints less than one cell beyond the left or upper border fall into the first cell, since the
    released programs truncate towards zero.

    Args:
        position: (B, J, 2), x and y in cells; the centre of cell i is at i.
        drawn: (B, J) bool, False for empty maps.
        sigma: Width of the blobs in cells.
        map_size: (h, w).
        rule: See above.

    Returns:
        (B, J, h, w) in the type of ``position``.
    """
    place = peak_cell(position)
    center = position if rule in ("exact", "udp") else place
    lines = []
    for axis, side in ((1, map_size[0]), (0, map_size[1])):
        cells = torch.arange(side, device=position.device, dtype=position.dtype)
        squares = (cells - center[..., axis, None]).square()
        if rule != "exact":
            near = (cells - place[..., axis, None]).abs() <= reach(sigma, rule)
            squares = torch.where(near, squares, float("inf"))
        lines.append(squares)
    rows, columns = lines[0][..., None], lines[1][..., None, :]
    if rule == "cauchy":
        maps = sigma * (rows + columns + sigma**2).pow(-1.5)
    else:
        scale = -0.5 / sigma**2
        maps = (rows * scale).exp() * (columns * scale).exp()
    return maps * drawn[..., None, None]


def peak_cell(position: Tensor) -> Tensor:
    """Returns the cell that holds each position, truncated towards zero as in the released code."""
    return (position + 0.5).trunc()


def reach(sigma: float, rule: BlobRule) -> int:
    """Returns how many cells from its centre a blob with a window ends."""
    return int(3 * sigma) + (1 if rule == "princeton" else 0)


def touches(position: Tensor, sigma: float, map_size: tuple[int, int], rule: BlobRule) -> Tensor:
    """Returns whether the published programs train a joint, (B, J) bool.

    Princeton's asks that the cell is on the map and x above 0. The others ask that the window
    touches the map, whose exclusive end they compare with 0 as if it were inclusive; "exact" has
    the window of its unrounded centre.
    """
    end = position.new_tensor((map_size[1], map_size[0]))
    if rule == "princeton":
        place = peak_cell(position)
        return ((place >= 0) & (place < end)).all(-1) & (position[..., 0] + 0.5 > 0)
    center = position if rule == "exact" else peak_cell(position)
    span = reach(sigma, rule)
    return ((center - span < end) & (center + span + 1 >= 0)).all(-1)
