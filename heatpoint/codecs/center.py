"""Objects as centre points with a size: the representation of CenterNet (Zhou et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from heatpoint.codecs import (
    Codec,
    Maps,
    MapSpec,
    Rows,
    Target,
    check_size,
    check_values,
    gathered,
)
from heatpoint.codecs.encoded import (
    CellSamples,
    CenterEncoded,
    assemble,
    check_objects,
    last_of_cell,
    region_samples,
)
from heatpoint.codecs.gaussian import RadiusRule, check_radius_rule, gaussian_radius
from heatpoint.codecs.losses import focal_loss, giou_loss, l1_loss
from heatpoint.codecs.peaks import Peaks, local_maxima, mean_logit, read_cells, top_peaks
from heatpoint.errors import HeatpointError, check_choice
from heatpoint.views.fields import BOXES, LABELS, SCORES, Field, Suppression

Border = Literal["continuous", "cells"]
Normaliser = Literal["coordinates", "objects"]
Collisions = Literal["keep", "last"]

# An ideal heatmap is this far from 0 and 1, which have no finite logit.
IDEAL_MARGIN = 1e-6


@dataclass(frozen=True)
class CenterCodec(Codec):
    """Centre points: one heatmap per class, one size map and one offset map for all classes.

    The defaults are the released CenterNet's, apart from ``border`` and ``clamp``, whose released
    values ("cells" and 1e-4) distort boxes at the border and stop learning from confident errors.

    Attributes:
        classes: Number of classes C.
        stride: Input pixels per cell.
        radius: Rule for the size of the blobs; see ``gaussian_radius``.
        overlap: The rule's overlap: 0.7 with "legacy" and "half-fixed", 0.3 with "fixed".
        round_size: Round sides up to whole cells for the radius, as CenterNet does for boxes in
            images; its 3D variant and mmdet do not.
        max_detections: Number of candidates K per image.
        heatmap_weight: Weight of the heatmap's loss.
        size_weight: Weight of the size's L1 loss, 0.1 since sizes are in cells.
        offset_weight: Weight of the offset's L1 loss.
        giou_weight: Weight of an additional generalised IoU loss of the decoded boxes; 0 for none.
            Keep some L1 loss beside it: an inverted box is beyond its reach.
        border: "continuous" takes boxes as they are; "cells" clips them to [0, w - 1] and
            [0, h - 1] cells, as all released programs do.
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
        soft_nms: Width sigma of a gaussian soft-NMS of the candidates; None for none, as published
            for a single scale.
    """

    classes: int
    stride: int = 4
    radius: RadiusRule = "legacy"
    overlap: float = 0.7
    round_size: bool = True
    max_detections: int = 100
    heatmap_weight: float = 1.0
    size_weight: float = 0.1
    offset_weight: float = 1.0
    giou_weight: float = 0.0
    border: Border = "continuous"
    offset: bool = True
    collisions: Collisions = "keep"
    clamp: float | None = None
    normaliser: Normaliser = "coordinates"
    peak_kernel: int = 3
    one_class_per_cell: bool = False
    size_region: float = 0.0
    soft_nms: float | None = None

    def __post_init__(self) -> None:
        check_radius_rule(self.radius, self.overlap)
        check_choice("border", self.border, get_args(Border))
        check_choice("normaliser", self.normaliser, get_args(Normaliser))
        check_choice("collisions", self.collisions, get_args(Collisions))
        check_values(
            self,
            whole=("classes", "stride", "max_detections", "peak_kernel"),
            weights=("heatmap_weight", "size_weight", "offset_weight", "giou_weight"),
        )
        if self.peak_kernel % 2 == 0:
            raise HeatpointError(f"peak_kernel must be odd, got {self.peak_kernel}")
        if self.clamp is not None and not 0 < self.clamp < 0.5:
            raise HeatpointError(f"clamp must lie between 0 and 0.5 or be None, got {self.clamp}")
        if not 0 <= self.size_region <= 1:
            raise HeatpointError(f"size_region must lie in [0, 1], got {self.size_region}")
        if self.soft_nms is not None and not self.soft_nms > 0:
            raise HeatpointError(f"soft_nms must be above 0 or None, got {self.soft_nms}")

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """Heatmap (C logits), size (width, height in cells) and offset (x, y in cells)."""
        offset = (MapSpec("offset", 2, std=0.001),) if self.offset else ()
        heatmap = MapSpec("heatmap", self.classes, bias=-2.19, per="class")
        return (heatmap, MapSpec("size", 2, std=0.001), *offset)

    @property
    def answer(self) -> tuple[Field, ...]:
        """Boxes, scores and labels."""
        return (BOXES, SCORES, LABELS)

    @property
    def terms(self) -> tuple[str, ...]:
        """``heatmap``, ``size``, and ``offset`` and ``giou`` where they are learnt."""
        optional = (("offset", self.offset), ("giou", self.giou_weight > 0))
        return ("heatmap", "size", *(name for name, learnt in optional if learnt))

    @property
    def steps(self) -> dict[str, tuple[str, ...]]:
        """The heatmap finds and classifies, the offset places to the pixel, the size measures."""
        names = ("heatmap", *(("offset",) if self.offset else ()), "size")
        return {name: (name,) for name in names}

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
        height, width = map_size = check_size(size, self.stride)
        boxes, label, image = gathered(targets)
        boxes = boxes / self.stride
        check_objects(
            boxes, label, image, self.classes, map_size, self.stride, self.border == "continuous"
        )
        left_out = 0
        if self.border == "cells":
            corner = boxes.new_tensor((width - 1, height - 1, width - 1, height - 1))
            boxes = torch.minimum(boxes, corner).clamp(min=0)
            kept = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(-1)
            left_out = len(boxes) - int(kept.sum())
            boxes, label, image = boxes[kept], label[kept], image[kept]

        sides = boxes[:, 2:] - boxes[:, :2]
        center = (boxes[:, :2] + boxes[:, 2:]) / 2
        end = torch.tensor((width - 1, height - 1), device=boxes.device)
        place = torch.minimum(center.floor().long().clamp(min=0), end)
        column, row = place.unbind(-1)
        # Whole numbers decide the radius, so it is computed as precisely as in the references.
        exact = torch.float32 if boxes.device.type == "mps" else torch.float64
        measured = (sides.ceil() if self.round_size else sides).flip(-1).to(exact)
        radius = gaussian_radius(measured, self.radius, self.overlap).long().clamp(min=0)

        cell = row * width + column
        objects = CellSamples(image, cell, center - place, sides, torch.ones_like(center[:, 0]))
        samples, batch = objects, len(targets)
        if self.size_region > 0:
            reach = (radius * self.size_region).long()
            samples = region_samples(objects, reach, batch, map_size)
        if self.collisions == "last":
            last = last_of_cell(samples.image, samples.cell, batch, height * width)
            samples = samples.chosen(last)
        return assemble(objects, samples, label, radius, batch, self.classes, map_size, left_out)

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
        positives, objects = encoded.counts.unbind()
        terms = {
            "heatmap": focal_loss(
                maps["heatmap"],
                encoded.windows.cell,
                encoded.windows.value,
                encoded.starts,
                encoded.peaks,
                self.heatmap_weight / positives.clamp(min=1),
                self.clamp,
            )
        }
        at = encoded.samples
        width = encoded.map_size[1]
        index = (at.image, slice(None), at.cell // width, at.cell % width)
        count = objects * (2 if self.normaliser == "coordinates" else 1) + 1e-4
        size = maps["size"][index]
        terms["size"] = self.size_weight * l1_loss(size, at.size, at.weight, count)
        offset = at.offset.new_full(at.offset.shape, 0.5)
        if self.offset:
            offset = maps["offset"][index]
            terms["offset"] = self.offset_weight * l1_loss(offset, at.offset, at.weight, count)
        if self.giou_weight > 0:
            loss = giou_loss(
                _boxes(offset, size), _boxes(at.offset, at.size), at.weight, objects + 1e-4
            )
            terms["giou"] = self.giou_weight * loss
        return terms

    def decode(self, maps: Maps) -> Rows:
        """Reads the K best peaks of each image and the boxes at their cells.

        Peaks are chosen among logits, since float32 probabilities near 1 coincide. A negative
        size counts as 0.

        Args:
            maps: The maps of the last stack.
        """
        peaks, width = self._peaks(maps["heatmap"]), maps["heatmap"].shape[-1]
        row = torch.div(peaks.cells, width, rounding_mode="trunc")
        corner = torch.stack((peaks.cells - row * width, row), -1).float()
        inside = read_cells(maps["offset"], peaks.cells).float() if self.offset else 0.5
        sides = read_cells(maps["size"], peaks.cells).float().clamp(min=0)
        boxes = _boxes(corner + inside, sides) * self.stride
        scores = torch.sigmoid(peaks.values.float())
        return {"boxes": boxes, "scores": scores, "labels": peaks.labels}

    def _peaks(self, heatmap: Tensor) -> Peaks:
        """Returns the K best peaks, at most one per cell if so configured."""
        if not self.one_class_per_cell:
            return top_peaks(heatmap, self.max_detections, self.peak_kernel)
        peaks = local_maxima(heatmap, self.peak_kernel)
        best, label = torch.where(peaks, heatmap, float("-inf")).max(1, keepdim=True)
        found = top_peaks(best, self.max_detections, kernel=1)
        return found._replace(labels=read_cells(label, found.cells)[..., 0])

    def unflip(self, maps: Maps) -> Maps:
        """Turns the maps of the mirrored image (x to W - x) into maps of the image.

        A centre at x in its cell is at 1 - x in the mirrored cell. The released program, whose
        mirror is W - 1 - x, uses no offset of the mirrored image at all; see ``merge_flipped``.
        """
        mirrored = {name: values.flip(-1) for name, values in maps.items()}
        if self.offset:
            x, y = mirrored["offset"].unbind(1)
            mirrored["offset"] = torch.stack((1 - x, y), 1)
        return mirrored

    def merge_flipped(self, maps: Maps, mirrored: Maps) -> Maps:
        """Averages the maps of an image and of its mirror image, as released for testing.

        Probabilities and sizes are averaged; the offset is the image's own.

        Args:
            maps: Maps of the image.
            mirrored: Maps of the mirrored image, not yet turned back.

        Returns:
            Maps of the image; the heatmap holds the logit of the mean probability.
        """
        other = self.unflip(mirrored)
        heatmap = mean_logit(maps["heatmap"].float(), other["heatmap"].float())
        size = (maps["size"] + other["size"]) / 2
        return {**maps, "heatmap": heatmap, "size": size}

    def ideal(self, encoded: CenterEncoded) -> Maps:
        """Returns the maps a perfect network would produce; decoding them gives the targets.

        Exact to rounding for objects with a cell of their own and at most K per image. Of objects
        that share a cell, all get the last one's box. Without an offset map, a centre is off by
        half a cell on each axis at most.

        Returns:
            float32 maps; size and offset are 0 at cells that no object trains.
        """
        height, width = encoded.map_size
        heatmap = torch.logit(encoded.preview(), eps=IDEAL_MARGIN)
        at = encoded.samples
        at = at.chosen(last_of_cell(at.image, at.cell, encoded.batch, height * width))
        maps = {"heatmap": heatmap}
        for name, values in (("size", at.size), ("offset", at.offset)):
            if name == "size" or self.offset:
                plane = heatmap.new_zeros(encoded.batch, height * width, 2)
                plane[at.image, at.cell] = values
                maps[name] = plane.transpose(1, 2).reshape(-1, 2, height, width)
        return maps


def _boxes(center: Tensor, sides: Tensor) -> Tensor:
    """Returns boxes xyxy (..., 4) from centres (x, y) and sides (width, height)."""
    return torch.cat((center - sides / 2, center + sides / 2), -1)
