"""Class names of the data sets that published weights were trained on, in their order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from heatpoint.convert.layout import COCO_BGR, Layout, Stats
from heatpoint.zoo.table import mmpose_codec

COCO = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich",
    "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote",
    "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book",
    "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip

VOC = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip


def names_for(classes: int) -> tuple[str, ...]:
    """Returns COCO's names for 80 classes, VOC's for 20, and numbered ones for other counts.

    Checkpoints hold no names, so the count is all there is to go by.
    """
    if classes == len(COCO):
        return COCO
    if classes == len(VOC):
        return VOC
    return tuple(f"class_{index}" for index in range(classes))


CENTER_HEADS = {"heatmap": "hm", "size": "wh", "offset": "reg"}

VOC_SWAPPED: Stats = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""What the released code subtracts from B, G, R for VOC: ImageNet's values for R, G, B."""


def resnet(architecture: str) -> Layout:
    """Returns the layout of ``--arch res_N``: torchvision's names, ``deconv_layers`` and heads."""
    return Layout(architecture, "hm.2.weight", "conv1.weight", center_name, center_stats)


def center_name(name: str) -> str:
    """Returns the published name of one of our tensors."""
    if name.startswith("backbone.model."):
        return name.removeprefix("backbone.model.")
    if name.startswith("neck.layers."):
        return name.replace("neck.layers.", "deconv_layers.")
    _, part, map_name, rest = name.split(".", 3)
    return (
        f"{CENTER_HEADS[map_name]}.2.{rest}"
        if part == "last"
        else f"{CENTER_HEADS[map_name]}.{rest}"
    )


def center_stats(classes: int) -> Stats:
    """Returns COCO's normalisation, or for VOC's 20 classes the swapped one of the released code.

    The files do not say what they were trained on; the released code normalises by data set.
    """
    return VOC_SWAPPED if classes == 20 else COCO_BGR


DENSE_HEADS = {"heatmap": "cls_head", "size": "wh_head", "offset": "reg_head"}

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
DENSE_BGR: Stats = (
    (0.40789655, 0.44719303, 0.47026116),
    (0.2886383, 0.27408165, 0.27809834),
)


def resnet50() -> Layout:
    """Returns the layout; the published network ends in a sigmoid, ours in the logits before."""
    return Layout(
        "bubbliiiing_resnet50",
        "head.cls_head.3.weight",
        "backbone.0.weight",
        dense_name,
        dense_stats,
    )


def dense_name(name: str) -> str:
    """Returns the published name of one of our tensors."""
    if name.startswith("backbone.model."):
        stage, rest = name.removeprefix("backbone.model.").split(".", 1)
        return f"{STAGES[stage]}.{rest}"
    if name.startswith("neck.layers."):
        return name.replace("neck.layers.", "decoder.deconv_layers.")
    _, part, map_name, rest = name.split(".", 3)
    number = "3." if part == "last" else ""
    return f"head.{DENSE_HEADS[map_name]}.{number}{rest}"


def dense_stats(classes: int) -> Stats:
    """Returns COCO's normalisation, which its code uses for every data set."""
    del classes
    return DENSE_BGR


Words = Sequence[tuple[str, str]]
"""Patterns, and what stands there instead; each is applied once, in this order."""

IMAGENET: Stats = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

CORNERNET: Words = (
    (r"backbone\.stem\.0\.", "pre.0.conv."),
    (r"backbone\.stem\.1\.", "pre.0.bn."),
    (r"backbone\.entry\.", "pre.1."),
    (r"backbone\.hourglasses\.", "kps."),
    (r"backbone\.features\.(\d)\.0\.", r"cnvs.\1.conv."),
    (r"backbone\.features\.(\d)\.1\.", r"cnvs.\1.bn."),
    (r"backbone\.from_input\.", "inters_."),
    (r"backbone\.from_features\.", "cnvs_."),
    (r"backbone\.between\.", "inters."),
    (r"\.beside\.", ".up1."),
    (r"\.before\.", ".low1."),
    (r"\.behind\.", ".low3."),
    (r"heads\.stacks\.(\d)\.branches\.top_left\.", r"tl_cnvs.\1."),
    (r"heads\.stacks\.(\d)\.branches\.bottom_right\.", r"br_cnvs.\1."),
    (r"cnvs\.(\d)\.first\.0\.", r"cnvs.\1.p1_conv1.conv."),
    (r"cnvs\.(\d)\.first\.1\.", r"cnvs.\1.p1_conv1.bn."),
    (r"cnvs\.(\d)\.second\.0\.", r"cnvs.\1.p2_conv1.conv."),
    (r"cnvs\.(\d)\.second\.1\.", r"cnvs.\1.p2_conv1.bn."),
    (r"cnvs\.(\d)\.after\.0\.", r"cnvs.\1.p_conv1."),
    (r"cnvs\.(\d)\.after\.1\.", r"cnvs.\1.p_bn1."),
    (r"cnvs\.(\d)\.shortcut\.0\.", r"cnvs.\1.conv1."),
    (r"cnvs\.(\d)\.shortcut\.1\.", r"cnvs.\1.bn1."),
    (r"cnvs\.(\d)\.last\.0\.", r"cnvs.\1.conv2.conv."),
    (r"cnvs\.(\d)\.last\.1\.", r"cnvs.\1.conv2.bn."),
    (r"\.norm(\d)\.", r".bn\1."),
    (r"\.shortcut\.", ".skip."),
    (r"heads\.stacks\.(\d)\.hidden\.(\w+)\.0\.", r"\2.\1.0.conv."),
    (r"heads\.stacks\.(\d)\.last\.(\w+)\.", r"\2.\1.1."),
    (r"^top_left_embedding\.", "tl_tags."),
    (r"^bottom_right_embedding\.", "br_tags."),
    (r"^top_left_offset\.", "tl_regrs."),
    (r"^bottom_right_offset\.", "br_regrs."),
    (r"^top_left\.", "tl_heats."),
    (r"^bottom_right\.", "br_heats."),
)
"""From our names to CornerNet's; those of CenterNet's maps stay ours."""

LITE: Words = (
    (r"^kps\.", "hg.hgs."),
    (r"^(pre|cnvs|inters|inters_|cnvs_)\.", r"hg.\1."),
    (r"^(tl|br)_cnvs\.", r"\1_modules."),
    (r"^(tl|br)_regrs\.", r"\1_offs."),
)

MMDET: Words = (
    (r"^pre\.0\.", "backbone.stem.0."),
    (r"^pre\.1\.", "backbone.stem.1.0."),
    (r"^kps\.", "backbone.hourglass_modules."),
    (r"^cnvs\.", "backbone.out_convs."),
    (r"^inters\.", "backbone.inters."),
    (r"^inters_\.(\d)\.0\.", r"backbone.conv1x1s.\1.conv."),
    (r"^inters_\.(\d)\.1\.", r"backbone.conv1x1s.\1.bn."),
    (r"^cnvs_\.(\d)\.0\.", r"backbone.remap_convs.\1.conv."),
    (r"^cnvs_\.(\d)\.1\.", r"backbone.remap_convs.\1.bn."),
    (r"\.skip\.", ".downsample."),
    (r"^(tl|br)_cnvs\.(\d)\.p(\d)_conv1\.", r"bbox_head.\1_pool.\2.direction\3_conv."),
    (r"^(tl|br)_cnvs\.(\d)\.p_conv1\.", r"bbox_head.\1_pool.\2.aftpool_conv.conv."),
    (r"^(tl|br)_cnvs\.(\d)\.p_bn1\.", r"bbox_head.\1_pool.\2.aftpool_conv.bn."),
    (r"^(tl|br)_cnvs\.(\d)\.conv1\.", r"bbox_head.\1_pool.\2.conv1.conv."),
    (r"^(tl|br)_cnvs\.(\d)\.bn1\.", r"bbox_head.\1_pool.\2.conv1.bn."),
    (r"^(tl|br)_cnvs\.(\d)\.conv2\.", r"bbox_head.\1_pool.\2.conv2."),
    (r"^(tl|br)_(heat|tag|regr)s\.(\d)\.0\.", r"bbox_head.\1_\2.\3.0."),
    (r"^(tl|br)_(heat|tag|regr)s\.(\d)\.1\.", r"bbox_head.\1_\2.\3.1.conv."),
    (r"_tag\.", "_emb."),
    (r"_regr\.", "_off."),
)

CENTERNET: Words = ((r"^heatmap\.", "hm."), (r"^size\.", "wh."), (r"^offset\.", "reg."))

PPRP: Words = (
    (r"^heatmap\.", "hmap."),
    (r"^size\.", "w_h_."),
    (r"^offset\.", "regs."),
    (r"\.up1\.", ".top."),
)

UNUSED_RESIDUAL = re.compile(r"backbone\.inters\.0\..*")
"""mmpose builds the residual between two stacks even where there is one."""


def cornernet() -> Layout:
    """Returns the layout of princeton-vl/CornerNet."""
    published = partial(_published, ())
    return Layout(
        "cornernet_hourglass104", "tl_heats.0.1.weight", "pre.0.conv.weight", published, _coco
    )


def cornernet_lite() -> Layout:
    """Returns the layout of the same network in princeton-vl/CornerNet-Lite."""
    published = partial(_published, LITE)
    return Layout(
        "cornernet_hourglass104", "tl_heats.0.1.weight", "hg.pre.0.conv.weight", published, _coco
    )


def mmdet_cornernet() -> Layout:
    """Returns the layout of mmdet's CornerNet, which sees RGB images."""
    return Layout(
        "cornernet_hourglass104",
        "bbox_head.tl_heat.0.1.conv.weight",
        "backbone.stem.0.conv.weight",
        partial(_published, MMDET),
        _imagenet,
        channels="rgb",
    )


def centernet() -> Layout:
    """Returns the layout of xingyizhou/CenterNet with ``--arch hourglass``."""
    published = partial(_published, CENTERNET)
    return Layout(
        "centernet_hourglass104", "hm.0.1.weight", "pre.0.conv.weight", published, center_stats
    )


def bubbliiiing() -> Layout:
    """Returns the layout of bubbliiiing/centernet-pytorch: the same names, other last digits."""
    published = partial(_published, CENTERNET)
    return Layout(
        "centernet_hourglass104", "hm.0.1.weight", "pre.0.conv.weight", published, dense_stats
    )


def pprp(stacks: int) -> Layout:
    """Returns the layout of pprp/SimpleCVReproduction, large (2 stacks) or small (1)."""
    return Layout(
        "centernet_hourglass104" if stacks == 2 else "centernet_hourglass52",
        "hmap.0.1.weight",
        "pre.0.conv.weight",
        partial(_published, PPRP),
        center_stats,
    )


def mmpose(head: str = "keypoint_head") -> Layout:
    """Returns the layout of mmpose's Hourglass-52 for joints.

    Args:
        head: What the tensors of the head begin with; "head" in files of mmpose 1.x.
    """
    last = f"{head}.multi_final_layers.0."
    return Layout(
        "mmpose_hourglass52",
        f"{last}weight",
        "backbone.stem.0.conv.weight",
        partial(_published, ((r"^heads\.last\.joints\.", last), *MMDET)),
        _imagenet,
        channels="rgb",
        codec=mmpose_codec,
        dead=UNUSED_RESIDUAL,
    )


def recognised(tensors: Mapping[str, Tensor]) -> dict[str, Layout]:
    """Returns mmpose's layout, by the name of its data set, if names of tensors speak for it."""
    for head in ("keypoint_head", "head"):
        last = tensors.get(f"{head}.multi_final_layers.0.weight")
        if last is not None and last.ndim:
            data = {16: "_mpii", 17: "_coco"}.get(int(last.shape[0]), "")
            return {f"mmpose_hourglass52{data}": mmpose(head)}
    return {}


def _published(words: Words, name: str) -> str:
    """Returns the published name of one of our tensors."""
    name = re.sub(r"\binner\b", "low2", name)  # as often as it occurs, once for each level
    for pattern, text in (*CORNERNET, *words):
        name = re.sub(pattern, text, name, count=1)
    return name


def _coco(classes: int) -> Stats:
    del classes
    return COCO_BGR


def _imagenet(classes: int) -> Stats:
    del classes
    return IMAGENET
