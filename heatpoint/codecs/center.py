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
    check_blobs,
)
from heatpoint.codecs.gaussian import RadiusRule
from heatpoint.codecs.losses import accurate, focal_loss, giou_loss, l1_loss
from heatpoint.codecs.peaks import cells_around, mean_logit, places_of, read_cells, top_peaks
from heatpoint.codecs.placed import boxes_in_cells, centred
from heatpoint.codecs.side_maps import (
    HEATMAP,
    OFFSET,
    list_sides,
    merged_sides,
    placed_sides,
    side_maps,
    unflipped_sides,
)
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
        heatmap_bias: What logits of heatmaps begin with: as published, a probability of 0.1;
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
        per_class: Whether each class has maps of its own that say boxes, so that only objects of
            one class can share a cell (``cat_spec_wh`` of the released program): a person, the
            vest and the badge on it have one middle. There are as many maps as classes then.
        side_heatmap: Whether sides have a heatmap, and a map of their places in its cells, and move
            to where these say: from the middle of an object they are hard to say exactly. See
            ``side_maps``.
        side_heatmap_weight: Weight of the loss of the sides' heatmap.
        side_offset_weight: Weight of the L1 loss of their places in the cells.
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
    per_class: bool = False
    side_heatmap: bool = False
    side_heatmap_weight: float = 1.0
    side_offset_weight: float = 1.0

    def __post_init__(self) -> None:
        parts = ("heatmap", "size", "offset", "sides", "giou", "side_heatmap", "side_offset")
        weights = [f"{part}_weight" for part in parts]
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
        """Heatmap (C logits); size (width, height) and offset (x, y), or sides, in cells.

        With ``per_class``, those of a class follow those of the one before. With ``side_heatmap``,
        4 logits and where in its cell each of the four sides is, in cells.
        """
        heatmap = MapSpec("heatmap", self.classes, bias=self.heatmap_bias, per="class")
        said = self._says.maps
        if self.per_class:
            said = tuple(_for_each(spec, self.classes) for spec in said)
        return (heatmap, *said, *(side_maps(self.heatmap_bias) if self.side_heatmap else ()))

    @property
    def answer(self) -> tuple[Field, ...]:
        """Boxes, scores and labels."""
        return (BOXES, SCORES, LABELS)

    @property
    def terms(self) -> tuple[str, ...]:
        """``heatmap``, the maps that say a box, and what else is learnt."""
        names = ("heatmap", *(spec.name for spec in self._says.maps))
        giou = ("giou",) if self.giou_weight > 0 else ()
        return (*names, *giou, *((HEATMAP, OFFSET) if self.side_heatmap else ()))

    @property
    def steps(self) -> dict[str, tuple[str, ...]]:
        """The heatmap finds and classifies, an offset places to the pixel, the rest measures.

        A true heatmap of sides with places that are not would move them too far: both are one step.
        """
        said = (spec.name for spec in reversed(self._says.maps))
        steps = {name: (name,) for name in ("heatmap", *said)}
        return steps | ({"side_maps": (HEATMAP, OFFSET)} if self.side_heatmap else {})

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
        apart = self.per_class
        found = centred(center, image, label, sides, radius, planes, map_size, reach, last, apart)
        if self.side_heatmap:
            at = list_sides(boxes, image, radius, len(targets), map_size)
            total = found.counts[0]
            numbers = (torch.full_like(total, len(each)) for each in (at.blobs.peaks, at.cell))
            found = replace(found, sides=at, counts=torch.stack((*found.counts, *numbers)))
        return replace(found, kept=kept, left_out=len(kept) - len(boxes))

    def loss(self, maps: Maps, encoded: CenterEncoded) -> dict[str, Tensor]:
        """Returns the weighted losses "heatmap", "size", "offset" and so on of one stack.

        Heatmap: penalty-reduced focal loss (CenterNet, equation 1), divided by the number of
        positive cells. Size and offset: L1 at the objects' cells (equations 2 and 3), divided by
        the number of coordinates, as released, not of objects, as printed. The sides' heatmap and
        their places in cells: as the centres', of the cells that sides pass through.

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
            planes = _apart(maps[name], values.shape[1])
            found[name] = accurate(at_cells(planes, encoded.plane(at), at.cell))
            loss = l1_loss(found[name], values, at.weight, count)
            terms[name] = getattr(self, f"{name}_weight") * loss
        if self.giou_weight > 0:
            boxes = _boxes(*self._says.read(found, learning=True)), _boxes(at.offset, at.size)
            loss = giou_loss(*boxes, at.weight, objects + 1e-4)
            terms["giou"] = self.giou_weight * loss
        if encoded.sides is not None:
            (peaks, cells), on = encoded.counts[2:4].unbind(), encoded.sides
            scale = self.side_heatmap_weight / peaks.clamp(min=1)
            terms[HEATMAP] = focal_loss(maps[HEATMAP], *on.blobs.lists, scale, self.clamp)
            inside = accurate(at_cells(_apart(maps[OFFSET], 1), on.plane, on.cell))
            loss = l1_loss(inside, on.offset, torch.ones_like(on.offset[:, 0]), cells + 1e-4)
            terms[OFFSET] = self.side_offset_weight * loss
        return terms

    def decode(self, maps: Maps) -> Rows:
        """Reads the K best peaks of each image and the boxes at their cells.

        With ``side_heatmap``, sides then move to where it says that one is, and half of a score is
        multiplied by how sure they are of their places: of two boxes whose middles are as
        probable, the one whose sides were seen is the better one.

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
        boxes = self._boxes_at(maps, cells, labels)
        if self.neighbours:
            around = cells_around(maps["heatmap"], cells, labels, self.neighbours)
            own = labels.repeat_interleave(around.cells.shape[2], 1)
            said = self._boxes_at(maps, around.cells.flatten(1), own).view(*around.cells.shape, 4)
            agrees = overlap(said, boxes[:, :, None]) >= AGREE
            boxes = around.mean(said, agrees, boxes)
        scores = torch.sigmoid(values.float())
        if self.side_heatmap:
            boxes, sure = placed_sides(boxes, maps)
            scores, best = (scores * (1 + sure) / 2).topk(scores.shape[1])
            labels, cells = labels.gather(1, best), cells.gather(1, best)
            boxes = boxes.gather(1, best[..., None].expand(-1, -1, 4))
        return {"boxes": boxes * self.stride, "scores": scores, "labels": labels}, cells

    def _boxes_at(self, maps: Maps, cells: Tensor, labels: Tensor) -> Tensor:
        """Returns the boxes (B, K, 4) that cells (B, K) say of labels (B, K), xyxy in cells."""
        said = {each.name: read_cells(maps[each.name], cells).float() for each in self._says.maps}
        if self.per_class:
            said = {name: _of_class(values, labels, self.classes) for name, values in said.items()}
        inside, sides = self._says.read(said)
        return _boxes(places_of(cells, maps["heatmap"].shape[-1]).float() + inside, sides)

    def unflip(self, maps: Maps) -> Maps:
        """Turns the maps of the mirrored image (x to W - x) into maps of the image.

        Those that say boxes know how; see ``box_maps`` and ``side_maps``.
        """
        back = {name: values.flip(-1) for name, values in maps.items()}
        said = {spec.name: _apart(maps[spec.name], spec.channels) for spec in self._says.maps}
        for name, values in self._says.unflip(said).items():
            back[name] = values.reshape(maps[name].shape)
        return back | (unflipped_sides(maps) if self.side_heatmap else {})

    def merge_flipped(self, maps: Maps, mirrored: Maps) -> Maps:
        """Averages the maps of an image and of its mirror image, as released for testing.

        Probabilities and sizes, or sides, are averaged; the offset of centres is the image's own.

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
        sides = merged_sides(maps, other) if self.side_heatmap else {}
        return {**self._says.merged(maps, other), "heatmap": heatmap, **sides}

    def ideal(self, encoded: CenterEncoded) -> Maps:
        """Returns the maps a perfect network would produce; decoding them gives the targets.

        Exact to rounding for objects with a cell of their own and at most K per image. Of objects
        that share a cell, all get the last one's box; with ``neighbours``, objects near each other
        that overlap by 0.6 or more get a mean; with ``side_heatmap``, a side that shares a cell
        with another one's moves by less than a cell. Without an offset map, a centre is off by half
        a cell on each axis at most.

        Returns:
            float32 maps; those that say boxes are 0 at cells that no object trains.
        """
        at, maps = encoded.samples, {"heatmap": encoded.logits(encoded.blobs)}
        for name, values in self._says.written(at.offset, at.size).items():
            maps[name] = encoded.map_of(values, encoded.plane(at), at.cell, encoded.shares)
        if encoded.sides is not None:
            on = encoded.sides
            maps[HEATMAP] = encoded.logits(on.blobs, 4)
            maps[OFFSET] = encoded.map_of(on.offset, on.plane, on.cell, 4)
        return maps


def _for_each(spec: MapSpec, classes: int) -> MapSpec:
    """Returns the map of which every class has its own."""
    return replace(spec, channels=spec.channels * classes, per="class")


def _apart(values: Tensor, channels: int) -> Tensor:
    """Returns a map (B, s * n, h, w) as s maps of n channels for each image: (B * s, n, h, w)."""
    return values.reshape(-1, channels, *values.shape[2:])


def _of_class(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Returns what (B, K, C * n) say about labels (B, K): (B, K, n)."""
    count = values.shape[-1] // classes
    own = labels[..., None, None].expand(-1, -1, 1, count)
    return values.reshape(*labels.shape, classes, count).gather(2, own).squeeze(2)


def _boxes(center: Tensor, sides: Tensor) -> Tensor:
    """Returns boxes xyxy (..., 4) from centres (x, y) and sides (width, height)."""
    return torch.cat((center - sides / 2, center + sides / 2), -1)
