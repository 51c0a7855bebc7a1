"""Gaussian blobs on class maps: how wide they are, and which cells they cover with which value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from heatpoint.codecs import require
from heatpoint.errors import check_choice

CircleRule = Literal["legacy", "fixed", "half-fixed"]
RadiusRule = Literal[CircleRule, "elliptical"]


def gaussian_radius(
    sizes: Tensor, rule: RadiusRule = "legacy", overlap: float = 0.7, alpha: float = 0.54
) -> Tensor:
    """Returns how far the blobs of boxes reach.

    The first three rules draw circles: a box may move so far before its overlap with itself falls
    below ``overlap``. CornerNet (Law and Deng 2018, section 3.2) asks for the distance r within
    which a shifted pair of corners still overlaps the box by ``overlap``: the least root of three
    quadratics a r^2 - b r + c = 0, with s = sqrt(b^2 - 4 a c),

    1. both corners move the same way: a = 1, b = h + w, c = h w (1 - m) / (1 + m)
    2. both corners move inwards: a = 4, b = 2 (h + w), c = (1 - m) h w
    3. both corners move outwards: a = 4 m, b = -2 m (h + w), c = (m - 1) h w

    The released programs disagree about the roots, and the rules carry their results:

    * ``legacy``: (b + s) / 2 throughout, no division by a; CenterNet with overlap 0.7.
    * ``fixed``: (b - s) / (2 a) for 1 and 2, (b + s) / (2 a) for 3, which is what the paper
      means; CornerNet and mmdet with overlap 0.3. At overlap 0.7 it is 3.35 times smaller than
      ``legacy`` for a square, at 0.3 only 1.2 times.
    * ``half-fixed``: (b + s) / (2 a) throughout, a popular port's, with overlap 0.7.

    ``elliptical`` draws ellipses of the box's proportions, alpha times half of each side (TTFNet,
    Liu et al. 2020, section 3.2, where alpha is 0.54).

    Args:
        sizes: (N, 2), height and width of the boxes in cells.
        rule: Which roots are taken, or that there are none.
        overlap: The overlap m of circles, between 0 and 1.
        alpha: Share of the box that an ellipse covers on each axis, in (0, 1].

    Returns:
        (N, 2) radii along y and x in cells, not rounded, in the type of ``sizes``.

    Raises:
        HeatpointError: The rule is unknown, or the overlap or alpha is out of range.
    """
    check_choice("radius", rule, get_args(RadiusRule))
    require(0 < overlap < 1, "overlap", "lie between 0 and 1", overlap)
    require(0 < alpha <= 1, "alpha", "lie in (0, 1]", alpha)
    if rule == "elliptical":
        return sizes / 2 * alpha
    total, area = sizes.sum(-1), sizes.prod(-1)
    quadratics = (
        (1.0, total, area * ((1 - overlap) / (1 + overlap))),
        (4.0, 2 * total, area * (1 - overlap)),
        (4 * overlap, -2 * overlap * total, area * (overlap - 1)),
    )
    roots = []
    for number, (a, b, c) in enumerate(quadratics):
        # For a sliver of a box, rounding may push the discriminant a hair below zero.
        s = (b.square() - 4 * a * c).clamp(min=0).sqrt()
        sign = -1 if rule == "fixed" and number < 2 else 1
        roots.append((b + sign * s) / (2 if rule == "legacy" else 2 * a))
    return torch.stack(roots).amin(0)[:, None].expand(-1, 2)


@dataclass(frozen=True)
class Windows:
    """The cells that blobs cover, blob after blob, and the value of the blob there.

    Attributes:
        cell: (M,) int64, flat index into (planes, h, w); a cell may occur in several blobs.
        value: (M,) float32 in (0, 1], exactly 1 at the peak.
        counts: (N,) int64, number of cells of each blob.
    """

    cell: Tensor
    value: Tensor
    counts: Tensor

    @property
    def owner(self) -> Tensor:
        """(M,) int64, the blob each entry belongs to."""
        blobs = torch.arange(len(self.counts), device=self.counts.device)
        return blobs.repeat_interleave(self.counts, output_size=len(self.cell))


def gaussian_windows(
    plane: Tensor,
    column: Tensor,
    row: Tensor,
    radius: Tensor,
    size: tuple[int, int],
    divisor: float = 6.0,
) -> Windows:
    """Lists the cells of gaussian blobs, clipped at the border of the map.

    A blob is exp(-dx^2 / (2 sx^2) - dy^2 / (2 sy^2)) on the (2 rx + 1) (2 ry + 1) cells around its
    peak, with s = (2 r + 1) / divisor on either axis (CornerNet, section 3.2, says r / 3 instead;
    all released programs use this form). The list is built row by row, since a row of a blob is a
    run of consecutive cells.

    Args:
        plane: (N,) int64, the map each blob is drawn into.
        column: (N,) int64, x of the peak in cells, within the map.
        row: (N,) int64, y of the peak in cells, within the map.
        radius: (N, 2) int64, along x and y, at least 0, in cells; (N,) for circles.
        size: Height and width of a map in cells.
        divisor: 6 for CenterNet and CornerNet, 5 for the centre maps of keypoint triplets.
    """
    height, width = size
    device = plane.device
    radius = radius if radius.dim() == 2 else radius[:, None].expand(-1, 2)
    across, down = radius.unbind(1)
    top, left = (row - down).clamp(min=0), (column - across).clamp(min=0)
    heights = (row + down + 1).clamp(max=height) - top
    widths = (column + across + 1).clamp(max=width) - left

    owner = torch.arange(len(plane), device=device).repeat_interleave(heights)
    y = torch.arange(len(owner), device=device) + (top - heights.cumsum(0) + heights)[owner]
    run = widths[owner]
    start = run.cumsum(0) - run
    sharpness = (0.5 * divisor * divisor) / (2 * radius + 1).float().square()
    flatter, fall = sharpness[owner].unbind(1)
    fall = (y - row[owner]).square() * fall
    # Both are relative to the position in the whole list, which counts up along a row.
    first_cell = (plane[owner] * height + y) * width + left[owner] - start
    first_dx = (left - column)[owner] - start

    line = torch.arange(len(owner), device=device).repeat_interleave(run)
    position = torch.arange(len(line), device=device)
    dx = (position + first_dx[line]).float()
    value = torch.exp(-torch.addcmul(fall[line], dx.square(), flatter[line]))
    return Windows(position + first_cell[line], value, heights * widths)


def draw_windows(windows: Windows, planes: int, size: tuple[int, int]) -> Tensor:
    """Draws blobs into empty maps; where they overlap, the larger value stays.

    Args:
        windows: Cells and values of the blobs.
        planes: Number of maps.
        size: Height and width of a map in cells.

    Returns:
        (planes, h, w) float32 in [0, 1].
    """
    height, width = size
    maps = windows.value.new_zeros(planes * height * width)
    maps.scatter_reduce_(0, windows.cell, windows.value, "amax")
    return maps.view(planes, height, width)
