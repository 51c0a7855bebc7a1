from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from heatpoint.data import Annotations, ImageRecord, Objects, check_names
from heatpoint.errors import HeatpointError


def two_images() -> Annotations:
    first = ImageRecord(
        Path("a.png"),
        (10, 20),
        np.array([[0, 0, 4, 5], [1, 1, 3, 3], [2, 2, 9, 9]], np.float64),
        np.array([1, 0, 1]),
        np.array([False, False, True]),
        image_id=7,
    )
    return Annotations(("cat", "dog"), [first, ImageRecord(Path("b.png"))], "two")


def test_empty_record_has_shapes_of_no_objects() -> None:
    record = ImageRecord(Path("a.png"), boxes=np.array([]))
    assert record.boxes.shape == (0, 4)
    assert record.labels.shape == record.crowd.shape == record.areas.shape == (0,)
    assert record.labels.dtype == np.int64
    assert record.crowd.dtype == record.difficult.dtype == np.bool_
    assert len(record) == 0


def test_flags_and_areas_default() -> None:
    record = two_images().images[0]
    assert record.difficult.tolist() == [False] * 3
    assert record.areas.tolist() == [20.0, 4.0, 49.0]


def test_area_of_a_negative_box_is_zero() -> None:
    record = ImageRecord(Path("a"), boxes=np.array([[5.0, 5, 1, 1]]), labels=np.array([0]))
    assert record.areas.tolist() == [0.0]


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match=r"labels of a: expected 1 \(one per box\), got 2"):
        ImageRecord(Path("a"), boxes=np.zeros((1, 4)), labels=np.array([0, 1]))
    with pytest.raises(ValueError, match=r"expected shape \(N, 4\), got \(2, 3\)"):
        ImageRecord(Path("a"), boxes=np.zeros((2, 3)))


def test_category_ids_default_and_are_checked() -> None:
    assert two_images().category_ids == (1, 2)
    with pytest.raises(ValueError, match="expected 2"):
        Annotations(("a", "b"), [], category_ids=(1,))
    with pytest.raises(ValueError, match="distinct"):
        Annotations(("a", "a"), [])


def test_counts_are_per_class_without_crowd() -> None:
    annotations = two_images()
    assert annotations.counts() == {"cat": 1, "dog": 1}
    assert annotations.objects == 3
    assert len(annotations) == 2


def test_subset_keeps_order_and_names() -> None:
    annotations = two_images()
    subset = annotations.subset([1, 0])
    assert [record.path.name for record in subset.images] == ["b.png", "a.png"]
    assert subset.names == annotations.names
    assert len(annotations.subset([])) == 0


def test_keep_masks_every_array() -> None:
    record = two_images().images[0].keep(np.array([False, True, True]))
    assert record.labels.tolist() == [0, 1]
    assert record.areas.tolist() == [4.0, 49.0]
    assert record.crowd.tolist() == [False, True]
    assert record.image_id == 7


def test_objects_take_the_box_area_where_none_is_known() -> None:
    objects = Objects()
    objects.add((0, 0, 2, 3), 0)
    objects.add((0, 0, 2, 3), 1, crowd=True, area=5.0)
    record = objects.record(Path("a"), None, 3)
    assert record.areas.tolist() == [6.0, 5.0]
    assert record.crowd.tolist() == [False, True]
    assert Objects().record(Path("a"), None, 3).boxes.shape == (0, 4)


def test_leave_out_counts_and_remembers() -> None:
    annotations = two_images()
    annotations.leave_out("unknown category id", "a.png", "annotation 3")
    annotations.leave_out("unknown category id", "a.png", "annotation 4")
    assert annotations.left_out == {"unknown category id": 2}
    assert [finding.detail for finding in annotations.findings] == ["annotation 3", "annotation 4"]


def test_a_kind_that_no_report_would_show_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'unknown category'"):
        two_images().leave_out("unknown category", "a.png", "annotation 3")


def test_check_names_wants_one_class_per_name() -> None:
    assert check_names(["a", "b"], "f") == ("a", "b")
    with pytest.raises(HeatpointError, match="classes 0 and 2 are both called 'a'"):
        check_names(["a", "b", "a"], "f")
    with pytest.raises(HeatpointError, match="class 1 has an empty name"):
        check_names(["a", ""], "f")
    with pytest.raises(HeatpointError, match="names no class"):
        check_names([], "f")


def test_annotations_pickle_for_spawned_workers() -> None:
    annotations = pickle.loads(pickle.dumps(two_images()))
    assert annotations.images[0].boxes.tolist() == two_images().images[0].boxes.tolist()
