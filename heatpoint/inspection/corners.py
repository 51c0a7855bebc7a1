"""What is hard about a data set for corners: cells that are shared, views that cut, wrong pairs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heatpoint.codecs import Codec
from heatpoint.data import Annotations
from heatpoint.data.augment import SMALLEST_SIDE, Augment
from heatpoint.geometry import box_area, clip_boxes, letterbox
from heatpoint.inspection.report import Counted, known_size, sought

_SLACK = 1e-3  # pixels a corner may lie beyond the border before it is outside: rounding


@dataclass(frozen=True)
class CornerReport(Counted):
    """What corners meet in a data set at the network's input.

    Objects are those that training sees: without crowd regions and those marked difficult.

    Attributes:
        images: Images that were looked at.
        objects: Objects in them.
        top_left_shared: Objects whose top-left corner lies in the cell of that of an earlier
            object of their class: one peak, offset and embedding for both.
        bottom_right_shared: The same of bottom-right corners.
        augment: Name of the augmentation of the training views.
        viewed: Objects of which something is in view, one random training view per image.
        outside: Those of them with a corner outside of the view; as the targets are made, it is
            sought where the clipped box has it, on the border.
        wrong_pairs: Top-left and bottom-right corners of two objects of one class and image that
            would make a box: right of and below each other. Only embeddings reject them.
        wrong_most: The most of them in one image.
        wrong_images: Images with at least one.
    """

    images: int
    objects: int
    top_left_shared: int
    bottom_right_shared: int
    augment: str
    viewed: int
    outside: int
    wrong_pairs: int
    wrong_most: int
    wrong_images: int

    def lines(self) -> list[str]:
        """Returns the report in words, one statement per line."""
        if not self.objects:
            return ["there is no object, so no corner"]
        shared = self.top_left_shared + self.bottom_right_shared
        lines = [
            f"{self.top_left_shared:,} top-left and {self.bottom_right_shared:,} bottom-right "
            f"corners of {self.objects:,} objects lie in the cell of another one of their class: "
            "one peak for two"
            if shared
            else "no two corners of one kind and class share a cell"
        ]
        if self.viewed:
            lines.append(
                f"in training views ({self.augment}), {self.outside / self.viewed:.0%} of the "
                "objects have a corner outside; it is then sought on the border"
            )
        if not self.wrong_pairs:
            return [*lines, "no two objects of one class could be paired wrongly"]
        lines.append(
            f"in {self.wrong_images:,} of {self.images:,} images, corners of different objects of "
            f"one class could pair: {self.wrong_pairs / self.images:.1f} wrong pairs per image "
            f"beside {self.objects / self.images:.1f} right ones, {self.wrong_most:,} at most; "
            "the embedding has to tell them apart"
        )
        return lines


def inspect_corners(
    annotations: Annotations,
    codec: Codec,
    size: tuple[int, int],
    augment: Augment,
    augment_name: str,
    seed: int,
) -> CornerReport:
    """Counts what corners meet.

    Args:
        annotations: Cleaned annotations; every image has its size.
        codec: Representation to be judged, which finds objects as pairs of corners.
        size: (H, W) of the input in pixels.
        augment: How training views vary; each view is of one image.
        augment_name: What to call that.
        seed: Chooses the views.
    """
    rng, wrong = np.random.default_rng(seed), []
    counts: Counter[str] = Counter()
    for record in annotations.images:
        image_size, wanted = known_size(record), record.keep(sought(record))
        boxes, labels = wanted.boxes, wanted.labels
        to_input = letterbox(image_size, size, augment.margin)
        top_left, bottom_right = codec.claims(to_input.boxes(boxes), size)
        wrong.append(sum(_wrong_pairs(boxes[labels == label]) for label in np.unique(labels)))
        mapped = augment.draw_map(image_size, size, rng, boxes).boxes(boxes)
        clipped = clip_boxes(mapped, augment.window or size)
        kept = ((clipped[:, 2:] - clipped[:, :2]) > SMALLEST_SIDE).all(1)
        kept &= box_area(clipped) >= augment.min_visible * box_area(mapped)
        counts.update(
            objects=len(boxes),
            top_left_shared=_shared(top_left, labels),
            bottom_right_shared=_shared(bottom_right, labels),
            viewed=int(kept.sum()),
            outside=int((np.abs(mapped - clipped) > _SLACK).any(1)[kept].sum()),
        )
    return CornerReport(
        images=len(annotations),
        augment=augment_name,
        wrong_pairs=sum(wrong),
        wrong_most=max(wrong, default=0),
        wrong_images=sum(count > 0 for count in wrong),
        **counts,
    )


def _shared(cells: NDArray[np.int64], labels: NDArray[np.int64]) -> int:
    """Counts (N, 2) cells of (N,) labels that an earlier object of the same label has too."""
    places = np.column_stack((cells, labels))
    return len(places) - len(np.unique(places, axis=0))


def _wrong_pairs(boxes: NDArray[np.float64]) -> int:
    """Counts corners of two of (N, 4) boxes that decoding would accept as a box."""
    x1, y1, x2, y2 = np.ascontiguousarray(boxes.T)
    count = -len(boxes)
    for start in range(0, len(boxes), _BLOCK):
        some = slice(start, start + _BLOCK)
        count += int(np.count_nonzero((x1[some, None] <= x2) & (y1[some, None] <= y2)))
    return count


_BLOCK = 256  # objects that are compared with all others at a time
