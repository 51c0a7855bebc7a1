"""``heatpoint models``: lists the architectures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from heatpoint.commands.arguments import CommandParser


@dataclass
class Models:
    """Lists the architectures that ``--model`` takes."""

    classes: int = 80
    """Number of classes to count the parameters for."""


def run(words: Sequence[str]) -> int:
    """Prints one row per architecture."""
    options = CommandParser("models", Models, "Lists the architectures that --model takes.").parse(
        words
    )
    from rich.console import Console
    from rich.table import Table

    from heatpoint.zoo import MODELS

    table = Table("name", "input", "stride", "parameters", "what it is", box=None)
    for name, make in MODELS.items():
        detector = make([str(index) for index in range(options.classes)])
        parameters = sum(p.numel() for p in detector.network.parameters())
        height, width = detector.size
        summary = (make.__doc__ or "").strip().splitlines()[0]
        table.add_row(
            name,
            f"{height}x{width}",
            str(detector.codec.stride),
            f"{parameters / 1e6:.1f} M",
            summary,
        )
    Console(emoji=False).print(table)
    return 0
