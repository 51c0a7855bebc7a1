"""Objects as centre points with the distances to their four sides: TTFNet (Liu et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from heatpoint.codecs import Codec, Maps, MapSpec, Rows, Target, check_size, check_values, require
from heatpoint.codecs.encoded import (
    Blobs,
    ObjectsEncoded,
    at_cells,
    blob_radius,
    check_blobs,
    list_points,
    ranked,
)
from heatpoint.codecs.gaussian import gaussian_windows
from heatpoint.codecs.losses import accurate, focal_loss, giou_loss
from heatpoint.codecs.peaks import places_of, read_cells, top_peaks
from heatpoint.codecs.placed import boxes_in_cells
from heatpoint.views.fields import BOXES, LABELS, SCORES, Field

Area = Literal["log", "sqrt"]
Border = Literal["continuous", "pixels"]
Collisions = Literal["own", "smallest"]


class SideSamples(NamedTuple):
    """Cells at which the sides are trained; S of them in the batch.

    Attributes:
        plane: (S,) int64, the image, or image * C + label where classes have sides of their own.
        cell: (S,) int64, row * w + column.
        sides: (S, 4) float32, distances from the cell's corner to the left, upper, right and lower
            side of the box in input pixels; negative where the corner lies outside of the box.
        weight: (S,) float32, above 0.
    """

    plane: Tensor
    cell: Tensor
    sides: Tensor
    weight: Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class TTFEncoded(ObjectsEncoded):
    """The targets of ``TTFCodec`` for a batch.

    Attributes:
        image: (P,) int64, of each object.
        cell: (P,) int64, row * w + column of its centre.
        blobs: The target of the heatmap.
        samples: Where the sides are trained.
        counts: (2,) float32, of the heatmap's loss and of the sides': number of positive cells and
            sum of the samples' weights.
    """

    image: Tensor
    cell: Tensor
    blobs: Blobs
    samples: SideSamples

    def preview(self) -> Tensor:
        """Draws the target of the heatmap: (B, C, h, w) float32 in [0, 1], 1 at the centres."""
        return self.drawn(self.blobs)


@dataclass(frozen=True)
class TTFCodec(Codec):
    """Centre points and sides: a heatmap per class, and four distances for all classes or for each.

    A box is measured from the upper left corner of a cell, without an offset: any cell that looks
    at an object can say its box, so an ellipse around each centre learns it, and training is quick.
    The defaults are the released TTFNet's, apart from ``border``, ``collisions`` and ``clamp``,
    whose released values are "pixels", "smallest" and 1e-4.

    Attributes:
        classes: Number of classes C.
        stride: Input pixels per cell.
        alpha: Share of a box's sides that the ellipse on the heatmap covers.
        beta: Share of a box's sides within which the distances are learnt.
        unit: Input pixels that 1 in the map of sides stands for.
        area: A cell's weight is its gaussian's value, divided by their sum over the object, times
            the "log" or the "sqrt" of the area (w + 1) (h + 1) in input pixels.
        max_detections: Number of candidates K per image.
        heatmap_weight: Weight of the heatmap's loss.
        giou_weight: Weight of the sides' generalised IoU loss.
        border: "continuous" takes boxes as they are; "pixels" clips their ellipses to the centres
            of the last cells and adds 1 to every length within the IoU, as released.
        collisions: A cell that several objects cover is the smallest one's, as released; but "own"
            leaves to each object the cell of its centre, where ``decode`` looks for it.
        per_class: Whether each class has sides of its own, so that only objects of one class can
            cover a cell in turn; for few classes, since there are 4C channels then.
        clamp: Bound of the clamped sigmoid, or None for the exact loss; see ``focal_loss``.
        peak_kernel: Side of the neighbourhood of which a peak is the maximum, in cells.
    """

    classes: int
    stride: int = 4
    alpha: float = 0.54
    beta: float = 0.54
    unit: float = 16.0
    area: Area = "log"
    max_detections: int = 100
    heatmap_weight: float = 1.0
    giou_weight: float = 5.0
    border: Border = "continuous"
    collisions: Collisions = "own"
    per_class: bool = False
    clamp: float | None = None
    peak_kernel: int = 3

    def __post_init__(self) -> None:
        whole = ("classes", "stride", "max_detections", "peak_kernel")
        check_values(self, whole, ("heatmap_weight", "giou_weight"))
        check_blobs(self.clamp, self.peak_kernel)
        for name in ("alpha", "beta"):
            value = getattr(self, name)
            require(0 < value <= 1, name, "lie in (0, 1]", value)
        require(0 < self.unit < math.inf, "unit", "be above 0", self.unit)

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """Heatmap (C logits) and sides (left, top, right, bottom in ``unit``; below 0 means 0).

        Where classes have sides of their own, the four of a class follow those of the one before.
        """
        heatmap = MapSpec("heatmap", self.classes, bias=-math.log(99), per="class", std=0.01)
        if self.per_class:
            return (heatmap, MapSpec("sides", 4 * self.classes, per="class", std=0.001))
        return (heatmap, MapSpec("sides", 4, std=0.001))

    @property
    def answer(self) -> tuple[Field, ...]:
        """Boxes, scores and labels."""
        return (BOXES, SCORES, LABELS)

    @property
    def terms(self) -> tuple[str, ...]:
        """``heatmap`` and ``giou``."""
        return ("heatmap", "giou")

    def encode(self, targets: Sequence[Target], size: tuple[int, int]) -> TTFEncoded:
        """Turns the targets of a batch into lists of cells, on the device of the targets.

        Args:
            targets: One per image; boxes in input pixels.
            size: (H, W) of the network's input in pixels, multiples of the stride.

        Raises:
            ValueError: A box is not finite, is empty or has its centre outside of the input; a
                label is out of range; or the size is no multiple of the stride.
        """
        map_size = check_size(size, self.stride)
        boxes, label, image, kept = boxes_in_cells(
            targets, self.classes, size, map_size, True, None
        )
        covered = boxes
        if self.border == "pixels":
            end = boxes.new_tensor((map_size[1] - 1, map_size[0] - 1)).repeat(2)
            covered = torch.minimum(boxes, end).clamp(min=0)
        measured = covered[:, 2:] - covered[:, :2]
        radius, inner = (
            blob_radius(measured, "elliptical", alpha=share) for share in (self.alpha, self.beta)
        )
        center, batch = (boxes[:, :2] + boxes[:, 2:]) / 2, len(targets)
        planes = batch, self.classes
        cell, _, blobs = list_points(center, image, label, radius, planes, map_size)
        boxes = (boxes * self.stride).float()
        plane = image * self.classes + label if self.per_class else image
        samples = self._samples(boxes, plane, cell, inner, (batch * self._shares, *map_size))
        total = samples.weight.sum()
        return TTFEncoded(
            batch=batch,
            classes=self.classes,
            map_size=map_size,
            label=label,
            image=image,
            cell=cell,
            blobs=blobs,
            samples=samples,
            counts=torch.stack((torch.full_like(total, len(blobs.peaks)), total)),
            left_out=len(kept) - len(boxes),
        )

    @property
    def _shares(self) -> int:
        """Maps of four sides that an image has."""
        return self.classes if self.per_class else 1

    def _samples(
        self, boxes: Tensor, plane: Tensor, cell: Tensor, radius: Tensor, shape: tuple[int, ...]
    ) -> SideSamples:
        """Returns the cells of the ellipses, each once, with the sides of the object it belongs to.

        Weights follow TTFNet, equation 6: of an object whose cells others took away, the rest
        keeps its weight.

        Args:
            boxes: (P, 4) xyxy in input pixels.
            plane: (P,) int64, as in ``SideSamples``.
            cell: (P,) int64, of the centres.
            radius: (P, 2) int64, half sides of the regions along x and y in cells.
            shape: Number of planes, h and w.
        """
        planes, height, width = shape
        cells = height * width
        windows = gaussian_windows(plane, cell % width, cell // width, radius, (height, width))
        owner, area = windows.owner, (boxes[:, 2:] - boxes[:, :2] + 1).prod(-1)
        rank, best = ranked(windows, area, planes * cells)
        if self.collisions == "own":
            place = plane * cells + cell
            best[place] = len(rank)
            best.scatter_reduce_(0, place, rank, "amin")
        whole = torch.zeros_like(area).index_add_(0, owner, windows.value)
        worth = (area.log() if self.area == "log" else area.sqrt()) / whole
        won = best[windows.cell] == rank[owner]
        owner, cell = owner[won], windows.cell[won] % cells
        corner = self.stride * places_of(cell, width).to(boxes)
        sides = torch.cat((corner - boxes[owner, :2], boxes[owner, 2:] - corner), 1)
        return SideSamples(plane[owner], cell, sides, windows.value[won] * worth[owner])

    def loss(self, maps: Maps, encoded: TTFEncoded) -> dict[str, Tensor]:
        """Returns the weighted losses "heatmap" and "giou" of one stack.

        Heatmap: penalty-reduced focal loss (equation 4), divided by the number of positive cells.
        Sides: 1 - GIoU at the cells of the ellipses, the mean by their weights (equation 5).

        Args:
            maps: The network's maps, any real dtype.
            encoded: The targets.

        Returns:
            Scalars, float32, or float64 where the maps are.
        """
        positives, total = encoded.counts.unbind()
        scale = self.heatmap_weight / positives.clamp(min=1)
        heatmap = focal_loss(maps["heatmap"], *encoded.blobs.lists, scale, self.clamp)
        at = encoded.samples
        planes = maps["sides"].reshape(-1, 4, *maps["sides"].shape[2:])
        found = self._in_pixels(accurate(at_cells(planes, at.plane, at.cell)))
        away = found.new_tensor((-1, -1, 1, 1))
        ends = 1.0 if self.border == "pixels" else 0.0
        giou = giou_loss(found * away, at.sides * away, at.weight, total + 1e-4, ends)
        return {"heatmap": heatmap, "giou": self.giou_weight * giou}

    def _in_pixels(self, sides: Tensor) -> Tensor:
        """Returns distances of at least 0 in input pixels."""
        return torch.relu(sides) * self.unit

    def decode(self, maps: Maps) -> Rows:
        """Reads the K best peaks of each image and the boxes around the corners of their cells.

        Args:
            maps: The maps of the last stack.
        """
        heatmap = maps["heatmap"]
        values, labels, cells = top_peaks(heatmap, self.max_detections, self.peak_kernel)
        sides = self._in_pixels(read_cells(maps["sides"], cells).float())
        if self.per_class:
            own = labels[..., None, None].expand(-1, -1, 1, 4)
            sides = sides.reshape(*cells.shape, self.classes, 4).gather(2, own).squeeze(2)
        corner = places_of(cells, heatmap.shape[-1]).float() * self.stride
        boxes = torch.cat((corner - sides[..., :2], corner + sides[..., 2:]), -1)
        return {"boxes": boxes, "scores": torch.sigmoid(values.float()), "labels": labels}

    def unflip(self, maps: Maps) -> Maps:
        """Turns the maps of the mirrored image (x to W - x) into maps of the image.

        Left and right change places. The mirror image of a cell's left edge is its right one, from
        which left is a cell further and right a cell less far.
        """
        sides = torch.relu(maps["sides"]).flip(-1)
        shape = sides.shape[0], self._shares, 4, *sides.shape[2:]
        left, top, right, bottom = sides.reshape(shape).unbind(2)
        cell = self.stride / self.unit
        sides = torch.stack((right - cell, top, left + cell, bottom), 2).flatten(1, 2)
        return {"heatmap": maps["heatmap"].flip(-1), "sides": sides}

    def merge_flipped(self, maps: Maps, mirrored: Maps) -> Maps:
        """Averages probabilities and sides of an image and of its mirror image.

        The released program does not look at mirror images.

        Args:
            maps: Maps of the image.
            mirrored: Maps of the mirrored image, not yet turned back.

        Returns:
            Maps of the image; the heatmap holds the logit of the mean probability.
        """
        return super().merge_flipped({**maps, "sides": torch.relu(maps["sides"])}, mirrored)

    def ideal(self, encoded: TTFEncoded) -> Maps:
        """Returns the maps a perfect network would produce; decoding them gives the targets.

        Exact to rounding for objects with a cell of their own, at most K per image, and with
        ``collisions`` "own". A box that does not hold the upper left corner of its centre's cell,
        so that its width or height is below two cells, begins there: distances are never negative.
        Where objects share the cell of their centre, all (all of a class, where each has sides of
        its own) get the smallest one's box.

        Returns:
            float32 maps; sides are 0 at cells that no object trains.
        """
        at = encoded.samples
        sides = encoded.map_of(at.sides / self.unit, at.plane, at.cell, self._shares)
        return {"heatmap": encoded.logits(encoded.blobs), "sides": sides}
