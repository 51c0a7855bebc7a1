"""Four corners by class: plates, pages, table cells, parts and whatever else lies turned.

A heatmap of each class as CenterNet's (Zhou et al. 2019, section 3), and at every cell around the
middle of an object the ways to its four corners. A rotated box is the special case of a rectangle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from heatpoint.codecs import Codec, Maps, MapSpec, Rows, Target, check_size, check_values, require
from heatpoint.codecs.box_maps import AGREE, check_neighbours, overlap
from heatpoint.codecs.encoded import (
    CenterEncoded,
    Points,
    at_cells,
    blob_radius,
    check_blobs,
    list_points,
)
from heatpoint.codecs.gaussian import RadiusRule
from heatpoint.codecs.losses import accurate, focal_loss, l1_loss
from heatpoint.codecs.moves import moved_corners, placed_peaks
from heatpoint.codecs.peaks import cells_around, places_of, read_cells, top_peaks, unflipped
from heatpoint.codecs.placed import centred, placed
from heatpoint.codecs.quad_maps import Corners, Outline, QuadMaps
from heatpoint.views.fields import BOXES, LABELS, QUADS, SCORES, Field, Part

Order = Literal["any", "own"]

_CORNER = 2
"""Cells that the blob of a corner reaches at most on each side: it is to be placed, not found."""

_THIN = 0.25
"""Cells that an object counts as wide at least: no label is more exact than an input pixel."""


@dataclass(frozen=True, eq=False, kw_only=True)
class QuadEncoded(CenterEncoded):
    """The targets of ``QuadCodec`` for a batch.

    Attributes:
        counts: (4,) float32; those of ``CenterEncoded``, then the numbers of positive cells of the
            corners' heatmap and of corners within the input.
        corners: (P, 4, 2) float32, from the middle of each object to its corners, in cells.
        at: Where the corners within the input are, and the target of their heatmap.
        at_image: int64, the image of each of these.
    """

    corners: Tensor
    at: Points
    at_image: Tensor

    def ways(self) -> Tensor:
        """Returns the ways (S, 4, 2) from the middles of the samples' cells to the corners."""
        at = self.samples
        return self.corners[at.owner] + (at.offset - 0.5)[:, None]


@dataclass(frozen=True)
class QuadCodec(Codec):
    """Four corners: one heatmap per class, and the ways to the corners that all classes share.

    The middle of an object is the mean of its corners, which follow each other clockwise as seen.
    Which of them is the first is what the data says with ``order="own"``: the upper left one of a
    plate or a line of text, however it lies; see ``quad_maps.Corners``. Things without such a
    corner look alike from two or four sides, so that no network could say which is meant; with
    ``order="any"`` only what no turn changes is learnt, and the first corner of an answer means
    nothing; see ``quad_maps.Outline``.

    Attributes:
        classes: Number of classes C.
        stride: Input pixels per cell.
        order: "any" or "own"; see above.
        radius: Rule for the size of the blobs, of the lengths of sides; see ``gaussian_radius``.
        overlap: The rule's overlap.
        corner_region: Share of an object's shorter sides, from 0 to 1, within which corners are
            learnt around the middle: they are learnt sooner, and a peak beside it finds them too.
        max_detections: Number of candidates K per image.
        heatmap_bias: What logits of the heatmaps begin with: as published, a probability of 0.1;
            what suits data, ``best_constant`` tells.
        heatmap_weight: Weight of the heatmap's loss.
        corners_weight: Weight of the corners' L1 loss.
        shape_weight: Weight of an additional loss of how far corners are away in the object's own
            sides, which weighs errors as the overlap of thin and of large objects does; 0 for none.
            Keep some L1 loss beside it: far corners hardly change it.
        neighbours: Cells on each side of a peak whose corners are averaged with its own, weighted
            by their probabilities, where the boxes around them overlap by 0.6 or more. Errors of
            several cells cancel in part. Set ``corner_region`` so that these cells learn corners.
        corner_heatmap: Whether corners have a heatmap, one for all, and a map of their places in
            its cells, and move to its peaks: from the middle of a large object they are hard to
            say exactly. See ``moved_corners``.
        corner_heatmap_weight: Weight of the loss of the corners' heatmap.
        corner_offset_weight: Weight of the L1 loss of their places in the cells.
        clamp: Bound of the clamped sigmoid, or None for the exact loss; see ``focal_loss``.
        peak_kernel: Side of the neighbourhood of which a peak is the maximum, in cells.
        one_class_per_cell: Whether only the best class of a cell becomes a candidate.
    """

    learns: ClassVar[frozenset[Part]] = frozenset({"quads"})
    place: ClassVar[str] = "middle"

    classes: int
    stride: int = 4
    order: Order = "any"
    radius: RadiusRule = "legacy"
    overlap: float = 0.7
    corner_region: float = 0.6
    max_detections: int = 100
    heatmap_bias: float = -2.19
    heatmap_weight: float = 1.0
    corners_weight: float = 4.0
    shape_weight: float = 0.0
    neighbours: int = 0
    corner_heatmap: bool = False
    corner_heatmap_weight: float = 1.0
    corner_offset_weight: float = 1.0
    clamp: float | None = None
    peak_kernel: int = 3
    one_class_per_cell: bool = False

    def __post_init__(self) -> None:
        parts = ("heatmap", "corners", "shape", "corner_heatmap", "corner_offset")
        whole = ("classes", "stride", "max_detections", "peak_kernel")
        check_values(self, whole, [f"{part}_weight" for part in parts])
        check_blobs(self.clamp, self.peak_kernel, self.overlap, bias=self.heatmap_bias)
        region = self.corner_region
        require(0 <= region <= 1, "corner_region", "lie in [0, 1]", region)
        check_neighbours(self.neighbours, region, "corner_region")

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """Heatmap (C logits), and numbers that say the corners, with a branch of their own.

        With ``corner_heatmap``, one logit and where in its cell a corner is (x, y in cells).
        """
        heatmap = MapSpec("heatmap", self.classes, bias=self.heatmap_bias, per="class")
        maps: tuple[MapSpec, ...] = (heatmap, self.corners.spec)
        if self.corner_heatmap:
            maps += (MapSpec("corner_heatmap", 1, bias=self.heatmap_bias),)
            maps += (MapSpec("corner_offset", 2, std=0.001),)
        return maps

    @property
    def corners(self) -> QuadMaps:
        """How cells say corners."""
        return Outline() if self.order == "any" else Corners()

    @property
    def handed(self) -> bool:
        """Whether one corner is the first: a mark that tells it would be at another one."""
        return self.order == "own"

    @property
    def answer(self) -> tuple[Field, ...]:
        """The upright boxes around the quads, the quads, scores and labels."""
        return (BOXES, QUADS, SCORES, LABELS)

    @property
    def terms(self) -> tuple[str, ...]:
        """``heatmap`` and ``corners``, and what else is learnt."""
        shape = ("shape",) if self.shape_weight > 0 else ()
        places = ("corner_heatmap", "corner_offset") if self.corner_heatmap else ()
        return ("heatmap", "corners", *shape, *places)

    def encode(self, targets: Sequence[Target], size: tuple[int, int]) -> QuadEncoded:
        """Turns the quads of a batch into lists of cells, on the device of the targets.

        Args:
            targets: One per image; points (N, 4, 2) in input pixels, clockwise as seen.
            size: (H, W) of the network's input in pixels, multiples of the stride.

        Raises:
            ValueError: A target has no four corners for each object, one is not finite, a middle
                lies outside of the input, a label is out of range, or the size is no multiple of
                the stride.
        """
        map_size, planes = check_size(size, self.stride), (len(targets), self.classes)
        quads, label, image, _ = placed(targets, 4, self.classes, size)
        quads = quads / self.stride
        middle = quads.mean(1)
        corners = quads - middle[:, None]
        lengths = torch.linalg.vector_norm(corners.roll(-1, 1) - corners, dim=-1)
        sides = (lengths[:, :2] + lengths[:, 2:]) / 2
        radius = blob_radius(sides, self.radius, self.overlap).amin(1, keepdim=True).expand(-1, 2)
        reach = None
        if self.corner_region > 0:
            reach = (self.corner_region / 2 * sides.amin(1, keepdim=True)).long().expand(-1, 2)
        found = centred(middle, image, label, sides, radius, planes, map_size, reach)
        end = quads.new_tensor((map_size[1], map_size[0]))
        owner, which = ((quads >= 0) & (quads <= end)).all(-1).nonzero().unbind(1)
        labels, own = torch.zeros_like(owner), (len(targets), 1)
        narrow = radius[owner].clamp(max=_CORNER)
        at = list_points(quads[owner, which], image[owner], labels, narrow, own, map_size)
        total = found.counts[0]
        numbers = (torch.full_like(total, len(each)) for each in (at.blobs.peaks, owner))
        known = vars(found) | {"counts": torch.stack((*found.counts, *numbers))}
        return QuadEncoded(**known, corners=corners.float(), at=at, at_image=image[owner])

    def loss(self, maps: Maps, encoded: QuadEncoded) -> dict[str, Tensor]:
        """Returns the weighted losses of one stack, by the names in ``terms``.

        Heatmap: penalty-reduced focal loss (CenterNet, equation 1), divided by the number of
        positive cells. Corners: L1 of the numbers as they are written, averaged over each
        object's cells, divided by the number of objects. Shape: see ``_shape_loss``. The corners'
        heatmap and their places in cells: as the joints' of CenterNet (section 4.2).

        Args:
            maps: The network's maps, any real dtype.
            encoded: The targets.

        Returns:
            Scalars, float32, or float64 where the maps are.
        """
        positives, objects, peaks, within = encoded.counts.unbind()
        scale = self.heatmap_weight / positives.clamp(min=1)
        heatmap = focal_loss(maps["heatmap"], *encoded.blobs.lists, scale, self.clamp)
        at, ways = encoded.samples, encoded.ways()
        found = accurate(at_cells(maps[self.corners.spec.name], at.image, at.cell))
        weight = at.weight / (objects + 1e-4)
        off = (found - self.corners.written(ways)).abs().mean(1)
        terms = {"heatmap": heatmap, "corners": self.corners_weight * (off * weight).sum()}
        if self.shape_weight > 0:
            shape = _shape_loss(self.corners.away(found, ways), ways, weight)
            terms["shape"] = self.shape_weight * shape
        if self.corner_heatmap:
            scale, place = self.corner_heatmap_weight / peaks.clamp(min=1), encoded.at
            said = maps["corner_heatmap"]
            terms["corner_heatmap"] = focal_loss(said, *place.blobs.lists, scale, self.clamp)
            inside = at_cells(maps["corner_offset"], encoded.at_image, place.cell)
            ones = torch.ones_like(place.offset[:, 0])
            loss = l1_loss(inside, place.offset, ones, 2 * within + 1e-4)
            terms["corner_offset"] = self.corner_offset_weight * loss
        return terms

    def decode(self, maps: Maps) -> Rows:
        """Reads the K best peaks of each image and the corners that their cells lead to.

        Corners within the input move to a near peak of their own heatmap, where there is one.

        Peaks are chosen among logits, since float32 probabilities near 1 coincide.

        Args:
            maps: The maps of the last stack.
        """
        values, labels, cells = top_peaks(
            maps["heatmap"], self.max_detections, self.peak_kernel, self.one_class_per_cell
        )
        quads = self._quads_at(maps, cells)
        if self.neighbours:
            around = cells_around(maps["heatmap"], cells, labels, self.neighbours)
            said = self._quads_at(maps, around.cells.flatten(1)).view(*around.cells.shape, 4, 2)
            agrees = overlap(_around(said), _around(quads)[:, :, None]) >= AGREE
            said = self.corners.like(said, quads).flatten(-2)
            quads = around.mean(said, agrees, quads.flatten(-2)).view(quads.shape)
        if self.corner_heatmap:
            quads = self._placed(maps, quads)
        quads = quads * self.stride
        scores = torch.sigmoid(values.float())
        return {"boxes": _around(quads), "quads": quads, "scores": scores, "labels": labels}

    def _placed(self, maps: Maps, quads: Tensor) -> Tensor:
        """Returns corners (B, K, 4, 2) in cells that moved to the peaks of their heatmap."""
        height, width = maps["heatmap"].shape[-2:]
        count, kernel = 4 * self.max_detections, self.peak_kernel
        peaks = placed_peaks(maps["corner_heatmap"], maps["corner_offset"], count, kernel)
        unit = quads.new_ones(())  # an exported program reads the sides off its maps
        end = torch.stack((unit * width, unit * height))
        moved = moved_corners(quads, peaks)
        inside = ((quads >= 0) & (quads <= end)).all(-1, keepdim=True)
        return torch.where(inside, moved, quads)

    def _quads_at(self, maps: Maps, cells: Tensor) -> Tensor:
        """Returns the corners (B, K, 4, 2) that cells (B, K) say, in cells."""
        ways = self.corners.read(read_cells(maps[self.corners.spec.name], cells).float())
        middles = places_of(cells, maps["heatmap"].shape[-1]).float() + 0.5
        return ways + middles.unsqueeze(-2)

    def unflip(self, maps: Maps) -> Maps:
        """Turns the maps of the mirrored image (x to W - x) into maps of the image."""
        name = self.corners.spec.name
        back = {"heatmap": maps["heatmap"].flip(-1), name: self.corners.unflip(maps[name])}
        if self.corner_heatmap:
            back["corner_heatmap"] = maps["corner_heatmap"].flip(-1)
            back["corner_offset"] = unflipped(maps["corner_offset"])
        return back

    def ideal(self, encoded: QuadEncoded) -> Maps:
        """Returns the maps a perfect network would produce; decoding them gives the quads.

        Exact to rounding for objects with a cell of their own and at most K per image; the first
        corner is the data's with ``order="own"``, else the upper left one. Of objects that share a
        cell, all get the last one's corners; with ``neighbours``, of those near each other whose
        boxes overlap by 0.6 or more, a mean; with ``corner_heatmap``, a corner that shares its cell
        with another moves by less than a cell on each axis.

        Returns:
            float32 maps; numbers are 0 at cells that no object trains.
        """
        at = encoded.samples
        numbers = self.corners.written(encoded.ways())
        said = encoded.map_of(numbers, at.image, at.cell)
        maps = {"heatmap": encoded.logits(encoded.blobs), self.corners.spec.name: said}
        if self.corner_heatmap:
            place = encoded.at
            maps["corner_heatmap"] = encoded.logits(place.blobs, 1)
            inside = encoded.map_of(place.offset, encoded.at_image, place.cell)
            maps["corner_offset"] = inside
        return maps


def _around(quads: Tensor) -> Tensor:
    """Returns the upright boxes (..., 4) xyxy around corners (..., 4, 2)."""
    return torch.cat((quads.amin(-2), quads.amax(-2)), -1)


def _shape_loss(away: Tensor, ways: Tensor, weight: Tensor) -> Tensor:
    """Returns the weighted sum of ln(1 + d), d how far corners are away in the object's own sides.

    The means U and V of sides that lie opposite each other span the object. A corner that is away
    by x U + y V counts as |x| + |y|, and d is the mean of the four: small errors weigh as they
    weigh in the overlap, in thin objects as in large ones, for both are the same after any affine
    map, down to a pixel's width. Of a corner far away the loss says little, and its gradient is
    small.

    Args:
        away: (S, 4, 2) how far the corners are away, in cells.
        ways: (S, 4, 2) the true ways to the corners, in cells.
        weight: (S,) of the rows.
    """
    one, two, three, four = ways.unbind(1)
    along, across = (two - one + three - four) / 2, (three - two + four - one) / 2
    area = along[:, 0] * across[:, 1] - along[:, 1] * across[:, 0]
    longer = torch.stack((along, across)).square().sum(-1).amax(0).sqrt()
    area = torch.maximum(area, _THIN * longer.clamp(min=_THIN))  # four corners in one place, too
    x, y = away.unbind(-1)
    first = x * across[:, 1:] - y * across[:, :1]
    second = y * along[:, :1] - x * along[:, 1:]
    sides = (first.abs() + second.abs()).mean(1) / area
    return (sides.log1p() * weight).sum()
