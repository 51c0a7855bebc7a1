"""Kinds of values that options take: how a word gives one, and what help calls it.

A field of a dataclass of options is annotated with one of the names below, or with ``bool``,
``int``, ``float``, ``str`` or a ``Literal``.
"""

from __future__ import annotations

import builtins
import dataclasses
import inspect
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, TypeVar

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


Result = TypeVar("Result")


class _Whatever(type):
    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls


class OnlyPython(metaclass=_Whatever):
    """Stands for classes that a module of options imports for its type checker only."""


class _Names(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, OnlyPython)


def types_of(options: type) -> dict[str, Any]:
    """Returns what each annotation of a class means, without the imports it would cost."""
    types = {}
    for base in reversed(options.__mro__):
        names = _Names(vars(sys.modules[base.__module__]))
        for name, text in inspect.get_annotations(base).items():
            types[name] = eval(text, {}, names) if isinstance(text, str) else text
    return types


def leaves(options: type[Any]) -> Iterator[dataclasses.Field[Any]]:
    """Yields every option of a dataclass and, in the place of a nested one, those of that.

    Raises:
        TypeError: Two options have one name, or a nested class is given other defaults than its
            own.
    """
    seen: set[str] = set()
    for field in _walk(options):
        if field.name in seen:
            raise TypeError(f"{options.__name__} has two options called {field.name}")
        seen.add(field.name)
        yield field


def built(options: type[Result], values: Mapping[str, Any]) -> Result:
    """Returns an instance, nested ones built from the same values; what is not given has defaults.

    Args:
        options: The dataclass.
        values: Values by the names of options, flat.
    """
    types, given = types_of(options), dict[str, Any]()
    for field in dataclasses.fields(options):  # type: ignore[arg-type]
        if dataclasses.is_dataclass(types[field.name]):
            given[field.name] = built(types[field.name], values)
        elif field.name in values:
            given[field.name] = values[field.name]
    return options(**given)


def keywords(
    options: type[Any], positional: int
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Decorates a function whose first parameter is an instance of ``options``.

    The decorated function takes every option as a keyword, and the function's further keyword
    parameters as they are; ``inspect.signature`` and ``help`` show all of them. An unknown keyword
    is a TypeError as for any function.

    Args:
        options: The dataclass.
        positional: How many of the options may be given by position.
    """

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        own = [field.name for field in leaves(options)]
        shown = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD
                if number < positional
                else inspect.Parameter.KEYWORD_ONLY,
                default=_default(field),
                annotation=field.type,
            )
            for number, field in enumerate(leaves(options))
        ]
        signature = inspect.signature(function)
        further = list(signature.parameters.values())[1:]
        signature = signature.replace(parameters=[*shown, *further])

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Result:
            given = signature.bind(*args, **kwargs).arguments
            chosen = {name: value for name, value in given.items() if name in own}
            others = {name: value for name, value in given.items() if name not in own}
            return function(built(options, chosen), **others)

        call.__signature__ = signature  # type: ignore[attr-defined]
        return call

    return decorate


def _walk(options: type[Any]) -> Iterator[dataclasses.Field[Any]]:
    types = types_of(options)
    for field in dataclasses.fields(options):
        nested = types[field.name]
        if not dataclasses.is_dataclass(nested):
            yield field
            continue
        if field.default_factory not in (dataclasses.MISSING, nested):
            raise TypeError(f"{field.name} must start from the defaults of its own class")
        assert isinstance(nested, type)
        yield from _walk(nested)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    missing = field.default is dataclasses.MISSING
    return inspect.Parameter.empty if missing else field.default
