"""Runs the command line in processes of its own that need not import PyTorch each.

They are forked from one process per worker that has done nothing but the imports, which take four
seconds of every command.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

PRELOADED = (
    *("heatpoint.cli", "heatpoint.training", "heatpoint.inspection", "heatpoint.inference.predict"),
    *("timm", "matplotlib.pyplot", "torch.export", "torch._dynamo", "torch.onnx"),
)
"""What commands import; no other runtime is among it, as those take threads with them."""

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(list(PRELOADED))


def run_command(words: list[str], folder: Path) -> tuple[int, str]:
    """Runs ``heatpoint`` with some words in a folder; returns its status and all it has printed."""
    said = folder / ".printed"
    method = multiprocessing.get_start_method()
    process = _CONTEXT.Process(
        target=_run, args=(words, str(folder), str(said), method, dict(os.environ))
    )
    process.start()
    process.join()
    text = said.read_text(encoding="utf-8", errors="replace")
    said.unlink()
    assert process.exitcode is not None
    return process.exitcode, text


def _run(
    words: list[str], folder: str, said: str, method: str, environment: dict[str, str]
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
    sys.argv = ["heatpoint", *words]
    from heatpoint.cli import main

    sys.exit(main(words))
