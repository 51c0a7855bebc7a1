"""Where a run stands, what it came to, and the one file that a resumed run needs."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import torch

from heatpoint.errors import HeatpointError
from heatpoint.system.files import atomic_write, check_file, fits
from heatpoint.weights import check_header

FORMAT = 3
Row = dict[str, float | int | None]
"""What log.csv says about an epoch."""

_CONTENT: dict[str, Any] = {
    **{"options": dict, "data": dict, "detector": str, "position": dict},
    **{"network": dict[str, torch.Tensor], "ema": dict[str, torch.Tensor]},
    **{"ema_updates": int, "optimizer": dict},
    **{"random": torch.Tensor, "random_cuda": list},
}
"""What a resume file holds beside its format, and of which type."""


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        epoch: Number of finished epochs; finished includes validated, where that is due.
        step: Updates taken in the running epoch.
        seen: Images of the running epoch that they took.
        stage: Which part of the run it stands in, from 0.
        updates: Updates taken in all.
        seconds: Wall-clock time used.
        reserve: Seconds that are held back for a validation; see ``Clock``.
        validated: Value of ``updates`` at the last validation.
        best: Highest main score of a validation in [0, 1] so far; None before the first one.
        best_epoch: Epoch of the row in ``history`` that has it.
        sums: Sum of each loss term over the updates of the running epoch.
        history: One row per epoch, as in log.csv.
        table: The scores of the best validation, as ``evaluate`` prints them.
        turns: Whether pictures are turned since it was found that they have no upright; None before
            that is found out.
        logged: What services that are told the numbers call the run, by their loggers' class.
    """

    epoch: int = 0
    step: int = 0
    seen: int = 0
    stage: int = 0
    updates: int = 0
    seconds: float = 0.0
    reserve: float = 0.0
    validated: int = 0
    best: float | None = None
    best_epoch: float = 0
    sums: list[float] = field(default_factory=list)
    history: list[Row] = field(default_factory=list)
    table: str = ""
    turns: bool | None = None
    logged: dict[str, str] = field(default_factory=dict)


@dataclass
class TrainResult:
    """What a run came to.

    Attributes:
        out: The run's folder.
        best: Checkpoint with the highest score; it does not exist before a validation.
        last: Checkpoint of the last weights.
        score: Highest validation score in [0, 1], that of ``best``; None before a validation.
        score_name: What it is: "ap" (COCO, 0.5:0.95) for boxes, "pck@0.1" for joints in crops.
        best_epoch: Epoch that ``best`` is from.
        epochs: Finished epochs.
        updates: Updates of the weights.
        seconds: Wall-clock time.
        finished: Whether the schedule came to its end.
        early: Whether it did not because ``patience`` was over.
        interrupted: Whether a signal stopped the run.
        history: One row per epoch, as in log.csv.
    """

    out: Path
    best: Path
    last: Path
    score: float | None
    score_name: str
    best_epoch: float
    epochs: int
    updates: int
    seconds: float
    finished: bool
    early: bool
    interrupted: bool
    history: list[Row] = field(default_factory=list)

    @property
    def ap(self) -> float | None:
        """The score of a run that learnt boxes; None before a validation and for joints."""
        return self.score if self.score_name == "ap" else None


def check_unused(out: Path) -> None:
    """Refuses a folder that holds a run.

    Raises:
        HeatpointError: It does.
    """
    if (out / "resume.pt").exists():
        raise HeatpointError(
            f"{out} already holds a run; go on with it by resume, or choose another out"
        )


def save_resume(path: Path, state: dict[str, Any]) -> None:
    """Writes the resume file, what ``Run.state`` returned, atomically.

    Raises:
        HeatpointError: It cannot be written; the former file stays.
    """
    # In memory first: torch's own writer reports a full disk as a RuntimeError without its cause.
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_resume(path: Path) -> dict[str, Any]:
    """Reads a resume file; nothing but tensors and plain containers is unpickled.

    Returns:
        What ``save_resume`` wrote, the header of the detector as ``Detector.header`` gave it.

    Raises:
        HeatpointError: There is none, it is damaged, or another version wrote it.
    """
    check_file(path, "; to resume from it, check out, or start without resume")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] == FORMAT:
            kinds = get_type_hints(Position)
            for name, value in (("turns", None), ("reserve", 0.0)):  # not in files of older runs
                state["position"].setdefault(name, value)
            checked = [(state[name], kind) for name, kind in _CONTENT.items()]
            checked += [(state["position"][name], kind) for name, kind in kinds.items()]
            if not all(fits(value, kind) for value, kind in checked):
                raise TypeError
            return {**state, "detector": check_header(state["detector"], path)}
    except HeatpointError:
        raise
    except OSError as error:
        raise HeatpointError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged file makes torch raise errors of every kind
        raise HeatpointError(
            f"{path} is not a resume file of heatpoint, or is damaged; start anew from "
            "last.safetensors with weights, in another folder"
        ) from error
    raise HeatpointError(
        f"{path} has format {state['format']}, this version reads {FORMAT}; "
        "start from last.safetensors with weights instead"
    )
