"""Published layouts: the names of their tensors, and how each is told from the others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from torch import Tensor

from heatpoint.convert import words
from heatpoint.convert.centerface import CENTERFACE
from heatpoint.convert.layout import Layout
from heatpoint.weights import PIXELS
from heatpoint.zoo import rows
from heatpoint.zoo.table import TABLE

SWAPPED = PIXELS["imagenet_bgr"]
"""What the released code subtracts from B, G, R for VOC: ImageNet's values for R, G, B."""


def resnet(architecture: str) -> Layout:
    """Returns the layout of xingyizhou/CenterNet with ``--arch res_N``."""
    return Layout(architecture, words.RESNET, "hm.2.weight", "conv1.weight", voc=SWAPPED)


def ttfnet(architecture: str, depth: int = 2, first: str = "conv1") -> Layout:
    """Returns the layout of ZJULearning/ttfnet.

    Args:
        architecture: Ours.
        depth: Convolutions in the tower of the sides.
        first: The first convolution.
    """
    own = ((r"^heads\.last\.sides\.", f"bbox_head.wh.{depth}."), *words.TTFNET)
    heatmap, pixels = "bbox_head.hm.2.weight", PIXELS["imagenet_rgb"]
    return Layout(architecture, own, heatmap, f"backbone.{first}.weight", pixels)


def resdcn(architecture: str) -> Layout:
    """Returns the layout of xingyizhou/CenterNet with ``--arch resdcn_N``."""
    return Layout(architecture, words.RESDCN, "hm.2.weight", "conv1.weight", voc=SWAPPED)


def triplets(architecture: str) -> Layout:
    """Returns the layout of Duankaiwen/CenterNet."""
    return Layout(architecture, words.TRIPLETS, "ct_heats.0.1.weight")


def mmdet_centernet(architecture: str) -> Layout:
    """Returns the layout of mmdet's CenterNet on ResNets."""
    heatmap, pixels = "bbox_head.heatmap_head.2.weight", PIXELS["imagenet_rgb"]
    return Layout(architecture, words.MMDET_CENTERNET, heatmap, "backbone.conv1.weight", pixels)


def multi_pose(architecture: str, boxes: Layout) -> Layout:
    """Returns the layout of xingyizhou/CenterNet for joints, made of that for boxes."""
    heatmap = boxes.heatmap.replace("hm.", "hm_hp.")
    codec = partial(rows.fitted, rows.XINGYIZHOU, ("person",))
    return replace(boxes, architecture=architecture, heatmap=heatmap, codec=codec, voc=None)


def mmpose(head: str = "keypoint_head") -> Layout:
    """Returns the layout of mmpose's Hourglass-52 for joints.

    Args:
        head: What the tensors of the head begin with; "head" in files of mmpose 1.x.
    """
    last = f"{head}.multi_final_layers.0."
    own = (*words.MMDET, (r"^heads\.last\.joints\.", last))
    first, pixels = "backbone.stem.0.conv.weight", PIXELS["imagenet_rgb"]
    codec = partial(rows.fitted, rows.MMPOSE, ("person",))
    return Layout(
        "mmpose_hourglass52", own, f"{last}weight", first, pixels, codec, words.UNUSED_RESIDUAL
    )


def bearpaw(stacks: int, blocks: int = 1) -> Layout:
    """Returns bearpaw's layout; images are RGB less the mean, and never divided by the std."""
    codec = partial(rows.fitted, rows.BEARPAW, ("person",))
    own, pixels = _stacked("", stacks, blocks), PIXELS["bearpaw_rgb"]
    return Layout(own, words.BEARPAW, "score.0.weight", "conv1.weight", pixels, codec)


def princeton(stacks: int) -> Layout:
    """Returns princeton's layout; images are RGB in [0, 1]."""
    codec = partial(rows.fitted, rows.PRINCETON, ("person",))
    own, pixels = _stacked("princeton_", stacks, 1), PIXELS["plain_rgb"]
    heatmap = "outs.0.conv.weight"
    return Layout(
        own, words.PRINCETON, heatmap, pixels=pixels, codec=codec, dead=words.UNUSED_SHORTCUT
    )


def _stacked(publisher: str, stacks: int, blocks: int) -> str:
    """Returns the architecture of that many hourglasses, by its own name if it has one."""
    name = f"{publisher}hourglass_{stacks}stack"
    is_known = blocks == 1 and name in TABLE
    return name if is_known else f"{publisher}hourglass:{stacks}x{blocks}"


BUBBLIIIING = PIXELS["bubbliiiing_bgr"]
"""COCO's values as typed there, a unit in the last place away from CenterNet's."""

LARGE, SMALL = "centernet_hourglass104", "centernet_hourglass52"
CORNERS = "cornernet_hourglass104"

HOURGLASS = Layout(LARGE, words.CENTERNET, "hm.0.1.weight", voc=SWAPPED)
DLA_34 = Layout(
    "centernet_dla34",
    words.DLA,
    "hm.2.weight",
    "base.base_layer.0.weight",
    dead=words.UNUSED_PROJECTION,
    voc=SWAPPED,
)
"""xingyizhou/CenterNet's layouts that carry joints too."""

LAYOUTS: dict[str, Layout] = {
    "xy_ctdet_coco_res_18": resnet("centernet_resnet18"),
    "xy_ctdet_coco_res_34": resnet("centernet_resnet34"),
    "xy_ctdet_coco_res_50": resnet("centernet_resnet50"),
    "xy_ctdet_coco_res_101": resnet("centernet_resnet101"),
    "xy_ctdet_coco_res_152": resnet("centernet_timm:resnet152"),
    "xy_ctdet_coco_resdcn_18": resdcn("centernet_resdcn18"),
    "xy_ctdet_coco_resdcn_34": resdcn("centernet_dcn:resnet34"),
    "xy_ctdet_coco_resdcn_50": resdcn("centernet_dcn:resnet50"),
    "xy_ctdet_coco_resdcn_101": resdcn("centernet_resdcn101"),
    "xy_ctdet_coco_dla_34": DLA_34,
    "xy_multi_pose_dla_34": multi_pose("centerpose_dla34", DLA_34),
    "pprp_resdcn_18_voc": Layout(
        "centernet_resdcn18", words.PPRP_RESDCN, "hmap.2.weight", "conv1.weight", voc=SWAPPED
    ),
    "mmdet_centernet_r18": mmdet_centernet("mmdet_resnet18"),
    "mmdet_centernet_r18_dcnv2": mmdet_centernet("mmdet_resdcn18"),
    "bubbliiiing_resnet50_voc": Layout(
        "bubbliiiing_resnet50",
        words.DENSE,
        "head.cls_head.3.weight",
        "backbone.0.weight",
        BUBBLIIIING,
    ),
    "xy_ctdet_coco_hourglass": HOURGLASS,
    "xy_multi_pose_hourglass": multi_pose("centerpose_hourglass104", HOURGLASS),
    "bubbliiiing_hourglass_coco": Layout(
        LARGE, words.CENTERNET, "hm.0.1.weight", pixels=BUBBLIIIING
    ),
    "pprp_large_hourglass_80": Layout(LARGE, words.PPRP, "hmap.0.1.weight", voc=SWAPPED),
    "pprp_small_hourglass_80": Layout(SMALL, words.PPRP, "hmap.0.1.weight", voc=SWAPPED),
    "cornernet_hourglass104": Layout(CORNERS, words.CORNERNET, "tl_heats.0.1.weight"),
    "cornernet_lite_port_hourglass104": Layout(
        CORNERS, words.LITE, "tl_heats.0.1.weight", "hg.pre.0.conv.weight"
    ),
    "cornernet_squeeze": Layout(
        "cornernet_squeeze", words.SQUEEZE, "tl_heats.0.1.weight", "hg.pre.0.conv.weight"
    ),
    "cornernet_saccade": Layout(
        "cornernet_saccade", words.SACCADE, "tl_heats.0.1.weight", "hg.pre.0.conv.weight"
    ),
    "mmdet_cornernet_hourglass104": Layout(
        CORNERS,
        words.MMDET,
        "bbox_head.tl_heat.0.1.conv.weight",
        "backbone.stem.0.conv.weight",
        PIXELS["imagenet_rgb"],
    ),
    "triplets_centernet104": triplets("triplets_hourglass104"),
    "triplets_centernet52": triplets("triplets_hourglass52"),
    "centerface": CENTERFACE,
    "ttfnet_r18": ttfnet("ttfnet_resnet18", depth=1),
    "ttfnet_r34": ttfnet("ttfnet_resnet34"),
    "ttfnet_d53": ttfnet("ttfnet_darknet53", first="stem.conv"),
    "mmpose_hourglass52_coco": mmpose(),
    "mmpose_hourglass52_mpii": mmpose(),
    "bearpaw_hg1_b1_mpii": bearpaw(1),
    "bearpaw_hg2_b1_mpii": bearpaw(2),
    "bearpaw_hg8_b1_mpii": bearpaw(8),
    "princeton_pytorch_stacked_hourglass_2hg_mpii": princeton(2),
    "princeton_pytorch_stacked_hourglass_8hg_mpii": princeton(8),
}
"""Known layouts. The data set in a name tells the published file; any count of classes or joints
converts, and so do pose hourglasses of other numbers of stacks, whose layout's name has these
numbers: ``bearpaw_hg8_b1_mpii`` has 8 stacks and 1 residual at each place. Where two layouts have
the same tensors, the first is recognised; name the other.
"""


def named(name: str) -> Layout | None:
    """Returns the layout of that name, or None if it is no Stacked Hourglass's."""
    if match := re.fullmatch(r"bearpaw_hg(\d+)_b(\d+)(_mpii)?", name):
        return bearpaw(int(match[1]), int(match[2]))
    if match := re.fullmatch(r"princeton_pytorch_stacked_hourglass_(\d+)hg(_mpii)?", name):
        return princeton(int(match[1]))
    return None


def recognised(tensors: Mapping[str, Tensor]) -> dict[str, Layout]:
    """Returns the layout of joints, by name, that a checkpoint's names of tensors speak for."""
    for name in ("xy_multi_pose_dla_34", "xy_multi_pose_hourglass", "centerface"):
        if LAYOUTS[name].heatmap in tensors:
            return {name: LAYOUTS[name]}
    for head in ("keypoint_head", "head"):
        layout = mmpose(head)
        if layout.heatmap in tensors:
            data = {16: "_mpii", 17: "_coco"}.get(layout.classes(tensors), "")
            return {f"mmpose_hourglass52{data}": layout}
    stacks, blocks = _count(tensors, r"hg\.(\d+)\."), _count(tensors, r"res\.0\.(\d+)\.")
    if stacks and blocks:
        name, layout = f"bearpaw_hg{stacks}_b{blocks}", bearpaw(stacks, blocks)
    elif stacks := _count(tensors, r"hgs\.(\d+)\."):
        name, layout = f"princeton_pytorch_stacked_hourglass_{stacks}hg", princeton(stacks)
    else:
        return {}
    return {f"{name}{'_mpii' if layout.classes(tensors) == 16 else ''}": layout}


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """Returns how many numbers from 0 the tensors' names have at the pattern's group."""
    found = [int(match[1]) for name in tensors if (match := re.match(pattern, name))]
    return max(found, default=-1) + 1
