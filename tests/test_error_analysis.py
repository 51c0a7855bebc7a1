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
from heatpoint.data.annotations import Annotations
from heatpoint.data.read import read
from heatpoint.data.skeleton import SKELETONS
from heatpoint.detector.detector import Detector
from heatpoint.errors import HeatpointError
from heatpoint.inspection.oracle import oracle
from heatpoint.scoring.evaluate import evaluate
from heatpoint.scoring.limits import LimitRow, Limits, limits
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.zoo import build

SIZE = (96, 96)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Annotations:
    return read(write_shapes(tmp_path_factory.mktemp("shapes"), 10, (96, 128), seed=5))


def made(model: str, names: tuple[str, ...]) -> Detector:
    torch.manual_seed(1)
    return build(model, names)


@pytest.mark.parametrize(
    ("model", "last"), [("centernet_tiny", "size"), ("cornernet_tiny", "embedding")]
)
def test_first_row_is_evaluate_and_last_row_is_the_oracle(
    data: Annotations, model: str, last: str
) -> None:
    detector = made(model, data.names)
    calls: list[tuple[int, int]] = []
    found = limits(detector, data, size=SIZE, batch_size=4, progress=lambda *n: calls.append(n))
    assert [row.replaced for row in found.rows] == [
        (),
        ("heatmap",),
        ("heatmap", "offset"),
        ("heatmap", "offset", last),
    ]
    scores = evaluate(detector, data, size=SIZE)
    assert (found.rows[0].ap, found.rows[0].ap50) == (scores.ap, scores.ap50)
    assert found.protocol == scores.protocol
    perfect = oracle(data, detector.box_codec, SIZE)
    assert found.rows[-1].ap == pytest.approx(perfect.ap, abs=1e-6)
    assert found.rows[-1].ap50 == pytest.approx(perfect.ap50, abs=1e-6)
    assert perfect.ap > 0.9
    assert found.rows[0].ap < 0.1
    assert calls[-1] == (10, 10)
    assert (found.images, found.objects) == (10, data.objects)


def test_the_part_that_is_broken_gets_the_blame(data: Annotations) -> None:
    detector = made("centernet_tiny", data.names)
    codec = CenterCodec(len(data.names), offset=False)
    without = build("centernet_tiny", data.names, codec=codec)
    rows = limits(without, data, size=SIZE).rows
    assert [row.replaced for row in rows] == [(), ("heatmap",), ("heatmap", "size")]
    # True centres with the sizes of an untrained network find nothing; true sizes find all.
    assert rows[1].ap50 < 0.1 < 0.9 < rows[2].ap50
    assert limits(detector, data, size=SIZE).verdict().startswith("most is lost to the size maps")


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
    assert [row.ap for row in plain] == pytest.approx([row.ap for row in mapped])
    with pytest.raises(HeatpointError, match="the detector lacks"):
        limits(made("centernet_tiny", ("nothing",)), data)


def test_boxes_that_cannot_be_encoded_count_as_not_found(data: Annotations) -> None:
    broken = data.images[0].boxes.copy()
    broken[0] = (200, 200, 220, 220)  # outside of the image
    spoilt = replace(data, images=[replace(data.images[0], boxes=broken), *data.images[1:]])
    detector = made("centernet_tiny", data.names)
    found = limits(detector, spoilt, size=SIZE)
    assert found.rows[0].ap == evaluate(detector, spoilt, size=SIZE).ap
    assert found.rows[-1].ap < limits(detector, data, size=SIZE).rows[-1].ap


def test_a_verdict_in_words() -> None:
    rows = (LimitRow((), 0.3, 0.5), LimitRow(("heatmap",), 0.4, 0.6))
    protocol = {"nms": None}
    found = Limits((*rows, LimitRow(("heatmap", "size"), 0.95, 1.0)), protocol, 3, 7)
    assert found.verdict() == "most is lost to the size maps: 55.0 points of AP"
    assert [row[3] for row in found.table()] == ["", "+10.0", "+55.0"]
    poor = Limits((*rows, LimitRow(("heatmap", "size"), 0.45, 0.6)), protocol, 3, 7)
    assert "the representation itself" in poor.verdict()
    nothing = Limits((LimitRow((), float("nan"), float("nan")),), protocol, 1, 0)
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


def test_joints_have_no_such_analysis(
    data: Annotations, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(tmp_path / "pose.safetensors")
    build("pose_tiny", ["person"], skeleton=SKELETONS["coco17"]).save(checkpoint)
    assert main(["limits", checkpoint, data.source]) == 1
    assert "joints" in capsys.readouterr().err
