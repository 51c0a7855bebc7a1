"""Says what is wrong with one image and its objects, and takes out what cannot be trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.annotations import Annotations, Finding, ImageRecord, box_areas
from heatpoint.data.images import ends_well, image_size, load_image
from heatpoint.errors import HeatpointError

TOLERANCE = 0.02
"""Pixels a box may stand out before that is reported: files round to two decimals or 1e-6."""


def file_findings(
    record: ImageRecord, decode: bool
) -> tuple[tuple[int, int] | None, list[Finding]]:
    """Looks at an image's file: at its header and its end, unless it is to be decoded.

    Args:
        record: The image, with the size it is annotated with.
        decode: Decode it to be sure.

    Returns:
        Size (height, width) of the file, None if it is missing or unreadable; and what was found.
    """
    path = record.path
    if not path.is_file():
        return None, [Finding("missing image", str(path), "the file does not exist")]
    try:
        size = image_size(path)
        if decode or not ends_well(path):
            load_image(path)
    except HeatpointError as error:
        return None, [Finding("unreadable image", str(path), str(error))]
    if record.size is None or record.size == size:
        return size, []
    turned = "; width and height are swapped" if record.size == size[::-1] else ""
    detail = f"annotated {record.size[1]}x{record.size[0]}, file {size[1]}x{size[0]}{turned}"
    return size, [Finding("size mismatch", str(path), detail)]


def object_findings(
    record: ImageRecord, size: tuple[int, int] | None, annotations: Annotations
) -> list[Finding]:
    """Returns what is to be said about the boxes and joints of one image.

    Args:
        record: The image as read.
        size: (height, width) of the image; None if unknown, and then nothing is outside.
        annotations: The data set, for its names.
    """
    image = str(record.path)
    findings = [] if len(record) else [Finding("image without objects", image, "no boxes")]
    masks = _box_masks(record, size)
    masks["duplicate box"] = np.zeros(len(record), np.bool_)
    seen: set[tuple[float, ...]] = set()
    for i, box in enumerate(record.boxes.tolist()):
        key = (int(record.labels[i]), *box)
        masks["duplicate box"][i] = key in seen
        seen.add(key)
    masks["crowd region"] = record.crowd
    if record.keypoints is not None:
        unlabelled = ~(record.keypoints[..., 2] > 0).any(1)
        masks["person without joints"] = unlabelled & ~record.crowd
        masks |= _joint_masks(record.keypoints, size)
    for kind, mask in masks.items():
        where = f" in {size[1]}x{size[0]}" if size is not None and "outside" in kind else ""
        for i, *joint in np.argwhere(mask).tolist():
            if joint and record.keypoints is not None:
                j, skeleton = joint[0], annotations.skeleton
                name = f"joint {j}" if skeleton is None else skeleton.joints[j]
                what, numbers = f"{name} of object {i + 1}", record.keypoints[i, j, :2]
            else:
                what, numbers = annotations.names[int(record.labels[i])], record.boxes[i]
            place = ", ".join(f"{value:.6g}" for value in numbers.tolist())
            findings.append(Finding(kind, image, f"{what} at ({place}){where}"))
    return findings


def clean_record(
    record: ImageRecord, size: tuple[int, int]
) -> tuple[ImageRecord, dict[str, int], dict[str, int]]:
    """Returns the record with the objects and joints that can be trained on.

    Args:
        record: The image as read; it is not changed.
        size: (height, width) of its file.

    Returns:
        The record; the boxes dropped and the boxes and joints changed, each as counts by kind.
    """
    masks = _box_masks(record, size)
    changed = {"box partly outside": int(masks.pop("box partly outside").sum())}
    dropped = {kind: int(mask.sum()) for kind, mask in masks.items()}
    kept = replace(record.keep(~np.logical_or.reduce(list(masks.values()))), size=size)
    if kept.keypoints is None:
        kept.boxes = np.clip(kept.boxes, 0.0, np.array([*size[::-1], *size[::-1]], np.float64))
        kept.areas = np.minimum(kept.areas, box_areas(kept.boxes))
    else:
        broken = np.asarray(~np.isfinite(kept.keypoints).all(-1))
        changed["non-finite joint"] = int((broken & (kept.keypoints[..., 2] != 0)).sum())
        kept.keypoints = np.where(broken[..., None], 0.0, kept.keypoints)
    return kept, dropped, changed


def _box_masks(record: ImageRecord, size: tuple[int, int] | None) -> dict[str, NDArray[np.bool_]]:
    """Returns one (N,) mask per kind of bad box; no box is in two.

    The box of an object with joints says what to cut out, which may reach beyond the image.
    """
    boxes = record.boxes
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(boxes).all(axis=1))
    safe = np.where(finite[:, None], boxes, 0.0)
    degenerate = finite & ((safe[:, 2] <= safe[:, 0]) | (safe[:, 3] <= safe[:, 1]))
    good = finite & ~degenerate
    outside = partly = np.zeros(len(boxes), np.bool_)
    if size is not None:
        height, width = size
        x1, y1, x2, y2 = safe.T
        outside = good & ((x1 >= width) | (y1 >= height) | (x2 <= 0) | (y2 <= 0))
        over = np.maximum.reduce([-x1, -y1, x2 - width, y2 - height])
        if record.keypoints is None:
            partly = good & ~outside & (over > TOLERANCE)
    return {
        "non-finite box": ~finite,
        "degenerate box": degenerate,
        "box outside the image": outside,
        "box partly outside": partly,
    }


def _joint_masks(
    keypoints: NDArray[np.float64], size: tuple[int, int] | None
) -> dict[str, NDArray[np.bool_]]:
    """Returns one (N, J) mask per kind of bad joint; no joint is in two."""
    labelled = keypoints[..., 2] > 0
    broken = labelled & ~np.isfinite(keypoints).all(-1)
    outside = np.zeros_like(labelled)
    if size is not None:
        x, y = keypoints[..., 0], keypoints[..., 1]
        inside = (x >= 0) & (y >= 0) & (x <= size[1]) & (y <= size[0])
        outside = labelled & ~broken & ~inside
    return {"non-finite joint": broken, "joint outside the image": outside}
