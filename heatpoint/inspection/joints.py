"""Counts the joints of a data set, and scores a network that is always right about them.

Of subjects that are looked at one at a time there is an error floor; of those in whole pictures,
where boxes are learnt too, there are the labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from heatpoint.codecs import Codec, Target
from heatpoint.data import Annotations
from heatpoint.data.scene import Subjects, place
from heatpoint.data.skeleton import Skeleton
from heatpoint.data.validate import Progress
from heatpoint.geometry import Affine, crop_affine
from heatpoint.inspection.report import Counted, Spread, evenly, perfect, side_text, sought
from heatpoint.scoring.keypoints import pck
from heatpoint.scoring.subjects import joint_errors, subject_lengths
from heatpoint.views.pictures import Crops
from heatpoint.wording import amount

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


@dataclass(frozen=True)
class JointLabels(Counted):
    """How many joints of the objects that are to be found are labelled.

    Attributes:
        objects: Objects of classes that have joints, without crowd regions and difficult ones.
        unlabelled: Those of them without a labelled joint: their boxes are learnt, and nothing
            about joints.
        joints: Counts by joint; an object counts for the joints of its class.
        per_object: Labelled joints of an object that has some.
        labelled: Labelled joints.
        pairs: Pairs of joints that a mirror image swaps.
    """

    objects: int
    unlabelled: int
    joints: Mapping[str, JointCounts]
    per_object: Spread
    labelled: int
    pairs: int

    def lines(self) -> list[str]:
        """Returns the report in words, one statement per line."""
        lines = [f"{amount(self.labelled, 'labelled joint')} on {amount(self.objects, 'object')}"]
        if self.unlabelled:
            lines.append(
                f"{self.unlabelled:,} of them without a labelled joint: only their boxes are learnt"
            )
        if not self.labelled:
            return lines
        hidden = sum(counts.hidden for counts in self.joints.values())
        lines.append(
            f"labelled joints per object {self.per_object} of {len(self.joints)}; "
            f"{hidden:,} hidden ({hidden / self.labelled:.1%})"
        )
        rare = [name for name, counts in self.joints.items() if counts[:2] == (0, 0)]
        if rare:
            lines.append(f"never labelled: {', '.join(rare)}; a network learns nothing about them")
        if not self.pairs:
            lines.append("no left and right pairs, so that training mirrors no picture")
        return lines


def count_labels(annotations: Annotations) -> JointLabels:
    """Counts the labelled joints of a data set that names them.

    Args:
        annotations: Cleaned annotations with a skeleton.
    """
    skeleton = annotations.skeleton
    assert skeleton is not None
    number = len(skeleton)
    counts = np.zeros((3, number), np.int64)
    per_object = [np.zeros(0, np.int64)]
    for owned, visibility in _visibilities(annotations):
        for value in (0, 1, 2):
            counts[value] += ((visibility == value) & owned).sum(0)
        per_object.append((visibility > 0).sum(1))
    each = np.concatenate(per_object)
    rows = counts[::-1].T.tolist()
    return JointLabels(
        objects=len(each),
        unlabelled=int((each == 0).sum()),
        joints={n: JointCounts(*row) for n, row in zip(skeleton.joints, rows, strict=True)},
        per_object=Spread.of(each[each > 0]),
        labelled=int(each.sum()),
        pairs=len(skeleton.pairs),
    )


def _visibilities(
    annotations: Annotations,
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.float64]]]:
    """Yields of the objects of each image which joints they have and how these are seen, (N, J)."""
    skeleton = annotations.skeleton
    assert skeleton is not None
    has = np.zeros((len(annotations.names), len(skeleton)), np.bool_)
    for label in range(len(has)):
        has[label, skeleton.joints_of(label)] = True
    for record in annotations.images:
        wanted = record.keep(sought(record))
        jointed: NDArray[np.bool_] = np.any(has[wanted.labels], axis=1)
        wanted = wanted.keep(jointed)
        yield has[wanted.labels], wanted.joints(len(skeleton))[..., 2]
