"""The command line: each command builds one dataclass of options and makes one library call.

A command is a module of ``commands`` with a function ``run(words)`` and ``EXAMPLES`` for its help.
Nothing heavy is imported before a command runs, so that ``heatpoint --help`` answers at once.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import TextIO

from heatpoint.errors import HeatpointError, HeatpointWarning, suggest

COMMANDS = {
    "demo": "draw a data set, train on it, evaluate, predict, save pictures",
    "inspect": "say what is in the data, what is wrong with it, what a model can reach on it",
    "split": "divide a data set into one part to train on and one to validate on",
    "train": "train a model on your own data",
    "evaluate": "score a checkpoint on annotated data",
    "limits": "say which of a checkpoint's maps cost the most AP",
    "predict": "find objects, or the joints of subjects, in pictures",
    "video": "find them in a film or in what a camera sees",
    "export": "write a checkpoint as a file that runs without PyTorch",
    "benchmark": "say where the time goes, from a picture on disk to results, for each engine",
    "convert": "turn a published checkpoint into one of ours",
    "fetch": "get published weights by name",
    "models": "list the architectures and the published weights",
}

EXIT_MISTAKE, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status.

    Args:
        argv: Words after the program's name; those of the process by default.

    Returns:
        0 on success, 1 for a mistake that ``HeatpointError`` explains, 2 for a wrong command line,
        130 when interrupted by Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    who = " ".join(["heatpoint", *words[:1]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter stops nothing
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                return _run(words)
            finally:
                if sys.stdout:
                    sys.stdout.flush()
    except HeatpointError as error:
        print(f"{who}: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        print(f"{who}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _drop_output()
        print(f"{who}: there is no room for what it writes: {error}", file=sys.stderr)
        return EXIT_MISTAKE


def _run(words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else EXIT_USAGE
    if words[0] == "--version":
        from heatpoint.system import VERSION

        print(f"heatpoint {VERSION}")
        return 0
    if words[0] not in COMMANDS:
        print(f"heatpoint: no command {words[0]!r}{suggest(words[0], COMMANDS)}", file=sys.stderr)
        print("heatpoint --help lists the commands", file=sys.stderr)
        return EXIT_USAGE
    command = import_module(f"heatpoint.commands.{words[0]}")
    return int(command.run(words[1:]) or 0)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Shows what is said about the user's data without the line of code that says it."""
    if issubclass(category, HeatpointWarning):
        text = f"heatpoint: {message}\n"
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
    (file or sys.stderr).write(text)


def _drop_output() -> None:
    """Lets go of what standard output could not take, or Python tries again when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _overview() -> str:
    lines = [f"  {name:<9} {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: heatpoint COMMAND ...",
            "",
            "Objects as peaks of heatmaps: train, evaluate, predict and export on your own data.",
            "",
            "commands:",
            *lines,
            "",
            "heatpoint COMMAND --help explains a command; heatpoint demo needs nothing at all.",
        ]
    )
