"""What a dataclass of options declares: one field per option, nested ones in their place."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from heatpoint.errors import HeatpointError
from heatpoint.options.keywords import OnlyPython, types_of
from heatpoint.options.values import NUMBER, TEXT, WHOLE_NUMBER, Kind

Options = TypeVar("Options")

_PLAIN = {int: WHOLE_NUMBER, float: NUMBER, str: TEXT}
_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclasses.dataclass(frozen=True)
class Field:
    """One option: a field of a dataclass of options, or of one nested in it.

    Attributes:
        name: The field's name.
        kind: How its words are written; None for a switch.
        default: The field's default, MISSING if it must be given.
        may_be_none: Whether None is one of its values.
        several: Whether it takes any number of words.
        alias: A second name, or "".
        text: What it is for.
        group: Title of its group.
    """

    name: str
    kind: Kind | None
    default: Any
    may_be_none: bool
    several: bool
    alias: str
    text: str
    group: str

    @property
    def flags(self) -> list[str]:
        """Its names as words; none for a positional one."""
        names = [] if self.default is MISSING else [self.name, self.alias]
        return ["--" + name.replace("_", "-") for name in names if name]

    @property
    def shown(self) -> str:
        """What messages call it."""
        return (self.flags or [self.name.upper()])[0]

    def read(self, word: str) -> Any:
        """Returns the value that a word says.

        Raises:
            ArgumentTypeError: It says none; tells what was expected.
            HeatpointError: The same, for kinds with a notation of their own.
        """
        try:
            if self.kind is None:
                return _SWITCH[word.lower()]
            return self.kind.parse(word)
        except HeatpointError as error:
            raise HeatpointError(f"{self.shown}: {error}") from None
        except (ValueError, KeyError):
            expected = "true or false" if self.kind is None else self.kind.expects
            raise argparse.ArgumentTypeError(f"takes {expected}, not {short(word)}") from None

    def add_to(self, group: argparse._ArgumentGroup) -> None:
        """Declares it to argparse, which reports only what was said; defaults are the class's."""
        text, missing = self.text, argparse.SUPPRESS
        if not any(self.default is nothing for nothing in (MISSING, None, "", False)):
            text = f"{text} (default: {_written(self.default)})"
        text = text.replace("%", "%%")
        if self.kind is None:
            group.add_argument(
                *self.flags,
                dest=self.name,
                action=argparse.BooleanOptionalAction,
                default=missing,
                help=text,
            )
        elif self.flags:
            group.add_argument(
                *self.flags,
                dest=self.name,
                type=self.read,
                metavar=self.kind.shown,
                default=missing,
                help=text,
            )
        else:
            # Shown by help only: between flags argparse would take too few of these words.
            group.add_argument(
                self.name, nargs=missing, metavar=self.shown, default=missing, help=text
            )


def flatten(options: Any, group: str) -> Iterator[Field]:
    """Yields the fields of a dataclass and, in the place of a nested one, those of that.

    Raises:
        TypeError: Two fields share a name, one has a type that no word can say, or a nested class
            is given other defaults than its own.
    """
    texts, kinds = _docstrings(options), types_of(options)
    fields = {field.name: field for field in dataclasses.fields(options)}
    seen: set[str] = set()
    for name, annotation in kinds.items():
        if get_origin(annotation) is ClassVar and isinstance(getattr(options, name), str):
            group = getattr(options, name)
        if name not in fields:
            continue
        if dataclasses.is_dataclass(annotation):
            if fields[name].default_factory not in (MISSING, annotation):
                raise TypeError(f"{name} must start from the defaults of its own class")
            found = list(flatten(annotation, group))
        else:
            found = [_make_field(fields[name], annotation, texts.get(name, ""), group)]
        for field in found:
            if not seen.isdisjoint({field.name, field.alias} - {""}):
                raise TypeError(f"{options.__name__} has two options called {field.name}")
            seen |= {field.name, field.alias}
            yield field


def _make_field(field: dataclasses.Field[Any], annotation: Any, text: str, group: str) -> Field:
    is_union = get_origin(annotation) in (Union, UnionType)
    alternatives = get_args(annotation) if is_union else (annotation,)
    # What only Python can give, such as data in memory, no word can say.
    written = next(each for each in alternatives if each not in (NoneType, OnlyPython))
    default = field.default if field.default_factory is MISSING else field.default_factory()
    several = get_origin(written) is list and default is MISSING
    if several:
        written = get_args(written)[0]
    return Field(
        field.name,
        None if written is bool else _kind(written, field.name),
        default,
        may_be_none=NoneType in alternatives,
        several=several,
        alias=field.metadata.get("alias", ""),
        text=text,
        group=group,
    )


def _kind(annotation: Any, name: str) -> Kind:
    if get_origin(annotation) is Annotated:
        return next(each for each in get_args(annotation) if isinstance(each, Kind))
    if get_origin(annotation) is Literal:
        known = [word for word in get_args(annotation) if word]

        def choose(word: str) -> str:
            if word not in get_args(annotation):
                raise ValueError(word)
            return word

        return Kind("{" + ",".join(known) + "}", choose, f"one of {', '.join(known)}")
    if annotation not in _PLAIN:
        raise TypeError(f"no word can say the option {name}, which is {annotation}")
    return _PLAIN[annotation]


def _docstrings(options: type) -> dict[str, str]:
    """Returns the docstrings under the fields of a class."""
    texts = {}
    for base in filter(dataclasses.is_dataclass, reversed(options.__mro__)):
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            match field, text:
                case ast.AnnAssign(ast.Name(name)), ast.Expr(ast.Constant(str(words))):
                    texts[name] = " ".join(words.split())
    return texts


def _written(value: Any) -> str:
    """Returns a default as a word would say it."""
    if isinstance(value, list | tuple):
        return ",".join(map(_written, value))
    return "on" if value is True else f"{value:g}" if isinstance(value, float) else str(value)


def short(word: object) -> str:
    """Returns a word as messages quote it, cut if it is long."""
    text = repr(word)
    return text if len(text) <= 80 else f"{text[:60]}…'"
