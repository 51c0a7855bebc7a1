"""What commands show while they work and when they are done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

Item = TypeVar("Item")


class Progress:
    """A bar on standard error that takes ``(done, total)``; silent where there is no terminal.

    Args:
        text: What is going on.
    """

    def __init__(self, text: str) -> None:
        self._bars = _bars(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._task = self._bars.add_task(text, total=None)

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def __call__(self, done: int, total: int) -> None:
        """Moves the bar to ``done`` of ``total``."""
        self._bars.update(self._task, completed=done, total=total)

    def step(self, name: str, done: int, total: int) -> None:
        """Names what is going on and moves the bar."""
        self._bars.update(self._task, description=name, completed=done, total=total)


def track(items: Iterable[Item], total: int, text: str) -> Iterator[Item]:
    """Yields the items while a bar counts them."""
    with Progress(text) as progress:
        for done, item in enumerate(items, 1):
            yield item
            progress(done, total)


def track_frames(frames: Iterable[Item], total: int | None, text: str) -> Iterator[Item]:
    """Yields the frames of a film while their number and speed are shown.

    Args:
        frames: Anything.
        total: How many are expected; None where nobody knows.
        text: What is going on.
    """
    count: tuple[ProgressColumn, ...] = (TextColumn("{task.completed} frames"),)
    if total is not None:
        count = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _bars(*count, _Speed()) as bars:
        task = bars.add_task(text, total=total)
        for frame in frames:
            yield frame
            bars.advance(task)


class _Speed(ProgressColumn):
    """Frames per second of the last half minute."""

    def render(self, task: Task) -> Text:
        """Returns the speed, nothing before the second frame."""
        return Text(f"{task.speed:.1f} frames/s" if task.speed else "")


def _bars(*columns: ProgressColumn) -> Bars:
    console = Console(stderr=True, emoji=False)
    name = TextColumn("{task.description}")
    return Bars(name, *columns, console=console, transient=True, disable=not console.is_terminal)


class _Output(Console):
    """Standard output; a reader that goes away ends the command, which is no mistake."""

    def on_broken_pipe(self) -> None:
        """Leaves the error to the command line, where rich would end the process with 1."""
        raise


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints rows under column titles."""
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*row)
    _Output(emoji=False).print(table)
