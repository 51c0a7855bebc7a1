"""Reads a video, a camera or a stream frame by frame, looks at each frame, and tells what it saw.

OpenCV reads here, PyAV writes: docs/video.md says why. supervision's reader cannot tell a broken
frame from the end.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Image
from heatpoint.system import quiet

ASSUMED_RATE = 30.0
"""Frames per second of a source that does not say."""

RATES = (0.1, 240.0)
"""Least and greatest frame rate that is believed and written."""

_PATIENCE, _LIVE_PATIENCE = 1000, 3
"""Failed reads in a row that end a source. At the end of a file one costs a microsecond; of a
camera each may wait for seconds."""

_CAMERA = "camera:"

_TIMEOUT = 10_000
"""Milliseconds to wait for a stream."""


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """One picture of a video.

    Attributes:
        number: Its place, from 0; broken frames count, those left out too.
        seconds: When it is shown, from the beginning; of a camera or live stream, when it came.
        image: (h, w, 3) uint8 RGB, upright; None for a frame that could not be decoded.
    """

    number: int
    seconds: float
    image: Image | None


class Video:
    """A video file, a camera or a stream that is open.

    Args:
        source: A file, ``camera:0`` (the number of the device) or an address such as
            ``rtsp://host/path``.

    Attributes:
        name: The source, for messages.
        rate: Frames per second; ``ASSUMED_RATE`` where the source does not say.
        knows_rate: Whether it says.
        count: Frames that the file announces, None where that is not known.
        live: Frames come when they come: a camera, or a stream without an end.
        ending: A sentence on why there are fewer frames than announced; "" if there are not.

    Raises:
        HeatpointError: There is no such source, or it is no video.
    """

    def __init__(self, source: str) -> None:
        self.name, self.ending = source, ""
        self._capture, self._lock = _opened(source), threading.Lock()
        # Only newer OpenCV turns the pictures of a phone upright without being asked to.
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.knows_rate = RATES[0] <= rate <= RATES[1]
        self.rate = rate if self.knows_rate else ASSUMED_RATE
        camera, count = source.startswith(_CAMERA), self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        # What is not known is negative or absurd.
        self.count = int(count) if 0 < count < 1e9 and not camera else None
        self.live = self.count is None and (camera or "://" in source)

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._capture.release()

    def expected(self, every: int = 1, start: float = 0.0, stop: float | None = None) -> int | None:
        """Returns about how many frames ``frames`` will yield, None where that is not known."""
        if self.count is None:
            return None
        last = self.count if stop is None else min(self.count, math.ceil(stop * self.rate))
        first = math.ceil(start * self.rate)
        return max(0, math.ceil(last / every) - math.ceil(first / every))

    def frames(
        self, every: int = 1, start: float = 0.0, stop: float | None = None
    ) -> Iterator[VideoFrame]:
        """Yields the frames in order; may run in another thread than the one that closes.

        A frame that cannot be decoded is yielded without a picture as soon as a later one can.

        Args:
            every: Only frames whose number is a multiple of it.
            start: Seconds from the beginning before which frames are left out. They are decoded
                all the same, because jumping is exact in few formats only.
            stop: Seconds from the beginning from which on nothing is read, or None.

        Raises:
            HeatpointError: No frame can be read, or none lies between ``start`` and ``stop``.
        """
        seconds, taken = 0.0, False
        for number, seconds, whole in self._grabbed():
            if stop is not None and seconds >= stop:
                break
            if seconds >= start and number % every == 0:
                taken = True
                yield VideoFrame(number, seconds, self._image() if whole else None)
        if not taken:
            until = "" if stop is None else f" and before {stop:g} s"
            raise HeatpointError(
                f"no frame of {self.name} lies after {start:g} s{until}; the last one that was "
                f"read is at {seconds:.2f} s"
            )

    def _grabbed(self) -> Iterator[tuple[int, float, bool]]:
        """Yields number, seconds and whether it can be decoded of each frame as it is reached."""
        began, seconds, number, failed = time.monotonic(), -1 / self.rate, 0, 0
        while failed <= (_LIVE_PATIENCE if self.live else _PATIENCE):
            told = self._grab()
            if told is None:
                failed += 1
                continue
            if self.live:
                told = time.monotonic() - began
            elif told <= 0:  # raw streams have no times of their own
                told = (number + failed) / self.rate
            moments = [*(seconds + (place + 1) / self.rate for place in range(failed)), told]
            for place, moment in enumerate(moments):
                seconds = max(seconds, moment)
                yield number, seconds, place == failed
                number += 1
            failed = 0
        if number == 0:
            raise HeatpointError(f"{self.name} holds no frame that can be read")
        # Of films whose frames last differently long, some formats announce a number that follows
        # from the length: only one that also ends early was cut off.
        early = self.count is not None and seconds + 1.5 / self.rate < self.count / self.rate
        if self.count is not None and number < self.count and early:
            self.ending = (
                f"{self.name} ends after {number} of the {self.count} frames that it announces; it "
                "may have been cut off"
            )

    def _grab(self) -> float | None:
        """Returns when the next frame is shown, 0 or less if it does not say; None without it."""
        with self._lock:
            good = self._capture.grab()
            return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000 if good else None

    def _image(self) -> Image | None:
        with self._lock:
            good, pixels = self._capture.retrieve()
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8) if good else None


def _opened(source: str) -> cv2.VideoCapture:
    """Returns what reads a camera, a stream or a file."""
    where: tuple[Any, ...]
    if source.startswith(_CAMERA):
        device = source.removeprefix(_CAMERA)
        if not device.isdecimal():
            raise HeatpointError(f"{source} is no camera; give its number, such as {_CAMERA}0")
        where = (int(device),)
        why = ": it is not there, is used by another program, or this user may not read it"
    elif "://" in source:
        waits = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
        where = (source, cv2.CAP_FFMPEG, [number for wait in waits for number in (wait, _TIMEOUT)])
        why = f": nothing answers there within {_TIMEOUT // 1000} s, or what does is no video"
    else:
        path = Path(source).expanduser()
        if path.is_dir():
            raise HeatpointError(f"{source} is a folder; heatpoint predict takes folders of images")
        if not path.is_file():
            raise HeatpointError(f"video {source} does not exist (working folder: {Path.cwd()})")
        if path.stat().st_size == 0:
            raise HeatpointError(f"{source} is empty (0 bytes); expected a video")
        # An absolute path: FFmpeg takes what is before a colon for a protocol.
        where = (str(path.absolute()), cv2.CAP_FFMPEG)
        why = (
            " as a video: it is something else, damaged, or an .mp4 or .mov that was cut off and "
            "so lost the index at its end"
        )
    with quiet():
        capture = cv2.VideoCapture(*where)
    if not capture.isOpened():
        raise HeatpointError(f"{source} cannot be opened{why}")
    return capture


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
        ``heatpoint predict --json`` without image and file, with ``track`` where a row has an
        identity, and ``density``, counts by class where the model has such a map; or ``error``
        instead.
    """
    place: dict[str, Any] = {"frame": frame.number, "seconds": round(frame.seconds, 4)}
    if found is None:
        return {**place, "error": "the frame cannot be decoded"}
    if found.density is not None:
        place["density"] = dict(zip(found.names, found.density.tolist(), strict=True))
    rows = []
    for row, label in zip(found.to_coco(frame.number), found.labels.tolist(), strict=True):
        del row["image_id"]
        if row.get("track", 1) < 0:
            del row["track"]
        rows.append({"category_id": row["category_id"], "category_name": found.names[label]} | row)
    return {**place, "detections" if found.keypoints is None else "poses": rows}
