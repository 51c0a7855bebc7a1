"""Published layouts: the names of their tensors, and how each is told from the others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

from torch import Tensor

from heatpoint.convert.layout import Layout, Words
from heatpoint.convert.ttfnet import ttfnet
from heatpoint.weights import PIXELS
from heatpoint.zoo import rows
from heatpoint.zoo.table import TABLE

MAPS: Words = ((r"^heatmap\.", "hm."), (r"^size\.", "wh."), (r"^offset\.", "reg."))
"""CenterNet's names of the maps."""

RESNET: Words = (
    (r"^backbone\.model\.", ""),
    (r"^neck\.layers\.", "deconv_layers."),
    (r"^heads\.hidden\.", ""),
    (r"^heads\.last\.(\w+)\.", r"\1.2."),
    *MAPS,
)
"""CenterNet with ``--arch res_N``: torchvision's names, ``deconv_layers`` and heads."""

RESDCN: Words = ((r"^(neck\..*)\.offset\.", r"\1.conv_offset_mask."), *RESNET)
"""CenterNet with ``--arch resdcn_N``."""

PPRP_RESDCN: Words = (
    *RESDCN,
    (r"^hm\.", "hmap."),
    (r"^wh\.", "w_h_."),
    (r"^reg\.", "regs."),
)
"""The same network in pprp/SimpleCVReproduction."""

DLA: Words = (
    (r"^backbone\.model\.", "base."),
    (r"^(neck\..*)\bproject\.", r"\1proj."),
    *((rf"^(neck\..*(proj|up|node))\.{step}\.", rf"\1_{step + 1}.") for step in range(3)),
    (r"^(neck\..*(proj|node)_\d)\.0\.", r"\1.conv."),
    (r"^(neck\..*(proj|node)_\d)\.1\.", r"\1.actf.0."),
    (r"^neck\.levels\.(\d)\.", r"neck.dla_up.ida_\1."),
    (r"^neck\.last\.", "neck.ida_up."),
    *RESDCN,
    (r"^neck\.", ""),
)
"""CenterNet with ``--arch dla_34``."""

UNUSED_PROJECTION = re.compile(r"base\.level[34]\.project\..*")
"""Trees of several levels have this convolution, but only their inner trees compute with it."""

MMDET_CENTERNET: Words = (
    (r"^backbone\.model\.", "backbone."),
    (r"^neck\.(.*)\.offset\.", r"neck.\1.conv_offset."),
    *(
        (rf"^neck\.layers\.{place}\.", f"neck.deconv_layers.{place // 3}.{name}.")
        for start in range(0, 18, 3)
        for place, name in ((start, "conv"), (start + 1, "bn"))
    ),
    (r"^heads\.hidden\.(\w+)\.", r"bbox_head.\1_head."),
    (r"^heads\.last\.(\w+)\.", r"bbox_head.\1_head.2."),
    (r"\.size_head\.", ".wh_head."),
)
"""mmdet's CenterNet on ResNets; each convolution of its neck is a module with its batch norm."""

DENSE: Words = (
    (r"^backbone\.model\.conv1\.", "backbone.0."),
    (r"^backbone\.model\.bn1\.", "backbone.1."),
    (r"^backbone\.model\.layer1\.", "backbone.4."),
    (r"^backbone\.model\.layer2\.", "backbone.5."),
    (r"^backbone\.model\.layer3\.", "backbone.6."),
    (r"^backbone\.model\.layer4\.", "backbone.7."),
    (r"^neck\.layers\.", "decoder.deconv_layers."),
    (r"^heads\.hidden\.", "head."),
    (r"^heads\.last\.(\w+)\.", r"head.\1.3."),
    (r"\.heatmap\.", ".cls_head."),
    (r"\.size\.", ".wh_head."),
    (r"\.offset\.", ".reg_head."),
)
"""bubbliiiing/centernet-pytorch with ResNet-50, whose backbone is a Sequential.

2 and 3 are ReLU and max pool. The published network ends in a sigmoid, ours in the logits before.
"""

CORNERNET: Words = (
    (r"\binner\b", "low2"),
    (r"\.beside\.", ".up1."),
    (r"\.before\.", ".low1."),
    (r"\.behind\.", ".low3."),
    (r"\btop_left", "tl"),
    (r"\bbottom_right", "br"),
    (r"^backbone\.stem\.", "pre.0."),
    (r"^backbone\.entry\.", "pre.1."),
    (r"^backbone\.hourglasses\.", "kps."),
    (r"^backbone\.features\.", "cnvs."),
    (r"^backbone\.from_input\.", "inters_."),
    (r"^backbone\.from_features\.", "cnvs_."),
    (r"^backbone\.between\.", "inters."),
    (r"^heads\.stacks\.(\d)\.branches\.(tl|br)\.", r"\2_cnvs.\1."),
    (r"(cnvs\.\d)\.first\.", r"\1.p1_conv1."),
    (r"(cnvs\.\d)\.second\.", r"\1.p2_conv1."),
    (r"(cnvs\.\d)\.last\.", r"\1.conv2."),
    (r"(^pre\.0|^cnvs\.\d|p\d_conv1|conv2)\.0\.", r"\1.conv."),
    (r"(^pre\.0|^cnvs\.\d|p\d_conv1|conv2)\.1\.", r"\1.bn."),
    (r"(cnvs\.\d)\.after\.0\.", r"\1.p_conv1."),
    (r"(cnvs\.\d)\.after\.1\.", r"\1.p_bn1."),
    (r"(cnvs\.\d)\.shortcut\.0\.", r"\1.conv1."),
    (r"(cnvs\.\d)\.shortcut\.1\.", r"\1.bn1."),
    (r"\.norm(\d)\.", r".bn\1."),
    (r"\.shortcut\.", ".skip."),
    (r"^heads\.stacks\.(\d)\.hidden\.(\w+)\.0\.", r"\2.\1.0.conv."),
    (r"^heads\.stacks\.(\d)\.last\.(\w+)\.", r"\2.\1.1."),
    (r"^(tl|br)_embedding\.", r"\1_tags."),
    (r"^(tl|br)_offset\.", r"\1_regrs."),
    (r"^(tl|br)\.", r"\1_heats."),
)
"""princeton-vl/CornerNet; names of CenterNet's maps stay ours."""

LITE: Words = (
    *CORNERNET,
    (r"^kps\.", "hg.hgs."),
    (r"^(pre|cnvs|inters|inters_|cnvs_)\.", r"hg.\1."),
    (r"^(tl|br)_cnvs\.", r"\1_modules."),
    (r"^(tl|br)_regrs\.", r"\1_offs."),
)
"""The same network in princeton-vl/CornerNet-Lite."""

CENTERNET: Words = (*CORNERNET, *MAPS)
"""xingyizhou/CenterNet with ``--arch hourglass``."""

PPRP: Words = (
    *CORNERNET,
    (r"^heatmap\.", "hmap."),
    (r"^size\.", "w_h_."),
    (r"^offset\.", "regs."),
    (r"\.up1\.", ".top."),
)
"""pprp/SimpleCVReproduction, large (2 stacks) or small (1)."""

MMDET: Words = (
    *CORNERNET,
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
"""mmdet's CornerNet and, but for the head, mmpose's Hourglass-52; both see RGB images."""

BEARPAW: Words = (
    (r"^heads\.hourglasses\.(\d+)\.(inner\.){4}", r"hg.\1.hg.0.3."),
    (r"^heads\.hourglasses\.(\d+)\.(inner\.){3}", r"hg.\1.hg.0."),
    (r"^heads\.hourglasses\.(\d+)\.(inner\.){2}", r"hg.\1.hg.1."),
    (r"^heads\.hourglasses\.(\d+)\.inner\.", r"hg.\1.hg.2."),
    (r"^heads\.hourglasses\.(\d+)\.", r"hg.\1.hg.3."),
    (r"\.beside\.", ".0."),
    (r"\.before\.", ".1."),
    (r"\.behind\.", ".2."),
    (r"^backbone\.conv\.", "conv1."),
    (r"^backbone\.norm\.", "bn1."),
    (r"^backbone\.residual(\d)\.", r"layer\1.0."),
    (r"^heads\.residuals\.", "res."),
    (r"^heads\.features\.", "fc."),
    (r"^heads\.last\.", "score."),
    (r"^heads\.from_features\.", "fc_."),
    (r"^heads\.from_maps\.", "score_."),
    (r"\.norm(\d)\.", r".bn\1."),
    (r"\.shortcut\.", ".downsample.0."),
)
"""bearpaw/pytorch-pose; an hourglass's four depths count from the innermost."""

PRINCETON: Words = (
    (r"\binner\b", "low2"),
    (r"\.beside\.\d+\.", ".up1."),
    (r"\.before\.\d+\.", ".low1."),
    (r"\.behind\.\d+\.", ".low3."),
    (r"\.low2\.\d+\.", ".low2."),
    (r"\.conv(\d)\.", r".conv\1.conv."),
    (r"\.norm(\d)\.", r".bn\1."),
    (r"\.shortcut\.", ".skip_layer.conv."),
    (r"^backbone\.conv\.", "pre.0.conv."),
    (r"^backbone\.norm\.", "pre.0.bn."),
    (r"^backbone\.residual1\.", "pre.1."),
    (r"^backbone\.residual2\.", "pre.3."),
    (r"^backbone\.residual3\.", "pre.4."),
    (r"^heads\.hourglasses\.(\d+)\.", r"hgs.\1.0."),
    (r"^heads\.features\.(\d+)\.0\.", r"features.\1.1.conv."),
    (r"^heads\.features\.(\d+)\.1\.", r"features.\1.1.bn."),
    (r"^heads\.residuals\.", "features."),
    (r"^heads\.last\.(\d+)\.", r"outs.\1.conv."),
    (r"^heads\.from_features\.(\d+)\.", r"merge_features.\1.conv.conv."),
    (r"^heads\.from_maps\.(\d+)\.", r"merge_preds.\1.conv.conv."),
)
"""princeton-vl/pytorch_stacked_hourglass; there is one residual at each place."""

UNUSED_RESIDUAL = re.compile(r"backbone\.inters\.0\..*")
"""mmpose builds the residual between two stacks even where there is one."""

UNUSED_SHORTCUT = re.compile(r".*\.skip_layer\.conv\.(weight|bias)")
"""princeton's residuals have this convolution even where they add their input as it is."""

SWAPPED = PIXELS["imagenet_bgr"]
"""What the released code subtracts from B, G, R for VOC: ImageNet's values for R, G, B."""


def resnet(architecture: str) -> Layout:
    """Returns the layout of xingyizhou/CenterNet with ``--arch res_N``."""
    return Layout(architecture, RESNET, "hm.2.weight", "conv1.weight", voc=SWAPPED)


def resdcn(architecture: str) -> Layout:
    """Returns the layout of xingyizhou/CenterNet with ``--arch resdcn_N``."""
    return Layout(architecture, RESDCN, "hm.2.weight", "conv1.weight", voc=SWAPPED)


def mmdet_centernet(architecture: str) -> Layout:
    """Returns the layout of mmdet's CenterNet on ResNets."""
    heatmap, pixels = "bbox_head.heatmap_head.2.weight", PIXELS["imagenet_rgb"]
    return Layout(architecture, MMDET_CENTERNET, heatmap, "backbone.conv1.weight", pixels)


def mmpose(head: str = "keypoint_head") -> Layout:
    """Returns the layout of mmpose's Hourglass-52 for joints.

    Args:
        head: What the tensors of the head begin with; "head" in files of mmpose 1.x.
    """
    last = f"{head}.multi_final_layers.0."
    words = (*MMDET, (r"^heads\.last\.joints\.", last))
    first, pixels = "backbone.stem.0.conv.weight", PIXELS["imagenet_rgb"]
    codec = partial(rows.fitted, rows.MMPOSE, ("person",))
    return Layout(
        "mmpose_hourglass52", words, f"{last}weight", first, pixels, codec, UNUSED_RESIDUAL
    )


def bearpaw(stacks: int, blocks: int = 1) -> Layout:
    """Returns bearpaw's layout; images are RGB less the mean, and never divided by the std."""
    codec = partial(rows.fitted, rows.BEARPAW, ("person",))
    own, pixels = _stacked("", stacks, blocks), PIXELS["bearpaw_rgb"]
    return Layout(own, BEARPAW, "score.0.weight", "conv1.weight", pixels, codec)


def princeton(stacks: int) -> Layout:
    """Returns princeton's layout; images are RGB in [0, 1]."""
    codec = partial(rows.fitted, rows.PRINCETON, ("person",))
    own, pixels = _stacked("princeton_", stacks, 1), PIXELS["plain_rgb"]
    heatmap = "outs.0.conv.weight"
    return Layout(own, PRINCETON, heatmap, pixels=pixels, codec=codec, dead=UNUSED_SHORTCUT)


def _stacked(publisher: str, stacks: int, blocks: int) -> str:
    """Returns the architecture of that many hourglasses, by its own name if it has one."""
    name = f"{publisher}hourglass_{stacks}stack"
    is_known = blocks == 1 and name in TABLE
    return name if is_known else f"{publisher}hourglass:{stacks}x{blocks}"


BUBBLIIIING = PIXELS["bubbliiiing_bgr"]
"""COCO's values as typed there, a unit in the last place away from CenterNet's."""

LARGE, SMALL = "centernet_hourglass104", "centernet_hourglass52"
CORNERS = "cornernet_hourglass104"

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
    "xy_ctdet_coco_dla_34": Layout(
        "centernet_dla34",
        DLA,
        "hm.2.weight",
        "base.base_layer.0.weight",
        dead=UNUSED_PROJECTION,
        voc=SWAPPED,
    ),
    "pprp_resdcn_18_voc": Layout(
        "centernet_resdcn18", PPRP_RESDCN, "hmap.2.weight", "conv1.weight", voc=SWAPPED
    ),
    "mmdet_centernet_r18": mmdet_centernet("mmdet_resnet18"),
    "mmdet_centernet_r18_dcnv2": mmdet_centernet("mmdet_resdcn18"),
    "bubbliiiing_resnet50_voc": Layout(
        "bubbliiiing_resnet50", DENSE, "head.cls_head.3.weight", "backbone.0.weight", BUBBLIIIING
    ),
    "xy_ctdet_coco_hourglass": Layout(LARGE, CENTERNET, "hm.0.1.weight", voc=SWAPPED),
    "bubbliiiing_hourglass_coco": Layout(LARGE, CENTERNET, "hm.0.1.weight", pixels=BUBBLIIIING),
    "pprp_large_hourglass_80": Layout(LARGE, PPRP, "hmap.0.1.weight", voc=SWAPPED),
    "pprp_small_hourglass_80": Layout(SMALL, PPRP, "hmap.0.1.weight", voc=SWAPPED),
    "cornernet_hourglass104": Layout(CORNERS, CORNERNET, "tl_heats.0.1.weight"),
    "cornernet_lite_port_hourglass104": Layout(
        CORNERS, LITE, "tl_heats.0.1.weight", "hg.pre.0.conv.weight"
    ),
    "mmdet_cornernet_hourglass104": Layout(
        CORNERS,
        MMDET,
        "bbox_head.tl_heat.0.1.conv.weight",
        "backbone.stem.0.conv.weight",
        PIXELS["imagenet_rgb"],
    ),
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
