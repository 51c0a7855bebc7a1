"""What a model finds in films: ``heatpoint video``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar

from heatpoint.commands.finding import counted, table
from heatpoint.errors import EXIT_INTERRUPTED, HeatpointError
from heatpoint.inference import KeepOptions, RunOptions
from heatpoint.options import Checkpoint, File, Kind, Seconds, finite
from heatpoint.wording import amount

if TYPE_CHECKING:
    from heatpoint.data.results import Detections
    from heatpoint.inference.engines.description import Description
    from heatpoint.video import VideoFrame


def outlines(text: str) -> str:
    """Returns a text such as ``"10,20,300,20/0,0,90,0,90,90"`` after looking whether it is one.

    Raises:
        HeatpointError: It is not; see ``corners``.
    """
    corners(text)
    return text


def corners(text: str) -> list[tuple[tuple[float, float], ...]]:
    """Returns the corners (x, y) of each of the outlines that a text names; none of "".

    Raises:
        HeatpointError: They are no pairs of numbers.
    """
    found = []
    for part in filter(None, text.split("/")):
        try:
            numbers = [finite(number) for number in part.split(",")]
            found.append(tuple(zip(numbers[::2], numbers[1::2], strict=True)))
        except ValueError:
            raise HeatpointError(
                f"{part!r} is no outline: give x and y of each corner, such as 10,20,300,20, and "
                "a / before the next outline"
            ) from None
    return found


Outlines = Annotated[str, Kind("X,Y,X,Y", outlines)]
"""Corners of lines or areas, as a text that ``corners`` reads."""


@dataclass
class FollowOptions:
    """How things in a film keep their identities, and where they are counted."""

    FOLLOW: ClassVar[str] = "identities and counts"

    track: bool = False
    """give things identities that last from frame to frame, and draw the ways they took"""

    track_wait: Seconds = 1.0
    """seconds for which something that is out of sight keeps its identity"""

    track_box: float | None = None
    """pixels, side of the square around each point that is followed; by default as far as points
    are apart in the first frame that has any"""

    count_line: Outlines = ""
    """count what crosses a line: X1,Y1,X2,Y2 in pixels of the frame, a / before the next line;
    turns --track on"""

    count_zone: Outlines = ""
    """count what is in a zone of three corners or more: X1,Y1,X2,Y2,X3,Y3, a / before the next
    zone; turns --track on"""

    def check(self) -> None:
        """Makes sure that lines and zones are some, and takes counting for following.

        Raises:
            HeatpointError: They are none.
        """
        for line in corners(self.count_line):
            if len(line) != 2 or line[0] == line[1]:
                raise HeatpointError(
                    f"--count-line takes two corners that differ, X1,Y1,X2,Y2, not {line}"
                )
        for zone in corners(self.count_zone):
            if len(set(zone)) < 3:
                raise HeatpointError(
                    f"--count-zone takes three corners or more, X1,Y1,X2,Y2,X3,Y3, not {zone}"
                )
        self.track = self.track or bool(self.count_line or self.count_zone)


@dataclass
class Video:
    """Finds what a model was trained to find, in each frame of a video, camera or stream.

    Examples:
        heatpoint video best.safetensors road.mp4 --draw found.mp4 --count-line 0,300,640,300
        heatpoint video model.onnx camera:0 --json found.jsonl --every 2
    """

    model: Checkpoint
    """a checkpoint of train or convert, a .onnx or .xml file of export, or the name of fetched
    weights"""

    source: File
    """a video file, camera:0 (the number of the device) or the address of a stream"""

    OUTPUT: ClassVar[str] = "what is written"

    draw: File = ""
    """video to write with what is found drawn in: .mp4 (plays everywhere), .webm (plays in
    browsers), .avi (large; survives damage)"""

    json: File = ""
    """file for the results, one JSON object per line and frame"""

    csv: File = ""
    """file for the results as a table, a row each"""

    every: int = 1
    """look at each N-th frame only"""

    start: Seconds = 0.0
    """seconds from the beginning at which to start"""

    stop: Seconds | None = None
    """seconds from the beginning at which to stop"""

    fps: float | None = None
    """frames per second of the drawn video; by default the source's, over --every"""

    follow: FollowOptions = field(default_factory=FollowOptions)

    PLACES: ClassVar[str] = "where models of joints look"

    detector: Checkpoint = ""
    """a model of boxes that finds where to look; without it, one subject fills each frame"""

    keep: KeepOptions = field(default_factory=KeepOptions)

    look: RunOptions = field(default_factory=RunOptions)

    def run(self) -> int:
        """Looks at every frame and writes what was asked for; Ctrl-C finishes what is written."""
        self._check()
        from heatpoint.system.outputs import check_outputs

        given = [self.model, self.detector, self.source]
        check_outputs({"films": [self.draw], "numbers": [self.json, self.csv]}, given)
        from heatpoint.commands.display import track
        from heatpoint.inference.predict import looking, open_runner
        from heatpoint.system.signals import Interrupt
        from heatpoint.video import Video as Film
        from heatpoint.video import line, look
        from heatpoint.video.counting import Counts, Trails
        from heatpoint.video.tracking import Tracks
        from heatpoint.video.writing import json_lines, table_lines, video_file

        frames = things = broken = 0
        with ExitStack() as stack:
            film = stack.enter_context(Film(self.source))
            if self.draw and self.fps is None and not film.knows_rate:
                _say(
                    f"{film.name} does not say its frame rate; {film.rate:g} frames/s are assumed, "
                    "--fps sets another"
                )
            follow, looked = self.follow, film.rate / self.every
            tracks = Tracks(looked, follow.track_wait, follow.track_box) if follow.track else None
            runner = open_runner(self.model, self.look, self.keep)
            about = runner.engine.description
            find = looking(runner, self.detector, self.look, self.keep)
            interrupt = stack.enter_context(Interrupt())
            rate = looked if self.fps is None else self.fps
            exact = self.fps is None
            drawn = stack.enter_context(video_file(self.draw, rate, exact)) if self.draw else None
            append = stack.enter_context(json_lines(self.json)) if self.json else None
            columns = _headings(about, follow.track)
            enter = stack.enter_context(table_lines(self.csv, columns)) if self.csv else None
            counts = Counts(corners(follow.count_line), corners(follow.count_zone), about.names)
            trails, told = Trails(looked), {}
            part = self.every, self.start, self.stop
            seen = stack.enter_context(closing(look(film.frames(*part), find)))
            for frame, found in track(seen, film.expected(*part), "looking", "frames"):
                if tracks and found is not None and frame.image is not None:
                    size = frame.image.shape[:2]
                    found = tracks.follow(found, frame.seconds, size)
                    told = counts.update(found, size)
                if append:
                    append(line(frame, found) | told)
                if enter and found is not None:
                    enter(_rows(frame, found, about))
                if drawn:
                    shown = None
                    if frame.image is not None and found is not None:
                        if tracks:
                            trails.draw(frame.image, found)
                        shown = found.plot(frame.image)
                        shown = counts.drawn(shown) if told else shown
                    drawn.write(shown, frame.seconds if film.live or drawn.exact else None)
                frames += 1
                things += len(found or ())
                broken += found is None
                if interrupt.is_requested():
                    break
        files = ", ".join(path for path in (self.draw, self.json, self.csv) if path)
        print(f"{counted(things, about)} in {amount(frames, 'frame')}: {files}")
        if tracks:
            print(f"{tracks.count} identities, which {tracks.followed} of {tracks.rows} rows have")
            for sentence in counts.summary():
                print(sentence)
            if sentence := tracks.complaint():
                _say(sentence)
        if broken:
            _say(f"{broken} of these frames could not be decoded")
        if interrupt.is_requested():
            _say("interrupted; the files hold everything up to there")
            return EXIT_INTERRUPTED
        if film.ending:
            _say(film.ending)
        return 0

    def _check(self) -> None:
        if not (self.draw or self.json or self.csv):
            raise HeatpointError(
                "nothing is to be written: give --draw FILE, --json FILE, --csv FILE or several"
            )
        if self.every < 1:
            raise HeatpointError(f"--every must be at least 1, not {self.every}")
        if self.start < 0 or (self.stop is not None and self.stop <= self.start):
            raise HeatpointError(
                f"--start {self.start:g} must be at least 0 and less than --stop {self.stop}"
            )
        self.follow.check()


def _say(text: str) -> None:
    print(f"heatpoint video: {text}", file=sys.stderr)


def _headings(about: Description, tracked: bool) -> Sequence[str]:
    """Returns the headings of the table: those of ``predict``, frames in place of pictures."""
    return ("frame", "seconds", *(("track",) if tracked else ()), *table([], about, 3)[0][1:])


def _rows(frame: VideoFrame, found: Detections, about: Description) -> Iterator[tuple[str, ...]]:
    """Yields the rows of a frame in the table."""
    from heatpoint.inference.runner import Found

    rows = table([Found(frame.number, "", (0, 0), found)], about, 3)[1]
    each = len(rows) // len(found) if len(found) else 1  # one for each joint
    for place, row in enumerate(rows):
        begin: tuple[str, ...] = (str(frame.number), f"{frame.seconds:.4f}")
        if found.track is not None:
            number = found.track[place // each]
            begin += ("" if number < 0 else str(number),)
        yield (*begin, *row[1:])
