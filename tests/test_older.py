"""Files that the first edition wrote are read and answer as they did."""

from __future__ import annotations

import json
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_files import filled
from safetensors.torch import save_file

from heatpoint import zoo
from heatpoint.codecs import Codec
from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.joints import JointCodec
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.inference.engines import open_engine
from heatpoint.inference.engines.description import Description
from heatpoint.inference.engines.engine import Answer, Engine
from heatpoint.inference.engines.torch import TorchEngine, describe
from heatpoint.inference.predict import predict
from heatpoint.networks import Network
from heatpoint.networks.features import PlainResNet, TopDownNeck
from heatpoint.networks.heads import CornerHeads, SharedHeads
from heatpoint.zoo.detector import Detector

FOLDER = Path(__file__).parent / "golden" / "older"
MODELS: dict[str, dict[str, Any]] = json.loads((FOLDER / "models.json").read_text())
SEEN = 0.2

ARM = Skeleton(("nose", "left_hand", "right_hand"), ((0, 1), (0, 2)), pairs=((1, 2),))
CODECS: dict[str, Codec] = {
    "centernet": CenterCodec(2, size_region=0.6, giou_weight=2.0, max_detections=20),
    "cornernet": CornerCodec(
        2, images="mean", pull_weight=0.5, push_weight=0.5, max_detections=50, corners=20
    ),
    "pose": JointCodec(3, ARM.flip, sigma=1.5),
}
kinds = pytest.mark.parametrize("kind", CODECS)


def network(kind: str) -> Network:
    """Returns a network whose weights a checkpoint of the folder holds."""
    codec = CODECS[kind]
    trunk = PlainResNet(stem=4, channels=(4, 8, 8, 8))
    heads = (
        CornerHeads(4, codec.maps, pooled=4, width=None)
        if kind == "cornernet"
        else SharedHeads(4, codec.maps, width=8)
    )
    neck = TopDownNeck(trunk.channels, widths=(4, 8, 8, 8))
    return Network(trunk, neck, heads, stride=4)


def loaded(kind: str) -> Detector:
    return Detector.load(FOLDER / f"{kind}.safetensors", network=network(kind))


def pictures() -> np.ndarray:
    generator = np.random.default_rng(zlib.crc32(b"older"))
    return generator.integers(0, 256, (2, 3, 64, 96), np.uint8)


def stored(kind: str, way: str) -> Answer:
    """Returns what the first edition answered, in the fields of this one."""
    start = f"{kind}.{way}."
    with np.load(FOLDER / "answers.npz") as file:
        answer = {key.removeprefix(start): file[key] for key in file if key.startswith(start)}
    if kind != "pose":
        return answer
    points, heights = answer["points"], answer["scores"]
    scores = []
    for row in heights.clip(0, 1) * (heights > SEEN):
        seen = row[row > 0]
        scores.append([seen.mean() if len(seen) else 0.0])
    keypoints = np.concatenate((points, heights[..., None]), -1)[:, None]
    return {"keypoints": keypoints, "scores": np.float32(scores)}


def check(engine: Engine, expected: Answer) -> None:
    found = engine(pictures())
    assert found.keys() == expected.keys()
    kept = expected["scores"] > 0
    assert kept.sum() >= min(16, kept.size)
    for name, values in expected.items():
        assert found[name].shape == values.shape
        rows, wanted = found[name][kept], values[kept]
        if name == "labels":
            np.testing.assert_array_equal(rows, wanted)
        else:
            np.testing.assert_allclose(rows, wanted, rtol=1e-4, atol=2e-3)


@kinds
@pytest.mark.parametrize("flip", [False, True])
def test_checkpoints_answer_as_they_did(kind: str, flip: bool) -> None:
    detector = loaded(kind)
    assert detector.codec == CODECS[kind]
    assert detector.meta["architecture"] == f"narrow_{kind}"
    assert detector.size == (64, 64)
    assert detector.skeleton == (ARM if kind == "pose" else None)
    assert detector.settings == ({"padding": 1.1} if kind == "pose" else {"margin": 0.0})
    engine = TorchEngine(detector, flip=flip, precision="fp32", device="cpu", max_detections=20)
    check(engine, stored(kind, f"flip{int(flip)}"))


@kinds
def test_checkpoints_of_unknown_networks_say_so(kind: str) -> None:
    with pytest.raises(HeatpointError, match=f"there is no model 'narrow_{kind}'"):
        Detector.load(FOLDER / f"{kind}.safetensors")


@kinds
def test_exported_files_answer_as_they_did(kind: str) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
    engine = open_engine(FOLDER / f"{kind}.onnx", max_detections=20)
    expected = stored(kind, "onnx")
    check(engine, expected)
    about, today = engine.description, describe(loaded(kind), max_detections=20)
    assert tuple(field.name for field in about.answer) == tuple(expected)
    for name in ("names", "size", "multiple", "trim", "answer", "rows", "view", "settings"):
        assert getattr(about, name) == getattr(today, name), name
    assert about.suppression.sigma == today.suppression.sigma
    assert about.skeleton == today.skeleton
    pixels = np.ascontiguousarray(pictures()[0].transpose(1, 2, 0))
    for size in (None, (64, 96)):
        options: dict[str, Any] = {"size": size}
        if kind != "pose":
            options |= {"score": 0.0, "max_detections": 20}
        (by_file,) = predict(engine, [pixels], **options)
        (by_checkpoint,) = predict(loaded(kind), [pixels], device="cpu", **options)
        assert len(by_file) == len(by_checkpoint) > 0
        np.testing.assert_allclose(by_file.scores, by_checkpoint.scores, rtol=0, atol=1e-3)
        np.testing.assert_allclose(by_file.boxes, by_checkpoint.boxes, rtol=0, atol=5e-2)
        if kind == "pose":
            np.testing.assert_allclose(by_file.keypoints, by_checkpoint.keypoints, atol=5e-2)


@kinds
def test_exported_files_run_in_openvino_too(kind: str) -> None:
    pytest.importorskip("openvino", reason="needs the extra 'openvino'")
    from heatpoint.inference.engines.openvino import OpenVinoEngine

    found = OpenVinoEngine(FOLDER / f"{kind}.onnx", precision="fp32")(pictures())
    expected = stored(kind, "onnx")
    np.testing.assert_allclose(found["scores"], expected["scores"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_checkpoints_of_the_zoo_are_rebuilt_from_their_headers(name: str, tmp_path: Path) -> None:
    about = MODELS[name]
    tensors = {key: filled(key, shape) for key, shape in about["shapes"].items()}
    path = tmp_path / "a.safetensors"
    save_file(tensors, path, {"heatpoint": json.dumps(about["header"])})
    detector = Detector.load(path)
    header = json.loads(json.dumps(detector.header()))
    # What the codec has learnt since has the value that changes nothing.
    added = header["codec"].keys() - about["header"]["codec"].keys()
    assert all(getattr(CenterCodec, name, None) in (None, header["codec"][name]) for name in added)
    kept = {name: value for name, value in header["codec"].items() if name not in added}
    assert header | {"codec": kept} == about["header"]
    for key, tensor in detector.network.state_dict().items():
        assert torch.equal(tensor, tensors[key].to(tensor.dtype)), key


@pytest.mark.parametrize("name", MODELS)
def test_descriptions_are_those_of_today(name: str) -> None:
    is_pose = name == "pose_tiny"
    names = ["robot"] if is_pose else ["cat", "dog"]
    today = describe(zoo.build(name, names, skeleton=ARM if is_pose else None))
    text = json.dumps(MODELS[name]["description"])
    assert json.loads(text)["version"] == 1
    found = Description.from_json(text, "a.onnx")
    assert found.older
    for field in ("names", "size", "multiple", "trim", "rows", "view", "settings", "skeleton"):
        assert getattr(found, field) == getattr(today, field), field
    for field in ("dynamic", "batch", "flip", "precision", "architecture"):
        assert getattr(found, field) == getattr(today, field), field
    assert found.suppression.sigma == today.suppression.sigma
    # Whether there are scores of corners, the outputs of the graph tell.
    assert found.answer == tuple(f for f in today.answer if f.name != "corner_scores")


@pytest.mark.parametrize("name", MODELS)
def test_damaged_descriptions_of_that_time_are_one_sentence(name: str) -> None:
    whole = MODELS[name]["description"]
    as_it_is = Description.from_json(json.dumps(whole), "a.onnx")
    # Of boxes the padding says nothing, of joints the width of soft-NMS, and so on.
    needless = {"padding"} if as_it_is.skeleton is None else {"max_detections", "sigma"}
    for key in whole.keys() - {"heatpoint", "version"}:
        rest = json.dumps({other: value for other, value in whole.items() if other != key})
        if key in needless:
            assert Description.from_json(rest, "a.onnx") == as_it_is
        else:
            with pytest.raises(HeatpointError, match=r"of a\.onnx is damaged"):
                Description.from_json(rest, "a.onnx")
        for value in ("", "x", -1, 10**12, 1e308, [], [1], {}, {"a": 1}):
            with suppress(HeatpointError):
                changed = json.dumps(whole | {key: value})
                Description.from_json(changed, "a.onnx").natural_view()
