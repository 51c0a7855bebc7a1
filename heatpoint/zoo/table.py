"""The table of models: every one that has a name of its own.

A summary says in at most 44 letters what the network is; what else there is to say follows a
semicolon.
"""

from __future__ import annotations

from functools import partial

from heatpoint.networks.deformable import DeformConv, plain
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

_DCN = "with deformable convolutions; transposed ones between them"
_DECONV = "with transposed convolutions; three of them"
_DUAN = "as published (Duan et al. 2019)"
_LIU = "with deformable convolutions; with shortcuts, as published (Liu et al. 2020)"
_MOBILE = "mobilenetv2_100"
_NARROW = "MobileNetV2 with a narrow neck, for CPUs"
_PLAIN = "a few plain convolutions"
_SIMPLE = f"{_PLAIN}, for simple scenes"
_ZHOU = "as published (Zhou et al. 2019)"

TABLE: dict[str, Model] = {
    "centernet_resnet18": deconv("resnet18", "centernet", f"ResNet-18 {_DECONV}, {_ZHOU}"),
    "centernet_resnet34": deconv("resnet34", "centernet", f"ResNet-34 {_DECONV}"),
    "centernet_resnet50": deconv("resnet50", "centernet", f"ResNet-50 {_DECONV}"),
    "centernet_resnet101": deconv("resnet101", "centernet", f"ResNet-101 {_DECONV}, {_ZHOU}"),
    "centernet_resdcn18": dcn("resnet18", "centernet", f"ResNet-18 {_DCN}, {_ZHOU}"),
    "centernet_resdcn101": dcn("resnet101", "centernet", f"ResNet-101 {_DCN}, {_ZHOU}"),
    "centernet_dla34": dlaup("dla34", "centernet", f"DLA-34 with a deformable neck; {_ZHOU}"),
    "centernet_dla34_plain": dlaup(
        "dla34", "centernet", "DLA-34 with a plain neck; of 3x3 convolutions", plain
    ),
    "centernet_hourglass104": large_hourglass(2, "centernet", f"two large hourglasses; {_ZHOU}"),
    "centernet_hourglass52": large_hourglass(1, "centernet", "one large hourglass"),
    "centernet_mobilenetv2": topdown(
        _MOBILE, "centernet", f"{_NARROW}; top-down, with shared heads"
    ),
    "centernet_tiny": tiny("centernet", f"{_SIMPLE}; learn them from scratch within a minute"),
    "bubbliiiing_resnet50": row(
        "ResNet-50 of bubbliiiing's centernet-pytorch; for its converted weights",
        BUBBLIIIING,
        dense,
        (512, 512),
    ),
    "mmdet_resnet18": row(
        "ResNet-18 of mmdet's CenterNet; plain and transposed convolutions in turn",
        MMDET,
        paired("resnet18", plain),
        (512, 512),
    ),
    "mmdet_resdcn18": row(
        "deformable ResNet-18 of mmdet's CenterNet; with transposed convolutions in turn",
        MMDET,
        paired("resnet18", partial(DeformConv, bias=False)),
        (512, 512),
    ),
    "cornernet_hourglass104": large_hourglass(
        2, "cornernet", "two large hourglasses with corner pooling; as published (Law, Deng 2018)"
    ),
    "cornernet_hourglass52": large_hourglass(
        1, "cornernet", "one large hourglass with corner pooling"
    ),
    "cornernet_squeeze": row(
        "two hourglasses of narrow convolutions; at stride 8, as published (Law et al. 2019)",
        SQUEEZE,
        squeeze,
        (511, 511),
        "cornernet_mobilenetv2",
    ),
    "cornernet_saccade": row(
        "three small hourglasses that look again; where objects may be (Law et al. 2019)",
        SACCADE,
        saccade,
        (255, 255),
        "cornernet_mobilenetv2",
    ),
    "cornernet_mobilenetv2": topdown(
        _MOBILE, "cornernet", "MobileNetV2 with corner pooling, for CPUs; under a narrow neck"
    ),
    "cornernet_tiny": tiny(
        "cornernet", f"{_PLAIN} and corner pooling; for simple scenes and for trials"
    ),
    "centerpose_resnet18": deconv("resnet18", "centerpose", f"ResNet-18 {_DECONV}"),
    "centerpose_resnet50": deconv("resnet50", "centerpose", f"ResNet-50 {_DECONV}"),
    "centerpose_hourglass104": large_hourglass(2, "centerpose", f"two large hourglasses; {_ZHOU}"),
    "centerpose_dla34": dlaup("dla34", "centerpose", f"DLA-34 with a deformable neck; {_ZHOU}"),
    "centerpose_dla34_plain": dlaup(
        "dla34", "centerpose", "DLA-34 with a plain neck; of 3x3 convolutions", plain
    ),
    "centerpose_mobilenetv2": topdown(_MOBILE, "centerpose", _NARROW),
    "centerpose_tiny": tiny("centerpose", f"{_SIMPLE}; and for trials"),
    "centerface": row(
        "MobileNetV2 of CenterFace, for its weights; without norms, under a neck of 24 channels",
        CENTERFACE,
        centerface,
        (640, 640),
        "centerpose_mobilenetv2",
    ),
    "points_resnet18": deconv("resnet18", "points", f"ResNet-18 {_DECONV}"),
    "points_dla34": dlaup("dla34", "points", "DLA-34 with a deformable neck"),
    "points_dla34_plain": dlaup(
        "dla34", "points", "DLA-34 with a plain neck; of 3x3 convolutions", plain
    ),
    "points_mobilenetv2": topdown(_MOBILE, "points", _NARROW),
    "points_mobilenetv2_fine": topdown(
        _MOBILE, "points", f"{_NARROW}; at stride 2, for points a few pixels apart", 2
    ),
    "points_tiny": tiny("points", f"{_SIMPLE}; learn them from scratch within a minute"),
    "points_tiny_fine": tiny("points", f"{_SIMPLE}; at stride 2, for points a few pixels apart", 2),
    "quads_resnet18": deconv("resnet18", "quads", f"ResNet-18 {_DECONV}"),
    "quads_dla34": dlaup("dla34", "quads", "DLA-34 with a deformable neck"),
    "quads_dla34_plain": dlaup(
        "dla34", "quads", "DLA-34 with a plain neck; of 3x3 convolutions", plain
    ),
    "quads_mobilenetv2": topdown(_MOBILE, "quads", _NARROW),
    "quads_tiny": tiny("quads", f"{_SIMPLE}; learn them from scratch within minutes"),
    "hourglass_1stack": stacked(1, 1, "bearpaw", "one hourglass behind bearpaw's stem"),
    "hourglass_2stack": stacked(2, 1, "bearpaw", "two stacked hourglasses, bearpaw's stem"),
    "hourglass_4stack": stacked(4, 1, "bearpaw", "four stacked hourglasses, bearpaw's stem"),
    "hourglass_8stack": stacked(8, 1, "bearpaw", "eight stacked hourglasses, bearpaw's stem"),
    "princeton_hourglass_2stack": stacked(
        2, 1, "paper", "two stacked hourglasses, the paper's stem"
    ),
    "princeton_hourglass_8stack": stacked(
        8,
        1,
        "paper",
        "eight stacked hourglasses, the paper's stem; as published (Newell et al. 2016)",
    ),
    "mmpose_hourglass52": row(
        "one large hourglass, as mmpose uses it; of the kind made for boxes",
        RELEASED["pose"],
        mmpose,
        (256, 256),
        "pose_mobilenetv2",
    ),
    "pose_mobilenetv2": topdown(_MOBILE, "pose", _NARROW),
    "pose_tiny": tiny(
        "pose", f"{_PLAIN}, for drawn figures; learn them from scratch within a minute"
    ),
    "pose_resnet50": deconv(
        "resnet50", "pose", f"ResNet-50 {_DECONV}, Simple Baselines (Xiao et al. 2018)"
    ),
    "triplets_hourglass104": large_hourglass(
        2, "triplets", f"two large hourglasses, corners and centres; {_DUAN}"
    ),
    "triplets_hourglass52": large_hourglass(
        1, "triplets", f"one large hourglass, corners and centres; {_DUAN}"
    ),
    "triplets_mobilenetv2": topdown(
        _MOBILE, "triplets", "MobileNetV2, corners and centres, for CPUs; under a narrow neck"
    ),
    "triplets_tiny": tiny(
        "triplets", "plain convolutions, corners and centres; a few, for simple scenes and trials"
    ),
    "saccade_mobilenetv2": topdown(
        _MOBILE,
        "saccade",
        "MobileNetV2 that looks again, for CPUs; where objects may be, for large pictures",
    ),
    "saccade_tiny": tiny("saccade", f"{_PLAIN} that look again; for trials"),
    "ttfnet_resnet18": ttfnet("resnet18", 1, f"ResNet-18 {_LIU}"),
    "ttfnet_resnet34": ttfnet("resnet34", 2, f"ResNet-34 {_LIU}"),
    "ttfnet_darknet53": ttfnet("darknet53", 2, f"Darknet-53 {_LIU}"),
    "ttfnet_mobilenetv2": topdown(_MOBILE, "ttfnet", f"{_NARROW}; sides instead of sizes"),
    "ttfnet_tiny": tiny("ttfnet", f"{_SIMPLE}; sides instead of sizes"),
}
"""Every model that has a name of its own, by that name."""
