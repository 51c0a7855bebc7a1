"""The command line: each command builds one dataclass of options and makes one library call.

A command is such a dataclass in a module of ``commands``, with examples in its docstring and a
method ``run`` that may return an exit status. Nothing heavy is imported before a command runs, not
even ``typing``, so that ``heatpoint --help`` answers at once.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import warnings
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper

from heatpoint import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

COMMANDS = {
    "demo": ("training.Demo", "draw a data set, train on it, evaluate, predict, save pictures"),
    "inspect": ("training.Inspect", "say what is in the data, what is wrong, what can be reached"),
    "split": ("datasets.Split", "divide a data set: one part to train on, one to validate on"),
    "merge": ("datasets.Merge", "join data sets of any formats"),
    "filter": ("datasets.Filter", "keep or rename classes, leave out small objects"),
    "convert-data": ("datasets.ConvertData", "write a data set as COCO, YOLO or Pascal VOC"),
    "plan": ("training.Plan", "say what train would do with the data on this machine, and why"),
    "train": ("training.Train", "train a model on your own data"),
    "evaluate": ("finding.Evaluate", "score a checkpoint on annotated data"),
    "limits": ("finding.Limits", "say which of a checkpoint's maps cost the most AP"),
    "predict": ("finding.Predict", "find objects, or the joints of subjects, in pictures"),
    "video": ("films.Video", "find them in a film or in what a camera sees"),
    "export": ("deployment.Export", "write a checkpoint as a file that runs without PyTorch"),
    "serve": ("deployment.Serve", "answer requests over HTTP, with a page to try the model on"),
    "benchmark": ("deployment.Benchmark", "time each engine from a picture on disk to results"),
    "convert": ("weights.Convert", "turn a published checkpoint into one of ours"),
    "fetch": ("weights.Fetch", "get published weights by name"),
    "push": ("weights.Push", "upload a model to a repository of the Hugging Face hub"),
    "pull": ("weights.Pull", "download a model from one"),
    "models": ("weights.Models", "list the architectures and the published weights"),
}
"""The class and the summary of each command."""

OVERVIEW = """usage: heatpoint COMMAND ...

Objects as peaks of heatmaps: train, evaluate, predict and export on your own data.

commands:
{}

heatpoint COMMAND --help explains a command; heatpoint demo needs nothing at all."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status.

    Args:
        argv: Words after the program's name; those of the process by default.

    Returns:
        0 on success, 1 for a mistake that ``HeatpointError`` explains, 2 for a wrong command line,
        130 when interrupted by Ctrl-C or SIGTERM.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    who = " ".join(["heatpoint", *words[:1]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter stops nothing
    former = signal.getsignal(signal.SIGTERM)
    with suppress(ValueError):  # only the main thread may
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            try:
                return _run(words)
            finally:
                if sys.stdout:
                    sys.stdout.flush()
    except errors.HeatpointError as error:
        print(f"{who}: {error}", file=sys.stderr)
        return errors.EXIT_MISTAKE
    except KeyboardInterrupt:
        print(f"{who}: interrupted", file=sys.stderr)
        return errors.EXIT_INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            if error.filename is None:
                raise
            print(f"{who}: cannot use {error.filename}: {error.strerror}", file=sys.stderr)
            return errors.EXIT_MISTAKE
        _drop_output()
        print(f"{who}: there is no room for what it writes: {error}", file=sys.stderr)
        return errors.EXIT_MISTAKE
    finally:
        with suppress(ValueError):
            signal.signal(signal.SIGTERM, former)


def _run(words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        lines = [f"  {name:<12} {summary}" for name, (_, summary) in COMMANDS.items()]
        print(OVERVIEW.format("\n".join(lines)))
        return 0 if words else errors.EXIT_USAGE
    if words[0] == "--version":
        from heatpoint.system import VERSION

        print(f"heatpoint {VERSION}")
        return 0
    if words[0] not in COMMANDS:
        print(
            f"heatpoint: no command {words[0]!r}{errors.suggest(words[0], COMMANDS)}",
            file=sys.stderr,
        )
        print("heatpoint --help lists the commands", file=sys.stderr)
        return errors.EXIT_USAGE
    command = command_class(words[0])
    return int(import_module("heatpoint.commands").run(words[1:], words[0], command))


def command_class(word: str) -> type[Any]:
    """Returns the dataclass of a command."""
    module, _, name = COMMANDS[word][0].partition(".")
    found: type[Any] = getattr(import_module(f"heatpoint.commands.{module}"), name)
    return found


def _show_warning(message: Warning | str, category: type[Warning], *where: Any) -> None:
    """Shows what is said about the user's data without the line of code that says it."""
    if issubclass(category, errors.HeatpointWarning):
        print(f"heatpoint: {message}", file=sys.stderr)
    elif category.__name__ != "DecompressionBombWarning":  # what is too large is refused
        file, number, *_ = where
        sys.stderr.write(warnings.formatwarning(message, category, file, number))


def _drop_output() -> None:
    """Lets go of what standard output could not take, or Python tries again when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
