"""Finds models by name: those of ``models.toml`` and of plugins, and by rule any timm backbone."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from heatpoint import plugins
from heatpoint.codecs import Codec
from heatpoint.errors import HeatpointError, suggest
from heatpoint.networks.deformable import DeformConv, plain
from heatpoint.networks.hourglasses import StemKind
from heatpoint.zoo.makers import (
    centerface,
    dcn,
    deconv,
    dense,
    dlaup,
    large_hourglass,
    mmpose,
    paired,
    saccade,
    squeeze,
    stacked,
    tiny,
    topdown,
    ttfnet,
)
from heatpoint.zoo.rows import (
    BUBBLIIIING,
    CENTERFACE,
    MMDET,
    QUICK,
    RELEASED,
    SACCADE,
    SQUEEZE,
    Model,
    row,
)

NECKS: dict[str, Callable[[str, str, str], Model]] = {
    "deconv": deconv,
    "topdown": topdown,
    "topdown2": partial(topdown, stride=2),
    "dcn": dcn,
    "dlaup": dlaup,
    "dlaup_plain": partial(dlaup, make=plain),
    "timm": deconv,
}
"""What puts a neck on any timm backbone; files of the first edition say ``timm``."""

_KINDS = ("centernet", "cornernet", "centerpose", "points", "pose", "quads", "triplets", "ttfnet")

FAMILIES = (
    f"KIND_NECK:BACKBONE, where KIND is one of {', '.join(_KINDS)}, NECK one of "
    f"{', '.join(name for name in NECKS if name != 'timm')}, and BACKBONE any model of timm",
    "hourglass:STACKSxRESIDUALS and princeton_hourglass:STACKSxRESIDUALS",
)
"""How names are made by rule, for people."""

_RULE = re.compile(rf"({'|'.join(_KINDS)})_({'|'.join(NECKS)}):(.+)")
_STACKS = re.compile(r"(princeton_)?hourglass:(\d{1,2})x(\d{1,2})")


def family(name: str, summary: str = "") -> Model | None:
    """Returns the model of a name that follows the rule, or None.

    Args:
        name: The name.
        summary: What it is, in one line; "" says it by the name.
    """
    stacks = _STACKS.fullmatch(name)
    if stacks:
        stem: StemKind = "paper" if stacks[1] else "bearpaw"
        return stacked(int(stacks[2]), int(stacks[3]), stem, summary)
    rule = _RULE.fullmatch(name)
    if rule is None:
        return None
    kind, neck, backbone = rule.groups()
    return NECKS[neck](backbone, kind, summary or f"{backbone} of timm under a {neck} neck")


_OTHERS: dict[str, Callable[[str], Model]] = {
    **{f"{kind}_tiny": partial(tiny, kind) for kind in QUICK},
    "points_tiny_fine": partial(tiny, "points", stride=2),
    "saccade_mobilenetv2": partial(topdown, "mobilenetv2_100", "saccade"),
    **{f"{kind}_hourglass104": partial(large_hourglass, 2, kind) for kind in RELEASED},
    **{f"{kind}_hourglass52": partial(large_hourglass, 1, kind) for kind in RELEASED},
    "ttfnet_resnet18": partial(ttfnet, "resnet18", 1),
    "ttfnet_resnet34": partial(ttfnet, "resnet34", 2),
    "ttfnet_darknet53": partial(ttfnet, "darknet53", 2),
    "bubbliiiing_resnet50": partial(row, codec=BUBBLIIIING, network=dense),
    "mmdet_resnet18": partial(row, codec=MMDET, network=paired("resnet18", plain)),
    "mmdet_resdcn18": partial(
        row, codec=MMDET, network=paired("resnet18", partial(DeformConv, bias=False))
    ),
    "cornernet_squeeze": partial(
        row, codec=SQUEEZE, network=squeeze, size=(511, 511), instead="cornernet_mobilenetv2"
    ),
    "cornernet_saccade": partial(
        row, codec=SACCADE, network=saccade, size=(255, 255), instead="cornernet_mobilenetv2"
    ),
    "centerface": partial(
        row, codec=CENTERFACE, network=centerface, size=(640, 640), instead="centerpose_mobilenetv2"
    ),
    "mmpose_hourglass52": partial(
        row, codec=RELEASED["pose"], network=mmpose, size=(256, 256), instead="pose_mobilenetv2"
    ),
}
"""What makes the models that no rule does, of their summary."""


def _made(name: str, facts: Mapping[str, Any]) -> Model:
    """Returns the model of a row of ``models.toml``."""
    found = family(facts.get("rule", ""), facts["summary"])
    return found or _OTHERS[name](facts["summary"])


_LISTED = tomllib.loads(Path(__file__).with_name("models.toml").read_text(encoding="utf-8"))

TABLE = {name: _made(name, facts) for name, facts in _LISTED["models"].items()}
"""Every model that has a name of its own, by that name."""

Builder = Model | Callable[..., Any]
"""A row, or a function ``(names, codec=None, pretrained=False)`` of a plugin that returns a
``Detector``."""


def models() -> dict[str, Builder]:
    """Returns every model that has a name of its own, those of loaded plugins included."""
    return {**TABLE, **plugins.models()}


def find(name: str) -> Builder:
    """Returns what builds the model of a name: a row of the table, of a plugin, or of a family.

    Raises:
        HeatpointError: There is no such model; names the nearest one.
    """
    known = models()
    found = known.get(name) or family(name)
    if found is None:
        raise HeatpointError(
            f"there is no model {name!r}{suggest(name, known)} (known: "
            f"{', '.join(known)}; by rule {'; '.join(FAMILIES)})"
        )
    return found


def kind(name: str) -> type[Codec]:
    """Returns the kind of codec that a model is made for: what it learns, and from which view.

    A builder of a plugin that does not say learns boxes in whole pictures, as ``Codec`` has it.

    Raises:
        HeatpointError: There is no such model.
    """
    found = find(name)
    return found.kind if isinstance(found, Model) else Codec


def learns_joints(name: str) -> bool:
    """Tells whether a model learns joints, so that it is built for a skeleton.

    Raises:
        HeatpointError: There is no such model.
    """
    return "keypoints" in kind(name).learns
