"""What is counted of the cells of one image, for few objects and for tens of thousands."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from heatpoint.codecs import Codec, Target
from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.corners import CornerCodec
from heatpoint.inspection.corners import _wrong_pairs
from heatpoint.inspection.oracle import _count

SIZE = (64, 96)


def drawn(count: int, rng: np.random.Generator) -> Target:
    corner = rng.uniform(0, 50, (count, 2))
    boxes = np.concatenate((corner, corner + rng.uniform(1, 12, (count, 2))), 1)
    labels = rng.integers(0, 3, count)
    return Target(torch.from_numpy(boxes).float(), torch.from_numpy(labels))


@pytest.mark.parametrize("codec", [CenterCodec(3), CornerCodec(3)])
def test_cells_are_counted_as_by_comparing_every_pair(codec: Codec) -> None:
    rng = np.random.default_rng(0)
    seen = np.zeros(3)
    for _ in range(200):
        target = drawn(int(rng.integers(0, 14)), rng)
        labels = target.labels.numpy()
        cells = codec.claims(target.boxes.double().numpy(), SIZE)
        apart = np.abs(cells[:, :, None] - cells[:, None]).max(-1).min(0)
        alike = labels[:, None] == labels
        earlier = (apart == 0) & np.tri(len(labels), k=-1, dtype=bool)
        twin, own = (earlier & alike).any(1), ((apart == 0) & alike).sum(1) > 1
        expected = [
            twin.sum(),
            (earlier.any(1) & ~twin).sum(),
            (((apart == 1) & alike).any(1) & ~own).sum(),
        ]
        counts = _count(target, codec, SIZE)
        names = ("same_class_cell", "other_class_cell", "neighbours")
        assert [counts[name] for name in names] == expected
        seen += expected
    assert seen.min() > 5


@pytest.mark.parametrize("codec", [CenterCodec(3), CornerCodec(3)])
def test_forty_thousand_objects_in_one_image_take_no_gigabytes(codec: Codec) -> None:
    target = drawn(40_000, np.random.default_rng(1))
    tracemalloc.start()
    counts = _count(target, codec, SIZE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts["objects"] == 40_000
    assert counts["same_class_cell"] > 39_000
    assert peak < 100 << 20


def test_wrong_pairs_are_counted_in_blocks() -> None:
    rng = np.random.default_rng(2)
    boxes = drawn(700, rng).boxes.double().numpy()
    every = (boxes[:, None, :2] <= boxes[None, :, 2:]).all(-1).sum() - len(boxes)
    assert _wrong_pairs(boxes) == every > 0
    assert _wrong_pairs(boxes[:0]) == 0
