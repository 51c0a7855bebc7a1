"""Draws pictures of articulated figures whose joints are known exactly: for the demo and tests.

A figure is a body of fourteen joints, seen from the front or from behind, upright or leaning, with
arms and legs in any position; some of it may lie beyond the picture, behind another figure or
behind a grey bar. Its left limbs are warm and its right ones cold, and that alone tells the sides
apart. Under it is the background of the drawn shapes, over it their noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.annotations import Annotations, Objects
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.geometry.affine import Image
from heatpoint.synthetic.body import HEAD_RADIUS, PARTS, Pose, capsule, draw_pose
from heatpoint.synthetic.canvas import Points, add_noise, background, dull, fill, write_set

_JOINTS = (
    "head neck left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_hip "
    "right_hip left_knee right_knee left_ankle right_ankle"
)
FIGURE = Skeleton(
    tuple(_JOINTS.split()),
    tuple((part.start, part.end) for part in PARTS if part.bone),
    ((2, 3), (4, 5), (6, 7), (8, 9), (10, 11), (12, 13)),
)
"""Skeleton of the drawn figures."""

_SMALLEST, _LARGEST = 0.45, 1.0  # heights, as shares of the picture's shorter side
_SEVERAL = 0.3  # share of pictures with a second figure; a third as many have a third
_CUT = 0.15  # share of figures that may reach beyond the picture
_BARS = 0.2  # share of pictures with a bar over the figures
_LEAST_JOINTS = 6  # a figure with fewer joints in the picture is drawn elsewhere
_LEAST_SEEN = 0.6  # share of a figure's joints in the picture that stay visible


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
    size: tuple[int, int], rng: np.random.Generator, clutter: bool = True
) -> FigureScene:
    """Draws one picture of one to three figures.

    Args:
        size: Height and width of the picture in pixels, each at least 64.
        rng: Source of every random choice.
        clutter: False leaves out bars, noise and what is in the background.

    Raises:
        HeatpointError: The picture is too small to hold a figure.
    """
    if min(size) < 64:
        raise HeatpointError(
            f"figures are drawn on pictures of 64x64 pixels or more, not {size[0]}x{size[1]}"
        )
    image = background(size, rng, clutter)
    owner = np.zeros(size, np.int16)  # 1 + part + parts of the figures before; 0 is the background
    wanted = 1 + int(rng.random() < _SEVERAL) + int(rng.random() < _SEVERAL / 3)
    poses: list[Pose] = []
    while len(poses) < wanted:
        pose = _place(size, rng, wanted > 1, poses)
        if pose is None:
            break
        draw_pose(image, owner, pose, 1 + len(poses) * len(PARTS), rng)
        poses.append(pose)
    if clutter and rng.random() < _BARS:
        _cover(image, owner, poses, rng)
    if clutter:
        add_noise(image, rng)
    return FigureScene(
        image,
        np.array([_box(pose, size) for pose in poses]),
        np.array([_labels(pose, owner, i) for i, pose in enumerate(poses)]),
        np.array([0.6 * 2 * np.sqrt(2) * HEAD_RADIUS * pose.height for pose in poses]),
    )


def write_figures(
    folder: str | Path, count: int, size: tuple[int, int] = (192, 192), seed: int = 0
) -> Path:
    """Writes a data set of drawn figures and returns the path of its COCO JSON file.

    The folder receives ``annotations.json`` and ``images/000000.jpg`` onwards. Picture ``i`` is a
    pure function of ``(seed, i, size)``; data sets of different seeds share no picture.

    Args:
        folder: Where to write; made if missing.
        count: Number of pictures.
        size: Height and width of every picture in pixels.
        seed: Chooses the pictures.

    Raises:
        HeatpointError: ``count`` is below 1, ``size`` is too small, or the folder is not writable.
    """

    def draw(rng: np.random.Generator) -> tuple[Image, Objects]:
        scene = draw_figures(size, rng)
        objects = Objects(len(FIGURE))
        for box, joints, head in zip(scene.boxes, scene.joints, scene.heads, strict=True):
            objects.add(tuple(box.tolist()), 0, keypoints=joints, head=float(head))
        return scene.image, objects

    annotations = Annotations(("figure",), [], skeleton=FIGURE)
    return write_set(folder, count, size, seed, annotations, draw)


def _place(
    size: tuple[int, int], rng: np.random.Generator, several: bool, before: list[Pose]
) -> Pose | None:
    """Returns a pose that shows enough of itself and stands clear of others; None if none does."""
    height, width = size
    for _ in range(20):
        largest = 0.7 if several else _LARGEST
        share = float(np.exp(rng.uniform(np.log(_SMALLEST), np.log(largest))))
        pose = Pose.random(share * min(size), rng)
        low, high = pose.extent()
        room = np.array([width, height]) - (high - low)
        if rng.random() < _CUT:
            move = rng.uniform(-0.4, 0.4, 2) * (high - low)
        elif (room < 0).any():
            continue
        else:
            move = np.zeros(2)
        pose = pose.moved(rng.random(2) * np.maximum(room, 0) + move - low)
        if pose.inside(size).sum() < _LEAST_JOINTS:
            continue
        if all(_apart(pose, other) for other in before):
            return pose
    return None


def _apart(one: Pose, other: Pose) -> bool:
    """Returns whether two figures overlap little enough for each to be told."""
    (low, high), (low2, high2) = one.extent(), other.extent()
    common = np.clip(np.minimum(high, high2) - np.maximum(low, low2), 0, None).prod()
    return bool(common < 0.25 * min((high - low).prod(), (high2 - low2).prod()))


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
    size = (owner.shape[0], owner.shape[1])
    inside = pose.inside(size)
    table = np.zeros((len(FIGURE), 3))
    for joint in np.flatnonzero(inside):
        x, y = pose.points[joint]
        part = int(owner[int(y), int(x)]) - 1 - number * len(PARTS)
        shows = 0 <= part < len(PARTS) and joint in PARTS[part].joints
        table[joint] = x, y, 2.0 if shows else 1.0
    return table


def _box(pose: Pose, size: tuple[int, int]) -> Points:
    low, high = pose.extent()
    sides = np.array([size[1], size[0]], np.float64)
    return np.concatenate((np.clip(low, 0, sides), np.clip(high, 0, sides)))
