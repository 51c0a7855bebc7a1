"""The numbers a run leaves behind: options.json, log.csv and TensorBoard events."""

from __future__ import annotations

import csv
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from heatpoint.system.files import atomic_write, write_json

_PACKAGES = ("heatpoint", "torch", "torchvision", "timm", "lightning-fabric", "numpy")

Row = Mapping[str, float | int | None]


def versions() -> dict[str, str]:
    """Returns what the run depends on: Python, machine and packages by version."""
    found = {"python": platform.python_version(), "machine": platform.platform()}
    for name in (*_PACKAGES, "opencv-python-headless"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed as a package"
    found["torch"] = str(torch.__version__)  # with the kind of build, which the package's lacks
    return found


def write_options(folder: Path, options: Mapping[str, Any], derived: Mapping[str, Any]) -> None:
    """Writes ``options.json``: what was asked, what followed from it, and all versions."""
    record = {"options": dict(options), "derived": dict(derived), "versions": versions()}
    write_json(folder / "options.json", record)


def write_csv(folder: Path, history: Sequence[Row]) -> None:
    """Writes ``log.csv`` with one row per epoch; an epoch without validation has empty cells."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    with (
        atomic_write(folder / "log.csv") as path,
        path.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(history)


class Events:
    """Writes TensorBoard events; the package is imported with the first number.

    Args:
        folder: Where the event files go.
        purge_from: Step from which an earlier, interrupted run's numbers are void.
    """

    def __init__(self, folder: Path, purge_from: int = 0) -> None:
        self._folder = folder
        self._purge = purge_from
        self._writer: Any = None

    def add(self, values: Mapping[str, float | int | None], step: int) -> None:
        """Adds the numbers that are there, under their names."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=self._purge or None)
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes and closes the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
