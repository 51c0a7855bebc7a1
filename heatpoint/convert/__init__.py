"""Turns published checkpoints into detectors: same function, RGB input, our names.

Example:
    >>> from heatpoint.convert import convert_file
    >>> detector = convert_file("model_best.pth")  # doctest: +SKIP
    >>> detector.meta["layout"]  # doctest: +SKIP
    'xy_ctdet_coco_res_18'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from heatpoint import zoo
from heatpoint.convert.layout import Fit, Layout, fit, some
from heatpoint.convert.layouts import LAYOUTS as LAYOUTS
from heatpoint.convert.layouts import named, names_for, recognised, skeleton_for
from heatpoint.data.skeleton import SKELETONS
from heatpoint.errors import HeatpointError, suggest
from heatpoint.system import locked
from heatpoint.system.outputs import check_outputs
from heatpoint.weights import Published, published, read_tensors, unwrapped
from heatpoint.weights.download import Progress, digest, download
from heatpoint.zoo.detector import Detector


def convert_file(
    path: str | Path, layout: str = "auto", names: Sequence[str] | None = None
) -> Detector:
    """Returns the detector in a published PyTorch, safetensors or ONNX file; see ``convert``.

    Raises:
        HeatpointError: As ``convert``; and if the file is missing, cut off, or would have to run
            code to be read.
    """
    return _converted(read_tensors(path), layout, names, str(path))


def convert(
    state_dict: Mapping[str, Any], layout: str = "auto", names: Sequence[str] | None = None
) -> Detector:
    """Returns a detector that computes what the published network computes.

    Many published networks see BGR images, ours RGB: the first convolution's input channels and
    the normalisation are turned round. Heatmaps of objects are logits. Weights of double precision
    stay so. ``meta["layout"]`` names the layout, ``meta["unused"]`` every tensor that was left out.

    Args:
        state_dict: Published tensors by name, or a checkpoint around them; ``module.`` and
            ``model.`` in front of all names do not matter.
        layout: A key of ``LAYOUTS``, or "auto" for the one that fits without a remainder other
            than an ImageNet classifier. A layout given by name may leave tensors unused.
        names: Class names; COCO's, VOC's or numbered ones by their count without. For joints
            what the subject is; the layout's own without.

    Raises:
        HeatpointError: Unknown layout, no layout fits, or ``names`` is of another length.
    """
    return _converted(unwrapped(state_dict, "the checkpoint"), layout, names, "the checkpoint")


def _converted(
    tensors: dict[str, Tensor], layout: str, names: Sequence[str] | None, source: str
) -> Detector:
    """Returns the detector of the layout that fits best, with the tensors in their places."""
    tried = _candidates(layout, tensors)
    fits = {name: fit(candidate, tensors) for name, candidate in tried.items()}
    nearest = min(fits, key=lambda name: fits[name].distance)
    best, chosen = fits[nearest], tried[nearest]
    if not best.complete or (layout == "auto" and best.strange):
        others = {name: fit(o, tensors) for name, o in LAYOUTS.items() if name not in fits}
        if layout == "auto":
            raise HeatpointError(_mismatch(source, fits | others, tensors))
        whole = [name for name, other in others.items() if other.complete and not other.strange]
        advice = f"; it has the layout {whole[0]}" if whole else ""
        raise HeatpointError(_mismatch(source, fits, tensors) + advice)
    classes, turn = chosen.classes(tensors), -1 if chosen.channels == "bgr" else 1
    detector = _untrained(chosen, classes, names)
    network = detector.network
    if tensors[chosen.first].dtype == torch.float64:
        network.double()
    state = network.state_dict()
    for own in state.keys() - {"mean", "std"}:
        published = chosen.published(own)
        if published in tensors:  # counters of batch norms may be missing
            found = tensors[published]
            found = found.flip(1) if turn < 0 and published == chosen.first else found
            state[own] = chosen.turned(published, found) if chosen.turned else found
    network.load_state_dict(state)
    mean, std = ([255.0 * value for value in values[::turn]] for values in chosen.stats(classes))
    network.set_normalisation(mean, std)
    network.eval()
    detector.meta |= {"layout": nearest, "unused": list(best.unused)}
    return detector


def _mismatch(source: str, fits: Mapping[str, Fit], tensors: Mapping[str, Tensor]) -> str:
    """Returns the sentence that names the nearest of the layouts and what differs from it."""
    nearest = max(fits, key=lambda name: fits[name].likeness)
    best = fits[nearest]
    tried = ", ".join(fits) if len(fits) == 1 else f"all {len(fits)}"
    start = f"{source} has none of the layouts tried ({tried})"
    if not best.agreeing:
        own = [f"{name} {list(tensor.shape)}" for name, tensor in tensors.items()]
        return f"{start}, not even a tensor of one; it has {some(own)}"
    return (
        f"{start}; the nearest is {nearest}, of which {best.agreeing} of {best.expected} tensors "
        f"agree: {best.differences()}"
    )


def _candidates(layout: str, tensors: Mapping[str, Tensor]) -> dict[str, Layout]:
    """Returns the layouts to try by name: what the first weight or an hourglass's names tell."""
    if layout == "auto":
        boxes = {name: known for name, known in LAYOUTS.items() if known.codec is None}
        likely = {name: known for name, known in boxes.items() if known.first in tensors}
        return (likely | recognised(tensors)) or boxes
    chosen = LAYOUTS.get(layout) or named(layout)
    if chosen is None:
        raise HeatpointError(
            f"there is no layout {layout!r}{suggest(layout, LAYOUTS)} (known: {', '.join(LAYOUTS)})"
        )
    return {layout: chosen}


def _untrained(layout: Layout, classes: int, names: Sequence[str] | None) -> Detector:
    """Returns the network of a layout for a number of classes or joints."""
    codec = skeleton = None
    if layout.codec is not None:
        skeleton = SKELETONS.get(layout.skeleton) or skeleton_for(classes)
        codec, names = layout.codec(skeleton), (layout.subject,) if names is None else names
    elif names is None:
        names = names_for(classes)
    elif len(names) != classes:
        raise HeatpointError(
            f"the checkpoint has {classes} classes, but {len(names)} names were given"
        )
    with torch.random.fork_rng(devices=[]):  # random weights are drawn and overwritten
        return zoo.build(layout.architecture, names, codec=codec, skeleton=skeleton)


def fetch(name: str, file: str | Path | None = None, progress: Progress | None = None) -> Path:
    """Returns the converted checkpoint of published weights, downloading it if it is not here.

    Afterwards the name is taken wherever the path of a checkpoint is. The publisher's file is
    removed once it is converted, unless it was not downloaded here.

    Example:
        >>> fetch("mmpose_hourglass52_coco_256")  # doctest: +SKIP
        >>> predict("mmpose_hourglass52_coco_256", "runner.jpg")  # doctest: +SKIP

    Args:
        name: A key of ``weights.PUBLISHED``; ``heatpoint models --weights`` lists them.
        file: The publisher's file, if it is on this machine; nothing is downloaded then.
        progress: Called with bytes done and bytes in all, 0 if that is unknown.

    Raises:
        HeatpointError: Unknown name, no way to the file, a package that is not installed, a file
            that is not the one published, or no place for the result; says what to do.
    """
    record = published(name)
    if file is None and record.cached.is_file():
        return record.cached
    # Another process may fetch the same weights: it is waited for, and its file is taken.
    with locked(record.cached.with_suffix(".lock")):
        if file is not None or not record.cached.is_file():
            _fetch(record, file, progress)
    return record.cached


def _fetch(record: Published, file: str | Path | None, progress: Progress | None) -> None:
    """Fetches as ``fetch``, while nobody else does."""
    packed = record.inside if file is None else None
    source = record.original if file is None else Path(file)
    source = packed.path() if packed and not source.is_file() else source
    downloaded = file is None and not source.is_file()
    if downloaded:
        if not record.address:
            raise HeatpointError(
                f"{record.name} cannot be downloaded by a program: {record.by_hand} "
                f"({record.page}); put it at {source}, or name it with file (--file), and run this "
                "again"
            )
        download(record.address, source, record.sha256, progress)
    elif not source.is_file():
        raise HeatpointError(f"there is no file {source}")
    actual = digest(source)
    if not actual.startswith(record.sha256):
        raise HeatpointError(
            f"{source} is not the {record.file} that was published: expected SHA-256 "
            f"{record.sha256}..., found {actual}; download it again"
        )
    check_outputs({"checkpoints": [record.cached]}, [source])
    detector = _kept(record, source)
    facts = {key: getattr(record, key) for key in KEPT}
    detector.meta["published"] = {**facts, "sha256": actual}
    detector.save(record.cached)
    if downloaded:
        source.unlink()


KEPT = ("name", "data", "file", "page", "licence", "score", "protocol", "reported")
"""Facts of the record that travel in the checkpoint."""


def _kept(record: Published, source: Path) -> Detector:
    """Returns the detector in the publisher's file, as the record describes it."""
    detector = convert_file(source)
    if detector.meta["layout"] != record.layout:  # a twin with the same tensors, or a wrong file
        detector = convert_file(source, record.layout)
    found = len(detector.skeleton or detector.names)
    if found != record.classes:
        raise HeatpointError(
            f"{source} is not {record.name}: expected {record.classes} classes or joints, found "
            f"{found}"
        )
    if record.sigma is not None:
        codec = detector.codec.tuned(record.name, {"sigma": record.sigma})
        detector = replace(detector, codec=codec)
    detector.meta["size"] = list(record.size)
    return detector
