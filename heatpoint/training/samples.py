"""What a network is shown in training: the samples of its codec's view, varied as asked for."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from heatpoint.codecs.base import Codec
from heatpoint.data.annotations import Annotations
from heatpoint.data.augment import Augment
from heatpoint.data.dataset import TrainSet, varied
from heatpoint.data.pose_augment import PoseAugment
from heatpoint.errors import HeatpointError
from heatpoint.training.options import TrainOptions
from heatpoint.views.base import input_size
from heatpoint.zoo.detector import Detector


def check_samples(options: TrainOptions, kind: type[Codec]) -> None:
    """Refuses options that mean nothing for what a kind of codec learns, and from which view.

    Raises:
        HeatpointError: Names the option, and what it is for.
    """
    model, own = options.weights or options.model, varied(kind.view)
    defaults = {field.name: field.default for field in fields(options)}
    for other in (Augment, PoseAugment):
        for name in other.options.keys() - own.options.keys():
            if getattr(options, name) != defaults[name]:
                raise HeatpointError(
                    f"{name} is an option of models that look at {other.sees}, but {model} looks "
                    f"at {own.sees}; leave it out or choose another model (heatpoint models lists "
                    "them)"
                )
    if options.skeleton and "keypoints" not in kind.learns:
        raise HeatpointError(
            f"skeleton is an option of models that find joints, but {model} finds none; leave it "
            "out or choose another model (heatpoint models lists them)"
        )


def training_set(options: TrainOptions, train: Annotations, detector: Detector) -> TrainSet:
    """Returns the samples at the detector's size.

    Raises:
        HeatpointError: A window that does not fit the input, or options that exclude each other.
    """
    codec = detector.codec
    kind = varied(codec.view)
    augment = kind.named(options.augment)
    own = detector.settings
    given: dict[str, Any] = {
        field: own.get(field, getattr(options, name)) for name, field in kind.options.items()
    }
    if given.get("window") is not None:
        given["window"] = _window(given["window"], detector)
    # A switch turns half of the samples.
    given = {name: 0.5 if value is True else value for name, value in given.items()}
    given = {n: value for n, value in given.items() if value is not None and value is not False}
    given["flip"] = options.flip
    if options.flip is None:
        pairs = train.skeleton is not None and train.skeleton.pairs
        given["flip"] = augment.flip if "keypoints" not in codec.learns or pairs else 0.0
    cache = round(options.cache * 2**30)
    augment = replace(augment, **given)  # type: ignore[type-var]
    return TrainSet(train, detector.size, augment, options.seed, cache, codec.learns)


def _window(window: int | list[int], detector: Detector) -> tuple[int, int]:
    network, size = detector.network, detector.size
    height, width = input_size(window, size, network.multiple, network.trim, "window")
    if height > size[0] or width > size[1]:
        raise HeatpointError(
            f"window {height}x{width} is larger than the input of {size[0]}x{size[1]} pixels; "
            "choose a part of it"
        )
    return height, width
