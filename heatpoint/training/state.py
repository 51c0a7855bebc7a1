"""What a resumed run needs: everything that decides the next weights, in one file."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import nn

from heatpoint.errors import HeatpointError
from heatpoint.system.files import atomic_write, fits
from heatpoint.training.optimize import Ema
from heatpoint.training.options import differences
from heatpoint.weights import check_header

FORMAT = 2
Row = dict[str, float | int | None]

_CONTENT: dict[str, Any] = {
    **{"options": dict, "data": dict, "detector": str, "position": dict},
    **{"network": dict, "ema": dict, "ema_updates": int, "optimizer": dict},
    **{"random": torch.Tensor, "random_cuda": list},
}
"""What a resume file holds beside its format, and of which type."""


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        epoch: Number of finished epochs; finished includes validated, where that is due.
        step: Updates taken in the running epoch.
        updates: Updates taken in all.
        seconds: Wall-clock time used.
        validated: Value of ``updates`` at the last validation.
        best: Highest main score of a validation in [0, 1] so far; None before the first one.
        best_epoch: Epoch of the row in ``history`` that has it.
        sums: Sum of each loss term over the updates of the running epoch.
        history: One row per epoch, as in log.csv.
    """

    epoch: int = 0
    step: int = 0
    updates: int = 0
    seconds: float = 0.0
    validated: int = 0
    best: float | None = None
    best_epoch: float = 0
    sums: list[float] = field(default_factory=list)
    history: list[Row] = field(default_factory=list)


@dataclass
class Parts:
    """The objects a resume file is taken from and put back into.

    Attributes:
        network: The trained network, bare.
        ema: Its moving average.
        optimizer: The optimiser, bare.
        position: Where the run stands; replaced by ``restore``.
        options: Plain options of the run.
        data: What identifies the data, by ``fingerprint``.
        detector: What the network, its codec and names are rebuilt from, by ``Detector.header``.
    """

    network: nn.Module
    ema: Ema
    optimizer: torch.optim.Optimizer
    position: Position
    options: dict[str, Any]
    data: dict[str, Any]
    detector: dict[str, Any]


def save_resume(path: Path, parts: Parts) -> None:
    """Writes the resume file, atomically.

    The random state is that of this process: nothing but dropout draws from it, because order and
    augmentation are functions of (seed, epoch, index).

    Raises:
        HeatpointError: It cannot be written; the former file stays.
    """
    state = {
        "format": FORMAT,
        "options": parts.options,
        "data": parts.data,
        "detector": json.dumps(parts.detector),
        "position": asdict(parts.position),
        "network": parts.network.state_dict(),
        "ema": parts.ema.module.state_dict(),
        "ema_updates": parts.ema.updates,
        "optimizer": parts.optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    # In memory first: torch's own writer reports a full disk as a RuntimeError without its cause.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_resume(path: Path) -> dict[str, Any]:
    """Reads a resume file; nothing but tensors and plain containers is unpickled.

    Returns:
        What ``save_resume`` wrote, the header of the detector as ``Detector.header`` gave it.

    Raises:
        HeatpointError: There is none, it is damaged, or another version wrote it.
    """
    if not path.is_file():
        raise HeatpointError(
            f"there is no {path} to resume from; check out, or start without resume"
        )
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        written = state["format"]
        if written == FORMAT:
            found = {name: state[name] for name in _CONTENT}
            if not all(fits(found[name], kind) for name, kind in _CONTENT.items()):
                raise TypeError
            kinds = get_type_hints(Position)
            if not all(fits(found["position"][name], kind) for name, kind in kinds.items()):
                raise TypeError
            return {**found, "detector": check_header(found["detector"], path)}
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
        f"{path} has format {written}, this version reads {FORMAT}; "
        "start from last.safetensors with weights instead"
    )


def restore(state: dict[str, Any], parts: Parts, path: Path) -> None:
    """Puts a resume file's content back into the parts of a run that was just assembled.

    Raises:
        HeatpointError: Options or data differ from those of the run; lists the differences.
    """
    found = differences(state["options"], parts.options)
    found += [
        f"the {name} of the data were {state['data'].get(name)!r} and are {value!r}"
        for name, value in parts.data.items()
        if state["data"].get(name) != value
    ]
    if found:
        raise HeatpointError(
            f"cannot resume {path.parent} with other options: {'; '.join(found)}; "
            "repeat those of the run (options.json), or start a new one in another folder"
        )
    try:
        parts.network.load_state_dict(state["network"])
        parts.ema.module.load_state_dict(state["ema"])
        parts.ema.updates = state["ema_updates"]
        parts.optimizer.load_state_dict(state["optimizer"])
        parts.position = Position(**state["position"])
        torch.set_rng_state(state["random"])
        if torch.cuda.is_available() and len(state["random_cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state["random_cuda"])
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HeatpointError(
            f"{path} does not hold the state of this model ({reason}); start anew from "
            "last.safetensors with weights, in another folder"
        ) from error
