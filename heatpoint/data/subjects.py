"""The subjects of a data set: the objects that have joints to find."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.annotations import Annotations
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError


class Subjects:
    """The objects of a data set that have joints to find, one after the other.

    Attributes:
        annotations: Where they are.
        skeleton: Of the data set.
        places: Index of the image, and of the object in it, per subject.
        left_out: Objects that are none, by why: "crowd", "difficult", "without joints" (none is
            labelled, or none finite) and "without a box" (no area, or not finite).

    Raises:
        HeatpointError: The data set does not name its joints.
    """

    def __init__(self, annotations: Annotations) -> None:
        if annotations.skeleton is None:
            raise HeatpointError(
                f"{annotations.source} does not name its joints; give data with keypoints"
            )
        self.annotations = annotations
        self.skeleton: Skeleton = annotations.skeleton
        self.places: list[tuple[int, int]] = []
        self.left_out = {"crowd": 0, "difficult": 0, "without joints": 0, "without a box": 0}
        for image, record in enumerate(annotations.images):
            for index in range(len(record)):
                if record.crowd[index]:
                    self.left_out["crowd"] += 1
                elif record.difficult[index]:
                    self.left_out["difficult"] += 1
                elif not (self._joints(image, index)[:, 2] > 0).any():
                    self.left_out["without joints"] += 1
                elif not _has_area(record.boxes[index]):
                    self.left_out["without a box"] += 1
                else:
                    self.places.append((image, index))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, subject: int) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
        """Returns the image's index, the box (4,) and the joints (J, 3), in image pixels.

        Joints that are not finite are not labelled.
        """
        image, index = self.places[subject]
        return image, self.annotations.images[image].boxes[index], self._joints(image, index)

    def _joints(self, image: int, index: int) -> NDArray[np.float64]:
        keypoints = self.annotations.images[image].keypoints
        if keypoints is None:
            return np.zeros((len(self.skeleton), 3))
        joints = keypoints[index]
        return np.where(np.isfinite(joints).all(1)[:, None], joints, 0.0)


def subject_name(annotations: Annotations) -> str:
    """Returns what the subjects are: their class, or "subject" where they are of several."""
    places = Subjects(annotations).places
    labels = {int(annotations.images[image].labels[index]) for image, index in places}
    return annotations.names[labels.pop()] if len(labels) == 1 else "subject"


def _has_area(box: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(box).all() and box[2] > box[0] and box[3] > box[1])
