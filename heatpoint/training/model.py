"""The detector a run starts from: built anew, or taken from a checkpoint and fitted to the data."""

from __future__ import annotations

from dataclasses import fields, replace

import torch

from heatpoint.codecs.types import Codec
from heatpoint.data.annotations import Annotations
from heatpoint.detector.detector import Detector
from heatpoint.errors import HeatpointError
from heatpoint.networks.backbones.hourglass import DetectionHourglass
from heatpoint.training.checks import input_size
from heatpoint.training.options import TrainOptions
from heatpoint.training.tasks import Task


def build_detector(
    options: TrainOptions, task: Task, train: Annotations
) -> tuple[Detector, list[str]]:
    """Returns the detector to train, at the size to train at, and notes about its weights.

    Raises:
        HeatpointError: Unknown model, unreadable weights, a codec option out of range, or a size
            that the model cannot take.
    """
    notes = []
    if options.weights:
        detector = Detector.load(options.weights)
        fresh = task.adapt(detector, train)
        tensors = f"initialised anew for this data: {', '.join(fresh)}" if fresh else "all kept"
        notes.append(f"weights of {options.weights}: {tensors}")
    else:
        detector = task.build(options, train)
        if not options.backbone_weights and not options.pretrained:
            notes.append(
                "the backbone starts from random weights; pretrained or backbone_weights learn "
                "much faster"
            )
    chosen = {name: getattr(options, name) for name in task.codec_options}
    given = {name: value for name, value in chosen.items() if value not in (None, "")}
    known = {field.name for field in fields(detector.codec)}
    foreign = [name for name in given if name not in known]
    if foreign:
        raise HeatpointError(
            f"{foreign[0]} is no choice for {detector.meta.get('architecture')}, whose codec is a "
            f"{type(detector.codec).__name__}; leave it out"
        )
    if given:
        detector = replace(detector, codec=replace(detector.codec, **given))
    network = detector.network
    if options.recompute:
        if not isinstance(network.backbone, DetectionHourglass):
            raise HeatpointError(
                "recompute is for models with a DetectionHourglass, which "
                f"{detector.meta.get('architecture')} has not; leave it out"
            )
        network.backbone.recompute()
    size = input_size(options.size, detector.size, network.multiple, trim=network.trim)
    detector.meta["size"] = list(size)
    return detector, notes


def loss_names(detector: Detector, task: Task) -> tuple[str, ...]:
    """Returns the names of the codec's loss terms, read off its loss of an empty sample."""
    codec: Codec = detector.codec
    size = detector.size
    height, width = size[0] // codec.stride, size[1] // codec.stride
    maps = {spec.name: torch.zeros(1, spec.channels, height, width) for spec in codec.maps}
    return tuple(codec.loss(maps, codec.encode([task.nothing(detector)], size)))
