from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from heatpoint import zoo
from heatpoint.codecs.center import CenterCodec
from heatpoint.data.skeleton import Skeleton
from heatpoint.detector.detector import Detector, task_of_file
from heatpoint.errors import HeatpointError


@pytest.fixture
def detector() -> Detector:
    torch.manual_seed(0)
    return zoo.build("centernet_tiny", ["cat", "dog", "owl"])


def test_a_file_keeps_codec_meta_and_normalisation(detector: Detector, tmp_path: Path) -> None:
    codec = replace(detector.codec, max_detections=7, radius="fixed", overlap=0.3)
    changed = replace(detector, codec=codec, meta={**detector.meta, "score": {"AP": 0.5}})
    changed.network.set_normalisation((1, 2, 3), (4, 5, 6))
    changed.save(tmp_path / "a.safetensors")
    again = Detector.load(tmp_path / "a.safetensors")
    assert again.codec == codec
    assert again.meta == changed.meta
    assert again.size == (192, 192)
    assert again.network.mean.tolist() == [1, 2, 3]
    images = torch.randint(0, 256, (1, 3, 64, 32), dtype=torch.uint8)
    before, after = changed.network.eval()(images)[0], again.network(images)[0]
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_channels_last_and_double_weights_survive(detector: Detector, tmp_path: Path) -> None:
    detector.network.double().to(memory_format=torch.channels_last)
    detector.save(tmp_path / "a.safetensors")
    again = Detector.load(tmp_path / "a.safetensors").network.state_dict()
    for name, tensor in detector.network.state_dict().items():
        assert again[name].dtype == tensor.dtype
        assert torch.equal(again[name], tensor)


def test_inconsistent_parts_are_refused(detector: Detector) -> None:
    with pytest.raises(HeatpointError, match="3 classes, but there are 2 names"):
        replace(detector, names=("cat", "dog"))
    with pytest.raises(HeatpointError, match="occur more than once"):
        replace(detector, names=("cat", "dog", "cat"))
    with pytest.raises(HeatpointError, match="pass the codec when the network is built"):
        replace(detector, codec=CenterCodec(3, offset=False))


def test_files_that_are_no_detector(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(HeatpointError, match="there is no file"):
        Detector.load(path)
    detector.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(HeatpointError, match="cut off"):
        Detector.load(path)
    path.write_bytes(content[:100])
    with pytest.raises(HeatpointError, match="cut off"):
        Detector.load(path)
    path.write_bytes(b"")
    with pytest.raises(HeatpointError, match="not a heatpoint detector"):
        Detector.load(path)
    path.write_text("a text that is no checkpoint at all")
    with pytest.raises(HeatpointError, match="not a heatpoint detector"):
        Detector.load(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(HeatpointError, match=r"not a heatpoint detector.*convert"):
        Detector.load(path)
    for new_format in (True, False):
        torch.save({"a": torch.zeros(2)}, path, _use_new_zipfile_serialization=new_format)
        with pytest.raises(HeatpointError, match=r"PyTorch checkpoint.*heatpoint convert"):
            Detector.load(path)


def rewritten(path: Path, edit: dict[str, object], drop: str = "") -> None:
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["heatpoint"])
        tensors = {key: file.get_tensor(key) for key in file.keys() if key != drop}  # noqa: SIM118
    save_file(tensors, path, {"heatpoint": json.dumps({**header, **edit})})


def test_files_from_the_future(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    detector.save(path)
    rewritten(path, {"version": 2})
    with pytest.raises(HeatpointError, match=r"format version 2.*install a newer one"):
        Detector.load(path)
    rewritten(path, {"version": 1, "codec": {"class": "LaserCodec"}})
    with pytest.raises(HeatpointError, match=r"LaserCodec.*install a newer one"):
        Detector.load(path)
    rewritten(path, {"codec": {"class": "CenterCodec", "classes": 3, "colour": 1}})
    with pytest.raises(HeatpointError, match=r"CenterCodec\(colour\).*install a newer one"):
        Detector.load(path)


def test_tensors_must_be_exactly_those_of_the_architecture(
    detector: Detector, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    detector.save(path)
    rewritten(path, {}, drop="heads.last.size.bias")
    with pytest.raises(HeatpointError, match=r"heads.last.size.bias: expected \(2,\), found noth"):
        Detector.load(path)


def test_saving_is_atomic(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    detector.save(path)
    content = path.read_bytes()
    detector.meta["bad"] = object()
    with pytest.raises(TypeError):
        detector.save(path)
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


def test_adapting_keeps_what_classes_learnt(detector: Detector) -> None:
    before = {name: tensor.clone() for name, tensor in detector.network.state_dict().items()}
    fresh = detector.adapt(["owl", "fox", "cat", "elk"])
    assert fresh == [
        "heads.last.heatmap.weight [fox, elk]",
        "heads.last.heatmap.bias [fox, elk]",
    ]
    assert detector.names == ("owl", "fox", "cat", "elk")
    assert detector.codec.classes == 4
    after = detector.network.state_dict()
    weight = after["heads.last.heatmap.weight"]
    assert torch.equal(weight[[0, 2]], before["heads.last.heatmap.weight"][[2, 0]])
    others = [name for name in before if "heatmap" not in name]
    assert len(others) == len(before) - 2
    assert all(torch.equal(after[name], before[name]) for name in others)
    maps = detector.network(torch.zeros(2, 3, 32, 32))[0]
    assert maps["heatmap"].shape[1] == 4


def test_adapting_to_other_classes_only(detector: Detector) -> None:
    assert detector.adapt(["cat", "dog", "owl"]) == []
    heatmap = detector.network.state_dict()["heads.last.heatmap.weight"].clone()
    assert detector.adapt(["owl", "cat", "dog"]) == []  # another order is no news
    assert torch.equal(
        detector.network.state_dict()["heads.last.heatmap.weight"], heatmap[[2, 0, 1]]
    )
    assert detector.adapt(["car"]) == ["heads.last.heatmap.weight", "heads.last.heatmap.bias"]
    with pytest.raises(HeatpointError, match="there are none"):
        detector.adapt([])
    with pytest.raises(HeatpointError, match=r"'car'.*more than once"):
        detector.adapt(["car", "car"])


def test_joints_keep_what_was_learnt_by_name() -> None:
    torch.manual_seed(0)
    old = Skeleton(("nose", "left_hand", "right_hand", "tail"), pairs=((1, 2),))
    new = Skeleton(("left_hand", "horn", "right_hand", "nose", "hoof"), pairs=((0, 2),))
    for name in ("pose_tiny", "hourglass_2stack"):
        detector = zoo.build(name, ["unicorn"], skeleton=old)
        detector.network.eval()
        images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
        with torch.no_grad():
            before = detector.network(images)[0]["joints"]
            assert detector.adapt_skeleton(new) == ["horn", "hoof"]
            after = detector.network(images)[0]["joints"]
        assert torch.equal(after[:, [0, 2, 3]], before[:, [1, 2, 0]])
        assert (detector.skeleton, detector.joint_codec.joints) == (new, 5)
        assert detector.joint_codec.flip == new.flip
        assert detector.network.heads.channels == {"joints": 5}
        assert detector.adapt_skeleton(new) == []
        with pytest.raises(HeatpointError, match="finds the joints of a unicorn"):
            detector.adapt(["cat"])


def test_boxes_have_no_skeleton(detector: Detector) -> None:
    with pytest.raises(HeatpointError, match="finds boxes, not joints"):
        detector.adapt_skeleton(Skeleton(("nose",)))
    with pytest.raises(HeatpointError, match="leave the skeleton out"):
        replace(detector, skeleton=Skeleton(("nose",)))


def test_a_file_says_what_it_finds(detector: Detector, tmp_path: Path) -> None:
    detector.save(tmp_path / "boxes.safetensors")
    assert task_of_file(tmp_path / "boxes.safetensors") == "boxes"
    arm = zoo.build("pose_tiny", ["arm"], skeleton=Skeleton(("hand", "elbow")))
    arm.save(tmp_path / "pose.safetensors")
    assert task_of_file(tmp_path / "pose.safetensors") == "pose"
    with pytest.raises(HeatpointError, match="there is no file"):
        task_of_file(tmp_path / "none.safetensors")
    rewritten(tmp_path / "pose.safetensors", {"skeleton": {"joints": ["hand", "hand"]}})
    with pytest.raises(HeatpointError, match=r"pose\.safetensors.*both called 'hand'"):
        Detector.load(tmp_path / "pose.safetensors")
