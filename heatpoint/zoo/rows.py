"""What a row of the zoo is, and the representations that rows are made for.

Codecs that are named after a publisher have his targets, loss and decoding. They serve converted
checkpoints, whose numbers mean something under their own rules only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from heatpoint.codecs import Codec
from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.center_pose import CenterPoseCodec
from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.joints import JointCodec
from heatpoint.codecs.points import PointCodec
from heatpoint.codecs.quads import QuadCodec
from heatpoint.codecs.saccade import SaccadeCodec
from heatpoint.codecs.triplets import TripletCodec
from heatpoint.codecs.ttf import TTFCodec
from heatpoint.data.skeleton import Skeleton
from heatpoint.networks import Network

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


def fitted(codec: Codec, names: Sequence[str], skeleton: Skeleton | None) -> Codec:
    """Returns a codec for the classes and joints of the data; every other field stays."""
    if skeleton is None:
        return codec.fitted(len(names))
    return codec.fitted(len(names), skeleton.flip, skeleton.slices)


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


QUADS = QuadCodec(1, shape_weight=5.0, neighbours=2, corner_heatmap=True)
"""Four corners, for networks of any size: nothing of it is published that defaults should keep.

Corners are learnt as their overlap counts them, averaged over 25 cells and placed by a heatmap of
their own (benchmarks, "Four corners").
"""

RELEASED: dict[str, Codec] = {
    "centernet": CenterCodec(1),
    "cornernet": CornerCodec(1),
    "centerpose": CenterPoseCodec(1, joints=1),
    "points": PointCodec(1),
    "pose": JointCodec(1, sigma=2.0),
    "quads": QUADS,
    "triplets": TripletCodec(1),
    "ttfnet": TTFCodec(1),
}
"""The released representations, by kind."""

QUICK: dict[str, Codec] = {
    "centernet": CenterCodec(
        1,
        measure="sides",
        size_region=1.0,
        sides_weight=0.5,
        giou_weight=2.5,
        neighbours=2,
        side_heatmap=True,
    ),
    "cornernet": CornerCodec(1, images="mean", pull_weight=0.5, push_weight=0.5),
    "centerpose": CenterPoseCodec(
        1,
        joints=1,
        measure="sides",
        size_region=0.6,
        sides_weight=0.5,
        giou_weight=2.5,
        neighbours=2,
        relative=True,
        displacement_weight=20.0,
        joint_spread=0.2,
        side_heatmap=True,
    ),
    "points": PointCodec(1, offset_weight=5.0, neighbours=1),
    "pose": JointCodec(1, sigma=1.5),
    "quads": QUADS,
    "triplets": TripletCodec(1, images="mean", pull_weight=0.5, push_weight=0.5),
    "saccade": SaccadeCodec(1, images="mean", pull_weight=0.5, push_weight=0.5),
    "ttfnet": TTFCodec(1),
}
"""The representations of small networks, made for little data and little time, by kind.

Maps are those of the published systems. Sizes are learnt around the centres too, and by the boxes'
overlap. Boxes are averages over 25 cells and points over nine, in which errors cancel (benchmarks,
"Nothing but the data"; docs/exact-coordinates.md); where in a cell points are weighs more. Joints
in whole pictures are learnt in sides of their object's box, and take the likeliest peak
(benchmarks, "Joints in whole pictures"). Pull and push do not depend on the size of the batch, and
weigh as much as they do in the published training with 5 images per device.
"""


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

CENTERFACE = CenterPoseCodec(1, joints=1, log_size=True, relative=True, joint_heatmaps=False)
"""CenterFace's boxes and landmarks (Xu et al. 2019); targets and loss are usual."""

SQUEEZE = CornerCodec(1, stride=8, corners=20, max_detections=100)
"""CornerNet-Squeeze: CornerNet's targets and loss on a coarser map, with fewer corners to pair."""

SACCADE = SaccadeCodec(1)
"""CornerNet-Saccade: corners within crops, and attention to where else to look."""

MMDET = CenterCodec(1, radius="fixed", overlap=0.3, round_size=False, collisions="last")
"""The targets and loss of mmdet's CenterNet."""

XINGYIZHOU = CenterPoseCodec(1, joints=1, mirror="negated")
"""How xingyizhou/CenterNet reads the joints of a mirror image; its targets and loss are usual."""
