"""Annotated subjects as samples of a torch ``DataLoader``: each one a crop of its image.

As in ``dataset``, sample (epoch, index) depends on (seed, epoch, index) alone. An index counts
subjects, not images: objects with at least one labelled joint.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from heatpoint.codecs.types import Target
from heatpoint.data.annotations import Annotations
from heatpoint.data.dataset import Sample
from heatpoint.data.decoded import DecodedImages
from heatpoint.data.pose_augment import PoseAugment, place
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.geometry.crops import PADDING, crop_affine
from heatpoint.views.picture import channels_first, prepare_crop


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

    def outside(self, size: tuple[int, int], padding: float) -> int:
        """Returns how many labelled joints the plain crop of their subject leaves out.

        Args:
            size: (H, W) of the input.
            padding: Side of the crop over side of the box.
        """
        lost = 0
        for subject in range(len(self)):
            _, box, joints = self[subject]
            placed = place(joints, crop_affine(box, size, padding), size)
            lost += int((joints[:, 2] > 0).sum() - (placed[:, 2] > 0).sum())
        return lost

    def _joints(self, image: int, index: int) -> NDArray[np.float64]:
        keypoints = self.annotations.images[image].keypoints
        if keypoints is None:
            return np.zeros((len(self.skeleton), 3))
        joints = keypoints[index]
        return np.where(np.isfinite(joints).all(1)[:, None], joints, 0.0)


class CropTrainSet(Dataset[Sample]):
    """Random crops of the training subjects, indexed by (epoch, index).

    Args:
        annotations: The images, their objects and the skeleton.
        size: (H, W) of the crops.
        augment: How the crops vary; the published recipe by default.
        seed: Start of all chance, not negative.
        cache_bytes: Decoded images are kept in memory up to this many bytes, per worker process.
        padding: Side of a crop over side of its box.

    Attributes:
        subjects: Index of the image, and of the object in it, per sample.
        left_out: Objects that are no subjects, by why; see ``Subjects``. "joints outside" counts
            labelled joints that even the crop without augmentation leaves out.

    Raises:
        HeatpointError: The data set does not name its joints, or ``augment`` does not fit them.
    """

    def __init__(
        self,
        annotations: Annotations,
        size: tuple[int, int],
        augment: PoseAugment | None = None,
        seed: int = 0,
        cache_bytes: int = 0,
        padding: float = PADDING,
    ) -> None:
        self.size, self.seed, self.padding = size, seed, padding
        self.augment = PoseAugment() if augment is None else augment
        self._subjects = Subjects(annotations)
        self.augment.check(self._subjects.skeleton)
        self._images = DecodedImages(annotations, cache_bytes)
        self.subjects = self._subjects.places
        lost = self._subjects.outside(size, padding)
        self.left_out = {**self._subjects.left_out, "joints outside": lost}

    def __len__(self) -> int:
        return len(self._subjects)

    def __getitem__(self, place: tuple[int, int]) -> Sample:
        """Returns the view of subject ``index`` in ``epoch``.

        Raises:
            BadImage: The file cannot be read; names it.
        """
        epoch, index = place
        # 1 + index keeps these streams apart from the sampler's, which ends in 0.
        rng = np.random.default_rng([self.seed, epoch, 1 + index])
        image, box, joints = self._subjects[index]
        view, placed_box, placed = self.augment.sample(
            self._images[image], box, joints, self._subjects.skeleton, self.size, rng, self.padding
        )
        return Sample(torch.from_numpy(channels_first(view)), _target(placed_box, placed), index)


class CropEvalSet(Dataset[Sample]):
    """The subjects as evaluation and prediction cut them out, indexed by position.

    Args:
        annotations: The images, their objects and the skeleton.
        size: (H, W) of the crops.
        cache_bytes: As for ``CropTrainSet``.
        padding: Side of a crop over side of its box.

    Attributes:
        subjects: As for ``CropTrainSet``.
        left_out: As for ``CropTrainSet``.

    Raises:
        HeatpointError: The data set does not name its joints.
    """

    def __init__(
        self,
        annotations: Annotations,
        size: tuple[int, int],
        cache_bytes: int = 0,
        padding: float = PADDING,
    ) -> None:
        self.annotations, self.size, self.padding = annotations, size, padding
        self._subjects = Subjects(annotations)
        self._images = DecodedImages(annotations, cache_bytes)
        self.subjects = self._subjects.places
        lost = self._subjects.outside(size, padding)
        self.left_out = {**self._subjects.left_out, "joints outside": lost}

    def __len__(self) -> int:
        return len(self._subjects)

    def __getitem__(self, index: int) -> Sample:
        """Returns subject ``index``, cut out, and its frame.

        Raises:
            BadImage: The file cannot be read; names it.
        """
        image, box, joints = self._subjects[index]
        path = str(self.annotations.images[image].path)
        pixels, frame = prepare_crop(
            self._images[image], box.tolist(), self.size, self.padding, path
        )
        to_input = crop_affine(box, self.size, self.padding)
        target = _target(to_input.boxes(box), place(joints, to_input, self.size))
        return Sample(torch.from_numpy(pixels), target, index, frame)


def subject_name(annotations: Annotations) -> str:
    """Returns what the subjects are: their class, or "subject" where they are of several."""
    places = Subjects(annotations).places
    labels = {int(annotations.images[image].labels[index]) for image, index in places}
    return annotations.names[labels.pop()] if len(labels) == 1 else "subject"


def _has_area(box: NDArray[np.float64]) -> bool:
    return bool(np.isfinite(box).all() and box[2] > box[0] and box[3] > box[1])


def _target(box: NDArray[np.floating], joints: NDArray[np.floating]) -> Target:
    return Target(
        torch.from_numpy(box.astype(np.float32))[None],
        torch.zeros(1, dtype=torch.int64),
        torch.from_numpy(joints.astype(np.float32))[None],
    )
