"""Turns words, and YAML files of options, into a dataclass: flags, types, defaults and help."""

from __future__ import annotations

import argparse
import inspect
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from heatpoint import plugins
from heatpoint.commands.fields import Field, Options, flatten, short
from heatpoint.errors import suggest
from heatpoint.options.keywords import built

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


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
