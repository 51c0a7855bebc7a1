"""What is hard about a data set for corners and for joints, and the error floor of joints."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from heatpoint.codecs import Codec, Target
from heatpoint.data import Annotations
from heatpoint.data.augment import SMALLEST_SIDE, Augment
from heatpoint.data.scene import Subjects, place
from heatpoint.data.skeleton import Skeleton
from heatpoint.data.validate import Progress
from heatpoint.geometry import Affine, box_area, clip_boxes, crop_affine, letterbox
from heatpoint.inspection.report import (
    Counted,
    Spread,
    evenly,
    known_size,
    perfect,
    side_text,
    sought,
)
from heatpoint.scoring.keypoints import pck
from heatpoint.scoring.subjects import joint_errors, subject_lengths
from heatpoint.views.pictures import Crops

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
        top_left, bottom_right = codec.claims(letterbox(image_size, size).boxes(boxes), size)
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


_NEAR = 0.05  # of PCK@0.05
_STAY = Affine.scale(1.0, 1.0)


class JointCounts(NamedTuple):
    """How often a joint is labelled and visible, labelled and hidden, and not labelled."""

    visible: int
    hidden: int
    unlabelled: int


class Floor(NamedTuple):
    """The error that is left when every map is exactly right.

    Attributes:
        input_pixels: Mean distance in input pixels, of joints within the crop.
        image_pixels: The same in image pixels.
        pck: PCK@0.05 of the subject's extent as ``evaluate`` has it; joints outside of the
            crop are missed.
    """

    input_pixels: float
    image_pixels: float
    pck: float


@dataclass(frozen=True)
class JointReport(Counted):
    """What a data set says about joints, and what a network could reach that is always right.

    Attributes:
        size: (H, W) of the input in pixels.
        stride: Input pixels per cell.
        padding: Side of a crop over that of its box.
        subjects: Objects with at least one labelled joint: one crop each.
        left_out: Objects that are no subjects, by why.
        joints: Counts by joint.
        per_subject: Labelled joints of a subject.
        sides: Longer sides of the subjects' boxes, in image pixels.
        zooms: Input pixels per image pixel.
        labelled: Labelled joints.
        outside: Those that fall outside of the crop.
        floor: Error floor of the codec as it is.
        whole_cells: Error floor without refinement between the cells.
    """

    size: tuple[int, int]
    stride: int
    padding: float
    subjects: int
    left_out: dict[str, int]
    joints: dict[str, JointCounts]
    per_subject: Spread
    sides: Spread
    zooms: Spread
    labelled: int
    outside: int
    floor: Floor
    whole_cells: Floor

    def lines(self) -> list[str]:
        """Returns the report in words, one statement per line."""
        lines = [f"{self.subjects:,} subjects with {self.labelled:,} labelled joints"]
        if self.left_out:
            reasons = ", ".join(f"{number:,} {why}" for why, number in self.left_out.items())
            lines[0] += f"; objects left out: {reasons}"
        if not self.subjects:
            return lines
        hidden = sum(counts.hidden for counts in self.joints.values())
        side, floor, whole = side_text(self.size), self.floor, self.whole_cells
        lines += [
            f"labelled joints per subject {self.per_subject} of {len(self.joints)}; "
            f"{hidden:,} hidden ({hidden / self.labelled:.1%})",
            f"longer side of a subject {self.sides} pixels; "
            f"enlarged {self.zooms} times at {side} px",
            f"the crop (padding {self.padding:g}) loses {self.outside:,} of {self.labelled:,} "
            f"labelled joints ({self.outside / self.labelled:.2%})",
            f"a perfect network is off by {floor.input_pixels:.3f} input pixels "
            f"({floor.image_pixels:.3f} of the image) and reaches PCK@0.05 {floor.pck:.3f} at "
            f"{side} px and stride {self.stride}; without refinement between the cells "
            f"{whole.input_pixels:.3f} ({whole.image_pixels:.3f}) and {whole.pck:.3f}",
        ]
        rare = [name for name, counts in self.joints.items() if counts[:2] == (0, 0)]
        if rare:
            lines.append(f"never labelled: {', '.join(rare)}; a network learns nothing about them")
        return lines


class Seen(NamedTuple):
    """The subjects of a data set as a model sees them, one row each.

    Attributes:
        sides: (S,) longer sides of the boxes in image pixels.
        zooms: (S,) input pixels per image pixel.
        joints: (S, J, 3) x and y in input pixels, not cut to the input, and visibility 0, 1, 2.
    """

    sides: NDArray[np.float64]
    zooms: NDArray[np.float64]
    joints: NDArray[np.float64]


def measure_joints(
    annotations: Annotations,
    codec: Codec,
    view: Crops,
    limit: int,
    progress: Progress | None = None,
) -> tuple[JointReport, Seen]:
    """Counts the joints of every subject, and scores a perfect network on some of them.

    Args:
        annotations: Cleaned annotations with a skeleton.
        codec: Representation to be judged.
        view: Cuts the subjects out.
        limit: The perfect network is scored on at most this many subjects, evenly spread.
        progress: Called with the number of subjects scored and to be scored.
    """
    subjects = Subjects(annotations)
    skeleton = subjects.skeleton
    seen = _seen(subjects, view)
    visibility = seen.joints[..., 2]
    labelled = visibility > 0
    inside = place(seen.joints, _STAY, view.size)[..., 2] > 0
    chosen = evenly(len(labelled), limit)
    some = Seen(*(values[chosen] for values in seen))
    counts = np.stack([(visibility == value).sum(0) for value in (2, 1, 0)], 1).tolist()
    joints = zip(skeleton.joints, counts, strict=True)
    coarse = codec.tuned("", {"refine": "none"} if "refine" in codec.as_dict() else {})
    report = JointReport(
        size=view.size,
        stride=codec.stride,
        padding=view.padding,
        subjects=len(labelled),
        left_out={why: number for why, number in subjects.left_out.items() if number},
        joints={name: JointCounts(*numbers) for name, numbers in joints},
        per_subject=Spread.of(labelled.sum(1)),
        sides=Spread.of(seen.sides),
        zooms=Spread.of(seen.zooms),
        labelled=int(labelled.sum()),
        outside=int(labelled.sum() - inside.sum()),
        floor=_floor(some, codec, skeleton, view.size, progress),
        whole_cells=_floor(some, coarse, skeleton, view.size, None),
    )
    return report, seen


def _seen(subjects: Subjects, view: Crops) -> Seen:
    """Returns the subjects as the network sees them without augmentation."""
    sides, zooms, rows = [], [], []
    for number in range(len(subjects)):
        _, box, joints = subjects[number]
        x1, y1, x2, y2 = box.tolist()
        to_input = crop_affine((x1, y1, x2, y2), view.size, view.padding)
        rows.append(np.concatenate((to_input.points(joints[:, :2]), joints[:, 2:]), 1))
        sides.append(max(x2 - x1, y2 - y1))
        zooms.append(to_input.matrix[0])
    stacked = np.array(rows, np.float64).reshape(-1, len(subjects.skeleton), 3)
    return Seen(np.array(sides), np.array(zooms), stacked)


def _floor(
    seen: Seen, codec: Codec, skeleton: Skeleton, size: tuple[int, int], progress: Progress | None
) -> Floor:
    """Encodes every subject, decodes what a perfect network would answer, and measures it."""
    if not len(seen.joints):
        return Floor(math.nan, math.nan, math.nan)
    placed = place(seen.joints, _STAY, size)
    inside = placed[..., 2] > 0
    whole, label = torch.tensor([[0.0, 0.0, size[1], size[0]]]), torch.zeros(1, dtype=torch.int64)
    targets = [Target(whole, label, joints[None]) for joints in torch.from_numpy(placed).float()]
    answers = perfect(codec, targets, size, progress)
    found = np.concatenate([rows["keypoints"] for rows in answers])
    found[~inside] = np.inf  # nothing is found outside of the crop
    errors = joint_errors(found, seen.joints)
    lengths = subject_lengths("extent", seen.joints, np.zeros((len(errors), 4)), None, skeleton)
    return Floor(
        float(errors[inside].mean()),
        float((errors / seen.zooms[:, None])[inside].mean()),
        pck(errors, lengths, _NEAR, skeleton.joints).mean,
    )
