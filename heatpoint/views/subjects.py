"""Where the subjects of pose estimation are: boxes given, read from a file, or found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.engines import Engine
from heatpoint.errors import HeatpointError, suggest
from heatpoint.inference.predict import iter_predict
from heatpoint.inference.results import Detections
from heatpoint.inference.sources import Source
from heatpoint.system.files import read_json

if TYPE_CHECKING:
    import torch

    from heatpoint.detector.detector import Detector
    from heatpoint.networks.fast import Precision

ImageBoxes = NDArray[Any] | Sequence[Sequence[float]]
"""The boxes of one image: (N, 4) xyxy in image pixels."""


@dataclass(frozen=True, eq=False)
class Subjects:
    """Where to look for subjects in one image.

    Attributes:
        boxes: (N, 4) float32, xyxy in image pixels; each may reach beyond the image.
        scores: (N,) float32 in [0, 1], how sure it is that there is a subject; 1 where it is known.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.boxes)

    def check_inside(self, image_size: tuple[int, int], where: str) -> None:
        """Makes sure that every box shows a part of an image of (height, width).

        Raises:
            HeatpointError: One lies wholly outside.
        """
        height, width = image_size
        for place, (x1, y1, x2, y2) in enumerate(self.boxes.tolist()):
            if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
                raise HeatpointError(
                    f"box {place} of {where}, {_text((x1, y1, x2, y2))}, lies wholly outside the "
                    f"image of {width} x {height} pixels (width x height); boxes are x1, y1, x2, "
                    "y2 in image pixels: are these another image's?"
                )


def subjects(boxes: ImageBoxes, where: str, scores: Sequence[float] | None = None) -> Subjects:
    """Returns checked boxes; ``where`` names the image in messages.

    Args:
        boxes: (N, 4) xyxy in image pixels; an empty list for no subject.
        where: The image.
        scores: One per box in [0, 1], or None for 1.

    Raises:
        HeatpointError: Not four finite numbers per box, or a box without area.
    """
    try:
        rows = np.asarray(boxes, np.float32)
    except (TypeError, ValueError):
        raise HeatpointError(f"the boxes of {where} are not rows of four numbers") from None
    if rows.size == 0:
        rows = rows.reshape(0, 4)
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise HeatpointError(
            f"the boxes of {where} must have shape (N, 4), x1, y1, x2, y2 in image pixels, not "
            f"{rows.shape}"
        )
    for place, (x1, y1, x2, y2) in enumerate(rows.tolist()):
        if not (math.isfinite(x1 + y1 + x2 + y2) and x2 > x1 and y2 > y1):
            raise HeatpointError(
                f"box {place} of {where}, {_text((x1, y1, x2, y2))}, has no area; expected four "
                "finite numbers x1 < x2, y1 < y2 in image pixels"
            )
    certain = np.ones(len(rows)) if scores is None else np.asarray(scores)
    return Subjects(rows, certain.astype(np.float32))


def whole_picture(image_size: tuple[int, int]) -> Subjects:
    """Returns the one subject that fills an image of (height, width)."""
    height, width = image_size
    return Subjects(np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32))


def given_boxes(
    boxes: str | Path | Sequence[ImageBoxes],
    sources: Sequence[Source],
    subject: str,
    score_threshold: float,
) -> list[Subjects]:
    """Returns the subjects of each image from a file, or from a list with an entry per image.

    Args:
        boxes: A JSON file (see ``boxes_of_file``), or the boxes of each image in order.
        sources: The images.
        subject: What the subjects are; rows of other classes are left alone.
        score_threshold: Least score of a row of a file of results.

    Raises:
        HeatpointError: The boxes are those of other images, or not usable.
    """
    if isinstance(boxes, (str, Path)):
        return boxes_of_file(Path(boxes), sources, subject, score_threshold)
    if len(boxes) != len(sources):
        raise HeatpointError(
            f"boxes holds {len(boxes)} entries for {len(sources)} images; give one list of boxes "
            "for each image, empty where there is no subject"
        )
    return [
        subjects(rows, source.path or f"image {place}")
        for place, (rows, source) in enumerate(zip(boxes, sources, strict=True))
    ]


def boxes_of_file(
    path: Path, sources: Sequence[Source], subject: str, score_threshold: float
) -> list[Subjects]:
    """Reads the boxes of images from a JSON file of one of two kinds.

    COCO result rows with a ``file_name``, as ``heatpoint predict --json`` writes for a detector of
    boxes: an image without a row has no subject, and rows of other classes are left alone. Or
    ``{file name: [[x1, y1, x2, y2], ...]}``, where every image has an entry. File names match in
    full, or by their last part where it is one image's only.

    Raises:
        HeatpointError: The file is of neither kind, or about other images; names them.
    """
    content = read_json(path)
    rows: list[tuple[str, Any, float]] = []
    if isinstance(content, dict):
        rows = [(name, box, 1.0) for name, listed in content.items() for box in _list(listed, path)]
        mentioned = list(content)
    else:
        rows = _result_rows(content, path, subject)
        mentioned = [name for name, _, _ in rows]
    by_name = _places(sources)
    strangers = sorted({name for name in mentioned if _place(name, by_name) is None})
    if strangers:
        shown = ", ".join(strangers[:5]) + (" ..." if len(strangers) > 5 else "")
        raise HeatpointError(
            f"{path} holds boxes of {len(strangers)} images that are not among the "
            f"{len(sources)} given: {shown}{suggest(strangers[0], by_name)}"
        )
    if isinstance(content, dict):
        known = {_place(name, by_name) for name in content}
        absent = [str(source) for place, source in enumerate(sources) if place not in known]
        if absent:
            raise HeatpointError(
                f"{path} says nothing about {len(absent)} of the {len(sources)} images: "
                f"{', '.join(absent[:5])}; give an empty list where there is no subject"
            )
    found: list[list[tuple[Any, float]]] = [[] for _ in sources]
    for name, box, score in rows:
        place = _place(name, by_name)
        if place is not None and score >= score_threshold:
            found[place].append((box, score))
    return [
        subjects([box for box, _ in entries], f"{source} in {path}", [s for _, s in entries])
        for source, entries in zip(sources, found, strict=True)
    ]


def detected_boxes(
    detector: Detector | Engine | str | Path,
    sources: Sequence[Source],
    subject: str,
    *,
    score_threshold: float,
    nms: float | None,
    device: str | torch.device,
    precision: Precision,
    workers: int,
    skip_bad: bool,
) -> dict[int, Subjects]:
    """Returns the subjects a detector of boxes finds, by the image's place; unreadable ones lack.

    Of a detector of several classes only the one called ``subject`` is used.

    Raises:
        HeatpointError: As ``iter_predict``, or the detector has no such class.
    """
    stream = iter_predict(
        detector,
        [source.content for source in sources],
        score_threshold=score_threshold,
        nms=nms,
        device="auto" if isinstance(detector, Engine) else device,
        precision="auto" if isinstance(detector, Engine) else precision,
        workers=workers,
        skip_bad=skip_bad,
    )
    found = {}
    for one in stream:
        found[one.index] = subjects_among(one.detections, subject)
    return found


def subjects_among(found: Detections, subject: str) -> Subjects:
    """Returns the boxes of the class called ``subject``, or of the only class there is.

    Raises:
        HeatpointError: There is no such class.
    """
    rows = found[found.labels == _label(found.names, subject, "the detector of boxes")]
    return Subjects(rows.boxes, rows.scores)


def _label(names: Sequence[str], subject: str, where: str) -> int:
    """Returns the class of the subjects: the one of their name, or the only one there is."""
    if subject in names:
        return list(names).index(subject)
    if len(names) == 1:
        return 0
    raise HeatpointError(
        f"{where} knows {', '.join(names[:10])}{' ...' if len(names) > 10 else ''}, but not "
        f"{subject!r}, which the poses are of{suggest(subject, names)}"
    )


def _list(listed: Any, path: Path) -> list[Any]:
    if not isinstance(listed, list):
        raise HeatpointError(
            f"{path}: expected a list of boxes [[x1, y1, x2, y2], ...] for each file name, not "
            f"{listed!r:.60}"
        )
    return listed


def _result_rows(content: Any, path: Path, subject: str) -> list[tuple[str, Any, float]]:
    """Returns file name, xyxy box and score of the rows that are about the subjects."""
    if not isinstance(content, list):
        raise HeatpointError(
            f"{path} holds no boxes: expected COCO result rows with file_name, or an object "
            "{file name: [[x1, y1, x2, y2], ...]}"
        )
    for place, row in enumerate(content):
        box = row.get("bbox") if isinstance(row, dict) else None
        numbers = box if isinstance(box, list) and len(box) == 4 else [None]
        if not (
            isinstance(row, dict)
            and row.get("file_name")
            and all(isinstance(n, (int, float)) for n in [*numbers, row.get("score", 1.0)])
        ):
            raise HeatpointError(
                f"row {place} of {path} lacks a file_name, or four numbers as bbox (x, y, width, "
                "height); `heatpoint predict DETECTOR ... --json` writes such rows"
            )
    names = sorted({str(row["category_name"]) for row in content if "category_name" in row})
    wanted = names[_label(names, subject, str(path))] if names else ""
    return [
        (
            str(row["file_name"]),
            [*row["bbox"][:2], row["bbox"][0] + row["bbox"][2], row["bbox"][1] + row["bbox"][3]],
            float(row.get("score", 1.0)),
        )
        for row in content
        if row.get("category_name", wanted) == wanted
    ]


def _places(sources: Sequence[Source]) -> dict[str, int]:
    """Returns the place of each image by its path, and by its bare name where that is unique."""
    bare: dict[str, list[int]] = {}
    for place, source in enumerate(sources):
        bare.setdefault(Path(source.path).name, []).append(place)
    named = {name: places[0] for name, places in bare.items() if len(places) == 1 and name}
    return named | {source.path: place for place, source in enumerate(sources) if source.path}


def _place(name: str, by_name: dict[str, int]) -> int | None:
    return by_name.get(name, by_name.get(Path(name).name))


def _text(box: Sequence[float]) -> str:
    return "(" + ", ".join(f"{side:g}" for side in box) + ")"
