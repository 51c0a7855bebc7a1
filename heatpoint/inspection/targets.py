"""Draws training samples with their boxes and the heatmaps a network is asked to produce."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from heatpoint.data.annotations import Annotations, ImageRecord
from heatpoint.data.augment import Augment
from heatpoint.data.dataset import Sample, TrainSet
from heatpoint.detector.file import BoxCodec
from heatpoint.geometry.affine import Image
from heatpoint.inference.draw import draw_truth, write_picture

TILE = 384  # least height of a tile in pixels; smaller inputs are enlarged by a whole factor
_GAP = 8


def draw_targets(
    path: str | Path,
    annotations: Annotations,
    codec: BoxCodec,
    size: tuple[int, int],
    augment: Augment,
    samples: int,
    seed: int,
) -> None:
    """Writes one picture of training samples, each beside what the heatmap should say about it.

    Left of a pair is the sample, augmented as in training, with its boxes; right of it the same,
    darkened, under the blobs of all classes, cell by cell. Images with objects come first.

    Args:
        path: A file that ends in .png or .jpg.
        annotations: Cleaned annotations.
        codec: Makes the targets.
        size: (H, W) of the input in pixels.
        augment: How samples vary.
        samples: Number of pairs.
        seed: Chooses images and augmentation.
    """
    views = TrainSet(annotations, size, augment, seed)
    pairs = [
        _pair(views[0, index], annotations, codec) for index in _choose(annotations, samples, seed)
    ]
    if len(pairs) % 2:
        pairs.append(np.full_like(pairs[0], 255))
    rows = [join(pairs[i : i + 2], 1) for i in range(0, len(pairs), 2)]
    write_picture(path, join(rows, 0))


def _choose(annotations: Annotations, samples: int, seed: int) -> list[int]:
    """Returns images in random order, those without objects last."""
    order = np.random.default_rng(seed).permutation(len(annotations))
    full = [int(index) for index in order if len(annotations.images[index])]
    empty = [int(index) for index in order if not len(annotations.images[index])]
    return (full + empty)[:samples]


def _pair(sample: Sample, annotations: Annotations, codec: BoxCodec) -> Image:
    view: Image = sample.image.permute(1, 2, 0).numpy()
    height, width = view.shape[:2]
    heatmap = codec.encode([sample.target], (height, width)).heatmap()[0]
    zoom = max(1, -(-TILE // height))
    large = enlarge(view, zoom)
    boxes = sample.target.boxes.double().numpy() * zoom
    truth = ImageRecord(Path(), None, boxes, sample.target.labels.numpy())
    return join([draw_truth(large, truth, annotations.names), overlay(large, heatmap)], 1)


def overlay(image: Image, heatmap: Tensor) -> Image:
    """Returns the picture in dark grey under the blobs of a (C, h, w) heatmap in [0, 1]."""
    height, width = image.shape[:2]
    blobs = (heatmap.amax(0).numpy() * 255).astype(np.uint8)
    cells = cv2.resize(blobs, (width, height), interpolation=cv2.INTER_NEAREST)
    colours = cv2.cvtColor(cv2.applyColorMap(cells, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    weight = (cells > 0)[..., None] * (0.25 + 0.75 * cells[..., None] / 255)
    mixed: Image = np.round(grey * 0.5 * (1 - weight) + colours * weight).astype(np.uint8)
    return mixed


def enlarge(image: Image, zoom: int) -> Image:
    """Returns the picture with every pixel repeated ``zoom`` times along both axes."""
    repeated: Image = np.ascontiguousarray(image.repeat(zoom, 0).repeat(zoom, 1))
    return repeated


def join(pictures: Sequence[Image], axis: int) -> Image:
    """Returns pictures of equal size in a row (axis 1) or column (axis 0) on white."""
    shape = list(pictures[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, 255, np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    joined: Image = np.concatenate(parts, axis)
    return joined
