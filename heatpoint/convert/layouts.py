"""Published layouts, as ``layouts.toml`` lists them, and how each is told from the others."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from heatpoint.convert.layout import Layout
from heatpoint.data.skeleton import SKELETONS, Skeleton
from heatpoint.weights import PIXELS
from heatpoint.zoo import rows
from heatpoint.zoo.table import TABLE

_FACTS = tomllib.loads(Path(__file__).with_name("layouts.toml").read_text(encoding="utf-8"))

COCO, VOC = (tuple(_FACTS["names"][name]) for name in ("coco", "voc"))
"""Names of classes, in the order of published channels."""

_CODECS = {
    "bearpaw": rows.BEARPAW,
    "centerface": rows.CENTERFACE,
    "mmpose": rows.MMPOSE,
    "princeton": rows.PRINCETON,
    "xingyizhou": rows.XINGYIZHOU,
}
"""Published representations of joints."""

_SHIFTS = {"head.off_conv.bias": 0.5, "head.lm_conv.bias": -0.5}
"""Offsets in CenterFace count from the middle of a cell, landmarks from the corner of the box."""


def _centerface(name: str, tensor: Tensor) -> Tensor:
    """Returns a tensor of CenterFace as ours: x before y, and places from where ours count."""
    if name.startswith(("head.reg_conv.", "head.off_conv.", "head.lm_conv.")):
        tensor = tensor.reshape(-1, 2, *tensor.shape[1:]).flip(1).reshape(tensor.shape)
    return tensor + _SHIFTS.get(name, 0.0)


def _words(told: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Yields the rows of a list, those of the lists that it names in their places."""
    for each in told:
        if isinstance(each, str):
            yield from _words(_FACTS["words"][each])
        else:
            yield each[0], each[1]


def _layouts(facts: dict[str, Any]) -> Iterator[tuple[str, Layout]]:
    """Yields the layouts of a table, by name."""
    told = {key: value for key, value in facts.items() if key != "of"}
    told["words"] = tuple(_words(facts["words"]))
    told |= {key: PIXELS[told[key]] for key in ("pixels", "voc") if key in told}
    if "dead" in told:
        told["dead"] = re.compile(told["dead"])
    if "codec" in told:
        subject = (told.get("subject", Layout.subject),)
        told["turned"] = _centerface if told["codec"] == "centerface" else None
        told["codec"] = partial(rows.fitted, _CODECS[told["codec"]], subject)
    for name, architecture in facts["of"].items():
        yield name, Layout(architecture, **told)


LAYOUTS = dict(each for facts in _FACTS["layouts"] for each in _layouts(facts))
"""Known layouts by name. The data set in a name tells the published file; any count of classes or
joints converts, and so do pose hourglasses of other numbers of stacks, whose layout's name has
these numbers: ``bearpaw_hg8_b1_mpii`` has 8 stacks and 1 residual at each place. Where two layouts
have the same tensors, the first is recognised; name the other.
"""


def bearpaw(stacks: int, blocks: int = 1) -> Layout:
    """Returns bearpaw's layout of so many hourglasses, and residuals at each place."""
    own = _stacked("", stacks, blocks)
    return replace(LAYOUTS["bearpaw_hg1_b1_mpii"], architecture=own)


def princeton(stacks: int) -> Layout:
    """Returns princeton's layout of so many hourglasses."""
    known = LAYOUTS["princeton_pytorch_stacked_hourglass_2hg_mpii"]
    return replace(known, architecture=_stacked("princeton_", stacks, 1))


def _stacked(publisher: str, stacks: int, blocks: int) -> str:
    """Returns the architecture of that many hourglasses, by its own name if it has one."""
    name = f"{publisher}hourglass_{stacks}stack"
    is_known = blocks == 1 and name in TABLE
    return name if is_known else f"{publisher}hourglass:{stacks}x{blocks}"


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
    older = LAYOUTS["mmpose_hourglass52_coco"]
    # In files of mmpose 1.x the tensors of the head begin with another word.
    newer = [(text, said.replace("keypoint_head", "head")) for text, said in older.words]
    heatmap = older.heatmap.replace("keypoint_head", "head")
    for layout in (older, replace(older, words=tuple(newer), heatmap=heatmap)):
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


def names_for(classes: int) -> tuple[str, ...]:
    """Returns COCO's names for 80 classes, VOC's for 20, and numbered ones for other counts.

    Checkpoints hold no names, so the count is all there is to go by.
    """
    numbered = tuple(f"class_{index}" for index in range(classes))
    return {len(COCO): COCO, len(VOC): VOC}.get(classes, numbered)


def skeleton_for(joints: int) -> Skeleton:
    """Returns MPII's skeleton for 16 joints, COCO's for 17, else one of numbered joints."""
    known = {16: SKELETONS["mpii16"], 17: SKELETONS["coco17"]}
    return known.get(joints) or Skeleton(tuple(f"joint_{index}" for index in range(joints)))
