"""Layout of xingyizhou/CenterNet ("Objects as Points") for object detection with ResNets."""

from __future__ import annotations

from heatpoint.convert.layout import COCO_BGR, Layout, Stats

HEADS = {"heatmap": "hm", "size": "wh", "offset": "reg"}

VOC_SWAPPED: Stats = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""What the released code subtracts from B, G, R for VOC: ImageNet's values for R, G, B."""


def resnet(architecture: str) -> Layout:
    """Returns the layout of ``--arch res_N``: torchvision's names, ``deconv_layers`` and heads."""
    return Layout(architecture, "hm.2.weight", "conv1.weight", published, stats)


def published(name: str) -> str:
    """Returns the published name of one of our tensors."""
    if name.startswith("backbone.model."):
        return name.removeprefix("backbone.model.")
    if name.startswith("neck.layers."):
        return name.replace("neck.layers.", "deconv_layers.")
    _, part, map_name, rest = name.split(".", 3)
    return f"{HEADS[map_name]}.2.{rest}" if part == "last" else f"{HEADS[map_name]}.{rest}"


def stats(classes: int) -> Stats:
    """Returns COCO's normalisation, or for VOC's 20 classes the swapped one of the released code.

    The files do not say what they were trained on; the released code normalises by data set.
    """
    return VOC_SWAPPED if classes == 20 else COCO_BGR
