"""Compares two copies of the package job by job: ``python benchmarks/before_after.py OLD [NEW]``.

OLD and NEW are folders that hold a ``heatpoint`` package: worktrees or clones of two commits. For
each job both copies work with one thread and take turns, in changing order, so that the noise of
the machine hits both. Times are processor time: of a call within a process that has warmed up, or
of a command from the start of Python. ``pairs`` is the median of the ratios of neighbouring turns.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

NAMES = ("disc", "bar")
MODEL = "centernet_mobilenetv2"
BUILD = f"import heatpoint; heatpoint.build('{MODEL}', {NAMES!r}).save('model.safetensors')"
EXPORT = "import heatpoint; heatpoint.export('model.safetensors', 'model.onnx', check=False)"
CALLS = {
    "predict": "heatpoint.predict('model.safetensors', 'pictures', workers=0)",
    "predict-exported": "heatpoint.predict('model.onnx', 'pictures', workers=0)",
    "evaluate": "heatpoint.evaluate('model.safetensors', 'data.json', workers=0)",
    "train": (
        "shutil.rmtree('run', ignore_errors=True);"
        f"heatpoint.train('data.json', 'data.json', model='{MODEL}', size=256,"
        "epochs=1, batch_size=8, workers=0, threads=1, out='run', eval_every=9)"
    ),
}
COMMANDS = {
    "help": ["--help"],
    "help-train": ["train", "--help"],
    "first-result": ["predict", "model.onnx", "pictures/0.jpg", "--json", "o.json"],
}
SERVE = """
import shutil, sys, time, torch, heatpoint
torch.set_num_threads(1)
job = compile(sys.argv[1], "job", "exec")
exec(job)
print("ready", flush=True)
for line in sys.stdin:
    start = time.process_time()
    exec(job)
    print("took", time.process_time() - start, flush=True)
"""


def draw(folder: Path, count: int) -> None:
    """Writes pictures of 480 x 640 pixels with one disc each, and their annotations."""
    generator = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    images, objects = [], []
    for place in range(count):
        picture = generator.integers(0, 255, (480, 640, 3), dtype=np.uint8)
        x, y = (int(value) for value in generator.integers(60, 400, 2))
        cv2.circle(picture, (x, y), 40, (255, 255, 255), -1)
        cv2.imwrite(str(folder / "pictures" / f"{place}.jpg"), picture)
        images.append(
            {"id": place, "file_name": f"pictures/{place}.jpg", "height": 480, "width": 640}
        )
        box = [x - 40, y - 40, 80, 80]
        objects.append(
            {"id": place, "image_id": place, "category_id": 1, "bbox": box, "area": 6400}
        )
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES, 1)]
    data = {"images": images, "annotations": objects, "categories": categories}
    (folder / "data.json").write_text(json.dumps(data), encoding="utf-8")


def environment(tree: str) -> dict[str, str]:
    """Returns the variables of a process that imports the package of a tree."""
    return {**os.environ, "PYTHONPATH": tree, "OMP_NUM_THREADS": "1"}


def server(tree: str, job: str, folder: Path) -> Callable[[], float]:
    """Starts a process that does a job when asked; returns what asks it and gives its seconds."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", SERVE, job],
        env=environment(tree),
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    asked, told = process.stdin, process.stdout

    def answer(word: str) -> list[str]:
        for line in told:
            if line.startswith(word):
                return line.split()
        raise SystemExit(f"the package of {tree} cannot do this job: {job}")

    def ask() -> float:
        asked.write("\n")
        asked.flush()
        return float(answer("took")[1])

    answer("ready")
    return ask


def command(tree: str, words: list[str], folder: Path) -> Callable[[], float]:
    """Returns what runs one command from the start of Python and gives its processor time."""

    def run() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-P", "-m", "heatpoint", *words],
            env=environment(tree),
            cwd=folder,
            check=True,
            capture_output=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return run


def compare(name: str, sides: list[Callable[[], float]], rounds: int) -> None:
    """Lets two sides take turns and prints medians, their ratio, and the median ratio of pairs."""
    times: list[list[float]] = [[], []]
    for turn in range(rounds):
        for side in (0, 1) if turn % 2 else (1, 0):
            times[side].append(sides[side]())
    old, new = (statistics.median(each) for each in times)
    pairs = statistics.median(b / a for a, b in zip(*times, strict=True))
    print(f"{name:30} {old:8.3f} s {new:8.3f} s {new / old:7.3f} {pairs:7.3f}", flush=True)


def main() -> None:
    """Compares the jobs that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new", nargs="?", default=str(Path(__file__).resolve().parents[1]))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--jobs", nargs="*", choices=[*CALLS, *COMMANDS])
    options = parser.parse_args()
    trees = [str(Path(tree).resolve()) for tree in (options.old, options.new)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder, 24)
        for code in (BUILD, EXPORT):  # by the old copy: a new one reads what an old one wrote
            subprocess.run(
                [sys.executable, "-P", "-c", code],
                env=environment(trees[0]),
                cwd=folder,
                check=True,
            )
        print(f"{'job':30} {'old':>10} {'new':>10} {'ratio':>7} {'pairs':>7}")
        for job, call in CALLS.items():
            if not options.jobs or job in options.jobs:
                compare(job, [server(tree, call, folder) for tree in trees], options.rounds)
        for job, words in COMMANDS.items():
            if not options.jobs or job in options.jobs:
                compare(job, [command(tree, words, folder) for tree in trees], options.rounds)


if __name__ == "__main__":
    main()
