"""What a run of training shows of its epochs."""

from __future__ import annotations

import pytest

from heatpoint.training import report
from heatpoint.training.report import Display


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Returns the time in seconds, which the test sets."""
    now = [0.0]
    monkeypatch.setattr("heatpoint.training.report.time.monotonic", lambda: now[0])
    return now


def show(epochs: int, seconds: float, scored: int, clock: list[float]) -> None:
    display = Display()
    for epoch in range(1, epochs + 1):
        clock[0] += seconds
        display.ended(f"epoch {epoch}", epoch % scored == 0)


@pytest.mark.parametrize("seconds", [report.LINE_EVERY, 60.0])
def test_every_epoch_has_a_line(
    seconds: float, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    show(50, seconds, 7, clock)
    assert capsys.readouterr().out.split("\n")[:-1] == [f"epoch {n}" for n in range(1, 51)]


def test_of_very_short_epochs_some_have(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    show(report.LINES + 100, 0.5, 33, clock)
    lines = capsys.readouterr().out.split("\n")[:-1]
    first, said, *rest = lines[: report.LINES], *lines[report.LINES :]
    assert first == [f"epoch {n}" for n in range(1, report.LINES + 1)]
    assert said == "epochs are short: one line in 5 s; log.csv has them all"
    # Every tenth, and those with a score, behind which the next one comes five seconds later.
    shown = " ".join(line.split()[1] for line in rest)
    assert shown == "30 33 43 53 63 66 76 86 96 99 109 119"
