"""Corners in crops, and attention to where else to look: CornerNet-Saccade (Law et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from heatpoint.codecs import Maps, MapSpec, Rows, Target, check_values, gathered
from heatpoint.codecs.corner_pairs import CornerEncoded
from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.encoded import Blobs, list_blobs
from heatpoint.codecs.gaussian import Windows, draw_windows
from heatpoint.codecs.losses import focal_loss
from heatpoint.codecs.peaks import places_of, top_peaks
from heatpoint.views import View
from heatpoint.views.fields import Field
from heatpoint.views.zoom import Zoom

ATTENTION: dict[str, tuple[int, float, float]] = {
    "attention_large": (4, 96, 256),
    "attention_medium": (2, 32, 96),
    "attention_small": (1, 0, 32),
}
"""Attention maps: cells of the corners' maps to one of theirs, and the longer sides, in input
pixels, of the objects that each is about, both ends included, so that 32 and 96 are of two maps."""

ZOOMS = {"attention_large": 1.0, "attention_medium": 2.0, "attention_small": 4.0}
"""How much closer the next look is at what each map points to."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SaccadeEncoded(CornerEncoded):
    """The targets of ``SaccadeCodec`` for a batch.

    Attributes:
        masked: What the heatmaps of corners learn, by corner: nothing within the blobs of objects
            that are cut or small, which are none of the P.
        attention: Targets of the attention maps by name, each cell 1 or 0.
        attention_sizes: (h, w) of these maps.
        counts: (7,) float32, those of ``CornerEncoded`` and the positive cells of each attention
            map.
    """

    masked: dict[str, Blobs]
    attention: dict[str, Blobs]
    attention_sizes: dict[str, tuple[int, int]]

    def learnt(self, corner: str) -> Blobs:
        """Returns what the heatmap of one kind of corner learns."""
        return self.masked[corner]

    def attention_map(self, name: str) -> Tensor:
        """Draws the target of an attention map: (B, 1, h, w) float32, 0 or 1."""
        size = self.attention_sizes[name]
        planes = draw_windows(self.attention[name].windows, self.batch, size)
        return planes.view(self.batch, 1, *size)


@dataclass(frozen=True)
class SaccadeCodec(CornerCodec):
    """Pairs of corners within a crop, and three maps of places that deserve a closer look.

    A first look at a whole picture, made small, finds large objects and says where smaller ones
    may be; crops around these places, enlarged, find them. The defaults are the released ones,
    apart from those that ``CornerCodec`` names.

    Attributes:
        attention_weight: Weight of the attention maps' loss.
        places: Peaks of each attention map that are answered; the released program takes all.
        least_side: Corners of objects are not learnt, nor denied, whose longer side within the
            input is shorter, in whole pixels.
        least_visible: The same where this share of an object or less is within the input.
    """

    view: ClassVar[type[View]] = Zoom

    overlap: float = 0.5
    max_detections: int = 12
    corners: int = 12
    threshold: float = 0.3
    soft_nms: float | None = 0.7
    rim: bool = False
    attention_weight: float = 1.0
    places: int = 32
    least_side: int = 16
    least_visible: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_values(self, ("places",), ("attention_weight", "least_side", "least_visible"))

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """Those of ``CornerCodec``, and the attention maps: one logit each."""
        attention = (
            MapSpec(name, 1, bias=-2.19, stride=times * self.stride)
            for name, (times, _, _) in ATTENTION.items()
        )
        return (*super().maps, *attention)

    @property
    def answer(self) -> tuple[Field, ...]:
        """Those of ``CornerCodec``, and the places to look at again, a table of their own."""
        return (*super().answer, Field("places", (5,), "place"))

    @property
    def terms(self) -> tuple[str, ...]:
        """Those of ``CornerCodec``, and ``attention``."""
        return (*super().terms, "attention")

    @property
    def steps(self) -> dict[str, tuple[str, ...]]:
        """Those of ``CornerCodec``, and attention."""
        return {**super().steps, "attention": tuple(ATTENTION)}

    def with_rows(self, least: int) -> SaccadeCodec:
        """Returns the codec itself: a picture's results are of many looks with few rows each."""
        return self

    def encode(self, targets: Sequence[Target], size: tuple[int, int]) -> SaccadeEncoded:
        """Turns the targets of a batch into lists of cells, on the device of the targets.

        Args:
            targets: One per image; boxes in input pixels.
            size: (H, W) of the input in pixels, ``trim`` less than multiples of the stride.

        Raises:
            ValueError: As ``CornerCodec.encode``.
        """
        shown = [replace(target, boxes=self._clipped(target, size)) for target in targets]
        whole = [self._is_whole(*pair) for pair in zip(targets, shown, strict=True)]
        base = super().encode(_some(targets, whole), size)
        # Of what is masked, the corners are those of the part that is seen, as released.
        hidden = [~rows & _has_area(target) for rows, target in zip(whole, shown, strict=True)]
        others = super().encode(_some(shown, hidden), size)
        cells = base.map_size[0] * base.map_size[1]
        masked = {
            name: without(at.blobs, others.corners[name].blobs, cells)
            for name, at in base.corners.items()
        }
        attention: dict[str, Blobs] = {}
        sizes: dict[str, tuple[int, int]] = {}
        for name, (times, _, _) in ATTENTION.items():
            height, width = (-(-side // times) for side in base.map_size)
            sizes[name] = height, width
            attention[name] = self._attended(shown, name, sizes[name])
        positives = [len(blobs.peaks) for blobs in attention.values()]
        counts = torch.cat((base.counts, base.counts.new_tensor(positives)))
        return SaccadeEncoded(
            **(vars(base) | {"counts": counts}),
            masked=masked,
            attention=attention,
            attention_sizes=sizes,
        )

    def _clipped(self, target: Target, size: tuple[int, int]) -> Tensor:
        """Returns what the input shows of boxes, (N, 4); up to the last pixel where released."""
        end = target.boxes.new_tensor((size[1], size[0])) - int(self.border == "pixels")
        return torch.minimum(target.boxes.float(), end.repeat(2)).clamp(min=0)

    def _is_whole(self, target: Target, shown: Target) -> Tensor:
        """Returns which objects are large enough, and enough of them within the input; (N,)."""
        inner, sides = (each.boxes[:, 2:] - each.boxes[:, :2] for each in (shown, target))
        # A broken box counts as whole, so that it is refused.
        cut = inner.prod(-1) <= self.least_visible * sides.prod(-1)
        pixels = shown.boxes.floor()
        longest = (pixels[:, 2:] - pixels[:, :2]).amax(-1)
        return ~(cut | (longest < self.least_side)) | ~(sides > 0).all(-1)

    def _attended(self, shown: Sequence[Target], name: str, map_size: tuple[int, int]) -> Blobs:
        """Returns the cells of the centres of those objects that an attention map is about.

        As released, cells are counted from the centre in whole strides, whatever is trimmed.
        """
        times, least, most = ATTENTION[name]
        boxes, _, image = gathered(shown)
        sides = boxes[:, 2:] - boxes[:, :2]
        longest = sides.amax(-1)
        rows = (longest >= least) & (longest <= most) & (sides > 0).all(-1)
        centre = (boxes[rows, :2] + boxes[rows, 2:]) / 2
        end = torch.tensor((map_size[1] - 1, map_size[0] - 1), device=boxes.device)
        place = torch.minimum((centre / (times * self.stride)).long(), end)
        cell = place[:, 1] * map_size[1] + place[:, 0]
        return list_blobs(image[rows], cell, torch.zeros_like(place), len(shown), map_size)

    def loss(self, maps: Maps, encoded: CornerEncoded) -> dict[str, Tensor]:
        """Returns the losses of ``CornerCodec`` and "attention" of one stack.

        Attention: focal loss as for heatmaps, its target 1 at single cells; each map's is divided
        by its own number of positive cells, and the three are added up, as released.

        Args:
            maps: The network's maps, any real dtype.
            encoded: The targets.
        """
        assert isinstance(encoded, SaccadeEncoded)
        terms = super().loss(maps, encoded)
        attention = [
            focal_loss(
                maps[name], *blobs.lists, self.attention_weight / number.clamp(min=1), self.clamp
            )
            for (name, blobs), number in zip(
                encoded.attention.items(), encoded.counts[4:].unbind(), strict=True
            )
        ]
        return {**terms, "attention": torch.stack(attention).sum()}

    def decode(self, maps: Maps) -> Rows:
        """Pairs corners as ``CornerCodec`` does, and reads places off the attention maps.

        ``places`` (B, 3 * places, 5) are xyxy in input pixels of the part that the next look
        should show, as wide as the input divided by ``ZOOMS``, and a probability, 0 for an empty
        row. As released, the middle of the part is the upper-left corner of the peak's cell.

        Args:
            maps: The maps of the last stack.
        """
        found = super().decode(maps)
        height, width = maps["top_left"].shape[-2:]
        unit = found["boxes"].new_ones(())
        sides = torch.stack((unit * width, unit * height)) * self.stride - self.trim
        parts = []
        for name, (times, _, _) in ATTENTION.items():
            values, _, cells = top_peaks(maps[name], self.places, self.peak_kernel)
            middle = places_of(cells, maps[name].shape[-1]).float() * (times * self.stride)
            half = (sides / (2 * ZOOMS[name])).expand_as(middle)
            scores = torch.sigmoid(values.float())[..., None]
            parts.append(torch.cat((middle - half, middle + half, scores), -1))
        return {**found, "places": torch.cat(parts, 1)}

    def ideal(self, encoded: CornerEncoded) -> Maps:
        """Returns the maps a perfect network would produce; see ``CornerCodec.ideal``.

        Objects that are cut or small are in none of the maps of corners.
        """
        assert isinstance(encoded, SaccadeEncoded)
        attention = {name: torch.logit(encoded.attention_map(name), eps=1e-6) for name in ATTENTION}
        return {**super().ideal(encoded), **attention}


def _some(targets: Sequence[Target], chosen: Sequence[Tensor]) -> list[Target]:
    """Returns the objects of each target that a mask (N,) names."""
    return [
        replace(target, boxes=target.boxes[rows], labels=target.labels[rows])
        for target, rows in zip(targets, chosen, strict=True)
    ]


def _has_area(target: Target) -> Tensor:
    """Returns which boxes have an area, (N,)."""
    return (target.boxes[:, 2:] > target.boxes[:, :2]).all(-1)


def without(blobs: Blobs, others: Blobs, cells: int) -> Blobs:
    """Returns blobs that say nothing about the cells of others.

    The focal loss of a cell with the value 1 that is no peak is 0. The number of peaks that the
    loss is divided by is that of all, as released.

    Args:
        blobs: What is to be learnt.
        others: Where nothing is.
        cells: Number of cells of a plane.
    """
    windows, hidden = blobs.windows, others.windows
    cell = torch.cat((windows.cell, hidden.cell))
    value = torch.cat((windows.value, torch.ones_like(hidden.value)))
    order = cell.argsort(stable=True)
    starts = torch.searchsorted(
        cell[order], torch.arange(len(blobs.starts), device=cell.device) * cells
    )
    peaks = blobs.peaks[~torch.isin(blobs.peaks, hidden.cell)]
    counts = torch.cat((windows.counts, hidden.counts))
    return Blobs(Windows(cell[order], value[order], counts), starts, peaks)
