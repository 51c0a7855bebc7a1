"""How training varies pictures for models that look again: as a closer look would show them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from heatpoint.data import Size
from heatpoint.data.augment import SMALLEST_SIDE, Augment
from heatpoint.data.scene import Floats, Rng, Scene
from heatpoint.geometry import Affine, clip_boxes

SIDES = ((96.0, (96.0, 255.0)), (32.0, (32.0, 97.0)), (0.0, (16.0, 33.0)))
"""Longer sides in image pixels above which an object is large, medium or small, and how long that
side becomes, from and up to, in input pixels."""

NEAR = 15.0
"""Input pixels by which an object's middle is off the middle of the view, at most."""


@dataclass(frozen=True)
class CloseAugment(Augment):
    """Crops in which an object drawn at random has a size that closer looks give it.

    The published training of CornerNet-Saccade (Law et al. 2019): the size class that the object
    has in the picture decides how large it becomes. Half of the crops have it in the middle, half
    anywhere as a whole. Pictures without an object are cropped as by ``Augment``. Where the
    released program draws whole numbers and shifts by whole pixels, this draws any.

    A ``window`` is the size of these crops, and of the parts of first looks that are shown.

    Boxes are not clipped, so that the codec sees which objects the crop cuts.
    """

    sees: ClassVar[str] = "closer parts of pictures"
    options: ClassVar[dict[str, str]] = {
        "flip_vertical": "flip_vertical",
        "quarter_turns": "quarter_turn",
        "window": "window",
    }

    whole: float = 0.3
    """Share of views that show the picture as a first look does, varied as by ``Augment``; 0 as
    released. COCO's crops hold small objects beside the large one that sets their scale. Where all
    objects of the data are about as large, no crop ever shows one as small as a first look does,
    and attention would learn nothing."""

    @classmethod
    def mild(cls) -> CloseAugment:
        """Returns the same crops in milder colours, and first looks near the whole picture."""
        near = cls(crop=False, near_scale=0.3, near_shift=0.07)
        return replace(near, colour=0.3, lighting=0.0)

    @classmethod
    def none(cls) -> CloseAugment:
        """Returns no variation at all: the first look of evaluation."""
        near = cls(whole=1.0, crop=False, near_scale=0.0, near_shift=0.0)
        return replace(near, flip=0.0, colour=0.0, lighting=0.0)

    def enlarges(self, image_size: Size, size: Size) -> float:
        """Returns infinity for crops, which an object may fill however small it is."""
        return math.inf if self.whole < 1 else super().enlarges(image_size, size)

    def draw_map(
        self, image_size: Size, size: Size, rng: Rng, boxes: Floats | None = None
    ) -> Affine:
        """Returns a random map from an image ``(h, w)`` to a view of it.

        Args:
            image_size: (height, width) of the image.
            size: (H, W) of the view.
            rng: The only source of chance.
            boxes: (N, 4) objects in image pixels, one of which sets the scale.
        """
        if boxes is None or not len(boxes) or rng.random() < self.whole:
            return super().draw_map(image_size, size, rng, boxes)
        height, width = image_size
        size = self.window or size
        box = clip_boxes(boxes[rng.integers(len(boxes))], image_size)
        longest = max(float((box[2:] - box[:2]).max()), 1.0)
        zoom = next(rng.uniform(*sides) for above, sides in SIDES if longest > above) / longest
        near = rng.random() < 0.5
        spans = (box[::2] * zoom, width * zoom, size[1]), (box[1::2] * zoom, height * zoom, size[0])
        x, y = (self._middle(*span, near, rng) for span in spans)
        to_view = Affine.translate(size[1] / 2 - x, size[0] / 2 - y) @ Affine.scale(zoom, zoom)
        return self.turned(to_view, size, rng)

    def _middle(self, span: Floats, length: float, side: float, near: bool, rng: Rng) -> float:
        """Returns where the middle of a view of so many pixels lies along an axis.

        Args:
            span: (2,) ends of the object, in pixels of the view.
            length: Side of the picture, in the same.
            side: Side of the view.
            near: Whether the object lies in the middle; else it is somewhere in the view.
            rng: The only source of chance.
        """
        if length <= side:
            return length / 2
        if near:
            return float(np.clip(span.mean() + rng.uniform(-NEAR, NEAR), 0, length))
        low, high = max(float(span[1]) - side, 0.0), min(length - side, float(span[0]))
        return side / 2 + rng.uniform(min(low, high), max(low, high))

    def _placed(self, scene: Scene, size: Size, rng: Rng) -> Scene:
        to_view = self.draw_map(scene.size, size, rng, scene.boxes)
        size = self.window or size
        moved = scene.moved(to_view, size)
        clipped = clip_boxes(moved.boxes, size)
        return moved.keep((clipped[:, 2:] - clipped[:, :2] > SMALLEST_SIDE).all(1))
