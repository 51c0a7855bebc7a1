from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from heatpoint.codecs import MapSpec
from heatpoint.errors import HeatpointError
from heatpoint.geometry import next_multiple
from heatpoint.networks import IMAGENET_MEAN, IMAGENET_STD, Network
from heatpoint.networks.deformable import (
    AggregationNeck,
    PairedNeck,
    bilinear_upsampling,
    plain,
)
from heatpoint.networks.features import DeconvNeck, PlainResNet, SameConv, TimmBackbone, TopDownNeck
from heatpoint.networks.heads import MapHeads, SharedHeads

SPECS = (MapSpec("heatmap", 3, bias=-2.19), MapSpec("size", 2, std=0.001))


class Recorder(nn.Module):
    """Stands for a head: keeps what it is given."""

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        return {"features": features}


class Passing(PlainResNet):
    """Stands for a backbone: hands the normalised images on."""

    def forward(self, images: Tensor) -> list[Tensor]:
        return [images]


class First(nn.Module):
    def forward(self, features: list[Tensor]) -> Tensor:
        return features[0]


def small_network() -> Network:
    backbone = PlainResNet(stem=8, channels=(8, 8))
    return Network(backbone, TopDownNeck((8, 8), (8, 8)), SharedHeads(8, SPECS, 8), stride=4)


def test_images_are_normalised_channel_by_channel() -> None:
    network = Network(Passing(stem=2, channels=(2,)), First(), Recorder(), stride=1)
    images = torch.arange(48, dtype=torch.uint8).reshape(1, 3, 4, 4) * 5
    (maps,) = network(images)
    for channel in range(3):
        expected = (images[:, channel].float() - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
        torch.testing.assert_close(maps["features"][:, channel], expected)
    assert network.double()(images)[0]["features"].dtype == torch.float64
    images = images.contiguous(memory_format=torch.channels_last)
    features = network(images)[0]["features"]
    assert features.is_contiguous(memory_format=torch.channels_last)


def test_illegal_sizes_name_the_next_legal_one() -> None:
    network = small_network()
    assert network.multiple == 8
    with pytest.raises(HeatpointError, match=r"60x64 .*multiples of 8.*64x64"):
        network(torch.zeros(1, 3, 60, 64))
    with pytest.raises(HeatpointError, match=r"the next legal size is 8x16"):
        network(torch.zeros(1, 3, 0, 9))
    assert [next_multiple(side, 32) for side in (0, 1, 32, 33)] == [32, 32, 32, 64]


def test_network_exports() -> None:
    network = small_network().eval()
    images = torch.rand(2, 3, 16, 24) * 255
    exported = torch.export.export(network, (images,))
    torch.testing.assert_close(exported.module()(images), network(images))


def test_backbone_takes_strides_from_the_feature_info() -> None:
    backbone = TimmBackbone("mobilenetv2_100", strides=(4, 16))
    features = backbone(torch.zeros(1, 3, 64, 96))
    assert [tuple(f.shape) for f in features] == [(1, 24, 16, 24), (1, 96, 4, 6)]
    assert (backbone.channels, backbone.strides, backbone.multiple) == ((24, 96), (4, 16), 16)


def test_same_padding_is_that_of_timm() -> None:
    torch.manual_seed(0)
    name, strides = "tf_efficientnet_lite0", (4, 8, 16, 32)
    backbone = TimmBackbone(name, strides).eval()
    original = timm.create_model(name, features_only=True).eval()
    original.load_state_dict(backbone.model.state_dict())
    assert sum(isinstance(module, SameConv) for module in backbone.modules()) == 5
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        for found, wanted in zip(backbone(images), original(images)[-4:], strict=True):
            assert torch.equal(found, wanted)


def test_backbone_turns_channels_first() -> None:
    backbone = TimmBackbone("swin_tiny_patch4_window7_224", strides=(4, 32)).eval()
    features = backbone(torch.zeros(1, 3, 224, 224))
    assert [tuple(f.shape) for f in features] == [(1, 96, 56, 56), (1, 768, 7, 7)]


def test_backbone_mistakes() -> None:
    with pytest.raises(HeatpointError, match="no model 'resnet18x'; did you mean 'resnet18"):
        TimmBackbone("resnet18x", strides=(32,))
    with pytest.raises(HeatpointError, match=r"needs \[64\] too"):
        TimmBackbone("resnet18", strides=(32, 64))
    with pytest.raises(HeatpointError, match="no pretrained weights"):
        TimmBackbone("resnet26t.nothing", strides=(32,), pretrained=True)


def test_necks_end_at_the_stride_of_the_maps() -> None:
    features = [torch.rand(1, channels, side, side) for channels, side in ((4, 16), (6, 8), (8, 4))]
    assert TopDownNeck((4, 6, 8), (5, 7, 9))(features).shape == (1, 5, 16, 16)
    assert DeconvNeck(8, (6, 5))(features).shape == (1, 5, 16, 16)
    assert PairedNeck(8, (6, 5))(features).shape == (1, 5, 16, 16)
    assert AggregationNeck((4, 6, 8))(features).shape == (1, 4, 16, 16)


@pytest.mark.parametrize("factor", [2, 4])
def test_upsampling_starts_as_bilinear_interpolation(factor: int) -> None:
    features = torch.rand(1, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    expected = functional.interpolate(features, scale_factor=factor, mode="bilinear")
    inner = slice(
        factor, -factor
    )  # zeros lie around the one, copies of the border around the other
    found = bilinear_upsampling(2, factor, groups=2)(features)
    torch.testing.assert_close(found[..., inner, inner], expected[..., inner, inner])
    first = bilinear_upsampling(2, factor, groups=1)(features)[:, 0]
    torch.testing.assert_close(first, found.sum(1))


@pytest.mark.parametrize(
    "neck", [TopDownNeck((4, 6, 8), (5, 7, 9)), AggregationNeck((4, 6, 8), plain)]
)
def test_necks_use_every_level(neck: nn.Module) -> None:
    neck.eval()
    features = [torch.rand(1, channels, side, side) for channels, side in ((4, 16), (6, 8), (8, 4))]
    before = neck(features)
    for level in range(3):
        changed = list(features)
        changed[level] = changed[level] + 1
        assert not torch.equal(neck(changed), before)


def test_heads_start_as_published() -> None:
    torch.manual_seed(0)
    heads = MapHeads(16, SPECS, width=64)
    assert torch.equal(heads.last["heatmap"].bias, torch.full((3,), -2.19))
    assert torch.equal(heads.last["size"].bias, torch.zeros(2))
    assert heads.last["size"].weight.std().item() == pytest.approx(0.001, rel=0.3)
    assert heads.channels == {"heatmap": 3, "size": 2}
    normed = MapHeads(16, SPECS, width=64, norm=True)
    assert normed.hidden["size"][0].bias is None


def test_resized_heads_keep_chosen_rows() -> None:
    heads = SharedHeads(4, SPECS, width=8)
    old = {name: tensor.clone() for name, tensor in heads.state_dict().items()}
    heads.resize(MapSpec("heatmap", 4, bias=-2.19), [2, None, 0, None])
    weight, bias = heads.last["heatmap"].weight, heads.last["heatmap"].bias
    assert torch.equal(weight[[0, 2]], old["last.heatmap.weight"][[2, 0]])
    assert torch.equal(bias, torch.full((4,), -2.19))
    assert heads(torch.rand(1, 4, 2, 2))["heatmap"].shape == (1, 4, 2, 2)
    assert torch.equal(heads.last["size"].weight, old["last.size.weight"])
