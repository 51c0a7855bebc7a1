"""How long data sets take to be read: a YOLO folder of drawn pictures and a table of boxes, warm.

Run ``python benchmarks/readers.py``. The pictures are small, since their headers alone are read.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from heatpoint.data.readers import read


def draw_yolo(folder: Path, pictures: int, objects: int = 5) -> None:
    """Writes a YOLO folder with a JPEG of 32 x 24 and a label file for each picture."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (24, 32, 3)).astype(np.uint8)
    picture = cv2.imencode(".jpg", pixels)[1].tobytes()
    for name in ("images", "labels"):
        (folder / name / "train").mkdir(parents=True)
    (folder / "classes.txt").write_text("cat\n", encoding="utf-8")
    for number in range(pictures):
        (folder / f"images/train/{number:06}.jpg").write_bytes(picture)
        rows = rng.uniform(0.2, 0.4, (objects, 4))
        lines = [f"0 {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for x, y, w, h in rows]
        (folder / f"labels/train/{number:06}.txt").write_text("".join(lines), encoding="utf-8")


def draw_table(folder: Path, pictures: int, objects: int = 7) -> Path:
    """Writes a CSV file of boxes on the pictures of ``draw_yolo``."""
    rng, path = np.random.default_rng(0), folder / "boxes.csv"
    lines = ["filename,width,height,class,xmin,ymin,xmax,ymax\n"]
    for number in range(pictures):
        corners = rng.uniform(0, 12, (objects, 2, 2)).cumsum(1).reshape(objects, 4)
        start = f"{number:06}.jpg,32,24,c"
        lines += [
            f"{start}{n},{x1:.2f},{y1:.2f},{x2:.2f},{y2:.2f}\n"
            for n, (x1, y1, x2, y2) in enumerate(corners.tolist())
        ]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def report(name: str, data: Path, rounds: int, images: Path | None = None) -> None:
    """Prints the fastest of several rounds, after one that warms the cache."""
    walls, cores = [], []
    for _ in range(rounds + 1):
        wall, core = time.perf_counter(), time.process_time()
        annotations = read(data, images)
        walls.append(time.perf_counter() - wall)
        cores.append(time.process_time() - core)
    size = f"{len(annotations):,} pictures, {annotations.objects:,} objects"
    print(f"{name}: {size}: {min(walls[1:]):.2f} s, {min(cores[1:]):.2f} s of one core")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures how long readers take.")
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        draw_yolo(Path(folder), arguments.pictures)
        report("YOLO", Path(folder), arguments.rounds)
        table = draw_table(Path(folder), arguments.pictures)
        report("CSV", table, arguments.rounds, Path(folder) / "images" / "train")


if __name__ == "__main__":
    main()
