"""Writes a video picture by picture, JSON and tables line by line; each is whole or absent."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from heatpoint.errors import HeatpointError
from heatpoint.geometry import Image
from heatpoint.system import quiet
from heatpoint.system.files import atomic_write
from heatpoint.video import RATES

CODECS = {".mp4": "mp4v", ".webm": "VP80", ".avi": "MJPG"}
"""What OpenCV's wheels can encode on every system, by ending: MPEG-4 part 2 is quick and small, VP8
plays in browsers, Motion JPEG survives being cut. H.264 takes an encoder they lack, and VP9 a
tenth of a second for a small picture."""

_LEAST_SIDE = 16
"""Pixels; below, encoders refuse."""

_LINE = 1 << 20
"""Bytes of a JSON line that reach the file in one piece."""


class VideoFile:
    """A video that is being written; ``video_file`` makes one.

    Args:
        path: With an ending of ``CODECS``.
        rate: Frames per second.
        name: The file's name in messages.

    Attributes:
        frames: How many were written.
    """

    def __init__(self, path: Path, rate: float, name: str) -> None:
        self._path, self._rate, self._name = path, rate, name
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._last: Image | None = None
        self._first_moment = 0.0
        self._owed = self.frames = 0

    def write(self, picture: Image | None, seconds: float | None = None) -> None:
        """Appends a picture; the first one decides about the size, others are fitted to it.

        Args:
            picture: (h, w, 3) uint8 RGB; None repeats the one before. Odd sides grow by a pixel.
            seconds: When the picture is to be shown, on any clock: others are repeated, or it is
                left out, until the frame rate agrees with the clock. None appends one frame.

        Raises:
            HeatpointError: The system refuses.
        """
        if picture is None:
            self._append(self._last, 1)
            return
        fitted, times = self._fitted(picture), 1
        if self._last is None:
            self._first_moment, times = seconds or 0.0, 1 + self._owed
        elif seconds is not None:
            due = round((seconds - self._first_moment) * self._rate) + 1 - self.frames
            self._append(self._last, due - 1)
            times = min(due, 1)
        self._append(fitted, times)
        self._last = fitted

    def release(self) -> None:
        """Finishes the file."""
        if self._writer is not None:
            self._writer.release()

    def check(self) -> None:
        """Makes sure that the finished file holds every frame; OpenCV does not tell when it fails.

        Raises:
            HeatpointError: It does not, or there was none.
        """
        if not self.frames:
            raise HeatpointError(f"{self._name} was not written: there is no frame to draw")
        with quiet():
            # In raw mode nothing is decoded; what the header says is true even if the rest is lost.
            name = str(self._path.absolute())
            capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
        count = 0
        while capture.grab():
            count += 1
        capture.release()
        if count < self.frames:
            raise HeatpointError(
                f"cannot write {self._name}: only {count} of {self.frames} frames reached the "
                "file; is the disk full?"
            )

    def _append(self, fitted: Image | None, times: int) -> None:
        if fitted is None:
            self._owed += times
            return
        if self._writer is None:
            self._writer = self._open()
        for _ in range(times):
            self._writer.write(fitted)
            self.frames += 1

    def _open(self) -> cv2.VideoWriter:
        code = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
        with quiet():
            name = str(self._path.absolute())
            writer = cv2.VideoWriter(name, cv2.CAP_FFMPEG, code, self._rate, self._size)
        if not writer.isOpened():
            raise HeatpointError(
                f"cannot write {self._name} with {self._size[0]} x {self._size[1]} pixels (width x "
                f"height) at {self._rate:g} frames/s; free space or choose another folder or ending"
            )
        return writer

    def _fitted(self, picture: Image) -> Image:
        """Returns the BGR picture, as large as the first: encoders need even sides."""
        height, width = picture.shape[:2]
        size = tuple(max(_LEAST_SIDE, side + side % 2) for side in (width, height))
        if self._last is None:
            self._size = size
        if size == self._size:
            more = size[1] - height, size[0] - width
            fitted = cv2.copyMakeBorder(picture, 0, more[0], 0, more[1], cv2.BORDER_REPLICATE)
        else:
            fitted = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.cvtColor(fitted, cv2.COLOR_RGB2BGR), np.uint8)


@contextmanager
def video_file(path: str | Path, rate: float) -> Iterator[VideoFile]:
    """Yields a video to append pictures to; it gets its name when it is finished.

    Args:
        path: Its ending says the format, one of ``CODECS``; its folder is made if it is missing.
        rate: Frames per second.

    Raises:
        HeatpointError: The path, the ending or the rate is unusable, or the system refuses.
    """
    path = Path(path)
    if path.suffix.lower() not in CODECS:
        raise HeatpointError(
            f"{path} cannot be written: a video ends in {', '.join(CODECS)}, not in "
            f"{path.suffix or 'nothing'!r}"
        )
    if not RATES[0] <= rate <= RATES[1]:
        raise HeatpointError(
            f"{path} cannot be written at {rate:g} frames/s: expected {RATES[0]:g} to {RATES[1]:g}"
        )
    with atomic_write(path) as temporary:
        # What forbids to write is found out now and not after hours.
        temporary.touch()
        film = VideoFile(temporary, rate, str(path))
        try:
            yield film
        finally:
            film.release()
        film.check()


@contextmanager
def json_lines(path: str | Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yields what appends one object as a line; the file gets its name when it is finished.

    Each line is handed to the system at once: what a program that is killed leaves behind under
    the temporary name has whole lines.

    Raises:
        HeatpointError: The system refuses.
    """
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="\n", buffering=_LINE) as file,
    ):

        def append(value: dict[str, Any]) -> None:
            file.write(json.dumps(value) + "\n")
            file.flush()

        yield append


@contextmanager
def table_lines(
    path: str | Path, headings: Sequence[str]
) -> Iterator[Callable[[Iterable[Sequence[object]]], None]]:
    """Yields what appends rows to a CSV file; it gets its name when it is finished.

    Raises:
        HeatpointError: The system refuses.
    """
    with (
        atomic_write(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(headings)
        yield writer.writerows
