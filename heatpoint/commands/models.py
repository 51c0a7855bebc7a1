"""``heatpoint models``: lists the architectures and the published weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from heatpoint.commands.arguments import CommandParser

if TYPE_CHECKING:
    from rich.table import Table


@dataclass
class Models:
    """Lists the architectures that ``--model`` takes, and the weights that ``fetch`` gets."""

    classes: int = 80
    """Number of classes to count the parameters of models of boxes for."""

    skeleton: str = "coco17"
    """Skeleton to count the parameters of models of joints for: a name or a JSON file."""


def run(words: Sequence[str]) -> int:
    """Prints one row per architecture, then one per published checkpoint."""
    options = CommandParser(
        "models", Models, "Lists the architectures that --model takes, and the published weights."
    ).parse(words)
    import torch
    from rich.console import Console
    from rich.table import Table

    from heatpoint.data.skeleton import skeleton_of
    from heatpoint.zoo import MODELS, build, is_pose

    skeleton = skeleton_of(options.skeleton)
    numbers = [str(index) for index in range(options.classes)]
    table = Table(box=None)
    table.add_column("name", no_wrap=True)  # what --model takes must never be cut short
    for title in ("finds", "input", "stride", "parameters", "what it is"):
        table.add_column(title)
    for name, make in MODELS.items():
        names = ["subject"] if is_pose(name) else numbers
        with torch.device("meta"):  # shapes without weights
            detector = build(name, names, skeleton=skeleton)
        parameters = sum(p.numel() for p in detector.network.parameters())
        height, width = detector.size
        summary = (make.__doc__ or "").strip().splitlines()[0]
        table.add_row(
            name,
            "joints" if is_pose(name) else "boxes",
            f"{height}x{width}",
            str(detector.codec.stride),
            f"{parameters / 1e6:.1f} M",
            summary,
        )
    console = Console(emoji=False)
    console.print(table)
    console.print("\nPublished weights: heatpoint fetch NAME gets them, once and only then\n")
    console.print(_weights())
    return 0


def _weights() -> Table:
    """Returns the table of published weights; scores are the publishers'."""
    from rich.table import Table

    from heatpoint.weights import PUBLISHED

    table = Table(box=None)
    table.add_column("name", no_wrap=True)
    for title in ("architecture", "trained on", "score", "licence", "here"):
        table.add_column(title, overflow="fold")
    for record in PUBLISHED.values():
        here = "yes" if record.cached.is_file() else "no" if record.address else "by hand"
        table.add_row(
            record.name, record.architecture, record.data, record.score, record.licence, here
        )
    return table
