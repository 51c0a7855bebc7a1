"""``heatpoint video``: finds things in each frame of a video, camera or stream."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from heatpoint.commands import parse
from heatpoint.inference import KeepOptions, RunOptions
from heatpoint.options import Checkpoint, File, Seconds

if TYPE_CHECKING:
    from heatpoint.geometry import Image
    from heatpoint.video import Video

    Run = Callable[[Iterable[Image]], Iterator[tuple[Image, Any]]]

EXAMPLES = (
    "heatpoint video best.safetensors film.mp4 --draw found.mp4",
    "heatpoint video model.onnx camera:0 --json found.jsonl --every 2",
)


@dataclass
class VideoOptions:
    """Finds what a model was trained to find, in each frame of a video, camera or stream."""

    model: Checkpoint
    """a checkpoint of train or convert, a .onnx or .xml file of export, or the name of fetched
    weights"""

    source: File
    """a video file, camera:0 (the number of the device) or the address of a stream"""

    OUTPUT: ClassVar[str] = "what is written"

    draw: File = ""
    """video to write with what is found drawn in: .mp4 (quick and small), .webm (plays in
    browsers, slow to write) or .avi (survives being cut)"""

    json: File = ""
    """file for the results, one JSON object per line and frame"""

    every: int = 1
    """look at each N-th frame only"""

    start: Seconds = 0.0
    """seconds from the beginning at which to start"""

    stop: Seconds | None = None
    """seconds from the beginning at which to stop"""

    fps: float | None = None
    """frames per second of the drawn video; by default the source's, over --every"""

    PLACES: ClassVar[str] = "where models of joints look"

    detector: Checkpoint = ""
    """a model of boxes that finds where to look; without it, one subject fills each frame"""

    keep: KeepOptions = field(default_factory=KeepOptions)

    run: RunOptions = field(default_factory=RunOptions)


@dataclass
class _Done:
    """What has been seen so far: frames, what was found in them, and the broken ones."""

    frames: int = 0
    found: int = 0
    broken: int = 0


def run(words: Sequence[str]) -> int:
    """Looks at every frame and writes what was asked for; Ctrl-C finishes what is written."""
    options = parse(words, "video", VideoOptions, EXAMPLES)
    _check(options)
    from heatpoint.cli import EXIT_INTERRUPTED
    from heatpoint.inference.predict import SCORE, looking, open_runner
    from heatpoint.video import Video

    with Video(options.source) as video:
        if options.draw and options.fps is None and not video.knows_rate:
            _say(
                f"{video.name} does not say its frame rate; {video.rate:g} frames/s are assumed, "
                "--fps sets another"
            )
        runner = open_runner(options.model, options.run, options.keep, SCORE)
        find = looking(runner, options.detector, options.run, options.keep)
        done, stopped = _work(options, video, find)
    what = "objects" if runner.engine.description.skeleton is None else "poses"
    files = ", ".join(path for path in (options.draw, options.json) if path)
    print(f"{done.found} {what} in {done.frames} frames: {files}")
    if done.broken:
        _say(f"{done.broken} of these frames could not be decoded")
    if stopped:
        _say("interrupted; the files hold everything up to there")
        return EXIT_INTERRUPTED
    if video.ending:
        _say(video.ending)
    return 0


def _say(text: str) -> None:
    print(f"heatpoint video: {text}", file=sys.stderr)


def _check(options: VideoOptions) -> None:
    from heatpoint.errors import HeatpointError

    if not (options.draw or options.json):
        raise HeatpointError("nothing is to be written: give --draw FILE, --json FILE or both")
    files = [Path(path).absolute() for path in (options.draw, options.json, options.source) if path]
    if len(set(files)) < len(files):
        raise HeatpointError("--draw, --json and the source must be different files")
    if options.every < 1:
        raise HeatpointError(f"--every must be at least 1, not {options.every}")
    if options.start < 0 or (options.stop is not None and options.stop <= options.start):
        raise HeatpointError(
            f"--start {options.start:g} must be at least 0 and less than --stop {options.stop}"
        )


def _work(options: VideoOptions, video: Video, find: Run) -> tuple[_Done, bool]:
    """Returns what was done, and whether a signal ended it."""
    from heatpoint.commands.display import track_frames
    from heatpoint.system import Interrupt
    from heatpoint.video import line, look
    from heatpoint.video.writing import json_lines, video_file

    done = _Done()
    with ExitStack() as stack:
        interrupt = stack.enter_context(Interrupt())
        rate = video.rate / options.every if options.fps is None else options.fps
        film = stack.enter_context(video_file(options.draw, rate)) if options.draw else None
        append = stack.enter_context(json_lines(options.json)) if options.json else None
        frames = video.frames(options.every, options.start, options.stop)
        seen = stack.enter_context(closing(look(frames, find)))
        expected = video.expected(options.every, options.start, options.stop)
        for frame, found in track_frames(seen, expected, "looking"):
            if append:
                append(line(frame, found))
            if film:
                shown = None
                if frame.image is not None and found is not None:
                    shown = found.plot(frame.image)
                film.write(shown, frame.seconds if video.live else None)
            done.frames += 1
            done.found += len(found) if found is not None else 0
            done.broken += found is None
            if interrupt.is_requested():
                return done, True
    return done, False
