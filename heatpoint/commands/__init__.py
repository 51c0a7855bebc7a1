"""What a dataclass of options declares: one field per option, nested ones in their place."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

from heatpoint import plugins
from heatpoint.errors import HeatpointError, suggest
from heatpoint.options import NUMBER, TEXT, WHOLE_NUMBER, Kind, OnlyPython, built, types_of

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


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


def parse(
    words: Sequence[str], command: str, options: type[Options], examples: Sequence[str]
) -> Options:
    """Returns the options that the words of one command describe.

    Fields without a default are positional; a positional list takes one or more words. A boolean
    field ``skip_bad`` is the pair of flags ``--skip-bad`` and ``--no-skip-bad``. A field whose type
    is a dataclass stands for the fields of that class. The class says what the command does and
    the docstrings under its fields what they are for. A class variable that is a text is the title
    of the group of fields below it; ``metadata={"alias": "conf"}`` gives a field a second name.

    Args:
        words: What follows the command's name.
        command: Name of the command.
        options: The dataclass.
        examples: Whole command lines, shown by ``--help``.

    Raises:
        SystemExit: With status 2 after one sentence for a wrong word, 0 after ``--help`` and
            ``--print-config``.
        HeatpointError: A size or a list that cannot be read, or a plugin that fails.
    """
    fields = {field.name: field for field in flatten(options, "options")}
    parser = _make_parser(command, options, list(fields.values()), examples)
    end = words.index("--") if "--" in words else len(words)
    said, others = parser.parse_known_args(words[:end])
    flag = next((word.split("=")[0] for word in others if re.match(r"-\D", word)), None)
    if flag is not None:
        known = [name for action in parser._actions for name in action.option_strings]
        parser.error(f"there is no option {short(flag)}{suggest(flag, known)}")
    given = vars(said) | _positional(parser, fields.values(), [*others, *words[end + 1 :]])
    prints, files = given.pop("print_config", False), given.pop("config", [])
    given.pop("plugin", None)
    values: dict[str, Any] = {}
    for file in files:
        values |= _read_config(parser, file, fields)
    values |= given
    if prints:
        _print_config({name: values.get(name, field.default) for name, field in fields.items()})
        raise SystemExit(0)
    for field in fields.values():
        if field.default is MISSING and values.get(field.name) in (None, "", []):
            parser.error(f"{field.shown} is missing: {field.text}")
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


def _make_parser(
    command: str, options: type, fields: Sequence[Field], examples: Sequence[str]
) -> _Parser:
    positional = [
        field.shown + (" ..." if field.several else "") for field in fields if not field.flags
    ]
    about = inspect.cleandoc(options.__doc__ or "").split("\n\n")[0]
    parser = _Parser(
        prog=f"heatpoint {command}",
        usage=" ".join(["%(prog)s", *positional, "[options]"]),
        description=textwrap.fill(about, shutil.get_terminal_size().columns - 2),
        epilog="\n".join(["examples:", *(f"  {example}" for example in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    titles = list(dict.fromkeys(field.group for field in fields))
    groups = {title: parser.add_argument_group(title) for title in titles}
    for field in fields:
        field.add_to(groups[field.group])
    every = parser.add_argument_group("every command")
    every.add_argument(
        "--plugin",
        action="append",
        type=plugins.load,
        metavar="FILE_OR_MODULE",
        default=argparse.SUPPRESS,
        help="Python code that defines models and representations; may be given again",
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


def _positional(parser: _Parser, fields: Iterable[Field], words: Sequence[str]) -> dict[str, Any]:
    """Returns the values of the words without flags, in the order of the fields."""
    left, values = list(words), dict[str, Any]()
    for field in fields:
        if not field.flags and left:
            taken, left = (left, []) if field.several else (left[:1], left[1:])
            try:
                read = [field.read(word) for word in taken]
            except argparse.ArgumentTypeError as error:
                parser.error(f"{field.shown} {error}")
            values[field.name] = read if field.several else read[0]
    if left:
        parser.error(f"one word too many: {short(left[0])}")
    return values


def _read_config(parser: _Parser, file: str, fields: Mapping[str, Field]) -> dict[str, Any]:
    """Returns the values of a YAML file of options, written as on the command line."""
    import yaml

    path = Path(file).expanduser()
    try:
        # This loader leaves every value the text it is, and so has nothing that could run or grow.
        content = yaml.load(path.read_text("utf-8"), yaml.BaseLoader)
    except OSError as error:
        parser.error(f"--config {file}: {error.strerror}")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        parser.error(f"--config {file} is no YAML file of options: {reason}")
    if not isinstance(content, dict):
        parser.error(f"--config {file} must hold lines such as 'size: 512'")
    values = {}
    for key, said in content.items():
        name = str(key).replace("-", "_")
        if name not in fields:
            parser.error(f"--config {file} has no option {short(key)}{suggest(name, fields)}")
        try:
            values[name] = _configured(fields[name], said)
        except argparse.ArgumentTypeError as error:
            parser.error(f"--config {file}: {name} {error}")
    return values


def _configured(field: Field, said: Any) -> Any:
    words = said if isinstance(said, list) else [said]
    if not all(isinstance(word, str) for word in words):
        raise argparse.ArgumentTypeError("takes one value or a list of values")
    if field.several:
        return [field.read(word) for word in words]
    if field.may_be_none and words in (["null"], ["~"], [""]):
        return None
    return field.read(",".join(words))


def _print_config(values: Mapping[str, Any]) -> None:
    import yaml

    plain = {
        name: list(value) if isinstance(value, tuple) else None if value is MISSING else value
        for name, value in values.items()
    }
    print(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), end="")
