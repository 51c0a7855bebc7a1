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
from heatpoint.codecs.encoded import CenterEncoded, at_cells, blob_radius, check_blobs
from heatpoint.codecs.gaussian import RadiusRule
from heatpoint.codecs.losses import accurate, focal_loss
from heatpoint.codecs.peaks import places_of, read_cells, top_peaks
from heatpoint.codecs.placed import centred, placed
from heatpoint.codecs.quad_maps import Corners, Outline, QuadMaps
from heatpoint.views.fields import BOXES, LABELS, QUADS, SCORES, Field, Part

Order = Literal["any", "own"]


@dataclass(frozen=True, eq=False, kw_only=True)
class QuadEncoded(CenterEncoded):
    """The targets of ``QuadCodec`` for a batch.

    Attributes:
        corners: (P, 4, 2) float32, from the middle of each object to its corners, in cells.
    """

    corners: Tensor

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
        heatmap_bias: What logits of the heatmap begin with: as published, a probability of 0.1;
            what suits data, ``best_constant`` tells.
        heatmap_weight: Weight of the heatmap's loss.
        corners_weight: Weight of the corners' L1 loss.
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
    clamp: float | None = None
    peak_kernel: int = 3
    one_class_per_cell: bool = False

    def __post_init__(self) -> None:
        whole = ("classes", "stride", "max_detections", "peak_kernel")
        check_values(self, whole, ("heatmap_weight", "corners_weight"))
        check_blobs(self.clamp, self.peak_kernel, self.overlap, bias=self.heatmap_bias)
        region = self.corner_region
        require(0 <= region <= 1, "corner_region", "lie in [0, 1]", region)

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """Heatmap (C logits), and numbers that say the corners, with a branch of their own."""
        heatmap = MapSpec("heatmap", self.classes, bias=self.heatmap_bias, per="class")
        return (heatmap, self.corners.spec)

    @property
    def corners(self) -> QuadMaps:
        """How cells say corners."""
        return Outline() if self.order == "any" else Corners()

    @property
    def answer(self) -> tuple[Field, ...]:
        """The upright boxes around the quads, the quads, scores and labels."""
        return (BOXES, QUADS, SCORES, LABELS)

    @property
    def terms(self) -> tuple[str, ...]:
        """``heatmap`` and ``corners``."""
        return ("heatmap", "corners")

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
        return QuadEncoded(**vars(found), corners=corners.float())

    def loss(self, maps: Maps, encoded: QuadEncoded) -> dict[str, Tensor]:
        """Returns the weighted losses "heatmap" and "corners" of one stack.

        Heatmap: penalty-reduced focal loss (CenterNet, equation 1), divided by the number of
        positive cells. Corners: L1 of the numbers as they are written, averaged over each
        object's cells, divided by the number of objects.

        Args:
            maps: The network's maps, any real dtype.
            encoded: The targets.

        Returns:
            Scalars, float32, or float64 where the maps are.
        """
        positives, objects = encoded.counts[:2].unbind()
        scale = self.heatmap_weight / positives.clamp(min=1)
        heatmap = focal_loss(maps["heatmap"], *encoded.blobs.lists, scale, self.clamp)
        at, true = encoded.samples, self.corners.written(encoded.ways())
        found = accurate(at_cells(maps[self.corners.spec.name], at.image, at.cell))
        away = (found - true).abs().mean(1)
        corners = (away * at.weight).sum() / (objects + 1e-4)
        return {"heatmap": heatmap, "corners": self.corners_weight * corners}

    def decode(self, maps: Maps) -> Rows:
        """Reads the K best peaks of each image and the corners that their cells lead to.

        Peaks are chosen among logits, since float32 probabilities near 1 coincide.

        Args:
            maps: The maps of the last stack.
        """
        values, labels, cells = top_peaks(
            maps["heatmap"], self.max_detections, self.peak_kernel, self.one_class_per_cell
        )
        numbers = read_cells(maps[self.corners.spec.name], cells)
        ways = self.corners.read(numbers.float())
        middles = places_of(cells, maps["heatmap"].shape[-1]).float() + 0.5
        quads = (ways + middles.unsqueeze(-2)) * self.stride
        boxes = torch.cat((quads.amin(-2), quads.amax(-2)), -1)
        scores = torch.sigmoid(values.float())
        return {"boxes": boxes, "quads": quads, "scores": scores, "labels": labels}

    def unflip(self, maps: Maps) -> Maps:
        """Turns the maps of the mirrored image (x to W - x) into maps of the image."""
        name = self.corners.spec.name
        return {"heatmap": maps["heatmap"].flip(-1), name: self.corners.unflip(maps[name])}

    def ideal(self, encoded: QuadEncoded) -> Maps:
        """Returns the maps a perfect network would produce; decoding them gives the quads.

        Exact to rounding for objects with a cell of their own and at most K per image; the first
        corner is the data's with ``order="own"``, else the upper left one. Of objects that share a
        cell, all get the last one's corners.

        Returns:
            float32 maps; numbers are 0 at cells that no object trains.
        """
        at = encoded.samples
        numbers = self.corners.written(encoded.ways())
        said = encoded.map_of(numbers, at.image, at.cell)
        return {"heatmap": encoded.logits(encoded.blobs), self.corners.spec.name: said}
