"""What makes the rows of the table of models, and the rule for any timm backbone."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from heatpoint.codecs import Codec
from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.joints import JointCodec
from heatpoint.data.skeleton import SKELETONS, Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.networks import Network
from heatpoint.networks.detection_hourglass import DetectionHourglass
from heatpoint.networks.features import (
    DeconvNeck,
    EveryLevel,
    OneLevel,
    PlainResNet,
    TimmBackbone,
    TopDownNeck,
)
from heatpoint.networks.heads import (
    BareHeads,
    CornerHeads,
    Heads,
    MapHeads,
    SharedHeads,
    StackHeads,
)
from heatpoint.networks.stacked_hourglass import HourglassStacks, HourglassStem, StemKind
from heatpoint.weights import PIXELS

Make = Callable[[Codec, bool], Network]
"""Builds the network for a codec; says whether the backbone's ImageNet weights are fetched."""


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

    def parts(
        self,
        name: str,
        names: Sequence[str],
        codec: Codec | None,
        pretrained: bool,
        skeleton: Skeleton | None,
    ) -> tuple[Network, Codec, tuple[str, ...], dict[str, Any], Skeleton | None]:
        """Returns the parts of an untrained ``Detector``, in its order.

        Args:
            name: What the header calls the architecture.
            names: Class names.
            codec: Instead of the usual one; its stride and trim become the network's.
            pretrained: Fetches the backbone's ImageNet weights through timm.
            skeleton: The joints, for codecs that learn some; others leave it aside.

        Raises:
            HeatpointError: A codec of another kind, no skeleton for joints, or ImageNet weights
                that do not exist.
        """
        joints = skeleton if "keypoints" in self.kind.learns else None
        if "keypoints" in self.kind.learns and skeleton is None:
            raise HeatpointError(
                f"{name} finds joints, but was given no skeleton: data that has no joints cannot "
                f"be its subject; otherwise name the skeleton ({', '.join(SKELETONS)} or a file)"
            )
        if codec is not None and not isinstance(codec, self.kind):
            raise HeatpointError(
                f"{name} is made for a {self.kind.__name__}, not for a {type(codec).__name__}; "
                "heatpoint models lists what each model finds"
            )
        if pretrained and not self.imagenet:
            raise HeatpointError(
                f"{name} has no ImageNet weights; leave pretrained off or choose {self.instead}"
            )
        chosen = self.usual(names, joints) if codec is None else codec
        network = self.network(chosen, pretrained)
        values = {"stride": network.stride, "trim": network.trim}
        chosen = chosen.tuned(name, {key: values[key] for key in values if key in chosen.as_dict()})
        settings = {key: getattr(chosen.view, key) for key in chosen.view.settings}
        meta = {"architecture": name, "size": list(self.size), **settings}
        return network, chosen, tuple(names), meta, joints


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

    return row(summary, RELEASED[kind], network, (256, 192) if kind == "pose" else (512, 512))


def topdown(backbone: str, kind: str, summary: str) -> Model:
    """Returns any timm backbone with a narrow top-down neck and shared heads, for CPUs."""
    pose = kind == "pose"

    def network(codec: Codec, pretrained: bool) -> Network:
        trunk = TimmBackbone(backbone, strides=(4, 8, 16, 32), pretrained=pretrained)
        widths = (32, 48, 64, 96) if pose else (48, 64, 96, 128)
        neck = TopDownNeck(trunk.channels, widths)
        return Network(trunk, neck, _shared(codec, widths[0], 48 if pose else 64, 32), stride=4)

    return row(summary, QUICK[kind], network, (192, 192) if pose else (384, 384))


def tiny(kind: str, summary: str) -> Model:
    """Returns a few plain convolutions under a top-down neck: quick to train from nothing."""
    size = (128, 128) if kind == "pose" else (192, 192)
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
    if any(spec.branch for spec in codec.maps):
        return CornerHeads(256, codec.maps, pooled=pooled, width=width)
    if "keypoints" in codec.learns:
        return BareHeads(256, codec.maps)
    return MapHeads(256, codec.maps, width=width)


def _shared(codec: Codec, channels: int, width: int, pooled: int) -> Heads:
    """Returns the slim heads of small networks, with pooled branches where the maps name some."""
    if any(spec.branch for spec in codec.maps):
        return CornerHeads(channels, codec.maps, pooled=pooled, width=None)
    return SharedHeads(channels, codec.maps, width=width)
