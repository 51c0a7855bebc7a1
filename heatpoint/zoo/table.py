"""The table of models: variants that differ in a string or a number are rows."""

from __future__ import annotations

from collections.abc import Sequence

from heatpoint.codecs.base import Codec
from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.joints import JointCodec
from heatpoint.data.skeleton import Skeleton
from heatpoint.networks.detection_hourglass import DetectionHourglass
from heatpoint.networks.heads import BareHeads, MapHeads
from heatpoint.networks.necks import DeconvNeck, OneLevel
from heatpoint.networks.network import Network
from heatpoint.networks.resnet_dense import dense_resnet50
from heatpoint.zoo.families import deconv, joints, large_hourglass, stacked, tiny, topdown
from heatpoint.zoo.model import Model


def _dense_centers(names: Sequence[str], skeleton: Skeleton | None) -> Codec:
    return CenterCodec(len(names), normaliser="objects", collisions="last", one_class_per_cell=True)


def _dense(codec: Codec, pretrained: bool) -> Network:
    neck = DeconvNeck(2048, channels=(256, 128, 64))
    heads = MapHeads(64, codec.maps, width=64, norm=True)
    return Network(dense_resnet50(pretrained), neck, heads, stride=4)


def _mmpose(codec: Codec, pretrained: bool) -> Network:
    trunk = DetectionHourglass(stacks=1)
    return Network(trunk, OneLevel(), BareHeads(256, codec.maps), stride=4)


TABLE: dict[str, Model] = {
    "centernet_resnet18": deconv(
        "resnet18",
        "centernet",
        "ResNet-18 with three transposed convolutions, as published (Zhou et al. 2019)",
    ),
    "centernet_resnet34": deconv(
        "resnet34", "centernet", "ResNet-34 with three transposed convolutions"
    ),
    "centernet_resnet50": deconv(
        "resnet50", "centernet", "ResNet-50 with three transposed convolutions"
    ),
    "centernet_resnet101": deconv(
        "resnet101",
        "centernet",
        "ResNet-101 with three transposed convolutions, as published (Zhou et al. 2019)",
    ),
    "centernet_hourglass104": large_hourglass(
        2, "centernet", "two large hourglasses, as published (Zhou et al. 2019)"
    ),
    "centernet_hourglass52": large_hourglass(1, "centernet", "one large hourglass"),
    "centernet_mobilenetv2": topdown(
        "mobilenetv2_100",
        "centernet",
        "MobileNetV2 with a narrow top-down neck and shared heads, for CPUs",
    ),
    "centernet_tiny": tiny(
        "centernet",
        (192, 192),
        "a few plain convolutions that learn simple scenes from scratch within a minute",
        "centernet_mobilenetv2",
    ),
    "bubbliiiing_resnet50": Model(
        "ResNet-50 of bubbliiiing's centernet-pytorch, for its converted weights",
        CenterCodec,
        _dense_centers,
        _dense,
        (512, 512),
    ),
    "cornernet_hourglass104": large_hourglass(
        2, "cornernet", "two large hourglasses with corner pooling, as published (Law, Deng 2018)"
    ),
    "cornernet_hourglass52": large_hourglass(
        1, "cornernet", "one large hourglass with corner pooling"
    ),
    "cornernet_mobilenetv2": topdown(
        "mobilenetv2_100",
        "cornernet",
        "MobileNetV2 with a narrow top-down neck and corner pooling, for CPUs",
    ),
    "cornernet_tiny": tiny(
        "cornernet",
        (192, 192),
        "a few plain convolutions and corner pooling, for simple scenes and for trials",
        "cornernet_mobilenetv2",
    ),
    "hourglass_1stack": stacked(1, 1, "bearpaw", "one hourglass behind bearpaw's stem"),
    "hourglass_2stack": stacked(2, 1, "bearpaw", "two stacked hourglasses, bearpaw's stem"),
    "hourglass_4stack": stacked(4, 1, "bearpaw", "four stacked hourglasses, bearpaw's stem"),
    "hourglass_8stack": stacked(8, 1, "bearpaw", "eight stacked hourglasses, bearpaw's stem"),
    "princeton_hourglass_2stack": stacked(
        2, 1, "paper", "two stacked hourglasses behind the paper's stem"
    ),
    "princeton_hourglass_8stack": stacked(
        8,
        1,
        "paper",
        "eight stacked hourglasses behind the paper's stem, as published (Newell et al. 2016)",
    ),
    "mmpose_hourglass52": Model(
        "one hourglass of the large kind made for boxes, as mmpose uses it",
        JointCodec,
        joints(sigma=2.0),
        _mmpose,
        (256, 256),
        imagenet=False,
        instead="pose_mobilenetv2",
    ),
    "pose_mobilenetv2": topdown(
        "mobilenetv2_100", "pose", "MobileNetV2 with a slim top-down neck, for CPUs"
    ),
    "pose_tiny": tiny(
        "pose",
        (128, 128),
        "a few plain convolutions that learn drawn figures from scratch within a minute",
        "pose_mobilenetv2",
    ),
    "pose_resnet50": deconv(
        "resnet50",
        "pose",
        "ResNet-50 with three transposed convolutions: Simple Baselines (Xiao et al. 2018)",
    ),
}
"""Every model that has a name of its own, by that name."""
