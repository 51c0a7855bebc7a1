"""Architectures by name: one function each, with literal numbers, in one literal dict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from heatpoint.backbones.plain import PlainResNet
from heatpoint.backbones.resnet_dense import dense_resnet50
from heatpoint.backbones.timm import TimmBackbone
from heatpoint.backbones.weights import load_backbone_weights
from heatpoint.codecs.center import CenterCodec
from heatpoint.detector import Detector
from heatpoint.errors import HeatpointError, suggest
from heatpoint.heads import MapHeads, SharedHeads
from heatpoint.necks import DeconvNeck, TopDownNeck
from heatpoint.network import Network

TIMM_PREFIX = "centernet_timm:"
"""``centernet_timm:convnext_tiny`` is any timm model with the published neck and heads."""


class Model(Protocol):
    """What every function of this module takes and returns; its docstring describes the model."""

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
    return _deconv_detector("centernet_resnet18", "resnet18", names, codec, pretrained)


def centernet_resnet34(
    names: Sequence[str], codec: CenterCodec | None = None, pretrained: bool = False
) -> Detector:
    """ResNet-34 with three transposed convolutions."""
    return _deconv_detector("centernet_resnet34", "resnet34", names, codec, pretrained)


def centernet_resnet50(
    names: Sequence[str], codec: CenterCodec | None = None, pretrained: bool = False
) -> Detector:
    """ResNet-50 with three transposed convolutions."""
    return _deconv_detector("centernet_resnet50", "resnet50", names, codec, pretrained)


def centernet_resnet101(
    names: Sequence[str], codec: CenterCodec | None = None, pretrained: bool = False
) -> Detector:
    """ResNet-101 with three transposed convolutions, as published (Zhou et al. 2019)."""
    return _deconv_detector("centernet_resnet101", "resnet101", names, codec, pretrained)


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


MODELS: dict[str, Model] = {
    "centernet_resnet18": centernet_resnet18,
    "centernet_resnet34": centernet_resnet34,
    "centernet_resnet50": centernet_resnet50,
    "centernet_resnet101": centernet_resnet101,
    "centernet_mobilenetv2": centernet_mobilenetv2,
    "centernet_tiny": centernet_tiny,
    "bubbliiiing_resnet50": bubbliiiing_resnet50,
}


def build(
    name: str,
    names: Sequence[str],
    backbone_weights: str | Path | None = None,
    pretrained: bool = False,
    codec: CenterCodec | None = None,
) -> Detector:
    """Returns an untrained detector.

    Args:
        name: A key of ``MODELS``, or ``centernet_timm:`` and the name of a timm model that has a
            feature map of stride 32, which then gets the published neck and heads.
        names: Class names.
        backbone_weights: File of weights for the backbone; see ``load_backbone_weights``. Its
            name and what it holds beyond the backbone go to ``meta["backbone_weights"]``.
        pretrained: Fetches the backbone's ImageNet weights through timm.
        codec: Representation instead of the model's default.

    Raises:
        HeatpointError: Unknown name, both sources of weights at once, or weights that do not fit.
    """
    if backbone_weights and pretrained:
        raise HeatpointError(
            "backbone_weights and pretrained are both given; leave one of them out"
        )
    if name.startswith(TIMM_PREFIX):
        detector = _deconv_detector(name, name.removeprefix(TIMM_PREFIX), names, codec, pretrained)
    elif name in MODELS:
        detector = MODELS[name](names, codec, pretrained)
    else:
        raise HeatpointError(
            f"there is no model {name!r}{suggest(name, MODELS)} (known: {', '.join(MODELS)}, "
            f"{TIMM_PREFIX}<name of a timm model>)"
        )
    if backbone_weights:
        unused = load_backbone_weights(detector.network, backbone_weights)
        detector.meta["backbone_weights"] = {"file": Path(backbone_weights).name, "unused": unused}
    return detector


def _deconv_detector(
    name: str, backbone_name: str, names: Sequence[str], codec: CenterCodec | None, pretrained: bool
) -> Detector:
    codec = codec or CenterCodec(classes=len(names))
    backbone = TimmBackbone(backbone_name, strides=(32,), pretrained=pretrained)
    neck = DeconvNeck(backbone.channels[-1], channels=(256, 256, 256))
    heads = MapHeads(256, codec.maps, width=64)
    network = Network(backbone, neck, heads, stride=4)
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
