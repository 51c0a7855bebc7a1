"""What is found in one image, as validated data without pixels, paths or drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

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

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        self.names = tuple(self.names)
        for field in ("boxes", "scores", "labels"):
            if not isinstance(getattr(self, field), Tensor):
                raise HeatpointError(
                    f"Detections.{field} must be a torch.Tensor, not "
                    f"{type(getattr(self, field)).__name__}; wrap it in torch.as_tensor"
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
            if not getattr(self, field).is_floating_point():
                raise HeatpointError(
                    f"Detections.{field} must be of a floating type, not "
                    f"{getattr(self, field).dtype}"
                )
        if self.labels.is_floating_point() or self.labels.dtype == torch.bool:
            raise HeatpointError(
                f"Detections.labels must be of an integer type, not {self.labels.dtype}"
            )
        self.boxes, self.scores = self.boxes.float(), self.scores.float()
        self.labels = self.labels.long()
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
            torch.zeros((0, 4)),
            torch.zeros(0),
            torch.zeros(0, dtype=torch.long),
            tuple(names),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: slice | Tensor) -> Detections:
        """Returns the rows that a slice, a (N,) bool mask or an integer index tensor selects."""
        if not isinstance(index, (slice, Tensor)):
            raise TypeError(
                "Detections are indexed by a slice, a bool mask or an integer tensor, not by "
                f"{type(index).__name__}; for row i write detections[i : i + 1]"
            )
        if isinstance(index, Tensor) and (index.ndim != 1 or index.is_floating_point()):
            raise TypeError(
                "an index tensor of Detections must be one-dimensional and bool or integer, not "
                f"{index.dtype} of shape {tuple(index.shape)}"
            )
        return Detections(self.boxes[index], self.scores[index], self.labels[index], self.names)

    def to(self, device: str | torch.device) -> Detections:
        """Returns the detections with every tensor on ``device``."""
        return Detections(
            self.boxes.to(device), self.scores.to(device), self.labels.to(device), self.names
        )

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
        import numpy as np
        import supervision

        labels = self.labels.cpu().numpy().astype(int)
        return supervision.Detections(
            xyxy=self.boxes.cpu().numpy(),
            confidence=self.scores.cpu().numpy(),
            class_id=labels,
            data={"class_name": np.array([self.names[label] for label in labels], dtype=str)},
        )
