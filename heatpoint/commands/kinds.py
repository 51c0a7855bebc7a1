"""Which options belong to which kind of checkpoint: boxes or poses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from heatpoint.errors import HeatpointError


def refuse(options: Any, foreign: Mapping[str, str], what: str) -> None:
    """Makes sure that options of the other kind are left at their defaults.

    Args:
        options: An instance of a command's dataclass.
        foreign: Field names that do not apply, and what to do about each.
        what: The checkpoint and what it finds, for the message.

    Raises:
        HeatpointError: One was given.
    """
    for field in dataclasses.fields(options):
        if field.name in foreign and getattr(options, field.name) != field.default:
            name = field.name.replace("_", "-")
            raise HeatpointError(f"--{name} does not apply: {what}; {foreign[field.name]}")
