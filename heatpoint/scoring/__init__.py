"""Scores of what was found against annotations: COCO's, Pascal VOC's, PCK, OKS."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from heatpoint.data import Annotations, Id
from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError, suggest
from heatpoint.options import Normaliser as Normaliser
from heatpoint.system.files import read_json

_MOST = 1e18
"""No number of a result means more, and squares of it stay finite."""

Floats = NDArray[np.float64]

Results = Sequence[Detections] | Sequence[Mapping[str, Any]]
"""One ``Detections`` per image, in the order of the annotated images and with their names; or COCO
result rows with the ids of the annotations, in full precision."""


class Table(NamedTuple):
    """What was found in all images, one row each.

    Attributes:
        images: (N,) int64, place of the image among the annotated ones.
        labels: (N,) int64, class index.
        scores: (N,) float64.
        values: float64 image pixels: (N, 4) x, y, width, height of boxes, (N, J, 3) joints, or
            (N, 4, 2) corners.
    """

    images: NDArray[np.int64]
    labels: NDArray[np.int64]
    scores: Floats
    values: Floats


def tabulated(
    results: Results, truth: Annotations, joints: int | None = None, quads: bool = False
) -> Table:
    """Returns what was found in all images as one table.

    Args:
        results: The results.
        truth: The annotations.
        joints: J, to return joints; None returns boxes or corners.
        quads: Return four corners.

    Raises:
        HeatpointError: The results do not belong to these images, classes or joints, a row is not
            complete or not finite, or two images share an id.
    """
    place_of = {record.image_id: place for place, record in enumerate(truth.images)}
    if len(place_of) != len(truth):
        raise HeatpointError(
            f"{truth.source or 'the annotations'} give one image id to several images; results "
            "could not be told apart"
        )
    found = [one for one in results if not isinstance(one, Mapping)]
    rows = [row for row in results if isinstance(row, Mapping)]
    if found and rows:
        raise TypeError("results are either all Detections or all COCO result rows")
    if found:
        values = _checked(found, truth, joints, quads)
        return Table(
            np.repeat(np.arange(len(found)), [len(one) for one in found]),
            np.concatenate([one.labels for one in found]),
            np.concatenate([one.scores for one in found]).astype(np.float64),
            values,
        )
    label_of = {category: label for label, category in enumerate(truth.category_ids)}
    known = {"image_id": place_of, "category_id": label_of}
    if quads:
        rows = [{**row, "segmentation": _flat(row.get("segmentation"))} for row in rows]
        _check_rows(rows, "segmentation", dict.fromkeys(label_of, 8), known)
        values = np.array([row["segmentation"] for row in rows], np.float64).reshape(-1, 4, 2)
    elif joints is None or truth.skeleton is None:
        _check_rows(rows, "bbox", dict.fromkeys(label_of, 4), known)
        values = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    else:
        parts = {each: truth.skeleton.joints_of(label) for each, label in label_of.items()}
        counts = {each: 3 * (part.stop - part.start) for each, part in parts.items()}
        jointless = {each for each, count in counts.items() if not count}
        rows = [row for row in rows if row.get("category_id") not in jointless]
        _check_rows(rows, "keypoints", counts, known)
        values = np.zeros((len(rows), joints, 3))
        for place, row in enumerate(rows):
            values[place, parts[row["category_id"]]] = np.reshape(row["keypoints"], (-1, 3))
        values[..., :2] += 0.5  # COCO's integers are the middles of pixels
    places = np.array([place_of[row["image_id"]] for row in rows], np.int64)
    labels = np.array([label_of[row["category_id"]] for row in rows], np.int64)
    return Table(places, labels, np.array([row["score"] for row in rows], np.float64), values)


def _flat(polygons: Any) -> list[Any]:
    """Returns the numbers of the only polygon of a row; none where there is not one."""
    return polygons[0] if isinstance(polygons, list) and len(polygons) == 1 else []


def _checked(
    found: Sequence[Detections], truth: Annotations, joints: int | None, quads: bool
) -> Floats:
    """Returns the values of a table, after making sure that results fit to the annotations."""
    if len(found) != len(truth):
        raise HeatpointError(
            f"expected one result for each of the {len(truth)} annotated images, got {len(found)}"
        )
    arrays = []
    for one in found:
        if one.names != truth.names:
            raise HeatpointError(
                f"the results' classes are {one.names}, the annotations' {truth.names}; map them "
                "first"
            )
        array = one.boxes if joints is None else one.keypoints
        if quads and (array := one.quads) is None:
            if len(one):
                raise HeatpointError("the results have no column 'quads' of four corners to score")
            array = np.zeros((0, 4, 2))
        have = 0 if one.skeleton is None else len(one.skeleton)
        if array is None or joints not in (None, have):
            raise HeatpointError(f"the results have {have} joints, the annotations {joints}")
        arrays.append(array)
    values = np.concatenate(arrays).astype(np.float64)
    if joints is None and not quads:
        values[:, 2:] -= values[:, :2]
    return values


def _check_rows(
    rows: Sequence[Mapping[str, Any]],
    what: str,
    counts: Mapping[Any, int],
    known: Mapping[str, Container[Any]],
) -> None:
    """Makes sure that COCO result rows are complete, finite and about the annotations.

    Args:
        rows: The rows.
        what: "bbox", "keypoints" or "segmentation".
        counts: How many numbers these are, by the id of the class.
        known: The ids of images and classes that are annotated, by the name of their field.

    Raises:
        HeatpointError: One is not.
    """
    for place, row in enumerate(rows):
        missing = [key for key in (*known, what, "score") if key not in row]
        if missing:
            raise HeatpointError(
                f"result {place} lacks {', '.join(missing)}; expected COCO result rows with "
                f"image_id, category_id, {what} and score"
            )
        for key, ids in known.items():
            if not isinstance(row[key], Hashable) or row[key] not in ids:
                raise HeatpointError(
                    f"result {place} has {key} {row[key]!r}, which the annotations do not; are the "
                    "results those of another data set?"
                )
        values = [*row[what], row["score"]] if isinstance(row[what], Iterable) else []
        finite = all(isinstance(each, int | float) and abs(each) < _MOST for each in values)
        count = counts[row["category_id"]]
        if len(values) != count + 1 or not finite:
            raise HeatpointError(
                f"result {place} has {what} {row[what]} and score {row['score']}; expected "
                f"{'five' if count == 4 else count + 1} finite numbers"
            )


def read_rows(path: Path, truth: Annotations) -> list[dict[str, Any]]:
    """Returns the rows of a result file, with the ids of ``truth`` where they have names.

    Raises:
        HeatpointError: The file is no list of rows, or names what ``truth`` does not hold.
    """
    rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise HeatpointError(
            f"{path} is no COCO result file: expected a list of objects with image_id, "
            "category_id, score, and bbox, keypoints or segmentation"
        )
    ids_of_class = dict(zip(truth.names, truth.category_ids, strict=True))
    ids_of_file = _ids_of_files(truth)
    for row in rows:
        if "category_name" in row:
            row["category_id"] = _known(row, "category_name", ids_of_class, path)
        if row.get("file_name"):
            row["image_id"] = _known(row, "file_name", ids_of_file, path)
    return rows


def known_mean(values: ArrayLike) -> float:
    """Returns the mean of those values that are finite, NaN if none is."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return float(known.mean()) if len(known) else math.nan


def alike(found: NDArray[Any], true: NDArray[Any], radius: float) -> Floats:
    """Returns how near the middles of boxes are, (N, M) in [0, 1], 0.5 at a radius, 0 at two.

    Args:
        found: (N, 4) xyxy.
        true: (M, 4) xyxy.
        radius: In the same unit.
    """
    one, other = (each.astype(np.float64).reshape(-1, 2, 2).mean(1) for each in (found, true))
    away = np.linalg.norm(one[:, None] - other, axis=2)
    return np.asarray((1 - away / (2 * radius)).clip(0))


def _ids_of_files(truth: Annotations) -> dict[str, Id]:
    """Returns image ids by full path, and by bare name where only one image has it."""
    times = Counter(record.path.name for record in truth.images)
    ids = {r.path.name: r.image_id for r in truth.images if times[r.path.name] == 1}
    return ids | {str(record.path): record.image_id for record in truth.images}


def _known(row: Mapping[str, Any], key: str, ids: Mapping[str, Id], path: Path) -> Id:
    value = str(row[key])
    found = ids.get(value, ids.get(Path(value).name) if key == "file_name" else None)
    if found is None:
        raise HeatpointError(
            f"{path} has results for {key} {value!r}, which the annotations do not"
            + suggest(value, ids)
        )
    return found
