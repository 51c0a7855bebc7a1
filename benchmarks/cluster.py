"""Pictures per second of ``predict --ray`` on this machine against one process, interleaved.

``python benchmarks/cluster.py MODEL.onnx FOLDER`` prints, per round, the rate of one process with
one and with two streams, and that of two workers of one core each: from the first part on, so that
the start of Ray counts by itself. Bytes are what is sent to workers and back.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from heatpoint.inference.engines.engine import Timings
from heatpoint.inference.predict import iter_predict
from heatpoint.options import built
from heatpoint.scale import ScaleOptions
from heatpoint.scale.pictures import divided, find
from heatpoint.scale.work import check, job_of, work

ROUNDS, PART = 3, 8


def one_process(model: str, folder: str, streams: int) -> float:
    timings = Timings()
    for _ in iter_predict(model, folder, score=0.05, streams=streams, timings=timings):
        pass
    return timings.images / timings.wall


def cluster(model: str, folder: str) -> tuple[float, float, float]:
    """Returns pictures per second, seconds to the first part, and bytes moved per picture."""
    with tempfile.TemporaryDirectory() as out:
        given = {"model": model, "images": [folder], "out": out, "score": 0.05, "part": PART}
        options = built(ScaleOptions, given)
        start = time.perf_counter()
        ray = check(options)
        storage, names, kind = find(options.images, False, out + "/found")
        parts = divided(names, kind, PART)
        job, files = job_of(options, storage)
        moved = sum(len(msgspec.json.encode(part)) for part in parts)
        ends, pictures = [], []
        for one in work(ray, job, files, parts, options):
            ends.append(time.perf_counter())
            pictures.append(one.pictures)
            moved += len(one.parquet) + len(one.jsonl) + len(one.told)
    rate = sum(pictures[1:]) / (ends[-1] - ends[0])
    return rate, ends[0] - start, moved / len(names)


def main() -> None:
    model, folder = sys.argv[1:]
    print(f"{len(list(Path(folder).iterdir()))} pictures, {os.cpu_count()} cores")
    for _ in range(ROUNDS):
        single, double = (one_process(model, folder, streams) for streams in (1, 2))
        rate, first, moved = cluster(model, folder)
        print(
            f"one process {single:.1f}/s, two streams {double:.1f}/s, two workers {rate:.1f}/s: "
            f"{rate / max(single, double):.2f} of the better; first part after {first:.1f} s, "
            f"{moved:.0f} bytes per picture",
            flush=True,
        )


if __name__ == "__main__":
    main()
