"""What a network is shown in training: the samples of its codec's view, varied as asked for."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from heatpoint.codecs import Codec
from heatpoint.data import Annotations, Size
from heatpoint.data.augment import Augment
from heatpoint.data.bands import one_kind
from heatpoint.data.combining import merge
from heatpoint.data.dataset import TrainSet, varied
from heatpoint.data.duplicates import shared_files
from heatpoint.data.images import load_image
from heatpoint.data.own_augment import OwnAugment
from heatpoint.data.pose_augment import PoseAugment
from heatpoint.data.quads import as_learnt
from heatpoint.data.readers import read
from heatpoint.data.suspects import class_findings
from heatpoint.data.validate import clean, describe
from heatpoint.errors import HeatpointError
from heatpoint.geometry import RGB
from heatpoint.options import Data
from heatpoint.training.recipe import Recipe
from heatpoint.views import input_size
from heatpoint.wording import amount
from heatpoint.zoo.detector import Detector


def check_samples(options: Recipe, kind: type[Codec]) -> None:
    """Refuses options that mean nothing for what a kind of codec learns, and from which view.

    Raises:
        HeatpointError: Names the option, and what it is for.
    """
    model, own = options.weights or options.model, varied(kind.view)
    for other in (Augment, PoseAugment):
        for name in other.options.keys() - own.options.keys():
            if getattr(options, name) != getattr(Recipe, name):
                raise HeatpointError(
                    f"{name} is an option of models that look at {other.sees}, but {model} looks "
                    f"at {own.sees}; leave it out or choose another model (heatpoint models lists "
                    "them)"
                )
    if options.margin is not None and "margin" not in kind.view.settings:
        raise HeatpointError(
            f"margin is about models that look at each whole picture once, which {model} does not; "
            "leave it out"
        )
    if options.train_size and own is not Augment:
        raise HeatpointError(
            f"train_size is about models that look at {Augment.sees}, but {model} looks at "
            f"{own.sees}; leave it out"
        )
    if options.find_upright and own is not Augment:
        raise HeatpointError(
            f"find_upright is about models that look at {Augment.sees}, but {model} looks at "
            f"{own.sees}; leave it out"
        )
    if options.rotate is not None and own is Augment and not kind.learns & {"points", "quads"}:
        raise HeatpointError(
            f"rotate turns whole pictures, but {model} learns boxes, which cannot lie turned; "
            "leave it out or choose a model of points or four corners (heatpoint models lists them)"
        )
    if options.points and "points" not in kind.learns:
        raise HeatpointError(
            f"points is an option of models that find points, but {model} finds none; leave it out "
            "or choose another model (heatpoint models lists them)"
        )
    if options.skeleton and "keypoints" not in kind.learns:
        raise HeatpointError(
            f"skeleton is an option of models that find joints, but {model} finds none; leave it "
            "out or choose another model (heatpoint models lists them)"
        )


def train_size(options: Recipe, detector: Detector) -> Size:
    """Returns the (H, W) at which training shows whole pictures: the detector's, or a smaller one.

    Raises:
        HeatpointError: Windows are shown instead, or the size is illegal or larger.
    """
    given, size, network = options.train_size, detector.size, detector.network
    if not given:
        return size
    if options.window:
        raise HeatpointError(
            "train_size is that of whole pictures, but window shows parts of them; give one of both"
        )
    found = input_size(given, size, network.multiple, network.trim, "train_size")
    if found[0] > size[0] or found[1] > size[1]:
        raise HeatpointError(
            f"train_size {found[0]}x{found[1]} is larger than the size of {size[0]}x{size[1]} "
            "pixels that the model is to predict at; choose a smaller one, or a larger size"
        )
    return found


def training_set(options: Recipe, train: Annotations, detector: Detector) -> TrainSet:
    """Returns the samples; each stage of the run chooses the window.

    Raises:
        HeatpointError: Options that exclude each other.
    """
    codec, size = detector.codec, train_size(options, detector)
    kind, own = varied(codec.view), detector.settings
    chosen = {field: own.get(field, getattr(options, name)) for name, field in kind.options.items()}
    chosen.pop("window", None)
    chosen["flip"] = options.flip
    has_pairs = train.skeleton is not None and train.skeleton.pairs
    unpaired = "keypoints" in codec.learns and not has_pairs
    if options.flip is None and (unpaired or codec.handed):
        chosen["flip"] = 0.0
    # What is not chosen is as in the recipe; a switch turns half of the samples.
    given: dict[str, Any] = {
        name: 0.5 if value is True else value
        for name, value in chosen.items()
        if value is not None and value is not False
    }
    if size != detector.size and options.augment == "mild":  # others crop as close, or not at all
        given["nearer"] = math.sqrt(math.prod(detector.size) / math.prod(size))
    augment = replace(kind.named(options.augment), **given)  # type: ignore[type-var]
    cache = round(options.cache * 2**30)
    added = OwnAugment(options.augment_with, len(train.names)) if options.augment_with else None
    samples = TrainSet(train, size, augment, options.seed, cache, codec.learns, added)
    if added is not None:
        samples[0, 0]  # a mistake in it is told here, not by a process that loads pictures
    return samples


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


def load_data(options: Recipe, kind: type[Codec]) -> TrainingData:
    """Reads and cleans the data; all that is left out or clipped is counted in the notes.

    Args:
        options: Say where the data is.
        kind: What is learnt, and from which view.

    Raises:
        HeatpointError: Data cannot be read, images are bad, nothing is to be learnt from, or the
            validation data is about other things.
    """
    both = [(each, options.images) for each in several(options.data)]
    both.append((options.val, options.val_images))
    given = [d if isinstance(d, Annotations) else read(d, folder or None) for d, folder in both]
    given = [as_learnt(annotations, kind.learns, options.skeleton) for annotations in given]
    read_val = given.pop()
    read_train, notes = joined(given)
    read_train = replace(read_train, channels=options.channels)
    read_val = replace(read_val, channels=options.channels)
    _check_pair(read_train, read_val, kind)
    train, more = _clean(read_train, options.skip_bad, "training", kind)
    notes += more
    shown, more = _clean(read_val, options.skip_bad, "validation", kind)
    one_kind({each.bands: each.images[0].path for each in (train, shown)}, 0)
    if options.skip_bad:
        readable = {record.path for record in shown.images}
        kept = [i for i, record in enumerate(read_val.images) if record.path in readable]
        read_val = read_val.subset(kept)
    notes += [*more, *_one_depth(train, shown), *_shared(read_train, read_val)]
    return TrainingData(train, read_val, shown, notes)


def _one_depth(train: Annotations, val: Annotations) -> list[str]:
    """Makes both be scaled alike; returns a sentence about pictures that seem to be of two depths.

    The scores are those of a detector, which scales all pictures by the depth it is trained with.
    """
    told = [each.bits for each in (train, val) if each.bits is not None]
    train.bits = val.bits = max(told, default=None)
    if len(set(told)) < 2:
        return []
    return [
        f"warning: the 16-bit pictures seem to have {told[0]} bits in training and {told[1]} in "
        f"validation; all that declare no depth are scaled as {train.bits}"
    ]


def several(data: Data | Annotations | Sequence[Data | Annotations]) -> list[Data | Annotations]:
    """Returns data sets as a list, also where there is one."""
    return [data] if isinstance(data, str | Annotations) else list(data)


def joined(parts: Sequence[Annotations]) -> tuple[Annotations, list[str]]:
    """Returns one data set of several, classes by their names, and sentences about the joint.

    Raises:
        HeatpointError: There is none, or the joints of two differ.
    """
    if not parts:
        raise HeatpointError("name training data with data")
    if len(parts) == 1:
        return parts[0], []
    whole, twice = merge(parts)
    notes = [f"{len(parts)} data sets are trained on together:"]
    for part in parts:
        notes.append(
            f"  {part.source}: {amount(len(part), 'image')}, {amount(part.objects, 'object')}"
        )
        there = part.counts()
        lacking = [name for name in whole.names if not there.get(name)]
        if lacking:
            shown = ", ".join(lacking[:12]) + (" and more" if len(lacking) > 12 else "")
            notes.append(
                f"  warning: nothing is labelled there as {shown}; where its pictures show such "
                "things all the same, they are learnt as background"
            )
    if twice:
        notes.append(f"  {twice:,} objects are in several of them and count once")
    notes += [
        f"  {finding.kind}: {finding.detail}"
        for finding in class_findings(whole)
        if finding.kind == "class names alike"
    ]
    return whole, notes


def _shared(train: Annotations, val: Annotations) -> list[str]:
    """Returns a sentence about pictures that are in both, if there are any."""
    shared = shared_files(train, val)
    if not shared:
        return []
    return [
        f"warning: {len(shared):,} of the {len(val):,} validation pictures are training pictures "
        f"too ({val.images[min(shared)].path.name}, for one), so that the validation score says "
        "more than holds for new pictures; heatpoint inspect --val lists them"
    ]


def fingerprint(train: Annotations) -> dict[str, Any]:
    """Returns what tells one data set from another, wherever its files lie."""
    total = 0
    for record in train.images:
        total = zlib.crc32(record.path.name.encode(), total)
        corners = record.points if train.cornered else None
        for array in (record.boxes, record.labels, record.crowd, record.keypoints, corners):
            if array is not None:
                total = zlib.crc32(np.ascontiguousarray(array).tobytes(), total)
    found = {"names": list(train.names), "images": len(train), "checksum": total}
    if train.bits is not None:
        found["bits"] = train.bits
    if train.bands != RGB:
        found["bands"] = str(train.bands)
    if train.skeleton is not None:
        found["skeleton"] = train.skeleton.as_dict()
    return found


MEASURED = 64
"""Pictures at most that mean and standard deviation are measured on ..."""

_PIXELS = 1 << 16
"""... and about as many pixels of each."""


def statistics(train: Annotations) -> tuple[list[float], list[float], int]:
    """Returns mean and standard deviation of each channel, and of how many pictures they are.

    Pictures and their pixels are evenly spread; they are those of all pixels together.

    Raises:
        HeatpointError: A picture cannot be read.
    """
    places = np.linspace(0, len(train) - 1, min(MEASURED, len(train))).round().astype(int)
    count, sums = 0, np.zeros((2, train.bands.channels))
    for place in places.tolist():
        pixels = load_image(train.images[place].path, bits=train.bits, bands=train.bands)
        every = max(1, math.isqrt(pixels.shape[0] * pixels.shape[1] // _PIXELS))
        values = pixels[::every, ::every].reshape(-1, train.bands.channels).astype(np.float64)
        count, sums = count + len(values), sums + np.stack((values.sum(0), (values**2).sum(0)))
    mean = sums[0] / count
    # A channel that is the same everywhere says nothing, whatever it is divided by.
    std = np.sqrt((sums[1] / count - mean**2).clip(1))
    return mean.tolist(), std.tolist(), len(places)


def _check_pair(train: Annotations, val: Annotations, kind: type[Codec]) -> None:
    """Makes sure that both are about the same classes and joints, in whatever order.

    Validation data may lack classes: it has no object of them.
    """
    compared = []
    if not kind.view.asks:
        remedy = "validate on classes that are trained; heatpoint filter renames and leaves out"
        compared.append(("classes", train.names, val.names, remedy))
    if "keypoints" in kind.learns and train.skeleton and val.skeleton:
        remedy = "label the same joints in both, or name those of both with skeleton"
        compared.append(("joints", train.skeleton.joints, val.skeleton.joints, remedy))
    for what, one, other, remedy in compared:
        missing, extra = [n for n in one if n not in other], [n for n in other if n not in one]
        only = ((train.source, missing), (val.source, extra))
        found = [f"only in {source}: {', '.join(names)}" for source, names in only if names]
        if extra or (missing and what == "joints"):
            raise HeatpointError(
                f"training and validation data have different {what}; {'; '.join(found)}; {remedy}"
            )


def _clean(
    annotations: Annotations, skip_bad: bool, role: str, kind: type[Codec]
) -> tuple[Annotations, list[str]]:
    """Returns the data without what is wrong in it, and sentences about it.

    Raises:
        HeatpointError: There is nothing to learn.
    """
    cleaned, counts = clean(annotations, skip_bad)
    samples = varied(kind.view)().samples(cleaned, "keypoints" in kind.learns)
    number = sum(len(objects) for _, objects in samples.places)
    if not number:
        raise HeatpointError(f"{cleaned.source} holds no object to learn from or to score")
    empty = sum(not len(record) for record in cleaned.images)
    images = amount(len(cleaned), "image")
    text = f"{role} data {cleaned.source}: {images} ({empty:,} of them empty), "
    if kind.view.asks:
        text += amount(number, "subject")
    else:
        by_class = cleaned.counts()
        classes = ", ".join(f"{name} {count:,}" for name, count in list(by_class.items())[:12])
        more = f" and {len(by_class) - 12} more classes" if len(by_class) > 12 else ""
        text += f"{amount(sum(by_class.values()), 'object')} ({classes}{more})"
    if "keypoints" in kind.learns and cleaned.skeleton is not None:
        count = len(cleaned.skeleton)
        seen = [cleaned.images[image].joints(count)[on, :, 2] > 0 for image, on in samples.places]
        labelled = sum(int(joints.sum()) for joints in seen)
        if not labelled:
            raise HeatpointError(
                f"no joint of an object of {cleaned.source} is labelled, so there is none to learn "
                "or to score; give data with keypoints, or choose a model that finds boxes alone"
            )
        text += f" of {amount(count, 'joint')}, {labelled:,} of them labelled"
        if without := sum(int((~joints.any(1)).sum()) for joints in seen):
            text += f" ({without:,} objects have none: of them the boxes are learnt)"
        if not cleaned.skeleton.pairs:
            text += ", no left and right pairs to mirror"
    rest = ", ".join(f"{count:,} {why}" for why, count in samples.left_out.items() if count)
    text += f"; objects left out: {rest}" if rest else ""
    return cleaned, [text, f"  {describe(counts)}"] if counts else [text]
