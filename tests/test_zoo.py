from __future__ import annotations

import copy
import functools
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from heatpoint import zoo
from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.center_pose import CenterPoseCodec
from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.joints import JointCodec
from heatpoint.data.skeleton import SKELETONS, Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.zoo.backbone_weights import load_backbone_weights, mobilenetv2_name
from heatpoint.zoo.detector import Detector

NAMES = ("cat", "dog", "owl")
MPII = SKELETONS["mpii16"]

everything = pytest.mark.parametrize("name", zoo.models())
# Hundreds of megabytes each; ``test_hourglass_backbone`` runs narrow ones, and smaller ResNets
# with the same necks are run here.
LARGE = [
    name
    for name in zoo.models()
    if name.endswith(
        ("hourglass104", "hourglass52", "resdcn101", "darknet53", "squeeze", "_saccade")
    )
]
storable = pytest.mark.parametrize("name", [name for name in zoo.models() if name not in LARGE])
# More stacks are more of the same: they are built, but not run.
runnable = pytest.mark.parametrize(
    "name",
    [
        name
        for name in zoo.models()
        if not name.endswith(("_4stack", "_8stack")) and name not in LARGE
    ],
)


@functools.cache
def built(name: str) -> Detector:
    """Returns a detector which tests must not change."""
    torch.manual_seed(0)
    with torch.device("meta" if name in LARGE else "cpu"):
        return zoo.build(name, ("person",) if zoo.learns_joints(name) else NAMES, skeleton=MPII)


def image(network: nn.Module, batch: int = 1) -> torch.Tensor:
    """Returns the smallest images that are not square."""
    multiple = int(network.multiple)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    shape = (batch, 3, multiple, 2 * multiple)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


@runnable
def test_maps_are_those_of_the_codec(name: str) -> None:
    detector = built(name)
    network, images = detector.network.eval(), image(detector.network)
    with torch.no_grad():
        maps = network(images)[-1]
        from_floats = network(images.float())[-1]
    assert list(maps) == [spec.name for spec in detector.codec.maps]
    for spec in detector.codec.maps:
        height, width = (side // (spec.stride or network.stride) for side in images.shape[2:])
        assert tuple(maps[spec.name].shape) == (1, spec.channels, height, width)
        assert torch.equal(maps[spec.name], from_floats[spec.name])


@everything
def test_detectors_know_what_they_are(name: str) -> None:
    detector = built(name)
    assert detector.codec.stride == detector.network.stride
    assert detector.meta["architecture"] == name
    trim, multiple = detector.network.trim, detector.network.multiple
    assert all((side + trim) % multiple == 0 for side in detector.size)
    if zoo.learns_joints(name):
        assert (detector.names, detector.skeleton) == (("person",), MPII)
        assert isinstance(detector.codec, (JointCodec, CenterPoseCodec))
        assert (detector.codec.joints, detector.codec.flip) == (16, MPII.flip)
        everywhere = isinstance(detector.codec, CenterPoseCodec)
        assert detector.settings == ({"margin": 0.0} if everywhere else {"padding": 1.25})
        assert detector.settings.items() <= detector.meta.items()
    else:
        assert (detector.names, detector.skeleton) == (NAMES, None)
        kind = name.split("_")[0]
        assert detector.codec.learns == {kind if kind in ("points", "quads") else "boxes"}
        assert detector.settings == ({"closer" if "saccade" in name else "margin": 0.0})


@runnable
def test_every_parameter_learns_and_bfloat16_is_finite(name: str) -> None:
    network = copy.deepcopy(built(name).network).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # some start at zero and hide what is before them
            nn.init.uniform_(module.weight, 0.5, 1.5)
    stacks = network(image(network, batch=2))
    sum(value.square().mean() for maps in stacks for value in maps.values()).backward()
    still = [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert still == []
    with torch.no_grad():
        maps = network.bfloat16().eval()(image(network))[-1]
    assert all(value.dtype == torch.bfloat16 for value in maps.values())
    assert all(bool(value.isfinite().all()) for value in maps.values())


@everything
def test_illegal_sizes_name_the_next_legal_one(name: str) -> None:
    network = built(name).network
    side, next_side = network.multiple - network.trim, 2 * network.multiple - network.trim
    with pytest.raises(HeatpointError, match=f"the next legal size is {next_side}x{side}"):
        network(torch.zeros(1, 3, side + 1, side))


@storable
def test_detectors_survive_a_file(name: str, tmp_path: Path) -> None:
    detector = built(name)
    detector.save(tmp_path / "detector.safetensors")
    state = torch.get_rng_state()
    again = Detector.load(tmp_path / "detector.safetensors")
    assert torch.equal(torch.get_rng_state(), state)
    assert (again.names, again.codec, again.meta, again.skeleton) == (
        detector.names,
        detector.codec,
        detector.meta,
        detector.skeleton,
    )
    tensors = detector.network.state_dict()
    for key, tensor in again.network.state_dict().items():
        assert torch.equal(tensor, tensors[key]), key
    assert not again.network.training


@pytest.mark.parametrize("neck", ["timm", "dcn", "dlaup", "dlaup_plain"])
def test_any_timm_model_gets_the_published_necks(neck: str, tmp_path: Path) -> None:
    detector = zoo.build(f"centernet_{neck}:resnet10t", NAMES)
    maps = detector.network(image(detector.network, batch=2))[0]
    assert tuple(maps["heatmap"].shape) == (2, 3, 8, 16)
    detector.save(tmp_path / "a.safetensors")
    assert Detector.load(tmp_path / "a.safetensors").meta == detector.meta


@pytest.mark.parametrize(
    ("name", "stacks"),
    [("pose_timm:resnet10t", 1), ("hourglass:3x2", 3), ("princeton_hourglass:1x2", 1)],
)
def test_families_of_pose_models(name: str, stacks: int, tmp_path: Path) -> None:
    arm = Skeleton(("nose", "left_hand", "right_hand"), pairs=((1, 2),))
    detector = zoo.build(name, ["robot"], skeleton=arm)
    with torch.no_grad():
        maps = detector.network.eval()(image(detector.network))
    assert len(maps) == stacks
    assert maps[-1]["joints"].shape[1] == 3
    detector.save(tmp_path / "a.safetensors")
    again = Detector.load(tmp_path / "a.safetensors")
    assert (again.meta, again.skeleton, again.names) == (detector.meta, arm, ("robot",))


def test_mistakes_about_corners() -> None:
    with pytest.raises(HeatpointError, match="is made for a CornerCodec, not for a CenterCodec"):
        zoo.build("cornernet_mobilenetv2", NAMES, codec=CenterCodec(3))
    with pytest.raises(HeatpointError, match="is made for a CenterCodec, not for a CornerCodec"):
        zoo.build("centernet_tiny", NAMES, codec=CornerCodec(3))
    with pytest.raises(HeatpointError, match="cornernet_hourglass52 has no ImageNet weights"):
        zoo.build("cornernet_hourglass52", NAMES, pretrained=True)
    with pytest.raises(HeatpointError, match="centernet_hourglass52 has no ImageNet weights"):
        zoo.build("centernet_hourglass52", NAMES, pretrained=True)


def test_mistakes_about_joints() -> None:
    with pytest.raises(HeatpointError, match=r"pose_tiny finds joints.*skeleton \(coco17"):
        zoo.build("pose_tiny", ["person"])
    with pytest.raises(HeatpointError, match="one kind of subject, got 3 names: cat, dog, owl"):
        zoo.build("pose_tiny", NAMES, skeleton=MPII)
    with pytest.raises(HeatpointError, match="a JointCodec, not for a CenterCodec"):
        zoo.build("pose_tiny", ["person"], codec=CenterCodec(1), skeleton=MPII)
    with pytest.raises(HeatpointError, match="a CenterCodec, not for a JointCodec"):
        zoo.build("centernet_tiny", NAMES, codec=JointCodec(3))
    with pytest.raises(HeatpointError, match=r"for joints=3, but .*the skeleton make joints=16"):
        zoo.build("pose_tiny", ["person"], codec=JointCodec(3), skeleton=MPII)
    with pytest.raises(HeatpointError, match=r"for flip=\(\), but .*make flip=\(5, 4"):
        zoo.build("pose_tiny", ["person"], codec=JointCodec(16), skeleton=MPII)
    with pytest.raises(HeatpointError, match="hourglass_2stack has no ImageNet weights"):
        zoo.build("hourglass_2stack", ["person"], pretrained=True, skeleton=MPII)
    with pytest.raises(HeatpointError, match="did you mean 'hourglass_2stack'"):
        zoo.learns_joints("hourglass_2stacks")
    with pytest.raises(HeatpointError, match="1 to 16 stacks and residuals per place, not 0 and 1"):
        zoo.build("hourglass:0x1", ["person"], skeleton=MPII)


def test_mistakes() -> None:
    with pytest.raises(HeatpointError, match="did you mean 'centernet_resnet18'"):
        zoo.build("centernet_resnet81", NAMES)
    with pytest.raises(HeatpointError, match="timm has no model 'resnet19'"):
        zoo.build("centernet_timm:resnet19", NAMES)
    with pytest.raises(HeatpointError, match="no ImageNet weights"):
        zoo.build("centernet_tiny", NAMES, pretrained=True)
    with pytest.raises(HeatpointError, match="leave one of them out"):
        zoo.build("centernet_tiny", NAMES, backbone_weights="a.pth", pretrained=True)


def test_a_codec_replaces_the_default() -> None:
    detector = zoo.build("centernet_tiny", NAMES, codec=CenterCodec(3, offset=False))
    assert list(detector.network.heads.channels) == ["heatmap", "size"]  # type: ignore[union-attr]


def classification_weights(name: str) -> dict[str, torch.Tensor]:
    """Returns random weights under torchvision's names."""
    import torchvision

    torch.manual_seed(2)
    model = torchvision.models.get_model(name, weights=None)
    return {key: torch.rand_like(t) if t.ndim else t for key, t in model.state_dict().items()}


def torchvision_features(
    name: str, state: dict[str, torch.Tensor], x: torch.Tensor
) -> torch.Tensor:
    """Returns the feature map of stride 32 that torchvision's own network computes."""
    import torchvision

    model = torchvision.models.get_model(name, weights=None)
    model.load_state_dict(state)
    model.double().eval()
    if name == "mobilenet_v2":
        return model.features[:18](x)  # type: ignore[no-any-return]
    x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
    return model.layer4(model.layer3(model.layer2(model.layer1(x))))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("name", "published", "unused"),
    [
        ("centernet_resnet18", "resnet18", "fc.bias"),
        ("centernet_resnet50", "resnet50", "fc.bias"),
        ("centernet_mobilenetv2", "mobilenet_v2", "classifier.1.bias"),
    ],
)
def test_torchvision_weights_give_torchvision_features(
    name: str, published: str, unused: str, tmp_path: Path
) -> None:
    state = classification_weights(published)
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "w.pth")
    network = copy.deepcopy(built(name).network)
    left_over = load_backbone_weights(network, tmp_path / "w.pth")
    own = {mobilenetv2_name(key) for key in state} if published == "mobilenet_v2" else set(state)
    assert unused in left_over
    assert len(own) - len(left_over) == len(network.backbone.model.state_dict())  # type: ignore
    x = torch.rand(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        features = network.double().eval().backbone(x)[-1]
        expected = torchvision_features(published, state, x)
    torch.testing.assert_close(features, expected, rtol=1e-9, atol=0)


def test_backbone_weights_must_fit(tmp_path: Path) -> None:
    state = classification_weights("resnet18")
    path = tmp_path / "weights.safetensors"
    network = copy.deepcopy(built("centernet_resnet18").network)
    save_file(state, path)
    network.set_normalisation((1, 2, 3), (4, 5, 6))
    load_backbone_weights(network, path)
    assert network.mean.tolist() == pytest.approx([123.675, 116.28, 103.53])
    save_file({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, path)
    load_backbone_weights(network, path)

    save_file({k: v for k, v in state.items() if k != "layer1.0.bn1.weight"}, path)
    with pytest.raises(HeatpointError, match=r"1 missing \(layer1.0.bn1.weight\)"):
        load_backbone_weights(network, path)
    save_file({**state, "bn1.bias": torch.zeros(3), "extra": torch.zeros(1)}, path)
    with pytest.raises(
        HeatpointError, match=r"bn1.bias is \[3\] instead of \[64\].*unknown \(extra\)"
    ):
        load_backbone_weights(network, path)
    with pytest.raises(HeatpointError, match="does not exist"):
        load_backbone_weights(network, tmp_path / "none.pth")


def test_the_original_file_of_dla_has_more_than_the_backbone(tmp_path: Path) -> None:
    network = copy.deepcopy(built("centernet_dla34").network)
    state = {key: torch.rand_like(t) for key, t in network.backbone.model.state_dict().items()
             if not key.endswith("num_batches_tracked")}  # fmt: skip
    dead = {"level3.project.0.weight": torch.zeros(128, 64, 1, 1), "fc.bias": torch.zeros(1000)}
    save_file({**state, **dead}, tmp_path / "dla34.safetensors")
    assert set(load_backbone_weights(network, tmp_path / "dla34.safetensors")) == set(dead)
    for key, tensor in state.items():
        assert torch.equal(network.backbone.model.state_dict()[key], tensor)


def test_known_file_brings_its_input_scale(shared: Path) -> None:
    path = shared / "weights" / "mobilenet_v2_imagenet_dequant.pth"
    detector = zoo.build("centernet_mobilenetv2", NAMES, backbone_weights=path)
    assert detector.network.mean.tolist() == [127.5] * 3
    assert detector.network.std.tolist() == [127.5] * 3
    facts = detector.meta["backbone_weights"]
    assert facts["file"] == path.name
    assert len(facts["unused"]) == 6
    assert all(name.startswith("features.18.") for name in facts["unused"])
