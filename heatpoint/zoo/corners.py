"""Networks that find pairs of corners: one function each, with literal numbers, in one dict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from heatpoint.codecs.corners import CornerCodec
from heatpoint.detector.detector import Detector
from heatpoint.errors import HeatpointError
from heatpoint.networks.backbones.hourglass import DetectionHourglass
from heatpoint.networks.backbones.plain import PlainResNet
from heatpoint.networks.backbones.timm import TimmBackbone
from heatpoint.networks.corner_heads import CornerHeads
from heatpoint.networks.heads import StackHeads
from heatpoint.networks.necks import EveryLevel, TopDownNeck
from heatpoint.networks.network import Network


class CornerModel(Protocol):
    """What every function of ``CORNER_MODELS`` takes and returns; its docstring describes it."""

    def __call__(
        self, names: Sequence[str], codec: CornerCodec | None = None, pretrained: bool = False
    ) -> Detector:
        """Returns an untrained detector of the classes ``names``.

        ``codec`` replaces the default representation; ``pretrained`` fetches the backbone's
        ImageNet weights through timm.
        """


def cornernet_hourglass104(
    names: Sequence[str], codec: CornerCodec | None = None, pretrained: bool = False
) -> Detector:
    """Two large hourglasses with corner pooling, as published (Law and Deng 2018)."""
    return _hourglass("cornernet_hourglass104", 2, names, codec, pretrained)


def cornernet_hourglass52(
    names: Sequence[str], codec: CornerCodec | None = None, pretrained: bool = False
) -> Detector:
    """One large hourglass with corner pooling."""
    return _hourglass("cornernet_hourglass52", 1, names, codec, pretrained)


def cornernet_mobilenetv2(
    names: Sequence[str], codec: CornerCodec | None = None, pretrained: bool = False
) -> Detector:
    """MobileNetV2 with a narrow top-down neck and corner pooling, for CPUs."""
    codec = codec or quick_codec(len(names))
    backbone = TimmBackbone("mobilenetv2_100", strides=(4, 8, 16, 32), pretrained=pretrained)
    neck = TopDownNeck(backbone.channels, widths=(48, 64, 96, 128))
    heads = CornerHeads(48, codec.maps, pooled=32, width=None)
    network = Network(backbone, neck, heads, stride=4)
    return _detector("cornernet_mobilenetv2", network, codec, names, size=(384, 384))


def cornernet_tiny(
    names: Sequence[str], codec: CornerCodec | None = None, pretrained: bool = False
) -> Detector:
    """A few plain convolutions and corner pooling, for simple scenes and for trials."""
    if pretrained:
        raise HeatpointError(
            "cornernet_tiny has no ImageNet weights; leave pretrained off or choose "
            "cornernet_mobilenetv2"
        )
    codec = codec or quick_codec(len(names))
    backbone = PlainResNet(stem=16, channels=(32, 64, 96, 128))
    neck = TopDownNeck(backbone.channels, widths=(32, 48, 64, 96))
    heads = CornerHeads(32, codec.maps, pooled=16, width=None)
    network = Network(backbone, neck, heads, stride=4)
    return _detector("cornernet_tiny", network, codec, names, size=(192, 192))


def quick_codec(classes: int) -> CornerCodec:
    """Returns the representation of small networks.

    Pull and push do not depend on the size of the batch, and weigh as much as they do in the
    published training with 5 images per device.
    """
    return CornerCodec(classes, images="mean", pull_weight=0.5, push_weight=0.5)


CORNER_MODELS: dict[str, CornerModel] = {
    "cornernet_hourglass104": cornernet_hourglass104,
    "cornernet_hourglass52": cornernet_hourglass52,
    "cornernet_mobilenetv2": cornernet_mobilenetv2,
    "cornernet_tiny": cornernet_tiny,
}


def _hourglass(
    name: str, stacks: int, names: Sequence[str], codec: CornerCodec | None, pretrained: bool
) -> Detector:
    """Returns the published hourglass with heads behind each stack."""
    if pretrained:
        raise HeatpointError(
            f"{name} has no ImageNet weights, as published; leave pretrained off or choose "
            "cornernet_mobilenetv2"
        )
    codec = codec or CornerCodec(len(names))
    backbone = DetectionHourglass(stacks, trim=1)
    heads = StackHeads([CornerHeads(256, codec.maps, pooled=128, width=256) for _ in range(stacks)])
    network = Network(backbone, EveryLevel(), heads, stride=4)
    return _detector(name, network, codec, names, size=(511, 511))


def _detector(
    name: str,
    network: Network,
    codec: CornerCodec,
    names: Sequence[str],
    size: tuple[int, int],
) -> Detector:
    meta = {"architecture": name, "size": list(size)}
    codec = replace(codec, stride=network.stride, trim=network.trim)
    return Detector(network, codec, tuple(names), meta)
