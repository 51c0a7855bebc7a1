"""How long a COCO file of the size of train2017 takes to read: 118,000 images, 860,000 boxes.

Run ``python benchmarks/coco_reading.py``. The files are drawn by chance, without polygons, with
some of 26 points and of four; every picture exists, empty, in one of ten folders. Each file is read
by a process of its own, whose highest memory is told. Other programs disturb single runs: the
processor's seconds are shown beside those of the clock.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

IMAGES, OBJECTS, CLASSES = 118_000, 860_000, 80
POINTS = {"boxes": 0, "polygons": 26, "corners": 4}
LEANING = np.array([[0.2, 0], [1, 0.3], [0.8, 1], [0, 0.7]])


def draw(folder: Path, kind: str) -> Path:
    """Writes a file of a kind, and the pictures if they are not there; returns the file."""
    rng = np.random.default_rng(0)
    names = [f"part{n % 10}/{5 * n + 9:012d}.jpg" for n in range(IMAGES)]
    for name in names:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
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


def measure(path: Path) -> None:
    """Reads a file and prints what it took."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, help="measure this file alone")
    parser.add_argument("--folder", type=Path, help="keep what is drawn in this folder")
    parser.add_argument("--kinds", nargs="+", choices=POINTS, default=list(POINTS))
    given = parser.parse_args()
    if given.file:
        measure(given.file)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        for kind in given.kinds:
            path = draw(folder, kind)
            subprocess.run([sys.executable, __file__, "--file", str(path)], check=True)


if __name__ == "__main__":
    main()
