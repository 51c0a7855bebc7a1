"""Draws pictures of articulated figures whose joints are known exactly."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.skeleton import Skeleton
from heatpoint.geometry import Image
from heatpoint.synthetic import Points, add_noise, background, between, dull, fill, write_set

Colour = Literal["left", "right", "torso", "head"]


class Part(NamedTuple):
    """One piece that is painted: a capsule between two joints, a bone, or a disc around one.

    Attributes:
        start: Joint at one end.
        end: Joint at the other end.
        radii: Radius at either end, in heights of the figure.
        colour: Whose colour it has.
        shade: Factor on that colour; it tells an upper from a lower limb.
        joints: Joints that count as seen where this part shows.
    """

    start: int
    end: int
    radii: tuple[float, float]
    colour: Colour
    shade: float
    joints: tuple[int, ...]


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
    Part(0, 0, (HEAD_RADIUS, HEAD_RADIUS), "head", 1.0, (0,)),
)
"""Joints are those of ``figures.FIGURE``."""

_LIMBS = np.arange(8).reshape(4, 2)
_TORSO, _HEAD = (8, 9, 10, 11), (12, 13)
_WARM, _COLD = (-0.04, 0.13), (0.5, 0.68)  # hues from 0 to 1


@dataclass(frozen=True)
class Pose:
    """Where the joints of one figure are.

    Attributes:
        points: (14, 2) x, y in image pixels.
        height: Of the figure when upright, in image pixels.
        front: (4,) which of the limbs (left arm, right arm, left leg, right leg) lie before the
            torso.
    """

    points: Points
    height: float
    front: NDArray[np.bool_]

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
        return cls(points * height, height, rng.random(4) < (0.75, 0.75, 0.9, 0.9))

    def extent(self) -> tuple[Points, Points]:
        """Returns the upper left and the lower right corner of the body, (2,) each."""
        margin = np.full(len(self.points), 0.04 * self.height)
        margin[0] = HEAD_RADIUS * self.height
        low = (self.points - margin[:, None]).min(0)
        return low, (self.points + margin[:, None]).max(0)

    def inside(self, size: tuple[int, ...]) -> NDArray[np.bool_]:
        """Returns which joints lie in a picture ``size`` (H, W) large, (14,)."""
        inside: NDArray[np.bool_] = np.all((self.points >= 0) & (self.points < size[::-1]), axis=1)
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
    behind, before = (_LIMBS[which].ravel().tolist() for which in (~pose.front, pose.front))
    for number in (*behind, *_TORSO, *_HEAD, *before):
        part = PARTS[number]
        start, end = pose.points[part.start], pose.points[part.end]
        outlines = [capsule(start, end, part.radii[0] * pose.height, part.radii[1] * pose.height)]
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


_JOINTS = (
    "head neck left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_hip "
    "right_hip left_knee right_knee left_ankle right_ankle"
)
FIGURE = Skeleton(
    tuple(_JOINTS.split()),
    tuple((part.start, part.end) for part in PARTS if part.start != part.end),
    ((2, 3), (4, 5), (6, 7), (8, 9), (10, 11), (12, 13)),
)
"""Skeleton of the drawn figures."""

_SEVERAL = 0.3  # share of pictures of few with a second figure; a third as many have a third
_CROWD = (2, 6)  # least and most figures of a crowd
_CUT = 0.15  # share of figures that may reach beyond the picture
_BARS = 0.2  # share of pictures with a bar over the figures
_LEAST_JOINTS = 6  # a figure with fewer joints in the picture is drawn elsewhere
_LEAST_SEEN = 0.6  # share of a figure's joints in the picture that stay visible


class _Spacing(NamedTuple):
    """How large figures are and how near each other they stand.

    Attributes:
        smallest: Least height, as a share of the picture's shorter side.
        largest: Greatest height, likewise.
        common: Two figures' extents share less than this part of the smaller one.
    """

    smallest: float
    largest: float
    common: float


_ALONE = _Spacing(0.45, 1.0, 0.0)
_FEW = _Spacing(0.45, 0.7, 0.25)
_CLOSE = _Spacing(0.25, 0.6, 0.5)


@dataclass(frozen=True)
class FigureScene:
    """One drawn picture and the truth about it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) float64, xyxy in image pixels: extent of the body, cut at the border.
        joints: (N, 14, 3) float64, x, y in image pixels and visibility: 2 where the figure's own
            part shows at the joint, 1 where something covers it, and 0, 0, 0 beyond the picture.
        heads: (N,) float64, 0.6 of the diagonal of the head's box in pixels.
    """

    image: Image
    boxes: NDArray[np.float64]
    joints: NDArray[np.float64]
    heads: NDArray[np.float64]


def draw_figures(
    size: tuple[int, int], rng: np.random.Generator, clutter: bool = True, crowd: bool = False
) -> FigureScene:
    """Draws one picture of one to three figures, or of a crowd of two to six smaller ones.

    Args:
        size: Height and width of the picture in pixels, each at least 64.
        rng: Source of every random choice.
        clutter: False leaves out bars, noise and what is in the background.
        crowd: Figures of a crowd differ more in size and cover each other.

    Raises:
        HeatpointError: The picture is too small to hold a figure.
    """
    image = background("figures", 64, size, rng, clutter)
    owner = np.zeros(size, np.int16)  # 1 + part + parts of the figures before; 0 is the background
    if crowd:
        wanted, spacing = int(rng.integers(_CROWD[0], _CROWD[1] + 1)), _CLOSE
    else:
        wanted = 1 + int(rng.random() < _SEVERAL) + int(rng.random() < _SEVERAL / 3)
        spacing = _FEW if wanted > 1 else _ALONE
    poses: list[Pose] = []
    while len(poses) < wanted and (pose := _place(size, rng, spacing, poses)):
        draw_pose(image, owner, pose, 1 + len(poses) * len(PARTS), rng)
        poses.append(pose)
    if clutter and rng.random() < _BARS:
        _cover(image, owner, poses, rng)
    if clutter:
        add_noise(image, rng)
    extents = [np.concatenate(pose.extent()) for pose in poses]
    return FigureScene(
        image,
        np.clip(np.reshape(extents, (-1, 4)), 0, (*size[::-1], *size[::-1])),
        np.array([_labels(pose, owner, i) for i, pose in enumerate(poses)]),
        np.array([0.6 * 2 * np.sqrt(2) * HEAD_RADIUS * pose.height for pose in poses]),
    )


def write_figures(
    folder: str | Path,
    count: int,
    size: tuple[int, int] = (192, 192),
    seed: int = 0,
    crowd: bool = False,
) -> Path:
    """Writes a data set of drawn figures and returns the path of its COCO JSON file.

    The folder receives ``annotations.json`` and ``images/000000.jpg`` onwards. Picture ``i`` is a
    pure function of ``(seed, i, size)``; data sets of different seeds share no picture.

    Args:
        folder: Where to write; made if missing.
        count: Number of pictures.
        size: Height and width of every picture in pixels.
        seed: Chooses the pictures.
        crowd: Draws crowds; see ``draw_figures``.

    Raises:
        HeatpointError: ``count`` is below 1, ``size`` is too small, or the folder is not writable.
    """

    def draw(rng: np.random.Generator) -> tuple[Image, ImageRecord]:
        scene = draw_figures(size, rng, crowd=crowd)
        labels, joints = np.zeros(len(scene.boxes), np.int64), scene.joints
        return scene.image, ImageRecord(
            Path(), size, scene.boxes, labels, keypoints=joints, heads=scene.heads
        )

    annotations = Annotations(("figure",), [], skeleton=FIGURE)
    return write_set(folder, count, size, seed, annotations, draw)


def _place(
    size: tuple[int, int], rng: np.random.Generator, spacing: _Spacing, before: list[Pose]
) -> Pose | None:
    """Returns a pose that shows enough of itself and stands clear of others; None if none does."""
    for _ in range(20):
        share = between(spacing.smallest, spacing.largest, rng)
        pose = Pose.random(share * min(size), rng)
        low, high = pose.extent()
        room = np.array(size[::-1]) - (high - low)
        beyond = rng.random() < _CUT
        if (room < 0).any() and not beyond:
            continue
        move = rng.uniform(-0.4, 0.4, 2) * (high - low) if beyond else 0.0
        at = rng.random(2) * np.maximum(room, 0) + move
        pose = replace(pose, points=pose.points + (at - low))
        shown = pose.inside(size).sum() >= _LEAST_JOINTS
        if shown and all(_common(pose, other) < spacing.common for other in before):
            return pose
    return None


def _common(one: Pose, other: Pose) -> float:
    """Returns which part of the smaller of two figures' extents lies in the other."""
    (low, high), (low2, high2) = one.extent(), other.extent()
    common = np.clip(np.minimum(high, high2) - np.maximum(low, low2), 0, None).prod()
    return float(common / min((high - low).prod(), (high2 - low2).prod()))


def _cover(
    image: Image, owner: NDArray[np.int16], poses: list[Pose], rng: np.random.Generator
) -> None:
    """Draws a grey bar over part of a figure, unless it would hide too much of any."""
    target = poses[int(rng.integers(len(poses)))]
    for _ in range(5):
        middle = target.points[int(rng.integers(len(FIGURE)))]
        angle, half = rng.uniform(0, np.pi), 0.3 * target.height
        along = np.array([np.cos(angle), np.sin(angle)]) * half
        radius = target.height * rng.uniform(0.03, 0.06)
        outline = capsule(middle - along, middle + along, radius, radius)
        hidden = owner.copy()
        fill(hidden, [outline], 0, smooth=False)
        shown = [_labels(pose, hidden, i)[:, 2] for i, pose in enumerate(poses)]
        if all((v == 2).sum() >= _LEAST_SEEN * (v > 0).sum() for v in shown):
            owner[:] = hidden
            fill(image, [outline], dull(rng))
            return


def _labels(pose: Pose, owner: NDArray[np.int16], number: int) -> NDArray[np.float64]:
    """Returns the joints (14, 3) of figure ``number`` with visibility."""
    table = np.zeros((len(FIGURE), 3))
    for joint in np.flatnonzero(pose.inside(owner.shape)):
        x, y = pose.points[joint]
        part = int(owner[int(y), int(x)]) - 1 - number * len(PARTS)
        shows = 0 <= part < len(PARTS) and joint in PARTS[part].joints
        table[joint] = x, y, 2.0 if shows else 1.0
    return table
