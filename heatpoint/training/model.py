"""The detector a run starts from: built anew, or taken from a file and fitted to the data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from heatpoint import zoo
from heatpoint.codecs.base import Codec
from heatpoint.data.annotations import Annotations
from heatpoint.data.subjects import subject_name
from heatpoint.errors import HeatpointError
from heatpoint.networks.detection_hourglass import DetectionHourglass
from heatpoint.training.options import TrainOptions
from heatpoint.views.base import input_size
from heatpoint.weights import checkpoint_path
from heatpoint.zoo.detector import Detector
from heatpoint.zoo.file import read_header

CODEC_OPTIONS = ("radius", "overlap", "max_detections", "size_region", "giou_weight")
"""Options that are fields of codecs, of those that have them."""


def kind_of(options: TrainOptions, stored: dict[str, Any] | None = None) -> type[Codec]:
    """Returns the kind of codec that is trained, which says what is learnt, and from which view.

    Args:
        options: What the user chose.
        stored: Header of a resumed run's detector.

    Raises:
        HeatpointError: No such model, an unreadable checkpoint, or a codec that is not known.
    """
    if stored is not None:
        return type(Codec.from_dict(stored["codec"], options.out))
    if options.weights:
        path = checkpoint_path(options.weights)
        return type(Codec.from_dict(read_header(path)["codec"], path))
    return zoo.kind(options.model)


def build_detector(
    options: TrainOptions, train: Annotations, stored: dict[str, Any] | None = None
) -> tuple[Detector, list[str]]:
    """Returns the detector to train, at the size to train at, and notes about its weights.

    Args:
        options: What the user chose.
        train: The data, whose classes or joints the detector finds.
        stored: Header of a resumed run's detector, which is rebuilt from it alone, with random
            weights to be replaced.

    Raises:
        HeatpointError: Unknown model, unreadable weights, a codec option out of range, or a size
            that the model cannot take.
    """
    if stored is not None:
        return _recomputing(Detector.from_header(stored, options.out), options), []
    notes = []
    asks = kind_of(options).view.asks
    names = (subject_name(train),) if asks else train.names
    if options.weights:
        detector = Detector.load(options.weights)
        fresh = detector.adapt(names, train.skeleton)
        tensors = f"initialised anew for this data: {', '.join(fresh)}" if fresh else "all kept"
        notes.append(f"weights of {options.weights}: {tensors}")
    else:
        detector = zoo.build(
            options.model,
            names,
            options.backbone_weights or None,
            options.pretrained,
            skeleton=train.skeleton,
        )
        if not options.backbone_weights and not options.pretrained:
            notes.append(
                "the backbone starts from random weights; pretrained or backbone_weights learn "
                "much faster"
            )
    chosen = {name: getattr(options, name) for name in CODEC_OPTIONS}
    given = {name: value for name, value in chosen.items() if value not in (None, "")}
    codec = detector.codec.tuned(detector.meta.get("architecture", "this model"), given)
    detector = replace(detector, codec=codec)
    network = detector.network
    size = input_size(options.size, detector.size, network.multiple, network.trim)
    detector.meta["size"] = list(size)
    for name, value in detector.settings.items():
        own = getattr(options, name, None)
        detector.meta[name] = value if own is None else own
    return _recomputing(detector, options), notes


def _recomputing(detector: Detector, options: TrainOptions) -> Detector:
    """Returns the detector, told to compute activations again if that is asked for."""
    if options.recompute:
        backbone = detector.network.backbone
        if not isinstance(backbone, DetectionHourglass):
            raise HeatpointError(
                "recompute is for models with a DetectionHourglass, which "
                f"{detector.meta.get('architecture')} has not; leave it out"
            )
        backbone.recompute()
    return detector
