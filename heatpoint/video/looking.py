"""Looks at the frames of a video one after the other, and puts what is found into rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from heatpoint.data.results import Detections
from heatpoint.geometry.affine import Image
from heatpoint.video.reading import VideoFrame


def look(
    frames: Iterable[VideoFrame],
    run: Callable[[Iterable[Image]], Iterator[tuple[Image, Detections]]],
) -> Generator[tuple[VideoFrame, Detections | None], None, None]:
    """Yields every frame, in order, with what is found in it; None for one without a picture.

    Args:
        frames: As ``Video.frames`` yields them.
        run: Takes the pictures, any number of them ahead and in any thread, and yields each with
            what is in it, in order: ``Runner.frames``, say.
    """
    waiting: deque[VideoFrame] = deque()

    def pictures() -> Iterator[Image]:
        for frame in frames:
            waiting.append(frame)
            if frame.image is not None:
                yield frame.image

    for _, found in run(pictures()):
        while (frame := waiting.popleft()).image is None:
            yield frame, None
        yield frame, found
    for frame in waiting:
        yield frame, None


def line(frame: VideoFrame, found: Detections | None) -> dict[str, Any]:
    """Returns what is written about one frame.

    Args:
        frame: The frame.
        found: What is in it, in its pixels; None for a frame that could not be decoded.

    Returns:
        ``frame`` (its number), ``seconds`` and ``detections`` or ``poses``, rows like those of
        ``heatpoint predict --json`` without image and file; or ``error`` instead.
    """
    place = {"frame": frame.number, "seconds": round(frame.seconds, 4)}
    if found is None:
        return {**place, "error": "the frame cannot be decoded"}
    rows = [
        {
            "category_id": row.pop("category_id"),
            "category_name": found.names[label],
            **{name: value for name, value in row.items() if name != "image_id"},
        }
        for row, label in zip(found.to_coco(frame.number), found.labels.tolist(), strict=True)
    ]
    return {**place, "detections" if found.keypoints is None else "poses": rows}
