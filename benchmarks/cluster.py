"""What ``predict --ray`` costs on this machine, against one process and part by part.

``python benchmarks/cluster.py MODEL.onnx FOLDER [PART]`` prints processor milliseconds per picture
of each step; then, per round and interleaved, the rates of one process with one and two streams and
of two workers of one core each, on Linux with the processor time of all their processes. Those of
the workers are from the first part on, so that the start of Ray counts by itself. Bytes are what is
sent to workers and back; the model's own are not counted.
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
from heatpoint.inference import KeepOptions, RunOptions
from heatpoint.inference.engines import open_engine
from heatpoint.inference.predict import iter_predict, open_runner, result_rows
from heatpoint.inference.runner import Found
from heatpoint.options import built
from heatpoint.scale import ScaleOptions
from heatpoint.scale.pictures import divided, find
from heatpoint.scale.results import Looked, Results, Row
from heatpoint.scale.work import check, job_of, work
from heatpoint.views import Whole

ROUNDS, BATCH, SAMPLE = 2, 8, 240
Point = tuple[float, float]
"""Seconds of the clock, and of processors."""


def steps(model: str, folder: str) -> None:
    """Prints processor time per picture of each step, one after the other in one thread."""
    engine = open_engine(model, threads=1)  # as a worker of one core does
    runner = open_runner(engine, RunOptions(), KeepOptions(score=0.05))
    spent, rows, told = Counter[str](), list[Row](), list[Row]()

    @contextmanager
    def step(name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        spent[name] += 1000 * (time.process_time() - start)

    paths = sorted(Path(folder).iterdir())[:SAMPLE]
    for start in range(0, len(paths), BATCH):
        some = list(enumerate(paths))[start : start + BATCH]
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
    each = ", ".join(f"{name} {value / len(paths):.2f}" for name, value in spent.items())
    print(f"{len(paths)} pictures of {size:.0f} bytes, {len(rows)} rows; ms each: {each}")


def spent_below(root: int) -> float:
    """Returns the processor seconds of a process, of those below it, and of those they awaited."""
    known = dict[int, tuple[int, int]]()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        known[int(entry.name)] = int(fields[1]), sum(map(int, fields[11:15]))

    def below(one: int) -> bool:
        return one == root or (one in known and below(known[one][0]))

    return sum(ticks for one, (_, ticks) in known.items() if below(one)) / os.sysconf("SC_CLK_TCK")


def now() -> Point:
    return time.perf_counter(), spent_below(os.getpid())


def between(start: Point, end: Point, pictures: int) -> str:
    wall, spent = (after - before for before, after in zip(start, end, strict=True))
    return f"{pictures / wall:.1f}/s and {1000 * spent / pictures:.1f} ms"


def one_process(model: str, folder: str, streams: int) -> str:
    seen, start = 0, now()
    for _ in iter_predict(model, folder, score=0.05, streams=streams):
        seen += 1
        if seen == BATCH:
            start = now()
    return between(start, now(), seen - BATCH)


def cluster(model: str, folder: str, part: int) -> str:
    with tempfile.TemporaryDirectory() as out, Results(Path(out)) as results:
        given = {"model": model, "images": [folder], "out": out, "score": 0.05, "part": part}
        options = built(ScaleOptions, given | {"actors": 2})
        start = now()
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
        rate = between(ends[0], ends[-1], sum(pictures[1:]))
        wall, spent = (after - before for before, after in zip(start, ends[0], strict=True))
        return (
            f"{rate}; first part after {wall:.1f} s and {spent:.1f} processor seconds, "
            f"{moved / len(names):.0f} bytes per picture"
        )


def main() -> None:
    model, folder, *part = sys.argv[1:]
    print(f"{len(list(Path(folder).iterdir()))} pictures, {os.cpu_count()} cores")
    steps(model, folder)
    for _ in range(ROUNDS):
        single, double = (one_process(model, folder, streams) for streams in (1, 2))
        both = cluster(model, folder, int(part[0]) if part else BATCH)
        load = os.getloadavg()[0]
        print(
            f"one process {single}; two streams {double}; two workers {both}; load {load:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
