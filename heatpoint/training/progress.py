"""What a person sees while a model trains: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

LIVE_EVERY = 0.5
PLAIN_EVERY = 30.0


class Display:
    """Shows loss, best score, images per second and time left, on the standard output.

    Args:
        score: Column of the score that decides which weights are best.
        quiet: Show nothing; for every process but the first.
        console: Where to show it.
    """

    def __init__(self, score: str, quiet: bool = False, console: Console | None = None) -> None:
        self._score = score
        self._console = console or Console(
            quiet=quiet, highlight=False, soft_wrap=True, emoji=False
        )
        self._quiet = quiet
        self._live: Progress | None = None
        self._task: TaskID | None = None
        self._shown = self._since = time.monotonic()
        self._images = 0
        self._title = ""
        self._best = ""

    def say(self, text: str) -> None:
        """Prints a line, above the live one if there is one."""
        self._console.print(text, markup=False)

    def start_epoch(self, title: str, steps: int, done: int, best: float | None) -> None:
        """Begins an epoch of ``steps`` updates of which ``done`` are behind."""
        self._title, self._images = title, 0
        self._shown = self._since = time.monotonic()
        self._best = "" if best is None else f"best {score_title(self._score)} {100 * best:.1f}"
        if self._console.is_terminal and not self._quiet:
            self._live = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                TextColumn("{task.completed}/{task.total}  {task.fields[numbers]}"),
                console=self._console,
                transient=True,
            )
            self._task = self._live.add_task(title, total=steps, completed=done, numbers="")
            self._live.start()

    def advance(
        self,
        step: int,
        images: int,
        loss: Callable[[], float],
        remaining: Callable[[], float | None],
    ) -> None:
        """Counts an update; asks for the loss, which waits for the device, only when it is shown.

        Args:
            step: Updates of this epoch so far.
            images: Images in this update.
            loss: Returns the mean loss of the running epoch.
            remaining: Returns an estimate of the seconds left, or None.
        """
        self._images += images
        if self._quiet:
            return
        now = time.monotonic()
        if now - self._shown < (LIVE_EVERY if self._live else PLAIN_EVERY):
            return
        self._shown = now
        speed = self._images / max(now - self._since, 1e-9)
        left = remaining()
        numbers = [f"loss {loss():.3f}", f"{speed:.1f} images/s", self._best]
        numbers.append("" if left is None else f"{duration(left)} left")
        text = "  ".join(part for part in numbers if part)
        if self._live is not None and self._task is not None:
            self._live.update(self._task, completed=step, numbers=text)
        else:
            self.say(f"{self._title}  update {step}  {text}")

    def speed(self) -> float:
        """Returns the images per second of the running epoch."""
        return self._images / max(time.monotonic() - self._since, 1e-9)

    def end_epoch(self) -> None:
        """Takes the live line away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def score_title(score: str) -> str:
    """Returns the name of a score as people write it: "AP50" for the column "ap50"."""
    return score.upper()


def duration(seconds: float) -> str:
    """Returns a time span in words a person reads at a glance: "45 s", "12 min", "3 h 5 min"."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
