"""Objects as pairs of corners with a centre between them: CenterNet of Duan et al. (2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from heatpoint.codecs import Maps, MapSpec, Rows, Target, check_values
from heatpoint.codecs.corner_pairs import CornerEncoded, find_points, ordered
from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.encoded import Points, at_cells, blob_radius, list_points
from heatpoint.codecs.gaussian import CircleRule
from heatpoint.codecs.losses import focal_loss, smooth_l1_loss
from heatpoint.codecs.peaks import unflipped

MIRRORED = "mirrored_center"
"""The centres that the mirror image shows, in the image itself."""

DIVISOR = 5.0
"""Diameter of a centre's blob over its sigma, as released; of corners it is 6."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TripletEncoded(CornerEncoded):
    """The targets of ``TripletCodec`` for a batch.

    Attributes:
        center: Where the objects' centres are.
        counts: (5,) float32: the four of the corners, and positive cells of the centres' heatmap.
    """

    center: Points

    def preview(self) -> Tensor:
        """Draws the largest of the three targets: (B, C, h, w) float32, 1 at the points."""
        return torch.maximum(super().preview(), self.drawn(self.center.blobs))


@dataclass(frozen=True)
class TripletCodec(CornerCodec):
    """Triplets: a pair of corners is an object if a centre of its class lies in its middle.

    Beside the maps of ``CornerCodec`` there are a heatmap and an offset map of centres. Targets
    and losses of corners are CornerNet's, those of centres alike, with wider blobs and without
    embeddings. The defaults are the released CenterNet's of Duan et al., apart from ``border``,
    ``clamp`` and ``trim``, as in ``CornerCodec``.

    The released program measures boxes in pixels of the picture, after it has clipped them, and
    drops those that reach 5 pixels beyond it. A codec does not know the picture: here boxes are
    measured in pixels of the input, not clipped, so that both agree where the input has the
    resolution of the picture (``keep_resolution``) and boxes end within it. Of several test scales
    the released program takes centres of scale 1 only; here every scale has its own.

    Attributes:
        corners: How many of the best corners of each kind are paired, and of the best centres
            looked for.
        small_area: Boxes of at most so many square pixels of the input need a centre in the middle
            third of both sides, larger ones in the middle fifth (equations 1 and 2).
    """

    radius: CircleRule = "legacy"
    overlap: float = 0.7
    corners: int = 70
    small_area: float = 22500.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_values(self, weights=("small_area",))

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """Those of corners behind cascade corner pooling; of centres the heatmap and the offset."""
        corners = (replace(spec, branch=f"cascade_{spec.branch}") for spec in super().maps)
        heatmap = MapSpec(
            "center", self.classes, bias=self.heatmap_bias, branch="center", per="class"
        )
        return (*corners, heatmap, MapSpec("center_offset", 2, branch="center", std=0.001))

    @property
    def terms(self) -> tuple[str, ...]:
        """Those of corners, ``center`` and ``center_offset``."""
        return (*super().terms, "center", "center_offset")

    @property
    def steps(self) -> dict[str, tuple[str, ...]]:
        """Centres confirm, then those of corners."""
        return {"centre": ("center", "center_offset"), **super().steps}

    def encode(self, targets: Sequence[Target], size: tuple[int, int]) -> TripletEncoded:
        """Turns the targets of a batch into lists of cells; see ``CornerCodec.encode``.

        A centre is the middle of the clipped box; its blob has the radius of the corners'.

        Raises:
            ValueError: As in ``CornerCodec.encode``.
        """
        corners = super().encode(targets, size)
        map_size = corners.map_size
        boxes = self._boxes(targets, size, map_size)[0]
        center = list_points(
            (boxes[:, :2] + boxes[:, 2:]) / 2,
            corners.image,
            corners.label,
            blob_radius((boxes[:, 2:] - boxes[:, :2]).ceil(), self.radius, self.overlap),
            (corners.batch, corners.classes),
            map_size,
            DIVISOR,
        )
        counts = torch.cat((corners.counts, corners.counts.new_tensor([len(center.blobs.peaks)])))
        return TripletEncoded(**{**vars(corners), "counts": counts, "center": center})

    def loss(  # type: ignore[override]
        self, maps: Maps, encoded: TripletEncoded
    ) -> dict[str, Tensor]:
        """Returns the weighted losses of the corners, "center" and "center_offset" of one stack.

        Centres: focal loss divided by the number of positive cells, and smooth L1 loss of the
        offset divided by the number of objects, with the weights of the corners'.

        Args:
            maps: The network's maps, any real dtype.
            encoded: The targets.

        Returns:
            Scalars, float32, or float64 where the maps are.
        """
        objects, _, positives = encoded.counts[2:].unbind()
        at = encoded.center
        scale = self.heatmap_weight / positives.clamp(min=1)
        offset = at_cells(maps["center_offset"], encoded.image, at.cell)
        return {
            **super().loss(maps, encoded),
            "center": focal_loss(maps["center"], *at.blobs.lists, scale, self.clamp),
            "center_offset": self.offset_weight * smooth_l1_loss(offset, at.offset, objects + 1e-4),
        }

    def decode(self, maps: Maps) -> Rows:
        """Pairs the best corners of each image, and keeps pairs with a centre in their middle.

        A centre counts that is of the pair's class and strictly inside of the middle third or
        fifth. The score becomes the mean of the three points', as released: the centre is the
        first that fits, by descending score, those of the mirror image last.

        Args:
            maps: The maps of the last stack. After ``merge_flipped`` there are 2 K candidates, and
                the centres of both images stand for the pairs of both.
        """
        rows = super().decode(maps)
        low, high = rows["boxes"][..., :2], rows["boxes"][..., 2:]
        sides = high - low
        is_small = sides[..., :1] * sides[..., 1:] <= self.small_area
        parts = torch.where(is_small, 3.0, 5.0)
        before = (parts - 1) / 2
        start = ((before + 1) * low + before * high) / parts
        end = (before * low + (before + 1) * high) / parts

        values, labels, places = self._centers(maps)
        inside = (places[:, None] > start[:, :, None]) & (places[:, None] < end[:, :, None])
        fits = inside[..., 0] & inside[..., 1]
        fits = fits & (labels[:, None] == rows["labels"][:, :, None])
        fits = fits & (values > float("-inf"))[:, None]
        # Written as a minimum, since of several largest values runtimes name any.
        count = values.shape[1]
        first = torch.where(fits, torch.arange(count, device=fits.device), count).amin(-1)
        scores = torch.sigmoid(values).gather(1, first.clamp(max=count - 1))
        scores = (2 * rows["scores"] + scores) / 3
        kept = (first < count) & (rows["scores"] > 0)
        return ordered({**rows, "scores": torch.where(kept, scores, 0.0)})

    def _centers(self, maps: Maps) -> tuple[Tensor, Tensor, Tensor]:
        """Returns logits and labels (B, n), and x and y in input pixels (B, n, 2), of centres."""
        names = [name for name in ("center", MIRRORED) if name in maps]
        found = [find_points(maps, name, self.corners, self.peak_kernel) for name in names]
        values = torch.cat([peaks.values for peaks, _ in found], 1).float()
        labels = torch.cat([peaks.labels for peaks, _ in found], 1)
        places = torch.cat([places for _, places in found], 1)
        return values, labels, places * self._pixels(maps)

    def unflip(self, maps: Maps) -> Maps:
        """Turns the maps of the mirrored image (x to W - x) into maps of the image.

        Centres stay centres, but as released they are not averaged with those of the image: their
        maps have names of their own, as those of the corners have.
        """
        center, offset = maps["center"].flip(-1), unflipped(maps["center_offset"])
        return {**super().unflip(maps), MIRRORED: center, f"{MIRRORED}_offset": offset}

    def ideal(self, encoded: TripletEncoded) -> Maps:  # type: ignore[override]
        """Returns the maps a perfect network would produce; see ``CornerCodec.ideal``.

        Exact to rounding as there, as long as an image has no more centres than ``corners``. Of
        centres that share a cell, the last one's offset stays; a box so small that this is not in
        its middle is lost.
        """
        at = encoded.center
        offset = encoded.map_of(at.offset, encoded.image, at.cell)
        return {
            **super().ideal(encoded),
            "center": encoded.logits(at.blobs),
            "center_offset": offset,
        }
