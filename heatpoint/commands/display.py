"""What commands show while they work and when they are done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

Item = TypeVar("Item")


class Progress:
    """A bar on standard error that takes ``(done, total)``; silent where there is no terminal.

    Args:
        text: What is going on.
    """

    def __init__(self, text: str) -> None:
        columns = (TextColumn("{task.description}"), BarColumn())
        console = Console(stderr=True, emoji=False)
        self._bars = Bars(
            *columns,
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
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


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints rows under column titles."""
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*row)
    Console(emoji=False).print(table)
