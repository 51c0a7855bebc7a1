"""Points by class, for counting and locating: a heatmap of each class, and an offset within a cell.

The heatmap and the offset are those of CenterNet (Zhou et al. 2019, section 3), without a size. The
density map, which is optional, is that of Lempitsky and Zisserman, "Learning To Count Objects in
Images", NeurIPS 2010.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from heatpoint.codecs import Codec, Maps, MapSpec, Rows, Target, check_size, check_values, require
from heatpoint.codecs.encoded import CenterEncoded, at_cells, check_blobs
from heatpoint.codecs.losses import accurate, focal_loss, l1_loss
from heatpoint.codecs.peaks import cells_around, places_of, read_cells, top_peaks, unflipped
from heatpoint.codecs.placed import centred, placed
from heatpoint.views.fields import LABELS, POINTS, SCORES, Field, Part, density_field

_AT_ONCE = 1024
"""Points whose distances to all others of their image are computed together."""

_AGREE = 0.5
"""Cells on each axis within which a neighbour's point is taken for the peak's own."""


@dataclass(frozen=True)
class PointCodec(Codec):
    """Points: one heatmap per class, and an offset within the cell that all classes share.

    A point has no size that could say how far its blob reaches. All blobs reach equally far, less
    where points of one class crowd, so that there is a valley between any two.

    Attributes:
        classes: Number of classes C.
        stride: Input pixels per cell.
        point_radius: Cells that a blob reaches at most on each side of a point's own.
        spacing: Share of the distance to the nearest other point of the class that a blob reaches
            at most; 0 lets all of them reach as far as ``point_radius``.
        offset_region: Cells around a point's own at which the offset is learnt too, up to the
            blob's end: a peak that lies a cell beside the point still leads to it.
        neighbours: Cells on each side of a peak whose points are averaged with its own, weighted by
            their probabilities, where they are within half a cell of it; 0 is as published. Errors
            of several cells cancel in part. No more than ``offset_region`` has learnt.
        max_detections: Number of candidates K per image.
        heatmap_bias: What logits of the heatmap begin with: as published, a probability of 0.1;
            what suits data, ``best_constant`` tells.
        heatmap_weight: Weight of the heatmap's loss.
        offset_weight: Weight of the offset's L1 loss.
        density: Weight of the loss of a density map, whose sum over a picture is a count by class
            that needs no peaks; 0 leaves the map out.
        clamp: Bound of the clamped sigmoid, or None for the exact loss; see ``focal_loss``.
        peak_kernel: Side of the neighbourhood of which a peak is the maximum, in cells.
        one_class_per_cell: Whether only the best class of a cell becomes a candidate, so that
            nothing is counted twice, as of two classes.
    """

    learns: ClassVar[frozenset[Part]] = frozenset({"points"})
    place: ClassVar[str] = "point"

    classes: int
    stride: int = 4
    point_radius: int = 2
    spacing: float = 0.5
    offset_region: int = 1
    neighbours: int = 0
    max_detections: int = 2000
    heatmap_bias: float = -2.19
    heatmap_weight: float = 1.0
    offset_weight: float = 1.0
    density: float = 0.0
    clamp: float | None = None
    peak_kernel: int = 3
    one_class_per_cell: bool = True

    def __post_init__(self) -> None:
        whole = ("classes", "stride", "max_detections", "peak_kernel")
        check_values(self, whole, ("heatmap_weight", "offset_weight", "spacing", "density"))
        check_blobs(self.clamp, self.peak_kernel, bias=self.heatmap_bias)
        for name in ("point_radius", "offset_region"):
            value = getattr(self, name)
            fine = type(value) is int and 0 <= value < 1000
            require(fine, name, "be a whole number from 0 to 999", value)
        learnt = f"be a whole number from 0 to the offset_region of {self.offset_region}"
        fine = type(self.neighbours) is int and 0 <= self.neighbours <= self.offset_region
        require(fine, "neighbours", learnt, self.neighbours)

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """Heatmap (C logits), offset (x, y) in cells and, if wanted, density (C, per cell)."""
        heatmap = MapSpec("heatmap", self.classes, bias=self.heatmap_bias, per="class")
        density = MapSpec("density", self.classes, bias=0.0, std=0.001, per="class")
        offset = MapSpec("offset", 2, bias=0.5, std=0.001)
        return (heatmap, offset, density) if self.density else (heatmap, offset)

    @property
    def answer(self) -> tuple[Field, ...]:
        """Points, scores and labels, and the density of every cell if there is such a map."""
        density = (density_field(self.classes),) if self.density else ()
        return (POINTS, SCORES, LABELS, *density)

    @property
    def terms(self) -> tuple[str, ...]:
        """``heatmap``, ``offset`` and, if there is such a map, ``density``."""
        return tuple(spec.name for spec in self.maps)

    @property
    def steps(self) -> dict[str, tuple[str, ...]]:
        """Heatmap and offset: the density finds no points, so that it limits none."""
        return {name: (name,) for name in ("heatmap", "offset")}

    def encode(self, targets: Sequence[Target], size: tuple[int, int]) -> CenterEncoded:
        """Turns the points of a batch into lists of cells, on the device of the targets.

        A point exactly on the right or bottom border falls into the last cell.

        Args:
            targets: One per image; points (N, 1, 2) in input pixels.
            size: (H, W) of the network's input in pixels, multiples of the stride.

        Raises:
            ValueError: A target has no points or several for an object, one is not finite or lies
                outside of the input, a label is out of range, or the size is no multiple of the
                stride.
        """
        map_size, planes = check_size(size, self.stride), (len(targets), self.classes)
        points, label, image, counts = placed(targets, 1, self.classes, size)
        position = points[:, 0] / self.stride
        radius = self._radius(position, label, counts, max(map_size))
        reach = radius.clamp(max=self.offset_region) if self.offset_region > 0 else None
        sides = torch.zeros_like(position)
        return centred(position, image, label, sides, radius, planes, map_size, reach)

    def _radius(
        self, position: Tensor, label: Tensor, counts: Sequence[int], longest: int
    ) -> Tensor:
        """Returns how far blobs reach along x and y, (P, 2) int64 in cells.

        Args:
            position: (P, 2) in cells.
            label: (P,) int64.
            counts: How many of the points each image has.
            longest: Longer side of the maps in cells.
        """
        radius = torch.full_like(position, self.point_radius, dtype=torch.int64)
        if not (self.spacing and self.point_radius):
            return radius
        # Points of other classes are moved out of reach.
        placed = torch.cat((position, 4.0 * longest * label[:, None]), 1)
        start = 0
        for count in counts:
            own = placed[start : start + count]
            for first in range(0, count if count > 1 else 0, _AT_ONCE):
                part = own[first : first + _AT_ONCE]
                # The nearest is the point itself.
                away = torch.cdist(part, own, compute_mode="donot_use_mm_for_euclid_dist")
                near = away.topk(2, largest=False).values[:, 1]
                reach = (near * self.spacing).long().clamp(max=self.point_radius)
                radius[start + first : start + first + len(part)] = reach[:, None]
            start += count
        return radius

    def loss(self, maps: Maps, encoded: CenterEncoded) -> dict[str, Tensor]:
        """Returns the weighted losses of one stack, by the names of ``terms``.

        Heatmap: penalty-reduced focal loss (CenterNet, equation 1), divided by the number of
        positive cells. Offset: L1 at the points' cells (equation 2) and around them, divided by
        the number of coordinates. Density: squares, which the mean of what is possible makes
        smallest, so that their sum is not biased; divided as the heatmap's.

        Args:
            maps: The network's maps, any real dtype.
            encoded: The targets.

        Returns:
            Scalars, float32, or float64 where the maps are.
        """
        positives, objects = encoded.counts[:2].unbind()
        scale = self.heatmap_weight / positives.clamp(min=1)
        heatmap = focal_loss(maps["heatmap"], *encoded.blobs.lists, scale, self.clamp)
        at = encoded.samples
        found = accurate(at_cells(maps["offset"], at.image, at.cell))
        offset = l1_loss(found, at.offset, at.weight, 2 * objects + 1e-4)
        losses = {"heatmap": heatmap, "offset": self.offset_weight * offset}
        if self.density:
            off = accurate(maps["density"]) - _density(encoded)
            losses["density"] = self.density * off.square().sum() / positives.clamp(min=1)
        return losses

    def decode(self, maps: Maps) -> Rows:
        """Reads the K best peaks of each image and the points that the offsets lead to.

        Peaks are chosen among logits, since float32 probabilities near 1 coincide.

        Args:
            maps: The maps of the last stack.
        """
        values, labels, cells = top_peaks(
            maps["heatmap"], self.max_detections, self.peak_kernel, self.one_class_per_cell
        )
        inside = read_cells(maps["offset"], cells).float()
        own = places_of(cells, maps["heatmap"].shape[-1]).float() + inside
        points = self._averaged(maps, cells, labels, own) if self.neighbours else own
        scores = torch.sigmoid(values.float())
        rows = {"points": points * self.stride, "scores": scores, "labels": labels}
        if self.density:
            rows["density"] = maps["density"].float().flatten(2).transpose(1, 2)
        return rows

    def _averaged(self, maps: Maps, cells: Tensor, labels: Tensor, own: Tensor) -> Tensor:
        """Returns the points (B, K, 2) of peaks and of the cells around them; see ``neighbours``.

        Args:
            maps: The maps of the last stack.
            cells: (B, K) int64, row * w + column.
            labels: (B, K) int64.
            own: (B, K, 2) float32, the peaks' own points in cells.
        """
        around = cells_around(maps["heatmap"], cells, labels, self.neighbours)
        place = places_of(around.cells, maps["heatmap"].shape[-1]).float()
        inside = read_cells(maps["offset"], around.cells.flatten(1)).float()
        said = place + inside.view(place.shape)
        agrees = ((said - own[:, :, None]).abs() <= _AGREE).all(-1)
        return around.mean(said, agrees, own)

    def unflip(self, maps: Maps) -> Maps:
        """Turns the maps of the mirrored image (x to W - x) into maps of the image."""
        turned = {name: values.flip(-1) for name, values in maps.items() if name != "offset"}
        return turned | {"offset": unflipped(maps["offset"])}

    def ideal(self, encoded: CenterEncoded) -> Maps:
        """Returns the maps a perfect network would produce; decoding them gives the points.

        Exact to rounding for points with a cell of their own and at most K per image, with
        ``neighbours`` if they are further than half a cell from each other on an axis. Of points
        that share a cell, one is found, with the last one's offset; of two classes both are, unless
        ``one_class_per_cell``.

        Returns:
            float32 maps; the offset is 0 at cells where no point trains it.
        """
        at = encoded.samples
        offset = encoded.map_of(at.offset, at.image, at.cell)
        maps = {"heatmap": encoded.logits(encoded.blobs), "offset": offset}
        return maps | {"density": _density(encoded)} if self.density else maps


def _density(encoded: CenterEncoded) -> Tensor:
    """Returns the density (B, C, h, w): the blob of every point, whose cells sum to 1."""
    windows, shape = encoded.blobs.windows, (encoded.batch, encoded.classes, *encoded.map_size)
    owner = windows.owner
    whole = windows.value.new_zeros(len(windows.counts)).index_add(0, owner, windows.value)
    flat = windows.value.new_zeros(math.prod(shape))
    return flat.index_add(0, windows.cell, windows.value / whole[owner]).view(shape)
