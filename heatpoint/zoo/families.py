"""Every model by name: the table of rows, what makes them, and the rule for any timm backbone.

Codecs that are named after a publisher have his targets, loss and decoding. They serve converted
checkpoints, whose numbers mean something under their own rules only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from heatpoint import plugins
from heatpoint.codecs import Codec
from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.joints import JointCodec
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError, suggest
from heatpoint.networks import Network
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
from heatpoint.weights import PIXELS

Make = Callable[[Codec, bool], Network]
"""Builds the network for a codec; the flag asks for the backbone's ImageNet weights."""


@dataclass(frozen=True)
class Model:
    """What a name of the zoo stands for.

    Attributes:
        summary: What it is, in one line.
        kind: The codec that it is made for; the detector's is of this kind.
        usual: Returns the usual codec for class names and a skeleton.
        network: Builds the network for a codec; the second argument says whether the backbone's
            ImageNet weights are fetched through timm.
        size: (H, W) of the usual input in pixels.
        imagenet: Whether there are ImageNet weights.
        instead: What to choose for ImageNet weights where there are none.
    """

    summary: str
    kind: type[Codec]
    usual: Callable[[Sequence[str], Skeleton | None], Codec]
    network: Make
    size: tuple[int, int]
    imagenet: bool = True
    instead: str = "centernet_mobilenetv2"


FAMILIES = (
    "centernet_deconv:<name of a timm model>",
    "centernet_topdown:...",
    "cornernet_deconv:...",
    "cornernet_topdown:...",
    "pose_deconv:...",
    "pose_topdown:...",
    "hourglass:<stacks>x<residuals>",
    "princeton_hourglass:<stacks>x<residuals>",
)

_RULE = re.compile(r"(centernet|cornernet|pose)_(deconv|topdown|timm):(.+)")
_STACKS = re.compile(r"(princeton_)?hourglass:(\d{1,2})x(\d{1,2})")


def fitted(codec: Codec, names: Sequence[str], skeleton: Skeleton | None) -> Codec:
    """Returns a codec for the classes and joints of the data; every other field stays."""
    return codec.fitted(len(names), skeleton.flip if skeleton else None)


def row(
    summary: str, codec: Codec, network: Make, size: tuple[int, int], instead: str = ""
) -> Model:
    """Returns a model whose usual codec is ``codec``, of the data's classes and joints.

    Args:
        summary: What it is, in one line.
        codec: For one class or joint.
        network: As in ``Model``.
        size: (H, W) of the usual input in pixels.
        instead: What to choose for ImageNet weights; "" where the model has some itself.
    """
    usual = partial(fitted, codec)
    return Model(summary, type(codec), usual, network, size, not instead, instead)


RELEASED: dict[str, Codec] = {
    "centernet": CenterCodec(1),
    "cornernet": CornerCodec(1),
    "pose": JointCodec(1, sigma=2.0),
}
"""The released representations, by kind."""

QUICK: dict[str, Codec] = {
    "centernet": CenterCodec(1, size_region=0.6, giou_weight=2.0),
    "cornernet": CornerCodec(1, images="mean", pull_weight=0.5, push_weight=0.5),
    "pose": JointCodec(1, sigma=1.5),
}
"""The representations of small networks, made for little data and little time, by kind.

Maps and decoding are those of the published systems. Sizes are learnt around the centres too, and
by the boxes' overlap. Pull and push do not depend on the size of the batch, and weigh as much as
they do in the published training with 5 images per device.
"""


def family(name: str) -> Model | None:
    """Returns the model of a name that follows the rule, or None.

    Files of the first edition say ``centernet_timm`` and ``pose_timm`` for the deconvolutions.
    """
    stacks = _STACKS.fullmatch(name)
    if stacks:
        return stacked(int(stacks[2]), int(stacks[3]), "paper" if stacks[1] else "bearpaw")
    rule = _RULE.fullmatch(name)
    if rule is None:
        return None
    kind, neck, backbone = rule.groups()
    make = topdown if neck == "topdown" else deconv
    return make(backbone, kind, f"{backbone} of timm under a {neck} neck")


def deconv(backbone: str, kind: str, summary: str) -> Model:
    """Returns any timm backbone with the published neck of three transposed convolutions."""

    def network(codec: Codec, pretrained: bool) -> Network:
        trunk = TimmBackbone(backbone, strides=(32,), pretrained=pretrained)
        neck = DeconvNeck(trunk.channels[-1], channels=(256, 256, 256))
        return Network(trunk, neck, _published(codec, width=64, pooled=64), stride=4)

    size = (256, 192) if RELEASED[kind].view.asks else (512, 512)
    return row(summary, RELEASED[kind], network, size)


def topdown(backbone: str, kind: str, summary: str) -> Model:
    """Returns any timm backbone with a narrow top-down neck and shared heads, for CPUs."""
    crops = QUICK[kind].view.asks

    def network(codec: Codec, pretrained: bool) -> Network:
        trunk = TimmBackbone(backbone, strides=(4, 8, 16, 32), pretrained=pretrained)
        widths = (32, 48, 64, 96) if crops else (48, 64, 96, 128)
        neck = TopDownNeck(trunk.channels, widths)
        return Network(trunk, neck, _shared(codec, widths[0], 48 if crops else 64, 32), stride=4)

    return row(summary, QUICK[kind], network, (192, 192) if crops else (384, 384))


def tiny(kind: str, summary: str) -> Model:
    """Returns a few plain convolutions under a top-down neck: quick to train from nothing."""
    size = (128, 128) if QUICK[kind].view.asks else (192, 192)
    return row(summary, QUICK[kind], tiny_network, size, f"{kind}_mobilenetv2")


def tiny_network(codec: Codec, pretrained: bool = False) -> Network:
    """Returns the smallest network, of stride 4, with the maps of any codec."""
    trunk = PlainResNet(stem=16, channels=(32, 64, 96, 128))
    neck = TopDownNeck(trunk.channels, widths=(32, 48, 64, 96))
    return Network(trunk, neck, _shared(codec, 32, 48, 16), stride=4)


def large_hourglass(stacks: int, kind: str, summary: str) -> Model:
    """Returns the published detection hourglasses with heads behind each stack."""
    corner = kind == "cornernet"
    side, trim = (511, 1) if corner else (512, 0)
    instead = "cornernet_mobilenetv2" if corner else "centernet_resnet101"

    def network(codec: Codec, pretrained: bool) -> Network:
        trunk = DetectionHourglass(stacks, trim=trim)
        heads = StackHeads([_published(codec, width=256, pooled=128) for _ in range(stacks)])
        return Network(trunk, EveryLevel(), heads, stride=4)

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


def _published(codec: Codec, width: int, pooled: int) -> Heads:
    """Returns published heads on 256 channels: corners pool, and joints have nothing hidden."""
    if isinstance(codec, CornerCodec):
        return CornerHeads(256, codec.maps, pooled=pooled, width=width)
    if isinstance(codec, JointCodec):
        return BareHeads(256, codec.maps)
    return MapHeads(256, codec.maps, width=width)


def _shared(codec: Codec, channels: int, width: int, pooled: int) -> Heads:
    """Returns the slim heads of small networks, with pooled branches where the maps name some."""
    if any(spec.branch for spec in codec.maps):
        return CornerHeads(channels, codec.maps, pooled=pooled, width=None)
    return SharedHeads(channels, codec.maps, width=width)


BEARPAW = JointCodec(
    1, target="rounded", border="window", train_hidden=False, normaliser="bearpaw", refine="quarter"
)
"""bearpaw's targets, loss and decoding."""

PRINCETON = JointCodec(
    1,
    target="princeton",
    border="window",
    normaliser="princeton",
    refine="quarter-princeton",
    flip_merge="clipped",
)
"""princeton's targets, loss and decoding."""

MMPOSE = JointCodec(
    1,
    sigma=2.0,
    target="rounded",
    align="index",
    border="window",
    normaliser="mmpose",
    refine="quarter-mmpose",
    flip_merge="shifted",
)
"""mmpose's targets, for crops of 256x256 pixels, its loss and its decoding."""

BUBBLIIIING = CenterCodec(1, normaliser="objects", collisions="last", one_class_per_cell=True)
"""The targets and loss of bubbliiiing's centernet-pytorch."""


def _dense(codec: Codec, pretrained: bool) -> Network:
    neck = DeconvNeck(2048, channels=(256, 128, 64))
    heads = MapHeads(64, codec.maps, width=64, norm=True)
    return Network(dense_resnet50(pretrained), neck, heads, stride=4)


def _mmpose(codec: Codec, pretrained: bool) -> Network:
    trunk = DetectionHourglass(stacks=1)
    return Network(trunk, OneLevel(), BareHeads(256, codec.maps), stride=4)


_DECONV = "with three transposed convolutions"
_MOBILE = "mobilenetv2_100"
_PAPER = "stacked hourglasses behind the paper's stem"
_PLAIN = "a few plain convolutions"
_ZHOU = "as published (Zhou et al. 2019)"

TABLE: dict[str, Model] = {
    "centernet_resnet18": deconv("resnet18", "centernet", f"ResNet-18 {_DECONV}, {_ZHOU}"),
    "centernet_resnet34": deconv("resnet34", "centernet", f"ResNet-34 {_DECONV}"),
    "centernet_resnet50": deconv("resnet50", "centernet", f"ResNet-50 {_DECONV}"),
    "centernet_resnet101": deconv("resnet101", "centernet", f"ResNet-101 {_DECONV}, {_ZHOU}"),
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
        _MOBILE, "cornernet", "MobileNetV2 with a narrow top-down neck and corner pooling, for CPUs"
    ),
    "cornernet_tiny": tiny(
        "cornernet", f"{_PLAIN} and corner pooling, for simple scenes and for trials"
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
        _mmpose,
        (256, 256),
        "pose_mobilenetv2",
    ),
    "pose_mobilenetv2": topdown(_MOBILE, "pose", "MobileNetV2 with a slim top-down neck, for CPUs"),
    "pose_tiny": tiny("pose", f"{_PLAIN} that learn drawn figures from scratch within a minute"),
    "pose_resnet50": deconv(
        "resnet50", "pose", f"ResNet-50 {_DECONV}: Simple Baselines (Xiao et al. 2018)"
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
