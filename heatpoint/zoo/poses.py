"""Networks that find joints: one function each, with literal numbers, in one literal dict."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Protocol

from heatpoint.codecs.joints import JointCodec
from heatpoint.data.skeleton import Skeleton
from heatpoint.detector.detector import Detector
from heatpoint.errors import HeatpointError
from heatpoint.networks.backbones.hourglass import DetectionHourglass
from heatpoint.networks.backbones.plain import PlainResNet
from heatpoint.networks.backbones.stacked_hourglass import HourglassStacks, HourglassStem, StemKind
from heatpoint.networks.backbones.timm import TimmBackbone
from heatpoint.networks.heads import BareHeads, SharedHeads
from heatpoint.networks.necks import DeconvNeck, OneLevel, TopDownNeck
from heatpoint.networks.network import Network

POSE_TIMM_PREFIX = "pose_timm:"
"""``pose_timm:convnext_tiny`` is any timm model with the neck of "Simple Baselines"."""

HOURGLASS = re.compile(r"(princeton_)?hourglass:(\d+)x(\d+)")
"""``hourglass:3x2`` has 3 stacks and 2 residuals at each place, which no name below says."""

BEARPAW_MEAN = (255 * 0.4404, 255 * 0.4440, 255 * 0.4327)
"""What bearpaw subtracts from MPII's R, G and B; its standard deviation is never applied."""

PADDING = 1.25
"""Side of a crop over that of its box, as published for MPII and COCO."""


class PoseModel(Protocol):
    """What every function of ``POSE_MODELS`` takes and returns; its docstring describes it."""

    def __call__(
        self,
        name: str,
        skeleton: Skeleton,
        codec: JointCodec | None = None,
        pretrained: bool = False,
    ) -> Detector:
        """Returns an untrained detector of the joints of a ``name``.

        ``codec`` replaces the default representation; ``pretrained`` fetches the backbone's
        ImageNet weights through timm.
        """


def hourglass_1stack(
    name: str, skeleton: Skeleton, codec: JointCodec | None = None, pretrained: bool = False
) -> Detector:
    """One hourglass behind bearpaw's stem."""
    return stacked("hourglass_1stack", 1, 1, "bearpaw", name, skeleton, codec, pretrained)


def hourglass_2stack(
    name: str, skeleton: Skeleton, codec: JointCodec | None = None, pretrained: bool = False
) -> Detector:
    """Two stacked hourglasses behind bearpaw's stem."""
    return stacked("hourglass_2stack", 2, 1, "bearpaw", name, skeleton, codec, pretrained)


def hourglass_4stack(
    name: str, skeleton: Skeleton, codec: JointCodec | None = None, pretrained: bool = False
) -> Detector:
    """Four stacked hourglasses behind bearpaw's stem."""
    return stacked("hourglass_4stack", 4, 1, "bearpaw", name, skeleton, codec, pretrained)


def hourglass_8stack(
    name: str, skeleton: Skeleton, codec: JointCodec | None = None, pretrained: bool = False
) -> Detector:
    """Eight stacked hourglasses behind bearpaw's stem."""
    return stacked("hourglass_8stack", 8, 1, "bearpaw", name, skeleton, codec, pretrained)


def princeton_hourglass_2stack(
    name: str, skeleton: Skeleton, codec: JointCodec | None = None, pretrained: bool = False
) -> Detector:
    """Two stacked hourglasses behind the paper's stem."""
    return stacked("princeton_hourglass_2stack", 2, 1, "paper", name, skeleton, codec, pretrained)


def princeton_hourglass_8stack(
    name: str, skeleton: Skeleton, codec: JointCodec | None = None, pretrained: bool = False
) -> Detector:
    """Eight stacked hourglasses behind the paper's stem, as published (Newell et al. 2016)."""
    return stacked("princeton_hourglass_8stack", 8, 1, "paper", name, skeleton, codec, pretrained)


def mmpose_hourglass52(
    name: str, skeleton: Skeleton, codec: JointCodec | None = None, pretrained: bool = False
) -> Detector:
    """One hourglass of the large kind made for boxes, as mmpose uses it."""
    _no_weights("mmpose_hourglass52", pretrained)
    codec = codec or JointCodec(len(skeleton.joints), skeleton.flip, sigma=2.0)
    backbone = DetectionHourglass(stacks=1)
    network = Network(backbone, OneLevel(), BareHeads(256, codec.maps), stride=4)
    return _detector("mmpose_hourglass52", network, codec, name, skeleton, size=(256, 256))


def pose_mobilenetv2(
    name: str, skeleton: Skeleton, codec: JointCodec | None = None, pretrained: bool = False
) -> Detector:
    """MobileNetV2 with a slim top-down neck, for CPUs."""
    codec = codec or JointCodec(len(skeleton.joints), skeleton.flip, sigma=1.5)
    backbone = TimmBackbone("mobilenetv2_100", strides=(4, 8, 16, 32), pretrained=pretrained)
    neck = TopDownNeck(backbone.channels, widths=(32, 48, 64, 96))
    heads = SharedHeads(32, codec.maps, width=48)
    network = Network(backbone, neck, heads, stride=4)
    return _detector("pose_mobilenetv2", network, codec, name, skeleton, size=(192, 192))


def pose_tiny(
    name: str, skeleton: Skeleton, codec: JointCodec | None = None, pretrained: bool = False
) -> Detector:
    """A few plain convolutions that learn drawn figures from scratch within a minute."""
    _no_weights("pose_tiny", pretrained)
    codec = codec or JointCodec(len(skeleton.joints), skeleton.flip, sigma=1.5)
    backbone = PlainResNet(stem=16, channels=(32, 64, 96, 128))
    neck = TopDownNeck(backbone.channels, widths=(32, 48, 64, 96))
    heads = SharedHeads(32, codec.maps, width=48)
    network = Network(backbone, neck, heads, stride=4)
    return _detector("pose_tiny", network, codec, name, skeleton, size=(128, 128))


def pose_resnet50(
    name: str, skeleton: Skeleton, codec: JointCodec | None = None, pretrained: bool = False
) -> Detector:
    """ResNet-50 with three transposed convolutions: "Simple Baselines" (Xiao et al. 2018)."""
    return simple_baseline("pose_resnet50", "resnet50", name, skeleton, codec, pretrained)


POSE_MODELS: dict[str, PoseModel] = {
    "hourglass_1stack": hourglass_1stack,
    "hourglass_2stack": hourglass_2stack,
    "hourglass_4stack": hourglass_4stack,
    "hourglass_8stack": hourglass_8stack,
    "princeton_hourglass_2stack": princeton_hourglass_2stack,
    "princeton_hourglass_8stack": princeton_hourglass_8stack,
    "mmpose_hourglass52": mmpose_hourglass52,
    "pose_mobilenetv2": pose_mobilenetv2,
    "pose_tiny": pose_tiny,
    "pose_resnet50": pose_resnet50,
}


def stacked(
    architecture: str,
    stacks: int,
    blocks: int,
    stem: StemKind,
    name: str,
    skeleton: Skeleton,
    codec: JointCodec | None,
    pretrained: bool,
) -> Detector:
    """Returns stacked hourglasses of order 4 and 256 channels, the published sizes."""
    _no_weights(architecture, pretrained)
    if stacks < 1 or blocks < 1:
        raise HeatpointError(f"{architecture} needs at least one stack and one residual per place")
    codec = codec or JointCodec(len(skeleton.joints), skeleton.flip)
    (spec,) = codec.maps
    backbone = HourglassStem(stem, multiple=4 << 4)
    if stem == "bearpaw":
        backbone.mean = BEARPAW_MEAN
    heads = HourglassStacks(256, spec, stacks, order=4, blocks=blocks)
    network = Network(backbone, OneLevel(), heads, stride=4)
    return _detector(architecture, network, codec, name, skeleton, size=(256, 256))


def simple_baseline(
    architecture: str,
    backbone_name: str,
    name: str,
    skeleton: Skeleton,
    codec: JointCodec | None,
    pretrained: bool,
) -> Detector:
    """Returns any timm backbone with transposed convolutions and a bare last convolution."""
    codec = codec or JointCodec(len(skeleton.joints), skeleton.flip, sigma=2.0)
    backbone = TimmBackbone(backbone_name, strides=(32,), pretrained=pretrained)
    neck = DeconvNeck(backbone.channels[-1], channels=(256, 256, 256))
    network = Network(backbone, neck, BareHeads(256, codec.maps), stride=4)
    return _detector(architecture, network, codec, name, skeleton, size=(256, 192))


def _no_weights(architecture: str, pretrained: bool) -> None:
    if pretrained:
        raise HeatpointError(
            f"{architecture} has no ImageNet weights; leave pretrained off or choose "
            "pose_mobilenetv2"
        )


def _detector(
    architecture: str,
    network: Network,
    codec: JointCodec,
    name: str,
    skeleton: Skeleton,
    size: tuple[int, int],
) -> Detector:
    meta = {"architecture": architecture, "size": list(size), "padding": PADDING}
    codec = replace(codec, stride=network.stride)
    return Detector(network, codec, (name,), meta, skeleton)
