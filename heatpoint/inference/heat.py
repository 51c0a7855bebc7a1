"""Shows where a network sees something: the heatmap of all classes, laid over a picture."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from heatpoint.errors import HeatpointError
from heatpoint.geometry import Affine
from heatpoint.inference.engines.torch import TorchEngine
from heatpoint.inference.runner import Runner
from heatpoint.inference.sources import Source
from heatpoint.views import Whole

MAP = "heatmap"
"""What codecs call the map of logits in which they look for peaks."""


def heat_of(runner: Runner, source: Source) -> NDArray[np.uint8]:
    """Returns the highest probability of any class at each pixel, (h, w) of a picture, times 255.

    Every look is laid where it was taken; where several overlap, the highest value counts.

    Args:
        runner: Runs a checkpoint.
        source: The picture.

    Raises:
        HeatpointError: The model is an exported file, or has no heatmap of classes.
    """
    engine, called = runner.engine, runner.engine.description.called
    if not isinstance(engine, TorchEngine):
        raise HeatpointError(
            f"{called} is an exported file, which keeps its maps to itself; give the checkpoint"
        )
    if MAP not in {spec.name for spec in engine.codec.maps}:
        raise HeatpointError(f"{called} has no map of the name {MAP!r} to show")
    about = engine.description
    raster = Whole(replace(source, bits=about.bits, bands=about.bands).load())
    height, width = raster.size
    whole = np.zeros((height, width), np.uint8)
    job = runner.prepare(raster)
    for number, look in enumerate(job.looks):
        with torch.inference_mode():
            maps = engine.maps(torch.from_numpy(job.take(number)[None]))
            levels = torch.sigmoid(maps[MAP][0].float()).amax(0) * 255
        cells = levels.round().byte().cpu().numpy()
        corners = np.array([0.0, 0.0, look.size[1], look.size[0]])
        x1, y1, x2, y2 = look.to_image.boxes(corners).tolist()
        left, top = max(0, math.floor(x1)), max(0, math.floor(y1))
        right, bottom = min(width, math.ceil(x2)), min(height, math.ceil(y2))
        if right <= left or bottom <= top:
            continue
        to_part = Affine.translate(-left, -top) @ look.to_image
        to_part = to_part @ Affine.scale(engine.codec.stride, engine.codec.stride)
        part = whole[top:bottom, left:right]
        drawn = to_part.warp(cells, (bottom - top, right - left))
        np.maximum(part, drawn, out=part, casting="unsafe")
    return whole
