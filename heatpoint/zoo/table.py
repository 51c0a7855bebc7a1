"""Every model by name: one row each, and what finds a row.

Codecs of joints that are named after a publisher are his: his targets, loss and decoding. They
serve converted checkpoints, whose numbers mean something under their own rules only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heatpoint import plugins
from heatpoint.codecs import Codec
from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.joints import JointCodec
from heatpoint.errors import HeatpointError, suggest
from heatpoint.networks import Network
from heatpoint.networks.detection_hourglass import DetectionHourglass
from heatpoint.networks.features import DeconvNeck, OneLevel, dense_resnet50
from heatpoint.networks.heads import BareHeads, MapHeads
from heatpoint.zoo.families import (
    FAMILIES,
    RELEASED,
    Model,
    deconv,
    family,
    large_hourglass,
    row,
    stacked,
    tiny,
    topdown,
)

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
