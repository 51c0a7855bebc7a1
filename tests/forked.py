"""Runs the command line and scripts in processes of their own that need not import PyTorch each.

They are forked from one process per worker that has done nothing but the imports, which take four
seconds of every command.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from contextlib import nullcontext
from pathlib import Path

PRELOADED = (
    *("heatpoint.cli", "heatpoint.training", "heatpoint.inspection", "heatpoint.inference.predict"),
    *("timm", "matplotlib.pyplot", "torch.export", "torch._dynamo", "torch.onnx"),
)
"""What commands import; no other runtime is among it, as those take threads with them."""

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(list(PRELOADED))


def run_command(words: list[str], folder: Path, graphs: Path | None = None) -> tuple[int, str]:
    """Runs ``heatpoint`` or a Python file in a folder; returns its status and all it has printed.

    Args:
        words: Those of the command, without ``heatpoint``; or the file alone, which ends in .py.
        folder: Where it runs.
        graphs: Where graphs of networks are kept that several commands export.
    """
    said = folder / ".printed"
    method = multiprocessing.get_start_method()
    process = _CONTEXT.Process(
        target=_run, args=(words, str(folder), str(said), method, dict(os.environ), graphs)
    )
    process.start()
    process.join()
    text = said.read_text(encoding="utf-8", errors="replace")
    said.unlink()
    assert process.exitcode is not None
    return process.exitcode, text


def _run(
    words: list[str],
    folder: str,
    said: str,
    method: str,
    environment: dict[str, str],
    graphs: Path | None,
) -> None:
    """Runs a command with its outputs in a file, in a process that ends with it."""
    # Its own processes start as those of any program do.
    multiprocessing.set_start_method(method, force=True)
    multiprocessing.set_forkserver_preload([])
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    with open(said, "wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from sharing import sharing

    from heatpoint.cli import main

    with nullcontext() if graphs is None else sharing(graphs):
        if words[0].endswith(".py"):
            sys.argv, sys.path[:0] = words, [folder]
            runpy.run_path(words[0], run_name="__main__")
        else:
            sys.argv = ["heatpoint", *words]
            sys.exit(main(words))
