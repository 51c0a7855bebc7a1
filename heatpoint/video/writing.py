"""Writes a video picture by picture, JSON and tables line by line; each is whole or absent."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from heatpoint.errors import HeatpointError
from heatpoint.geometry import Image
from heatpoint.system import quiet
from heatpoint.system.files import atomic_write
from heatpoint.video import RATES

if TYPE_CHECKING:
    from av.container import OutputContainer

ENCODERS: dict[str, Mapping[str, Mapping[str, str]]] = {
    ".mp4": {"libx264": {"preset": "ultrafast", "crf": "23"}, "libopenh264": {}},
    ".webm": {"libvpx": {"deadline": "realtime", "cpu-used": "8"}},
    ".avi": {"mjpeg": {"flags": "+qscale", "global_quality": "354"}},
}
"""By ending of a film, encoders and what they are told; the first that PyAV holds is taken. H.264
and VP8 play in browsers, Motion JPEG survives being cut and its frames all last equally long.
PyAV's wheels hold x264, which is under the GPL; builds under the LGPL may hold OpenH264."""

_BITS = 0.15
"""Bits of the film for each pixel, where the encoder asks for their number."""

_CLOCK = 90_000
"""Ticks of a second in which a film tells when its frames are shown."""

_LEAST_SIDE = 16
"""Pixels; below, encoders refuse."""

_LINE = 1 << 20
"""Bytes of a JSON line that reach the file in one piece."""


class VideoFile:
    """A video that is being written; ``video_file`` makes one.

    Args:
        path: With an ending of ``ENCODERS``.
        rate: Frames per second.
        name: The file's name in messages.
        exact: Frames are shown when ``write`` says, if the format can.

    Attributes:
        frames: How many were written.
        exact: Whether frames are shown when ``write`` says.
    """

    def __init__(self, path: Path, rate: float, name: str, exact: bool) -> None:
        self._path, self._name = path, name
        self._rate = Fraction(rate).limit_denominator(1001)
        self._clock = self._rate if path.suffix.lower() == ".avi" else Fraction(_CLOCK)
        self.exact = exact and self._clock == _CLOCK
        self._file: OutputContainer | None = None
        self._stream: Any = None
        self._size = (0, 0)
        self._last: Image | None = None
        self._first_moment = 0.0
        self._owed: list[float] = []
        self._tick, self.frames = -1, 0

    def write(self, picture: Image | None, seconds: float | None = None) -> None:
        """Appends a picture; the first one decides about the size, others are fitted to it.

        Args:
            picture: (h, w, 3) uint8 RGB; None shows the one before once more. Odd sides grow by a
                pixel.
            seconds: When the picture is to be shown, on any clock. Unless ``exact``, others are
                repeated, or it is left out, until the frame rate agrees with the clock. None
                appends one frame.

        Raises:
            HeatpointError: The system refuses.
        """
        shown = self._last if picture is None else self._fitted(picture)
        if shown is None:
            self._owed.append(seconds or 0.0)
            return
        moments = [*self._owed, seconds or 0.0]
        if self._last is None:
            self._first_moment = moments[0]
        if self.exact and seconds is not None:
            for moment in moments:
                self._encode(shown, round((moment - self._first_moment) * _CLOCK))
        elif seconds is None or picture is None or self._last is None:
            self._append(shown, len(moments))
        else:
            due = round((seconds - self._first_moment) * self._rate) + 1 - self.frames
            self._append(self._last, due - 1)
            self._append(shown, min(due, 1))
        self._last, self._owed = shown, []

    def finish(self) -> None:
        """Writes what is under way."""
        if self._file is not None:
            self._file.mux(self._stream.encode())

    def release(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()

    def check(self) -> None:
        """Makes sure that the finished file holds every frame.

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

    def _append(self, fitted: Image, times: int) -> None:
        for _ in range(times):
            self._encode(fitted, round(self.frames * self._clock / self._rate))

    def _encode(self, fitted: Image, tick: int) -> None:
        """Writes a frame that is shown at a tick of the clock."""
        import av

        if self._file is None:
            self._open()
            assert self._file is not None
        frame = av.VideoFrame.from_ndarray(fitted, format="rgb24")
        frame.pts = self._tick = max(tick, self._tick + 1)
        self._file.mux(self._stream.encode(frame))
        self.frames += 1

    def _open(self) -> None:
        import av

        known = ENCODERS[self._path.suffix.lower()]
        encoder = next((name for name in known if name in av.codecs_available), None)
        if encoder is None:
            raise HeatpointError(
                f"cannot write {self._name}: the package av that is installed lacks the encoder "
                f"{' or '.join(known)}; install the wheel of the Python index or choose .avi"
            )
        self._file = av.open(str(self._path.absolute()), "w")
        options = dict(known[encoder])
        stream: Any = self._file.add_stream(encoder, rate=self._rate, options=options)
        stream.width, stream.height = self._size
        full = encoder == "mjpeg"
        stream.pix_fmt = "yuvj420p" if full else "yuv420p"
        about = stream.codec_context
        about.thread_count = 1  # those of libvpx wait for each other in circles
        # What FFmpeg makes of RGB (BT.601); players take large films for BT.709 if they do not say.
        about.colorspace, about.color_range = 6, 2 if full else 1
        about.time_base = stream.time_base = 1 / self._clock
        about.bit_rate = round(_BITS * self._size[0] * self._size[1] * self._rate)
        self._stream = stream
        try:
            about.open()
        except av.FFmpegError as error:
            raise HeatpointError(
                f"cannot write {self._name} with {self._size[0]} x {self._size[1]} pixels (width x "
                f"height) at {float(self._rate):g} frames/s: {error.strerror}; choose another "
                "ending"
            ) from None

    def _fitted(self, picture: Image) -> Image:
        """Returns the picture, as large as the first: encoders need even sides."""
        height, width = picture.shape[:2]
        size = tuple(max(_LEAST_SIDE, side + side % 2) for side in (width, height))
        if self._last is None:
            self._size = size
        if size == self._size:
            more = size[1] - height, size[0] - width
            fitted = cv2.copyMakeBorder(picture, 0, more[0], 0, more[1], cv2.BORDER_REPLICATE)
        else:
            fitted = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
        return np.ascontiguousarray(fitted, np.uint8)


@contextmanager
def video_file(path: str | Path, rate: float, exact: bool = False) -> Iterator[VideoFile]:
    """Yields a video to append pictures to; it gets its name when it is finished.

    Args:
        path: Its ending says the format, one of ``ENCODERS``; its folder is made if it is missing.
        rate: Frames per second.
        exact: Frames are shown at the seconds that ``write`` gets, however they vary, in ``.mp4``
            and ``.webm``; others, and ``.avi``, keep to the rate.

    Raises:
        HeatpointError: The path, the ending or the rate is unusable, or the system refuses.
    """
    path = Path(path)
    if path.suffix.lower() not in ENCODERS:
        raise HeatpointError(
            f"{path} cannot be written: a video ends in {', '.join(ENCODERS)}, not in "
            f"{path.suffix or 'nothing'!r}"
        )
    if not RATES[0] <= rate <= RATES[1]:
        raise HeatpointError(
            f"{path} cannot be written at {rate:g} frames/s: expected {RATES[0]:g} to {RATES[1]:g}"
        )
    with atomic_write(path) as temporary:
        # What forbids to write is found out now and not after hours.
        temporary.touch()
        film = VideoFile(temporary, rate, str(path), exact)
        try:
            yield film
            film.finish()
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
