"""Reads what the first edition of exported files (version 1) says, in today's words.

Their descriptions name a task instead of the fields of the answer, and their graphs of joints give
``points`` (B, J, 2) and ``scores`` (B, J) instead of ``keypoints`` and one score per subject.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.views.fields import BOXES, LABELS, SCORES, Field, Suppression

_SEEN = 0.2
"""Height of a peak above which a joint counted towards the score of its subject."""


def upgraded(plain: dict[str, Any]) -> dict[str, Any]:
    """Returns what the description of a version 1 file says by the fields of ``Description``.

    Args:
        plain: Its values, of which ``skeleton`` is a ``Skeleton`` or None.

    Raises:
        KeyError: It lacks something that version 1 always wrote.
    """
    kept = ("names", "size", "multiple", "trim", "dynamic", "batch", "flip", "precision")
    new = {name: plain[name] for name in (*kept, "architecture", "skeleton")} | {"older": True}
    if plain["task"] == "pose":
        keypoints = Field("keypoints", (len(plain["skeleton"]), 3), "points")
        return new | {
            "answer": [keypoints, SCORES],
            "rows": 1,
            "view": "Crops",
            "settings": {"padding": plain["padding"]},
        }
    return new | {
        "answer": [BOXES, SCORES, LABELS],
        "rows": plain["max_detections"],
        "settings": {"margin": 0.0},
        "suppression": Suppression(plain["sigma"], "corner_scores"),
    }


def answer(arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Returns the answer of a version 1 graph with the fields of today."""
    if "points" not in arrays:
        return arrays
    points, heights = arrays["points"], arrays["scores"]
    seen = heights > _SEEN
    scores = (heights.clip(0, 1) * seen).sum(1) / seen.sum(1).clip(1)
    keypoints = np.concatenate((points, heights[..., None]), -1)
    return {"keypoints": keypoints[:, None], "scores": scores[:, None]}


def completed(
    fields: tuple[Field, ...], outputs: Sequence[str]
) -> tuple[tuple[Field, ...], tuple[str, ...]]:
    """Returns the fields that a graph of version 1 gives, and the outputs that it promises.

    It did not say whether the graph gives the scores of corners, but the graph's outputs do.
    """
    if any(field.name == "keypoints" for field in fields):
        return fields, ("points", "scores")
    if "corner_scores" in outputs:
        fields = (*fields, Field("corner_scores", (2,)))
    return fields, tuple(field.name for field in fields)
