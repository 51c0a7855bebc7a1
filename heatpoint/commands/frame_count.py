"""The bar that counts frames, of which nobody may know how many will come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Item = TypeVar("Item")


class _Speed(ProgressColumn):
    """Frames per second of the last half minute."""

    def render(self, task: Task) -> Text:
        """Returns the speed, nothing before the second frame."""
        return Text(f"{task.speed:.1f} frames/s" if task.speed else "")


def counted(frames: Iterable[Item], total: int | None, text: str) -> Iterator[Item]:
    """Yields the frames while a bar on standard error counts them; silent without a terminal.

    Args:
        frames: Anything.
        total: How many are expected; None shows their number and speed only.
        text: What is going on.
    """
    console = Console(stderr=True, emoji=False)
    known = () if total is None else (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    count = () if total is not None else (TextColumn("{task.completed} frames"),)
    bars = Progress(
        TextColumn("{task.description}"),
        *known,
        *count,
        _Speed(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bars:
        task = bars.add_task(text, total=total)
        for frame in frames:
            yield frame
            bars.advance(task)
