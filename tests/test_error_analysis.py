"""limits: nothing replaced is evaluate, everything replaced is the oracle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from heatpoint.cli import main
from heatpoint.codecs.center import CenterCodec
from heatpoint.data import Annotations
from heatpoint.data.readers import read
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.inference.evaluate import evaluate
from heatpoint.inference.limits import LimitRow, Limits, limits
from heatpoint.inspection.oracle import oracle
from heatpoint.synthetic.figures import write_figures
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.views.pictures import Picture
from heatpoint.zoo import build
from heatpoint.zoo.detector import Detector

SIZE = (96, 96)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Annotations:
    return read(write_shapes(tmp_path_factory.mktemp("shapes"), 10, (96, 128), seed=5))


def made(model: str, names: tuple[str, ...]) -> Detector:
    torch.manual_seed(1)
    return build(model, names)


@pytest.mark.parametrize(
    ("model", "steps"),
    [
        ("centernet_tiny", ["heatmap", "sides", "side_maps"]),
        ("centernet_resnet18", ["heatmap", "offset", "size"]),
        ("cornernet_tiny", ["heatmap", "offset", "embedding"]),
    ],
)
def test_first_row_is_evaluate_and_last_row_is_the_oracle(
    data: Annotations, model: str, steps: list[str]
) -> None:
    detector = made(model, data.names)
    calls: list[tuple[int, int]] = []
    found = limits(detector, data, size=SIZE, batch_size=4, progress=lambda *n: calls.append(n))
    shown = [tuple(steps[:count]) for count in range(len(steps) + 1)]
    assert [row.replaced for row in found.rows] == shown
    scores = evaluate(detector, data, size=SIZE)
    assert found.rows[0].scores == {name: scores.scores[name] for name in ("ap", "ap50")}
    assert found.protocol == scores.protocol
    perfect = oracle(data, detector.codec, Picture(SIZE))
    assert found.rows[-1].scores["ap"] == pytest.approx(perfect.ap, abs=1e-6)
    assert found.rows[-1].scores["ap50"] == pytest.approx(perfect.ap50, abs=1e-6)
    assert perfect.ap > 0.9
    assert found.rows[0].main < 0.1
    assert calls[-1] == (10, 10)
    assert (found.images, found.objects) == (10, data.objects)


def test_the_part_that_is_broken_gets_the_blame(data: Annotations) -> None:
    detector = made("centernet_tiny", data.names)
    codec = CenterCodec(len(data.names), offset=False)
    without = build("centernet_tiny", data.names, codec=codec)
    rows = limits(without, data, size=SIZE).rows
    assert [row.replaced for row in rows] == [(), ("heatmap",), ("heatmap", "size")]
    # True centres with the sizes of an untrained network find nothing; true sizes find all.
    assert rows[1].scores["ap50"] < 0.1 < 0.9 < rows[2].scores["ap50"]
    assert limits(detector, data, size=SIZE).verdict().startswith("most is lost to the sides")


def test_classes_are_matched_by_name(data: Annotations) -> None:
    order = np.arange(len(data.names))[::-1]
    turned = replace(
        data,
        names=data.names[::-1],
        category_ids=tuple(data.category_ids)[::-1],
        images=[replace(record, labels=order[record.labels]) for record in data.images],
    )
    detector = made("cornernet_tiny", data.names)
    plain, mapped = (limits(detector, one, size=SIZE).rows for one in (data, turned))
    assert [row.main for row in plain] == pytest.approx([row.main for row in mapped])
    with pytest.raises(HeatpointError, match="the detector lacks"):
        limits(made("centernet_tiny", ("nothing",)), data)


def test_boxes_that_cannot_be_encoded_count_as_not_found(data: Annotations) -> None:
    broken = data.images[0].boxes.copy()
    broken[0] = (200, 200, 220, 220)  # outside of the image
    spoilt = replace(data, images=[replace(data.images[0], boxes=broken), *data.images[1:]])
    detector = made("centernet_tiny", data.names)
    found = limits(detector, spoilt, size=SIZE)
    assert found.rows[0].main == evaluate(detector, spoilt, size=SIZE).ap
    assert found.rows[-1].main < limits(detector, data, size=SIZE).rows[-1].main


def test_a_verdict_in_words() -> None:
    def row(replaced: tuple[str, ...], ap: float, ap50: float) -> LimitRow:
        return LimitRow(replaced, {"ap": ap, "ap50": ap50})

    rows = (row((), 0.3, 0.5), row(("heatmap",), 0.4, 0.6))
    protocol = {"nms": None}
    found = Limits((*rows, row(("heatmap", "size"), 0.95, 1.0)), protocol, 3, 7)
    assert found.verdict() == "most is lost to the size: 55.0 points of AP"
    assert [row[3] for row in found.table()] == ["", "+10.0", "+55.0"]
    poor = Limits((*rows, row(("heatmap", "size"), 0.45, 0.6)), protocol, 3, 7)
    assert "the representation itself" in poor.verdict()
    nothing = Limits((row((), float("nan"), float("nan")),), protocol, 1, 0)
    assert "no object" in nothing.verdict()
    assert json.loads(json.dumps(nothing.as_dict(), allow_nan=False))["rows"][0]["ap"] is None


def test_the_command_prints_a_table(
    data: Annotations, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(tmp_path / "corners.safetensors")
    made("cornernet_tiny", data.names).save(checkpoint)
    saved = tmp_path / "limits.json"
    words = ["limits", checkpoint, data.source, "--size", "96", "--json", str(saved)]
    assert main([*words, "--soft-nms", "linear"]) == 0
    text = capsys.readouterr().out
    assert "true heatmap, offset, embedding" in text
    assert "most is lost to" in text
    content = json.loads(saved.read_text())
    assert content["protocol"]["soft_nms"] == "linear"
    assert len(content["rows"]) == 4
    assert main([*words, "--soft-nms", "merge", "--nms", "0.5"]) == 1
    assert "choose one of them" in capsys.readouterr().err


def test_joints_are_analysed_in_the_crops_of_annotated_subjects(tmp_path: Path) -> None:
    data = read(write_figures(tmp_path / "figures", 6, (120, 160), seed=2))
    torch.manual_seed(1)
    detector = build("pose_tiny", data.names, skeleton=data.skeleton)
    found = limits(detector, data, batch_size=4)
    assert found.titles == ["PCK@0.1", "PCK@0.05"]
    assert [row.replaced for row in found.rows] == [(), ("joints",)]
    metrics = evaluate(detector, data)
    assert found.rows[0].scores == {name: metrics.scores[name] for name in found.rows[0].scores}
    assert found.rows[1].scores == {"pck@0.1": 1.0, "pck@0.05": 1.0}
    assert found.verdict().startswith("most is lost to the joints")
    # In another order, the joints are still those of their names.
    assert data.skeleton is not None
    order = np.arange(len(data.skeleton))[::-1]
    images = [replace(record, keypoints=record.keypoints[:, order]) for record in data.images]  # type: ignore[index]
    skeleton = Skeleton(data.skeleton.joints[::-1])
    other = limits(detector, replace(data, images=images, skeleton=skeleton))
    assert [row.main for row in other.rows] == pytest.approx([row.main for row in found.rows])


@pytest.mark.parametrize(
    "options",
    [{"flip": True}, {"scales": (0.5, 1)}, {"tiles": 64}, {"keep_resolution": True}],
)
def test_other_ways_of_looking_are_refused(data: Annotations, options: dict) -> None:
    with pytest.raises(HeatpointError, match=f"{next(iter(options))} is not for limits"):
        limits(made("centernet_tiny", data.names), data, **options)
    with pytest.raises(HeatpointError, match="batch_size must be at least 1"):
        limits(made("centernet_tiny", data.names), data, batch_size=0)
