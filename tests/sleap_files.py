"""Draws label files of SLEAP as its versions write them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

FRAME = [(name, "u8") for name in ("frame_id", "video", "frame_idx")]
FRAME += [("instance_id_start", "u8"), ("instance_id_end", "u8")]
INSTANCE = [("instance_id", "i8"), ("instance_type", "u1"), ("frame_id", "u8"), ("skeleton", "u4")]
INSTANCE += [("track", "i4"), ("from_predicted", "i8"), ("score", "f4")]
INSTANCE += [("point_id_start", "u8"), ("point_id_end", "u8"), ("tracking_score", "f4")]
POINT = [("x", "f8"), ("y", "f8"), ("visible", "?"), ("complete", "?")]

Animal = tuple[int, list[tuple[float, float, bool]]]
"""0 for a user's or 1 for a predicted one, and its points."""


def kind(number: int, known: bool) -> dict[str, Any]:
    if known:
        return {"py/id": number}
    made = {"py/type": "sleap.skeleton.EdgeType"}
    return {"py/reduce": [made, {"py/tuple": [number]}]}


def skeleton(*nodes: int) -> dict[str, Any]:
    """Returns a skeleton of nodes snout, left and right with two bones and a symmetry."""
    snout, left, right = nodes
    links = [(snout, left, 1, False), (snout, right, 1, True)]
    links += [(left, right, 2, False), (right, left, 2, True)]
    return {
        "graph": {"name": "Skeleton-0"},
        "links": [{"source": a, "target": b, "type": kind(k, known)} for a, b, k, known in links],
        "nodes": [{"id": node} for node in nodes],
    }


def write(
    path: Path,
    frames: Sequence[tuple[int, int, Sequence[Animal]]],
    videos: Sequence[dict[str, Any]],
    format_id: float = 1.2,
    skeletons: Sequence[dict[str, Any]] | None = None,
    chosen: Sequence[int] = (),
) -> Path:
    """Writes labels: of each frame the video, the number, and the animals on it."""
    rows, animals, points = [], [], []
    for number, (video, index, inside) in enumerate(frames):
        first = len(animals)
        for predicted, places in inside:
            which = chosen[len(animals)] if chosen else 0
            begin = len(points)
            points += [(x, y, seen, True) for x, y, seen in places]
            end = len(points)
            animals.append((len(animals), predicted, number, which, -1, -1, 0, begin, end, 0))
        rows.append((number, video, index, first, len(animals)))
    nodes = [{"name": name, "weight": 1.0} for name in ("ear_r", "snout", "ear_l")]
    said = {"nodes": nodes, "skeletons": skeletons or [skeleton(1, 2, 0)]}
    with h5py.File(path, "w") as file:
        group = file.create_group("metadata")
        group.attrs["format_id"] = format_id
        group.attrs["json"] = np.bytes_(json.dumps(said))
        file["videos_json"] = [np.bytes_(json.dumps(video)) for video in videos]
        file["frames"] = np.array(rows, FRAME)
        file["instances"] = np.array(animals, INSTANCE)
        file["points"] = np.array(points, POINT)
    return path
