"""Draws crops of subjects with the heatmaps that are asked for, and with their mirror image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from heatpoint.codecs.joints import JointCodec
from heatpoint.data.annotations import Annotations
from heatpoint.data.dataset import Sample
from heatpoint.data.pose_augment import PoseAugment
from heatpoint.data.skeleton import Skeleton
from heatpoint.data.subjects import CropTrainSet
from heatpoint.geometry.affine import Image
from heatpoint.inference.draw import side_by_side, write_picture
from heatpoint.inference.draw_poses import draw_poses
from heatpoint.inference.poses import Poses
from heatpoint.inspection.targets import TILE, enlarge, join, overlay


def draw_crops(
    path: str | Path,
    annotations: Annotations,
    codec: JointCodec,
    size: tuple[int, int],
    augment: PoseAugment,
    padding: float,
    samples: int,
    seed: int,
) -> None:
    """Writes one picture of training crops, each beside what the heatmaps should say about it.

    Left of a pair is the crop, augmented as in training, with its joints; right of it the same,
    darkened, under the blobs of all joints, cell by cell.

    Args:
        path: A file that ends in .png or .jpg.
        annotations: Cleaned annotations with a skeleton.
        codec: Makes the targets.
        size: (H, W) of the input in pixels.
        augment: How crops vary.
        padding: Side of a crop over that of its box.
        samples: Number of pairs.
        seed: Chooses subjects and augmentation.
    """
    assert annotations.skeleton is not None
    views = CropTrainSet(annotations, size, augment, seed, padding=padding)
    pairs = []
    for place in _choose(len(views), samples, seed):
        sample = views[0, place]
        with torch.inference_mode():
            maps = codec.ideal(codec.encode([sample.target], size))["joints"][0]
        crop = _drawn(sample, annotations.skeleton)
        plain = enlarge(_pixels(sample), _zoom(size))
        pairs.append(join([crop, overlay(plain, maps.clamp(0, 1))], 1))
    if len(pairs) % 2:
        pairs.append(np.full_like(pairs[0], 255))
    rows = [join(pairs[i : i + 2], 1) for i in range(0, len(pairs), 2)]
    write_picture(path, join(rows, 0))


def draw_mirrored(
    path: str | Path,
    annotations: Annotations,
    size: tuple[int, int],
    padding: float,
    samples: int,
    seed: int,
) -> None:
    """Writes crops beside their mirror images, whose left and right joints have changed places.

    Colours are those of the side a joint is now called by. In the mirror a right hand is a left
    one, so each limb must change its colour; one that keeps it lacks its pair in the skeleton.

    Args:
        path: A file that ends in .png or .jpg.
        annotations: Cleaned annotations with a skeleton.
        size: (H, W) of the input in pixels.
        padding: Side of a crop over that of its box.
        samples: Number of pairs.
        seed: Chooses the subjects.
    """
    assert annotations.skeleton is not None
    plain = PoseAugment.none()
    straight = CropTrainSet(annotations, size, plain, seed, padding=padding)
    mirrored = CropTrainSet(annotations, size, replace(plain, flip=1.0), seed, padding=padding)
    rows = []
    for place in _choose(len(straight), samples, seed):
        both = [_drawn(views[0, place], annotations.skeleton) for views in (straight, mirrored)]
        rows.append(side_by_side(both, ["as it is", "mirrored"]))
    write_picture(path, np.concatenate(rows))


def _choose(subjects: int, samples: int, seed: int) -> list[int]:
    order = np.random.default_rng(seed).permutation(subjects)
    return [int(place) for place in order[:samples]]


def _drawn(sample: Sample, skeleton: Skeleton) -> Image:
    """Returns the enlarged crop with its labelled joints."""
    keypoints = sample.target.keypoints
    assert keypoints is not None
    zoom = _zoom((sample.image.shape[1], sample.image.shape[2]))
    scaled = keypoints.numpy() * np.array([zoom, zoom, 1], np.float32)
    scaled[..., 2] = scaled[..., 2] > 0
    boxes = sample.target.boxes.numpy() * zoom
    poses = Poses(scaled, boxes, np.ones(len(scaled), np.float32), skeleton)
    return draw_poses(enlarge(_pixels(sample), zoom), poses)


def _pixels(sample: Sample) -> Image:
    pixels: Image = sample.image.permute(1, 2, 0).numpy()
    return pixels


def _zoom(size: tuple[int, int]) -> int:
    return max(1, -(-TILE // size[0]))
