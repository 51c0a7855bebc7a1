"""The joints of COCO JSON: the skeleton of its categories, the keypoints of its objects.

COCO's joints are indices of pixels, ours are continuous: 0.5 is added on reading and taken away on
writing. Its edges count joints from 1. It has no left-right pairs; a category may carry ours as
``"flip_pairs"``, which other tools pass over.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.annotations import ImageRecord
from heatpoint.data.skeleton import SKELETONS, Skeleton, pairs_by_name
from heatpoint.errors import HeatpointError

PIXEL = 0.5
"""From the index of a pixel to the continuous coordinate of its middle."""


def read_skeleton(categories: list[dict[str, Any]], path: Path) -> Skeleton | None:
    """Returns the skeleton that the categories share, or None if none names joints.

    Pairs come from ``flip_pairs`` (indices from 0) where it is there, from the shipped skeleton of
    the same joints, or from names that differ in their side only (``skeleton.pairs_by_name``).

    Raises:
        HeatpointError: Two categories name different joints, or an edge or pair is wrong.
    """
    found: Skeleton | None = None
    for item in categories:
        names = item.get("keypoints")
        if not names:
            continue
        where = f"{path}: category {item.get('name')!r}"
        if not isinstance(names, list):
            raise HeatpointError(f"{where}: expected 'keypoints' to list names, got {names!r}")
        joints = tuple(str(name) for name in names)
        shipped = next((s for s in SKELETONS.values() if s.joints == joints), None)
        pairs = pairs_by_name(joints) if shipped is None else shipped.pairs
        skeleton = Skeleton.from_dict(
            {
                "joints": names,
                "edges": _from_zero(item.get("skeleton") or [], len(names), where),
                "pairs": item.get("flip_pairs", [list(pair) for pair in pairs]),
            },
            where,
        )
        if found is not None and found != skeleton:
            raise HeatpointError(
                f"{where} names other joints than the category before; one data set has one "
                "skeleton, so split it"
            )
        found = skeleton
    return found


def read_joints(value: Any, joints: int) -> tuple[NDArray[np.float64] | None, str]:
    """Returns ``keypoints`` of an object as (J, 3) in image pixels, or None and what is wrong."""
    if not isinstance(value, list):
        return None, f"expected 'keypoints' to be a list, got {type(value).__name__}"
    if len(value) != 3 * joints:
        return None, f"{len(value)} numbers, expected {3 * joints} for {joints} joints"
    try:
        table = np.array(value, np.float64).reshape(joints, 3)
    except (TypeError, ValueError):
        return None, "'keypoints' are not all numbers"
    if not np.isin(table[:, 2], (0, 1, 2)).all():
        return None, "expected 0, 1 or 2 as visibility"
    table[:, :2] += PIXEL
    table[table[:, 2] == 0] = 0.0
    return table, ""


def object_joints(record: ImageRecord, index: int) -> dict[str, Any]:
    """Returns what object ``index`` of a record adds to its COCO annotation."""
    item: dict[str, Any] = {}
    if record.keypoints is not None:
        table = record.keypoints[index].copy()
        labelled = table[:, 2] > 0
        table[labelled, :2] -= PIXEL
        # 2.0 as visibility is refused by tools that index with it.
        item["keypoints"] = [
            value if place % 3 < 2 else int(value)
            for place, value in enumerate(table.ravel().tolist())
        ]
        item["num_keypoints"] = int(labelled.sum())
    if record.heads is not None and math.isfinite(record.heads[index]):
        item["head_size"] = float(record.heads[index])
    return item


def category_joints(skeleton: Skeleton) -> dict[str, Any]:
    """Returns what a skeleton adds to a COCO category."""
    return {
        "keypoints": list(skeleton.joints),
        "skeleton": [[one + 1, other + 1] for one, other in skeleton.edges],
        "flip_pairs": [list(pair) for pair in skeleton.pairs],
    }


def _from_zero(edges: Any, joints: int, where: str) -> list[list[int]]:
    if not isinstance(edges, list):
        raise HeatpointError(f"{where}: expected 'skeleton' to list edges, got {edges!r}")
    shifted = []
    for edge in edges:
        sound = isinstance(edge, list) and len(edge) == 2
        if not sound or not all(isinstance(end, int) and 1 <= end <= joints for end in edge):
            raise HeatpointError(
                f"{where}: expected edges of 'skeleton' to be two numbers from 1 to {joints}, "
                f"got {edge!r}"
            )
        shifted.append([edge[0] - 1, edge[1] - 1])
    return shifted
