"""Headers and tensors of checkpoints that are damaged, newer, or of another kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from heatpoint import zoo
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.zoo.detector import Detector


@pytest.fixture
def detector() -> Detector:
    torch.manual_seed(0)
    return zoo.build("centernet_tiny", ["cat", "dog", "owl"])


def test_files_that_are_no_detector(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(HeatpointError, match="does not exist"):
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
    with pytest.raises(HeatpointError, match=r"LaserCodec.*--plugin.*install a newer heatpoint"):
        Detector.load(path)
    rewritten(path, {"codec": {"class": "CenterCodec", "classes": 3, "colour": 1}})
    with pytest.raises(HeatpointError, match=r"CenterCodec with colour.*install a newer one"):
        Detector.load(path)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"version": "1"}, "version is '1'"),
        ({"version": True}, "version is True"),
        ({"names": "cat"}, "names is 'cat'"),
        ({"names": ["cat", "dog", 3]}, "names is"),
        ({"names": ["cat", "dog", "cat"]}, "repeat themselves"),
        ({"names": []}, "are none"),
        ({"names": None}, "names is missing"),
        ({"meta": []}, r"meta is \[\]"),
        ({"meta": {"size": [0, 64], "architecture": "centernet_tiny"}}, r"found \[0, 64\]"),
        ({"meta": {"size": [64, 10**9], "architecture": "centernet_tiny"}}, "found"),
        ({"meta": {"size": [64, 64.5], "architecture": "centernet_tiny"}}, "found"),
        ({"meta": {"size": [64, 64], "architecture": ["x"]}}, "architecture is"),
        ({"meta": {"bits": 17, "architecture": "centernet_tiny"}}, "bits from 1 to 16, found 17"),
        ({"codec": None}, "codec is missing"),
        ({"names": [f"c{i}" for i in range(30_000)]}, "classes=3.*30000"),
        ({"codec": {"class": {}}}, r"class is \{\}"),
    ],
)
def test_a_damaged_header_is_one_sentence(
    detector: Detector, tmp_path: Path, edit: dict[str, object], words: str
) -> None:
    path = tmp_path / "a.safetensors"
    detector.save(path)
    rewritten(path, edit)
    with pytest.raises(HeatpointError, match=rf"header of .*a\.safetensors is damaged: .*{words}"):
        Detector.load(path)


@pytest.mark.parametrize("padding", [0, float("nan"), 1e300, 1e9, -1, "1", [1.25], None])
def test_settings_of_the_view_are_checked(tmp_path: Path, padding: object) -> None:
    path = tmp_path / "a.safetensors"
    zoo.build("pose_tiny", ["hand"], skeleton=Skeleton(("tip", "root"))).save(path)
    with safe_open(path, framework="pt") as file:
        meta = json.loads(file.metadata()["heatpoint"])["meta"]
    rewritten(path, {"meta": {**meta, "padding": padding}})
    with pytest.raises(HeatpointError, match=r"header of .*a\.safetensors is damaged: .*padding"):
        Detector.load(path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "missing .* 'classes'"),
        ({"classes": "3"}, "classes is '3'"),
        ({"classes": 3, "overlap": "NaN"}, "overlap is 'NaN'"),
        ({"classes": 3, "overlap": float("nan")}, "overlap is nan"),
        ({"classes": 3, "size_weight": 1e300}, "size_weight"),
        ({"classes": 3, "border": ["inside"]}, "border is"),
        ({"classes": 3, "clamp": 2.0}, "clamp must lie"),
        ({"classes": 3, "peak_kernel": 10**9 + 1}, "peak_kernel must"),
        ({"classes": 3, "peak_kernel": 1001}, "peak_kernel must be odd and below 1000"),
    ],
)
def test_a_damaged_codec_is_one_sentence(
    detector: Detector, tmp_path: Path, fields: dict[str, object], words: str
) -> None:
    path = tmp_path / "a.safetensors"
    detector.save(path)
    rewritten(path, {"codec": {"class": "CenterCodec", **fields}})
    valid = rf"header of .*a\.safetensors describes no valid CenterCodec \(.*{words}.*damaged"
    with pytest.raises(HeatpointError, match=valid):
        Detector.load(path)


def test_headers_that_are_no_header(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for text in ("", "{", "[]", "3", "[" * 100_000, '{"version": ' + "9" * 5000 + "}"):
        save_file({"a": torch.zeros(2)}, path, {"heatpoint": text})
        with pytest.raises(HeatpointError, match=r"header of .*a\.safetensors is damaged"):
            Detector.load(path)


def test_tensors_must_be_exactly_those_of_the_architecture(
    detector: Detector, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    detector.save(path)
    rewritten(path, {}, drop="heads.last.sides.bias")
    with pytest.raises(HeatpointError, match=r"heads.last.sides.bias: expected \(4,\), found noth"):
        Detector.load(path)


@pytest.mark.parametrize(
    ("architecture", "words"),
    [
        ("hourglass:16x16", "has more than 38. tensors where the file holds 142"),
        ("centernet_timm:convnext_xxlarge", "has more than|expected"),
        ("cornernet_hourglass104", "has more than"),
        ("centernet_resnet18", r"expected \(\d+"),
    ],
)
def test_a_few_bytes_do_not_build_a_large_network(
    detector: Detector, tmp_path: Path, architecture: str, words: str
) -> None:
    path = tmp_path / "a.safetensors"
    detector.save(path)
    kind = "CornerCodec" if architecture.startswith("corner") else "CenterCodec"
    codec = {"class": "JointCodec", "joints": 1} if "16x16" in architecture else {"class": kind}
    edit = {"names": ["a"], "codec": codec, "meta": {"architecture": architecture}}
    if "16x16" in architecture:
        edit["skeleton"] = Skeleton(("nose",)).as_dict()
    else:
        codec["classes"] = 1
    rewritten(path, edit)
    before = torch.get_rng_state()
    with pytest.raises(HeatpointError, match=rf"architecture (it|that it) names.*{words}"):
        Detector.load(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unsound_skeleton_names_the_file(tmp_path: Path) -> None:
    arm = zoo.build("pose_tiny", ["arm"], skeleton=Skeleton(("hand", "elbow")))
    arm.save(tmp_path / "pose.safetensors")
    assert Detector.load(tmp_path / "pose.safetensors").skeleton == arm.skeleton
    rewritten(tmp_path / "pose.safetensors", {"skeleton": {"joints": ["hand", "hand"]}})
    with pytest.raises(HeatpointError, match=r"pose\.safetensors.*both called 'hand'"):
        Detector.load(tmp_path / "pose.safetensors")
