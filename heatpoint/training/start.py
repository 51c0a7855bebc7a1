"""The detector that a run starts from: built anew, or taken from a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from heatpoint import zoo
from heatpoint.codecs import Codec
from heatpoint.data import Annotations
from heatpoint.data.scene import subject_name
from heatpoint.errors import HeatpointError
from heatpoint.networks.hourglasses import DetectionHourglass
from heatpoint.training.data import statistics
from heatpoint.training.recipe import Recipe
from heatpoint.views import input_size
from heatpoint.weights import LEAST, checkpoint_path, read_header
from heatpoint.zoo.detector import Detector
from heatpoint.zoo.fit import shapes_of

CODEC_OPTIONS = (
    "radius",
    "overlap",
    "alpha",
    "beta",
    "max_detections",
    "heatmap_bias",
    "measure",
    "size_region",
    "neighbours",
    "per_class",
    "giou_weight",
    "shape_weight",
    "point_radius",
    "spacing",
    "density",
    "order",
)
"""Options that are fields of codecs, of those that have them."""


def kind_of(options: Recipe, stored: dict[str, Any] | None = None) -> type[Codec]:
    """Returns the kind of codec that is trained, which says what is learnt, and from which view.

    Args:
        options: What the user chose.
        stored: Header of a resumed run's detector.

    Raises:
        HeatpointError: No such model, an unreadable checkpoint, or a codec that is not known.
    """
    if stored is None and not options.weights:
        return zoo.kind(options.model)
    path = options.out if stored else checkpoint_path(options.weights)
    return type(Codec.from_dict((stored or read_header(Path(path)))["codec"], path))


def build_detector(
    options: Recipe, train: Annotations, state: dict[str, Any] | None = None
) -> tuple[Detector, list[str]]:
    """Returns the detector to train, at the size to train at, and notes about its weights.

    Args:
        options: What the user chose.
        train: The data, whose classes or joints the detector finds.
        state: Content of a resume file, from whose header alone the detector is rebuilt, with
            random weights to be replaced.

    Raises:
        HeatpointError: Unknown model, unreadable weights, a codec option out of range, or a size
            that the model cannot take.
    """
    notes: list[str] = []
    if state is not None:
        shapes = shapes_of(state["ema"])
        detector = Detector.from_header(state["detector"], shapes, Path(options.out, "resume.pt"))
    else:
        detector, notes = _chosen(options, train)
    if options.recompute:
        backbone = detector.network.backbone
        if not isinstance(backbone, DetectionHourglass):
            raise HeatpointError(
                "recompute is for models with a DetectionHourglass, which "
                f"{detector.meta.get('architecture')} has not; leave it out"
            )
        backbone.recompute()
    return detector, notes


def _chosen(options: Recipe, train: Annotations) -> tuple[Detector, list[str]]:
    """Returns the detector that the options describe, fitted to the data; see above."""
    kind, names = kind_of(options), train.names
    if kind.view.asks:
        names = (subject_name(train, "keypoints" in kind.learns),)
    backbone, notes = options.backbone_weights, []
    given = {name: getattr(options, name) for name in CODEC_OPTIONS}
    given = {name: value for name, value in given.items() if value not in (None, "")}
    if options.weights:
        detector = Detector.load(options.weights)
        detector.meta.pop(LEAST, None)  # it was that of the old weights
        detector = _with_choices(detector, given, options.weights)
        fresh = detector.adapt(names, train.skeleton)
        tensors = f"initialised anew for this data: {', '.join(fresh)}" if fresh else "all kept"
        notes.append(f"weights of {options.weights}: {tensors}")
    else:
        detector = zoo.build(
            options.model,
            names,
            backbone,
            options.pretrained,
            skeleton=train.skeleton,
            choices=given,
        )
        if not backbone and not options.pretrained:
            notes.append(
                "the backbone starts from random weights; pretrained or backbone_weights learn "
                "much faster"
            )
            if options.freeze:
                notes.append("warning: freeze keeps the first of these random layers as they are")
    if train.bands != detector.bands:
        notes.append(_adapted(detector, train))
    network = detector.network
    size = input_size(options.size, detector.size, network.multiple, network.trim)
    detector.meta |= {"size": list(size), "bits": train.bits}
    for name, value in detector.settings.items():
        own = getattr(options, name, None)
        detector.meta[name] = value if own is None else own
    kind.view(size, network.multiple, network.trim, **detector.settings)  # refuses what is too much
    return detector, notes


def _with_choices(detector: Detector, given: dict[str, Any], weights: str) -> Detector:
    """Returns a trained detector with other values of its codec's fields.

    Raises:
        HeatpointError: The codec has no such field, or learns other maps with it.
    """
    codec = detector.codec.tuned(detector.meta.get("architecture", "this model"), given)
    has, needs = (
        {spec.name: spec.channels for spec in each.maps} for each in (detector.codec, codec)
    )
    if has != needs:
        told = ", ".join(f"{name}={value}" for name, value in given.items())
        raise HeatpointError(
            f"{weights} gives the maps {has}, but {told} needs {needs}; leave that out, or train "
            "without weights"
        )
    return replace(detector, codec=codec)


def _adapted(detector: Detector, train: Annotations) -> str:
    """Makes a detector take pictures as the data has them; returns a sentence about it."""
    before, bands = detector.bands, train.bands
    detector.take(bands)
    mean, std, count = statistics(train)
    detector.network.set_normalisation(mean, std)
    told = ", ".join(f"{m:.4g} ± {s:.3g}" for m, s in zip(mean, std, strict=True))
    return (
        f"pictures of {bands}, the first convolution is adapted from {before.channels}; mean and "
        f"standard deviation by channel, of {count} pictures: {told}"
    )
