"""What is found in one image, as validated data without pixels, paths or drawing."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Id
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError, needing

if TYPE_CHECKING:
    import pandas
    import supervision

    from heatpoint.geometry import Affine, Image

_MOST_MARKED = 20
"""Points of a picture beside which their numbers are drawn."""


@dataclass(eq=False)
class Detections:
    """What is found in one image, one row each, whatever the model finds.

    Rows are by descending score; of a model that looked at given boxes, in the order of these.

    Example:
        >>> found = Detections.empty(["cat", "dog"])
        >>> len(found), found.names
        (0, ('cat', 'dog'))

    Attributes:
        boxes: (N, 4) float32, xyxy in image pixels, pixel ``i`` covers ``[i, i + 1)``: found, or
            where the model looked, or around what it found.
        scores: (N,) float32 in [0, 1].
        labels: (N,) int64, index into ``names``.
        names: The class names of the model, all of them, found or not.
        keypoints: (N, J, 3) float32, x and y in image pixels (continuous, not clipped to the
            image) and the height of the joint's peak: 1 where the network is sure, about 0 where
            it sees nothing, not strictly within [0, 1]. None where the model finds no joints.
        skeleton: Names, edges and mirrored pairs of the J joints; None without joints.
        columns: Further fields of the model by name, (N, ...) each.
        own_boxes: The boxes of rows with keypoints are found too, not where the model looked.
        picture: What was looked at, (H, W, 3) uint8 RGB or (H, W, C) of other bands, where the
            model was opened by ``load``; ``plot`` and ``show`` draw on it.

        density: (C,) float, how many objects of each class a density map says are in the whole
            picture, however many rows there are; None where the model has no such map.

    Raises:
        HeatpointError: Shapes, types or label values do not fit together.
    """

    boxes: NDArray[Any]
    scores: NDArray[Any]
    labels: NDArray[Any]
    names: tuple[str, ...]
    keypoints: NDArray[Any] | None = None
    skeleton: Skeleton | None = None
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    own_boxes: bool = False
    picture: Image | None = None
    density: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        self.names, self.columns = tuple(self.names), dict(self.columns)
        own = self._arrays()
        for name, given in {**own, **self.columns}.items():
            kind = type(given).__name__
            if not isinstance(given, np.ndarray):
                raise _misfit(name, "be a numpy array", f"{kind}; wrap it in numpy.asarray")
        if (self.keypoints is None) != (self.skeleton is None):
            raise HeatpointError("Detections have keypoints and a skeleton, or neither")
        if self.boxes.ndim != 2 or self.boxes.shape[1] != 4:
            raise _misfit("boxes", "have shape (N, 4)", self.boxes.shape)
        n, joints = len(self), len(self.skeleton or ())
        fitting = f"for {n} boxes" + (f" and a skeleton of {joints} joints" if joints else "")
        shapes = {"boxes": (n, 4), "scores": (n,), "labels": (n,), "keypoints": (n, joints, 3)}
        for name, array in own.items():
            if array.shape != shapes[name]:
                raise _misfit(name, f"have shape {shapes[name]} {fitting}", array.shape)
            whole = name == "labels"
            if array.dtype.kind not in ("iu" if whole else "f"):
                kind = "an integer" if whole else "a floating"
                raise _misfit(name, f"be of {kind} type", array.dtype)
            setattr(self, name, array.astype(np.int64 if whole else np.float32, copy=False))
        for name, array in self.columns.items():
            if array.shape[:1] != (n,):
                wanted = f"have one row for each of the {n} boxes"
                raise _misfit(f"columns[{name!r}]", wanted, f"the shape {array.shape}")
        if n and not 0 <= self.labels.min() <= self.labels.max() < len(self.names):
            wanted = f"lie in [0, {len(self.names)}), because so many names are given"
            raise _misfit("labels", wanted, f"span [{self.labels.min()}, {self.labels.max()}]")

    @property
    def counts(self) -> dict[str, int]:
        """The number of rows of each class, by its name."""
        numbers = np.bincount(self.labels, minlength=len(self.names)).tolist()
        return dict(zip(self.names, numbers, strict=True))

    @property
    def quads(self) -> NDArray[np.float32] | None:
        """The column "quads": (N, 4, 2) corners in image pixels, clockwise as seen; or None."""
        return self.columns.get("quads")

    @property
    def track(self) -> NDArray[np.int64] | None:
        """The column "track": (N,) identities in a film, from 1, or -1 without one; or None."""
        return self.columns.get("track")

    @classmethod
    def empty(cls, names: Sequence[str], skeleton: Skeleton | None = None) -> Detections:
        """Returns the result of an image in which nothing is found."""
        floats = np.zeros(0, np.float32)
        keypoints = None if skeleton is None else floats.reshape(0, len(skeleton), 3)
        boxes, labels = floats.reshape(0, 4), np.zeros(0, np.int64)
        return cls(boxes, floats, labels, tuple(names), keypoints, skeleton)

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[Detections]:
        """Yields every row by itself."""
        return (self[row] for row in range(len(self)))

    def __getitem__(self, index: int | slice | NDArray[Any] | Sequence[int]) -> Detections:
        """Returns the rows that a number, slice, (N,) bool mask or list of numbers selects.

        Raises:
            IndexError: There is no such row.
            TypeError: The index is none of these.
        """
        if isinstance(index, (int, np.integer)):
            if not -len(self) <= index < len(self):
                raise IndexError(f"row {index} of {len(self)} Detections")
            index = [int(index)]
        rows: Any = index
        if not isinstance(index, slice):
            rows = np.asarray(index, None if np.size(index) else np.int64)
            if rows.ndim != 1 or rows.dtype.kind not in "biu":
                raise TypeError(
                    "Detections are indexed by a row number, a slice, a bool mask or integers, not "
                    f"by {type(index).__name__} of shape {rows.shape}"
                )
        keypoints = None if self.keypoints is None else self.keypoints[rows]
        chosen = (self.boxes[rows], self.scores[rows], self.labels[rows], self.names, keypoints)
        columns = {name: values[rows] for name, values in self.columns.items()}
        further = (self.skeleton, columns, self.own_boxes, self.picture, self.density)
        return Detections(*chosen, *further)

    def moved(self, to: Affine) -> Detections:
        """Returns the rows as they lie in a picture to which a map leads; other columns stay."""
        joints = None if self.keypoints is None else to.points(self.keypoints)
        columns = dict(self.columns)
        if self.quads is not None:
            columns["quads"] = to.points(self.quads)
        boxes = to.boxes(self.boxes)
        return replace(self, boxes=boxes, keypoints=joints, columns=columns, picture=None)

    def renamed(self, names: Sequence[str], label_map: NDArray[np.int64]) -> Detections:
        """Returns the rows with other class names, of which label i becomes ``label_map[i]``."""
        density = self.density
        if density is not None:
            density = np.bincount(label_map, density, minlength=len(names))
        return replace(self, names=tuple(names), labels=label_map[self.labels], density=density)

    def as_dict(self) -> dict[str, Any]:
        """Returns lists of plain numbers and strings, ready for JSON.

        ``class_names`` holds one name per row, ``names`` all names of the model.
        """
        arrays = {**self._arrays(), **self.columns}
        plain: dict[str, Any] = {name: array.tolist() for name, array in arrays.items()}
        plain["class_names"] = [self.names[label] for label in plain["labels"]]
        plain["names"] = list(self.names)
        if self.skeleton is not None:
            plain["skeleton"] = self.skeleton.as_dict()
        if self.density is not None:
            plain["density"] = self.density.tolist()
        return plain

    def to_coco(
        self, image_id: Id, category_ids: Sequence[Id] | None = None
    ) -> list[dict[str, Any]]:
        """Returns COCO result rows: image_id, category_id, score, and bbox, keypoints or both.

        ``bbox`` is x, y, width and height. COCO counts pixels of keypoints, so that its integers
        are the middles of pixels: 0.5 less than here; the third number of each joint is its score.
        A row with keypoints has a ``bbox`` only if the model found that too: COCO's evaluator takes
        rows that have one for boxes, unless it is told to compare keypoints. Where classes have
        joints of their own, a row has those of its class. Four corners are a ``segmentation`` of
        one polygon. Further columns stand beside these.

        Args:
            image_id: The id of the image in the annotation file.
            category_ids: The id of class ``i`` at place ``i``; None means 1 to C.

        Raises:
            HeatpointError: There is not exactly one category id per class name.
        """
        ids = range(1, len(self.names) + 1) if category_ids is None else category_ids
        if len(ids) != len(self.names):
            raise HeatpointError(
                f"category_ids must hold one id for each of the {len(self.names)} class names, "
                f"not {len(ids)}"
            )
        more = {name: values.tolist() for name, values in self.columns.items()}
        if self.quads is not None:
            del more["quads"]
            more["segmentation"] = self.quads.reshape(-1, 1, 8).tolist()
        rows: list[dict[str, Any]] = []
        for place, label in enumerate(self.labels.tolist()):
            row: dict[str, Any] = {"image_id": _plain(image_id), "category_id": _plain(ids[label])}
            joints = np.zeros((0, 3), np.float32)
            if self.keypoints is not None and self.skeleton is not None:
                joints = self.keypoints[place, self.skeleton.joints_of(label)]
            if self.own_boxes or not len(joints):
                x1, y1, x2, y2 = self.boxes[place].tolist()
                row["bbox"] = [x1, y1, x2 - x1, y2 - y1]
            if len(joints):
                shifted = joints - np.array([0.5, 0.5, 0.0], np.float32)
                row["keypoints"] = shifted.reshape(-1).tolist()
            row["score"] = float(self.scores[place])
            rows.append(row | {name: values[place] for name, values in more.items()})
        return rows

    def to_supervision(self) -> supervision.Detections | supervision.KeyPoints:
        """Returns ``supervision.KeyPoints`` of a model of joints, else ``supervision.Detections``.

        The class names are in ``data["class_name"]``, further columns beside them. Four corners
        are under the name that its oriented annotators and metrics look for, "xyxyxyxy".
        """
        import supervision
        from supervision.config import ORIENTED_BOX_COORDINATES

        labels = self.labels.astype(int)
        classes = np.array([self.names[label] for label in labels], dtype=str)
        data: dict[str, Any] = {"class_name": classes}
        for name, values in self.columns.items():
            data[ORIENTED_BOX_COORDINATES if name == "quads" else name] = values.copy()
        if self.keypoints is None:
            return supervision.Detections(
                xyxy=self.boxes.copy(),
                confidence=self.scores.copy(),
                class_id=labels,
                tracker_id=data.pop("track", None),
                data=data,
            )
        return supervision.KeyPoints(
            xy=self.keypoints[..., :2].copy(),
            class_id=labels,
            keypoint_confidence=self.keypoints[..., 2].copy(),
            detection_confidence=self.scores.copy(),
            data=data,
        )

    def to_pandas(self) -> pandas.DataFrame:
        """Returns a table with a row for each row.

        Its columns are ``class``, ``score``, ``x1``, ``y1``, ``x2`` and ``y2``; of a model of
        joints ``NAME_x``, ``NAME_y`` and ``NAME_score`` of each joint; and the further columns,
        those of several numbers as ``NAME_0``, ``NAME_1`` and so on.

        Raises:
            HeatpointError: pandas is not installed.
        """
        with needing("to_pandas needs pandas", "pandas"):
            import pandas

        table: dict[str, Any] = {
            "class": [self.names[label] for label in self.labels.tolist()],
            "score": self.scores,
            **dict(zip(("x1", "y1", "x2", "y2"), self.boxes.T, strict=True)),
        }
        if self.keypoints is not None and self.skeleton is not None:
            for place, joint in enumerate(self.skeleton.joints):
                for axis, what in enumerate(("x", "y", "score")):
                    table[f"{joint}_{what}"] = self.keypoints[:, place, axis]
        for name, values in self.columns.items():
            if values.ndim == 1:
                table[name] = values
                continue
            flat = values.reshape(len(values), -1).T
            table |= {f"{name}_{place}": part for place, part in enumerate(flat)}
        return pandas.DataFrame(table)

    def show(self, least: float = 0.0) -> None:
        """Shows the picture with the rows drawn in: in a notebook below its cell, else in a window.

        Args:
            least: Score of a row that is drawn.

        Raises:
            HeatpointError: The picture is not known.
        """
        from PIL import Image as PIL

        picture = PIL.fromarray(self.plot(least=least))
        notebook: Any = sys.modules.get("IPython")  # whoever is in one has imported it
        if notebook is None or notebook.get_ipython() is None:
            picture.show()
        else:
            notebook.display.display(picture)

    def plot(self, image: Any = None, least: float = 0.0, shown: Sequence[int] = ()) -> Image:
        """Returns a copy of the picture, (H, W, 3) uint8 RGB, with the rows drawn in.

        Of a model of joints the skeletons are drawn; of one that finds boxes a box, class name and
        score for each row; of one that finds both, both. Of a model of points each is a dot, and
        the points of each class are counted; of four corners the first one is marked. Rows of a
        film that are followed have their number, and its colour.

        Args:
            image: The picture: a file, (H, W, 3) uint8 RGB array, Pillow image or encoded bytes; by
                default the one that was looked at.
            least: Score of a row that is drawn.
            shown: Channels that are drawn of other pictures than RGB, counted from 1: three as red,
                green and blue, or one; the first three by default.

        Raises:
            HeatpointError: The picture is not known, or has no such channels.
        """
        from heatpoint.data import draw
        from heatpoint.data.images import load_shown

        given = self.picture if image is None else image
        if given is None:
            raise HeatpointError(
                "these results do not know their picture, as those of heatpoint.load's models do; "
                "give it: plot(image)"
            )
        pixels, rows = load_shown(given, shown), self[self.scores >= least]
        track, colours = rows.track, rows.labels
        marks = [""] * len(rows)
        if track is not None:
            marks = [f"#{number} " if number > 0 else "" for number in track.tolist()]
            colours = np.maximum(track, 0)
        if "points" in rows.columns:
            pixels = draw.draw_points(pixels, rows.boxes, rows.labels, rows.names)
            few = len(rows) <= _MOST_MARKED  # numbers would hide what lies beside the points
            return draw.draw_marks(pixels, rows.boxes, colours, marks) if few else pixels
        if rows.keypoints is None or rows.own_boxes:
            texts = [
                f"{mark}{rows.names[label]} {score:.2f}"
                for mark, label, score in zip(
                    marks, rows.labels.tolist(), rows.scores.tolist(), strict=True
                )
            ]
            if rows.quads is not None:
                return draw.draw_quads(pixels, rows.quads, colours, texts)
            pixels = draw.draw_boxes(pixels, rows.boxes, colours, texts)
            marks = []
        if rows.keypoints is not None and rows.skeleton is not None:
            pixels = draw.draw_joints(pixels, rows.keypoints, rows.skeleton)
            pixels = draw.draw_marks(pixels, rows.boxes, colours, marks)
        return pixels

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """Returns every array but the further columns by its name."""
        named = {"boxes": self.boxes, "scores": self.scores, "labels": self.labels}
        return named if self.keypoints is None else named | {"keypoints": self.keypoints}


def _plain(number: Id) -> Id:
    """Returns an id as JSON can have it; those of numpy are none."""
    return number if isinstance(number, str) else int(number)


def _misfit(name: str, wanted: str, got: object) -> HeatpointError:
    """Returns the error for an array that does not fit the others."""
    return HeatpointError(f"Detections.{name} must {wanted}, not {got}")
