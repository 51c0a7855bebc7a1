"""What a run is told, with nothing left open: the options that a plan has filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Literal

from heatpoint.errors import HeatpointError
from heatpoint.options import Data, File, Gigabytes, Model, Windows
from heatpoint.training.options import TrainOptions

if TYPE_CHECKING:
    from heatpoint.data import Annotations

PUBLISHED_EPOCHS = 140

FREE_ON_RESUME = frozenset(
    {
        *("data", "val", "images", "val_images", "out", "resume", "pictures", "recompute"),
        *("epochs", "minutes", "stop_after", "eval_every", "patience", "logger"),
        *("accelerator", "devices", "nodes", "strategy", "workers", "threads", "cache"),
    }
)
"""Options that may differ when a run is resumed.

Files may have moved (their content is compared instead), the machine may be another one, and the
run may be made longer or shorter, which bends the learning-rate schedule. All others must agree.
"""

FREE_AMONG_PROCESSES = FREE_ON_RESUME - {
    *("epochs", "minutes", "stop_after", "eval_every", "patience"),
}
"""Options that may differ among the processes of one run: not those that say when all of them
validate or stop, for one would wait for the others."""


@dataclass
class Recipe(TrainOptions):
    """The options of a run, complete.

    Defaults are those of the published training where it says something, for who trains without a
    plan, as the demo does.

    Raises:
        HeatpointError: The run has no end.
    """

    val: Data | Annotations = ""
    _: KW_ONLY
    model: Model = "centernet_resnet18"
    backbone_weights: File = ""
    freeze: int = 0
    epochs: int | None = PUBLISHED_EPOCHS
    batch_size: int = 16
    optimizer: Literal["muon", "adamw", "adam", "sgd"] = "adamw"
    lr: float = 5e-4
    schedule: Literal["cooldown", "cosine", "steps"] = "cooldown"
    warmup: float = 0.03
    ema: float = 0.9998
    precision: Literal["bf16", "fp32"] = "fp32"
    augment: Literal["published", "mild", "none"] = "published"
    mosaic: float = 0.0
    find_upright: bool = False
    repeat_rare: float = 0.0
    window: Windows = 0
    eval_every: int = 1
    workers: int = 0
    threads: int = 1
    cache: Gigabytes = 0.0

    def __post_init__(self) -> None:
        if self.epochs is None and self.minutes is None:
            raise HeatpointError("a run needs an end: give epochs or minutes")


def milestones(options: Recipe) -> tuple[float, ...]:
    """Returns where the schedule steps drops, in ascending fractions of the run."""
    if options.steps is None or options.epochs is None:
        return (90 / PUBLISHED_EPOCHS, 120 / PUBLISHED_EPOCHS)
    return tuple(sorted(epoch / options.epochs for epoch in options.steps))


def plain(options: Recipe) -> dict[str, Any]:
    """Returns the options as JSON values; data given in memory is named by its source."""
    values = {name: getattr(value, "source", value) for name, value in vars(options).items()}
    if isinstance(values["window"], Mapping):
        values["window"] = [[_listed(size), share] for size, share in values["window"].items()]
    return {name: _listed(value) for name, value in values.items()}


def window_of(saved: Any) -> Any:
    """Returns the value of ``window`` that ``plain`` wrote."""
    if isinstance(saved, list) and saved and isinstance(saved[0], list):
        return {tuple(s) if isinstance(s, list) else s: share for s, share in saved}
    return tuple(saved) if isinstance(saved, list) else saved


def _listed(value: Any) -> Any:
    """Returns tuples as the lists that JSON has."""
    return list(value) if isinstance(value, tuple) else value


def differences(
    saved: dict[str, Any], now: dict[str, Any], free: frozenset[str] = FREE_ON_RESUME
) -> list[str]:
    """Returns one phrase for every option that differs and is not ``free`` to.

    An option that did not exist when the run was saved had its default's effect.
    """
    compared = {
        name: (saved.get(name, getattr(Recipe, name)), value)
        for name, value in now.items()
        if name not in free
    }
    return [
        f"{n} was {was!r} and is {value!r}" for n, (was, value) in compared.items() if was != value
    ]
