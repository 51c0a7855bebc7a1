"""How published tensors are called: rules that make their names of ours, one after the other."""

from __future__ import annotations

import re

from heatpoint.convert.layout import Words

MAPS: Words = (
    (r"^heatmap\.", "hm."),
    (r"^size\.", "wh."),
    (r"^offset\.", "reg."),
    (r"^displacement\.", "hps."),
    (r"^joint_heatmap\.", "hm_hp."),
    (r"^joint_offset\.", "hp_offset."),
)
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
    (r"^heads\.stacks\.(\d)\.branches\.(tl|br|ct)\.", r"\2_cnvs.\1."),
    (r"(cnvs\.\d)\.first\.", r"\1.p1_conv1."),
    (r"(cnvs\.\d)\.second\.", r"\1.p2_conv1."),
    (r"(cnvs\.\d)\.last\.", r"\1.conv2."),
    (r"(^pre\.0|^cnvs\.\d|p\d_conv1|look_conv\d|conv2)\.0\.", r"\1.conv."),
    (r"(^pre\.0|^cnvs\.\d|p\d_conv1|look_conv\d|conv2)\.1\.", r"\1.bn."),
    (r"(cnvs\.\d)\.after\.0\.", r"\1.p_conv1."),
    (r"(cnvs\.\d)\.after\.1\.", r"\1.p_bn1."),
    (r"(cnvs\.\d)\.shortcut\.0\.", r"\1.conv1."),
    (r"(cnvs\.\d)\.shortcut\.1\.", r"\1.bn1."),
    (r"\.norm(\d)\.", r".bn\1."),
    (r"\.shortcut\.", ".skip."),
    (r"^heads\.stacks\.(\d)\.hidden\.(\w+)\.0\.", r"\2.\1.0.conv."),
    (r"^heads\.stacks\.(\d)\.last\.(\w+)\.", r"\2.\1.1."),
    (r"^(tl|br|ct)_embedding\.", r"\1_tags."),
    (r"^(tl|br|ct)_offset\.", r"\1_regrs."),
    (r"^(tl|br|ct)\.", r"\1_heats."),
)
"""princeton-vl/CornerNet; names of CenterNet's maps stay ours."""

TRIPLETS: Words = (
    (r"\bcascade_", ""),
    (r"\bcenter", "ct"),
    (r"\.first_look\.", ".look_conv1."),
    (r"\.second_look\.", ".look_conv2."),
    (r"\.first_both\.", ".P1_look_conv."),
    (r"\.second_both\.", ".P2_look_conv."),
    *CORNERNET,
)
"""Duankaiwen/CenterNet: keypoint triplets."""

LITE: Words = (
    *CORNERNET,
    (r"^kps\.", "hg.hgs."),
    (r"^(pre|cnvs|inters|inters_|cnvs_)\.", r"hg.\1."),
    (r"^(tl|br)_cnvs\.", r"\1_modules."),
    (r"^(tl|br)_regrs\.", r"\1_offs."),
)
"""The same network in princeton-vl/CornerNet-Lite."""

SQUEEZE: Words = (
    (r"^backbone\.deeper\.0\.", "pre.2."),
    (r"^(backbone\.hourglasses\..*)\.up\.", r"\1.up2."),
    (r"\.pointwise\.", ".conv_1x1."),
    (r"\.depthwise\.", ".conv_3x3."),
    *LITE,
)
"""princeton-vl/CornerNet-Lite's CornerNet-Squeeze, of fire modules."""

SACCADE: Words = (
    *(
        (rf"^heads\.stacks\.(\d)\.attention\.attention_{size}\.", rf"att_modules.\1.{place}.")
        for place, size in enumerate(("large", "medium", "small"))
    ),
    (r"^(att_modules\.\d\.\d\.0)\.0\.", r"\1.conv."),
    (r"\.corners\.", "."),
    *LITE,
)
"""princeton-vl/CornerNet-Lite's CornerNet-Saccade, with a module for each attention map."""

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

UNUSED_RESIDUAL = re.compile(r"backbone\.inters\.0\..*")
"""mmpose builds the residual between two stacks even where there is one."""

UNUSED_SHORTCUT = re.compile(r".*\.skip_layer\.conv\.(weight|bias)")
"""princeton's residuals have this convolution even where they add their input as it is."""
