"""The layout of TTFNet's files: apart from the others, which share their words."""

from __future__ import annotations

from heatpoint.convert.layout import Layout, Words
from heatpoint.weights import PIXELS

TTFNET: Words = (
    (r"^backbone\.model\.stem_conv1\.", "backbone.stem."),
    *((rf"^backbone\.model\.stages_{n}\.", f"backbone.layer{n + 1}.") for n in range(5)),
    (r"\.conv_down\.", ".0."),
    *((rf"\.blocks\.{n}\.", f".{n + 1}.body.") for n in range(8)),
    (r"\.body\.conv1\.", ".body.0."),
    (r"\.body\.conv2\.", ".body.1."),
    (r"^backbone\.model\.", "backbone."),
    (r"^neck\.steps\.", "bbox_head.deconv_layers."),
    (r"\.offset\.", ".conv_offset_mask."),
    (r"^neck\.shortcuts\.(\d)\.", r"bbox_head.shortcut_layers.\1.layers."),
    (r"^heads\.hidden\.(\w+)\.(\d)\.0\.", r"bbox_head.\1.\2.conv."),
    (r"^heads\.last\.heatmap\.", "bbox_head.heatmap.2."),
    (r"\.heatmap\.", ".hm."),
    (r"\.sides\.", ".wh."),
)
"""ZJULearning/ttfnet; the backbone is torchvision's ResNet or its own Darknet-53."""


def ttfnet(architecture: str, depth: int = 2, first: str = "conv1") -> Layout:
    """Returns the layout of ZJULearning/ttfnet.

    Args:
        architecture: Ours.
        depth: Convolutions in the tower of the sides.
        first: The first convolution.
    """
    words = ((r"^heads\.last\.sides\.", f"bbox_head.wh.{depth}."), *TTFNET)
    heatmap, pixels = "bbox_head.hm.2.weight", PIXELS["imagenet_rgb"]
    return Layout(architecture, words, heatmap, f"backbone.{first}.weight", pixels)
