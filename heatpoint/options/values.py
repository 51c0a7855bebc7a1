"""Kinds of values that options take: how a word gives one, and what help calls it.

A field of a dataclass of options is annotated with one of the names below, or with ``bool``,
``int``, ``float``, ``str`` or a ``Literal``.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from heatpoint.errors import HeatpointError


@dataclass(frozen=True)
class Kind:
    """Says how one kind of value is written.

    Attributes:
        shown: What help calls the value, such as ``FILE``.
        parse: Turns a word into the value; raises ValueError or HeatpointError if it cannot.
        expects: What a word must be, for the message: "takes ..., not 'abc'".
    """

    shown: str
    parse: Callable[[str], Any]
    expects: str = "text"


def side_lengths(text: str) -> int | tuple[int, int]:
    """Returns ``512`` for ``"512"`` and ``(384, 512)`` for ``"384x512"``, height first.

    Raises:
        HeatpointError: The text is none of these.
    """
    match = re.fullmatch(r"(\d{1,6})(?:[xX,](\d{1,6}))?", text.strip(), re.ASCII)
    if not match:
        raise HeatpointError(
            f"{text!r} is no size: give one number or height x width, such as 512 or 384x512"
        )
    height, width = match.groups()
    return int(height) if width is None else (int(height), int(width))


def floats(text: str) -> tuple[float, ...]:
    """Returns the numbers of a list such as ``"0.5,1,1.5"``.

    Raises:
        HeatpointError: A part is no number.
    """
    try:
        return tuple(finite(part) for part in text.split(","))
    except ValueError:
        raise HeatpointError(
            f"{text!r} is no list: give numbers separated by commas, such as 0.5,1,1.5"
        ) from None


def finite(text: str) -> float:
    """Returns the number that a text says.

    Raises:
        ValueError: It says none, or one that is not finite.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _whole_numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _amount(unit: str, what: str) -> Kind:
    return Kind(unit, finite, f"a number of {what}")


NUMBER = Kind("X", finite, "a number")
WHOLE_NUMBER = Kind("N", int, "a whole number")
TEXT = Kind("TEXT", str)

File = Annotated[str, Kind("FILE", os.path.expanduser)]
Folder = Annotated[str, Kind("FOLDER", os.path.expanduser)]
Data = Annotated[str, Kind("DATA", os.path.expanduser)]
Pictures = Annotated[str, Kind("PICTURES", os.path.expanduser)]
Checkpoint = Annotated[str, Kind("CHECKPOINT", os.path.expanduser)]
"""A checkpoint's file, or the name of published weights."""
Model = Annotated[str, Kind("MODEL", os.path.expanduser)]
Skeletons = Annotated[str, Kind("SKELETON", os.path.expanduser)]
"""The name of a skeleton, or a file of one."""
Name = Annotated[str, Kind("NAME", str)]
Names = Annotated[str, Kind("NAME,NAME", str)]
Words = Annotated[tuple[str, ...], Kind("NAME,NAME", lambda text: tuple(text.split(",")))]

Size = Annotated[int | tuple[int, int], Kind("HxW", side_lengths)]
"""Height and width in pixels, one number for both."""
Scales = Annotated[tuple[float, ...], Kind("X,X", floats)]
Epochs = Annotated[list[int], Kind("N,N", _whole_numbers, "whole numbers separated by commas")]
Seconds = Annotated[float, _amount("SECONDS", "seconds")]
Minutes = Annotated[float, _amount("MINUTES", "minutes")]
Degrees = Annotated[float, _amount("DEGREES", "degrees")]
Gigabytes = Annotated[float, _amount("GB", "gigabytes")]
