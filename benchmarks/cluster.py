"""What ``predict --ray`` costs on this machine, against one process and part by part.

``python benchmarks/cluster.py MODEL.onnx FOLDER`` looks at the pictures of FOLDER, which are drawn
if it is not there (``--draw 640x480``), as often over as ``--times`` says. Ways of doing it come in
turns, ``--rounds`` times, each in a process of its own, so that no Ray runs beside the others:

``one``
    ``predict --streams 2`` in one process, which writes the files of a run on a cluster;
``cores``
    ``predict --ray`` by two workers of one core each;
``streams``
    ``predict --ray`` by one worker of two cores with two streams;
``worker``
    what one worker of one core does, in a process without Ray.

Rates are those of the clock from the second part to the last but one; the start counts by itself.
On Linux the processor time of each process is told, too. ``--steps`` first measures one step after
the other, in processor milliseconds for a picture. Bytes are what is sent to workers and back; the
model's own are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np

from heatpoint.data.images import load_image
from heatpoint.inference import KeepOptions, PredictOptions, RunOptions
from heatpoint.inference.engines import open_engine
from heatpoint.inference.predict import open_runner, result_rows, start
from heatpoint.inference.runner import Found
from heatpoint.options import built, side_lengths
from heatpoint.scale import ScaleOptions
from heatpoint.scale.looking import Looker
from heatpoint.scale.pictures import divided, find
from heatpoint.scale.results import Looked, Results, Row
from heatpoint.scale.work import check, job_of, work
from heatpoint.system.files import atomic_write
from heatpoint.views import Whole

BATCH, SAMPLE, DRAWN, SCORE = 8, 200, 200, 0.05


def draw(folder: Path, height: int, width: int) -> None:
    """Draws JPEG pictures of discs and noise."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(DRAWN):
        image = np.full((height, width, 3), random.integers(0, 256, 3), np.uint8)
        for _ in range(12):
            middle = int(random.integers(width)), int(random.integers(height))
            color = tuple(map(int, random.integers(0, 256, 3)))
            cv2.circle(image, middle, int(random.integers(2, height // 8)), color, -1)
        noisy = image + random.integers(-12, 13, image.shape)
        cv2.imwrite(str(folder / f"{number:06}.jpg"), np.clip(noisy, 0, 255).astype(np.uint8))


def steps(model: str, folder: str) -> None:
    """Prints processor time per picture of each step, one after the other in one thread."""
    cv2.setNumThreads(1)
    engine = open_engine(model, threads=1)  # as a worker of one core does
    runner = open_runner(engine, RunOptions(), KeepOptions(score=SCORE))
    took, rows, told = Counter[str](), list[Row](), list[Row]()

    @contextmanager
    def step(name: str) -> Iterator[None]:
        began = time.process_time()
        yield
        took[name] += 1000 * (time.process_time() - began)

    paths = sorted(Path(folder).iterdir())[:SAMPLE]
    for first in range(0, len(paths), BATCH):
        some = list(enumerate(paths))[first : first + BATCH]
        with step("read"):
            held = [path.read_bytes() for _, path in some]
        with step("decode"):
            images = [load_image(data) for data in held]
        with step("prepare"):
            pairs = zip(some, images, strict=True)
            jobs = [runner.prepare(Whole(image), at, str(path)) for (at, path), image in pairs]
        with step("network"):
            runner.answer([ask for job in jobs for ask in job.asks])
        with step("finish"):
            for job in jobs:
                found = Found(job.index, job.path, job.raster.size, runner.conclude(job))
                rows += (own := result_rows([found]))
                told.append({"file_name": job.path, "image_id": job.index, "found": len(own)})
    answer = runner.engine.description.answer
    Looked.of(0, rows[:1], told[:1], answer, 0)  # the first time imports pyarrow
    with step("write"), tempfile.TemporaryDirectory() as out:
        Results(Path(out)).write(Looked.of(0, rows, told, answer, 0))
    size = sum(path.stat().st_size for path in paths) / len(paths)
    each = ", ".join(f"{name} {value / len(paths):.2f}" for name, value in took.items())
    print(
        f"{len(paths)} pictures of {size:.0f} bytes, {len(rows)} rows; processor ms each: {each}, "
        f"sum {took.total() / len(paths):.2f}",
        flush=True,
    )


def spent() -> Counter[str]:
    """Returns the processor seconds of this process and of those below it, by what they are."""
    known = dict[int, tuple[int, str, float]]()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(") ")[2].split()
            words = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        program, *rest = words.split() or [""]
        script = next((word for word in rest if word.endswith(".py")), program)
        # Ray's workers are called by what they do, such as ray::Actor.method.
        called = re.split(r"[.(\s]", words)[0] if words.startswith("ray::") else ""
        called = called or Path(script if "python" in program else program).name
        ticks = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
        kind = "this one" if int(entry.name) == os.getpid() else called
        known[int(entry.name)] = int(fields[1]), kind, ticks

    def below(one: int) -> bool:
        return one == os.getpid() or (one in known and below(known[one][0]))

    found = Counter[str]()
    for one, (_, kind, seconds) in known.items():
        if below(one):
            found[kind] += seconds
    return found or Counter({"this one": time.process_time()})


class Watch:
    """Notes the clock and the processors as parts are done."""

    def __init__(self, parts: int) -> None:
        self._began, self._last = time.perf_counter(), parts - 2
        self._marks = list[tuple[float, Counter[str], int]]()
        self._seen = self._done = 0
        self._first = 0.0, 0.0

    def part(self, pictures: int) -> None:
        """Notes that one more part is done and written."""
        self._done += pictures
        if not self._seen:
            self._first = time.perf_counter() - self._began, spent().total()
        if self._seen in (1, self._last):
            self._marks.append((time.perf_counter(), spent(), self._done))
        self._seen += 1

    def told(self, moved: float = 0.0) -> dict[str, Any]:
        """Returns the rate between the marks, and what it took."""
        (start, before, first), (end, after, last) = self._marks
        after.subtract(before)
        each = {name: value / (end - start) for name, value in after.most_common()}
        return {
            "rate": (last - first) / (end - start),
            "ms": 1000 * after.total() / (last - first),
            "first": self._first[0],
            "began": self._first[1],
            "cores": each,
            "moved": moved,
        }


def one_process(model: str, images: list[str], part: int) -> dict[str, Any]:
    """Returns what one process takes, which writes the files of a run on a cluster."""
    names = [str(path) for each in images for path in sorted(Path(each).iterdir())]
    watch, rows, told = Watch(-(-len(names) // part)), list[Row](), list[Row]()
    _, runner, found = start(
        built(PredictOptions, {"model": model, "images": names, "score": SCORE, "streams": 2})
    )
    answer = runner.engine.description.answer
    with tempfile.TemporaryDirectory() as out, Results(Path(out)) as results:
        for one in found:
            own, (height, width) = result_rows([one]), one.image_size
            rows += own
            about = {"height": height, "width": width, "found": len(own)}
            told.append({"file_name": one.path, "image_id": one.index, **about})
            if len(told) == part or one.index + 1 == len(names):
                results.write(Looked.of(one.index // part, rows, told, answer, 0))
                watch.part(len(told))
                rows, told = [], []
    return watch.told()


def cluster(model: str, images: list[str], part: int, cores: int) -> dict[str, Any]:
    """Returns what workers take that have so many cores and streams each, two in all.

    0 cores stand for one worker of one core, without Ray.
    """
    with tempfile.TemporaryDirectory() as out, Results(Path(out)) as results:
        given = {"model": model, "images": images, "out": out, "score": SCORE, "part": part}
        each = max(cores, 1)
        given |= {"actors": 2 // each, "cores": each, "streams": each}
        options = built(ScaleOptions, given)
        storage, names, kind = find(images, False, out)
        parts = divided(names, kind, part)
        watch, moved = Watch(len(parts)), sum(len(msgspec.json.encode(one)) for one in parts)
        job, files = job_of(options, storage)
        looked: Iterator[Looked] = map(Looker(job, lambda: files).look, parts)
        if cores:
            looked = work(check(options), job, files, parts, options)
        else:
            cv2.setNumThreads(1)
        for one in looked:
            assert not one.mistake, one.mistake
            results.write(one)
            watch.part(one.pictures)
            moved += len(one.parquet) + len(one.jsonl) + len(one.told)
        return watch.told(moved / len(names))


WAYS: dict[str, tuple[str, Callable[[str, list[str], int], dict[str, Any]]]] = {
    "one": ("one process, 2 streams", one_process),
    "cores": ("Ray, 2 workers of 1 core", lambda *given: cluster(*given, 1)),
    "streams": ("Ray, 1 worker, 2 streams", lambda *given: cluster(*given, 2)),
    "worker": ("a worker without Ray", lambda *given: cluster(*given, 0)),
}


def compare(ways: list[str], rounds: int) -> None:
    """Runs each way in a process of its own, in turns, and prints medians and ratios."""
    took: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, "told.json")
                subprocess.run(
                    [sys.executable, *sys.argv, "--alone", way, "--told", str(file)], check=True
                )
                one = json.loads(file.read_text())
            took[way].append(one)
            print(
                f"round {number + 1}, {WAYS[way][0]}: {one['rate']:.1f}/s, {one['ms']:.2f} ms of "
                f"processor each; first part after {one['first']:.1f} s, {one['began']:.1f} s of "
                f"processor; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    base = statistics.median(one["rate"] for one in took[ways[0]])
    for way, ones in took.items():
        rates, ms, first, began = (
            [one[name] for one in ones] for name in ("rate", "ms", "first", "began")
        )
        middle = statistics.median(rates)
        print(
            f"{WAYS[way][0]}: median {middle:.1f}/s ({min(rates):.1f} to {max(rates):.1f}), "
            f"{middle / base:.3f} of the first; {statistics.median(ms):.2f} ms of processor each; "
            f"first part after {statistics.median(first):.1f} s and {statistics.median(began):.1f} "
            f"s of processor; {ones[0]['moved']:.0f} bytes per picture"
        )
        cores = {
            name: statistics.median(one["cores"].get(name, 0) for one in ones)
            for name in ones[0]["cores"]
        }
        print(
            "    cores taken: " + ", ".join(f"{name} {value:.3f}" for name, value in cores.items())
        )


def main() -> None:
    about = argparse.ArgumentParser(description="Measures predict --ray against one process.")
    about.add_argument("model")
    about.add_argument("folder")
    about.add_argument("--draw", type=side_lengths, default=(480, 640), metavar="HxW")
    about.add_argument("--times", type=int, default=16, help="how often over")
    about.add_argument("--part", type=int, default=128, help="pictures per part")
    about.add_argument("--rounds", type=int, default=3)
    about.add_argument("--ways", nargs="+", choices=WAYS, default=["one", "cores", "streams"])
    about.add_argument("--steps", action="store_true", help="measure step by step, too")
    about.add_argument("--alone", choices=WAYS, help=argparse.SUPPRESS)
    about.add_argument("--told", type=Path, help=argparse.SUPPRESS)
    given = about.parse_args()
    if given.alone:
        told = WAYS[given.alone][1](given.model, [given.folder] * given.times, given.part)
        with atomic_write(given.told) as temporary:
            temporary.write_text(json.dumps(told))
        return
    if not Path(given.folder).is_dir():
        draw(Path(given.folder), *given.draw)
    count = given.times * len(list(Path(given.folder).iterdir()))
    print(f"{count} pictures, {os.cpu_count()} cores, parts of {given.part}", flush=True)
    if given.steps:
        steps(given.model, given.folder)
    compare(given.ways, given.rounds)


if __name__ == "__main__":
    main()
