"""Suppression against the published numbers and against obvious slow versions."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.ops import batched_nms

from heatpoint.inference.suppress import nms, soft_nms, soft_nms_merge, soften, top_detections

METHODS: tuple[Literal["gaussian", "linear", "hard"], ...] = ("gaussian", "linear", "hard")


def crowded(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 60, (count, 2))], 1)
    return boxes.astype(np.float32), rng.uniform(0.002, 1, count).astype(np.float32)


def published_in_place(array: np.ndarray, method: str, drop_below: float) -> int:
    """Row-by-row soft-NMS with the +1 convention, written as its description says."""
    valid, i = len(array), 0
    while i < valid:
        best = i + int(array[i:valid, 4].argmax())
        array[[i, best]] = array[[best, i]]
        j = i + 1
        while j < valid:
            a, b = array[i], array[j]
            w = min(a[2], b[2]) - max(a[0], b[0]) + 1
            h = min(a[3], b[3]) - max(a[1], b[1]) + 1
            if w > 0 and h > 0:
                sides = [(r[2] - r[0] + 1) * (r[3] - r[1] + 1) for r in (a, b)]
                iou = w * h / (sum(sides) - w * h)
                array[j, 4] *= {
                    "gaussian": np.exp(-iou * iou / 0.5),
                    "linear": 1 - iou if iou > 0.5 else 1,
                    "hard": 0 if iou > 0.5 else 1,
                }[method]
                if array[j, 4] < drop_below:
                    array[j] = array[valid - 1]
                    valid -= 1
                    j -= 1
            j += 1
        i += 1
    return valid


@pytest.mark.parametrize("method", METHODS)
def test_soft_nms_gives_the_published_array_and_count(golden: Path, method: str) -> None:
    stored = np.load(golden / "functions" / "soft_nms.npz")
    boxes = stored["boxes"]
    for keep_stale in (True, False):
        rows, scores = soft_nms(
            boxes[:, :4],
            boxes[:, 4],
            method=method,  # type: ignore[arg-type]
            inclusive=True,
            keep_stale=keep_stale,
        )
        expected = stored[f"soft_nms_{method}.array"]
        if not keep_stale:
            expected = expected[: int(stored[f"soft_nms_{method}.kept"])]
        assert len(rows) == len(expected)
        np.testing.assert_array_equal(boxes[rows, :4], expected[:, :4])
        np.testing.assert_allclose(scores, expected[:, 4], atol=1e-5)


@pytest.mark.parametrize(
    ("key", "sigma", "drop_below"), [("sigma0.7", 0.7, 0.001), ("threshold0.05", 0.5, 0.05)]
)
def test_soft_nms_gives_the_published_numbers_for_other_settings(
    golden: Path, key: str, sigma: float, drop_below: float
) -> None:
    stored = np.load(golden / "functions" / "soft_nms.npz")
    boxes = stored["boxes"]
    rows, scores = soft_nms(
        boxes[:, :4],
        boxes[:, 4],
        sigma=sigma,
        drop_below=drop_below,
        inclusive=True,
        keep_stale=True,
    )
    expected = stored[f"soft_nms_gaussian_{key}.array"]
    np.testing.assert_array_equal(boxes[rows, :4], expected[:, :4])
    np.testing.assert_allclose(scores, expected[:, 4], atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_merging_gives_the_published_boxes(golden: Path, method: str) -> None:
    stored = np.load(golden / "functions" / "soft_nms.npz")
    table = stored["boxes_with_corner_scores"]
    for keep_stale in (True, False):
        rows, boxes, scores = soft_nms_merge(
            table[:, :4],
            table[:, 4],
            table[:, 5:],
            method=method,  # type: ignore[arg-type]
            inclusive=True,
            keep_stale=keep_stale,
            corner_scores_stay=True,
        )
        expected = stored[f"soft_nms_merge_{method}.array"]
        if not keep_stale:
            expected = expected[: int(stored[f"soft_nms_merge_{method}.kept"])]
        assert len(rows) == len(expected)
        np.testing.assert_allclose(boxes, expected[:, :4], rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(scores, expected[:, 4], atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_columns_behind_the_score_travel_with_their_row(golden: Path, method: str) -> None:
    stored = np.load(golden / "functions" / "soft_nms.npz")
    table = stored["boxes_with_joints"]
    rows, scores = soft_nms(
        table[:, :4],
        table[:, 4],
        method=method,  # type: ignore[arg-type]
        inclusive=True,
    )
    expected = stored[f"soft_nms_joints_{method}.array"]
    expected = expected[: int(stored[f"soft_nms_joints_{method}.kept"])]
    np.testing.assert_array_equal(table[rows, 5:], expected[:, 5:])
    np.testing.assert_allclose(scores, expected[:, 4], atol=1e-5)


def test_merged_boxes_are_weighted_by_the_scores_of_their_own_corners() -> None:
    boxes = np.float32([[0, 0, 10, 10], [1, 0, 11, 10], [0, 2, 10, 12]])
    scores = np.float32([0.5, 0.9, 0.8])
    corners = np.float32([[0.4, 0.6], [0.9, 0.9], [0.6, 1.0]])
    rows, merged, decayed = soft_nms_merge(boxes, scores, corners, method="hard", iou=0.5)
    assert rows.tolist() == [1]
    # Suppressed with factor 0, both others count fully.
    first = (boxes[:, :2] * corners[:, :1]).sum(0) / corners[:, 0].sum()
    second = (boxes[:, 2:] * corners[:, 1:]).sum(0) / corners[:, 1].sum()
    np.testing.assert_allclose(merged[0], np.concatenate((first, second)), rtol=1.3e-6, atol=1e-5)
    np.testing.assert_allclose(decayed, [0.9], rtol=1.3e-6, atol=1e-5)
    alone = soft_nms_merge(boxes, scores, corners, np.array([0, 1, 2]))
    np.testing.assert_allclose(alone[1], boxes, rtol=1.3e-6, atol=1e-5)
    nothing = soft_nms_merge(boxes[:0], scores[:0], corners[:0])
    assert [len(part) for part in nothing] == [0, 0, 0]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_hard_nms_of_inclusive_boxes_keeps_the_published_rows(
    golden: Path, threshold: float
) -> None:
    stored = np.load(golden / "functions" / "soft_nms.npz")
    boxes = stored["boxes"]
    inclusive = boxes[:, :4] + np.float32([0, 0, 1, 1])
    kept = nms(inclusive, boxes[:, 4], np.zeros(len(boxes), np.int64), threshold)
    scores = boxes[:, 4]
    expected = stored[f"nms_keep_{threshold}"]
    np.testing.assert_array_equal(scores[kept], scores[expected])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("drop_below", [0.001, 0.2, 0.6])
def test_soft_nms_equals_the_row_by_row_algorithm(method: str, drop_below: float) -> None:
    for seed in range(4):
        boxes, scores = crowded(70, seed)
        array = np.concatenate([boxes, scores[:, None]], 1)
        valid = published_in_place(array, method, drop_below)
        arguments = {"method": method, "drop_below": drop_below, "inclusive": True}
        rows, decayed = soft_nms(boxes, scores, keep_stale=True, **arguments)  # type: ignore[arg-type]
        np.testing.assert_array_equal(boxes[rows], array[:, :4])
        np.testing.assert_allclose(decayed, array[:, 4], atol=1e-5)
        assert len(soft_nms(boxes, scores, **arguments)[0]) == valid  # type: ignore[arg-type]


def test_soft_nms_never_returns_a_row_twice_unless_asked() -> None:
    boxes, scores = crowded(200, 7)
    clean, _ = soft_nms(boxes, scores, drop_below=0.1)
    stale, _ = soft_nms(boxes, scores, drop_below=0.1, keep_stale=True)
    assert len(np.unique(clean)) == len(clean) < 200
    assert len(stale) == 200
    assert len(np.unique(stale)) < 200


def test_classes_do_not_suppress_each_other() -> None:
    boxes = np.float32([[0, 0, 10, 10]] * 3)
    scores = np.float32([0.5, 0.9, 0.8])
    labels = np.array([1, 0, 1])
    rows, decayed = soft_nms(boxes, scores, labels)
    assert rows.tolist() == [1, 2, 0]
    np.testing.assert_allclose(decayed, [0.9, 0.8, 0.5 * np.exp(-2.0)], rtol=1.3e-6, atol=1e-5)
    assert nms(boxes, scores, labels, 0.5).tolist() == [1, 2]


@pytest.mark.parametrize("iou", [0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("count", [1, 40, 300])
def test_hard_nms_keeps_the_rows_that_torchvision_keeps(count: int, iou: float) -> None:
    for seed in range(3):
        boxes, scores = crowded(count, seed)
        labels = np.random.default_rng(seed).integers(0, 3, count)
        kept = nms(boxes, scores, labels, iou)
        expected = batched_nms(*(torch.from_numpy(part) for part in (boxes, scores, labels)), iou)
        assert len(np.unique(scores)) == count
        assert kept.tolist() == expected.tolist()
        assert count == 1 or iou > 0.8 or len(kept) < count


def test_hard_nms_prefers_the_earlier_of_equal_scores() -> None:
    boxes = np.float32([[0, 0, 10, 10], [0, 0, 10, 9], [30, 30, 40, 40]])
    labels = np.zeros(3, np.int64)
    assert nms(boxes, np.float32([0.5, 0.5, 0.9]), labels, 0.5).tolist() == [2, 0]
    for seed in range(5):
        boxes, scores = crowded(120, seed)
        scores = np.ceil(scores * 5).astype(np.float32) / 5
        labels = np.random.default_rng(seed).integers(0, 2, len(boxes))
        kept = nms(boxes, scores, labels, 0.5)
        expected = batched_nms(*(torch.from_numpy(part) for part in (boxes, scores, labels)), 0.5)
        assert kept.tolist() == expected.tolist()


def test_nothing_comes_of_nothing() -> None:
    none, scores, labels = np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64)
    rows, decayed = soft_nms(none, scores, labels)
    assert (len(rows), len(decayed)) == (0, 0)
    assert len(nms(none, scores, labels, 0.5)) == 0


def test_boxes_without_area_are_left_alone() -> None:
    boxes = np.float32([[5, 5, 5, 5], [5, 5, 5, 5], [0, 0, 10, 10]])
    rows, decayed = soft_nms(boxes, np.float32([0.3, 0.2, 0.9]))
    assert rows.tolist() == [2, 0, 1]
    np.testing.assert_allclose(decayed, [0.9, 0.3, 0.2], rtol=1.3e-6, atol=1e-5)


def test_the_cut_keeps_equal_scores() -> None:
    scores = np.array([0.1, 0.5, 0.3, 0.3])
    assert top_detections(scores, 2).tolist() == [False, True, True, True]
    assert top_detections(scores, 9).all()


@pytest.mark.parametrize("kind", ["two_scales", "single_scale"])
def test_merged_scales_equal_the_published_rows(golden: Path, kind: str) -> None:
    stored = np.load(golden / "functions" / "multi_scale_merge_centernet.npz")
    scales = (0, 1) if kind == "two_scales" else (0,)
    parts, labels = [], []
    for scale in scales:
        for label in range(3):
            rows = stored[f"scale{scale}.class{label}"]
            parts.append(rows)
            labels.append(np.full(len(rows), label))
    table = np.concatenate(parts)
    label = np.concatenate(labels)
    boxes, scores = table[:, :4], table[:, 4]
    if kind == "two_scales":
        boxes, scores, label = soften(
            boxes, scores, label, np.repeat(scores[:, None], 2, 1), inclusive=True, keep_stale=True
        )
    else:
        stay = top_detections(scores, 100)
        boxes, scores, label = boxes[stay], scores[stay], label[stay]
    for index in range(3):
        expected = stored[f"{kind}.class{index}"]
        np.testing.assert_allclose(boxes[label == index], expected[:, :4], atol=1e-3)
        np.testing.assert_allclose(scores[label == index], expected[:, 4], atol=1e-5)
