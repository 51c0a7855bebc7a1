"""Where a model of crops is to look: boxes given, read from a file, or found by a detector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError, suggest
from heatpoint.inference.sources import Source
from heatpoint.system.files import fits, read_json
from heatpoint.views import Places, box_text

ImageBoxes = NDArray[Any] | Sequence[Sequence[float]]
"""The boxes of one image: (N, 4) xyxy in image pixels."""

Scored = tuple[Any, float]
"""A box of a file, which may be anything, and its score."""

Named = tuple[str, int | None]
"""A file, and which of its frames, from 0; None where frames are not told apart."""


def places_of(boxes: ImageBoxes, where: str, scores: Sequence[float] | None = None) -> Places:
    """Returns checked boxes; ``where`` names the image in messages.

    Args:
        boxes: (N, 4) xyxy in image pixels; an empty list for no subject.
        where: The image.
        scores: One per box in [0, 1], or None for 1.

    Raises:
        HeatpointError: Not four finite numbers per box, or a box without area.
    """
    try:
        with np.errstate(over="ignore"):
            rows = np.asarray(boxes, np.float32)
    except (TypeError, ValueError, OverflowError):
        raise HeatpointError(f"the boxes of {where} are not rows of four numbers") from None
    if len(boxes) == 0:
        rows = np.zeros((0, 4), np.float32)
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise HeatpointError(
            f"the boxes of {where} must have shape (N, 4), x1, y1, x2, y2 in image pixels, not "
            f"{rows.shape}"
        )
    wrong = np.flatnonzero(~(np.isfinite(rows).all(1) & (rows[:, 2:] > rows[:, :2]).all(1)))
    if len(wrong):
        raise HeatpointError(
            f"box {wrong[0]} of {where}, {box_text(rows[wrong[0]].tolist())}, has no area; "
            "expected four finite numbers x1 < x2, y1 < y2 in image pixels"
        )
    certain = np.ones(len(rows)) if scores is None else np.asarray(scores)
    labels = np.zeros(len(rows), np.int64)
    return Places(rows, certain.astype(np.float32), labels)


def given_boxes(
    boxes: str | Path | Sequence[ImageBoxes],
    sources: Sequence[Source],
    subject: str,
    score_threshold: float,
) -> list[Places]:
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
        places_of(rows, source.path or f"image {place}")
        for place, (rows, source) in enumerate(zip(boxes, sources, strict=True))
    ]


def boxes_of_file(
    path: Path, sources: Sequence[Source], subject: str, score_threshold: float
) -> list[Places]:
    """Reads the boxes of images from a JSON file of one of two kinds.

    COCO result rows with a ``file_name``, as ``heatpoint predict --json`` writes for a detector of
    boxes: an image without a row has no subject, rows of other classes are left alone, and rows
    about the frames of a file say ``frame``. Or ``{file name: [[x1, y1, x2, y2], ...]}``, where
    every image has an entry. File names match in full, or by their last part where it is one
    image's only.

    Raises:
        HeatpointError: The file is of neither kind, or about other images; names them.
    """
    content = read_json(path)
    named = _listed(content, path) if isinstance(content, dict) else _rows(content, path, subject)
    numbers = _numbers(sources)
    strangers: list[str] = []
    found: dict[int, list[Scored]] = {}
    for (name, frame), scored in named.items():
        number = numbers.get((name, frame), numbers.get((Path(name).name, frame)))
        if number is None:
            strangers.append(name if frame is None else f"{name} (frame {frame})")
        else:
            kept = [each for each in scored if each[1] >= score_threshold]
            found[number] = found.get(number, []) + kept
    if strangers:
        shown = ", ".join(sorted(strangers)[:5]) + (" ..." if len(strangers) > 5 else "")
        raise HeatpointError(
            f"{path} holds boxes of {len(strangers)} images that are not among the "
            f"{len(sources)} given: {shown}{suggest(min(strangers), [name for name, _ in numbers])}"
            f"{_about_frames(named, numbers)}"
        )
    absent = [str(source) for number, source in enumerate(sources) if number not in found]
    if absent and isinstance(content, dict):
        raise HeatpointError(
            f"{path} says nothing about {len(absent)} of the {len(sources)} images: "
            f"{', '.join(absent[:5])}; give an empty list where there is no subject"
        )
    places = []
    for number, source in enumerate(sources):
        scored = found.get(number, [])
        boxes, scores = [box for box, _ in scored], [score for _, score in scored]
        places.append(places_of(boxes, f"{source} in {path}", scores))
    return places


def places_among(found: Detections, subject: str) -> Places:
    """Returns the boxes of the class called ``subject``, or of the only class there is.

    Raises:
        HeatpointError: There is no such class.
    """
    rows = found[found.labels == _label(found.names, subject, "the detector of boxes")]
    return Places(rows.boxes, rows.scores, np.zeros(len(rows), np.int64))


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


def _about_frames(named: Iterable[Named], numbers: Iterable[Named]) -> str:
    """Returns what to do where either boxes or images are those of frames, and the others not."""
    told, asked = (any(frame is not None for _, frame in each) for each in (named, numbers))
    if told == asked:
        return ""
    if told:
        return "; its rows are about frames, which --frames looks at"
    return "; --frames looks at frames, and its rows do not say of which they are"


def _listed(content: dict[str, Any], path: Path) -> dict[Named, list[Scored]]:
    """Returns the boxes of an object of lists by their file."""
    for boxes in content.values():
        if not isinstance(boxes, list):
            raise HeatpointError(
                f"{path}: expected a list of boxes [[x1, y1, x2, y2], ...] for each file name, not "
                f"{boxes!r:.60}"
            )
    return {(name, None): [(box, 1.0) for box in boxes] for name, boxes in content.items()}


def _rows(content: Any, path: Path, subject: str) -> dict[Named, list[Scored]]:
    """Returns the rows that are about the subjects by their file."""
    if not isinstance(content, list):
        raise HeatpointError(
            f"{path} holds no boxes: expected COCO result rows with file_name, or an object "
            "{file name: [[x1, y1, x2, y2], ...]}"
        )
    for place, row in enumerate(content):
        if not (
            isinstance(row, dict)
            and row.get("file_name")
            and fits(row.get("bbox"), list[float])
            and len(row["bbox"]) == 4
            and fits(row.get("score", 1.0), float)
            and fits(row.get("frame"), int | None)
        ):
            raise HeatpointError(
                f"row {place} of {path} lacks a file_name, or four numbers as bbox (x, y, width, "
                "height); `heatpoint predict DETECTOR ... --json` writes such rows"
            )
    names = sorted({str(row["category_name"]) for row in content if "category_name" in row})
    wanted = names[_label(names, subject, str(path))] if names else ""
    found: dict[Named, list[Scored]] = {}
    for row in content:
        if row.get("category_name", wanted) == wanted:
            x, y, width, height = row["bbox"]
            scored = [x, y, x + width, y + height], float(row.get("score", 1.0))
            found.setdefault((str(row["file_name"]), row.get("frame")), []).append(scored)
    return found


def _numbers(sources: Sequence[Source]) -> dict[Named, int]:
    """Returns the number of each image by its path, and by its bare name where that is unique."""
    numbers = {(one.path, one.frame): place for place, one in enumerate(sources) if one.path}
    bare = Counter((Path(one.path).name, one.frame) for one in sources if one.path)
    unique = {(Path(path).name, frame): place for (path, frame), place in numbers.items()}
    return {name: number for name, number in unique.items() if bare[name] == 1} | numbers
