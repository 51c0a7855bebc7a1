"""Finds models by name: those of the table and of plugins, and by rule any timm backbone."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from heatpoint import plugins
from heatpoint.codecs import Codec
from heatpoint.errors import HeatpointError, suggest
from heatpoint.networks.deformable import plain
from heatpoint.zoo.makers import dcn, deconv, dlaup, stacked, topdown
from heatpoint.zoo.rows import Model
from heatpoint.zoo.table import TABLE

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


def family(name: str) -> Model | None:
    """Returns the model of a name that follows the rule, or None."""
    stacks = _STACKS.fullmatch(name)
    if stacks:
        return stacked(int(stacks[2]), int(stacks[3]), "paper" if stacks[1] else "bearpaw")
    rule = _RULE.fullmatch(name)
    if rule is None:
        return None
    kind, neck, backbone = rule.groups()
    return NECKS[neck](backbone, kind, f"{backbone} of timm under a {neck} neck")


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
