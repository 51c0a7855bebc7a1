"""Counts the labels of joints where they are learnt in whole pictures, beside the boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations
from heatpoint.inspection.maps import JointCounts
from heatpoint.inspection.report import Counted, Spread, sought


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
        lines = [f"{self.labelled:,} labelled joints on {self.objects:,} objects"]
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
