"""The whole way from an answer to results, as a runner takes it, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from heatpoint.data.results import Detections
from heatpoint.data.skeleton import Skeleton
from heatpoint.geometry import Affine
from heatpoint.inference.engines.engine import Answer
from heatpoint.inference.finish import Keep, conclude, in_image
from heatpoint.views import Look
from heatpoint.views.fields import BOXES, LABELS, SCORES, Field

FIELDS = (BOXES, SCORES, LABELS)


def look(to_image: Affine, **place: Any) -> Look:
    """Returns a look whose way back is known."""
    return Look((64, 64), to_image.inverse(), **place)


def finish(
    answer: Answer,
    looks: Sequence[tuple[Look, tuple[int, int]]],
    names: Sequence[str],
    fields: Sequence[Field] = FIELDS,
    skeleton: Skeleton | None = None,
    where: str = "",
    asks: bool = False,
    **keep: Any,
) -> list[Detections]:
    """Returns the result of each image.

    Args:
        answer: About B images, in input pixels.
        looks: Each look, and (height, width) of its image.
        names: Class names.
        fields: What the answer holds.
        skeleton: The joints of its keypoints.
        where: Names the images in messages.
        asks: Every row is an answer, whatever ``Keep`` says.
        **keep: Fields of ``Keep``.
    """
    kept = None if asks else Keep(**keep)
    every = (*fields, *(f for f in (BOXES, LABELS) if f not in fields))
    found = []
    for place, (one, size) in enumerate(looks):
        rows = {field.name: np.asarray(answer[field.name][place]) for field in fields}
        mapped = in_image(rows, fields, one, size, asks, where)
        found.append(conclude(mapped, every, names, skeleton, kept))
    return found
