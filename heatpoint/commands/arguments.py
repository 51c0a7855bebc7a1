"""Turns a dataclass of options into a parser: names, types, defaults and help come from it."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Generic, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from docstring_parser import parse_from_object
from jsonargparse import ActionYesNo, ArgumentParser

from heatpoint.errors import HeatpointError, suggest

Options = TypeVar("Options")


class _Parser(ArgumentParser):
    """Names the option that was probably meant when one is misspelt."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints one sentence and exits with status 2."""
        known = [word for action in self._actions for word in action.option_strings]
        wrong = re.search(r"[Uu]nrecognized arguments: (--[\w-]+)", message)
        hint = suggest(wrong.group(1), known) if wrong else ""
        text = " ".join(message.split())
        print(f"{self.prog}: {text}{hint}", file=sys.stderr)
        print(f"{self.prog} --help lists the options", file=sys.stderr)
        raise SystemExit(2)


class CommandParser(Generic[Options]):
    """Parses the words of one command into an instance of its options.

    Fields without a default are positional; a positional list takes one or more words. A boolean
    field ``skip_bad`` is the pair of flags ``--skip-bad`` and ``--no-skip-bad``. Help texts are the
    docstrings under the fields.

    Args:
        command: Name of the command.
        options: The dataclass.
        description: What the command does, shown by ``--help``.
    """

    def __init__(self, command: str, options: type[Options], description: str) -> None:
        self.options = options
        self.parser = _Parser(prog=f"heatpoint {command}", description=description)
        self.parser.add_argument("--config", action="config", help="a YAML file of options")
        types = get_type_hints(options)
        documentation = parse_from_object(options)
        texts = {p.arg_name: p.description or "" for p in documentation.params}
        for field in dataclasses.fields(options):  # type: ignore[arg-type]
            self._add(field, types[field.name], texts.get(field.name, ""))

    def _add(self, field: dataclasses.Field[Any], kind: Any, text: str) -> None:
        text = " ".join(text.split())
        kind = _WRITTEN.get(field.name) or _without_objects(kind)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            if kind in (list[str], Sequence[str]):
                self.parser.add_argument(field.name, nargs="+", type=str, help=text)
            else:
                self.parser.add_argument(field.name, type=kind, help=text)
            return
        default = (
            field.default_factory()
            if field.default_factory is not dataclasses.MISSING
            else field.default
        )
        name = "--" + field.name.replace("_", "-")
        if kind is bool:
            self.parser.add_argument(
                name,
                dest=field.name,
                action=ActionYesNo(yes_prefix="", no_prefix="no-"),
                default=default,
                help=text,
            )
        else:
            self.parser.add_argument(name, dest=field.name, type=kind, default=default, help=text)

    def parse(self, words: Sequence[str]) -> Options:
        """Returns the options that the words describe.

        Raises:
            SystemExit: With status 2 after one sentence for a wrong word, 0 after ``--help``.
        """
        values = self.parser.parse_args(list(words))
        names = [field.name for field in dataclasses.fields(self.options)]  # type: ignore[arg-type]
        return self.options(**{name: values[name] for name in names})


def _without_objects(kind: Any) -> Any:
    """Returns a type without the alternatives that only Python can give (``Annotations``)."""
    kept = [each for each in get_args(kind) if not dataclasses.is_dataclass(each)]
    is_union = get_origin(kind) in (Union, UnionType)
    return Union[tuple(kept)] if is_union else kind  # noqa: UP007  (built at run time)


def side_lengths(text: str) -> int | tuple[int, int]:
    """Returns ``512`` for ``"512"`` and ``(384, 512)`` for ``"384x512"``, height first.

    Raises:
        HeatpointError: The text is none of these.
    """
    match = re.fullmatch(r"(\d+)(?:[xX,](\d+))?", text.strip())
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
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise HeatpointError(
            f"--scales {text}: give numbers separated by commas, such as 0.5,1,1.5"
        ) from None


@dataclass(frozen=True)
class _Notation:
    """A parser of one word that ``--help`` can name; values of a YAML file pass as they are."""

    parse: Callable[[str], Any]
    name: str

    def __call__(self, value: Any) -> Any:
        return self.parse(value) if isinstance(value, str) else value

    def __repr__(self) -> str:
        return self.name


_WRITTEN = {
    "size": _Notation(side_lengths, "height x width"),
    "window": _Notation(side_lengths, "height x width"),
    "scales": _Notation(floats, "numbers"),
}
"""How options are written that have a notation of their own."""
