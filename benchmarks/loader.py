"""How many training samples one core makes: 640 x 480 JPEG to a 512 x 512 augmented uint8 tensor.

Run ``python benchmarks/loader.py``, for a phone's pictures with ``--photo 3000 4000 --size 256``.
The picture is drawn: smooth noise of four sizes, which a JPEG of quality 88 stores in about 80 kB,
like a photograph. ``--shards 300`` compares samples of so many files, in the order of training,
with the same from .tar files. ``--workers 8`` counts what so many loading processes give, by the
clock, as a GPU waits for them. Other programs disturb single runs, so processor time is measured,
and the fastest and the median of many are shown.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.augment import Augment
from heatpoint.data.dataset import TrainSet, collate, worker_init
from heatpoint.data.images import load_image
from heatpoint.data.order import Batches, EpochSampler
from heatpoint.data.readers import read
from heatpoint.data.shards import reading
from heatpoint.data.writers import write
from heatpoint.views import Whole, channels_first
from heatpoint.views.pictures import Picture


def photo_like(width: int = 640, height: int = 480) -> np.ndarray:
    """Returns a drawn (height, width, 3) uint8 picture with the spectrum of a photograph."""
    rng = np.random.default_rng(0)
    picture = np.full((height, width, 3), 120.0, np.float32)
    for cells, strength in ((4, 60), (16, 40), (64, 22), (320, 10)):
        noise = rng.normal(0, strength, (cells * 3 // 4, cells, 3)).astype(np.float32)
        picture += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture, 0, 255).astype(np.uint8)


def measure(step: Callable[[int], object], rounds: int) -> tuple[float, float]:
    """Returns the fastest and the median time of ``step(round)`` in milliseconds."""
    times = []
    for i in range(rounds):
        begin = time.process_time()
        step(i)
        times.append(1e3 * (time.process_time() - begin))
    return min(times), statistics.median(times)


def compare(number: int, photo: tuple[int, int], size: int) -> None:
    """Prints what samples cost from files and from shards, loaded as in training."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        pixels, rng, records = photo_like(*photo[::-1]), np.random.default_rng(1), []
        for i in range(number):
            path = Path(folder) / "files" / f"{i:06}.jpg"
            path.parent.mkdir(exist_ok=True)
            turned = np.roll(pixels, int(rng.integers(photo[1])), 1)
            cv2.imwrite(str(path), turned, [cv2.IMWRITE_JPEG_QUALITY, 88])
            boxes = rng.uniform((0, 0, 240, 240), (240, 240, 480, 480), (8, 4))
            records.append(ImageRecord(path, photo, boxes, np.zeros(8, np.int64), image_id=i))
        files = Annotations(("thing",), records, "drawn", (1,))
        write({"all": files}, "shards", Path(folder) / "shards")
        begin = time.process_time()
        shards = read(Path(folder) / "shards")
        taken = 1e6 * (time.process_time() - begin) / number
        print(f"{number} pictures of {photo[1]}x{photo[0]}; {taken:.0f} us each to read the shards")
        sets = {
            name: TrainSet(each, (size, size))
            for name, each in (("files", files), ("shards", shards))
        }
        sampler = EpochSampler(number)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            for name, samples in sets.items():
                begin, wall = time.process_time(), time.perf_counter()
                for place in sampler:
                    samples[place]
                spent, waited = time.process_time() - begin, time.perf_counter() - wall
                begin = time.process_time()
                for record in samples.annotations.images:
                    with reading(record.path) as stream:
                        stream.read()
                bare = 1e6 * (time.process_time() - begin) / number
                print(
                    f"{name:8}{number / spent:8.0f} samples per s of processor time, "
                    f"{number / waited:6.0f} by the clock; {bare:5.0f} us to read the bytes of one"
                )


def loading(workers: int, photo: tuple[int, int], size: int, batch: int = 16) -> None:
    """Prints how many samples loading processes give in a second, in batches."""
    number = 20
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        cv2.imwrite(str(path), photo_like(*photo[::-1]), [cv2.IMWRITE_JPEG_QUALITY, 88])
        boxes = np.random.default_rng(1).uniform((0, 0, 240, 240), (240, 240, 480, 480), (8, 4))
        record = ImageRecord(path, photo, boxes, np.zeros(8, np.int64))
        annotations = Annotations(("thing",), [record] * number, "drawn", (1,))
        for title, cached in (("decoded each time", 0), ("decoded once", 2**28)):
            loader = DataLoader(
                TrainSet(annotations, (size, size), cache_bytes=cached),  # type: ignore[arg-type]
                batch_sampler=Batches(EpochSampler(number), batch),
                num_workers=workers,
                collate_fn=collate,
                worker_init_fn=worker_init,
            )
            batches = iter(loader)
            for _ in range(2 * max(1, workers)):  # what lies ready, and each one's first
                next(batches)
            begin, count = time.perf_counter(), 0
            while time.perf_counter() - begin < 10:
                count += len(next(batches).indices)
            taken = time.perf_counter() - begin
            print(f"{workers} loading processes, {title}: {count / taken:.0f} samples per s")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures samples per second of one core.")
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--photo", type=int, nargs=2, default=(480, 640), help="height and width")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--shards", type=int, help="compare so many pictures in files and shards")
    parser.add_argument("--workers", type=int, help="let so many processes load, as in training")
    chosen = parser.parse_args()
    if chosen.workers is not None:
        loading(chosen.workers, tuple(chosen.photo), chosen.size)
        return
    if chosen.shards:
        compare(chosen.shards, tuple(chosen.photo), chosen.size)
        return
    rounds, (height, width), size = chosen.rounds, chosen.photo, (chosen.size, chosen.size)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        cv2.imwrite(str(path), photo_like(width, height), [cv2.IMWRITE_JPEG_QUALITY, 88])
        boxes = np.random.default_rng(1).uniform((0, 0, 240, 240), (240, 240, 480, 480), (8, 4))
        record = ImageRecord(path, (height, width), boxes, np.zeros(8, np.int64))
        annotations = Annotations(("thing",), [record], "drawn", (1,))
        augment, image, rng = Augment(), load_image(path), np.random.default_rng(2)
        train, cached = (TrainSet(annotations, size, cache_bytes=n) for n in (0, 2**26))
        view = augment.draw_map((height, width), size, rng).warp(image, size)
        (whole,) = Picture(size).looks((height, width))
        stages: dict[str, Callable[[int], object]] = {
            "read and decode": lambda i: load_image(path),
            "warp": lambda i: augment.draw_map((height, width), size, rng).warp(image, size),
            "colour": lambda i: augment.recolour(view, rng),
            "to tensor": lambda i: torch.from_numpy(channels_first(view)),
            "training sample": lambda i: train[i, 0],
            "training sample, cached": lambda i: cached[i, 0],
            "evaluation sample": lambda i: torch.from_numpy(whole.cut(Whole(load_image(path)))),
        }
        print(f"{path.stat().st_size / 1e3:.0f} kB JPEG, {rounds} rounds, one thread")
        print(f"{'stage':26}{'min ms':>8}{'median ms':>11}{'best per s':>12}{'median per s':>14}")
        for name, step in stages.items():
            least, middle = measure(step, rounds)
            print(f"{name:26}{least:8.2f}{middle:11.2f}{1e3 / least:12.0f}{1e3 / middle:14.0f}")


if __name__ == "__main__":
    main()
