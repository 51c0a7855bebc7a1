"""Heatmaps of joints: what they should say about a batch, and where in one its joint is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from heatpoint.codecs import Encoded, require
from heatpoint.codecs.losses import accurate
from heatpoint.codecs.peaks import places_of

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


def checked_flip(flip: Sequence[int], joints: int) -> tuple[int, ...]:
    """Returns which joint takes whose place in a mirror image; headers hold it as a list.

    Args:
        flip: An involution of all joints, or nothing if none has a left or right counterpart.
        joints: Their number.

    Raises:
        HeatpointError: It is something else.
    """
    own, every = list(flip), list(range(joints))
    fine = not own or (sorted(own) == every == [own[joint] for joint in own])
    rule = f"name each of the {joints} joints once and give every joint back when applied twice"
    require(fine, "flip", rule, own)
    return tuple(own)


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


Refine = Literal[
    "taylor", "none", "quarter", "quarter-princeton", "quarter-mmpose", "dark", "dark-udp"
]

DARK_KERNEL = 11
DARK_SIGMA = 2.0
"""mmpose's blur before DARK: kernel 11, for which OpenCV takes sigma 2."""

LOG_FLOOR = 1e-4
"""Neighbours count as at least this fraction of the peak before their logarithm is taken."""


def joint_peaks(maps: Tensor, refine: Refine, sigma: float) -> tuple[Tensor, Tensor]:
    """Returns the place of the highest cell of each map, refined, and its height.

    * ``taylor``: one Newton step per axis on the logarithm of the map (Zhang et al. 2020, section
      3.2, without their blur and mixed derivative), which is exact for a blob of any width. In
      the outermost rows and columns, where a neighbour is missing, the blob is taken to be
      ``sigma`` wide.
    * ``none``: the cell's centre.
    * ``quarter``: a quarter cell towards the larger neighbour on each axis, but nothing in the
      outermost rows and columns or between equals (Newell et al. 2016, Torch 7; bearpaw).
    * ``quarter-princeton``: the same in border cells too, and of equal neighbours the first
      counts as larger; the cell beyond the border is the border cell itself.
    * ``quarter-mmpose``: as ``quarter``, but x stays also in the second column, y in the second
      row.
    * ``dark``: Newton step with mixed derivative on the logarithm of the blurred map, second
      derivatives over two cells; nothing within two cells of the border (Zhang et al. 2020).
    * ``dark-udp``: the same with second derivatives over one cell, everywhere (Huang et al. 2020).

    A map without a positive value has its highest cell, unrefined; the released "quarter",
    "quarter-mmpose" and "dark" answer with cell (-1, -1) instead, and so do they here.

    Args:
        maps: (B, J, h, w), any real dtype.
        refine: See above.
        sigma: Width of the trained blobs in cells.

    Returns:
        (B, J, 2) x and y in cells, the centre of cell i being at i, and (B, J) heights, both
        float32, or float64 where the maps are.
    """
    maps = accurate(maps)
    height, index = maps.flatten(2).max(-1)
    cell = places_of(index, maps.shape[-1])
    place = cell.to(maps.dtype)
    if refine == "none":
        return place, height
    if refine == "taylor":
        step = _taylor(maps, cell, height, sigma)
    elif refine in ("dark", "dark-udp"):
        step = _dark(maps, cell, udp=refine == "dark-udp")
    else:
        step = _quarter(maps, cell, refine)
    minus = refine in ("quarter", "quarter-mmpose", "dark")
    nothing = torch.full_like(place, -1.0) if minus else place
    return torch.where((height > 0)[..., None], place + step, nothing), height


def _near(maps: Tensor, cell: Tensor, right: int, down: int) -> Tensor:
    """Returns (B, J), the values beside some cells; the map's border repeats itself outwards."""
    sides = _sides(maps, cell)
    x = torch.minimum((cell[..., 0] + right).clamp(min=0), sides[0] - 1)
    y = torch.minimum((cell[..., 1] + down).clamp(min=0), sides[1] - 1)
    return maps.flatten(2).gather(2, (y * sides[0] + x)[..., None])[..., 0]


def _sides(maps: Tensor, cell: Tensor) -> Tensor:
    """Returns (w, h) in the type of the cells, which an exported program reads off its maps."""
    unit = cell.new_ones(())
    return torch.stack((unit * maps.shape[-1], unit * maps.shape[-2]))


def _axes(maps: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the values before and behind each cell, (B, J, 2) for x and y, and (w, h)."""
    before = torch.stack((_near(maps, cell, -1, 0), _near(maps, cell, 0, -1)), -1)
    behind = torch.stack((_near(maps, cell, 1, 0), _near(maps, cell, 0, 1)), -1)
    return before, behind, _sides(maps, cell)


def _taylor(maps: Tensor, cell: Tensor, height: Tensor, sigma: float) -> Tensor:
    before, behind, sides = _axes(maps, cell)
    # Only maps with a positive peak are refined; the others need a finite number only, and so do
    # those whose peak is next to nothing, of which ``LOG_FLOOR`` would leave nothing at all.
    peak = torch.where(height > 1e-30, height, 1.0)[..., None]
    low = (torch.maximum(before, LOG_FLOOR * peak) / peak).log()
    high = (torch.maximum(behind, LOG_FLOOR * peak) / peak).log()
    curve = -(low + high)
    step = (high - low) / (2 * torch.where(curve > 0, curve, 1.0))
    first, last = cell == 0, cell == sides - 1
    step = torch.where(first, 0.5 + sigma**2 * high, step)
    step = torch.where(last, -0.5 - sigma**2 * low, step)
    return torch.where(first & last, 0.0, step).clamp(-0.5, 0.5)


def _quarter(maps: Tensor, cell: Tensor, refine: Refine) -> Tensor:
    before, behind, sides = _axes(maps, cell)
    if refine == "quarter-princeton":
        return torch.where(behind > before, 0.25, -0.25).to(maps.dtype)
    inner = (cell > 0) & (cell < sides - 1)
    moves = inner.all(-1, keepdim=True)
    if refine == "quarter-mmpose":
        moves = (cell > 1) & (cell < sides - 1) & (cell.flip(-1) > 0)
    return 0.25 * (behind - before).sign() * moves


def _dark(maps: Tensor, cell: Tensor, udp: bool) -> Tensor:
    """Returns minus the inverse Hessian times the gradient of the logarithm, (B, J, 2)."""
    logs = (_blurred(maps).clamp(1e-3, 50.0) if udp else _blurred(maps).clamp(min=1e-10)).log()
    span, tiny = (1, torch.finfo(torch.float32).eps) if udp else (2, 0.0)
    sides = range(-span, span + 1)
    at = {(x, y): _near(logs, cell, x, y) for x in sides for y in sides}
    x, y = (at[1, 0] - at[-1, 0]) / 2, (at[0, 1] - at[0, -1]) / 2
    xx = (at[span, 0] - 2 * at[0, 0] + at[-span, 0]) / span**2 + tiny
    yy = (at[0, span] - 2 * at[0, 0] + at[0, -span]) / span**2 + tiny
    if udp:
        cross = at[1, 0] + at[0, 1] + at[-1, 0] + at[0, -1]
        xy = (at[1, 1] - cross + 2 * at[0, 0] + at[-1, -1]) / 2
    else:
        xy = (at[1, 1] - at[-1, 1] - at[1, -1] + at[-1, -1]) / 4
    determinant = xx * yy - xy * xy
    sound = determinant != 0
    if not udp:
        sound &= ((cell > 1) & (cell < _sides(maps, cell) - 2)).all(-1)
    step = torch.stack((xy * y - yy * x, xy * x - xx * y), -1)
    return step / torch.where(sound, determinant, 1.0)[..., None] * sound[..., None]


def _blurred(maps: Tensor) -> Tensor:
    """Returns blurred maps that have their old maximum; outside of a map there is 0."""
    batch, joints, height, width = maps.shape
    half = DARK_KERNEL // 2
    steps = torch.arange(-half, half + 1, device=maps.device, dtype=maps.dtype)
    kernel = (-0.5 * (steps / DARK_SIGMA).square()).exp()
    kernel = kernel / kernel.sum()
    planes = maps.reshape(batch * joints, 1, height, width)
    planes = F.conv2d(planes, kernel.view(1, 1, 1, -1), padding=(0, half))
    planes = F.conv2d(planes, kernel.view(1, 1, -1, 1), padding=(half, 0))
    blurred = planes.reshape(maps.shape)
    old, new = maps.amax((-2, -1), keepdim=True), blurred.amax((-2, -1), keepdim=True)
    return blurred * old / torch.where(new == 0, 1.0, new)
