"""The table of models: every one that has a name of its own."""

from __future__ import annotations

from functools import partial

from heatpoint.networks.deformable import DeformConv
from heatpoint.networks.deformable_necks import plain
from heatpoint.zoo.makers import (
    centerface,
    dcn,
    deconv,
    dense,
    dlaup,
    large_hourglass,
    mmpose,
    paired,
    saccade,
    squeeze,
    stacked,
    tiny,
    topdown,
    ttfnet,
)
from heatpoint.zoo.rows import (
    BUBBLIIIING,
    CENTERFACE,
    MMDET,
    RELEASED,
    SACCADE,
    SQUEEZE,
    Model,
    row,
)

_DCN = "with deformable and transposed convolutions in turn"
_DECONV = "with three transposed convolutions"
_DUAN = "as published (Duan et al. 2019)"
_LIU = "with deformable convolutions and shortcuts, as published (Liu et al. 2020)"
_MOBILE = "mobilenetv2_100"
_PAPER = "stacked hourglasses behind the paper's stem"
_PLAIN = "a few plain convolutions"
_ZHOU = "as published (Zhou et al. 2019)"

TABLE: dict[str, Model] = {
    "centernet_resnet18": deconv("resnet18", "centernet", f"ResNet-18 {_DECONV}, {_ZHOU}"),
    "centernet_resnet34": deconv("resnet34", "centernet", f"ResNet-34 {_DECONV}"),
    "centernet_resnet50": deconv("resnet50", "centernet", f"ResNet-50 {_DECONV}"),
    "centernet_resnet101": deconv("resnet101", "centernet", f"ResNet-101 {_DECONV}, {_ZHOU}"),
    "centernet_resdcn18": dcn("resnet18", "centernet", f"ResNet-18 {_DCN}, {_ZHOU}"),
    "centernet_resdcn101": dcn("resnet101", "centernet", f"ResNet-101 {_DCN}, {_ZHOU}"),
    "centernet_dla34": dlaup(
        "dla34", "centernet", f"DLA-34 with a neck of deformable convolutions, {_ZHOU}"
    ),
    "centernet_dla34_plain": dlaup(
        "dla34", "centernet", "DLA-34 with the same neck of plain 3x3 convolutions", plain
    ),
    "centernet_hourglass104": large_hourglass(2, "centernet", f"two large hourglasses, {_ZHOU}"),
    "centernet_hourglass52": large_hourglass(1, "centernet", "one large hourglass"),
    "centernet_mobilenetv2": topdown(
        _MOBILE, "centernet", "MobileNetV2 with a narrow top-down neck and shared heads, for CPUs"
    ),
    "centernet_tiny": tiny(
        "centernet", f"{_PLAIN} that learn simple scenes from scratch within a minute"
    ),
    "bubbliiiing_resnet50": row(
        "ResNet-50 of bubbliiiing's centernet-pytorch, for its converted weights",
        BUBBLIIIING,
        dense,
        (512, 512),
    ),
    "mmdet_resnet18": row(
        "ResNet-18 with plain and transposed convolutions in turn: mmdet's CenterNet",
        MMDET,
        paired("resnet18", plain),
        (512, 512),
    ),
    "mmdet_resdcn18": row(
        f"ResNet-18 {_DCN}: mmdet's CenterNet",
        MMDET,
        paired("resnet18", partial(DeformConv, bias=False)),
        (512, 512),
    ),
    "cornernet_hourglass104": large_hourglass(
        2, "cornernet", "two large hourglasses with corner pooling, as published (Law, Deng 2018)"
    ),
    "cornernet_hourglass52": large_hourglass(
        1, "cornernet", "one large hourglass with corner pooling"
    ),
    "cornernet_squeeze": row(
        "two hourglasses of narrow convolutions at stride 8, as published (Law et al. 2019)",
        SQUEEZE,
        squeeze,
        (511, 511),
        "cornernet_mobilenetv2",
    ),
    "cornernet_saccade": row(
        "three small hourglasses that look again where objects may be (Law et al. 2019)",
        SACCADE,
        saccade,
        (255, 255),
        "cornernet_mobilenetv2",
    ),
    "cornernet_mobilenetv2": topdown(
        _MOBILE, "cornernet", "MobileNetV2 with a narrow top-down neck and corner pooling, for CPUs"
    ),
    "cornernet_tiny": tiny(
        "cornernet", f"{_PLAIN} and corner pooling, for simple scenes and for trials"
    ),
    "centerpose_resnet18": deconv(
        "resnet18", "centerpose", f"ResNet-18 {_DECONV}, for boxes and joints of everyone"
    ),
    "centerpose_resnet50": deconv(
        "resnet50", "centerpose", f"ResNet-50 {_DECONV}, for boxes and joints of everyone"
    ),
    "centerpose_hourglass104": large_hourglass(
        2, "centerpose", f"two large hourglasses for boxes and joints of everyone, {_ZHOU}"
    ),
    "centerpose_dla34": dlaup(
        "dla34", "centerpose", f"DLA-34 for boxes and joints of everyone, {_ZHOU}"
    ),
    "centerpose_dla34_plain": dlaup(
        "dla34", "centerpose", "DLA-34 for the same, with a neck of plain 3x3 convolutions", plain
    ),
    "centerpose_mobilenetv2": topdown(
        _MOBILE,
        "centerpose",
        "MobileNetV2 with a narrow top-down neck, for boxes and joints of everyone, for CPUs",
    ),
    "centerpose_tiny": tiny(
        "centerpose", f"{_PLAIN} for boxes and joints of everyone, for simple scenes and trials"
    ),
    "centerface": row(
        "MobileNetV2 without norms under a neck of 24 channels, for the weights of CenterFace",
        CENTERFACE,
        centerface,
        (640, 640),
        "centerpose_mobilenetv2",
    ),
    "hourglass_1stack": stacked(1, 1, "bearpaw", "one hourglass behind bearpaw's stem"),
    "hourglass_2stack": stacked(2, 1, "bearpaw", "two stacked hourglasses, bearpaw's stem"),
    "hourglass_4stack": stacked(4, 1, "bearpaw", "four stacked hourglasses, bearpaw's stem"),
    "hourglass_8stack": stacked(8, 1, "bearpaw", "eight stacked hourglasses, bearpaw's stem"),
    "princeton_hourglass_2stack": stacked(2, 1, "paper", f"two {_PAPER}"),
    "princeton_hourglass_8stack": stacked(
        8, 1, "paper", f"eight {_PAPER}, as published (Newell et al. 2016)"
    ),
    "mmpose_hourglass52": row(
        "one hourglass of the large kind made for boxes, as mmpose uses it",
        RELEASED["pose"],
        mmpose,
        (256, 256),
        "pose_mobilenetv2",
    ),
    "pose_mobilenetv2": topdown(_MOBILE, "pose", "MobileNetV2 with a slim top-down neck, for CPUs"),
    "pose_tiny": tiny("pose", f"{_PLAIN} that learn drawn figures from scratch within a minute"),
    "pose_resnet50": deconv(
        "resnet50", "pose", f"ResNet-50 {_DECONV}: Simple Baselines (Xiao et al. 2018)"
    ),
    "triplets_hourglass104": large_hourglass(
        2, "triplets", f"two large hourglasses for corners and centres, {_DUAN}"
    ),
    "triplets_hourglass52": large_hourglass(
        1, "triplets", f"one large hourglass for corners and centres, {_DUAN}"
    ),
    "triplets_mobilenetv2": topdown(
        _MOBILE,
        "triplets",
        "MobileNetV2 with a narrow top-down neck, pairs of corners with a centre, for CPUs",
    ),
    "triplets_tiny": tiny(
        "triplets", f"{_PLAIN} and pairs of corners with a centre, for simple scenes and trials"
    ),
    "saccade_mobilenetv2": topdown(
        _MOBILE, "saccade", "MobileNetV2 that looks again where objects may be, for large pictures"
    ),
    "saccade_tiny": tiny("saccade", f"{_PLAIN} that look again, for trials"),
    "ttfnet_resnet18": ttfnet("resnet18", 1, f"ResNet-18 {_LIU}"),
    "ttfnet_resnet34": ttfnet("resnet34", 2, f"ResNet-34 {_LIU}"),
    "ttfnet_darknet53": ttfnet("darknet53", 2, f"Darknet-53 {_LIU}"),
    "ttfnet_mobilenetv2": topdown(
        _MOBILE, "ttfnet", "MobileNetV2 with a narrow top-down neck, sides instead of sizes"
    ),
    "ttfnet_tiny": tiny("ttfnet", f"{_PLAIN} that learn sides instead of sizes"),
}
"""Every model that has a name of its own, by that name."""
