"""The body of a drawn figure: its parts, a random pose of it, and how it is painted."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatpoint.geometry.affine import Image
from heatpoint.synthetic.canvas import Points, fill

Colour = Literal["left", "right", "torso", "head"]


class Part(NamedTuple):
    """One piece that is painted: a capsule between two joints, or the torso.

    Attributes:
        start: Joint at one end.
        end: Joint at the other end.
        radii: Radius at either end, in heights of the figure.
        colour: Whose colour it has.
        shade: Factor on that colour; it tells an upper from a lower limb.
        joints: Joints that count as seen where this part shows.
        bone: Whether it is an edge of the skeleton.
    """

    start: int
    end: int
    radii: tuple[float, float]
    colour: Colour
    shade: float
    joints: tuple[int, ...]
    bone: bool = True


HEAD_RADIUS = 0.065
"""In heights of the figure."""

_TRUNK = (1, 2, 3, 8, 9)
PARTS = (
    Part(2, 4, (0.034, 0.028), "left", 1.0, (2, 4)),
    Part(4, 6, (0.028, 0.022), "left", 0.7, (4, 6)),
    Part(3, 5, (0.034, 0.028), "right", 1.0, (3, 5)),
    Part(5, 7, (0.028, 0.022), "right", 0.7, (5, 7)),
    Part(8, 10, (0.045, 0.034), "left", 1.0, (8, 10)),
    Part(10, 12, (0.034, 0.026), "left", 0.7, (10, 12)),
    Part(9, 11, (0.045, 0.034), "right", 1.0, (9, 11)),
    Part(11, 13, (0.034, 0.026), "right", 0.7, (11, 13)),
    Part(2, 8, (0.03, 0.03), "torso", 1.0, _TRUNK),
    Part(3, 9, (0.03, 0.03), "torso", 1.0, _TRUNK),
    Part(2, 3, (0.03, 0.03), "torso", 1.0, _TRUNK),
    Part(8, 9, (0.03, 0.03), "torso", 1.0, _TRUNK),
    Part(1, 0, (0.028, 0.028), "head", 0.8, (1, 0)),
    Part(0, 0, (HEAD_RADIUS, HEAD_RADIUS), "head", 1.0, (0,), bone=False),
)
"""Joints are those of ``figures.FIGURE``."""

_TORSO = (8, 9, 10, 11)
_HEAD = (12, 13)
_LIMBS = ((0, 1), (2, 3), (4, 5), (6, 7))
_WARM, _COLD = (-0.04, 0.13), (0.5, 0.68)  # hues from 0 to 1


@dataclass(frozen=True)
class Pose:
    """Where the joints of one figure are.

    Attributes:
        points: (14, 2) x, y in image pixels.
        height: Of the figure when upright, in image pixels.
        front: Which of the four limbs (left arm, right arm, left leg, right leg) lie before the
            torso.
    """

    points: Points
    height: float
    front: tuple[bool, bool, bool, bool]

    @classmethod
    def random(cls, height: float, rng: np.random.Generator) -> Pose:
        """Returns a random pose about (0, 0)."""
        facing = float(rng.choice((-1.0, 1.0)) * rng.uniform(0.6, 1.0))
        points = np.zeros((14, 2))
        up = _direction(np.pi, rng.normal(0, 0.2))
        across = np.array([-up[1], up[0]]) * facing  # towards the figure's left, seen from before
        points[1] = 0.30 * up
        points[0] = points[1] + 0.12 * _direction(np.pi, rng.normal(0, 0.3))
        for side, left in ((0, 1.0), (1, -1.0)):
            outward = left * float(np.sign(facing))
            points[2 + side] = points[1] + 0.105 * left * across - 0.02 * up
            points[8 + side] = 0.065 * left * across
            arm = rng.uniform(-0.4, 2.8)
            points[4 + side] = points[2 + side] + 0.17 * _direction(0, outward * arm)
            bend = arm + rng.uniform(-0.3, 2.0)
            points[6 + side] = points[4 + side] + 0.16 * _direction(0, outward * bend)
            leg = rng.uniform(-0.2, 0.9)
            points[10 + side] = points[8 + side] + 0.24 * _direction(0, outward * leg)
            bend = leg + rng.uniform(-1.0, 0.2)
            points[12 + side] = points[10 + side] + 0.23 * _direction(0, outward * bend)
        arms, legs = rng.random(2) < 0.75, rng.random(2) < 0.9
        front = (bool(arms[0]), bool(arms[1]), bool(legs[0]), bool(legs[1]))
        return cls(points * height, height, front)

    def moved(self, by: Points) -> Pose:
        """Returns the pose moved by (x, y) pixels."""
        return replace(self, points=self.points + by)

    def extent(self) -> tuple[Points, Points]:
        """Returns the upper left and the lower right corner of the body, (2,) each."""
        margin = np.full(len(self.points), 0.04 * self.height)
        margin[0] = HEAD_RADIUS * self.height
        low = (self.points - margin[:, None]).min(0)
        return low, (self.points + margin[:, None]).max(0)

    def inside(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Returns which joints lie in a picture ``size`` (H, W) large, (14,)."""
        x, y = self.points.T
        inside: NDArray[np.bool_] = (x >= 0) & (y >= 0) & (x < size[1]) & (y < size[0])
        return inside


def draw_pose(
    image: Image, owner: NDArray[np.int16], pose: Pose, first: int, rng: np.random.Generator
) -> None:
    """Paints a figure, in place.

    Args:
        image: (H, W, 3) uint8 RGB.
        owner: (H, W) int16, receives ``first`` plus the part's number wherever a part shows.
        pose: The figure.
        first: Number of its first part.
        rng: Chooses the colours.
    """
    colours = _colours(rng)
    limbs = list(zip(_LIMBS, pose.front, strict=True))
    behind = [part for limb, front in limbs if not front for part in limb]
    before = [part for limb, front in limbs if front for part in limb]
    for number in (*behind, *_TORSO, *_HEAD, *before):
        part = PARTS[number]
        start, end = pose.points[part.start], pose.points[part.end]
        radii = part.radii[0] * pose.height, part.radii[1] * pose.height
        outlines = [capsule(start, end, *radii)]
        if number == _TORSO[0]:
            outlines.append(pose.points[[2, 3, 9, 8]])
        shade = [part.shade * value for value in colours[part.colour]]
        for outline in outlines:
            fill(owner, [outline], first + number, smooth=False)
            fill(image, [outline], shade)


def capsule(start: Points, end: Points, first: float, last: float) -> Points:
    """Returns the outline, (n, 2), of what a disc covers that goes from one point to another.

    Args:
        start: (2,) centre at the start.
        end: (2,) centre at the end.
        first: Radius at the start.
        last: Radius at the end.
    """
    along = end - start
    angle = float(np.arctan2(along[1], along[0]))
    turn = np.linspace(np.pi / 2, 3 * np.pi / 2, 9) + angle
    half = np.stack((np.cos(turn), np.sin(turn)), 1)
    return np.concatenate((start + first * half, end - last * half))


def _direction(base: float, angle: float) -> Points:
    """Returns the unit vector (2,) that hangs down, turned by ``base + angle`` anticlockwise."""
    return np.array([np.sin(base + angle), np.cos(base + angle)])


def _colours(rng: np.random.Generator) -> dict[Colour, list[float]]:
    """Returns random RGB colours: warm for the left, cold for the right, any for the rest."""

    def vivid(hues: tuple[float, float], saturation: float) -> list[float]:
        hue, value = rng.uniform(*hues) % 1.0, rng.uniform(0.75, 1.0)
        return [255 * channel for channel in colorsys.hsv_to_rgb(hue, saturation, value)]

    return {
        "left": vivid(_WARM, rng.uniform(0.7, 1.0)),
        "right": vivid(_COLD, rng.uniform(0.7, 1.0)),
        "torso": vivid((0.2, 0.45), rng.uniform(0.2, 0.8)),
        "head": vivid((0.0, 1.0), rng.uniform(0.0, 0.3)),
    }
