"""``heatpoint video``: finds objects, or the joints of subjects, in a video, camera or stream."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from heatpoint.commands.arguments import CommandParser

if TYPE_CHECKING:
    from heatpoint.engines import Engine
    from heatpoint.geometry.affine import Image
    from heatpoint.video.reading import Video

    Run = Callable[[Iterable[Image]], Iterator[tuple[Image, Any]]]
    Draw = Callable[[Image, Any], Image]

BOXES_ONLY = {"soft_nms": "there is one pose for each box"}
DETECTOR_ONLY = dict.fromkeys(("score", "nms"), "it needs --detector, whose boxes it chooses from")
POSE_ONLY = {"detector": "it is for checkpoints that find joints"}


@dataclass
class VideoOptions:
    """Finds objects, or the joints of subjects, in each frame of a video, camera or stream."""

    checkpoint: str
    """a checkpoint of train or convert, a .onnx or .xml file of export, or the name of fetched
    weights; it decides whether boxes or poses are found"""

    source: str
    """a video file, camera:0 (the number of the device) or the address of a stream"""

    draw: str = ""
    """video to write with boxes or skeletons drawn in: .mp4 (quick and small), .webm (plays in
    browsers, slow to write) or .avi (survives being cut)"""

    json: str = ""
    """file for the results, one JSON object per line and frame"""

    detector: str = ""
    """poses: a checkpoint that finds the subjects' boxes in each frame; without it each frame is
    one subject"""

    score: float = 0.3
    """least score of a box"""

    nms: float | None = None
    """overlap (IoU) above which the worse of two boxes of one class is removed"""

    soft_nms: Literal["gaussian", "linear", "merge", "none"] | None = None
    """instead of --nms: lower the scores of boxes that overlap better ones, or merge them; by
    default gaussian for models of corners, else none"""

    size: int | tuple[int, int] | None = None
    """input size, 512 or 384x512 (height x width); the checkpoint's own by default"""

    flip: bool = False
    """average with the mirrored picture"""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto is bf16 where the hardware multiplies it natively"""

    streams: int = 1
    """frames under way at once, for most frames per second (exported files)"""

    every: int = 1
    """look at each N-th frame only"""

    start: float = 0.0
    """seconds from the beginning at which to start"""

    stop: float | None = None
    """seconds from the beginning at which to stop"""

    fps: float | None = None
    """frames per second of the drawn video; by default the source's, over --every"""


@dataclass
class _Done:
    """What has been seen so far: frames, what was found in them, and the broken ones."""

    frames: int = 0
    found: int = 0
    broken: int = 0


def run(words: Sequence[str]) -> int:
    """Looks at every frame and writes what was asked for; Ctrl-C finishes what is written."""
    options = CommandParser("video", VideoOptions, VideoOptions.__doc__ or "").parse(words)
    _check(options)
    from heatpoint.cli import EXIT_INTERRUPTED
    from heatpoint.engines import open_engine
    from heatpoint.video.reading import Video

    with Video(options.source) as video:
        if options.draw and options.fps is None and not video.knows_rate:
            _say(
                f"{video.name} does not say its frame rate; {video.rate:g} frames/s are assumed, "
                "--fps sets another"
            )
        engine = open_engine(
            options.checkpoint,
            flip=options.flip,
            device=options.device,
            precision=options.precision,
            streams=options.streams,
        )
        if engine.description.task == "pose":
            done, stopped = _work(options, video, *_pose(options, engine))
        else:
            done, stopped = _work(options, video, *_boxes(options, engine))
    what = "poses" if engine.description.task == "pose" else "objects"
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


def _boxes(options: VideoOptions, engine: Engine) -> tuple[Run, Draw]:
    from heatpoint.commands.kinds import refuse
    from heatpoint.inference.draw import draw_detections
    from heatpoint.inference.runner import Runner

    refuse(options, POSE_ONLY, f"{options.checkpoint} finds boxes by itself")
    runner = Runner(
        engine,
        size=options.size,
        nms=options.nms,
        soft_nms=options.soft_nms,
        score_threshold=options.score,
    )
    return runner.frames, draw_detections


def _pose(options: VideoOptions, engine: Engine) -> tuple[Run, Draw]:
    from heatpoint.commands.kinds import refuse
    from heatpoint.engines import open_engine
    from heatpoint.inference.draw_poses import draw_poses
    from heatpoint.inference.pose_runner import PoseRunner
    from heatpoint.inference.runner import Runner

    refuse(options, BOXES_ONLY, f"{options.checkpoint} finds joints")
    runner, finder = PoseRunner(engine, size=options.size), None
    if options.detector:
        finder = Runner(
            open_engine(options.detector, device=options.device, precision=options.precision),
            nms=options.nms,
            score_threshold=options.score,
        )
    else:
        refuse(options, DETECTOR_ONLY, f"{options.checkpoint} finds joints")
    return lambda images: runner.frames(images, finder), draw_poses


def _work(options: VideoOptions, video: Video, find: Run, draw: Draw) -> tuple[_Done, bool]:
    """Returns what was done, and whether a signal ended it."""
    from heatpoint.commands.frame_count import counted
    from heatpoint.system.interrupt import Interrupt
    from heatpoint.video.looking import line, look
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
        for frame, found in counted(seen, expected, "looking"):
            if append:
                append(line(frame, found))
            if film:
                shown = None if frame.image is None else draw(frame.image, found)
                film.write(shown, frame.seconds if video.live else None)
            done.frames += 1
            done.found += len(found) if found is not None else 0
            done.broken += found is None
            if interrupt.is_requested():
                return done, True
    return done, False
