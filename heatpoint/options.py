"""Options once: kinds of values, and a dataclass per job as flags and as keywords.

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
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass
from functools import wraps
from inspect import Parameter
from types import NoneType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin

from heatpoint.errors import HeatpointError


@dataclass(frozen=True)
class Kind:
    """Says how one kind of value is written.

    Attributes:
        shown: What help calls the value, such as ``FILE``.
        parse: Turns a word into the value; raises ValueError, KeyError or HeatpointError
            if it cannot.
        expects: What a word must be, for the message: "takes ..., not 'abc'".
        alone: What a flag without a word means; None where it needs one.
    """

    shown: str
    parse: Callable[[str], Any]
    expects: str = "text"
    alone: str | None = None


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


def windows(text: str) -> int | tuple[int, int] | dict[int | tuple[int, int], float]:
    """Returns what ``side_lengths`` does or, of several sizes, the share of a run of each.

    ``"96,256"`` gives both as much, ``"96:17,256:10"`` as many parts of 27.

    Raises:
        HeatpointError: A size is none, a share no number, or a size is there twice.
    """
    found: dict[int | tuple[int, int], float] = {}
    for part in text.split(","):
        size, colon, share = part.partition(":")
        sides = side_lengths(size)
        try:
            number = finite(share) if colon else 1.0
        except ValueError:
            raise HeatpointError(
                f"{share!r} is no share of the run: give a number, such as 96:2,256:1"
            ) from None
        if sides in found:
            raise HeatpointError(f"{size.strip()} is there twice; name each size once")
        found[sides] = number
    return next(iter(found)) if len(found) == 1 else found


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


def whole_numbers(text: str) -> list[int]:
    """Returns the numbers of a list such as ``"90,120"``.

    Raises:
        ValueError: A part is no whole number.
    """
    return [int(part) for part in text.split(",")]


def words(text: str) -> tuple[str, ...]:
    """Returns the words of a list such as ``"cat, dog"``; none of an empty one."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def address(text: str) -> str:
    """Returns where a cluster is, as it is said.

    Raises:
        ValueError: It is no place of a cluster.
    """
    if not re.fullmatch(r"|local|auto|[^/\s]+:\d{1,5}", text):
        raise ValueError(text)
    return text


_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

SWITCH = Kind("", lambda text: _SWITCH[text.lower()], "true or false")
PLAIN = {
    bool: SWITCH,
    int: Kind("N", int, "a whole number"),
    float: Kind("X", finite, "a number"),
    str: Kind("TEXT", str),
}
"""How the words of Python's own types are written."""

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
Address = Annotated[str, Kind("ADDRESS", address, "local, auto or HOST:PORT", "local")]
"""Where a cluster of Ray is; "local" where nothing is said."""
Words = Annotated[tuple[str, ...], Kind("NAME,NAME", words)]

Size = Annotated[int | tuple[int, int], Kind("HxW", side_lengths)]
"""Height and width in pixels, one number for both."""
Windows = Annotated[
    int | tuple[int, int] | dict[int | tuple[int, int], float], Kind("HxW,HxW", windows)
]
"""One size, or several with the share of the run of each."""
Scales = Annotated[tuple[float, ...], Kind("X,X", floats)]
Epochs = Annotated[list[int], Kind("N,N", whole_numbers, "whole numbers separated by commas")]
Channels = Annotated[list[int], Kind("N,N,N", whole_numbers, "whole numbers separated by commas")]
Seconds = Annotated[float, Kind("SECONDS", finite, "a number of seconds")]
Minutes = Annotated[float, Kind("MINUTES", finite, "a number of minutes")]
Degrees = Annotated[float, Kind("DEGREES", finite, "a number of degrees")]
Gigabytes = Annotated[float, Kind("GB", finite, "a number of gigabytes")]
Normaliser = Literal["extent", "torso", "box", "head"]
"""What PCK's errors are divided by."""


NONE = "none"
"""The word for no file where saying nothing leaves the choice to somebody else."""

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


class Option:
    """One option: a field of a dataclass of options, or of one nested in it.

    Args:
        field: The field.
        meant: What its annotation means.
        owner: The class that has the field.
        group: Title of its group.

    Attributes:
        name: The field's name.
        annotation: Its type, as the class writes it.
        default: The field's default, MISSING if it must be given.
        flags: Its names on the command line, none for a positional one.
        may_be_none: Whether None is one of its values.
        unless: Name of an option in whose place it stands: with that one it is left off; or "".
        several: Whether it takes any number of words.
        kind: How its words are written.
        owner: The class that has the field.
        group: Title of its group.

    Raises:
        TypeError: No word can say one of its values.
    """

    def __init__(self, field: dataclasses.Field[Any], meant: Any, owner: type, group: str) -> None:
        self.name, self.annotation, self.owner, self.group = field.name, field.type, owner, group
        factory = field.default_factory
        self.default: Any = field.default if factory is MISSING else factory()
        names = () if self.default is MISSING else (self.name, field.metadata.get("alias"))
        self.flags = [flag(name) for name in names if name]
        self.unless = field.metadata.get("unless", "")
        self.may_be_none = NoneType in get_args(meant)
        # What only Python can give, such as data in memory, no word can say.
        written = next(each for each in get_args(meant | None) if each is not OnlyPython)
        self.several = get_origin(written) is list and self.default is MISSING
        self.kind = _kind(get_args(written)[0] if self.several else written, self.name)

    @property
    def shown(self) -> str:
        """What messages on the command line call it."""
        return (*self.flags, self.name.upper())[0]

    def read(self, word: str) -> Any:
        """Returns the value that a word says.

        Raises:
            ArgumentTypeError: It says none; tells what was expected.
            HeatpointError: The same, for kinds with a notation of their own.
        """
        if not word and self.may_be_none:
            return None
        try:
            return self.kind.parse(word)
        except HeatpointError as error:
            raise HeatpointError(f"{self.shown}: {error}") from None
        except (ValueError, KeyError):
            raise ArgumentTypeError(f"takes {self.kind.expects}, not {short(word)}") from None


def flag(name: str) -> str:
    """Returns ``"--skip-bad"`` for ``"skip_bad"``."""
    return "--" + name.replace("_", "-")


def short(word: object) -> str:
    """Returns a word as messages quote it, cut if it is long."""
    text = repr(word)
    return text if len(text) <= 80 else f"{text[:60]}…'"


def leaves(options: type[Any], group: str = "") -> Iterator[Option]:
    """Yields every option of a dataclass and, in the place of a nested one, those of that.

    A class variable that is a text is the title of the group of fields below it;
    ``metadata={"alias": "conf"}`` gives a field a second name.

    Raises:
        TypeError: Two options have one name, no word can say one, or a nested class is given other
            defaults than its own.
    """
    fields = {field.name: field for field in dataclasses.fields(options)}
    seen: set[str] = set()
    for name, meant in types_of(options).items():
        if get_origin(meant) is ClassVar and isinstance(title := getattr(options, name), str):
            group = title
        if name not in fields:
            continue
        if isinstance(meant, type) and dataclasses.is_dataclass(meant):
            if fields[name].default_factory not in (MISSING, meant):
                raise TypeError(f"{name} must start from the defaults of its own class")
            found = list(leaves(meant, group))
        else:
            found = [Option(fields[name], meant, options, group)]
        for option in found:
            names = {option.name, *option.flags}
            if seen & names:
                raise TypeError(f"{options.__name__} has two options called {option.name}")
            seen |= names
            yield option


def _kind(meant: Any, name: str) -> Kind:
    if get_origin(meant) is Annotated:
        return next(each for each in get_args(meant) if isinstance(each, Kind))
    if get_origin(meant) is Literal:
        choices = {word: word for word in get_args(meant)}
        known = [word for word in choices if word]
        shown = "{" + ",".join(known) + "}"
        return Kind(shown, choices.__getitem__, f"one of {', '.join(known)}")
    if meant not in PLAIN:
        raise TypeError(f"no word can say the option {name}, which is {meant}")
    return PLAIN[meant]


def built(options: type[Result], values: Mapping[str, Any]) -> Result:
    """Returns an instance, nested ones built from the same values; what is not given has defaults.

    Args:
        options: The dataclass.
        values: Values by the names of options, flat; others are passed over.
    """
    types, given = types_of(options), dict[str, Any]()
    for field in dataclasses.fields(options):  # type: ignore[arg-type]
        if dataclasses.is_dataclass(types[field.name]):
            given[field.name] = built(types[field.name], values)
        elif field.name in values:
            given[field.name] = _plain(values[field.name])
    return options(**given)


def _plain(value: Any) -> Any:
    """Returns paths, alone or listed, as the text that files of options hold."""
    if type(value) in (list, tuple):
        return type(value)(_plain(each) for each in value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def as_keywords(options: object) -> dict[str, Any]:
    """Returns options as the keywords of a function that ``keywords`` has decorated."""
    types, told = types_of(type(options)), dict[str, Any]()
    for name, value in vars(options).items():
        told |= as_keywords(value) if dataclasses.is_dataclass(types[name]) else {name: value}
    return told


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
        shown = [
            Parameter(
                option.name,
                Parameter.POSITIONAL_OR_KEYWORD if number < positional else Parameter.KEYWORD_ONLY,
                default=Parameter.empty if option.default is MISSING else option.default,
                annotation=option.annotation,
            )
            for number, option in enumerate(leaves(options))
        ]
        signature = inspect.signature(function)
        _, *further = signature.parameters.values()
        signature = signature.replace(parameters=[*shown, *further])

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Result:
            given = signature.bind(*args, **kwargs).arguments
            others = {own.name: given[own.name] for own in further if own.name in given}
            return function(built(options, given), **others)

        call.__signature__ = signature  # type: ignore[attr-defined]
        return call

    return decorate
