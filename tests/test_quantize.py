"""Int8 exports: calibration, what stays in floating point, and the loss of quantize."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from torch import nn

pytest.importorskip("openvino", reason="needs the extra 'openvino'")
pytest.importorskip("onnx", reason="needs the extra 'openvino'")

from blobs import spot_detector, spot_image
from layered import SPOTS, annotated, layered_detector, spot_pictures
from ramps import ramp_detector
from runners import runner_of
from test_export import lively_detector

from heatpoint.codecs.joints import JointCodec
from heatpoint.errors import HeatpointError, HeatpointWarning
from heatpoint.exporting import graph, quantize
from heatpoint.exporting.export import export
from heatpoint.exporting.graph import Deployed, to_openvino
from heatpoint.inference.engines import open_engine
from heatpoint.inference.engines.description import Description
from heatpoint.inference.engines.torch import describe
from heatpoint.inference.predict import predict
from heatpoint.zoo.detector import Detector

if TYPE_CHECKING:
    import openvino

pytestmark = pytest.mark.usefixtures("shared_graphs")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return spot_pictures(tmp_path / "pictures")


def openvino_model(detector: Detector, dynamic: bool = True) -> tuple[openvino.Model, Description]:
    """Returns a model for pictures of 128x128 and what is known of it."""
    about = replace(describe(detector), size=(128, 128))
    if not dynamic:
        about = replace(about, dynamic=False, batch=2)
    deployed = Deployed(detector, flip=False, max_detections=100)
    return to_openvino(graph.to_onnx(deployed, about)), about


def test_int8_keeps_the_boxes_and_its_score(pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="needs the extra 'openvino'")
    import openvino

    lines: list[str] = []
    detector, out = layered_detector(), tmp_path / "small.xml"
    about = export(
        detector, out, precision="int8", calibrate=annotated(pictures), report=lines.append
    )
    assert about.precision == open_engine(out).description.precision == "int8"
    model = openvino.Core().read_model(out)
    assert sum(op.get_type_name() == "FakeQuantize" for op in model.get_ops()) >= 2
    image = spot_image((112, 144), SPOTS)
    (found,), (wanted,) = (predict(each, [image]) for each in (out, detector))
    # In 256 steps two neighbours may be equally high, so that a spot is found twice.
    assert len(SPOTS) == len(wanted) <= len(found)
    middles = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    apart = np.abs(middles[:, None] - np.array(SPOTS)).max(2)
    assert (apart.min(0) < 2.5).all()  # half a cell and a little
    assert (apart.min(1) < 2.5).all()
    np.testing.assert_allclose(found.scores[0], wanted.scores[0], atol=0.05)
    assert "4 pictures" in lines[1]
    assert "AP" in lines[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "pictures",
        "small.bin",
        "small.xml",
    ]


def test_last_convolutions_and_decoding_stay_in_floating_point() -> None:
    model, about = openvino_model(layered_detector())
    kept = quantize.unquantized(model, about)
    convolutions = [op for op in model.get_ordered_ops() if op.get_type_name() == "Convolution"]
    assert [op.get_friendly_name() in kept for op in convolutions] == [False, False, True]
    types = {op.get_friendly_name(): op.get_type_name() for op in model.get_ops()}
    assert {"TopK", "MaxPool"} <= {types[name] for name in kept}


def test_ranges_reach_to_what_one_picture_in_many_shows(tmp_path: Path) -> None:
    from heatpoint.data.draw import write_picture
    from heatpoint.data.images import load_image

    # NNCF's default takes the mean of the pictures' extremes, which cuts off a rare bright object.
    detector = layered_detector()
    bright = spot_image((128, 128), [(62.0, 62.0)], radius=9)
    for number in range(10):
        write_picture(tmp_path / f"{number}.png", bright if number == 0 else bright // 16)
    export(
        detector,
        tmp_path / "model.xml",
        precision="int8",
        calibrate=tmp_path / "*.png",
        check=tmp_path / "0.png",
    )
    image = load_image(tmp_path / "0.png")
    wanted = runner_of(detector, device="cpu", precision="fp32")([image])[0]
    found = runner_of(str(tmp_path / "model.xml"))([image])[0]
    np.testing.assert_allclose(found.scores[0], wanted.scores[0], atol=0.03)
    np.testing.assert_allclose(found.boxes[0], wanted.boxes[0], atol=2)


def test_depthwise_convolutions_stay_in_floating_point() -> None:
    detector = layered_detector()
    detector.network.backbone.quarter = nn.Conv2d(2, 2, 2, stride=2, groups=2)
    model, about = openvino_model(detector)
    types = {op.get_friendly_name(): op.get_type_name() for op in model.get_ordered_ops()}
    kept = [types[name] for name in quantize.unquantized(model, about)]
    assert kept.count("GroupConvolution") == list(types.values()).count("GroupConvolution") == 1
    assert kept.count("Convolution") == 1
    assert list(types.values()).count("Convolution") == 2


@pytest.mark.parametrize("dynamic", [True, False])
def test_where_corners_are_pooled_heads_and_fine_maps_stay_in_floating_point(
    dynamic: bool,
) -> None:
    detector = lively_detector("cornernet_tiny")  # whose graphs other tests need, too
    model, about = openvino_model(detector, dynamic)
    kept = quantize.unquantized(model, about)
    types = {op.get_friendly_name(): op.get_type_name() for op in model.get_ordered_ops()}
    assert all(name in kept for name, kind in types.items() if kind == "Maximum")
    assert "Maximum" in types.values()
    layers = [name for name, kind in types.items() if kind == "Convolution"]
    heads = [name for name in layers if "/heads/" in name]
    assert len(heads) > 10
    assert set(heads) <= set(kept)
    # Stem at stride 2, first stage at stride 4; of the neck what is added at stride 4.
    fine = {
        part: len([name for name in layers if part in name and name in kept])
        for part in ("/backbone/", "/neck/")
    }
    assert fine == {"/backbone/": 1 + 3, "/neck/": 1}
    assert len(set(layers) - set(kept)) == 3 * 3 + 3 + 3


def test_a_codecs_blur_is_no_layer(pictures: Path) -> None:
    detector = ramp_detector()
    assert isinstance(detector.codec, JointCodec)
    detector = replace(detector, codec=replace(detector.codec, refine="dark-udp"))
    deployed = Deployed(detector, flip=False, max_detections=100)
    model = to_openvino(graph.to_onnx(deployed, describe(detector)))
    assert sum("Convolution" in op.get_type_name() for op in model.get_ops()) == 2
    calibration = quantize.read_calibration(pictures)
    with pytest.raises(HeatpointError, match="no convolution but those of its heads"):
        quantize.to_int8(model, describe(detector), calibration)


def test_calibration_takes_pictures_or_a_data_set(pictures: Path) -> None:
    from heatpoint.data.readers.coco import write_coco

    for given in (pictures, str(pictures / "*.png")):
        calibration = quantize.read_calibration(given)
        assert len(calibration.sources) == 4
        assert calibration.truth is None
    assert len(quantize.read_calibration(pictures / "2.png").sources) == 1
    write_coco(annotated(pictures), pictures.parent / "spots.json")
    calibration = quantize.read_calibration(pictures.parent / "spots.json")
    assert calibration.truth is not None
    assert [source.path for source in calibration.sources] == [
        str(record.path) for record in calibration.truth.images
    ]


def test_of_many_pictures_some_are_chosen_evenly(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "MOST", 2)
    calibration = quantize.read_calibration(annotated(pictures))
    assert [Path(source.path).stem for source in calibration.sources] == ["0", "3"]
    assert calibration.truth is not None
    assert [record.image_id for record in calibration.truth.images] == [1, 4]


def test_unreadable_pictures_are_left_out_until_none_is_left(pictures: Path) -> None:
    for number in range(3):
        (pictures / f"{number}.png").write_bytes(b"no picture")
    with pytest.warns(HeatpointWarning, match="not used to calibrate"):
        calibration = quantize.read_calibration(annotated(pictures))
    assert [Path(source.path).stem for source in calibration.sources] == ["3"]
    (pictures / "3.png").write_bytes(b"no picture")
    with (
        pytest.warns(HeatpointWarning),
        pytest.raises(HeatpointError, match="holds no picture to calibrate with"),
    ):
        quantize.read_calibration(annotated(pictures))


@pytest.mark.parametrize(
    ("out", "options", "message"),
    [
        ("m.xml", {"precision": "int8"}, "int8 needs pictures"),
        ("m.xml", {"calibrate": "."}, "--calibrate is for --precision int8"),
        ("m.onnx", {"precision": "int8", "calibrate": "."}, "write an .xml file"),
        ("m.xml", {"precision": "int8", "calibrate": "none/*.png"}, "no image file matches"),
        ("m.xml", {"precision": "int8", "calibrate": ".", "max_drop": 2}, "max_drop"),
    ],
)
def test_impossible_wishes_are_refused(
    tmp_path: Path, out: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(HeatpointError, match=message):
        export(spot_detector(), tmp_path / out, **options)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_lossy_file_fails_the_accuracy_check(tmp_path: Path, pictures: Path) -> None:
    detector, out = layered_detector(), tmp_path / "model.xml"
    export(detector, out)
    same = quantize.check_accuracy(detector, out, annotated(pictures))
    assert same is not None
    assert same.checkpoint == pytest.approx(same.exported)
    assert same.checkpoint > 0.5
    blind = layered_detector()
    nn.init.zeros_(blind.network.backbone.halve.weight)
    export(blind, out, check=False)
    with pytest.raises(HeatpointError, match=r"a loss of more than 0\.01; calibrate with more"):
        quantize.check_accuracy(detector, out, annotated(pictures))
    lost = quantize.check_accuracy(detector, out, annotated(pictures), max_drop=1.0)
    assert lost is not None
    assert lost.drop > 0.5
    empty = annotated(pictures)
    empty.images = [record.keep(np.zeros(len(record), bool)) for record in empty.images]
    assert quantize.check_accuracy(detector, out, empty) is None
