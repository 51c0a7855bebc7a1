"""Suppression against the published numbers and against obvious slow versions."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import pytest
import torch
from golden_files import arrays, cases
from numpy.typing import NDArray
from published import INCLUSIVE, best_rows, soft_nms_in_place
from torchvision.ops import batched_nms

from heatpoint.inference import finish
from heatpoint.inference.finish import nms, soften

KINDS: tuple[Literal["gaussian", "linear"], ...] = ("gaussian", "linear")

RUN = re.compile(
    r"soft_nms_(?P<table>joints_|merge_)?(?P<method>gaussian|linear|hard)"
    r"(?:_sigma(?P<sigma>[\d.]+))?(?:_threshold(?P<drop>[\d.]+))?"
)
"""A run of the released programs, by the name of what it left."""

TABLES = {None: "boxes", "joints_": "boxes_with_joints", "merge_": "boxes_with_corner_scores"}

RUNS = cases("soft_nms", r"(soft_nms_.*)\.array$")


def crowded(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 60, (count, 2))], 1)
    return boxes.astype(np.float32), rng.uniform(0.002, 1, count).astype(np.float32)


def one_class(
    rows: NDArray[np.float32],
    kind: Literal["gaussian", "linear", "merge"],
    sigma: float = 0.5,
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Runs the library on boxes that include their last pixel, all of one class."""
    weights = rows[:, 5:7] if kind == "merge" else rows[:, [4, 4]]
    order, boxes, scores = soften(
        rows[:, :4] + INCLUSIVE,
        rows[:, 4],
        np.zeros(len(rows), np.int64),
        weights,
        kind=kind,
        sigma=sigma,
        max_detections=max(1, len(rows)),
    )
    return order, boxes - INCLUSIVE, scores


@pytest.mark.parametrize("name", RUNS)
def test_row_by_row_gives_the_published_array_and_count(name: str) -> None:
    stored, run = arrays("soft_nms"), RUN.fullmatch(name)
    assert run is not None
    rows = stored[TABLES[run["table"]]].copy()
    valid = soft_nms_in_place(
        rows,
        run["method"],  # type: ignore[arg-type]
        sigma=float(run["sigma"] or 0.5),
        drop_below=float(run["drop"] or 0.001),
        merge=run["table"] == "merge_",
    )
    expected = stored[f"{name}.array"]
    assert valid == stored[f"{name}.kept"]
    np.testing.assert_allclose(rows[:, :4], expected[:, :4], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(rows[:, 4], expected[:, 4], atol=1e-5)
    np.testing.assert_array_equal(rows[:, 5:], expected[:, 5:])


@pytest.mark.parametrize(
    "name",
    [name for name in RUNS if RUN.fullmatch(name)["method"] != "hard"],  # type: ignore[index]
)
def test_soft_nms_gives_the_published_rows_that_remain(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, run = arrays("soft_nms"), RUN.fullmatch(name)
    assert run is not None
    monkeypatch.setattr(finish, "DROP_BELOW", float(run["drop"] or 0.001))
    rows = stored[TABLES[run["table"]]]
    order, boxes, scores = one_class(
        rows,
        run["method"],  # type: ignore[arg-type]
        float(run["sigma"] or 0.5),
    )
    expected = stored[f"{name}.array"][: int(stored[f"{name}.kept"])]
    assert len(order) == len(expected)
    np.testing.assert_allclose(scores, expected[:, 4], atol=1e-5)
    np.testing.assert_allclose(boxes, rows[order, :4], atol=1e-4)
    if run["table"] != "merge_":
        np.testing.assert_array_equal(rows[order, :4], expected[:, :4])
        np.testing.assert_array_equal(rows[order, 5:], expected[:, 5:])


def test_merging_gives_the_published_scores_and_boxes_by_their_own_corners() -> None:
    stored = arrays("soft_nms")
    rows = stored["boxes_with_corner_scores"]
    order, boxes, scores = one_class(rows, "merge")
    expected = stored["soft_nms_merge_gaussian.array"]
    expected = expected[: int(stored["soft_nms_merge_gaussian.kept"])]
    assert len(order) == len(expected)
    np.testing.assert_allclose(scores, expected[:, 4], atol=1e-5)
    # The stored boxes were pulled by corners of other boxes.
    own = rows.copy()
    valid = soft_nms_in_place(own, merge=True, weights_stay=False)
    np.testing.assert_allclose(boxes, own[:valid, :4], rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(rows[order, 5:], own[:valid, 5:])


def test_merged_boxes_are_weighted_by_the_scores_of_their_own_corners() -> None:
    boxes = np.float32([[0, 0, 10, 10], [1, 0, 11, 10], [0, 2, 10, 12]])
    scores = np.float32([0.5, 0.9, 0.8])
    corners = np.float32([[0.4, 0.6], [0.9, 0.9], [0.6, 1.0]])
    # So narrow that whatever overlaps is suppressed with factor 0 and counts fully.
    rows, merged, decayed = soften(
        boxes, scores, np.zeros(3, np.int64), corners, kind="merge", sigma=1e-3
    )
    assert rows.tolist() == [1]
    first = (boxes[:, :2] * corners[:, :1]).sum(0) / corners[:, 0].sum()
    second = (boxes[:, 2:] * corners[:, 1:]).sum(0) / corners[:, 1].sum()
    np.testing.assert_allclose(merged[0], np.concatenate((first, second)), rtol=1.3e-6, atol=1e-5)
    np.testing.assert_allclose(decayed, [0.9], rtol=1.3e-6, atol=1e-5)
    labels = np.array([0, 1, 2])
    alone = soften(boxes, scores, labels, corners, kind="merge")
    np.testing.assert_allclose(alone[1], boxes, rtol=1.3e-6, atol=1e-5)
    nothing = soften(boxes[:0], scores[:0], labels[:0], corners[:0], kind="merge")
    assert [part.shape for part in nothing] == [(0,), (0, 4), (0,)]


@pytest.mark.parametrize("threshold", cases("soft_nms", r"nms_keep_([\d.]+)$"))
def test_hard_nms_of_inclusive_boxes_keeps_the_published_rows(threshold: str) -> None:
    stored = arrays("soft_nms")
    boxes, scores = stored["boxes"][:, :4], stored["boxes"][:, 4]
    kept = nms(boxes + INCLUSIVE, scores, np.zeros(len(boxes), np.int64), float(threshold))
    np.testing.assert_array_equal(scores[kept], scores[stored[f"nms_keep_{threshold}"]])


@pytest.mark.parametrize("kind", [*KINDS, "merge"])
@pytest.mark.parametrize("drop_below", [0.001, 0.2, 0.6])
def test_soft_nms_equals_the_row_by_row_algorithm(
    kind: Literal["gaussian", "linear", "merge"],
    drop_below: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finish, "DROP_BELOW", drop_below)
    merge = kind == "merge"
    for seed in range(4):
        boxes, scores = crowded(70, seed)
        corners = np.random.default_rng(seed).uniform(0.1, 1, (70, 2)).astype(np.float32)
        rows = np.concatenate([boxes, scores[:, None], corners], 1)
        order, moved, decayed = one_class(rows, kind)
        valid = soft_nms_in_place(
            rows,
            "gaussian" if merge else kind,  # type: ignore[arg-type]
            drop_below=drop_below,
            merge=merge,
            weights_stay=False,
        )
        assert len(np.unique(order)) == len(order) == valid
        np.testing.assert_allclose(decayed, rows[:valid, 4], atol=1e-5)
        np.testing.assert_allclose(moved, rows[:valid, :4], rtol=1e-5, atol=1e-4)
        np.testing.assert_array_equal(corners[order], rows[:valid, 5:])


def test_classes_do_not_suppress_each_other() -> None:
    boxes = np.float32([[0, 0, 10, 10]] * 3)
    scores = np.float32([0.5, 0.9, 0.8])
    labels = np.array([1, 0, 1])
    rows, moved, decayed = soften(boxes, scores, labels, scores[:, None].repeat(2, 1))
    assert rows.tolist() == [1, 2, 0]
    np.testing.assert_array_equal(moved, boxes)
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


def test_soft_nms_prefers_the_earlier_of_equal_scores() -> None:
    boxes = np.float32([[0, 0, 10, 10], [0, 0, 10, 9], [30, 30, 40, 40]])
    scores = np.float32([0.5, 0.5, 0.9])
    for kind in KINDS:
        rows, _, decayed = soften(
            boxes, scores, np.zeros(3, np.int64), scores[:, None].repeat(2, 1), kind=kind
        )
        assert rows.tolist() == [2, 0, 1]
        assert decayed[1] == 0.5


def test_nothing_comes_of_nothing() -> None:
    none, scores, labels = np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64)
    for kind in KINDS:
        found = soften(none, scores, labels, np.zeros((0, 2)), kind=kind)
        assert [part.shape for part in found] == [(0,), (0, 4), (0,)]
    assert len(nms(none, scores, labels, 0.5)) == 0


def test_boxes_without_area_are_left_alone() -> None:
    boxes = np.float32([[5, 5, 5, 5], [5, 5, 5, 5], [0, 0, 10, 10]])
    scores = np.float32([0.3, 0.2, 0.9])
    rows, _, decayed = soften(boxes, scores, np.zeros(3, np.int64), scores[:, None].repeat(2, 1))
    assert rows.tolist() == [2, 0, 1]
    np.testing.assert_allclose(decayed, [0.9, 0.3, 0.2], rtol=1.3e-6, atol=1e-5)


def test_a_low_score_is_no_reason_to_drop_what_overlaps_nothing() -> None:
    boxes = np.float32([[0, 0, 10, 10], [20, 20, 30, 30], [1, 1, 9, 9]])
    scores = np.float32([0.9, 0.0005, 0.0005])
    rows, _, _ = soften(boxes, scores, np.zeros(3, np.int64), scores[:, None].repeat(2, 1))
    assert rows.tolist() == [0, 1]


def test_the_cut_is_over_all_classes_and_keeps_equal_scores() -> None:
    boxes = np.float32([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]])
    scores, labels = np.float32([0.1, 0.5, 0.3, 0.3]), np.array([0, 1, 0, 1])
    weights = scores[:, None].repeat(2, 1)
    assert soften(boxes, scores, labels, weights, max_detections=2)[0].tolist() == [2, 1, 3]
    assert soften(boxes, scores, labels, weights, max_detections=9)[0].tolist() == [2, 0, 1, 3]


MERGED_TOP = 100
"""How many rows the released test of several scales keeps, over all classes."""


@pytest.mark.parametrize("kind", ["two_scales", "single_scale"])
def test_merged_scales_equal_the_published_rows(kind: str) -> None:
    name = "multi_scale_merge_centernet"
    stored = arrays(name)
    scales = cases(name, r"scale(\d+)\.class")[: 1 if kind == "single_scale" else None]
    classes = sorted(int(label) for label in cases(name, r"scale\d+\.class(\d+)$"))
    tables = {
        label: np.concatenate([stored[f"scale{scale}.class{label}"] for scale in scales])
        for label in classes
    }
    label = np.repeat(classes, [len(table) for table in tables.values()])
    start = np.concatenate(list(tables.values()))
    if kind == "two_scales":
        valid = {label: soft_nms_in_place(table) for label, table in tables.items()}
        rows, boxes, decayed = soften(
            start[:, :4] + INCLUSIVE,
            start[:, 4],
            label,
            start[:, [4, 4]],
            max_detections=len(start),
        )
        for each, table in tables.items():
            mine, remain = label[rows] == each, table[: valid[each]]
            np.testing.assert_allclose(decayed[mine], remain[:, 4], atol=1e-5)
            np.testing.assert_allclose(boxes[mine] - INCLUSIVE, remain[:, :4], atol=1e-3)
    array = np.concatenate(list(tables.values()))
    stay = best_rows(array[:, 4], MERGED_TOP)
    for each in classes:
        found, expected = array[stay & (label == each)], stored[f"{kind}.class{each}"]
        np.testing.assert_allclose(found[:, :4], expected[:, :4], atol=1e-3)
        np.testing.assert_allclose(found[:, 4], expected[:, 4], atol=1e-5)
