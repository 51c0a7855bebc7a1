from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from heatpoint import zoo
from heatpoint.codecs import MapSpec
from heatpoint.codecs.center import CenterCodec
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.inference.predict import predict
from heatpoint.networks import Network
from heatpoint.networks.features import EveryLevel, PlainResNet, TopDownNeck
from heatpoint.networks.heads import MapHeads, SharedHeads, StackHeads
from heatpoint.networks.hourglasses import DetectionHourglass
from heatpoint.zoo.detector import Detector
from heatpoint.zoo.fit import shapes_of


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
    with pytest.raises(HeatpointError, match="for classes=3, but the 2 class names make classes=2"):
        replace(detector, names=("cat", "dog"))
    with pytest.raises(HeatpointError, match="occur more than once"):
        replace(detector, names=("cat", "dog", "cat"))
    with pytest.raises(HeatpointError, match="pass the codec when the network is built"):
        replace(detector, codec=CenterCodec(3, offset=False))


def test_a_header_alone_makes_the_detector_untrained(detector: Detector, tmp_path: Path) -> None:
    detector.meta["size"] = [96, 64]
    again = Detector.from_header(
        json.loads(json.dumps(detector.header())),
        shapes_of(detector.network.state_dict()),
        tmp_path / "a",
    )
    assert (again.codec, again.names, again.meta) == (detector.codec, detector.names, detector.meta)
    assert again.header() == detector.header()


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
    others = [name for name in before if not name.startswith("heads.last.heatmap.")]
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


OLD = Skeleton(("nose", "left_hand", "right_hand", "tail"), pairs=((1, 2),))
NEW = Skeleton(("left_hand", "horn", "right_hand", "nose", "hoof"), pairs=((0, 2),))


def test_joints_keep_what_was_learnt_by_name() -> None:
    torch.manual_seed(0)
    tiny = ("heads.last.joints.weight", "heads.last.joints.bias")
    stacked = [f"heads.last.{stack}.{part}" for stack in (0, 1) for part in ("weight", "bias")]
    for name, last in (("pose_tiny", tiny), ("hourglass_2stack", stacked)):
        detector = zoo.build(name, ["unicorn"], skeleton=OLD)
        detector.network.eval()
        images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
        with torch.no_grad():
            before = detector.network(images)[0]["joints"]
            fresh = detector.adapt(["unicorn"], NEW)
            after = detector.network(images)[0]["joints"]
        # What the next stack sees of the fresh maps starts afresh too, its bias stays.
        seen = ["heads.from_maps.0.weight"] if name == "hourglass_2stack" else []
        assert sorted(fresh) == sorted(f"{tensor} [horn, hoof]" for tensor in (*last, *seen))
        assert torch.equal(after[:, [0, 2, 3]], before[:, [1, 2, 0]])
        assert detector.skeleton == NEW
        assert detector.codec == replace(detector.codec, joints=5, flip=NEW.flip)
        assert detector.network.heads.channels == {"joints": 5}
        assert detector.adapt(["unicorn"], NEW) == []
        # What the one subject is called changes nothing that was learnt.
        assert detector.adapt(["horse"]) == []
        assert (detector.names, detector.skeleton) == (("horse",), NEW)


@pytest.mark.parametrize("name", ["centernet_tiny", "cornernet_tiny", "centernet_hourglass_narrow"])
def test_classes_keep_their_channels_in_every_family(name: str) -> None:
    torch.manual_seed(0)
    if name == "centernet_hourglass_narrow":
        codec = CenterCodec(3)
        trunk = DetectionHourglass(2, stem=8, widths=(8,) * 6, blocks=(1,) * 6)
        heads = StackHeads([MapHeads(8, codec.maps, width=8) for _ in range(2)])
        network = Network(trunk, EveryLevel(), heads, stride=4)
        detector = Detector(network, codec, ("cat", "dog", "owl"))
    else:
        detector = zoo.build(name, ["cat", "dog", "owl"])
    detector.network.eval()
    side = detector.network.multiple
    images = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    with torch.no_grad():
        before = detector.network(images)
        fresh = detector.adapt(["fox", "owl", "cat"])
        after = detector.network(images)
    assert fresh
    assert all(line.endswith("[fox]") for line in fresh)
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        for spec in detector.codec.maps:
            if spec.per == "class":
                assert torch.equal(new[spec.name][:, 1:], old[spec.name][:, [2, 0]])
            else:
                assert torch.equal(new[spec.name], old[spec.name])


def test_boxes_have_no_skeleton(detector: Detector) -> None:
    with pytest.raises(HeatpointError, match="leave the skeleton out"):
        replace(detector, skeleton=Skeleton(("nose",)))
    with pytest.raises(HeatpointError, match="needs a skeleton that names its joints"):
        replace(zoo.build("pose_tiny", ["arm"], skeleton=OLD), skeleton=None)
    assert detector.adapt(["cat", "dog", "owl"], Skeleton(("nose",))) == []
    assert detector.skeleton is None


@dataclass(frozen=True)
class ShyCodec(CenterCodec):
    """A codec of one's own, as a subclass with a field more."""

    shyness: float = 0.5

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """The usual maps and one more."""
        return (*super().maps, MapSpec("shyness", 1))


def own_network(codec: CenterCodec) -> Network:
    trunk = PlainResNet(stem=4, channels=(4, 8))
    neck = TopDownNeck(trunk.channels, widths=(4, 8))
    return Network(trunk, neck, SharedHeads(4, codec.maps, width=8), stride=4)


def test_a_detector_without_facts_is_loaded_with_its_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    codec, path = ShyCodec(2, shyness=0.75), tmp_path / "a.safetensors"
    detector = Detector(own_network(codec), codec, ("cat", "dog"))
    assert (detector.size, detector.settings) == ((512, 512), {"margin": 0.0})
    assert detector.called == "this detector (of no known architecture)"
    detector.save(path)
    with pytest.raises(
        HeatpointError, match=r"a\.safetensors names no architecture.*network=\.\.\."
    ):
        Detector.load(path)
    again = Detector.load(path, network=own_network(codec))
    assert type(again.codec) is ShyCodec
    assert (again.codec, again.names, again.meta) == (codec, ("cat", "dog"), {})
    assert not again.network.training
    for name, tensor in detector.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor), name
    with pytest.raises(HeatpointError, match=r"produces the maps .* but the codec needs"):
        Detector.load(path, network=own_network(CenterCodec(2)))
    wider = own_network(codec)
    wider.neck = TopDownNeck((4, 8), widths=(4, 16))
    with pytest.raises(HeatpointError, match=r"a\.safetensors does not fit the .*neck.*expected"):
        Detector.load(path, network=wider)
    fresh = again.adapt(["dog", "owl"])
    assert fresh == ["heads.last.heatmap.weight [owl]", "heads.last.heatmap.bias [owl]"]
    assert again.codec == ShyCodec(2, shyness=0.75)


def test_a_subclass_is_a_codec_of_the_models_of_its_base(tmp_path: Path) -> None:
    codec, path = ShyCodec(2), tmp_path / "a.safetensors"
    detector = zoo.build("centernet_tiny", ["cat", "dog"], codec=codec)
    detector.save(path)
    again = Detector.load(path)
    assert (type(again.codec), again.codec) == (ShyCodec, codec)
    assert list(again.network.heads.channels) == ["heatmap", "size", "offset", "shyness"]


@pytest.mark.parametrize("name", ["centernet_tiny", "cornernet_tiny", "pose_tiny"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("part", ["backbone", "heads", "last"])
def test_weights_that_are_no_numbers_never_pass_for_nothing_found(
    name: str, value: float, part: str
) -> None:
    names = ["mouse"] if name == "pose_tiny" else ["cat", "dog"]
    detector = zoo.build(name, names, skeleton=OLD)
    last = {"centernet_tiny": "sides", "cornernet_tiny": "top_left_offset", "pose_tiny": "joints"}
    start = f"heads.last.{last[name]}." if part == "last" else part
    with torch.no_grad():
        for key, parameter in detector.network.named_parameters():
            if key.startswith(start):
                parameter.fill_(value)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for options in ({}, {"flip": True}, {"score": 1.0}):
        if name == "pose_tiny" and "score" in options:  # it has a result for every box
            continue
        with pytest.raises(HeatpointError, match="not a finite number; its weights are damaged"):
            predict(detector, [image], device="cpu", precision="fp32", size=64, **options)


@pytest.mark.parametrize(
    ("model", "choices"),
    [("centernet_tiny", {"measure": "size"}), ("quads_tiny", {"order": "own"})],
)
def test_a_choice_of_other_maps_makes_a_network_of_these(
    model: str, choices: dict[str, str]
) -> None:
    usual, chosen = (zoo.build(model, ["a", "b"], choices=each) for each in (None, choices))
    assert {spec.name for spec in usual.codec.maps} != {spec.name for spec in chosen.codec.maps}
    maps = chosen.network(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))[-1]
    assert maps.keys() == {spec.name for spec in chosen.codec.maps}
    with pytest.raises(HeatpointError, match="sigma is no choice for"):
        zoo.build(model, ["a"], choices={"sigma": 2})


@pytest.mark.parametrize(
    ("model", "heatmaps", "of_classes"),
    [
        ("centernet_tiny", 2, 1),  # the other one is of sides, whosever
        ("points_tiny", 1, 1),
        ("quads_tiny", 2, 1),  # the other one is of corners, whosever
        ("cornernet_tiny", 2, 2),
        ("triplets_tiny", 3, 3),
    ],
)
def test_new_heatmaps_begin_with_the_bias_of_the_codec(
    model: str, heatmaps: int, of_classes: int
) -> None:
    usual, chosen = (
        zoo.build(model, ["a"], choices=each) for each in (None, {"heatmap_bias": -5.0})
    )
    begun = [
        sum(last.bias.eq(level).all().item() for last in detector.network.heads.last.values())
        for detector, level in ((usual, -2.19), (chosen, -5.0))
    ]
    assert begun == [heatmaps] * 2
    chosen.adapt(["a", "b"])  # a new class begins there, too
    levels = [last.bias for last in chosen.network.heads.last.values() if len(last.bias) == 2]
    assert sum(bool(bias.eq(-5.0).all()) for bias in levels) == of_classes
    with pytest.raises(HeatpointError, match="heatmap_bias must lie between -20 and 20"):
        zoo.build(model, ["a"], choices={"heatmap_bias": float("nan")})
