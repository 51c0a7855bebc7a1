"""evaluate: its boxes are those of predict, and its mistakes are named."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from blobs import NAMES, SIDE, spot_detector, spot_image

from heatpoint import __version__
from heatpoint.data import Annotations, ImageRecord
from heatpoint.errors import HeatpointError, HeatpointWarning
from heatpoint.inference.evaluate import evaluate
from heatpoint.inference.match import match_names
from heatpoint.inference.predict import iter_predict, predict, write_results
from heatpoint.zoo import build


@pytest.fixture
def truth(tmp_path: Path) -> Annotations:
    """Returns five images with spots of known place, all found by the spot detector."""
    rng = np.random.default_rng(1)
    records = []
    for place in range(5):
        columns = rng.permutation(4)[:2]
        spots = [(18.5 + 32 * float(c), 20.5 + 40 * i) for i, c in enumerate(columns)]
        red = place % 2 == 1
        path = tmp_path / "images" / f"{place}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), spot_image((96, 128), spots, radius=7, red=red)[..., ::-1])
        middle = np.array(spots)
        boxes = np.concatenate([middle - SIDE / 2, middle + SIDE / 2], 1)
        labels = np.full(len(spots), int(red))
        records.append(ImageRecord(path, (96, 128), boxes, labels, image_id=100 + place))
    return Annotations(NAMES, records, "spots", category_ids=(3, 8))


def test_a_good_detector_scores_high_with_its_protocol(truth: Annotations) -> None:
    calls: list[tuple[int, int]] = []
    metrics = evaluate(spot_detector(), truth, progress=lambda *a: calls.append(a))
    assert metrics.boxes.ap50 == pytest.approx(1.0)
    assert metrics.boxes.voc.ap50_all_point == pytest.approx(1.0)
    assert metrics.ap > 0.5
    assert set(metrics.boxes.per_class) == set(NAMES)
    assert (metrics.images, metrics.objects) == (5, 10)
    assert calls[-1] == (5, 5)
    assert metrics.protocol == {
        "size": [128, 128],
        "keep_resolution": False,
        "flip": False,
        "scales": [1.0],
        "margin": 0.0,
        "max_detections": 100,
        "view": "Picture",
        "score": 0.0,
        "nms": None,
        "soft_nms": "none",
        "soft_nms_sigma": None,
        "engine": "torch",
        "precision": metrics.protocol["precision"],
        "device": metrics.protocol["device"],
        "version": __version__,
    }
    assert metrics.timings.images == 5
    assert "ap50 100.0" in metrics.summary()


def test_metrics_are_json_with_null_for_nan(truth: Annotations) -> None:
    metrics = evaluate(spot_detector(), truth.subset([0, 2]))
    assert math.isnan(metrics.boxes.ap_large)
    plain = json.loads(json.dumps(metrics.as_dict(), allow_nan=False))
    assert plain["ap_large"] is None
    assert plain["per_class"]["red spot"]["ap"] is None
    assert plain["ap50"] == pytest.approx(1.0)
    assert plain["timings"]["images"] == 2
    assert plain["protocol"]["max_detections"] == 100


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"flip": True},
        {"scales": (0.5, 1.0)},
        {"nms": 0.4, "keep_resolution": True},
        {"soft_nms": "merge"},
    ],
)
def test_evaluate_scores_exactly_what_predict_returns(
    truth: Annotations, tmp_path: Path, options: dict
) -> None:
    torch.manual_seed(2)
    detector = build("centernet_tiny", NAMES)
    with torch.no_grad():
        detector.network.heads.get_parameter("last.sides.bias").add_(-1)
    saved = tmp_path / "rows.json"
    size = {} if options.get("keep_resolution") else {"size": (64, 96)}
    evaluate(detector, truth, save_results=saved, **options, **size)
    paths = [record.path for record in truth.images]
    expected = []
    found = predict(detector, paths, score=0.0, **options, **size)
    for record, one in zip(truth.images, found, strict=True):
        assert len(one) > 5
        expected += one.to_coco(record.image_id, truth.category_ids)
    assert json.loads(saved.read_text()) == expected


def test_classes_are_matched_by_name(truth: Annotations) -> None:
    swapped = replace(
        truth,
        names=NAMES[::-1],
        category_ids=truth.category_ids[::-1],
        images=[replace(record, labels=1 - record.labels) for record in truth.images],
    )
    assert evaluate(spot_detector(), swapped).ap == evaluate(spot_detector(), truth).ap
    assert match_names(("a", "b", "c"), ("c", "a", "b")) == [1, 2, 0]


def test_other_classes_are_an_error_that_lists_them(truth: Annotations) -> None:
    other = replace(truth, names=("spot", "green spot"))
    with pytest.raises(HeatpointError, match=r"lacks 'green spot'.*lack 'red spot'"):
        evaluate(spot_detector(), other)
    with pytest.raises(HeatpointError, match="lack 'b'"):
        match_names(("a", "b"), ("a",))


def test_data_may_lack_a_class(truth: Annotations) -> None:
    """A part of a data set lists only what is in it; the other classes are not scored."""
    only = replace(
        truth.subset([i for i, r in enumerate(truth.images) if (r.labels == 1).all()]),
        names=NAMES[1:],
        category_ids=truth.category_ids[1:],
    )
    only.images = [replace(record, labels=record.labels - 1) for record in only.images]
    assert only.objects == 4
    boxes = evaluate(spot_detector(), only).boxes
    assert boxes.ap50 == pytest.approx(1.0)
    assert math.isnan(boxes.per_class[NAMES[0]]["ap"])


def test_absent_images_are_named(truth: Annotations) -> None:
    truth.images[1].path.unlink()
    truth.images[2].path.write_bytes(b"not an image")
    with pytest.raises(HeatpointError, match=r"1 of 5 annotated images do not exist: .*1\.png"):
        evaluate(spot_detector(), truth)
    with pytest.raises(HeatpointError, match=r"2\.png"):
        evaluate(spot_detector(), truth.subset([0, 2]))
    with pytest.warns(HeatpointWarning):
        metrics = evaluate(spot_detector(), truth, skip_bad=True)
    assert (metrics.images, metrics.objects) == (3, 6)
    assert [Path(path).name for path, _ in metrics.skipped] == ["1.png", "2.png"]
    assert metrics.scores["ap50"] == pytest.approx(1.0)
    assert "skipped 2" in metrics.summary()
    assert len(metrics.as_dict()["skipped"]) == 2


def test_a_file_of_results_scores_the_same(truth: Annotations, tmp_path: Path) -> None:
    saved, named = tmp_path / "rows.json", tmp_path / "named.json"
    direct = evaluate(spot_detector(), truth, save_results=saved)
    read_back = evaluate(None, truth, results=saved)
    for name in ("ap", "ap50", "ap75", "ar100"):
        assert read_back.scores[name] == direct.scores[name]
    assert read_back.protocol == {"results": str(saved)}
    # predict numbers images and classes its own way; names tell them apart.
    folder = truth.images[0].path.parent
    write_results(named, iter_predict(spot_detector(), folder, score=0.0))
    assert evaluate(None, truth, results=named).ap == direct.ap


def test_result_files_of_something_else_are_named(truth: Annotations, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    row = {"image_id": 100, "category_id": 3, "bbox": [0, 0, 1, 1], "score": 0.5}
    for wrong, message in (
        ({"a": 1}, "no COCO result file"),
        ([row | {"image_id": 5}], "image_id 5"),
        ([row | {"category_name": "spott"}], "did you mean 'spot'"),
        ([row | {"file_name": "other.png"}], "file_name 'other.png'"),
    ):
        path.write_text(json.dumps(wrong))
        with pytest.raises(HeatpointError, match=message):
            evaluate(None, truth, results=path)
    path.write_text("[]")
    assert evaluate(None, truth, results=path).ap == 0.0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"bbox": None}, "expected five finite numbers"),
        ({"bbox": 5}, "expected five finite numbers"),
        ({"bbox": [1, 2, 3, 10**400]}, "expected five finite numbers"),
        ({"bbox": [1, 2, 3, float("nan")]}, "expected five finite numbers"),
        ({"score": None}, "expected five finite numbers"),
        ({"image_id": [1]}, "which the annotations do not"),
        ({"category_id": {}}, "which the annotations do not"),
    ],
)
def test_damaged_results_are_one_sentence(
    truth: Annotations, tmp_path: Path, wrong: dict[str, Any], said: str
) -> None:
    row = {"image_id": truth.images[0].image_id, "category_id": truth.category_ids[0]}
    row |= {"bbox": [1, 2, 3, 4], "score": 0.5}
    path = tmp_path / "found.json"
    path.write_text(json.dumps([row]))
    assert evaluate(None, truth, results=path).ap == 0.0
    path.write_text(json.dumps([row | wrong]))
    with pytest.raises(HeatpointError, match=said):
        evaluate(None, truth, results=path)


def test_arguments_that_do_not_go_together(truth: Annotations) -> None:
    with pytest.raises(HeatpointError, match="either a model or results"):
        evaluate(None, truth)
    with pytest.raises(HeatpointError, match="did you mean 'coco'"):
        evaluate(spot_detector(), truth, metric=["cocoo"])  # type: ignore[list-item]
    with pytest.raises(HeatpointError, match="no image to score"):
        evaluate(spot_detector(), truth.subset([]))


def test_only_the_metric_that_is_asked_for(truth: Annotations) -> None:
    metrics = evaluate(spot_detector(), truth, metric=["voc"])
    assert math.isnan(metrics.ap)
    assert metrics.boxes.voc.ap50_11_point == pytest.approx(1.0)
    metrics = evaluate(spot_detector(), truth, metric=["coco"])
    assert metrics.scores["ap50"] == pytest.approx(1.0)
    assert math.isnan(metrics.boxes.voc.ap50_11_point)


def test_the_published_coco_scores_from_files(shared: Path) -> None:
    folder = shared / "data" / "coco_eval"
    metrics = evaluate(
        None,
        folder / "instances_val2014_100.json",
        results=folder / "instances_val2014_fakebbox100_results.json",
    )
    found = [metrics.scores[n] for n in ("ap", "ap50", "ap75", "ap_small", "ar100")]
    assert " ".join(f"{value:.6f}" for value in found) == (
        "0.504581 0.696973 0.572982 0.585626 0.595353"
    )
