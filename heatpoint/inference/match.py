"""Brings a model's answers and annotations together: by class name, by joint name, by place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.combining import with_classes
from heatpoint.data.quads import as_points, as_quads
from heatpoint.data.readers import read
from heatpoint.data.results import Detections
from heatpoint.data.shards import is_file
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.inference.engines.description import Description
from heatpoint.inference.places import places_of
from heatpoint.inference.sources import Source
from heatpoint.scoring.subjects import is_subject
from heatpoint.views import Places


@dataclass(frozen=True, eq=False)
class Match:
    """How the answers of a model are compared with annotations.

    Attributes:
        truth: The annotations. Of a model that looks at given boxes and does not say what is in
            them, all objects are of its one class.
        boxes: Found boxes are scored.
        joints: Found joints are scored.
        asks: The model looks at one subject at a time.
        labels: (classes,) int64, the label in ``truth`` of each class of the model.
        order: Place among the model's joints of each joint of ``truth``; empty without joints.
        points: Found points are scored, or the middles of boxes, for the data has points.
        quads: Found corners are scored, and not the boxes around them.
    """

    truth: Annotations
    boxes: bool
    joints: bool
    asks: bool
    labels: NDArray[np.int64]
    order: tuple[int, ...]
    points: bool = False
    quads: bool = False

    @classmethod
    def of(cls, model: Description, truth: Annotations) -> Match:
        """Returns the comparison that the fields of the model's answer and the data allow.

        Raises:
            HeatpointError: Classes or joints differ, or nothing can be scored.
        """
        found, asks = {field.name for field in model.answer}, model.view_type.asks
        where = truth.source or "the annotations"
        points = "points" in found or (truth.pointed and "boxes" in found)
        quads = "quads" in found and not points
        boxes = "boxes" in found and not points and not quads
        truth = as_points(truth) if points else as_quads(truth) if quads else truth
        order: tuple[int, ...] = ()
        if not (boxes or points or quads) and "keypoints" not in found:
            raise HeatpointError(
                f"{model.called} answers with {', '.join(sorted(found))}; what can be scored are "
                "boxes, keypoints, points and quads: give its codec one of these fields"
            )
        if model.skeleton is not None and truth.skeleton is not None:
            order = tuple(match_joints(model.skeleton, truth.skeleton))
        elif not (boxes or points or quads):
            raise HeatpointError(f"{where} hold no keypoints; expected annotated joints to score")
        joints = bool(order) and any(is_subject(record).any() for record in truth.images)
        if not (boxes or joints or points or quads):
            raise HeatpointError(f"{where} hold no subject with a labelled joint to score")
        if asks and "labels" not in found:
            labels = np.zeros(len(model.names), np.int64)
            truth = _of_one_class(truth, model.names[0])
        else:
            # Data of which a class has no object may not list it; others are a mistake.
            if set(truth.names) <= set(model.names):
                truth = with_classes(truth, model.names)
            labels = np.array(match_names(model.names, truth.names), np.int64)
        return cls(truth, boxes, joints, asks, labels, order, points, quads)

    def wanted(self, record: ImageRecord) -> NDArray[np.bool_]:
        """Returns (N,) bool: which objects are to be found, or asked about."""
        if self.asks and self.joints:
            return is_subject(record)
        return ~(record.crowd | record.difficult)

    @property
    def sources(self) -> list[Source]:
        """The annotated images."""
        return [Source(record.path, str(record.path)) for record in self.truth.images]

    def places(self) -> dict[int, Places] | None:
        """Returns the annotated boxes, by the image's number, if the model must be told them.

        Raises:
            HeatpointError: A box has no area.
        """
        if not self.asks:
            return None
        return {
            number: places_of(record.boxes[self.wanted(record)], f"{record.path}'s annotation")
            for number, record in enumerate(self.truth.images)
        }

    def answer(self, found: Detections) -> Detections:
        """Returns what was found with the classes and joints of ``truth``."""
        keypoints = skeleton = None
        if self.joints and found.keypoints is not None:
            keypoints, skeleton = found.keypoints[:, list(self.order)], self.truth.skeleton
        renamed = found.renamed(self.truth.names, self.labels)
        return replace(renamed, keypoints=keypoints, skeleton=skeleton)


def match_names(mine: Sequence[str], theirs: Sequence[str]) -> list[int]:
    """Returns the place in ``theirs`` of each of the detector's class names.

    Raises:
        HeatpointError: The names are not the same set; lists the differences.
    """
    remedy = "on data with the classes it was trained on; heatpoint filter renames and leaves out"
    _check_same(mine, theirs, "classes", remedy)
    return [list(theirs).index(name) for name in mine]


def match_joints(mine: Skeleton, theirs: Skeleton) -> list[int]:
    """Returns the place in ``mine`` of each joint of ``theirs``, matched by name.

    Raises:
        HeatpointError: The names are not the same set; lists the differences.
    """
    _check_same(mine.joints, theirs.joints, "joints", "on data with the skeleton it was trained on")
    return [mine.joints.index(name) for name in theirs.joints]


def open_truth(data: Annotations | str | Path) -> Annotations:
    """Returns annotations, or reads them.

    Raises:
        HeatpointError: They cannot be read, or hold no image.
    """
    truth = data if isinstance(data, Annotations) else read(data)
    if not truth.images:
        raise HeatpointError(f"{truth.source or 'the annotations'} hold no image to score")
    return truth


def check_files(truth: Annotations) -> None:
    """Makes sure that every annotated image exists.

    Raises:
        HeatpointError: Some do not; names a few.
    """
    missing = [str(record.path) for record in truth.images if not is_file(record.path)]
    if missing:
        shown = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
        raise HeatpointError(
            f"{len(missing)} of {len(truth.images)} annotated images do not exist: {shown}; "
            "name their folder, or leave them out with skip_bad"
        )


def _check_same(mine: Sequence[str], theirs: Sequence[str], what: str, remedy: str) -> None:
    missing = [name for name in theirs if name not in mine]
    extra = [name for name in mine if name not in theirs]
    if not missing and not extra:
        return
    parts = [
        f"{words} {', '.join(map(repr, names[:10]))}" + (" ..." if len(names) > 10 else "")
        for words, names in (("the detector lacks", missing), ("the annotations lack", extra))
        if names
    ]
    raise HeatpointError(
        f"the detector's {len(mine)} {what} are not the annotations' {len(theirs)}: "
        f"{'; '.join(parts)}; evaluate {remedy}"
    )


def _of_one_class(truth: Annotations, name: str) -> Annotations:
    """Returns the annotations with every object of the class ``name``, or of the first one."""
    label = truth.names.index(name) if name in truth.names else 0
    return replace(
        truth,
        names=(name,),
        category_ids=(truth.category_ids[label],),
        images=[replace(r, labels=np.zeros(len(r), np.int64)) for r in truth.images],
        skeleton=None if truth.skeleton is None else replace(truth.skeleton, slices=()),
    )
