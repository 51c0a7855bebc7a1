"""Makes rows of the zoo: backbone, neck and heads put together for any codec that fits them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from torch import nn

from heatpoint.codecs import Codec
from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.joints import JointCodec
from heatpoint.codecs.saccade import SaccadeCodec
from heatpoint.errors import HeatpointError
from heatpoint.networks import Network
from heatpoint.networks.centerface import FoldedMobileNetV2, TransposedTopDownNeck
from heatpoint.networks.corner_pool import BRANCHES
from heatpoint.networks.deformable import AggregationNeck, DeformConv, Make3x3, PairedNeck
from heatpoint.networks.features import (
    DeconvNeck,
    EveryLevel,
    OneLevel,
    PlainResNet,
    TimmBackbone,
    TopDownNeck,
    dense_resnet50,
)
from heatpoint.networks.heads import (
    BareHeads,
    CornerHeads,
    Heads,
    MapHeads,
    SharedHeads,
    StackHeads,
)
from heatpoint.networks.hourglasses import (
    DetectionHourglass,
    HourglassStacks,
    HourglassStem,
    StemKind,
)
from heatpoint.networks.lite import (
    SQUEEZE_BLOCKS,
    SQUEEZE_WIDTHS,
    AttentionHeads,
    AttentionNeck,
    EveryStack,
    fire_hourglass,
)
from heatpoint.networks.ttfnet import ShortcutNeck, TowerHeads, darknet53
from heatpoint.views.zoom import Zoom
from heatpoint.weights import PIXELS
from heatpoint.zoo.rows import QUICK, RELEASED, Make, Model, row


def deconv(backbone: str, kind: str, summary: str) -> Model:
    """Returns any timm backbone with the published neck of three transposed convolutions."""

    def network(codec: Codec, pretrained: bool) -> Network:
        trunk = TimmBackbone(backbone, strides=(32,), pretrained=pretrained)
        neck = DeconvNeck(trunk.channels[-1], channels=(256, 256, 256))
        return Network(trunk, neck, _published(codec, 256, width=64, pooled=64), stride=4)

    return row(summary, RELEASED[kind], network, _usual_size(kind))


def dcn(backbone: str, kind: str, summary: str) -> Model:
    """Returns any timm backbone with the published neck of ResNet-DCN."""
    return row(summary, RELEASED[kind], paired(backbone, DeformConv), _usual_size(kind))


def paired(backbone: str, make: Make3x3) -> Make:
    """Returns what makes ResNet-DCN of any timm backbone and any 3x3 convolutions."""

    def network(codec: Codec, pretrained: bool) -> Network:
        trunk = TimmBackbone(backbone, strides=(32,), pretrained=pretrained)
        neck = PairedNeck(trunk.channels[-1], channels=(256, 128, 64), make=make)
        return Network(trunk, neck, _published(codec, 64, width=64, pooled=32), stride=4)

    return network


def dlaup(backbone: str, kind: str, summary: str, make: Make3x3 = DeformConv) -> Model:
    """Returns any timm backbone with the published neck of DLA-34, and 3x3 convolutions."""

    def network(codec: Codec, pretrained: bool) -> Network:
        trunk = TimmBackbone(backbone, strides=(4, 8, 16, 32), pretrained=pretrained)
        neck = AggregationNeck(trunk.channels, make)
        heads = _published(codec, neck.out_channels, width=256, pooled=neck.out_channels // 2)
        return Network(trunk, neck, heads, stride=4)

    return row(summary, RELEASED[kind], network, _usual_size(kind))


def _usual_size(kind: str) -> tuple[int, int]:
    """Returns the usual input of published networks: a crop of a person, or a picture."""
    return (256, 192) if RELEASED[kind].view.asks else (512, 512)


def topdown(backbone: str, kind: str, summary: str, stride: Stride = 4) -> Model:
    """Returns any timm backbone with a narrow top-down neck and shared heads, for CPUs."""
    crops = QUICK[kind].view.asks

    def network(codec: Codec, pretrained: bool) -> Network:
        trunk = TimmBackbone(backbone, _FINER[stride] + (4, 8, 16, 32), pretrained)
        usual = (32, 48, 64, 96) if crops else (48, 64, 96, 128)
        widths = (usual[0] // 2,) * len(_FINER[stride]) + usual
        neck, heads = _narrow(codec, trunk.channels, widths, 48 if crops else 64, pooled=32)
        return Network(trunk, neck, heads, stride=stride)

    side = 192 if crops else 256 if QUICK[kind].view is Zoom else 384
    return row(summary, _at(stride, QUICK[kind]), network, (side, side))


Stride = Literal[2, 4]
"""Input pixels per cell of small networks."""

_FINER: dict[Stride, tuple[int, ...]] = {2: (2,), 4: ()}
"""Strides of the trunk's maps that are used below 4."""


def _at(stride: int, codec: Codec) -> Codec:
    """Returns a codec whose maps have another stride."""
    return codec.tuned("", {} if stride == codec.stride else {"stride": stride})


def tiny(kind: str, summary: str, stride: Stride = 4) -> Model:
    """Returns a few plain convolutions under a top-down neck: quick to train from nothing."""
    size = (128, 128) if QUICK[kind].view.asks else (192, 192)
    codec, make = _at(stride, QUICK[kind]), partial(tiny_network, stride=stride)
    return row(summary, codec, make, size, f"{kind}_mobilenetv2")


def tiny_network(codec: Codec, pretrained: bool = False, stride: Stride = 4) -> Network:
    """Returns the smallest network with the maps of any codec."""
    trunk = PlainResNet(stem=16, channels=(32, 64, 96, 128), finest=stride)
    widths = (24,) * len(_FINER[stride]) + (32, 48, 64, 96)
    neck, heads = _narrow(codec, trunk.channels, widths, width=48, pooled=16)
    return Network(trunk, neck, heads, stride=stride)


def large_hourglass(stacks: int, kind: str, summary: str) -> Model:
    """Returns the published detection hourglasses with heads behind each stack."""
    corner = kind in ("cornernet", "triplets")
    side, trim = (511, 1) if corner else (512, 0)
    instead = f"{kind}_{'mobilenetv2' if corner else 'resnet50'}"

    def network(codec: Codec, pretrained: bool) -> Network:
        trunk = DetectionHourglass(stacks, trim=trim)
        each = [_published(codec, 256, width=256, pooled=128) for _ in range(stacks)]
        return Network(trunk, EveryLevel(), StackHeads(each), stride=4)

    return row(summary, RELEASED[kind], network, (side, side), instead)


def stacked(stacks: int, blocks: int, stem: StemKind, summary: str = "") -> Model:
    """Returns stacked hourglasses of order 4 and 256 channels, the published sizes.

    Raises:
        HeatpointError: There is no stack, or no residual.
    """
    if not (1 <= stacks <= 16 and 1 <= blocks <= 16):
        raise HeatpointError(
            f"stacked hourglasses have 1 to 16 stacks and residuals per place, not {stacks} and "
            f"{blocks}"
        )

    def network(codec: Codec, pretrained: bool) -> Network:
        (spec,) = codec.maps
        trunk = HourglassStem(stem, multiple=4 << 4)
        if stem == "bearpaw":  # its standard deviation is never applied
            trunk.mean = tuple(255 * value for value in PIXELS["bearpaw_rgb"].mean)
        heads = HourglassStacks(256, spec, stacks, order=4, blocks=blocks)
        return Network(trunk, OneLevel(), heads, stride=4)

    text = summary or f"{stacks} stacked hourglasses of {blocks} residuals at each place"
    return row(text, JointCodec(1), network, (256, 256), "pose_mobilenetv2")


def ttfnet(backbone: str, depth: int, summary: str) -> Model:
    """Returns the published TTFNet on a ResNet or on Darknet-53.

    Args:
        backbone: timm's name of it.
        depth: Convolutions in the tower of the sides; that of the heatmap has two.
        summary: What it is, in one line.
    """
    own = backbone == "darknet53"

    def network(codec: Codec, pretrained: bool) -> Network:
        trunk = darknet53() if own else TimmBackbone(backbone, (4, 8, 16, 32), pretrained)
        neck = ShortcutNeck(trunk.channels, channels=(256, 128, 64))
        heads = TowerHeads(64, codec.maps, {"heatmap": (128, 2), "sides": (64, depth)})
        return Network(trunk, neck, heads, stride=4)

    instead = "ttfnet_resnet34" if own else ""
    return row(summary, RELEASED["ttfnet"], network, (512, 512), instead)


def dense(codec: Codec, pretrained: bool) -> Network:
    """Returns the ResNet-50 of bubbliiiing, whose heads have batch norms."""
    neck = DeconvNeck(2048, channels=(256, 128, 64))
    heads = MapHeads(64, codec.maps, width=64, norm=True)
    return Network(dense_resnet50(pretrained), neck, heads, stride=4)


def mmpose(codec: Codec, pretrained: bool) -> Network:
    """Returns one large hourglass with bare heads."""
    trunk = DetectionHourglass(stacks=1)
    return Network(trunk, OneLevel(), BareHeads(256, codec.maps), stride=4)


def squeeze(codec: Codec, pretrained: bool) -> Network:
    """Returns CornerNet-Squeeze: two hourglasses of fire modules at stride 8."""
    trunk = DetectionHourglass(
        2, widths=SQUEEZE_WIDTHS, blocks=SQUEEZE_BLOCKS, trim=1, make=fire_hourglass, halvings=2
    )
    each = [CornerHeads(256, codec.maps, pooled=128, width=256, kernel=1) for _ in range(2)]
    return Network(trunk, EveryLevel(), StackHeads(each), stride=8)


def saccade(codec: Codec, pretrained: bool) -> Network:
    """Returns CornerNet-Saccade: Hourglass-54, with attention at each level of each hourglass."""
    widths, blocks = (256, 384, 384, 512), (1, 1, 1, 1)
    trunk = DetectionHourglass(3, widths=widths, blocks=blocks, trim=1, every_level=True)
    each = [AttentionHeads(trunk.channels[:4], codec.maps, pooled=128, width=256) for _ in range(3)]
    return Network(trunk, EveryStack(4), StackHeads(each), stride=4)


def centerface(codec: Codec, pretrained: bool) -> Network:
    """Returns the network of CenterFace, which has no ImageNet weights."""
    trunk = FoldedMobileNetV2()
    neck = TransposedTopDownNeck(trunk.channels)
    return Network(trunk, neck, BareHeads(neck.out_channels, codec.maps), stride=4)


def _published(codec: Codec, channels: int, width: int, pooled: int) -> Heads:
    """Returns published heads on so many channels: corners pool, joints have nothing hidden."""
    if isinstance(codec, CornerCodec):
        return CornerHeads(channels, codec.maps, pooled=pooled, width=width)
    if isinstance(codec, JointCodec):
        return BareHeads(channels, codec.maps)
    return MapHeads(channels, codec.maps, width=width)


def _narrow(
    codec: Codec, channels: Sequence[int], widths: Sequence[int], width: int, pooled: int
) -> tuple[nn.Module, nn.Module]:
    """Returns the top-down neck and the slim heads of small networks.

    The heads have pooled branches where the maps name those, and attention where they have it.
    """
    if isinstance(codec, SaccadeCodec):
        attentive = AttentionNeck(channels, widths)
        return attentive, AttentionHeads(attentive.channels, codec.maps, pooled, width=None)
    neck = TopDownNeck(channels, widths)
    if any(spec.branch in BRANCHES for spec in codec.maps):
        return neck, CornerHeads(widths[0], codec.maps, pooled=pooled, width=None)
    return neck, SharedHeads(widths[0], codec.maps, width=width)
