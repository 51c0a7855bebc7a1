"""What ``predict --ray`` costs on this machine, against one process and part by part.

``python benchmarks/cluster.py MODEL.onnx FOLDER [PART]`` prints processor milliseconds per picture
of each step; then, round by round in turns, the rates of one process with two streams, of a worker
of two cores with two streams, and of two workers of one core each, on Linux with the processor time
of these processes and of Ray's own. All write the same files. Ray is started once; the workers
count from the second part on and without the last one, so that their start counts by itself. Bytes
are what is sent to workers and back; the model's own are not counted.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from heatpoint.data.images import load_image
from heatpoint.inference import KeepOptions, PredictOptions, RunOptions
from heatpoint.inference.engines import open_engine
from heatpoint.inference.predict import open_runner, result_rows, start
from heatpoint.inference.runner import Found
from heatpoint.options import built
from heatpoint.scale import ScaleOptions
from heatpoint.scale.pictures import divided, find
from heatpoint.scale.results import Looked, Results, Row
from heatpoint.scale.work import _connected, check, job_of, work
from heatpoint.views import Whole

ROUNDS, BATCH, SAMPLE = 3, 8, 240
Point = tuple[float, Counter[str]]
"""Seconds of the clock, and of processors by who took them."""


def steps(model: str, folder: str) -> None:
    """Prints processor time per picture of each step, one after the other in one thread."""
    engine = open_engine(model, threads=1)  # as a worker of one core does
    runner = open_runner(engine, RunOptions(), KeepOptions(score=0.05))
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
    print(f"{len(paths)} pictures of {size:.0f} bytes, {len(rows)} rows; ms each: {each}")


def spent() -> Counter[str]:
    """Returns the processor seconds of this process and of those below it, by what they are."""
    known = dict[int, tuple[int, str, float]]()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(") ")[2].split()
            called = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        kind = "workers" if called.startswith(b"ray::Map") else "Ray"
        kind = "here" if int(entry.name) == os.getpid() else kind
        ticks = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
        known[int(entry.name)] = int(fields[1]), kind, ticks

    def below(one: int) -> bool:
        return one == os.getpid() or (one in known and below(known[one][0]))

    found = Counter[str]()
    for one, (_, kind, seconds) in known.items():
        if below(one):
            found[kind] += seconds
    return found


def now() -> Point:
    return time.perf_counter(), spent()


def between(start: Point, end: Point, pictures: int) -> str:
    wall, each = end[0] - start[0], end[1].copy()
    each.subtract(start[1])
    told = " + ".join(f"{1000 * value / pictures:.2f} {name}" for name, value in each.items())
    return f"{pictures / wall:.1f}/s and {1000 * each.total() / pictures:.2f} ms ({told})"


def one_process(model: str, folder: str, part: int) -> str:
    """Returns what one process takes, which writes the files of a run on a cluster."""
    names = sorted(map(str, Path(folder).iterdir()))
    given = {"model": model, "images": names, "score": 0.05, "streams": 2}
    _, runner, found = start(built(PredictOptions, given))
    rows, told, seen, began = list[Row](), list[Row](), 0, (0.0, Counter[str]())
    with tempfile.TemporaryDirectory() as out, Results(Path(out)) as results:
        for one in found:
            own, (height, width) = result_rows([one]), one.image_size
            rows += own
            about = {"height": height, "width": width, "found": len(own)}
            told.append({"file_name": one.path, "image_id": one.index, **about})
            if len(told) == part or one.index + 1 == len(names):
                answer = runner.engine.description.answer
                results.write(Looked.of(one.index // part, rows, told, answer, 0))
                rows, told = [], []
            seen += 1
            if seen == part:
                began = here()
        return between(began, here(), seen - part)


def here() -> Point:
    """Returns the time of the clock and of this process alone: Ray's rest while it works."""
    return time.perf_counter(), Counter(here=time.process_time())


def cluster(model: str, folder: str, part: int, each: int) -> str:
    """Returns what workers take that have so many cores and streams each, two in all."""
    with tempfile.TemporaryDirectory() as out, Results(Path(out)) as results:
        given = {"model": model, "images": [folder], "out": out, "score": 0.05, "part": part}
        given |= {"actors": 2 // each, "cores": each, "streams": each}
        options = built(ScaleOptions, given)
        began = now()
        began[1].pop("workers", None)  # of a run before, which are gone by and by
        ray = check(options)
        storage, names, kind = find(options.images, False, out)
        parts = divided(names, kind, part)
        job, files = job_of(options, storage)
        moved, ends, pictures = sum(len(msgspec.json.encode(each)) for each in parts), [], []
        for one in work(ray, job, files, parts, options):
            results.write(one)
            ends.append(now())
            pictures.append(one.pictures)
            moved += len(one.parquet) + len(one.jsonl) + len(one.told)
        rate = between(ends[1], ends[-2], sum(pictures[2:-1]))
        return (
            f"{rate}; first part after {between(began, ends[0], 1)}, "
            f"{moved / len(names):.0f} bytes per picture"
        )


def main() -> None:
    model, folder, *given = sys.argv[1:]
    part = int(given[0]) if given else 64
    print(f"{len(list(Path(folder).iterdir()))} pictures, {os.cpu_count()} cores, parts of {part}")
    steps(model, folder)
    options = built(ScaleOptions, {"model": model, "images": [folder]})
    with _connected(check(options), options):
        for _ in range(ROUNDS):
            print(f"one process: {one_process(model, folder, part)}", flush=True)
            for each in (2, 1):
                took = cluster(model, folder, part, each)
                print(f"{2 // each} workers of {each} cores: {took}", flush=True)
            print(f"load {os.getloadavg()[0]:.1f}", flush=True)


if __name__ == "__main__":
    main()
