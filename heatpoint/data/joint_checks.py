"""Says what is wrong with the joints of a record, and takes out those that are no numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.annotations import Annotations, Finding, ImageRecord, Kind


def joint_findings(
    record: ImageRecord, size: tuple[int, int] | None, annotations: Annotations
) -> list[Finding]:
    """Returns what is to be said about the joints of one image.

    Args:
        record: The image as read.
        size: (height, width) of the image; None if unknown, and then no joint is outside.
        annotations: The data set, for its names.
    """
    if record.keypoints is None:
        return []
    image = str(record.path)
    labelled = record.keypoints[..., 2] > 0
    broken = labelled & ~np.isfinite(record.keypoints).all(-1)
    findings = []
    for i in np.flatnonzero(~labelled.any(1) & ~record.crowd).tolist():
        corners = ", ".join(f"{value:.6g}" for value in record.boxes[i].tolist())
        detail = f"{annotations.names[int(record.labels[i])]} at ({corners})"
        findings.append(Finding("person without joints", image, detail))
    masks: dict[Kind, NDArray[np.bool_]] = {"non-finite joint": broken}
    if size is not None:
        x, y = record.keypoints[..., 0], record.keypoints[..., 1]
        inside = (x >= 0) & (y >= 0) & (x <= size[1]) & (y <= size[0])
        masks["joint outside the image"] = labelled & ~broken & ~inside
    for kind, mask in masks.items():
        for i, j in np.argwhere(mask).tolist():
            x1, y1 = record.keypoints[i, j, :2].tolist()
            skeleton = annotations.skeleton
            name = f"joint {j}" if skeleton is None else skeleton.joints[j]
            where = f" in {size[1]}x{size[0]}" if size is not None and "outside" in kind else ""
            findings.append(
                Finding(kind, image, f"{name} of object {i + 1} at ({x1:.6g}, {y1:.6g}){where}")
            )
    return findings


def clean_joints(record: ImageRecord) -> tuple[ImageRecord, dict[str, int]]:
    """Returns the record without its non-finite joints, now not labelled, and their count."""
    if record.keypoints is None:
        return record, {}
    broken = np.asarray(~np.isfinite(record.keypoints).all(-1))
    labelled = broken & (record.keypoints[..., 2] != 0)
    keypoints = np.where(broken[..., None], 0.0, record.keypoints)
    return replace(record, keypoints=keypoints), {"non-finite joint": int(labelled.sum())}
