"""Objects as pairs of corners: the representation of CornerNet (Law and Deng 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heatpoint.codecs import Codec, Maps, MapSpec, Rows, Target, check_size, check_values, require
from heatpoint.codecs.corner_pairs import CornerEncoded, find_corners, joined, pair_corners
from heatpoint.codecs.encoded import at_cells, blob_radius, check_blobs, list_points
from heatpoint.codecs.gaussian import CircleRule
from heatpoint.codecs.losses import focal_loss, pull_push_loss, smooth_l1_loss
from heatpoint.codecs.peaks import unflipped
from heatpoint.codecs.placed import boxes_in_cells
from heatpoint.views.fields import BOXES, LABELS, SCORES, Field, Suppression

Border = Literal["continuous", "pixels"]
Grouping = Literal["published", "printed"]
Images = Literal["sum", "mean"]

CORNERS = ("top_left", "bottom_right")
MIRRORED = {"top_left": "top_right", "bottom_right": "bottom_left"}
"""What corners of a mirrored image are in the image itself."""


@dataclass(frozen=True)
class CornerCodec(Codec):
    """Pairs of corners: a heatmap per class, an embedding and an offset map, for each corner.

    The two corners of an object are found on their own, and belong together where their
    embeddings are alike. The defaults are the released CornerNet's, apart from ``border``,
    ``clamp`` and ``trim``, whose released values are "pixels", 1e-4 and 1.

    Attributes:
        classes: Number of classes C.
        stride: Input pixels per cell.
        trim: Pixels by which a side of the input falls short of a whole number of cells: 1 in the
            released programs, whose 511 pixels make 128 cells. A cell then is 511 / 128 pixels
            wide for targets and boxes.
        radius: Rule for the size of the blobs; see ``gaussian_radius``.
        overlap: The rule's overlap: 0.3 with "fixed", 0.7 with "legacy" and "half-fixed".
        max_detections: Number of candidates K per image, the best pairs.
        corners: How many of the best corners of each kind are paired.
        threshold: Corners whose embeddings differ by more than this do not belong together.
        soft_nms: Width sigma of the gaussian soft-NMS that candidates need before they are
            results, since neighbouring corners make several pairs of one object; None for none.
        heatmap_bias: What logits of heatmaps begin with: as published, a probability of 0.1;
            what suits data, ``best_constant`` tells.
        heatmap_weight: Weight of the heatmaps' loss.
        offset_weight: Weight of the offsets' smooth L1 loss.
        pull_weight: Weight of the loss of embeddings of one object that differ.
        push_weight: Weight of the loss of embeddings of different objects that are alike.
        grouping: Divisors of pull and push, as "published" in the released program or as
            "printed" (and in mmdet); see ``pull_push_loss``.
        images: "sum" adds up pull and push over the images of a batch, as released, which trained
            with 4 or 5 images per device; "mean" makes them independent of the batch's size.
        border: Boxes are clipped to the input: "continuous" to [0, W] and [0, H], "pixels" to
            [0, W - 1] and [0, H - 1], as released.
        clamp: Bound of the clamped sigmoid, or None for the exact loss; see ``focal_loss``.
        peak_kernel: Side of the neighbourhood of which a peak is the maximum, in cells.
        rim: Whether corners in the outermost row or column of their side are paired; crops cut
            objects there, so that CornerNet-Saccade leaves them out.
    """

    place: ClassVar[str] = "corner"
    pairs: ClassVar[bool] = True

    classes: int
    stride: int = 4
    trim: int = 0
    radius: CircleRule = "fixed"
    overlap: float = 0.3
    max_detections: int = 1000
    corners: int = 100
    threshold: float = 0.5
    soft_nms: float | None = 0.5
    heatmap_bias: float = -2.19
    heatmap_weight: float = 1.0
    offset_weight: float = 1.0
    pull_weight: float = 0.1
    push_weight: float = 0.1
    grouping: Grouping = "published"
    images: Images = "sum"
    border: Border = "continuous"
    clamp: float | None = None
    peak_kernel: int = 3
    rim: bool = True

    def __post_init__(self) -> None:
        weights = ("heatmap_weight", "offset_weight", "pull_weight", "push_weight", "threshold")
        whole = ("classes", "stride", "max_detections", "corners", "peak_kernel")
        check_values(self, whole, weights)
        check_blobs(
            self.clamp, self.peak_kernel, self.overlap, self.soft_nms, bias=self.heatmap_bias
        )
        fine = 0 <= self.trim < self.stride
        require(fine, "trim", "be at least 0 and below the stride", self.trim)

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """Of each corner the heatmap (C logits), the embedding (1) and the offset (x, y in cells).

        The branch of a map has the name of its corner.
        """
        heatmap = MapSpec("", self.classes, bias=self.heatmap_bias, per="class")
        parts = heatmap, MapSpec("_embedding", 1, std=0.001), MapSpec("_offset", 2, std=0.001)
        return tuple(
            replace(part, name=corner + part.name, branch=corner)
            for part, corner in product(parts, CORNERS)
        )

    @property
    def answer(self) -> tuple[Field, ...]:
        """Boxes, scores (the mean of both corners'), labels and the scores of the two corners.

        ``corner_scores`` weight boxes that are merged: of the top-left and the bottom-right
        corner; of mirrored corners, the upper and the lower one.
        """
        return (BOXES, SCORES, LABELS, Field("corner_scores", (2,)))

    @property
    def terms(self) -> tuple[str, ...]:
        """``heatmap``, ``offset``, ``pull`` and ``push``."""
        return ("heatmap", "offset", "pull", "push")

    @property
    def steps(self) -> dict[str, tuple[str, ...]]:
        """Heatmaps find and classify, offsets place to the pixel, embeddings group."""
        parts = {"heatmap": "", "offset": "_offset", "embedding": "_embedding"}
        return {name: tuple(corner + part for corner in CORNERS) for name, part in parts.items()}

    @property
    def suppression(self) -> Suppression:
        """A gaussian soft-NMS, since neighbouring corners make several pairs of one object."""
        return Suppression(self.soft_nms, "corner_scores")

    def rows(self, flip: bool = False) -> int:
        """Returns K; the boxes of the mirrored image stand beside those of the image."""
        return 2 * self.max_detections if flip else self.max_detections

    @property
    def capacity(self) -> int:
        """The smaller one of the numbers of pairs and of corners that are paired."""
        return min(self.max_detections, self.corners)

    def claims(self, boxes: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.int64]:
        """Returns the cells of both corners, (2, N, 2); see ``Codec.claims``."""
        height, width = ((side + self.trim) // self.stride for side in size)
        corners = boxes.reshape(-1, 2, 2).swapaxes(0, 1) * (width / size[1], height / size[0])
        # One on the right or bottom border, or beyond, is in the last cell, as in ``encode``.
        return np.clip(np.floor(corners).astype(np.int64), 0, (width - 1, height - 1))

    def encode(self, targets: Sequence[Target], size: tuple[int, int]) -> CornerEncoded:
        """Turns the targets of a batch into lists of cells, on the device of the targets.

        A box that reaches beyond the input is clipped, so that its corner is sought on the
        border, as released. One exactly on the right or bottom border falls into the last cell.

        Args:
            targets: One per image; boxes in input pixels.
            size: (H, W) of the network's input in pixels, ``trim`` less than multiples of the
                stride.

        Raises:
            ValueError: A box is not finite, is empty or, unless borders are "pixels", has its
                centre outside of the input; a label is out of range; or the size is illegal.
        """
        map_size = check_size(size, self.stride, self.trim)
        boxes, label, image, kept = self._boxes(targets, size, map_size)
        sides = (boxes[:, 2:] - boxes[:, :2]).ceil()
        radius = blob_radius(sides, self.radius, self.overlap)
        batch, classes = planes = len(targets), self.classes
        first, second = (
            list_points(corner, image, label, radius, planes, map_size)
            for corner in (boxes[:, :2], boxes[:, 2:])
        )
        of_image = torch.bincount(image, minlength=batch)
        begins = of_image.cumsum(0) - of_image
        peaks = len(first.blobs.peaks), len(second.blobs.peaks)
        return CornerEncoded(
            batch=batch,
            classes=classes,
            map_size=map_size,
            image=image,
            label=label,
            slot=torch.arange(len(image), device=image.device) - begins[image],
            slots=max(of_image.tolist(), default=0),
            top_left=first,
            bottom_right=second,
            counts=first.offset.new_tensor([*peaks, len(boxes), batch]),
            left_out=len(kept) - len(boxes),
        )

    def _boxes(
        self, targets: Sequence[Target], size: tuple[int, int], map_size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns the objects as ``boxes_in_cells`` does, clipped as ``border`` says."""
        inside = self.border == "continuous"
        short = 0 if inside else 1
        return boxes_in_cells(targets, self.classes, size, map_size, inside, short)

    def loss(self, maps: Maps, encoded: CornerEncoded) -> dict[str, Tensor]:
        """Returns the weighted losses "heatmap", "offset", "pull" and "push" of one stack.

        Heatmaps: penalty-reduced focal loss (equation 1), divided by the number of positive
        cells. Offsets: smooth L1 at the corners' cells (equation 3), divided by the number of
        objects. Both are added up over the two corners. Embeddings: see ``pull_push_loss``.

        Args:
            maps: The network's maps, any real dtype.
            encoded: The targets.

        Returns:
            Scalars, float32, or float64 where the maps are.
        """
        *positives, objects, images = encoded.counts[:4].unbind()
        place = encoded.image, encoded.slot
        heatmap, offset, embeddings = [], [], []
        for (corner, at), number in zip(encoded.corners.items(), positives, strict=True):
            scale = self.heatmap_weight / number.clamp(min=1)
            heatmap.append(
                focal_loss(maps[corner], *encoded.learnt(corner).lists, scale, self.clamp)
            )
            found = at_cells(maps[corner + "_offset"], encoded.image, at.cell)
            offset.append(smooth_l1_loss(found, at.offset, objects + 1e-4))
            embedding = at_cells(maps[corner + "_embedding"], encoded.image, at.cell)[:, 0]
            slots = embedding.new_zeros(encoded.batch, encoded.slots)
            embeddings.append(slots.index_put(place, embedding))
        mask = torch.zeros_like(embeddings[0], dtype=torch.bool)
        mask[place] = True
        first, second = embeddings
        pull, push = pull_push_loss(first, second, mask, self.grouping == "published")
        share = 1 / images.clamp(min=1) if self.images == "mean" else 1.0
        return {
            "heatmap": heatmap[0] + heatmap[1],
            "offset": self.offset_weight * (offset[0] + offset[1]),
            "pull": self.pull_weight * share * pull,
            "push": self.push_weight * share * push,
        }

    def decode(self, maps: Maps) -> Rows:
        """Pairs the best corners of each image and returns the K best pairs.

        Rejected are pairs of different classes, of embeddings that differ by more than
        ``threshold``, and of corners that are the wrong way round; the score is the mean of the
        two corners', as released.

        Args:
            maps: The maps of the last stack. After ``merge_flipped`` there are 2 K candidates: the
                K best of the image and the K best of its mirror image.
        """
        found = self._paired(maps, CORNERS)
        if MIRRORED["top_left"] in maps:
            others = self._paired(maps, (MIRRORED["top_left"], MIRRORED["bottom_right"]))
            found = joined(found, others)
        return {**found, "boxes": found["boxes"] * self._pixels(maps).repeat(2)}

    def _pixels(self, maps: Maps) -> Tensor:
        """Returns width and height of a cell in input pixels, (2,) float32."""
        heatmap = maps["top_left"]
        height, width = heatmap.shape[-2:]
        # By a tensor, so that an exported program knows the sides of the map it is given.
        unit = heatmap.new_ones((), dtype=torch.float32)
        sides = torch.stack((unit * width, unit * height))
        return (self.stride * sides - self.trim) / sides

    def _paired(self, maps: Maps, names: tuple[str, str]) -> Rows:
        """Returns the best pairs of an upper and a lower corner; boxes are in cells."""
        upper, lower = (
            find_corners(maps, n, self.corners, self.peak_kernel, self.rim) for n in names
        )
        falling = names[0] == "top_left"
        return pair_corners(upper, lower, self.threshold, self.max_detections, falling)

    def unflip(self, maps: Maps) -> Maps:
        """Turns the maps of the mirrored image (x to W - x) into maps of the image.

        The mirrored top-left corner of an object is its top-right one, which no map of the image
        is about. So these maps have names of their own, "top_right" and "bottom_left".
        """
        turned = {}
        for corner, name in MIRRORED.items():
            for part in ("", "_embedding"):
                turned[name + part] = maps[corner + part].flip(-1)
            turned[f"{name}_offset"] = unflipped(maps[f"{corner}_offset"])
        return turned

    def merge_flipped(self, maps: Maps, mirrored: Maps) -> Maps:
        """Puts the maps of an image and those of its mirror image side by side.

        Nothing can be averaged, since the two are about different corners, with embeddings of
        their own. ``decode`` finds the boxes of both and returns them together, as released.

        Args:
            maps: Maps of the image.
            mirrored: Maps of the mirrored image, not yet turned back.
        """
        return {**maps, **self.unflip(mirrored)}

    def ideal(self, encoded: CornerEncoded) -> Maps:
        """Returns the maps a perfect network would produce; decoding them gives the targets.

        Exact to rounding for objects whose corners have cells of their own, as long as an image
        has no more of them than ``corners``. Of corners that share a cell, the last one's
        embedding and offset stay. The embedding of the n-th object of an image is n, from 1.

        Returns:
            float32 maps; embedding and offset are 0 at cells without a corner.
        """
        maps = {}
        for name, at in encoded.corners.items():
            embedding = (encoded.slot + 1).to(at.offset)[:, None]
            maps[name] = encoded.logits(at.blobs)
            maps[name + "_embedding"] = encoded.map_of(embedding, encoded.image, at.cell)
            maps[name + "_offset"] = encoded.map_of(at.offset, encoded.image, at.cell)
        return maps
