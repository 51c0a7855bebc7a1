"""From rows to results: the one path that evaluation, prediction and exports share.

Every field is treated by its kind alone (``heatpoint.views.fields``), so that nothing here knows
what a model finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.results import Detections
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError, check_choice
from heatpoint.geometry.affine import clip_boxes
from heatpoint.inference.options import SoftNms
from heatpoint.inference.suppress import nms, soften
from heatpoint.views.base import Look, chosen
from heatpoint.views.fields import Arrays, Field, Suppression, extents, mapped


@dataclass(frozen=True)
class Keep:
    """Which rows become results.

    Attributes:
        score: Least score of a result.
        nms: Overlap above which the worse of two boxes of one class is removed, or None.
        max_detections: Most results, the best; None for no limit.
        per_look: Most rows of one test scale or tile, the best.
        soft_nms: Kind of soft-NMS, which lowers the scores of boxes that overlap better ones
            before the threshold is applied; see ``suppress.soften``.
        sigma: Width of its gaussian decay.
        weights: Field that weights the corners of boxes that are merged; "" for the score.

    Raises:
        HeatpointError: A number is out of range, or the kind is unknown.
    """

    score: float = 0.0
    nms: float | None = None
    max_detections: int | None = 100
    per_look: int = 100
    soft_nms: SoftNms = "none"
    sigma: float = 0.5
    weights: str = ""

    def __post_init__(self) -> None:
        check_thresholds(self.score, self.nms, self.max_detections)
        check_choice("soft_nms", self.soft_nms, get_args(SoftNms))


def in_image(
    rows: Mapping[str, NDArray[Any]],
    fields: Sequence[Field],
    look: Look,
    image_size: tuple[int, int],
    keep_all: bool = False,
    where: str = "",
) -> Arrays:
    """Returns the rows of one look in pixels of the image, before anything is suppressed.

    Boxes are clipped to the image; empty rows and boxes wholly outside of it (in the letterbox's
    margin, say) are left out. What the model does not say is filled in: ``boxes`` by the place
    that was looked at, else by the extent of the row's points; ``labels`` by the place's.

    Args:
        rows: (K, *tail) by name, in input pixels.
        fields: Their kinds.
        look: The way back.
        image_size: (height, width) of the image.
        keep_all: Every row is an answer, however sure.
        where: Names the image in messages.

    Raises:
        HeatpointError: A row holds something that is no finite number.
    """
    scores = rows["scores"]
    # A network that answers NaN must not pass for one that finds nothing.
    filled = np.isfinite(scores) & ((scores > 0) | keep_all)
    if not np.isfinite(scores).all() or not all(
        np.isfinite(rows[field.name][filled]).all() for field in fields
    ):
        raise HeatpointError(
            f"the network's answer for {where or 'an image'} is not a finite number; its weights "
            "are damaged or its training diverged, or try precision='fp32'"
        )
    found = mapped(chosen(dict(rows), filled), fields, look.to_image)
    count = int(filled.sum())
    found.setdefault("labels", np.full(count, look.label, np.int64))
    if "boxes" in found:
        found["boxes"] = clip_boxes(found["boxes"], image_size).astype(np.float32)
        sides = found["boxes"][:, 2:] - found["boxes"][:, :2]
        return chosen(found, (sides > 0).all(1))
    if look.box is not None:
        found["boxes"] = np.tile(np.array(look.box, np.float32), (count, 1))
        return found
    found["boxes"] = extents(found, fields).astype(np.float32)
    low, high = found["boxes"][:, :2], found["boxes"][:, 2:]
    inside = (high >= 0).all(1) & (low <= (image_size[1], image_size[0])).all(1)
    return chosen(found, inside)


def conclude(
    rows: Arrays,
    fields: Sequence[Field],
    names: Sequence[str],
    skeleton: Skeleton | None,
    keep: Keep | None,
) -> Detections:
    """Returns the result of one image: what suppression and threshold leave of its rows.

    Args:
        rows: In image pixels, of all looks.
        fields: Their kinds.
        names: Class names of the model.
        skeleton: Its joints.
        keep: What to leave; None keeps every row in its place.
    """
    if keep is not None:
        rows = _kept(rows, keep)
    further = {
        field.name: rows[field.name].astype(field.type)
        for field in fields
        if field.name not in ("boxes", "scores", "labels", "keypoints", keep and keep.weights)
    }
    keypoints = rows.get("keypoints") if skeleton is not None else None
    return Detections(
        rows["boxes"].astype(np.float32),
        rows["scores"].astype(np.float32),
        rows["labels"].astype(np.int64),
        tuple(names),
        keypoints,
        skeleton,
        further,
    )


def _kept(rows: Arrays, keep: Keep) -> Arrays:
    if keep.soft_nms != "none":
        weights = rows.get(keep.weights)
        if weights is None:
            weights = np.repeat(rows["scores"][:, None], 2, axis=1)
        most = len(rows["scores"]) if keep.max_detections is None else keep.max_detections
        order, boxes, scores = soften(
            rows["boxes"],
            rows["scores"],
            rows["labels"],
            weights,
            kind=keep.soft_nms,
            sigma=keep.sigma,
            max_detections=most,
        )
        rows = {**chosen(rows, order), "boxes": boxes, "scores": scores}
    rows = chosen(rows, rows["scores"] >= keep.score)
    if keep.nms is not None:
        rows = chosen(rows, nms(rows["boxes"], rows["scores"], rows["labels"], keep.nms))
    best = np.argsort(-rows["scores"], kind="stable")
    return chosen(rows, best[: keep.max_detections])


def choose_soft_nms(
    wanted: SoftNms | None, hard: float | None, own: Suppression, scales: int
) -> SoftNms:
    """Returns the kind of soft-NMS that is meant.

    Args:
        wanted: The user's choice, None for none made.
        hard: The user's hard NMS.
        own: What the codec's rows need.
        scales: Number of test scales.

    Raises:
        HeatpointError: The choice is unknown, is at odds with ``hard``, or leaves the boxes of
            several scales side by side.
    """
    if wanted is None:
        needed = scales > 1 or (own.sigma is not None and hard is None)
        return "gaussian" if needed else "none"
    check_choice("soft_nms", wanted, get_args(SoftNms))
    if wanted != "none" and hard is not None:
        raise HeatpointError(
            f"nms={hard} removes double boxes and soft_nms={wanted!r} lowers their scores; "
            "choose one of them"
        )
    if wanted == "none" and hard is None and scales > 1:
        raise HeatpointError(
            f"{scales} scales find every object {scales} times; leave out soft_nms='none', or "
            "give nms"
        )
    return wanted


def check_thresholds(score: float, hard: float | None, most: int | None) -> None:
    """Makes sure that the three numbers are in range.

    Raises:
        HeatpointError: One is not; names it.
    """
    if not 0.0 <= score <= 1.0:
        raise HeatpointError(f"score must lie in [0, 1], not {score}")
    if hard is not None and not 0.0 < hard <= 1.0:
        raise HeatpointError(f"nms must be an overlap in (0, 1] or None, not {hard}")
    if most is not None and most < 1:
        raise HeatpointError(f"max_detections must be at least 1, not {most}")
