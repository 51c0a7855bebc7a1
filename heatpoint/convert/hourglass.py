"""Layouts of Stacked Hourglass: bearpaw/pytorch-pose and princeton-vl/pytorch_stacked_hourglass.

A layout's name tells its numbers: ``bearpaw_hg8_b1_mpii`` has 8 stacks and 1 residual at each
place, ``princeton_pytorch_stacked_hourglass_2hg_mpii`` has 2 stacks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor

from heatpoint.convert.layout import Layout, Stats
from heatpoint.data.skeleton import SKELETONS, Skeleton
from heatpoint.zoo.table import TABLE, bearpaw_codec, princeton_codec

BEARPAW = re.compile(r"bearpaw_hg(\d+)_b(\d+)(_mpii)?")
PRINCETON = re.compile(r"princeton_pytorch_stacked_hourglass_(\d+)hg(_mpii)?")

ORDER = 4
"""Poolings of every published hourglass."""

UNUSED_SHORTCUT = re.compile(r".*\.skip_layer\.conv\.(weight|bias)")
"""princeton's residuals have this convolution even where they add their input as it is."""

BEARPAW_STATS: Stats = ((0.4404, 0.4440, 0.4327), (1.0, 1.0, 1.0))
PRINCETON_STATS: Stats = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def named(name: str) -> Layout | None:
    """Returns the layout of that name, or None if it is no Stacked Hourglass's."""
    if match := BEARPAW.fullmatch(name):
        return bearpaw(int(match[1]), int(match[2]))
    if match := PRINCETON.fullmatch(name):
        return princeton(int(match[1]))
    return None


def recognised(tensors: Mapping[str, Tensor]) -> dict[str, Layout]:
    """Returns the layouts, by name, that the names of a checkpoint's tensors speak for."""
    stacks, blocks = _count(tensors, r"hg\.(\d+)\."), _count(tensors, r"res\.0\.(\d+)\.")
    if stacks and blocks:
        return {f"bearpaw_hg{stacks}_b{blocks}{_data(tensors, 'score.0.weight')}": bearpaw(
            stacks, blocks
        )}  # fmt: skip
    stacks = _count(tensors, r"hgs\.(\d+)\.")
    if stacks:
        suffix = _data(tensors, "outs.0.conv.weight")
        return {f"princeton_pytorch_stacked_hourglass_{stacks}hg{suffix}": princeton(stacks)}
    return {}


def bearpaw(stacks: int, blocks: int) -> Layout:
    """Returns bearpaw's layout; images are RGB less the mean, and never divided by the std."""
    architecture = f"hourglass_{stacks}stack" if blocks == 1 else ""
    if architecture not in TABLE:
        architecture = f"hourglass:{stacks}x{blocks}"
    return Layout(
        architecture,
        "score.0.weight",
        "conv1.weight",
        partial(_published, BEARPAW_NAMES, _bearpaw_hourglass),
        lambda _: BEARPAW_STATS,
        channels="rgb",
        codec=bearpaw_codec,
    )


def princeton(stacks: int) -> Layout:
    """Returns princeton's layout; images are RGB in [0, 1]."""
    architecture = f"princeton_hourglass_{stacks}stack"
    if architecture not in TABLE:
        architecture = f"princeton_hourglass:{stacks}x1"
    return Layout(
        architecture,
        "outs.0.conv.weight",
        "pre.0.conv.weight",
        partial(_published, PRINCETON_NAMES, _princeton_hourglass),
        lambda _: PRINCETON_STATS,
        channels="rgb",
        codec=princeton_codec,
        dead=UNUSED_SHORTCUT,
    )


def skeleton_for(joints: int) -> Skeleton:
    """Returns MPII's skeleton for 16 joints, COCO's for 17, else one of numbered joints.

    Checkpoints hold no names, so the count is all there is to go by.
    """
    for name in ("mpii16", "coco17"):
        if joints == len(SKELETONS[name].joints):
            return SKELETONS[name]
    return Skeleton(tuple(f"joint_{index}" for index in range(joints)))


BEARPAW_NAMES = (
    (r"backbone\.conv\.", "conv1."),
    (r"backbone\.norm\.", "bn1."),
    (r"backbone\.residual(\d)\.", r"layer\1.0."),
    (r"heads\.residuals\.", "res."),
    (r"heads\.features\.", "fc."),
    (r"heads\.last\.", "score."),
    (r"heads\.from_features\.", "fc_."),
    (r"heads\.from_maps\.", "score_."),
    (r"\.norm(\d)\.", r".bn\1."),
    (r"\.shortcut\.", ".downsample.0."),
)
"""Patterns in our names and what stands there in bearpaw's, applied in this order."""

PRINCETON_NAMES = (
    (r"\.conv(\d)\.", r".conv\1.conv."),
    (r"\.norm(\d)\.", r".bn\1."),
    (r"\.shortcut\.", ".skip_layer.conv."),
    (r"backbone\.conv\.", "pre.0.conv."),
    (r"backbone\.norm\.", "pre.0.bn."),
    (r"backbone\.residual1\.", "pre.1."),
    (r"backbone\.residual2\.", "pre.3."),
    (r"backbone\.residual3\.", "pre.4."),
    (r"heads\.features\.(\d+)\.0\.", r"features.\1.1.conv."),
    (r"heads\.features\.(\d+)\.1\.", r"features.\1.1.bn."),
    (r"heads\.residuals\.", "features."),
    (r"heads\.last\.(\d+)\.", r"outs.\1.conv."),
    (r"heads\.from_features\.(\d+)\.", r"merge_features.\1.conv.conv."),
    (r"heads\.from_maps\.(\d+)\.", r"merge_preds.\1.conv.conv."),
)
"""The same for princeton's."""

INSIDE = re.compile(
    r"heads\.hourglasses\.(\d+)\.((?:inner\.)*)(?:(beside|before|behind)\.)?(\d+)\."
)
"""A residual of an hourglass: stack, depth, place unless it is the innermost, number."""


def _published(
    names: tuple[tuple[str, str], ...], hourglass: Callable[[int, int, str, int], str], name: str
) -> str:
    """Returns the published name of one of our tensors."""
    if match := INSIDE.match(name):
        depth, place = match[2].count("inner."), match[3] or "inner"
        if match[3] is None:
            depth -= 1  # the last "inner" is the place
        start = hourglass(int(match[1]), depth, place, int(match[4]))
        name = start + name[match.end() :]
    for pattern, text in names:
        name = re.sub(pattern, text, name, count=1)
    return name


def _bearpaw_hourglass(stack: int, depth: int, place: str, number: int) -> str:
    index = ("beside", "before", "behind", "inner").index(place)
    return f"hg.{stack}.hg.{ORDER - 1 - depth}.{index}.{number}."


def _princeton_hourglass(stack: int, depth: int, place: str, number: int) -> str:
    del number  # there is one residual at each place
    last = {"beside": "up1", "before": "low1", "behind": "low3", "inner": "low2"}[place]
    return f"hgs.{stack}.0.{'low2.' * depth}{last}."


def _count(tensors: Mapping[str, Tensor], pattern: str) -> int:
    """Returns how many numbers from 0 the tensors' names have at the pattern's group."""
    found = {int(match[1]) for name in tensors if (match := re.match(pattern, name))}
    return max(found) + 1 if found else 0


def _data(tensors: Mapping[str, Tensor], heatmap: str) -> str:
    """Returns the suffix of a layout's name that says what it was trained on."""
    maps = tensors.get(heatmap)
    return "_mpii" if maps is not None and maps.ndim and maps.shape[0] == 16 else ""
