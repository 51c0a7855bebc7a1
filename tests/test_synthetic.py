"""The drawn data set: labels that are exact, pictures that are a function of the seed."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from heatpoint.errors import HeatpointError
from heatpoint.synthetic.pictures import NAMES, draw_scene, draw_shapes, write_shapes

SIZE = (128, 160)


def scenes(count: int, clutter: bool = True):
    return [draw_scene(SIZE, np.random.default_rng((7, i)), clutter) for i in range(count)]


def test_boxes_and_areas_are_those_of_the_pixels_that_show_the_shape() -> None:
    checked = 0
    for scene in scenes(60):
        for number, box in enumerate(scene.boxes):
            ys, xs = np.nonzero(scene.owner == number)
            assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            assert scene.areas[number] == len(xs)
            checked += 1
    assert checked > 100


def test_boxes_fit_the_drawn_colours_without_looking_at_the_owner_map() -> None:
    """Flat single shapes: whatever differs from the background must be the shape."""
    lone = [s for s in scenes(800, clutter=False) if len(s.labels) == 1]
    assert len(lone) > 5
    for scene in lone:
        backdrop = np.median(scene.image.reshape(-1, 3), axis=0)
        difference = np.abs(scene.image - backdrop).max(-1)
        ys, xs = np.nonzero(difference >= 0.5 * difference.max())  # half covered or more
        found = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        assert np.abs(found - scene.boxes[0]).max() <= 1  # half a colour step is not half a pixel


def test_boxes_are_legal_and_shapes_stay_visible() -> None:
    for scene in scenes(60):
        boxes = scene.boxes
        assert boxes.shape == (len(scene.labels), 4)
        assert boxes.dtype == np.float64
        assert scene.labels.dtype == np.int64
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2] <= SIZE[1]).all()
        assert (boxes[:, 3] <= SIZE[0]).all()
        assert (boxes[:, 2:] - boxes[:, :2] >= 3).all()
        assert (scene.areas >= 10).all()


def test_pictures_vary_in_what_a_detector_must_handle() -> None:
    drawn = scenes(200)
    counts = np.bincount(np.concatenate([s.labels for s in drawn]), minlength=len(NAMES))
    assert counts.min() > 0.7 * counts.mean(), "no class is rare"
    numbers = [len(s.labels) for s in drawn]
    assert 0.02 < np.mean(np.array(numbers) == 0) < 0.2, "some pictures are empty"
    assert max(numbers) >= 6
    boxes = np.concatenate([s.boxes for s in drawn])
    sides = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    assert sides.min() < 18
    assert sides.max() > 50
    at_border = (boxes[:, 0] == 0) | (boxes[:, 2] == SIZE[1])
    assert 0.02 < at_border.mean() < 0.4
    assert any(_overlap(s.boxes) for s in drawn)


def _overlap(boxes: np.ndarray) -> bool:
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    return bool((high > low).all(-1).sum() > len(boxes))


def test_same_seed_same_picture_other_seed_other_picture() -> None:
    image, boxes, labels = draw_shapes(SIZE, np.random.default_rng(3))
    again = draw_shapes(SIZE, np.random.default_rng(3))
    other = draw_shapes(SIZE, np.random.default_rng(4))
    assert image.shape == (*SIZE, 3)
    assert image.dtype == np.uint8
    assert all(np.array_equal(a, b) for a, b in zip((image, boxes, labels), again, strict=True))
    assert not np.array_equal(image, other[0])


def test_written_set_is_complete_and_reproducible(tmp_path: Path) -> None:
    path = write_shapes(tmp_path / "a", 6, (96, 128), seed=5)
    again = write_shapes(tmp_path / "b", 6, (96, 128), seed=5)
    longer = write_shapes(tmp_path / "c", 7, (96, 128), seed=5)
    assert path.read_bytes() == again.read_bytes()
    document = json.loads(path.read_text())
    assert [c["name"] for c in document["categories"]] == list(NAMES)
    assert document["images"] == json.loads(longer.read_text())["images"][:6]
    for index, entry in enumerate(document["images"]):
        image = cv2.imread(str(tmp_path / "a" / entry["file_name"]))[:, :, ::-1]
        scene = draw_scene((96, 128), np.random.default_rng((5, index)))
        assert image.shape == (entry["height"], entry["width"], 3)
        assert np.abs(image.astype(int) - scene.image).mean() < 8, "RGB survives the JPEG"
        rows = [a for a in document["annotations"] if a["image_id"] == entry["id"]]
        assert [a["category_id"] - 1 for a in rows] == scene.labels.tolist()
        boxes = np.array([a["bbox"] for a in rows]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        assert np.array_equal(boxes, scene.boxes)
        assert [a["area"] for a in rows] == scene.areas.tolist()


def test_mistakes_are_explained(tmp_path: Path) -> None:
    with pytest.raises(HeatpointError, match="at least 1, not 0"):
        write_shapes(tmp_path, 0)
    with pytest.raises(HeatpointError, match="32x32 pixels or more, not 20x192"):
        draw_shapes((20, 192), np.random.default_rng(0))
