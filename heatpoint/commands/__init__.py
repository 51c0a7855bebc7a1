"""A command is a dataclass of options with ``run``; words, config files and help follow from it.

Its docstring says what it does, with two whole command lines under ``Examples:``. Its fields are
the options, in the kinds of values of ``heatpoint.options``; the docstrings under them are their
help.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import functools
import inspect
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import MISSING
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from heatpoint import plugins
from heatpoint.errors import HeatpointError, suggest
from heatpoint.options import SWITCH, Option, built, flag, leaves, short
from heatpoint.system import encodings
from heatpoint.system.files import read_yaml

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


Options = TypeVar("Options")


def _declare(option: Option, group: argparse._ArgumentGroup) -> None:
    """Tells argparse of an option; it reports only what was said, for defaults are the class's."""
    text, missing = described(option), argparse.SUPPRESS
    how: dict[str, Any] = {"type": option.read, "metavar": option.kind.shown}
    if option.kind is SWITCH:
        how = {"action": argparse.BooleanOptionalAction}
    elif option.kind.alone is not None:
        how |= {"nargs": "?", "const": option.kind.alone}
    elif not option.flags:
        # Shown by help only: between flags argparse would take too few of these words.
        how = {"nargs": missing, "metavar": option.shown}
    names = option.flags or [option.name]
    group.add_argument(*names, default=missing, help=text.replace("%", "%%"), **how)


def described(option: Option) -> str:
    """Returns what an option is for, the docstring under its field, and its default."""
    text = _text(option)
    if any(option.default is nothing for nothing in (MISSING, None, "", (), False)):
        return text
    return f"{text} (default: {_written(option.default)})"


def _text(option: Option) -> str:
    return _docstrings(option.owner).get(option.name, "")


@functools.cache
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


def run(words: Sequence[str], command: str, options: type[Any]) -> int:
    """Runs a command and returns its exit status.

    Args:
        words: What follows the command's name.
        command: Name of the command.
        options: Its dataclass.

    Raises:
        SystemExit: As ``parse``.
        HeatpointError: A mistake; the options in it are named as flags.
    """
    try:
        # What --encoding says holds for this command alone.
        return copy_context().run(lambda: parse(words, command, options).run() or 0)
    except HeatpointError as error:
        raise HeatpointError(as_flags(str(error), options)) from error


def as_flags(message: str, options: type[Any]) -> str:
    """Returns a message of the library with options named as on the command line.

    ``keep_resolution`` becomes ``--keep-resolution``. A name of one word may be a word of the
    sentence, and one in quotes or with dots and slashes is a file's: these stay.
    """
    names = "|".join(option.name for option in leaves(options) if "_" in option.name)
    mark = r"""[\w'"/\\-]"""
    alone = rf"(?<!{mark})(?<!\.)({names or '_'})(?!{mark}|\.\w)"
    return re.sub(alone, lambda found: flag(found[1]), message)


def parse(words: Sequence[str], command: str, options: type[Options]) -> Options:
    """Returns the options that the words of one command describe.

    Fields without a default are positional; a positional list takes one or more words. A boolean
    field ``skip_bad`` is the pair of flags ``--skip-bad`` and ``--no-skip-bad``. A field whose type
    is a dataclass stands for the fields of that class. A class variable that is a text is the
    title of the group of fields below it; ``metadata={"alias": "conf"}`` gives a field a second
    name, ``metadata={"unless": "results"}`` leaves a positional one off where that option is given.
    The docstring's first paragraph and its examples are shown by ``--help``.

    Args:
        words: What follows the command's name.
        command: Name of the command.
        options: The dataclass.

    Raises:
        SystemExit: With status 2 after one sentence for a wrong word, 0 after ``--help`` and
            ``--print-config``.
        HeatpointError: A size or a list that cannot be read, or a plugin that fails.
    """
    known = {option.name: option for option in leaves(options, "options")}
    parser = _make_parser(command, options, known.values())
    end = words.index("--") if "--" in words else len(words)
    said, others = parser.parse_known_args(words[:end])
    strange = next((word.split("=")[0] for word in others if re.match(r"-\D", word)), None)
    if strange is not None:
        flags = [name for action in parser._actions for name in action.option_strings]
        parser.error(f"there is no option {short(strange)}{suggest(strange, flags)}")
    values: dict[str, Any] = {}
    for file in said.config:
        values |= _read_config(parser, file, known)
    values |= vars(said)
    spared = {each.name: None for each in known.values() if values.get(each.unless)}
    asked = [each for each in known.values() if each.name not in spared]
    positional = _positional(parser, asked, [*others, *words[end + 1 :]])
    values |= positional | spared
    if said.print_config:
        _print_config({name: values.get(name, option.default) for name, option in known.items()})
        raise SystemExit(0)
    for option in asked:
        if option.default is MISSING and values.get(option.name) in (None, "", []):
            parser.error(f"{option.shown} is missing: {_text(option)}")
    return built(options, values)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence."""

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Prints it like all else: argparse would hide that there is no room for it."""
        print(self.format_help(), end="", file=file)

    def error(self, message: str) -> NoReturn:
        """Prints the sentence and exits with status 2."""
        message = re.sub(r"^argument ([^\s:/]+)[^:]*: ", r"\1 ", message)
        message = message.replace(" expected one argument", " needs a value after it")
        message = re.sub(r" ignored explicit argument .*", " takes no value", message)
        print(f"{self.prog}: {message}", file=sys.stderr)
        print(f"{self.prog} --help lists the options", file=sys.stderr)
        raise SystemExit(2)


def _make_parser(command: str, options: type, known: Iterable[Option]) -> _Parser:
    positional = [
        option.shown + (" ..." if option.several else "") for option in known if not option.flags
    ]
    about, _, examples = inspect.cleandoc(options.__doc__ or "").partition("Examples:\n")
    parser = _Parser(
        prog=f"heatpoint {command}",
        usage=" ".join(["%(prog)s", *positional, "[options]"]),
        description=textwrap.fill(about.split("\n\n")[0], shutil.get_terminal_size().columns - 2),
        epilog="examples:\n" + textwrap.indent(textwrap.dedent(examples), "  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in known:
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        _declare(option, groups[option.group])
    every = parser.add_argument_group("every command")
    every.add_argument(
        "--plugin",
        action="append",
        type=plugins.load,
        metavar="FILE_OR_MODULE",
        help="Python code that defines models and representations; may be given again",
    )
    every.add_argument(
        "--encoding",
        type=encodings.choose,
        metavar="NAME",
        help="what texts are in that are no Unicode, such as cp1251; found out where it can be",
    )
    every.add_argument(
        "--config",
        action="append",
        metavar="FILE",
        default=[],
        help="YAML file of options; flags go before it, later files before earlier ones",
    )
    every.add_argument(
        "--print-config", action="store_true", help="print all options as such a file and stop"
    )
    every.add_argument("-h", "--help", action="help", help="show this and stop")
    return parser


def _positional(parser: _Parser, known: Iterable[Option], words: Sequence[str]) -> dict[str, Any]:
    """Returns the values of the words without flags, in the order of the options."""
    left, values = list(words), dict[str, Any]()
    for option in known:
        if not option.flags and left:
            taken, left = (left, []) if option.several else (left[:1], left[1:])
            values[option.name] = _read(parser, option, taken, option.shown)
    if left:
        parser.error(f"one word too many: {short(left[0])}")
    return values


def _read(parser: _Parser, option: Option, words: Sequence[str], called: str) -> Any:
    """Returns the value that words say: a list of values, or the parts of one."""
    try:
        return list(map(option.read, words)) if option.several else option.read(",".join(words))
    except argparse.ArgumentTypeError as error:
        parser.error(f"{called} {error}")


def _read_config(parser: _Parser, file: str, known: Mapping[str, Option]) -> dict[str, Any]:
    """Returns the values of a YAML file of options, written as on the command line."""
    where = f"--config {file}"
    try:
        content = read_yaml(Path(file).expanduser())
    except HeatpointError as error:
        parser.error(f"--config {error}")
    if not isinstance(content, dict):
        parser.error(f"{where} must hold lines such as 'size: 512'")
    flags = {name: option for option in known.values() for name in option.flags}
    values = {}
    for key, said in content.items():
        name = str(key).replace("-", "_")
        option = known.get(name) or flags.get(flag(name))  # by a second name too
        if option is None:
            parser.error(f"{where} has no option {short(key)}{suggest(name, known)}")
        if option.name in values:
            parser.error(f"{where} has {option.name} twice, once as {short(key)}; keep one")
        words = said if isinstance(said, list) else [said]
        if not all(isinstance(word, str) for word in words):
            parser.error(f"{where}: {name} takes one value or a list of values")
        if option.may_be_none and words in (["null"], ["~"]):
            words = [""]
        values[option.name] = _read(parser, option, words, f"{where}: {name}")
    return values


def _print_config(values: Mapping[str, Any]) -> None:
    import yaml

    plain = {name: _plain(value) for name, value in values.items()}
    print(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), end="")


def _plain(value: Any) -> Any:
    """Returns a value as a file of options holds it: sizes and windows as the words for them."""
    if isinstance(value, Mapping):
        return ",".join(f"{_plain(size)}:{share}" for size, share in value.items())
    if isinstance(value, tuple):  # lists of numbers are lists, or have fractions
        is_size = len(value) == 2 and all(type(number) is int for number in value)
        return "x".join(map(str, value)) if is_size else list(value)
    return None if value is MISSING else value
