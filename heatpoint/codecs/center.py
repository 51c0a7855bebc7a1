"""Objects as centre points with a size: the representation of CenterNet (Zhou et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor

from heatpoint.codecs import Codec, Maps, MapSpec, Rows, Target, check_size, check_values, require
from heatpoint.codecs.box_maps import (
    AGREE,
    BoxMaps,
    Measure,
    Sides,
    SizeAndOffset,
    check_neighbours,
    overlap,
)
from heatpoint.codecs.encoded import (
    CenterEncoded,
    at_cells,
    blob_radius,
    boxes_in_cells,
    check_blobs,
)
from heatpoint.codecs.gaussian import RadiusRule
from heatpoint.codecs.losses import accurate, focal_loss, giou_loss, l1_loss
from heatpoint.codecs.peaks import cells_around, mean_logit, places_of, read_cells, top_peaks
from heatpoint.codecs.placed import centred
from heatpoint.views.fields import BOXES, LABELS, SCORES, Field, Suppression

Border = Literal["continuous", "cells"]
Normaliser = Literal["coordinates", "objects"]
Collisions = Literal["keep", "last"]


@dataclass(frozen=True)
class CenterCodec(Codec):
    """Centre points: one heatmap per class, and maps that say a box, the same for all classes.

    The defaults are the released CenterNet's, apart from ``border`` and ``clamp``, whose released
    values ("cells" and 1e-4) distort boxes at the border and stop learning from confident errors.

    Attributes:
        classes: Number of classes C.
        stride: Input pixels per cell.
        radius: Rule for the size of the blobs; see ``gaussian_radius``.
        overlap: The rule's overlap: 0.7 with "legacy" and "half-fixed", 0.3 with "fixed".
        alpha: The share of a box's sides that "elliptical" blobs cover.
        round_size: Round sides up to whole cells for the radius, as CenterNet does for boxes in
            images; its 3D variant, mmdet and elliptical blobs do not.
        max_detections: Number of candidates K per image.
        heatmap_bias: What logits of the heatmap begin with: as published, a probability of 0.1;
            what suits data, ``best_constant`` tells.
        heatmap_weight: Weight of the heatmap's loss.
        size_weight: Weight of the size's L1 loss, 0.1 since sizes are in cells.
        offset_weight: Weight of the offset's L1 loss.
        sides_weight: Weight of the sides' L1 loss; see ``measure``.
        giou_weight: Weight of an additional generalised IoU loss of the decoded boxes; 0 for none.
            Keep some L1 loss beside it: an inverted box is beyond its reach.
        border: "continuous" takes boxes as they are; "cells" clips them to [0, w - 1] and
            [0, h - 1] cells, as all released programs do.
        measure: "size" has a map of width and height and one of the offset, as published; "sides"
            one of the distances to the four sides, which are quicker to learn; see ``Sides``.
        log_size: Whether the size map holds natural logarithms of cells instead of cells, as in
            CenterFace (Xu et al. 2019); the L1 loss is then of the logarithms.
        offset: Whether there is an offset map; without, a centre is taken to be its cell's.
        collisions: "keep" trains all objects that share a cell; "last" only the last one, as
            programs with dense targets do.
        clamp: Bound of the clamped sigmoid, or None for the exact loss; see ``focal_loss``.
        normaliser: Sums of L1 losses are divided by the number of "coordinates", two per object,
            or of "objects", which doubles them (popular ports).
        peak_kernel: Side of the neighbourhood of which a peak is the maximum, in cells.
        one_class_per_cell: Whether only the best class of a cell becomes a candidate.
        size_region: Fraction of the blob's radius, from 0 to 1, within which size and offset are
            trained around the centre; 0 trains the centre alone, as published.
        neighbours: Cells on each side of a peak whose boxes are averaged with its own, weighted by
            their probabilities, where they overlap it by 0.6 or more; 0 is as published. Errors of
            several cells cancel in part. Set ``size_region`` so that these cells learn boxes.
        soft_nms: Width sigma of a gaussian soft-NMS of the candidates; None for none, as published
            for a single scale.
    """

    classes: int
    stride: int = 4
    radius: RadiusRule = "legacy"
    overlap: float = 0.7
    alpha: float = 0.54
    round_size: bool = True
    max_detections: int = 100
    heatmap_bias: float = -2.19
    heatmap_weight: float = 1.0
    size_weight: float = 0.1
    offset_weight: float = 1.0
    sides_weight: float = 0.0
    giou_weight: float = 0.0
    border: Border = "continuous"
    measure: Measure = "size"
    log_size: bool = False
    offset: bool = True
    collisions: Collisions = "keep"
    clamp: float | None = None
    normaliser: Normaliser = "coordinates"
    peak_kernel: int = 3
    one_class_per_cell: bool = False
    size_region: float = 0.0
    neighbours: int = 0
    soft_nms: float | None = None

    def __post_init__(self) -> None:
        weights = [f"{part}_weight" for part in ("heatmap", "size", "offset", "sides", "giou")]
        check_values(self, ("classes", "stride", "max_detections", "peak_kernel"), weights)
        check_blobs(
            self.clamp, self.peak_kernel, self.overlap, self.soft_nms, bias=self.heatmap_bias
        )
        require(0 < self.alpha <= 1, "alpha", "lie in (0, 1]", self.alpha)
        region = self.size_region
        require(0 <= region <= 1, "size_region", "lie in [0, 1]", region)
        check_neighbours(self.neighbours, region, "size_region")

    def tuned(self, model: str, values: Mapping[str, Any]) -> Self:
        """Returns the codec with other fields; without ``size_region`` no cell has neighbours.

        Raises:
            HeatpointError: As every codec's.
        """
        alone = {"neighbours": 0} if values.get("size_region") == 0 else {}
        return super().tuned(model, alone | dict(values))

    @property
    def _says(self) -> BoxMaps:
        """How the maps say a box."""
        return Sides() if self.measure == "sides" else SizeAndOffset(self.log_size, self.offset)

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """Heatmap (C logits); size (width, height) and offset (x, y), or sides, in cells."""
        return (
            MapSpec("heatmap", self.classes, bias=self.heatmap_bias, per="class"),
            *self._says.maps,
        )

    @property
    def answer(self) -> tuple[Field, ...]:
        """Boxes, scores and labels."""
        return (BOXES, SCORES, LABELS)

    @property
    def terms(self) -> tuple[str, ...]:
        """``heatmap``, the maps that say a box, and ``giou`` where it is learnt."""
        names = ("heatmap", *(spec.name for spec in self._says.maps))
        return (*names, "giou") if self.giou_weight > 0 else names

    @property
    def steps(self) -> dict[str, tuple[str, ...]]:
        """The heatmap finds and classifies, an offset places to the pixel, the rest measures."""
        said = (spec.name for spec in reversed(self._says.maps))
        return {name: (name,) for name in ("heatmap", *said)}

    @property
    def suppression(self) -> Suppression:
        """Nothing, as published for a single scale, unless ``soft_nms`` is set."""
        return Suppression(self.soft_nms)

    def encode(self, targets: Sequence[Target], size: tuple[int, int]) -> CenterEncoded:
        """Turns the targets of a batch into lists of cells, on the device of the targets.

        A centre exactly on the right or bottom border falls into the last cell.

        Args:
            targets: One per image; boxes in input pixels.
            size: (H, W) of the network's input in pixels, multiples of the stride.

        Raises:
            ValueError: A box is not finite, is empty or has its centre outside of the input; a
                label is out of range; or the size is no multiple of the stride.
        """
        map_size = check_size(size, self.stride)
        inside = self.border == "continuous"
        boxes, label, image, kept = boxes_in_cells(
            targets, self.classes, size, map_size, inside, None if inside else self.stride
        )
        sides = boxes[:, 2:] - boxes[:, :2]
        rounded = self.round_size and self.radius != "elliptical"
        measured = sides.ceil() if rounded else sides
        radius = blob_radius(measured, self.radius, self.overlap, self.alpha)
        center, planes = (boxes[:, :2] + boxes[:, 2:]) / 2, (len(targets), self.classes)
        reach = (radius * self.size_region).long() if self.size_region > 0 else None
        last = self.collisions == "last"
        found = centred(center, image, label, sides, radius, planes, map_size, reach, last)
        return replace(found, kept=kept, left_out=len(kept) - len(boxes))

    def loss(self, maps: Maps, encoded: CenterEncoded) -> dict[str, Tensor]:
        """Returns the weighted losses "heatmap", "size", "offset" (and "giou") of one stack.

        Heatmap: penalty-reduced focal loss (CenterNet, equation 1), divided by the number of
        positive cells. Size and offset: L1 at the objects' cells (equations 2 and 3), divided by
        the number of coordinates, as released, not of objects, as printed.

        Args:
            maps: The network's maps, any real dtype.
            encoded: The targets.

        Returns:
            Scalars, float32, or float64 where the maps are.
        """
        positives, objects = encoded.counts[:2].unbind()
        scale = self.heatmap_weight / positives.clamp(min=1)
        heatmap = focal_loss(maps["heatmap"], *encoded.blobs.lists, scale, self.clamp)
        terms, at = {"heatmap": heatmap}, encoded.samples
        count = objects * (2 if self.normaliser == "coordinates" else 1) + 1e-4
        true, found = self._says.written(at.offset, at.size), {}
        for name, values in true.items():
            found[name] = accurate(at_cells(maps[name], at.image, at.cell))
            loss = l1_loss(found[name], values, at.weight, count)
            terms[name] = getattr(self, f"{name}_weight") * loss
        if self.giou_weight > 0:
            boxes = _boxes(*self._says.read(found, learning=True)), _boxes(at.offset, at.size)
            loss = giou_loss(*boxes, at.weight, objects + 1e-4)
            terms["giou"] = self.giou_weight * loss
        return terms

    def decode(self, maps: Maps) -> Rows:
        """Reads the K best peaks of each image and the boxes at their cells.

        Peaks are chosen among logits, since float32 probabilities near 1 coincide. A negative
        size counts as 0.

        Args:
            maps: The maps of the last stack.
        """
        return self._found(maps)[0]

    def _found(self, maps: Maps) -> tuple[Rows, Tensor]:
        """Returns the rows of boxes and the cell (B, K) int64 of each."""
        values, labels, cells = top_peaks(
            maps["heatmap"], self.max_detections, self.peak_kernel, self.one_class_per_cell
        )
        boxes = self._boxes_at(maps, cells)
        if self.neighbours:
            around = cells_around(maps["heatmap"], cells, labels, self.neighbours)
            said = self._boxes_at(maps, around.cells.flatten(1)).view(*around.cells.shape, 4)
            agrees = overlap(said, boxes[:, :, None]) >= AGREE
            boxes = around.mean(said, agrees, boxes)
        scores = torch.sigmoid(values.float())
        return {"boxes": boxes * self.stride, "scores": scores, "labels": labels}, cells

    def _boxes_at(self, maps: Maps, cells: Tensor) -> Tensor:
        """Returns the boxes (B, K, 4) that cells (B, K) say, xyxy in cells."""
        said = {each.name: read_cells(maps[each.name], cells).float() for each in self._says.maps}
        inside, sides = self._says.read(said)
        return _boxes(places_of(cells, maps["heatmap"].shape[-1]).float() + inside, sides)

    def unflip(self, maps: Maps) -> Maps:
        """Turns the maps of the mirrored image (x to W - x) into maps of the image.

        Those that say boxes know how; see ``box_maps``.
        """
        return {name: values.flip(-1) for name, values in maps.items()} | self._says.unflip(maps)

    def merge_flipped(self, maps: Maps, mirrored: Maps) -> Maps:
        """Averages the maps of an image and of its mirror image, as released for testing.

        Probabilities and sizes, or sides, are averaged; the offset is the image's own.

        Args:
            maps: Maps of the image.
            mirrored: Maps of the mirrored image, not yet turned back.

        Returns:
            Maps of the image; the heatmap holds the logit of the mean probability.
        """
        return self._merged(maps, self.unflip(mirrored))

    def _merged(self, maps: Maps, other: Maps) -> Maps:
        """Averages the maps of an image and those of its mirror image, turned back."""
        heatmap = mean_logit(maps["heatmap"].float(), other["heatmap"].float())
        return {**self._says.merged(maps, other), "heatmap": heatmap}

    def ideal(self, encoded: CenterEncoded) -> Maps:
        """Returns the maps a perfect network would produce; decoding them gives the targets.

        Exact to rounding for objects with a cell of their own and at most K per image. Of objects
        that share a cell, all get the last one's box; with ``neighbours``, objects near each other
        that overlap by 0.6 or more get a mean. Without an offset map, a centre is off by half a
        cell on each axis at most.

        Returns:
            float32 maps; those that say boxes are 0 at cells that no object trains.
        """
        at, maps = encoded.samples, {"heatmap": encoded.logits(encoded.blobs)}
        for name, values in self._says.written(at.offset, at.size).items():
            maps[name] = encoded.map_of(values, at.image, at.cell)
        return maps


def _boxes(center: Tensor, sides: Tensor) -> Tensor:
    """Returns boxes xyxy (..., 4) from centres (x, y) and sides (width, height)."""
    return torch.cat((center - sides / 2, center + sides / 2), -1)
