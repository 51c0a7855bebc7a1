"""Layout of bubbliiiing/centernet-pytorch with its ResNet-50."""

from __future__ import annotations

from heatpoint.convert.layout import Layout, Stats

HEADS = {"heatmap": "cls_head", "size": "wh_head", "offset": "reg_head"}

STAGES = {
    "conv1": "backbone.0",
    "bn1": "backbone.1",
    "layer1": "backbone.4",
    "layer2": "backbone.5",
    "layer3": "backbone.6",
    "layer4": "backbone.7",
}
"""The published backbone is a Sequential; 2 and 3 are ReLU and max pool."""

# COCO's values as typed there, a unit in the last place away from CenterNet's.
COCO_BGR: Stats = (
    (0.40789655, 0.44719303, 0.47026116),
    (0.2886383, 0.27408165, 0.27809834),
)


def resnet50() -> Layout:
    """Returns the layout; the published network ends in a sigmoid, ours in the logits before."""
    return Layout(
        "bubbliiiing_resnet50", "head.cls_head.3.weight", "backbone.0.weight", published, stats
    )


def published(name: str) -> str:
    """Returns the published name of one of our tensors."""
    if name.startswith("backbone.model."):
        stage, rest = name.removeprefix("backbone.model.").split(".", 1)
        return f"{STAGES[stage]}.{rest}"
    if name.startswith("neck.layers."):
        return name.replace("neck.layers.", "decoder.deconv_layers.")
    _, part, map_name, rest = name.split(".", 3)
    number = "3." if part == "last" else ""
    return f"head.{HEADS[map_name]}.{number}{rest}"


def stats(classes: int) -> Stats:
    """Returns COCO's normalisation, which its code uses for every data set."""
    del classes
    return COCO_BGR
