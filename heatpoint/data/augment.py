"""How training varies whole pictures: random views, windows and mosaics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from heatpoint.data import Size
from heatpoint.data.scene import Floats, Rng, Scene, Variation, cut_normal
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Affine, box_area, clip_boxes, letterbox

BORDER = 128
SMALLEST_SIDE = 1e-3


@dataclass(frozen=True)
class Augment(Variation):
    """How whole pictures are varied; the defaults are CenterNet's.

    Scales are relative to a letterbox that fits the whole image: the zoom is the letterbox's
    divided by the drawn factor. On square inputs this is the released rule; on others that rule
    looks at the width only, while this one keeps training and evaluation at the same scale.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> image, boxes = np.zeros((48, 64, 3), np.uint8), np.array([[8.0, 8.0, 40.0, 40.0]])
        >>> scene = Scene(image, boxes, np.array([0]))
        >>> Augment.none().view([scene], (128, 128), rng).boxes.tolist()
        [[16.0, 32.0, 80.0, 96.0]]
    """

    sees: ClassVar[str] = "whole pictures"
    options: ClassVar[dict[str, str]] = {
        "flip_vertical": "flip_vertical",
        "quarter_turns": "quarter_turn",
        "rotate": "rotation",
        "window": "window",
        "mosaic": "mosaic",
        "margin": "margin",
    }

    crop: bool = True
    """Random crop: scale in steps, centre anywhere up to a border; else near, by the spreads."""
    scale_low: float = 0.6
    """Smallest part of the image's longer side in view when cropping; 0.6 enlarges 1.67 times."""
    scale_high: float = 1.3
    """Largest part of the image's longer side in view when cropping."""
    scale_step: float = 0.1
    """Step between the possible scales; 0 draws any scale between low and high."""
    near_scale: float = 0.4
    """Without crop: normal spread of the scale about 1, cut at one spread."""
    near_shift: float = 0.1
    """Without crop: normal spread of the centre in longer sides, cut at two spreads."""
    nearer: float = 1.0
    """Without crop: a view shows some place of the picture up to so many times larger, and with it
    less of the picture; above 1 where predictions see pictures larger than training does."""
    flip: float = 0.5
    """Probability of the mirror image."""
    flip_vertical: float = 0.0
    """Probability of the image upside down; not in the released recipe."""
    quarter_turn: float = 0.0
    """Probability that x and y change places; with both flips, all eight ways to lay a picture on
    a table are equally likely. Not in the released recipe."""
    rotation: float = 0.0
    """Greatest turn in degrees, for points and corners: boxes around turned ones are too large."""
    colour: float = 0.4
    """Brightness, contrast and saturation each change by up to this share."""
    lighting: float = 0.1
    """Spread of the shift along the principal components of colour (Krizhevsky et al. 2012)."""
    min_visible: float = 0.0
    """Objects of which less than this share of the area is left in view are no targets; the
    released code keeps every object with any area left."""
    mosaic: float = 0.0
    """Probability that a sample is put together from four images; not in the released recipe."""
    window: Size | None = None
    """(H, W) of the part of the input that is seen, at the input's scale; None for all of it. It
    lies over an object drawn at random, wherever that is in it, or over any place (``focus``):
    where objects are small and far apart, most of a whole picture teaches nothing."""
    focus: float = 0.9
    """Probability that a window lies over an object."""
    margin: float = 0.0
    """Input pixels that a whole picture leaves free on every side, as the view of evaluation."""

    def __post_init__(self) -> None:
        self._check(0, 1, "flip", "flip_vertical", "quarter_turn", "colour", "min_visible")
        self._check(0, 1, "mosaic", "focus")
        self._check(0, 180, "rotation")
        self._check(0, 1, "near_scale", below=True)
        self._check(0, math.inf, "scale_step", "near_shift", "lighting", "margin")
        if self.window is not None and self.mosaic:
            raise HeatpointError("augment takes either window or mosaic, not both")
        if not self.nearer >= 1:
            raise HeatpointError(f"augment nearer must be at least 1, got {self.nearer}")
        if not 0 < self.scale_low <= self.scale_high:
            scales = f"{self.scale_low} and {self.scale_high}"
            raise HeatpointError(f"augment needs 0 < scale_low <= scale_high, got {scales}")

    @classmethod
    def mild(cls) -> Augment:
        """Returns small moves about the whole image, for small data sets or fixed cameras."""
        near = cls(crop=False, near_scale=0.25, near_shift=0.07)
        return replace(near, colour=0.3, lighting=0.0, min_visible=0.25)

    @classmethod
    def none(cls) -> Augment:
        """Returns no variation at all: the letterbox of evaluation, but for its margin."""
        return cls(crop=False, near_scale=0.0, near_shift=0.0, flip=0.0, colour=0.0, lighting=0.0)

    def others(self, samples: int, rng: Rng) -> list[int]:
        """Returns three further samples for a mosaic, if chance wants one."""
        if self.mosaic and rng.random() < self.mosaic:
            return [int(index) for index in rng.integers(samples, size=3)]
        return []

    def enlarges(self, image_size: Size, size: Size) -> float:
        """Returns the scale of a letterbox over the smallest part of the picture in view."""
        part = self.scale_low if self.crop else (1 - self.near_scale) / self.nearer
        return letterbox(image_size, size, self.margin).matrix[0] / part

    def view(self, scenes: Sequence[Scene], size: Size, rng: Rng) -> Scene:
        """Draws one view of a picture, or windows of four around a random point.

        The point lies in the middle half of the view; windows have the scale of whole pictures, as
        those of the released mosaic (Bochkovskiy et al. 2020, YOLOv4). Boxes are clipped to the
        view. Objects outside of it are gone, and of those labelled by points all whose middle is.

        Args:
            scenes: One picture or four.
            size: (H, W) of the input; of the view too, unless there is a ``window``.
            rng: The only source of chance.
        """
        if len(scenes) == 1:
            drawn = self._placed(scenes[0], size, rng)
            return replace(drawn, image=self.recolour(drawn.image, rng))
        x, y = (round(side * rng.uniform(0.25, 0.75)) for side in (size[1], size[0]))
        parts = []
        for scene, (left, top) in zip(scenes, ((0, 0), (x, 0), (0, y), (x, y)), strict=True):
            quarter = (size[0] if top else y) - top, (size[1] if left else x) - left
            drawn = replace(self, mosaic=0.0, window=quarter)._placed(scene, size, rng)
            parts.append(drawn.moved(Affine.translate(left, top), size))
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in parts[0].columns
        }
        # Each part is black outside of its quarter.
        image = np.maximum.reduce([part.image for part in parts])
        return replace(parts[0], image=self.recolour(image, rng), **columns)

    def draw_map(
        self, image_size: Size, size: Size, rng: Rng, boxes: Floats | None = None
    ) -> Affine:
        """Returns a random map from an image ``(h, w)`` to a view of it.

        Args:
            image_size: (height, width) of the image.
            size: (H, W) of the input, which sets the scale.
            rng: The only source of chance.
            boxes: (N, 4) objects in image pixels that a ``window`` may be laid over.
        """
        (height, width), longer = image_size, max(image_size)
        if self.crop:
            part, spread = self.scale_low, self.scale_high - self.scale_low
            if self.scale_step:
                steps = int(spread / self.scale_step + 1e-6)
                part += self.scale_step * int(rng.integers(steps + 1))
            else:
                part += rng.uniform(0, spread)
            margins = crop_border(width), crop_border(height)
            x, y = rng.uniform(margins, (width - margins[0], height - margins[1]))
        else:
            part = 1 + cut_normal(rng, self.near_scale, self.near_scale)
            shift = [cut_normal(rng, self.near_shift, 2 * self.near_shift) for _ in range(2)]
            x, y = width / 2 + longer * shift[0], height / 2 + longer * shift[1]
            if self.nearer > 1:
                share = rng.uniform(1 / self.nearer, 1)
                part *= share
                x += rng.uniform(-0.5, 0.5) * (1 - share) * width
                y += rng.uniform(-0.5, 0.5) * (1 - share) * height
        zoom = letterbox(image_size, size, self.margin).matrix[0] / part
        if self.window is not None:
            size = self.window
            x, y = self._window_center(image_size, np.array(size[::-1]) / zoom / 2, rng, boxes)
        turn = math.radians(rng.uniform(-self.rotation, self.rotation)) if self.rotation else 0.0
        cos, sin = zoom * math.cos(turn), zoom * math.sin(turn)
        to_view = (
            Affine.translate(size[1] / 2, size[0] / 2)
            @ Affine((cos, -sin, 0.0, sin, cos, 0.0))
            @ Affine.translate(-x, -y)
        )
        return self.turned(to_view, size, rng)

    def turned(self, to_view: Affine, size: Size, rng: Rng) -> Affine:
        """Returns a map with mirrors and a quarter turn, if chance wants them.

        The view itself is mirrored, so that what a view was laid over stays in it.

        Args:
            to_view: Map from an image to a view of it.
            size: (H, W) of the view.
            rng: The only source of chance.
        """
        if rng.random() < self.flip:
            to_view = Affine.flip(size[1]) @ to_view
        if self.flip_vertical and rng.random() < self.flip_vertical:
            to_view = Affine((1, 0, 0, 0, -1, size[0])) @ to_view
        if self.quarter_turn and rng.random() < self.quarter_turn:
            shift = (size[1] - size[0]) / 2
            to_view = Affine((0, 1, shift, 1, 0, -shift)) @ to_view
        return to_view

    def _window_center(
        self, image_size: Size, reach: Floats, rng: Rng, boxes: Floats | None
    ) -> Floats:
        """Returns the x and y in image pixels of a window's centre, from which it reaches so far.

        Laid over an object, the window holds all of it, or is centred on it if it is too small.
        """
        if boxes is not None and len(boxes) and rng.random() < self.focus:
            box = boxes[rng.integers(len(boxes))]
            room = np.maximum(reach - (box[2:] - box[:2]) / 2, 0)
            return np.asarray((box[:2] + box[2:]) / 2 + rng.uniform(-room, room))
        end = np.array(image_size[::-1])
        return np.asarray(rng.uniform(np.minimum(reach, end / 2), np.maximum(end - reach, end / 2)))

    def _placed(self, scene: Scene, size: Size, rng: Rng) -> Scene:
        to_view = self.draw_map(scene.size, size, rng, scene.boxes)
        size = self.window or size
        moved = scene.moved(to_view, size)
        if moved.points is not None:
            middle = moved.points.mean(1)
            return moved.keep(((middle >= 0) & (middle <= size[::-1])).all(1))
        clipped = clip_boxes(moved.boxes, size)
        kept = (clipped[:, 2:] - clipped[:, :2] > SMALLEST_SIDE).all(1)
        kept &= box_area(clipped) >= self.min_visible * box_area(moved.boxes)
        return replace(moved, boxes=clipped).keep(kept)


def crop_border(size: int) -> int:
    """Returns how near the edge, in pixels, a random crop's centre may come along one side.

    128, halved until the borders at both ends leave room between them (the released rule).
    """
    borders = (BORDER >> halvings for halvings in range(BORDER))
    return next(border for border in borders if size > 2 * border)
