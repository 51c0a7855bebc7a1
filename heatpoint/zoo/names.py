"""Which model a name stands for: a row of the table, of a plugin, or one made by rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from heatpoint import plugins
from heatpoint.codecs.base import Codec
from heatpoint.errors import HeatpointError, suggest
from heatpoint.zoo.families import FAMILIES, family
from heatpoint.zoo.model import Model
from heatpoint.zoo.table import TABLE

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
            f"{', '.join([*known, *FAMILIES])})"
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
