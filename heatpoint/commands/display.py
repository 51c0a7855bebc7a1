"""What commands show while they work and when they are done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich import progress
from rich.console import Console
from rich.table import Table
from rich.text import Text

Item = TypeVar("Item")


class Progress(progress.Progress):
    """A bar on standard error that takes ``(done, total)``; silent where there is no terminal.

    Args:
        text: What is going on.
        columns: What is shown behind the text; the bar, the number and the time left by default.
    """

    def __init__(self, text: str, *columns: progress.ProgressColumn) -> None:
        console = Console(stderr=True, emoji=False)
        super().__init__(
            progress.TextColumn("{task.description}"),
            *(columns or _counted()),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._shown = self.add_task(text, total=None)

    def __call__(self, done: int, total: int) -> None:
        """Moves the bar to ``done`` of ``total``."""
        self.update(self._shown, completed=done, total=total)

    def step(self, name: str, done: int, total: int) -> None:
        """Names what is going on and moves the bar."""
        self.update(self._shown, description=name, completed=done, total=total)


def track(
    items: Iterable[Item], total: int | None, text: str, unit: str = "pictures"
) -> Iterator[Item]:
    """Yields the items while their number and speed are shown.

    Args:
        items: Anything.
        total: How many are expected; None where nobody knows.
        text: What is going on.
        unit: What the items are.
    """
    counted = [] if total is None else _counted()
    with Progress(text, *counted, _Speed(unit)) as bars:
        yield from bars.track(items, total, task_id=bars.task_ids[0])


class _Speed(progress.ProgressColumn):
    """Items per second of the last half minute; their number where no bar shows it."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: progress.Task) -> Text:
        """Returns the speed, nothing before the second item."""
        number = f"{task.completed:.0f} {self._unit}" if task.total is None else ""
        return Text(number + (f" {task.speed:.1f} {self._unit}/s" if task.speed else ""))


def _counted() -> list[progress.ProgressColumn]:
    return [progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeRemainingColumn()]


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
