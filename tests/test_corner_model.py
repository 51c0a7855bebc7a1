"""A corner model from data to results, through the same doors as any other model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from finishing import FIELDS, finish, look
from golden_files import arrays
from runners import runner_of

from heatpoint import zoo
from heatpoint.cli import main
from heatpoint.codecs.corners import CornerCodec
from heatpoint.data import Annotations, ImageRecord
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Affine
from heatpoint.inference.evaluate import evaluate
from heatpoint.inference.predict import predict
from heatpoint.inspection.inspect import inspect
from heatpoint.inspection.oracle import oracle
from heatpoint.networks import Network
from heatpoint.networks.features import EveryLevel
from heatpoint.networks.heads import CornerHeads, StackHeads
from heatpoint.networks.hourglasses import DetectionHourglass
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.training import train
from heatpoint.training.state import TrainResult
from heatpoint.views import Whole
from heatpoint.views.fields import Field
from heatpoint.views.pictures import Picture
from heatpoint.zoo.detector import Detector

QUICK = {
    "model": "cornernet_tiny",
    "size": 96,
    "batch_size": 8,
    "workers": 0,
    "threads": 1,
    "accelerator": "cpu",
    "pictures": False,
    "augment": "none",
}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_shapes(tmp_path_factory.mktemp("shapes"), 8, (96, 96), seed=3))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, shapes: str) -> tuple[Path, TrainResult]:
    """Returns the folder and the result of a run that learns eight pictures by heart."""
    out = tmp_path_factory.mktemp("run")
    more = {"epochs": 60, "lr": 6e-3, "seed": 1, "cache": 0.1, "eval_every": 60}
    return out, train(shapes, shapes, out=str(out), **{**QUICK, **more})


def test_eight_pictures_are_learnt_by_heart(fitted: tuple[Path, TrainResult], shapes: str) -> None:
    out, result = fitted
    assert result.ap is not None
    assert result.ap > 0.9
    best = str(out / "best.safetensors")
    assert evaluate(best, shapes).ap == result.ap
    assert set(result.history[-1]) >= {"loss/heatmap", "loss/offset", "loss/pull", "loss/push"}
    detector = Detector.load(best)
    assert isinstance(detector.codec, CornerCodec)
    assert detector.codec.learns == {"boxes"}


def test_pairs_of_one_object_are_suppressed_by_default(
    fitted: tuple[Path, TrainResult], shapes: str
) -> None:
    detector = Detector.load(fitted[0] / "best.safetensors")
    protocol = runner_of(detector, device="cpu").protocol()
    assert (protocol["nms"], protocol["soft_nms"]) == (None, "gaussian")
    assert protocol["soft_nms_sigma"] == 0.5
    assert runner_of(detector, device="cpu", nms=0.5).protocol()["soft_nms"] == "none"
    bare = replace(detector, codec=replace(detector.codec, soft_nms=None))
    assert evaluate(bare, shapes).ap <= evaluate(detector, shapes).ap
    for choice in ({"flip": True}, {"scales": (1.0, 2.0)}, {"keep_resolution": True}):
        scores = evaluate(detector, shapes, **choice)  # type: ignore[arg-type]
        assert 0 <= scores.ap <= 1


def test_the_command_line_chooses_soft_nms(
    fitted: tuple[Path, TrainResult],
    shapes: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, saved = str(fitted[0] / "best.safetensors"), tmp_path / "scores.json"
    words = ["evaluate", model, shapes, "--soft-nms", "merge", "--json", str(saved)]
    assert main(words) == 0
    content = json.loads(saved.read_text())
    assert content["protocol"]["soft_nms"] == "merge"
    assert content["ap"] == evaluate(model, shapes, soft_nms="merge").ap
    found, left = tmp_path / "found.json", tmp_path / "left.json"
    picture = str(next(Path(shapes).parent.rglob("*.jpg")))
    for kind, file in (("gaussian", found), ("none", left)):
        options = ["--soft-nms", kind, "--json", str(file), "--score", "0.05"]
        assert main(["predict", model, picture, *options]) == 0
    assert len(json.loads(found.read_text())) <= len(json.loads(left.read_text()))
    capsys.readouterr()
    assert main([*words, "--nms", "0.5"]) == 1
    assert "choose one of them" in capsys.readouterr().err


def test_predict_finds_the_objects(fitted: tuple[Path, TrainResult], shapes: str) -> None:
    pictures = sorted(Path(shapes).parent.rglob("*.png")) or sorted(
        Path(shapes).parent.rglob("*.jpg")
    )
    found = predict(str(fitted[0] / "best.safetensors"), pictures[:2], score=0.5)
    assert all(len(result) for result in found)


def test_training_goes_on_with_other_classes(fitted: tuple[Path, TrainResult]) -> None:
    detector = Detector.load(fitted[0] / "best.safetensors")
    old = {name: tensor.clone() for name, tensor in detector.network.state_dict().items()}
    kept = detector.names[1]
    fresh = detector.adapt([kept, "unicorn"])
    assert fresh == [
        f"heads.last.{corner}.{part} [unicorn]"
        for corner in ("top_left", "bottom_right")
        for part in ("weight", "bias")
    ]
    now = detector.network.state_dict()
    for corner in ("top_left", "bottom_right"):
        name = f"heads.last.{corner}.weight"
        assert torch.equal(now[name][0], old[name][1])
    assert isinstance(detector.codec, CornerCodec)
    assert detector.codec.classes == 2


def test_options_of_centres_are_refused(shapes: str, tmp_path: Path) -> None:
    choice = {**QUICK, "epochs": 1, "out": str(tmp_path / "run"), "giou_weight": 1.0}
    with pytest.raises(HeatpointError, match="giou_weight is no choice for cornernet_tiny"):
        train(shapes, shapes, **choice)


def test_recompute_is_for_hourglasses(shapes: str, tmp_path: Path) -> None:
    choice = {**QUICK, "epochs": 1, "out": str(tmp_path / "run"), "recompute": True}
    with pytest.raises(HeatpointError, match="recompute is for models with a DetectionHourglass"):
        train(shapes, shapes, **choice)


def narrow_detector() -> Detector:
    """Returns a corner detector whose sides are one pixel short of multiples of 128."""
    codec = CornerCodec(2, trim=1)
    backbone = DetectionHourglass(
        1, stem=8, widths=(8, 8, 8, 8, 8, 8), blocks=(1, 1, 1, 1, 1, 1), trim=1
    )
    heads = StackHeads([CornerHeads(8, codec.maps, pooled=4, width=None)])
    network = Network(backbone, EveryLevel(), heads, stride=4).eval()
    return Detector(network, codec, ("cat", "dog"), {"size": [127, 127]})


@pytest.mark.parametrize(
    ("image", "padded"),
    [((100, 180), (127, 255)), ((127, 128), (127, 255)), ((1, 255), (127, 255))],
)
def test_sizes_one_pixel_short(image: tuple[int, int], padded: tuple[int, int]) -> None:
    pixels = np.zeros((*image, 3), np.uint8)
    runner = runner_of(narrow_detector(), keep_resolution=True, device="cpu", flip=True)
    (only,) = runner.prepare(Whole(pixels)).looks
    assert only.size == padded
    (found,) = runner([pixels])
    assert (found.boxes[:, 2:] <= np.array([image[1], image[0]])).all()
    doubled = runner_of(narrow_detector(), scales=(0.5, 1.0, 2.0), device="cpu")
    inputs = doubled.prepare(Whole(pixels)).inputs
    assert [inputs[i].shape[1:] for i in range(3)] == [(127, 127), (127, 127), (255, 255)]


def test_padding_is_the_published_one() -> None:
    for row in arrays("decode_cornernet")["padding_table"].astype(int):
        height, width, *padded = row[:4]
        top, bottom, left, right = row[6:10]
        (seen,) = Picture((511, 511), 128, 1, keep_resolution=True).looks((height, width))
        pixels = seen.cut(Whole(np.ones((height, width, 3), np.uint8)))
        assert list(pixels.shape[1:]) == padded
        corner = seen.to_input.points(np.zeros((1, 2)))[0]
        assert corner.tolist() == [left, top]
        # Of an odd side the released program names one row or column less than it copies.
        assert pixels[0, top:bottom, left:right].all()


def test_soft_nms_lowers_scores_before_the_threshold() -> None:
    box = np.float32([0, 0, 40, 40])
    answer = {
        "boxes": np.stack((box, box + 1, box + 60))[None],
        "scores": np.float32([[0.9, 0.8, 0.5]]),
        "labels": np.zeros((1, 3), np.int64),
    }
    frame = (look(Affine.scale(1.0, 1.0)), (128, 128))
    plain = finish(answer, [frame], ["cat"], score=0.4)[0]
    assert len(plain) == 3
    soft = finish(answer, [frame], ["cat"], score=0.4, soft_nms="gaussian")[0]
    assert soft.scores.tolist() == pytest.approx([0.9, 0.5])
    assert soft.boxes[1].tolist() == [60, 60, 100, 100]
    everything = finish(answer, [frame], ["cat"], soft_nms="gaussian")[0]
    assert len(everything) == 3
    assert everything.scores[2] < 0.2


def test_merging_moves_a_box_by_the_scores_of_its_corners() -> None:
    plain = {
        "boxes": np.float32([[[0, 0, 40, 40], [2, 0, 40, 40]]]),
        "scores": np.float32([[0.9, 0.8]]),
        "labels": np.zeros((1, 2), np.int64),
    }
    given = plain | {"corner_scores": np.float32([[[0.5, 1.0], [1.0, 1.0]]])}
    frame = (look(Affine.scale(1.0, 1.0)), (128, 128))
    better = finish(
        given,
        [frame],
        ["cat"],
        (*FIELDS, Field("corner_scores", (2,))),
        score=0.5,
        soft_nms="merge",
        weights="corner_scores",
    )[0]
    assert better.columns == {}
    better = better.boxes[0, 0].item()
    share = (1 - float(np.exp(-(0.95**2) / 0.5))) ** 8
    assert better == pytest.approx(2 * share / (0.5 + share), rel=1e-4)
    whole = finish(plain, [frame], ["cat"], score=0.5, soft_nms="merge")[0].boxes[0, 0].item()
    assert whole == pytest.approx(2 * 0.8 * share / (0.9 + 0.8 * share), rel=1e-4)


def record(boxes: list[list[float]], labels: list[int]) -> ImageRecord:
    return ImageRecord(Path("1.png"), (64, 64), np.array(boxes, float), np.array(labels, int))


def test_the_oracle_counts_corners() -> None:
    boxes = [[8.0, 8, 30, 30], [10, 10, 50, 50], [40, 4, 60, 20], [4, 40, 20, 60]]
    data = Annotations(("cat", "dog"), [record(boxes, [0, 0, 1, 1])], "by hand")
    found = oracle(data, CornerCodec(2), Picture((64, 64)))
    assert (found.objects, found.same_class_cell, found.other_class_cell) == (4, 1, 0)
    assert found.missed == 1
    assert found.max_detections == 100
    assert found.remedy == (128, 128)
    text = "\n".join(found.lines())
    assert "a corner in the cell of another object of the same class (1)" in text
    few = oracle(data, CornerCodec(2, corners=2), Picture((64, 64)))
    assert few.over_limit == 2
    assert "raise the codec's corners" in "\n".join(few.lines())
    good = oracle(data.subset([0]), CornerCodec(2, trim=1), Picture((127, 127)))
    assert good.ap == pytest.approx(1.0)
    assert "all 4 objects can be found" in "\n".join(good.lines())


def test_inspect_takes_a_corner_model(
    fitted: tuple[Path, TrainResult], shapes: str, tmp_path: Path
) -> None:
    model = str(fitted[0] / "best.safetensors")
    found = inspect(shapes, model=model, out=tmp_path / "report", samples=2)
    assert (tmp_path / "report" / "targets.png").is_file()
    assert found.oracle is not None
    assert found.oracle.place == "corner"
    assert found.oracle.ap > 0.99


def test_the_same_detector_after_a_file(tmp_path: Path) -> None:
    detector = zoo.build("cornernet_tiny", ["cat"], codec=CornerCodec(1, corners=7, images="mean"))
    detector.save(tmp_path / "a.safetensors")
    assert Detector.load(tmp_path / "a.safetensors").codec == detector.codec
