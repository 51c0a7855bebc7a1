"""Scores identities on drawn films whose identities are known, and times following.

``python benchmarks/tracking.py`` compares what heatpoint does with the trackers of the package
``trackers`` on boxes that are the truth with errors: jitter, gaps, false alarms. With a checkpoint,
such as that of ``heatpoint demo``, the whole command follows, ``python benchmarks/tracking.py
runs/demo/train/best.safetensors``: it writes a film to ``--out``, looks at it, scores what was
written, and times films of 8, 22 and 60 things with and without ``--track``, in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import supervision
import trackers
from numpy.typing import NDArray
from trackers.eval.clear import compute_clear_metrics
from trackers.eval.hota import compute_hota_metrics
from trackers.eval.identity import compute_identity_metrics

from heatpoint.cli import main
from heatpoint.data.results import Detections
from heatpoint.geometry import Image
from heatpoint.inference import KeepOptions, RunOptions, predict
from heatpoint.options import side_lengths
from heatpoint.synthetic import background, fill
from heatpoint.synthetic.pictures import NAMES
from heatpoint.video.tracking import Tracks
from heatpoint.video.writing import video_file

SIZE, RATE, VISIBLE, FRAMES = (360, 480), 25.0, 0.35, 50


@dataclass
class Moment:
    """What is known about a frame: identities (N,), boxes (N, 4) of visible parts, labels (N,)."""

    ids: NDArray[np.int64]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]


def outline(label: int) -> list[NDArray[np.float64]]:
    """Returns the contours of a class in the unit disc, discs for what has other classes."""
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    disc = np.stack((np.cos(turn), np.sin(turn)), 1)
    arms = [(0.2, 1), (0.2, 0.2), (1, 0.2), (1, -0.2), (0.2, -0.2), (0.2, -1)]
    cross = np.array([*arms, *((-x, -y) for x, y in arms)])
    shapes = {"ring": [disc, disc * 0.6], "triangle": [disc[::16]], "cross": [cross]}
    return shapes.get(NAMES[label], [disc])


def film(
    count: int, frames: int, bars: int, seed: int, picture: bool = True
) -> list[tuple[Image, Moment]]:
    """Returns frames in which things move straight on, cover each other, and pass behind bars."""
    rng = np.random.default_rng(seed)
    height, width = SIZE
    ground = background("films", 32, SIZE, rng, clutter=True)
    radius, labels = rng.uniform(22, 36, count), rng.integers(0, 3, count)
    labels[labels == 2] = NAMES.index("cross")
    angle = rng.uniform(0, 2 * np.pi, count)
    speed = rng.uniform(1.5, 4.5, (count, 1)) * np.stack((np.cos(angle), np.sin(angle)), 1)
    middle = rng.uniform(40, (width - 40, height - 40), (count, 2))
    spin, colours = rng.uniform(-0.08, 0.08, count), rng.integers(0, 256, (count, 3))
    for colour in colours:  # vivid, as those of the demo
        colour[rng.permutation(3)[:2]] = rng.integers(190, 256), rng.integers(0, 60)
    columns = (np.arange(bars) + 1) * width // (bars + 1)
    made = []
    for number in range(frames):
        image, owner = ground.copy(), np.full(SIZE, -1, np.int16)
        whole = np.zeros(count)
        for each in range(count):
            turn = spin[each] * number
            spun = np.array(((np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))))
            contours = [c @ spun.T * radius[each] + middle[each] for c in outline(labels[each])]
            mask = np.zeros(SIZE, np.uint8)
            fill(mask, contours, 1, smooth=False)
            owner[mask > 0], whole[each] = each, mask.sum()
            if picture:
                fill(image, contours, colours[each].tolist())
        for column in columns:
            owner[:, column - 22 : column + 22] = -1
            image[:, column - 22 : column + 22] = 96
        rows = []
        for each in range(count):
            ys, xs = np.nonzero(owner == each)
            if len(xs) >= VISIBLE * whole[each] > 0:
                rows.append((each, xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
        known = np.array(rows, np.float64).reshape(-1, 5)
        ids = known[:, 0].astype(np.int64)
        made.append((image, Moment(ids, known[:, 1:], labels[ids])))
        middle += speed
        low, high = radius[:, None], np.array((width, height)) - radius[:, None]
        speed = np.where((middle < low) | (middle > high), -speed, speed)
        middle = middle.clip(low, high)
    return made


def seen(moments: list[Moment], seed: int, points: bool) -> list[Detections]:
    """Returns the truth with 3 % jitter, a tenth lost, false alarms in a tenth of frames."""
    rng, found = np.random.default_rng(seed), []
    for moment in moments:
        kept = rng.random(len(moment.ids)) > 0.1
        boxes, labels = moment.boxes[kept], moment.labels[kept]
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        boxes = boxes + rng.normal(0, 0.03, boxes.shape) * sides
        if rng.random() < 0.1:
            corner = rng.uniform(0, (SIZE[1] - 50, SIZE[0] - 50))
            boxes = np.concatenate((boxes, [[*corner, *(corner + 50)]]))
            labels = np.append(labels, 0)
        columns = {}
        if points:
            middles = boxes.reshape(-1, 2, 2).mean(1)
            boxes, columns = np.tile(middles, 2), {"points": middles}
        scores = rng.uniform(0.3, 0.9, len(boxes)).astype(np.float32)
        kind = boxes.astype(np.float32), scores, labels, NAMES
        found.append(Detections(*kind, columns=columns))
    return found


def overlaps(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the overlap of each box with each."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    common = (high - low).clip(0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (one, other)]
    return common / np.maximum(areas[0][:, None] + areas[1][None] - common, 1e-9)


Told = list[tuple[NDArray[np.int64], NDArray[np.float64]]]
"""Identities and boxes of each frame."""


def scores(moments: list[Moment], told: Told) -> str:
    """Returns HOTA, IDF1 and the number of switches, as a row of a table."""
    known = sorted({number for ids, _ in told for number in ids.tolist()})
    truth = [moment.ids for moment in moments]
    given = [np.searchsorted(known, ids) for ids, _ in told]
    alike = [overlaps(m.boxes, boxes) for m, (_, boxes) in zip(moments, told, strict=True)]
    hota = compute_hota_metrics(truth, given, alike)
    identity = compute_identity_metrics(truth, given, alike)
    clear = compute_clear_metrics(truth, given, alike)
    return (
        f"{100 * hota['HOTA']:.1f} | {100 * hota['AssA']:.1f} | {100 * identity['IDF1']:.1f} | "
        f"{clear['IDSW']} | {len(known)} of {len(np.unique(np.concatenate(truth)))}"
    )


class Package:
    """A tracker of the package ``trackers`` in the place of ``ByteTrack``."""

    def __init__(self, tracker: Any) -> None:
        self._tracker, self.count = tracker, 0

    def update(self, boxes: NDArray[np.float64], seconds: float) -> NDArray[np.int64]:
        """Returns the identity of each box, as ``ByteTrack`` does."""
        rows = {"row": np.arange(len(boxes))}
        given = supervision.Detections(boxes, confidence=np.ones(len(boxes)), data=rows)
        told, track = self._tracker.update(given, timestamp=seconds), np.full(len(boxes), -1)
        if len(told):
            track[told.data["row"]] = np.where(told.tracker_id < 0, -1, told.tracker_id + 1)
        return track


CANDIDATES: dict[str, Any] = {
    "heatpoint's (taken)": None,
    "ByteTrack": lambda rate: trackers.ByteTrackTracker(
        frame_rate=rate, track_activation_threshold=0.0, high_conf_det_threshold=0.0
    ),
    "SORT": lambda rate: trackers.SORTTracker(frame_rate=rate, track_activation_threshold=0.0),
    "OC-SORT": lambda rate: trackers.OCSORTTracker(frame_rate=rate, high_conf_det_threshold=0.0),
    "C-BIoU": lambda rate: trackers.CBIoUTracker(
        frame_rate=rate, track_activation_threshold=0.0, high_conf_det_threshold=0.0
    ),
}


def compare() -> None:
    """Prints a table of trackers on films with errors."""
    print("| film | tracker | HOTA | AssA | IDF1 | switches | tracks of things | ms a frame |")
    print("|---|---|---|---|---|---|---|---|")
    scenes = {
        "8 things, cover each other": (8, 0, 1, False),
        "8 things, 3 bars": (8, 3, 1, False),
        "8 things, 3 bars, every 3rd frame": (8, 3, 3, False),
        "20 things, 3 bars": (20, 3, 1, False),
        "60 things, cover each other": (60, 0, 1, False),
        "8 things as points, 3 bars": (8, 3, 1, True),
    }
    for title, (count, bars, every, points) in scenes.items():
        moments = [moment for _, moment in film(count, 300, bars, 5, picture=False)][::every]
        found = seen(moments, 9, points)
        for name, make in CANDIDATES.items():
            tracks, told, took = Tracks(RATE / every), list[Any](), list[float]()
            if make is not None:
                tracks._tracker = cast(Any, Package(make(RATE / every)))
            for number, (moment, rows) in enumerate(zip(moments, found, strict=True)):
                start = time.process_time()
                kept = tracks.follow(rows, number * every / RATE, SIZE)
                took.append(1000 * (time.process_time() - start))
                track = kept.columns["track"]
                boxes = kept.boxes.astype(np.float64)
                if points:  # compared as squares as large as the things on the average
                    boxes = boxes + np.array((-29, -29, 29, 29))
                    middles = moment.boxes.reshape(-1, 2, 2).mean(1)
                    moment.boxes = np.concatenate((middles - 29, middles + 29), 1)
                told.append((track[track > 0], boxes[track > 0]))
            cost = f"{statistics.median(took):.2f}"
            print(f"| {title} | {name} | {scores(moments, told)} | {cost} |", flush=True)


def whole(checkpoint: str, folder: Path, size: str) -> None:
    """Scores the command on a film."""
    source, rows = folder / "film.mp4", folder / "tracks.jsonl"
    made = film(8, 250, 2, 11)
    with video_file(source, RATE) as written:
        for image, _ in made:
            written.write(image)
    command = [sys.executable, "-P", "-m", "heatpoint", "video", checkpoint, str(source)]
    command += ["--size", size, "--json", str(rows)]
    draw = ["--draw", str(folder / "drawn.mp4")]
    count = ["--count-line", "0,180,480,180", "--count-zone", "10,10,150,10,150,350,10,350"]
    subprocess.run([*command, "--track", *draw, *count, "--csv", str(folder / "tracks.csv")])
    told = []
    for text in rows.read_text().splitlines():
        kept = [row for row in json.loads(text)["detections"] if "track" in row]
        boxes = np.array([row["bbox"] for row in kept], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        told.append((np.array([row["track"] for row in kept], np.int64), boxes))
    print("HOTA | AssA | IDF1 | switches | tracks of things")
    print(scores([moment for _, moment in made], told))


def speed(checkpoint: str, folder: Path, size: str, rounds: int) -> None:
    """Prints how fast the command is with and without --track, in turns on one open model."""
    opened = predict.open_runner
    runner = opened(checkpoint, RunOptions(size=side_lengths(size)), KeepOptions(), predict.SCORE)
    predict.open_runner = lambda *given: runner
    print("| things | found in a frame | written | clock | processor | ratios of medians |")
    print("|---|---|---|---|---|---|")
    for count in (8, 22, 60):
        source, rows = folder / f"film{count}.mp4", folder / f"rows{count}.jsonl"
        with video_file(source, RATE) as written:
            for image, _ in film(count, FRAMES, 0, 11):
                written.write(image)
        words = ["video", checkpoint, str(source), "--size", size, "--json", str(rows)]
        draw = ["--draw", str(folder / "timed.mp4")]
        for what, more in {"JSON lines": [], "the same and the film": draw}.items():
            told = timed([*words, *more], rounds)
            found = rows.read_text().count('"bbox"') / FRAMES
            print(f"| {count} | {found:.1f} | {what} | {told} |", flush=True)
    predict.open_runner = opened


def timed(words: list[str], rounds: int) -> str:
    """Returns frames/s without and with --track by clock and processor, and their ratios."""
    times: dict[str, list[tuple[float, float]]] = {"without": [], "--track": []}
    for turn in range(rounds + 1):
        for name, taken in times.items():
            start = time.perf_counter(), time.process_time()
            with contextlib.redirect_stdout(io.StringIO()):
                main([*words, "--track"] if name == "--track" else words)
            end = time.perf_counter(), time.process_time()
            if turn:  # the first one imports
                taken.append((end[0] - start[0], end[1] - start[1]))
    speeds, ratios = [], []
    for place in range(2):
        without, tracked = (statistics.median(t[place] for t in times[name]) for name in times)
        speeds.append(f"{FRAMES / without:.1f}, {FRAMES / tracked:.1f}")
        ratios.append(f"{without / tracked:.3f}")
    return f"{' | '.join(speeds)} | {', '.join(ratios)}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("--out", type=Path, default=Path("runs/tracking"))
    parser.add_argument("--size", default="256x320")
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    if given.checkpoint:
        given.out.mkdir(parents=True, exist_ok=True)
        whole(given.checkpoint, given.out, given.size)
        speed(given.checkpoint, given.out, given.size, given.rounds)
    else:
        compare()
