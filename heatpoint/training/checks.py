"""Refuses options of a training run that cannot be meant, before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Literal, get_args, get_origin

from heatpoint.errors import HeatpointError
from heatpoint.options.keywords import types_of
from heatpoint.training.options import TrainOptions, total_epochs

_RANGES: tuple[tuple[str, Callable[[float], bool], tuple[str, ...]], ...] = (
    (
        "must be at least 1",
        lambda value: value >= 1,
        ("batch_size", "accumulate", "eval_every", "max_detections", "devices", "nodes", "threads"),
    ),
    (
        "must be at least 0",
        lambda value: value >= 0,
        ("workers", "weight_decay", "warmup", "clip", "freeze", "seed", "cache"),
    ),
    (
        "must be above 0",
        lambda value: value > 0,
        ("epochs", "minutes", "lr", "stop_after", "padding"),
    ),
    ("is a probability", lambda value: 0 <= value <= 1, ("mosaic", "flip", "half_body")),
    ("is a decay of at least 0 and below 1", lambda value: 0 <= value < 1, ("ema",)),
    ("is an angle from 0 to 180 degrees", lambda value: 0 <= value <= 180, ("rotate",)),
    ("is an IoU between 0 and 1", lambda value: 0 < value < 1, ("overlap",)),
)
"""What is allowed, a test of it, and the numbers that must pass it."""


def check(options: TrainOptions) -> None:
    """Refuses values that cannot be meant.

    Raises:
        HeatpointError: Names the option, the value, and what is allowed.
    """
    for words, allowed, names in _RANGES:
        for name in names:
            value = getattr(options, name)
            if value is not None and not allowed(value):
                raise HeatpointError(f"{name} {words}, not {value}")
    types = types_of(TrainOptions)
    for name in (field.name for field in fields(TrainOptions)):
        hint, value = types[name], getattr(options, name)
        choices = get_args(hint)
        if get_origin(hint) is Literal and value not in choices:
            named = ", ".join(repr(word) for word in choices if word)
            raise HeatpointError(f"{name} is one of {named}, not {value!r}")
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
