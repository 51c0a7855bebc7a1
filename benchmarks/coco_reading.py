"""How long a COCO file of the size of train2017 takes to read: 118,000 images, 860,000 boxes.

Run ``python benchmarks/coco_reading.py``. The files are drawn by chance, without polygons, with
some of 26 points and of four; every picture exists, empty, in one of ten folders. Each file is read
by a process of its own, whose highest memory is told. Other programs disturb single runs: the
processor's seconds are shown beside those of the clock.

``--workers 8`` also cleans the boxes as training does, lets so many processes load each picture
once (grey ones of 640x480 then), and tells the memory of each of these (Linux only).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from heatpoint.data import Annotations

IMAGES, OBJECTS, CLASSES = 118_000, 860_000, 80
POINTS = {"boxes": 0, "polygons": 26, "corners": 4}
LEANING = np.array([[0.2, 0], [1, 0.3], [0.8, 1], [0, 0.7]])


def draw(folder: Path, kind: str, picture: bytes) -> Path:
    """Writes a file of a kind, and each picture; returns the file."""
    rng = np.random.default_rng(0)
    names = [f"part{n % 10}/{5 * n + 9:012d}.jpg" for n in range(IMAGES)]
    for name in names:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture)
    size = {"height": 480, "width": 640, "date_captured": "2013-11-14 17:02:52"}
    images = [{"id": 5 * n + 9, "file_name": name, **size} for n, name in enumerate(names)]
    categories = [{"id": n + 1 + n // 10, "name": f"class {n}"} for n in range(CLASSES)]
    chosen = rng.integers(0, IMAGES, OBJECTS).tolist()
    labels = rng.integers(0, CLASSES, OBJECTS).tolist()
    boxes = rng.uniform(2, 300, (OBJECTS, 4)).round(2)
    path, count = folder / f"{kind}.json", POINTS[kind]
    with open(path, "w", encoding="utf-8") as file:
        head = {"info": {}, "images": images, "categories": categories}
        file.write(json.dumps(head)[:-1] + ', "annotations": [')
        for n, (x, y, wide, high) in enumerate(boxes.tolist()):
            item = {"id": n + 1, "image_id": images[chosen[n]]["id"], "iscrowd": 0}
            item |= {"category_id": categories[labels[n]]["id"], "bbox": [x, y, wide, high]}
            if count:
                points = rng.random((count, 2)) if count > 4 else LEANING
                points = points * (wide, high) + (x, y)
                item["segmentation"] = [points.round(2).ravel().tolist()]
            file.write(f"{', ' if n else ''}{json.dumps(item | {'area': wide * high})}")
        file.write("]}")
    return path


def measure(path: Path, workers: int) -> None:
    """Reads a file and prints what it took; the same of processes that load the pictures."""
    from heatpoint.data.readers import read

    clock, processor = time.perf_counter(), time.process_time()
    data = read(path)
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    assert (len(data), data.objects) == (IMAGES, OBJECTS)
    assert data.images[0].path.is_file()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    size = path.stat().st_size / 1e6
    print(
        f"{path.name}, {size:.0f} MB: {clock:.1f} s, of the processor {processor:.1f} s; "
        f"{memory:.2f} GiB"
    )
    if workers:
        load(data, workers)


def load(data: Annotations, workers: int) -> None:
    """Prints the memory of processes that load an epoch: near its beginning, and at its end."""
    from torch.utils.data import DataLoader

    from heatpoint.data.dataset import TrainSet, collate, worker_init
    from heatpoint.data.order import EpochSampler
    from heatpoint.data.validate import clean

    cleaned = clean(data)[0]
    start = time.process_time()
    samples = TrainSet(cleaned, (64, 64))
    print(f"samples made in {time.process_time() - start:.1f} s of the processor")
    loader = DataLoader(
        samples, 32, sampler=EpochSampler(len(samples)), num_workers=workers, collate_fn=collate,
        persistent_workers=True, worker_init_fn=worker_init,
    )  # fmt: skip
    batches, last = iter(loader), len(loader)
    start = time.perf_counter()
    for number in range(1, last + 1):
        next(batches)
        if number in (8 * workers, last):
            own = [memory_of(process.pid) for process in batches._workers]
            each = ", ".join(f"{dirty:.0f}/{share:.0f}" for dirty, share in own)
            total = sum(share for _, share in [*own, memory_of(os.getpid())])
            print(
                f"after {number} of {last} batches, {time.perf_counter() - start:.0f} s: MB that "
                f"are private and changed / shared ones in parts: {each}; all: {total:.0f}",
                flush=True,
            )


def memory_of(process: int) -> tuple[float, float]:
    """Returns what a process has changed for itself, and its part of all it has, in MB."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    values = {line.split(":")[0]: float(line.split()[1]) / 1000 for line in lines}
    return values["Private_Dirty"], values["Pss"]


def picture() -> bytes:
    """Returns a grey JPEG file of 640x480."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (640, 480), (90, 120, 100)).save(file, "jpeg", quality=30)
    return file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, help="measure this file alone")
    parser.add_argument("--folder", type=Path, help="keep what is drawn in this folder")
    parser.add_argument("--kinds", nargs="+", choices=POINTS, default=list(POINTS))
    parser.add_argument("--workers", type=int, default=0, help="processes that load pictures")
    given = parser.parse_args()
    if given.file:
        measure(given.file, given.workers)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        for kind in given.kinds:
            path = draw(folder, kind, picture() if given.workers else b"")
            own = ["--file", str(path), "--workers", str(given.workers)]
            subprocess.run([sys.executable, __file__, *own], check=True)


if __name__ == "__main__":
    main()
