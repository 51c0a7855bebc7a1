"""What a network is shown in training: the samples of its codec's view, varied as asked for."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from heatpoint.codecs import Codec
from heatpoint.data import Annotations
from heatpoint.data.augment import Augment, PoseAugment
from heatpoint.data.dataset import TrainSet, varied
from heatpoint.data.readers import read
from heatpoint.data.skeleton import skeleton_of
from heatpoint.data.validate import clean, describe
from heatpoint.errors import HeatpointError
from heatpoint.training.options import TrainOptions
from heatpoint.views import input_size
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


@dataclass
class TrainingData:
    """What a run trains and validates on.

    Attributes:
        train: Cleaned training data.
        val: Validation data as it was read, so that ``evaluate`` gives the same score; without
            unreadable images if those are to be skipped.
        shown: Cleaned validation data, of which some is drawn.
        notes: Sentences about both for the person who trains.
    """

    train: Annotations
    val: Annotations
    shown: Annotations
    notes: list[str]


def load_data(options: TrainOptions, kind: type[Codec]) -> TrainingData:
    """Reads and cleans the data; all that is left out or clipped is counted in the notes.

    Args:
        options: Say where the data is.
        kind: What is learnt, and from which view.

    Raises:
        HeatpointError: Data cannot be read, images are bad, nothing is to be learnt from, or the
            validation data is about other things.
    """
    read_train = _read(options.data, options.images)
    read_val = _read(options.val, options.val_images)
    if "keypoints" in kind.learns:
        read_train = with_skeleton(read_train, options.skeleton)
        read_val = with_skeleton(read_val, options.skeleton)
    _check_pair(read_train, read_val, kind)
    train, notes = _clean(read_train, options.skip_bad, "training", kind)
    val, more = _clean(read_val, options.skip_bad, "validation", kind)
    if options.skip_bad:
        readable = {record.path for record in val.images}
        kept = [i for i, record in enumerate(read_val.images) if record.path in readable]
        read_val = read_val.subset(kept)
    return TrainingData(train, read_val, val, notes + more)


def with_skeleton(annotations: Annotations, skeleton: str) -> Annotations:
    """Returns data with the skeleton that its joints are to be read with.

    Args:
        annotations: The data.
        skeleton: Name or file of a skeleton; "" for the data's own.

    Raises:
        HeatpointError: The data has no joints, or not as many as the skeleton.
    """
    given = (record.keypoints for record in annotations.images)
    number = next((joints.shape[1] for joints in given if joints is not None), None)
    if number is None:
        raise HeatpointError(
            f"{annotations.source} has no joints, which a model of joints learns from; give COCO "
            "keypoints or another format that docs/pose.md lists, or choose a model that finds "
            "boxes (heatpoint models lists them)"
        )
    found = skeleton_of(skeleton) if skeleton else annotations.skeleton
    if found is None:
        raise HeatpointError(
            f"{annotations.source} does not name its {number} joints; name them with skeleton: "
            "coco17, mpii16, lsp14, flic11 or a JSON file"
        )
    if len(found) != number:
        raise HeatpointError(
            f"skeleton {skeleton} has {len(found)} joints, but every subject of "
            f"{annotations.source} has {number}; name the skeleton the data was labelled with, or "
            "leave skeleton out where the data names its joints"
        )
    return replace(annotations, skeleton=found)


def fingerprint(train: Annotations) -> dict[str, Any]:
    """Returns what tells one data set from another, wherever its files lie."""
    total = 0
    for record in train.images:
        total = zlib.crc32(record.path.name.encode(), total)
        for array in (record.boxes, record.labels, record.crowd, record.keypoints):
            if array is not None:
                total = zlib.crc32(np.ascontiguousarray(array).tobytes(), total)
    found = {"names": list(train.names), "images": len(train), "checksum": total}
    if train.skeleton is not None:
        found["skeleton"] = train.skeleton.as_dict()
    return found


def _read(data: str | Annotations, images: str) -> Annotations:
    return data if isinstance(data, Annotations) else read(data, images or None)


def _check_pair(train: Annotations, val: Annotations, kind: type[Codec]) -> None:
    """Makes sure that both are about the same classes and joints, in whatever order."""
    compared: list[tuple[str, Sequence[str], Sequence[str], str]] = []
    if not kind.view.asks:
        compared.append(("classes", train.names, val.names, "list the same classes in both"))
    if "keypoints" in kind.learns and train.skeleton and val.skeleton:
        remedy = "label the same joints in both, or name those of both with skeleton"
        compared.append(("joints", train.skeleton.joints, val.skeleton.joints, remedy))
    for what, one, other, remedy in compared:
        only = (
            (train.source, [name for name in one if name not in other]),
            (val.source, [name for name in other if name not in one]),
        )
        found = [f"only in {source}: {', '.join(names)}" for source, names in only if names]
        if found:
            raise HeatpointError(
                f"training and validation data have different {what}; {'; '.join(found)}; {remedy}"
            )


def _clean(
    annotations: Annotations, skip_bad: bool, role: str, kind: type[Codec]
) -> tuple[Annotations, list[str]]:
    """Returns the data without what is wrong in it, and sentences about it."""
    cleaned, counts = clean(annotations, skip_bad)
    empty = sum(not len(record) for record in cleaned.images)
    text = (
        f"{role} data {annotations.source}: {len(cleaned):,} images ({empty:,} of them empty), "
        f"{_content(cleaned, kind)}"
    )
    found = describe(counts)
    return cleaned, [text, f"  {found}"] if found else [text]


def _content(annotations: Annotations, kind: type[Codec]) -> str:
    """Returns what there is to learn, in words.

    Raises:
        HeatpointError: There is nothing.
    """
    samples = varied(kind.view)().samples(annotations)
    number = sum(len(objects) for _, objects in samples.places)
    if not number:
        raise HeatpointError(f"{annotations.source} holds no object to learn from or to score")
    if kind.view.asks:
        text = f"{number:,} subjects"
    else:
        by_class = annotations.counts()
        classes = ", ".join(f"{name} {count:,}" for name, count in list(by_class.items())[:12])
        more = f" and {len(by_class) - 12} more classes" if len(by_class) > 12 else ""
        text = f"{sum(by_class.values()):,} objects ({classes}{more})"
    if "keypoints" in kind.learns and annotations.skeleton is not None:
        records = [annotations.images[image].keypoints for image, _ in samples.places]
        labelled = sum(
            int((joints[objects, :, 2] > 0).sum())
            for joints, (_, objects) in zip(records, samples.places, strict=True)
            if joints is not None
        )
        text += f" of {len(annotations.skeleton)} joints, {labelled:,} of them labelled"
        if not annotations.skeleton.pairs:
            text += ", no left and right pairs to mirror"
    rest = ", ".join(f"{count:,} {why}" for why, count in samples.left_out.items() if count)
    return text + (f"; objects left out: {rest}" if rest else "")
