"""Codecs of joints as they were published: the targets, loss and decoding of each program.

They serve converted checkpoints, whose numbers mean something under their own rules only.
"""

from __future__ import annotations

from heatpoint.codecs.joints import JointCodec
from heatpoint.data.skeleton import Skeleton


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
