"""How training varies crops of one subject each: turned, shifted, mirrored, or half a body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, Size, joints_box
from heatpoint.data.scene import (
    Floats,
    Rng,
    Samples,
    Scene,
    Singles,
    Subjects,
    Variation,
    cut_normal,
)
from heatpoint.data.skeleton import Skeleton, name_side
from heatpoint.errors import HeatpointError
from heatpoint.geometry import PADDING, Affine, crop_affine

LOWER = ("hip", "knee", "ankle", "foot", "feet", "toe", "heel", "pelvis", "leg")
"""Words by which a joint's name puts it into the lower half of a body."""

_HALF_PADDING = 1.5  # a half is cut out with more of the rest, as in mmpose
_HALF_JOINTS = 3  # fewer joints than this are no half of a body


@dataclass(frozen=True)
class PoseAugment(Variation):
    """How training crops are varied; the defaults are those of bearpaw's port for MPII.

    Released code draws one normal number per kind and cuts it (``scale``, ``rotation``); so does
    this. It resamples the picture and then truncates joints to whole pixels; here one affine map
    moves both exactly. Colours change after the warp, on the crop alone.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> arm = Skeleton(("left_wrist", "right_wrist"), pairs=((0, 1),))
        >>> joints = np.array([[20.0, 30.0, 2.0], [60.0, 30.0, 2.0]])
        >>> image, box = np.zeros((80, 80, 3), np.uint8), np.array([[0.0, 0.0, 80.0, 80.0]])
        >>> scene = Scene(image, box, np.zeros(1, np.int64), joints[None], arm)
        >>> turned = PoseAugment(scale=0, rotation=0, flip=1, gain=0, padding=1.0)
        >>> turned.view([scene], (80, 80), rng).keypoints.tolist()
        [[[20.0, 30.0, 2.0], [60.0, 30.0, 2.0]]]
    """

    sees: ClassVar[str] = "crops"
    options: ClassVar[dict[str, str]] = {
        "padding": "padding",
        "rotate": "rotation",
        "half_body": "half_body",
    }

    scale: float = 0.25
    """Normal spread of the crop's side about 1, cut at one spread."""
    rotation: float = 60.0
    """Greatest turn in degrees; the normal spread is half of it."""
    rotation_share: float = 0.6
    """Probability of a turn."""
    shift: float = 0.0
    """Normal spread of the centre in sides of the crop, cut at two spreads."""
    flip: float = 0.5
    """Probability of the mirror image, in which left and right joints change places."""
    gain: float = 0.2
    """Each colour channel is multiplied by a factor up to this far from 1."""
    colour: float = 0.0
    """Brightness, contrast and saturation each change by up to this share (``Augment.colour``)."""
    half_body: float = 0.0
    """Probability that the crop is of the upper or the lower half of the body alone, by the names
    of the joints (``LOWER``), where over half of all joints are labelled (Wang et al. 2018)."""
    padding: float = PADDING
    """Side of the crop over side of the box."""

    def __post_init__(self) -> None:
        self._check(0, 1, "flip", "half_body", "rotation_share", "colour", "gain")
        self._check(0, 1, "scale", below=True)
        self._check(0, 180, "rotation")
        self._check(0, 0.5, "shift", below=True)

    @classmethod
    def mild(cls) -> PoseAugment:
        """Returns small moves, for small data sets and fixed cameras."""
        return cls(scale=0.15, rotation=30.0, shift=0.02, gain=0.0, colour=0.3)

    @classmethod
    def none(cls) -> PoseAugment:
        """Returns no variation at all: the crop of evaluation."""
        return cls(scale=0.0, rotation=0.0, flip=0.0, gain=0.0)

    def samples(self, annotations: Annotations, joints: bool = True) -> Samples:
        """Returns each subject on its own; see ``Subjects``, ``Singles`` and ``check``."""
        if not joints and self.half_body:
            raise HeatpointError("augment half_body is for models of joints; set it to 0")
        if not joints:
            return Singles(annotations)
        subjects = Subjects(annotations)
        self.check(subjects.skeleton)
        return subjects

    def check(self, skeleton: Skeleton) -> None:
        """Makes sure that the options make sense for a skeleton.

        Raises:
            HeatpointError: ``half_body`` for joints whose names tell no halves.
        """
        lower = lower_half(skeleton)
        if self.half_body and (lower.all() or not lower.any()):
            raise HeatpointError(
                f"augment half_body needs joints of both halves of a body; of "
                f"{', '.join(skeleton.joints)} {'all' if lower.any() else 'none'} are named after "
                f"the lower one ({', '.join(LOWER)}); set half_body to 0"
            )

    def view(self, scenes: Sequence[Scene], size: Size, rng: Rng) -> Scene:
        """Draws one crop of one subject; its label is 0, for there is one kind of subject.

        Args:
            scenes: One picture with one object; with its keypoints and their skeleton, if joints
                are learnt.
            size: (H, W) of the crop.
            rng: The only source of chance.
        """
        scene = scenes[0]
        joints = None if scene.keypoints is None else scene.keypoints[0]
        to_input = self.draw_map(scene.boxes[0], joints, scene.skeleton, size, rng)
        crop = scene.moved(to_input, size)
        return replace(crop, image=self.recolour(crop.image, rng), labels=np.zeros(1, np.int64))

    def draw_map(
        self, box: Floats, joints: Floats | None, skeleton: Skeleton | None, size: Size, rng: Rng
    ) -> Affine:
        """Returns a random map from the image to a crop.

        Args:
            box: (4,) xyxy of the subject in image pixels.
            joints: (J, 3) x, y in image pixels and visibility; None where none are learnt.
            skeleton: Names the joints.
            size: (H, W) of the crop.
            rng: The only source of chance.
        """
        padding = self.padding
        is_half = self.half_body and rng.random() < self.half_body
        if is_half and joints is not None and skeleton is not None:
            half = _half(joints, lower_half(skeleton), rng)
            if half is not None:
                box, padding = half, max(padding, _HALF_PADDING)
        side, turn = 1.0 + cut_normal(rng, self.scale, self.scale), 0.0
        if self.rotation and rng.random() < self.rotation_share:
            turn = cut_normal(rng, self.rotation / 2, self.rotation)
        to_input = crop_affine(box, size, padding, turn, 1 / side)
        if self.shift:
            right, down = (cut_normal(rng, self.shift, 2 * self.shift) for _ in range(2))
            to_input = Affine.translate(right * size[1], down * size[0]) @ to_input
        return Affine.flip(size[1]) @ to_input if rng.random() < self.flip else to_input


def lower_half(skeleton: Skeleton) -> NDArray[np.bool_]:
    """Returns which of the J joints are named after the lower half of a body, (J,)."""
    words = [name_side(name)[1].split() for name in skeleton.joints]
    return np.array([any(word in LOWER for word in name) for name in words])


def _half(joints: Floats, lower: NDArray[np.bool_], rng: Rng) -> Floats | None:
    """Returns the box of one half of the joints, (4,); None where too few are labelled."""
    labelled = joints[:, 2] > 0
    halves = [half for half in (labelled & lower, labelled & ~lower) if half.sum() >= _HALF_JOINTS]
    if 2 * labelled.sum() <= len(joints) or not halves:
        return None
    chosen = halves[int(rng.integers(len(halves)))]
    box = joints_box(np.where(chosen[:, None], joints, 0.0).astype(np.float64))
    return None if box is None else np.array(box)
