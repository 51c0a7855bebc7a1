"""Suppression against the published numbers and against obvious slow versions."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from heatpoint.suppress import nms, soft_nms, soft_nms_merge, soften, top_detections

METHODS: tuple[Literal["gaussian", "linear", "hard"], ...] = ("gaussian", "linear", "hard")


def crowded(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 60, (count, 2))], 1)
    return torch.tensor(boxes).float(), torch.tensor(rng.uniform(0.002, 1, count)).float()


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
    boxes = torch.tensor(stored["boxes"])
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
        np.testing.assert_array_equal(boxes[rows, :4].numpy(), expected[:, :4])
        np.testing.assert_allclose(scores.numpy(), expected[:, 4], atol=1e-5)


@pytest.mark.parametrize(
    ("key", "sigma", "drop_below"), [("sigma0.7", 0.7, 0.001), ("threshold0.05", 0.5, 0.05)]
)
def test_soft_nms_gives_the_published_numbers_for_other_settings(
    golden: Path, key: str, sigma: float, drop_below: float
) -> None:
    stored = np.load(golden / "functions" / "soft_nms.npz")
    boxes = torch.tensor(stored["boxes"])
    rows, scores = soft_nms(
        boxes[:, :4],
        boxes[:, 4],
        sigma=sigma,
        drop_below=drop_below,
        inclusive=True,
        keep_stale=True,
    )
    expected = stored[f"soft_nms_gaussian_{key}.array"]
    np.testing.assert_array_equal(boxes[rows, :4].numpy(), expected[:, :4])
    np.testing.assert_allclose(scores.numpy(), expected[:, 4], atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_merging_gives_the_published_boxes(golden: Path, method: str) -> None:
    stored = np.load(golden / "functions" / "soft_nms.npz")
    table = torch.tensor(stored["boxes_with_corner_scores"])
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
        np.testing.assert_allclose(boxes.numpy(), expected[:, :4], rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(scores.numpy(), expected[:, 4], atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_columns_behind_the_score_travel_with_their_row(golden: Path, method: str) -> None:
    stored = np.load(golden / "functions" / "soft_nms.npz")
    table = torch.tensor(stored["boxes_with_joints"])
    rows, scores = soft_nms(
        table[:, :4],
        table[:, 4],
        method=method,  # type: ignore[arg-type]
        inclusive=True,
    )
    expected = stored[f"soft_nms_joints_{method}.array"]
    expected = expected[: int(stored[f"soft_nms_joints_{method}.kept"])]
    np.testing.assert_array_equal(table[rows, 5:].numpy(), expected[:, 5:])
    np.testing.assert_allclose(scores.numpy(), expected[:, 4], atol=1e-5)


def test_merged_boxes_are_weighted_by_the_scores_of_their_own_corners() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1.0, 0, 11, 10], [0.0, 2, 10, 12]])
    scores = torch.tensor([0.5, 0.9, 0.8])
    corners = torch.tensor([[0.4, 0.6], [0.9, 0.9], [0.6, 1.0]])
    rows, merged, decayed = soft_nms_merge(boxes, scores, corners, method="hard", iou=0.5)
    assert rows.tolist() == [1]
    # Suppressed with factor 0, both others count fully.
    first = (boxes[:, :2] * corners[:, :1]).sum(0) / corners[:, 0].sum()
    second = (boxes[:, 2:] * corners[:, 1:]).sum(0) / corners[:, 1].sum()
    torch.testing.assert_close(merged[0], torch.cat((first, second)))
    torch.testing.assert_close(decayed, torch.tensor([0.9]))
    alone = soft_nms_merge(boxes, scores, corners, torch.tensor([0, 1, 2]))
    torch.testing.assert_close(alone[1], boxes)
    nothing = soft_nms_merge(boxes[:0], scores[:0], corners[:0])
    assert [len(part) for part in nothing] == [0, 0, 0]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_hard_nms_of_inclusive_boxes_keeps_the_published_rows(
    golden: Path, threshold: float
) -> None:
    stored = np.load(golden / "functions" / "soft_nms.npz")
    boxes = torch.tensor(stored["boxes"])
    inclusive = boxes[:, :4] + torch.tensor([0.0, 0.0, 1.0, 1.0])
    kept = nms(inclusive, boxes[:, 4], torch.zeros(len(boxes), dtype=torch.long), threshold)
    scores = boxes[:, 4].numpy()
    expected = stored[f"nms_keep_{threshold}"]
    np.testing.assert_array_equal(scores[kept.numpy()], scores[expected])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("drop_below", [0.001, 0.2, 0.6])
def test_soft_nms_equals_the_row_by_row_algorithm(method: str, drop_below: float) -> None:
    for seed in range(4):
        boxes, scores = crowded(70, seed)
        array = torch.cat([boxes, scores[:, None]], 1).numpy().copy()
        valid = published_in_place(array, method, drop_below)
        arguments = {"method": method, "drop_below": drop_below, "inclusive": True}
        rows, decayed = soft_nms(boxes, scores, keep_stale=True, **arguments)  # type: ignore[arg-type]
        np.testing.assert_array_equal(boxes[rows].numpy(), array[:, :4])
        np.testing.assert_allclose(decayed.numpy(), array[:, 4], atol=1e-5)
        assert len(soft_nms(boxes, scores, **arguments)[0]) == valid  # type: ignore[arg-type]


def test_soft_nms_never_returns_a_row_twice_unless_asked() -> None:
    boxes, scores = crowded(200, 7)
    clean, _ = soft_nms(boxes, scores, drop_below=0.1)
    stale, _ = soft_nms(boxes, scores, drop_below=0.1, keep_stale=True)
    assert len(clean.unique()) == len(clean) < 200
    assert len(stale) == 200
    assert len(stale.unique()) < 200


def test_classes_do_not_suppress_each_other() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10]]).repeat(3, 1)
    scores = torch.tensor([0.5, 0.9, 0.8])
    labels = torch.tensor([1, 0, 1])
    rows, decayed = soft_nms(boxes, scores, labels)
    assert rows.tolist() == [1, 2, 0]
    torch.testing.assert_close(decayed, torch.tensor([0.9, 0.8, 0.5 * float(np.exp(-2.0))]))
    assert nms(boxes, scores, labels, 0.5).tolist() == [1, 2]


def test_nothing_comes_of_nothing() -> None:
    none = torch.zeros((0, 4))
    rows, decayed = soft_nms(none, torch.zeros(0), torch.zeros(0, dtype=torch.long))
    assert (len(rows), len(decayed)) == (0, 0)
    assert len(nms(none, torch.zeros(0), torch.zeros(0, dtype=torch.long), 0.5)) == 0


def test_boxes_without_area_are_left_alone() -> None:
    boxes = torch.tensor([[5.0, 5, 5, 5], [5.0, 5, 5, 5], [0, 0, 10, 10]])
    rows, decayed = soft_nms(boxes, torch.tensor([0.3, 0.2, 0.9]))
    assert rows.tolist() == [2, 0, 1]
    torch.testing.assert_close(decayed, torch.tensor([0.9, 0.3, 0.2]))


def test_the_cut_keeps_equal_scores() -> None:
    scores = torch.tensor([0.1, 0.5, 0.3, 0.3])
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
    table = torch.tensor(np.concatenate(parts))
    label = torch.tensor(np.concatenate(labels))
    boxes, scores = table[:, :4], table[:, 4]
    if kind == "two_scales":
        boxes, scores, label = soften(
            boxes, scores, label, scores[:, None].expand(-1, 2), inclusive=True, keep_stale=True
        )
    else:
        stay = top_detections(scores, 100)
        boxes, scores, label = boxes[stay], scores[stay], label[stay]
    for index in range(3):
        expected = stored[f"{kind}.class{index}"]
        np.testing.assert_allclose(boxes[label == index].numpy(), expected[:, :4], atol=1e-3)
        np.testing.assert_allclose(scores[label == index].numpy(), expected[:, 4], atol=1e-5)
