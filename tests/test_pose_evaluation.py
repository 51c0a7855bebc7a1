"""evaluate, of joints: they are those of predict, its protocol says what the scores hold for."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from blobs import NAMES, SIDE, spot_detector, spot_image
from PIL import Image as PIL
from ramps import SKELETON, joints_of, ramp_detector, ramp_image

from heatpoint import __version__
from heatpoint.codecs import Maps, Rows
from heatpoint.codecs.center import CenterCodec
from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError, HeatpointWarning
from heatpoint.inference.engines.torch import describe
from heatpoint.inference.evaluate import evaluate
from heatpoint.inference.match import match_joints
from heatpoint.inference.metrics import score_columns
from heatpoint.inference.places import places_of
from heatpoint.inference.predict import predict
from heatpoint.views.fields import Field
from heatpoint.zoo.detector import Detector

Box = tuple[float, float, float, float]
BOXES: list[list[Box]] = [[(10, 10, 70, 70), (80, 20, 130, 70)], [(5, 5, 90, 90)], []]


@pytest.fixture
def truth(tmp_path: Path) -> Annotations:
    """Returns three images; the first subject's tail is labelled 12 px from where it is found."""
    records = []
    for place, boxes in enumerate(BOXES):
        path = tmp_path / f"{place}.png"
        PIL.fromarray(ramp_image((100, 140), boxes)).save(path)
        keypoints = np.zeros((len(boxes), 4, 3))
        for row, box in enumerate(boxes):
            keypoints[row, :, :2] = joints_of(box)
            keypoints[row, :, 2] = 2
        if place == 0:
            keypoints[0, 3, 0] += 12
            keypoints[1, 1] = 0
        records.append(
            ImageRecord(
                path,
                (100, 140),
                np.array(boxes, float),
                np.zeros(len(boxes), int),
                image_id=10 + place,
                keypoints=keypoints,
            )
        )
    return Annotations(("person",), records, "ramps", skeleton=SKELETON)


def test_scores_errors_and_protocol(truth: Annotations) -> None:
    calls: list[tuple[int, int]] = []
    metrics = evaluate(
        ramp_detector(), truth, precision="fp32", progress=lambda *a: calls.append(a)
    )
    # 3 of 3, 2 of 2, 3 of 3, 2 of 3: the tail is 12 px off in an extent of 36.
    assert list(metrics.joints.pck) == ["pck@0.05", "pck@0.1", "pck@0.2"]
    assert metrics.scores["pck@0.1"] == pytest.approx((1 + 1 + 1 + 2 / 3) / 4)
    assert metrics.joints.pck["pck@0.1"].pooled == pytest.approx(10 / 11)
    assert metrics.joints.pck["pck@0.1"].per_joint["tail"] == pytest.approx(2 / 3)
    assert metrics.joints.mean_error == pytest.approx(12 / 11, abs=0.3)
    assert metrics.joints.error_per_joint["tail"] == pytest.approx(4, abs=0.3)
    assert (metrics.images, metrics.joints.subjects, metrics.joints.missed) == (3, 3, 0)
    assert metrics.joints.left_out == {}
    assert metrics.joints.oks.ap50 == pytest.approx(1.0)
    assert calls[-1] == (3, 3)
    assert metrics.protocol == {
        "view": "Crops",
        "size": [128, 128],
        "padding": 1.25,
        "flip": False,
        "engine": "torch",
        "precision": "fp32",
        "device": metrics.protocol["device"],
        "version": __version__,
        "boxes": "annotated",
        "box_score": None,
        "box_nms": None,
        "match_iou": None,
        "normaliser": "extent: larger side of the box round the labelled joints",
        "thresholds": [0.05, 0.1, 0.2],
        "sigmas": "0.1 for every joint",
        "oks_area": "box",
    }
    text = metrics.summary()
    assert "pck@0.1" in text
    assert "tail" in text
    assert "missed" not in text
    assert metrics.timings.images == 3


def test_everything_is_json_with_null_for_nan(truth: Annotations) -> None:
    plain = json.loads(json.dumps(evaluate(ramp_detector(), truth).as_dict(), allow_nan=False))
    assert plain["oks"]["ap_medium"] is None or 0 <= plain["oks"]["ap_medium"] <= 1
    assert plain["pck"]["pck@0.2"]["per_joint"]["nose"] == 1.0
    assert plain["subjects"] == 3
    nothing = replace(truth, images=[truth.images[1]])
    nothing.images[0].keypoints[0, 3] = 0  # type: ignore[index]
    plain = evaluate(ramp_detector(), nothing).as_dict()
    assert plain["error_per_joint"]["tail"] is None
    json.dumps(plain, allow_nan=False)


def test_the_joints_are_those_of_predict(truth: Annotations, tmp_path: Path) -> None:
    saved = tmp_path / "rows.json"
    evaluate(ramp_detector(), truth, save_results=saved, flip=True)
    paths = [record.path for record in truth.images]
    found = predict(ramp_detector(), paths, boxes=BOXES, flip=True)
    expected = [row for i, one in enumerate(found) for row in one.to_coco(10 + i)]
    assert json.loads(saved.read_text()) == expected


def test_joints_are_matched_by_name(truth: Annotations) -> None:
    order = [2, 0, 3, 1]
    joints = tuple(SKELETON.joints[i] for i in order)
    images = [replace(r, keypoints=r.keypoints[:, order]) for r in truth.images]  # type: ignore[index]
    other = replace(truth, images=images, skeleton=Skeleton(joints))
    mine, theirs = (evaluate(ramp_detector(), each) for each in (truth, other))
    assert theirs.scores["pck@0.1"] == pytest.approx(mine.scores["pck@0.1"])
    assert theirs.joints.pck["pck@0.1"].per_joint["tail"] == pytest.approx(2 / 3)
    assert match_joints(Skeleton(("a", "b", "c")), Skeleton(("c", "a", "b"))) == [2, 0, 1]
    with pytest.raises(HeatpointError, match=r"3 joints.*2.*lack 'b', 'c'"):
        match_joints(Skeleton(("a", "b", "c")), Skeleton(("a", "d")))


def test_heads_give_pckh(truth: Annotations) -> None:
    images = [replace(record, heads=np.full(len(record), 10.0)) for record in truth.images]
    images[0].heads[1] = math.nan  # type: ignore[index]
    metrics = evaluate(ramp_detector(), replace(truth, images=images), normaliser="head")
    assert metrics.joints.pck["pckh@0.5"].per_joint["tail"] == 0.5
    assert metrics.joints.pck["pckh@0.5"].labelled["nose"] == 2
    assert metrics.joints.left_out == {"subjects without a length by head": 1}
    assert "pckh@0.5" in metrics.summary()
    with pytest.raises(HeatpointError, match="no head boxes"):
        evaluate(ramp_detector(), truth, normaliser="head")


def test_objects_that_are_not_scored_are_counted(truth: Annotations) -> None:
    record = truth.images[0]
    assert record.keypoints is not None
    blank = replace(record, keypoints=record.keypoints * [[[1.0]], [[0.0]]])
    crowd = replace(truth.images[1], crowd=np.array([True]))
    metrics = evaluate(ramp_detector(), replace(truth, images=[blank, crowd]))
    assert metrics.joints.subjects == 1
    reason = "objects without a labelled joint, crowd regions or difficult"
    assert metrics.joints.left_out == {reason: 2}
    assert f"left out: 2 {reason}" in metrics.summary()
    with pytest.raises(HeatpointError, match="no subject with a labelled joint"):
        evaluate(ramp_detector(), replace(truth, images=[crowd]))


def test_detected_boxes_cost_the_subjects_they_miss(truth: Annotations) -> None:
    box_detector = spot_detector()
    box_detector.names = ("spot", "person")
    metrics = evaluate(ramp_detector(), truth, detector=box_detector, score=0.9)
    assert metrics.protocol["boxes"] == "detected"
    assert metrics.protocol["match_iou"] == 0.5
    assert metrics.joints.missed == 3
    assert metrics.scores["pck@0.2"] == 0.0
    assert metrics.joints.oks.ap == 0.0
    assert math.isnan(metrics.joints.mean_error)
    assert "missed 3 subjects" in metrics.summary()
    json.dumps(metrics.as_dict(), allow_nan=False)


def test_detected_boxes_are_matched_to_subjects(
    truth: Annotations, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A false alarm, the two subjects in another order, and nothing in the second image.
    rows = [[100, 80, 120, 95], [80, 20, 130, 70], [10, 10, 70, 70]]
    found = {0: places_of(rows, "x", [0.9, 0.8, 0.7]), 1: places_of([], "x"), 2: places_of([], "x")}
    monkeypatch.setattr("heatpoint.inference.evaluate.found_places", lambda *a, **k: found)
    metrics = evaluate(ramp_detector(), truth, detector="any", precision="fp32")
    assert metrics.joints.missed == 1
    assert metrics.joints.pck["pck@0.1"].per_joint["nose"] == pytest.approx(2 / 3)
    assert metrics.joints.mean_error == pytest.approx(12 / 7, abs=0.4)


def test_absent_and_broken_images(truth: Annotations) -> None:
    truth.images[1].path.write_bytes(b"no image")
    with pytest.raises(HeatpointError, match=r"1\.png"):
        evaluate(ramp_detector(), truth)
    with pytest.warns(HeatpointWarning):
        metrics = evaluate(ramp_detector(), truth, skip_bad=True)
    assert (metrics.images, metrics.joints.subjects) == (2, 2)
    assert [Path(path).name for path, _ in metrics.skipped] == ["1.png"]
    assert "skipped 1" in metrics.summary()
    truth.images[1].path.unlink()
    with pytest.raises(HeatpointError, match="1 of 3 annotated images do not exist"):
        evaluate(ramp_detector(), truth)


def test_what_cannot_be_scored_is_named(truth: Annotations) -> None:
    with pytest.raises(HeatpointError, match="hold no keypoints"):
        evaluate(ramp_detector(), replace(truth, skeleton=None))
    with pytest.raises(HeatpointError, match="normaliser must be one of extent"):
        evaluate(ramp_detector(), truth, normaliser="size")  # type: ignore[arg-type]
    with pytest.raises(HeatpointError, match="needs a left shoulder"):
        evaluate(ramp_detector(), truth, normaliser="torso")
    with pytest.raises(HeatpointError, match="positive"):
        evaluate(ramp_detector(), truth, thresholds=[0])
    with pytest.raises(HeatpointError, match="4 positive numbers"):
        evaluate(ramp_detector(), truth, sigmas=[0.1])
    truth.images[0].boxes[0] = (5, 5, 5, 9)
    with pytest.raises(HeatpointError, match=r"box 0 of .*0\.png.*no area"):
        evaluate(ramp_detector(), truth)
    truth.images[0].boxes[0] = (900, 5, 950, 9)
    with pytest.raises(HeatpointError, match="wholly outside"):
        evaluate(ramp_detector(), truth)


def test_a_file_of_joints_is_scored_by_oks(truth: Annotations, tmp_path: Path) -> None:
    saved = tmp_path / "rows.json"
    direct = evaluate(ramp_detector(), truth, save_results=saved)
    read_back = evaluate(None, truth, results=saved)
    assert read_back.joints.oks == direct.joints.oks
    assert (read_back.main, read_back.scores) == ("oks_ap", {"oks_ap": direct.joints.oks.ap})
    how = {"sigmas": "0.1 for every joint", "oks_area": "box"}
    assert read_back.protocol == {"results": str(saved), **how}
    assert "3 subjects" in read_back.summary()
    json.dumps(read_back.as_dict(), allow_nan=False)
    with pytest.raises(HeatpointError, match="hold no keypoints"):
        evaluate(None, replace(truth, skeleton=None), results=saved)
    rows = json.loads(saved.read_text())
    saved.write_text(json.dumps([rows[0] | {"keypoints": [1.0, 2.0, 1.0]}]))
    with pytest.raises(HeatpointError, match="expected 13 finite"):
        evaluate(None, truth, results=saved)


def test_options_that_would_change_nothing_are_refused(truth: Annotations) -> None:
    for options in ({"nms": 0.5}, {"score": 0.2}, {"soft_nms": "linear"}):
        with pytest.raises(HeatpointError, match=f"{next(iter(options))} chooses among the boxes"):
            evaluate(ramp_detector(), truth, **options)
    spots = replace(truth, names=NAMES, category_ids=())
    with pytest.raises(HeatpointError, match="detector is for models that look at one subject"):
        evaluate(spot_detector(), spots, detector="any")
    with pytest.raises(HeatpointError, match="normaliser is for joints"):
        evaluate(spot_detector(), spots, normaliser="box")


class SpotsWithJoints(CenterCodec):
    """Boxes, and two joints on each: its upper left and its lower right corner."""

    learns = frozenset({"boxes", "keypoints"})

    @property
    def answer(self) -> tuple[Field, ...]:
        return (*super().answer, Field("keypoints", (2, 3), "points"))

    def decode(self, maps: Maps) -> Rows:
        rows = super().decode(maps)
        corners = rows["boxes"].unflatten(-1, (2, 2))
        height = rows["scores"][..., None, None].expand(*corners.shape[:-1], 1)
        return {**rows, "keypoints": torch.cat((corners, height), -1)}


def test_boxes_and_joints_of_several_classes_in_whole_pictures(tmp_path: Path) -> None:
    path = tmp_path / "0.png"
    middle = np.array([[18.5, 20.5], [82.5, 60.5]])
    PIL.fromarray(spot_image((96, 128), [(18.5, 20.5), (82.5, 60.5)], radius=7)).save(path)
    boxes = np.concatenate([middle - SIDE / 2, middle + SIDE / 2], 1)
    keypoints = np.concatenate([boxes.reshape(2, 2, 2)[:, ::-1], np.full((2, 2, 1), 2.0)], 2)
    record = ImageRecord(path, (96, 128), boxes, np.ones(2, int), keypoints=keypoints)
    data = Annotations(NAMES[::-1], [record], skeleton=Skeleton(("low", "high")))
    spots = spot_detector()
    skeleton = Skeleton(("high", "low"))
    detector = Detector(spots.network, SpotsWithJoints(2), NAMES, spots.meta, skeleton)
    metrics = evaluate(detector, data)
    assert score_columns(detector.codec)[0] == metrics.main == "oks_ap"
    assert metrics.scores["ap50"] == pytest.approx(1.0)
    assert metrics.boxes.per_class["spot"]["ap50"] == pytest.approx(1.0)
    assert metrics.scores["pck@0.1"] == 1.0
    assert metrics.joints.oks.ap50 == pytest.approx(1.0)
    assert (metrics.joints.subjects, metrics.joints.missed) == (2, 0)
    assert metrics.protocol["match_iou"] == 0.5
    assert "1 image, 2 objects, 2 subjects" in metrics.summary()
    assert {"ap", "voc", "pck", "oks", "objects", "subjects"} <= set(metrics.as_dict())
    # Of another class, the same joints are nobody's.
    other = replace(data, images=[replace(record, labels=np.zeros(2, int))])
    assert evaluate(detector, other).joints.missed == 2
    without = evaluate(detector, replace(data, skeleton=None))
    assert (without.joints, without.main) == (None, "ap")


def test_the_columns_of_a_log_before_any_evaluation() -> None:
    assert score_columns(spot_detector().codec) == ("ap", "ap50", "ap75")
    joints = ramp_detector()
    columns = ("pck@0.1", "pck@0.05", "pck@0.2")
    assert score_columns(joints.codec) == score_columns(describe(joints)) == columns
