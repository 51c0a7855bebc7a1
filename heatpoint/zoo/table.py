"""Codecs of joints as they were published: the targets, loss and decoding of each program.

They serve converted checkpoints, whose numbers mean something under their own rules only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from heatpoint import plugins
from heatpoint.codecs import Codec
from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.joints import JointCodec
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError, suggest
from heatpoint.networks import Network
from heatpoint.networks.features import DeconvNeck, OneLevel, dense_resnet50
from heatpoint.networks.heads import BareHeads, MapHeads
from heatpoint.networks.hourglasses import DetectionHourglass
from heatpoint.zoo.families import (
    FAMILIES,
    Model,
    deconv,
    family,
    joints,
    large_hourglass,
    stacked,
    tiny,
    topdown,
)


def bearpaw_codec(skeleton: Skeleton) -> JointCodec:
    """Returns bearpaw's targets, loss and decoding."""
    return JointCodec(
        len(skeleton.joints),
        skeleton.flip,
        target="rounded",
        border="window",
        train_hidden=False,
        normaliser="bearpaw",
        refine="quarter",
    )


def princeton_codec(skeleton: Skeleton) -> JointCodec:
    """Returns princeton's targets, loss and decoding."""
    return JointCodec(
        len(skeleton.joints),
        skeleton.flip,
        target="princeton",
        border="window",
        normaliser="princeton",
        refine="quarter-princeton",
        flip_merge="clipped",
    )


def mmpose_codec(skeleton: Skeleton) -> JointCodec:
    """Returns mmpose's targets, for crops of 256x256 pixels, its loss and its decoding."""
    return JointCodec(
        len(skeleton.joints),
        skeleton.flip,
        sigma=2.0,
        target="rounded",
        align="index",
        border="window",
        normaliser="mmpose",
        refine="quarter-mmpose",
        flip_merge="shifted",
    )


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


Builder = Model | Callable[..., Any]
"""A row, or a function ``(names, codec=None, pretrained=False)`` of a plugin that returns a
``Detector``."""


def models() -> dict[str, Builder]:
    """Returns every model that has a name of its own, those of loaded plugins included."""
    return {**TABLE, **plugins.models()}


def find(name: str) -> Builder:
    """Returns what builds the model of a name: a row of the table, of a plugin, or of a family.

    Raises:
        HeatpointError: There is no such model; names the nearest one.
    """
    known = models()
    found = known.get(name) or family(name)
    if found is None:
        raise HeatpointError(
            f"there is no model {name!r}{suggest(name, known)} (known: "
            f"{', '.join([*known, *FAMILIES])})"
        )
    return found


def kind(name: str) -> type[Codec]:
    """Returns the kind of codec that a model is made for: what it learns, and from which view.

    A builder of a plugin that does not say learns boxes in whole pictures, as ``Codec`` has it.

    Raises:
        HeatpointError: There is no such model.
    """
    found = find(name)
    return found.kind if isinstance(found, Model) else Codec


def learns_joints(name: str) -> bool:
    """Tells whether a model learns joints, so that it is built for a skeleton.

    Raises:
        HeatpointError: There is no such model.
    """
    return "keypoints" in kind(name).learns
