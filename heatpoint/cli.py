"""The command line: each command builds one dataclass of options and makes one library call.

Nothing heavy is imported before a command runs, so that ``heatpoint --help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from heatpoint.errors import HeatpointError, suggest

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
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else EXIT_USAGE
    if words[0] == "--version":
        from heatpoint import __version__

        print(f"heatpoint {__version__}")
        return 0
    if words[0] not in COMMANDS:
        print(f"heatpoint: no command {words[0]!r}{suggest(words[0], COMMANDS)}", file=sys.stderr)
        print("heatpoint --help lists the commands", file=sys.stderr)
        return EXIT_USAGE
    try:
        command = import_module(f"heatpoint.commands.{words[0]}")
        return int(command.run(words[1:]) or 0)
    except HeatpointError as error:
        print(f"heatpoint {words[0]}: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        print(f"heatpoint {words[0]}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0


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
