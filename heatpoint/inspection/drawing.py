"""Draws samples of a data set beside what they teach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from heatpoint.codecs import Codec
from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.bands import stretched
from heatpoint.data.dataset import Sample, TrainSet, varied
from heatpoint.data.draw import draw_heat, draw_truth, enlarge, montage, write_picture
from heatpoint.geometry import Image
from heatpoint.views import View

_TILE = 384  # least height of a sample in pixels; smaller inputs are enlarged by a whole factor


def draw_targets(
    path: str | Path,
    annotations: Annotations,
    codec: Codec,
    view: View,
    augment: str,
    samples: int,
    seed: int,
    shown: Sequence[int] = (),
) -> None:
    """Writes one picture of training samples, each beside what the maps should say about it.

    Left of a pair is the sample, augmented as in training, with its boxes or joints; right of it
    the same, darkened, under the blobs of all classes or joints, cell by cell. Images with objects
    come first.

    Args:
        path: A file that ends in .png or .jpg.
        annotations: Cleaned annotations.
        codec: Makes the targets.
        view: What a sample shows.
        augment: How samples vary, named as in training.
        samples: Number of pairs.
        seed: Chooses samples and augmentation.
        shown: Channels that are drawn, see ``bands.visible``.
    """
    views = _training_views(annotations, view, augment, seed)
    pictures = []
    for index in _choose(annotations, views, samples, seed):
        sample = views[0, index]
        size = sample.image.shape[1], sample.image.shape[2]
        with torch.inference_mode():
            preview = codec.encode([sample.target], size).preview()[0]
        drawn = _drawn(sample, annotations, not view.asks, shown)
        heat = (preview.amax(0).clamp(0, 1).numpy() * 255).astype(np.uint8)
        pictures += [drawn, draw_heat(_enlarged(sample, shown)[0], heat)]
    write_picture(path, montage(pictures, columns=4))


def draw_mirrored(
    path: str | Path,
    annotations: Annotations,
    view: View,
    samples: int,
    seed: int,
    shown: Sequence[int] = (),
) -> None:
    """Writes samples beside their mirror images, whose left and right joints have changed places.

    Colours are those of the side a joint is now called by. In the mirror a right hand is a left
    one, so each limb must change its colour; one that keeps it lacks its pair in the skeleton.

    Args:
        path: A file that ends in .png or .jpg.
        annotations: Cleaned annotations with a skeleton.
        view: What a sample shows.
        samples: Number of samples.
        seed: Chooses them.
        shown: Channels that are drawn, see ``bands.visible``.
    """
    straight = _training_views(annotations, view, "none", seed)
    mirrored = _training_views(annotations, view, "none", seed, flip=1.0)
    pictures = [
        _drawn(views[0, index], annotations, False, shown)
        for index in _choose(annotations, straight, samples, seed)
        for views in (straight, mirrored)
    ]
    write_picture(path, montage(pictures, columns=2, titles=["as it is", "mirrored"]))


def _training_views(
    annotations: Annotations, view: View, augment: str, seed: int, **changes: float
) -> TrainSet:
    """Returns the samples that training would see, with changes of how they vary."""
    named = varied(type(view)).named(augment)
    changes |= {name: getattr(view, name) for name in view.settings if hasattr(named, name)}
    chosen = replace(named, **changes)  # type: ignore[type-var]
    return TrainSet(annotations, view.size, chosen, seed)


def _choose(annotations: Annotations, views: TrainSet, samples: int, seed: int) -> list[int]:
    """Returns samples in random order, images without objects last."""
    order = [int(index) for index in np.random.default_rng(seed).permutation(len(views))]
    places = views.samples.places
    order.sort(key=lambda index: not len(annotations.images[places[index][0]]))
    return order[:samples]


def _enlarged(sample: Sample, shown: Sequence[int]) -> tuple[Image, int]:
    return enlarge(stretched(sample.image.permute(1, 2, 0).numpy(), shown), _TILE)


def _drawn(sample: Sample, annotations: Annotations, boxes: bool, shown: Sequence[int]) -> Image:
    """Returns the enlarged sample with its joints and, if it has none or ``boxes``, its boxes."""
    large, zoom = _enlarged(sample, shown)
    target, joints = sample.target, None
    if target.keypoints is not None:
        joints = target.keypoints.double().numpy() * (zoom, zoom, 1)
    places = target.boxes.double().numpy() * zoom
    truth = ImageRecord(Path(), None, places, target.labels.numpy(), keypoints=joints)
    if target.points is not None:
        truth.points = target.points.double().numpy() * zoom
    return draw_truth(large, truth, annotations.names, annotations.skeleton, boxes)
