"""What is written as COCO is read back: a hundred data sets by seeds, nothing lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.readers.coco import read_coco, write_coco
from heatpoint.data.readers.given import Given
from heatpoint.data.skeleton import SKELETONS

COLUMNS = ("boxes", "labels", "crowd", "difficult", "areas", "heads", "keypoints")
NAMES = ("cat", "Dog", "\u6c7d\u8f66", "a, b", "none", "0")


def drawn(folder: Path, seed: int) -> Annotations:
    """Returns a data set with everything a record can hold, by chance, and its pictures' files."""
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(1, len(NAMES) + 1))
    joints = list(SKELETONS.values())[seed % 4] if seed % 2 else None
    records = []
    for number in range(int(rng.integers(1, 6))):
        path = folder / f"{'ab'[number % 2]} \u00fc/{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        count = int(rng.integers(0, 5))
        first = rng.uniform(-20, 600, (count, 2))
        last = first + rng.uniform(1e-3, 300, (count, 2))
        keypoints = heads = None
        if joints is not None:
            seen = rng.integers(0, 3, (count, len(joints), 1))
            places = rng.uniform(0, 600, (count, len(joints), 2))
            keypoints = np.concatenate((places * (seen > 0), seen), -1)
            heads = np.where(rng.random(count) < 0.5, rng.uniform(1, 50, count), np.nan)
            heads = heads if np.isfinite(heads).any() else None
        image_id = [number * 7 - 3, f"id-{number}", str(number), 10**20 + number][seed % 4]
        size = None if rng.random() < 0.3 else (int(rng.integers(1, 999)), 640)
        labels = rng.integers(0, classes, count)
        crowd, difficult = rng.random((2, count)) < 0.3
        areas, boxes = rng.uniform(0, 1e5, count), np.hstack((first, last))
        values = (boxes, labels, crowd, difficult, areas, image_id, keypoints, heads)
        records.append(ImageRecord(path, size, *values))
    ids = tuple(sorted(rng.choice(99, classes, replace=False).tolist()))
    return Annotations(NAMES[:classes], records, "drawn", ids, skeleton=joints)


@pytest.mark.parametrize("part", range(10))
def test_everything_comes_back(tmp_path: Path, part: int) -> None:
    for seed in range(10 * part, 10 * part + 10):
        data = drawn(tmp_path / f"{seed}", seed)
        write_coco(data, tmp_path / f"{seed}/labels/all.json")
        again = read_coco(Given(tmp_path / f"{seed}/labels/all.json"))
        assert (again.names, again.category_ids) == (data.names, data.category_ids)
        assert again.skeleton == data.skeleton
        assert again.left_out == {}
        assert again.findings == []
        assert len(again) == len(data)
        for one, other in zip(data.images, again.images, strict=True):
            assert (one.path, one.size, one.image_id) == (other.path, other.size, other.image_id)
            for name in COLUMNS:
                given, found = getattr(one, name), getattr(other, name)
                if given is None:
                    assert found is None
                else:
                    assert given.dtype == found.dtype
                    np.testing.assert_allclose(found, given, rtol=0, atol=1e-9)
