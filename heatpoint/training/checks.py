"""Refuses options of a training run that cannot be meant, before anything is read."""

from __future__ import annotations

from heatpoint.errors import HeatpointError
from heatpoint.geometry.sizes import less, next_multiple
from heatpoint.training.options import TrainOptions, total_epochs

_LEAST: dict[str, float] = {
    **{"batch_size": 1, "accumulate": 1, "eval_every": 1, "max_detections": 1},
    **{"devices": 1, "nodes": 1, "threads": 1},
    **{"workers": 0, "weight_decay": 0, "warmup": 0, "clip": 0, "seed": 0, "cache": 0},
}
_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("adamw", "adam", "sgd"),
    "schedule": ("cosine", "steps"),
    "precision": ("auto", "bf16", "fp32"),
    "augment": ("published", "mild", "none"),
    "radius": ("", "legacy", "fixed", "half-fixed"),
    "accelerator": ("auto", "cpu", "cuda", "mps"),
}


def check(options: TrainOptions) -> None:
    """Refuses values that cannot be meant.

    Raises:
        HeatpointError: Names the option, the value, and what is allowed.
    """
    for name, least in _LEAST.items():
        value = getattr(options, name)
        if value is not None and not value >= least:
            raise HeatpointError(f"{name} must be at least {least}, not {value}")
    for name in ("epochs", "minutes", "lr", "stop_after", "padding"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise HeatpointError(f"{name} must be above 0, not {value}")
    for name, allowed in _CHOICES.items():
        if getattr(options, name) not in allowed:
            named = ", ".join(repr(word) for word in allowed if word)
            raise HeatpointError(f"{name} is one of {named}, not {getattr(options, name)!r}")
    if not 0 <= options.ema < 1:
        raise HeatpointError(f"ema is a decay of at least 0 and below 1, not {options.ema}")
    for name in ("mosaic", "flip"):
        if not 0 <= (getattr(options, name) or 0) <= 1:
            raise HeatpointError(f"{name} is a probability, not {getattr(options, name)}")
    if options.half_body is not None and not 0 <= options.half_body <= 1:
        raise HeatpointError(f"half_body is a probability, not {options.half_body}")
    if options.rotate is not None and not 0 <= options.rotate <= 180:
        raise HeatpointError(f"rotate is an angle from 0 to 180 degrees, not {options.rotate}")
    if options.overlap is not None and not 0 < options.overlap < 1:
        raise HeatpointError(f"overlap is an IoU between 0 and 1, not {options.overlap}")
    epochs = total_epochs(options)
    if options.steps is not None and options.schedule == "steps":
        if epochs is None:
            raise HeatpointError("steps are epochs: say how many there are with epochs")
        if any(not 0 < epoch < epochs for epoch in options.steps):
            raise HeatpointError(
                f"steps are epochs above 0 and below epochs={epochs}, not {options.steps}"
            )
    if isinstance(options.val, str) and not options.val:
        raise HeatpointError(
            "name validation data with val (or --val): it decides which weights are best; "
            "heatpoint never holds out part of the training data unasked"
        )
    if options.weights and (options.backbone_weights or options.pretrained):
        raise HeatpointError(
            "weights already holds a trained backbone; leave out backbone_weights and pretrained"
        )


def input_size(
    size: int | list[int] | None,
    own: tuple[int, int],
    multiple: int,
    name: str = "size",
    trim: int = 0,
) -> tuple[int, int]:
    """Returns the (height, width) that an option means.

    Args:
        size: What the user said.
        own: The model's own size, used if the user said nothing.
        multiple: Number of pixels that every side must be divisible by.
        name: The option's name, for the message.
        trim: Pixels by which every side must fall short of that; see ``Network.trim``.

    Raises:
        HeatpointError: A side is not a positive multiple; names the next legal size.
    """
    sides = own if size is None else (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2:
        raise HeatpointError(f"{name} is one number or height and width, not {size}")
    height, width = sides
    legal = tuple(next_multiple(side, multiple, trim) for side in (height, width))
    if legal != (height, width):
        next_size = str(legal[0]) if legal[0] == legal[1] else f"{legal[0]} by {legal[1]}"
        raise HeatpointError(
            f"{name} {height}x{width}: this model needs sides divisible by {multiple}{less(trim)}; "
            f"the next legal size is {next_size}"
        )
    return height, width
