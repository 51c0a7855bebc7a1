"""Turns published checkpoints into detectors: same function, RGB input, our names.

Example:
    >>> from heatpoint.convert import convert_file
    >>> detector = convert_file("model_best.pth")  # doctest: +SKIP
    >>> detector.meta["layout"]  # doctest: +SKIP
    'xy_ctdet_coco_res_18'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from heatpoint import zoo
from heatpoint.convert import center, dense
from heatpoint.convert.layout import Fit, Layout, fit
from heatpoint.convert.names import names_for
from heatpoint.convert.read import read_tensors, unwrapped
from heatpoint.detector import Detector
from heatpoint.errors import HeatpointError, suggest

LAYOUTS: dict[str, Layout] = {
    "xy_ctdet_coco_res_18": center.resnet("centernet_resnet18"),
    "xy_ctdet_coco_res_34": center.resnet("centernet_resnet34"),
    "xy_ctdet_coco_res_50": center.resnet("centernet_resnet50"),
    "xy_ctdet_coco_res_101": center.resnet("centernet_resnet101"),
    "xy_ctdet_coco_res_152": center.resnet("centernet_timm:resnet152"),
    "bubbliiiing_resnet50_voc": dense.resnet50(),
}
"""Known layouts. The data set in a name tells the published file; any class count converts."""


def convert_file(
    path: str | Path, layout: str = "auto", names: Sequence[str] | None = None
) -> Detector:
    """Returns the detector in a published PyTorch or safetensors file; see ``convert``.

    Raises:
        HeatpointError: As ``convert``; and if the file is missing, cut off, or would have to run
            code to be read.
    """
    return _converted(read_tensors(path), layout, names, str(path))


def convert(
    state_dict: Mapping[str, Any], layout: str = "auto", names: Sequence[str] | None = None
) -> Detector:
    """Returns a detector that computes what the published network computes.

    The published networks see BGR images, ours RGB: the first convolution's input channels and
    the normalisation are turned round. Heatmaps are logits. Weights of double precision stay so.
    ``meta["layout"]`` names the layout, ``meta["unused"]`` every tensor that was left out.

    Args:
        state_dict: Published tensors by name, or a checkpoint around them; ``module.`` and
            ``model.`` in front of all names do not matter.
        layout: A key of ``LAYOUTS``, or "auto" for the one that fits without a remainder other
            than an ImageNet classifier. A layout given by name may leave tensors unused.
        names: Class names; COCO's, VOC's or numbered ones by their count without.

    Raises:
        HeatpointError: Unknown layout, no layout fits, or ``names`` is of another length.
    """
    return _converted(unwrapped(state_dict, "the checkpoint"), layout, names, "the checkpoint")


def _converted(
    tensors: dict[str, Tensor], layout: str, names: Sequence[str] | None, source: str
) -> Detector:
    if layout != "auto" and layout not in LAYOUTS:
        raise HeatpointError(
            f"there is no layout {layout!r}{suggest(layout, LAYOUTS)} (known: {', '.join(LAYOUTS)})"
        )
    tried = LAYOUTS if layout == "auto" else {layout: LAYOUTS[layout]}
    fits = {name: fit(candidate, tensors) for name, candidate in tried.items()}
    nearest = min(fits, key=lambda name: fits[name].distance)
    best = fits[nearest]
    if best.missing or (layout == "auto" and best.strange):
        raise HeatpointError(
            f"{source} has none of the layouts tried ({', '.join(tried)}); the nearest is "
            f"{nearest}: {_described(best)}"
        )
    return _build(nearest, tensors, names, best.unused)


def _build(
    name: str, tensors: Mapping[str, Tensor], names: Sequence[str] | None, unused: Sequence[str]
) -> Detector:
    layout = LAYOUTS[name]
    classes = layout.classes(tensors)
    names = names_for(classes) if names is None else names
    if len(names) != classes:
        raise HeatpointError(
            f"the checkpoint has {classes} classes, but {len(names)} names were given"
        )
    with torch.random.fork_rng(devices=[]):  # random weights are drawn and overwritten
        detector = zoo.build(layout.architecture, names)
    network = detector.network
    bgr_mean, bgr_std = layout.stats(classes)
    if tensors[layout.first].dtype == torch.float64:
        network.double()
    state = network.state_dict()
    for own in state:
        published = tensors.get(layout.published(own)) if own not in ("mean", "std") else None
        if published is not None:
            is_first = layout.published(own) == layout.first
            state[own] = published.flip(1) if is_first else published
    network.load_state_dict(state)
    network.set_normalisation(
        [255.0 * value for value in reversed(bgr_mean)],
        [255.0 * value for value in reversed(bgr_std)],
    )
    network.eval()
    detector.meta |= {"layout": name, "unused": list(unused)}
    return detector


def _described(found: Fit) -> str:
    parts = []
    for names, what in ((found.missing, "missing"), (found.strange, "unexpected")):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            parts.append(f"{what} {', '.join(names[:5])}{more}")
    return "; ".join(parts)
