"""A row of the table of models: a network, its usual codec, its usual size."""

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
from heatpoint.networks.hourglasses import (
    DetectionHourglass,
    HourglassStacks,
    HourglassStem,
    StemKind,
)


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
    network: Callable[[Codec, bool], Network]
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
            name: What the header calls the architecture; "" leaves it out.
            names: Class names.
            codec: Instead of the usual one; its stride and trim become the network's.
            pretrained: Fetches the backbone's ImageNet weights through timm.
            skeleton: The joints, for codecs that learn some; others leave it aside.

        Raises:
            HeatpointError: A codec of another kind, no skeleton for joints, or ImageNet weights
                that do not exist.
        """
        called = name or "this model"
        joints = skeleton if "keypoints" in self.kind.learns else None
        if "keypoints" in self.kind.learns and skeleton is None:
            raise HeatpointError(
                f"{called} finds joints, but was given no skeleton: data that has no joints cannot "
                f"be its subject; otherwise name the skeleton ({', '.join(SKELETONS)} or a file)"
            )
        if self.kind.view.asks and len(names) != 1:
            raise HeatpointError(
                f"{called} finds the joints of one kind of subject, got {len(names)} names: "
                f"{', '.join(names)}; give one"
            )
        if codec is not None and not isinstance(codec, self.kind):
            raise HeatpointError(
                f"{called} is made for a {self.kind.__name__}, not for a {type(codec).__name__}; "
                "heatpoint models lists what each model finds"
            )
        if pretrained and not self.imagenet:
            raise HeatpointError(
                f"{called} has no ImageNet weights; leave pretrained off or choose {self.instead}"
            )
        chosen = self.usual(names, joints) if codec is None else codec
        network = self.network(chosen, pretrained)
        values = {"stride": network.stride, "trim": network.trim}
        known = chosen.as_dict()
        fitting = {key: value for key, value in values.items() if known.get(key, value) != value}
        chosen = chosen.tuned(called, fitting)
        view = chosen.view
        settings = {key: getattr(view, key) for key in view.settings}
        meta: dict[str, Any] = {"architecture": name, "size": list(self.size), **settings}
        if not name:
            del meta["architecture"]
        return network, chosen, tuple(names), meta, joints


BEARPAW_MEAN = (255 * 0.4404, 255 * 0.4440, 255 * 0.4327)
"""What bearpaw subtracts from MPII's R, G and B; its standard deviation is never applied."""

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

Usual = Callable[[Sequence[str], Skeleton | None], Codec]


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


def centers(names: Sequence[str], skeleton: Skeleton | None) -> Codec:
    """Returns the released CenterNet's representation."""
    return CenterCodec(len(names))


def quick_centers(names: Sequence[str], skeleton: Skeleton | None) -> Codec:
    """Returns the representation of small networks, made for little data and little time.

    Sizes are learnt around the centres too, and by the boxes' overlap. Maps and decoding are those
    of the published system.
    """
    return CenterCodec(len(names), size_region=0.6, giou_weight=2.0)


def corners(names: Sequence[str], skeleton: Skeleton | None) -> Codec:
    """Returns the released CornerNet's representation."""
    return CornerCodec(len(names))


def quick_corners(names: Sequence[str], skeleton: Skeleton | None) -> Codec:
    """Returns the representation of small networks.

    Pull and push do not depend on the size of the batch, and weigh as much as they do in the
    published training with 5 images per device.
    """
    return CornerCodec(len(names), images="mean", pull_weight=0.5, push_weight=0.5)


def joints(sigma: float) -> Usual:
    """Returns what makes the representation of joints with blobs ``sigma`` cells wide."""

    def usual(names: Sequence[str], skeleton: Skeleton | None) -> Codec:
        assert skeleton is not None  # Model.build has asked for it
        return JointCodec(len(skeleton), skeleton.flip, sigma=sigma)

    return usual


_KINDS: dict[str, type[Codec]] = {
    "centernet": CenterCodec,
    "cornernet": CornerCodec,
    "pose": JointCodec,
}


def deconv(backbone: str, kind: str, summary: str) -> Model:
    """Returns any timm backbone with the published neck of three transposed convolutions."""

    def network(codec: Codec, pretrained: bool) -> Network:
        trunk = TimmBackbone(backbone, strides=(32,), pretrained=pretrained)
        neck = DeconvNeck(trunk.channels[-1], channels=(256, 256, 256))
        heads: dict[str, Callable[[], Heads]] = {
            "centernet": lambda: MapHeads(256, codec.maps, width=64),
            "cornernet": lambda: CornerHeads(256, codec.maps, pooled=64, width=64),
            "pose": lambda: BareHeads(256, codec.maps),
        }
        return Network(trunk, neck, heads[kind](), stride=4)

    usual = {"centernet": centers, "cornernet": corners, "pose": joints(sigma=2.0)}
    size = (256, 192) if kind == "pose" else (512, 512)
    return Model(summary, _KINDS[kind], usual[kind], network, size)


def topdown(backbone: str, kind: str, summary: str) -> Model:
    """Returns any timm backbone with a narrow top-down neck and shared heads, for CPUs."""
    pose = kind == "pose"

    def network(codec: Codec, pretrained: bool) -> Network:
        trunk = TimmBackbone(backbone, strides=(4, 8, 16, 32), pretrained=pretrained)
        widths = (32, 48, 64, 96) if pose else (48, 64, 96, 128)
        neck = TopDownNeck(trunk.channels, widths)
        heads = _shared(codec, widths[0], 48 if pose else 64, 32)
        return Network(trunk, neck, heads, stride=4)

    size = (192, 192) if pose else (384, 384)
    return Model(summary, _KINDS[kind], _quick(kind), network, size)


def tiny(kind: str, size: tuple[int, int], summary: str, instead: str) -> Model:
    """Returns a few plain convolutions under a top-down neck: quick to train from nothing."""
    return Model(summary, _KINDS[kind], _quick(kind), tiny_network, size, False, instead)


def tiny_network(codec: Codec, pretrained: bool = False) -> Network:
    """Returns the smallest network, of stride 4, with the maps of any codec."""
    trunk = PlainResNet(stem=16, channels=(32, 64, 96, 128))
    neck = TopDownNeck(trunk.channels, widths=(32, 48, 64, 96))
    return Network(trunk, neck, _shared(codec, 32, 48, 16), stride=4)


def _quick(kind: str) -> Usual:
    usual: dict[str, Usual] = {
        "centernet": quick_centers,
        "cornernet": quick_corners,
        "pose": joints(sigma=1.5),
    }
    return usual[kind]


def _shared(codec: Codec, channels: int, width: int, pooled: int) -> Heads:
    """Returns the slim heads of small networks, with pooled branches where the maps name some."""
    if any(spec.branch for spec in codec.maps):
        return CornerHeads(channels, codec.maps, pooled=pooled, width=None)
    return SharedHeads(channels, codec.maps, width=width)


def large_hourglass(stacks: int, kind: str, summary: str) -> Model:
    """Returns the published detection hourglasses with heads behind each stack."""
    corner = kind == "cornernet"

    def network(codec: Codec, pretrained: bool) -> Network:
        trunk = DetectionHourglass(stacks, trim=1 if corner else 0)
        make = (
            partial(CornerHeads, 256, codec.maps, pooled=128, width=256)
            if corner
            else partial(MapHeads, 256, codec.maps, width=256)
        )
        return Network(trunk, EveryLevel(), StackHeads([make() for _ in range(stacks)]), stride=4)

    size = (511, 511) if corner else (512, 512)
    instead = "cornernet_mobilenetv2" if corner else "centernet_resnet101"
    usual = corners if corner else centers
    return Model(summary, _KINDS[kind], usual, network, size, False, instead)


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
        if stem == "bearpaw":
            trunk.mean = BEARPAW_MEAN
        heads = HourglassStacks(256, spec, stacks, order=4, blocks=blocks)
        return Network(trunk, OneLevel(), heads, stride=4)

    text = summary or f"{stacks} stacked hourglasses of {blocks} residuals at each place"
    size = (256, 256)
    return Model(text, JointCodec, joints(1.0), network, size, False, "pose_mobilenetv2")
