"""What is found in one image, as validated data without pixels, paths or drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.errors import HeatpointError

if TYPE_CHECKING:
    import supervision


@dataclass(eq=False)
class Detections:
    """The objects found in one image, by descending score when a detector made them.

    Attributes:
        boxes: (N, 4) float32, xyxy in image pixels, pixel ``i`` covers ``[i, i + 1)``.
        scores: (N,) float32 in [0, 1].
        labels: (N,) int64, index into ``names``.
        names: The class names of the detector, all of them, found or not.

    Raises:
        HeatpointError: Shapes, dtypes or label values do not fit together.
    """

    boxes: NDArray[Any]
    scores: NDArray[Any]
    labels: NDArray[Any]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        self.names = tuple(self.names)
        for field in ("boxes", "scores", "labels"):
            if not isinstance(getattr(self, field), np.ndarray):
                raise HeatpointError(
                    f"Detections.{field} must be a numpy array, not "
                    f"{type(getattr(self, field)).__name__}; wrap it in numpy.asarray"
                )
        if self.boxes.ndim != 2 or self.boxes.shape[1] != 4:
            raise HeatpointError(
                f"Detections.boxes must have shape (N, 4), not {tuple(self.boxes.shape)}"
            )
        count = len(self.boxes)
        for field in ("scores", "labels"):
            shape = tuple(getattr(self, field).shape)
            if shape != (count,):
                raise HeatpointError(
                    f"Detections.{field} must have shape ({count},) to match the boxes, not {shape}"
                )
        for field in ("boxes", "scores"):
            if getattr(self, field).dtype.kind != "f":
                raise HeatpointError(
                    f"Detections.{field} must be of a floating type, not "
                    f"{getattr(self, field).dtype}"
                )
        if self.labels.dtype.kind not in "iu":
            raise HeatpointError(
                f"Detections.labels must be of an integer type, not {self.labels.dtype}"
            )
        self.boxes = self.boxes.astype(np.float32, copy=False)
        self.scores = self.scores.astype(np.float32, copy=False)
        self.labels = self.labels.astype(np.int64, copy=False)
        if count:
            low, high = int(self.labels.min()), int(self.labels.max())
            if low < 0 or high >= len(self.names):
                raise HeatpointError(
                    f"Detections.labels must lie in [0, {len(self.names)}) because there are "
                    f"{len(self.names)} names, but they span [{low}, {high}]"
                )

    @classmethod
    def empty(cls, names: Sequence[str]) -> Detections:
        """Returns the result of an image in which nothing is found."""
        return cls(
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.int64),
            tuple(names),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: slice | NDArray[Any]) -> Detections:
        """Returns the rows that a slice, a (N,) bool mask or an array of row numbers selects."""
        check_rows(index, "Detections")
        return Detections(self.boxes[index], self.scores[index], self.labels[index], self.names)

    def as_dict(self) -> dict[str, Any]:
        """Returns lists of plain numbers and strings, ready for JSON.

        ``class_names`` holds one name per box, ``names`` all names of the detector.
        """
        labels = self.labels.tolist()
        return {
            "boxes": self.boxes.tolist(),
            "scores": self.scores.tolist(),
            "labels": labels,
            "class_names": [self.names[label] for label in labels],
            "names": list(self.names),
        }

    def to_coco(
        self, image_id: int, category_ids: Sequence[int] | None = None
    ) -> list[dict[str, Any]]:
        """Returns COCO result rows: image_id, category_id, bbox (x, y, width, height), score.

        Args:
            image_id: The id of the image in the annotation file.
            category_ids: The id of class ``i`` at place ``i``; None means 1 to C.

        Raises:
            HeatpointError: There is not exactly one category id per class name.
        """
        if category_ids is not None and len(category_ids) != len(self.names):
            raise HeatpointError(
                f"category_ids must hold one id for each of the {len(self.names)} class names, "
                f"not {len(category_ids)}"
            )
        rows = []
        for (x1, y1, x2, y2), score, label in zip(
            self.boxes.tolist(), self.scores.tolist(), self.labels.tolist(), strict=True
        ):
            rows.append(
                {
                    "image_id": int(image_id),
                    "category_id": label + 1 if category_ids is None else int(category_ids[label]),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": score,
                }
            )
        return rows

    def to_supervision(self) -> supervision.Detections:
        """Returns ``supervision.Detections`` with the class names in ``data["class_name"]``."""
        import supervision

        labels = self.labels.astype(int)
        return supervision.Detections(
            xyxy=self.boxes.copy(),
            confidence=self.scores.copy(),
            class_id=labels,
            data={"class_name": np.array([self.names[label] for label in labels], dtype=str)},
        )


def check_rows(index: object, what: str) -> None:
    """Makes sure that an index selects rows: a slice, a bool mask or an array of row numbers.

    Raises:
        TypeError: It is something else; ``what`` is the class that is indexed.
    """
    if not isinstance(index, (slice, np.ndarray)):
        raise TypeError(
            f"{what} are indexed by a slice, a bool mask or an integer array, not by "
            f"{type(index).__name__}; for row i write {what.lower()}[i : i + 1]"
        )
    if isinstance(index, np.ndarray) and (index.ndim != 1 or index.dtype.kind not in "biu"):
        raise TypeError(
            f"an index array of {what} must be one-dimensional and bool or integer, not "
            f"{index.dtype} of shape {index.shape}"
        )
