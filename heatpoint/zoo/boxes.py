"""Networks that find centres of boxes: one function each, with literal numbers, in one dict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from heatpoint.codecs.center import CenterCodec
from heatpoint.detector.detector import Detector
from heatpoint.errors import HeatpointError
from heatpoint.networks.backbones.hourglass import DetectionHourglass
from heatpoint.networks.backbones.plain import PlainResNet
from heatpoint.networks.backbones.resnet_dense import dense_resnet50
from heatpoint.networks.backbones.timm import TimmBackbone
from heatpoint.networks.heads import MapHeads, SharedHeads, StackHeads
from heatpoint.networks.necks import DeconvNeck, EveryLevel, TopDownNeck
from heatpoint.networks.network import Network

TIMM_PREFIX = "centernet_timm:"
"""``centernet_timm:convnext_tiny`` is any timm model with the published neck and heads."""


class BoxModel(Protocol):
    """What every function of ``BOX_MODELS`` takes and returns; its docstring is its description."""

    def __call__(
        self, names: Sequence[str], codec: CenterCodec | None = None, pretrained: bool = False
    ) -> Detector:
        """Returns an untrained detector of the classes ``names``.

        ``codec`` replaces the default representation; ``pretrained`` fetches the backbone's
        ImageNet weights through timm.
        """


def centernet_resnet18(
    names: Sequence[str], codec: CenterCodec | None = None, pretrained: bool = False
) -> Detector:
    """ResNet-18 with three transposed convolutions, as published (Zhou et al. 2019)."""
    return deconv_detector("centernet_resnet18", "resnet18", names, codec, pretrained)


def centernet_resnet34(
    names: Sequence[str], codec: CenterCodec | None = None, pretrained: bool = False
) -> Detector:
    """ResNet-34 with three transposed convolutions."""
    return deconv_detector("centernet_resnet34", "resnet34", names, codec, pretrained)


def centernet_resnet50(
    names: Sequence[str], codec: CenterCodec | None = None, pretrained: bool = False
) -> Detector:
    """ResNet-50 with three transposed convolutions."""
    return deconv_detector("centernet_resnet50", "resnet50", names, codec, pretrained)


def centernet_resnet101(
    names: Sequence[str], codec: CenterCodec | None = None, pretrained: bool = False
) -> Detector:
    """ResNet-101 with three transposed convolutions, as published (Zhou et al. 2019)."""
    return deconv_detector("centernet_resnet101", "resnet101", names, codec, pretrained)


def centernet_mobilenetv2(
    names: Sequence[str], codec: CenterCodec | None = None, pretrained: bool = False
) -> Detector:
    """MobileNetV2 with a narrow top-down neck and shared heads, for CPUs."""
    codec = codec or quick_codec(len(names))
    backbone = TimmBackbone("mobilenetv2_100", strides=(4, 8, 16, 32), pretrained=pretrained)
    neck = TopDownNeck(backbone.channels, widths=(48, 64, 96, 128))
    heads = SharedHeads(48, codec.maps, width=64)
    network = Network(backbone, neck, heads, stride=4)
    return _detector("centernet_mobilenetv2", network, codec, names, size=(384, 384))


def centernet_tiny(
    names: Sequence[str], codec: CenterCodec | None = None, pretrained: bool = False
) -> Detector:
    """A few plain convolutions that learn simple scenes from scratch within a minute."""
    if pretrained:
        raise HeatpointError(
            "centernet_tiny has no ImageNet weights; leave pretrained off or choose "
            "centernet_mobilenetv2"
        )
    codec = codec or quick_codec(len(names))
    backbone = PlainResNet(stem=16, channels=(32, 64, 96, 128))
    neck = TopDownNeck(backbone.channels, widths=(32, 48, 64, 96))
    heads = SharedHeads(32, codec.maps, width=48)
    network = Network(backbone, neck, heads, stride=4)
    return _detector("centernet_tiny", network, codec, names, size=(192, 192))


def quick_codec(classes: int) -> CenterCodec:
    """Returns the representation of the small networks, made for little data and little time.

    Sizes are learnt around the centres too, and by the boxes' overlap. Maps and decoding are those
    of the published system.
    """
    return CenterCodec(classes=classes, size_region=0.6, giou_weight=2.0)


def centernet_hourglass104(
    names: Sequence[str], codec: CenterCodec | None = None, pretrained: bool = False
) -> Detector:
    """Two large hourglasses, as published (Zhou et al. 2019)."""
    return _hourglass("centernet_hourglass104", 2, names, codec, pretrained)


def centernet_hourglass52(
    names: Sequence[str], codec: CenterCodec | None = None, pretrained: bool = False
) -> Detector:
    """One large hourglass."""
    return _hourglass("centernet_hourglass52", 1, names, codec, pretrained)


def bubbliiiing_resnet50(
    names: Sequence[str], codec: CenterCodec | None = None, pretrained: bool = False
) -> Detector:
    """ResNet-50 of bubbliiiing's centernet-pytorch, for its converted weights."""
    codec = codec or CenterCodec(
        classes=len(names), normaliser="objects", collisions="last", one_class_per_cell=True
    )
    backbone = dense_resnet50(pretrained)
    neck = DeconvNeck(2048, channels=(256, 128, 64))
    heads = MapHeads(64, codec.maps, width=64, norm=True)
    network = Network(backbone, neck, heads, stride=4)
    return _detector("bubbliiiing_resnet50", network, codec, names, size=(512, 512))


BOX_MODELS: dict[str, BoxModel] = {
    "centernet_resnet18": centernet_resnet18,
    "centernet_resnet34": centernet_resnet34,
    "centernet_resnet50": centernet_resnet50,
    "centernet_resnet101": centernet_resnet101,
    "centernet_hourglass104": centernet_hourglass104,
    "centernet_hourglass52": centernet_hourglass52,
    "centernet_mobilenetv2": centernet_mobilenetv2,
    "centernet_tiny": centernet_tiny,
    "bubbliiiing_resnet50": bubbliiiing_resnet50,
}


def deconv_detector(
    name: str, backbone_name: str, names: Sequence[str], codec: CenterCodec | None, pretrained: bool
) -> Detector:
    """Returns any timm backbone with the published neck and heads, under the name ``name``."""
    codec = codec or CenterCodec(classes=len(names))
    backbone = TimmBackbone(backbone_name, strides=(32,), pretrained=pretrained)
    neck = DeconvNeck(backbone.channels[-1], channels=(256, 256, 256))
    heads = MapHeads(256, codec.maps, width=64)
    network = Network(backbone, neck, heads, stride=4)
    return _detector(name, network, codec, names, size=(512, 512))


def _hourglass(
    name: str, stacks: int, names: Sequence[str], codec: CenterCodec | None, pretrained: bool
) -> Detector:
    """Returns the published hourglass with heads behind each stack."""
    if pretrained:
        raise HeatpointError(
            f"{name} has no ImageNet weights; leave pretrained off or choose centernet_resnet101"
        )
    codec = codec or CenterCodec(classes=len(names))
    backbone = DetectionHourglass(stacks)
    heads = StackHeads([MapHeads(256, codec.maps, width=256) for _ in range(stacks)])
    network = Network(backbone, EveryLevel(), heads, stride=4)
    return _detector(name, network, codec, names, size=(512, 512))


def _detector(
    name: str,
    network: Network,
    codec: CenterCodec,
    names: Sequence[str],
    size: tuple[int, int],
) -> Detector:
    meta = {"architecture": name, "size": list(size)}
    return Detector(network, replace(codec, stride=network.stride), tuple(names), meta)
