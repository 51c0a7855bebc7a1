"""``heatpoint video``: finds things in each frame of a video, camera or stream."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from heatpoint.errors import EXIT_INTERRUPTED, HeatpointError
from heatpoint.inference import KeepOptions, PlaceOptions, RunOptions
from heatpoint.options import Checkpoint, File, Seconds


@dataclass
class Video:
    """Finds what a model was trained to find, in each frame of a video, camera or stream."""

    EXAMPLES = (
        "heatpoint video best.safetensors film.mp4 --draw found.mp4",
        "heatpoint video model.onnx camera:0 --json found.jsonl --every 2",
    )

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

    places: PlaceOptions = field(default_factory=PlaceOptions)

    keep: KeepOptions = field(default_factory=KeepOptions)

    look: RunOptions = field(default_factory=RunOptions)

    def run(self) -> int:
        """Looks at every frame and writes what was asked for; Ctrl-C finishes what is written."""
        self._check()
        from heatpoint.commands.display import track
        from heatpoint.commands.finding import counted
        from heatpoint.inference.predict import SCORE, looking, open_runner
        from heatpoint.system import Interrupt
        from heatpoint.video import Video as Film
        from heatpoint.video import line, look
        from heatpoint.video.writing import json_lines, video_file

        frames = things = broken = 0
        with ExitStack() as stack:
            film = stack.enter_context(Film(self.source))
            if self.draw and self.fps is None and not film.knows_rate:
                _say(
                    f"{film.name} does not say its frame rate; {film.rate:g} frames/s are assumed, "
                    "--fps sets another"
                )
            runner = open_runner(self.model, self.look, self.keep, SCORE)
            find = looking(runner, self.places, self.look, self.keep)
            interrupt = stack.enter_context(Interrupt())
            rate = film.rate / self.every if self.fps is None else self.fps
            drawn = stack.enter_context(video_file(self.draw, rate)) if self.draw else None
            append = stack.enter_context(json_lines(self.json)) if self.json else None
            part = self.every, self.start, self.stop
            seen = stack.enter_context(closing(look(film.frames(*part), find)))
            for frame, found in track(seen, film.expected(*part), "looking", "frames"):
                if append:
                    append(line(frame, found))
                if drawn:
                    shown = None
                    if frame.image is not None and found is not None:
                        shown = found.plot(frame.image)
                    drawn.write(shown, frame.seconds if film.live else None)
                frames += 1
                things += len(found or ())
                broken += found is None
                if interrupt.is_requested():
                    break
        files = ", ".join(path for path in (self.draw, self.json) if path)
        skeleton = runner.engine.description.skeleton
        print(f"{counted(things, skeleton)} in {frames} frames: {files}")
        if broken:
            _say(f"{broken} of these frames could not be decoded")
        if interrupt.is_requested():
            _say("interrupted; the files hold everything up to there")
            return EXIT_INTERRUPTED
        if film.ending:
            _say(film.ending)
        return 0

    def _check(self) -> None:
        if not (self.draw or self.json):
            raise HeatpointError("nothing is to be written: give --draw FILE, --json FILE or both")
        files = [Path(path).absolute() for path in (self.draw, self.json, self.source) if path]
        if len(set(files)) < len(files):
            raise HeatpointError("--draw, --json and the source must be different files")
        if self.every < 1:
            raise HeatpointError(f"--every must be at least 1, not {self.every}")
        if self.start < 0 or (self.stop is not None and self.stop <= self.start):
            raise HeatpointError(
                f"--start {self.start:g} must be at least 0 and less than --stop {self.stop}"
            )


def _say(text: str) -> None:
    print(f"heatpoint video: {text}", file=sys.stderr)
