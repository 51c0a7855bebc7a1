"""Times encoding and loss, forward and backward, beside dense targets and a dense focal loss.

Run with ``python benchmarks/encode_loss.py``: 32 images of 80 classes, maps of 128 x 128, two
threads. Both ways take turns in one process for the time; for the memory each runs in a process of
its own, whose peak is compared with the level before the first step.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from heatpoint.codecs import Maps, Target
from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.gaussian import gaussian_radius

IMAGES, CLASSES, CELLS, STRIDE = 32, 80, 128, 4
SIZE = (CELLS * STRIDE, CELLS * STRIDE)


def draw_targets(count: int, seed: int = 0) -> list[Target]:
    """Draws ``count`` objects per image, with sides from 10 to 250 pixels, log-uniform."""
    generator = torch.Generator().manual_seed(seed)
    targets = []
    for _ in range(IMAGES):
        center = torch.rand(count, 2, generator=generator) * SIZE[0]
        sides = torch.exp(2.3 + 3.2 * torch.rand(count, 2, generator=generator))
        boxes = torch.cat((center - sides / 2, center + sides / 2), 1).clamp(0, SIZE[0])
        targets.append(Target(boxes, torch.randint(0, CLASSES, (count,), generator=generator)))
    return targets


def draw_maps() -> Maps:
    """Draws the maps of an untrained network."""
    generator = torch.Generator().manual_seed(1)
    heatmap = torch.randn(IMAGES, CLASSES, CELLS, CELLS, generator=generator).mul_(0.5).sub_(2.19)
    maps = {"heatmap": heatmap}
    for name in ("size", "offset"):
        maps[name] = torch.randn(IMAGES, 2, CELLS, CELLS, generator=generator)
    return {name: values.requires_grad_() for name, values in maps.items()}


def heatpoint_step(codec: CenterCodec, maps: Maps, targets: list[Target]) -> Tensor:
    """Encodes, computes the loss and its gradients with the library."""
    loss = torch.stack(list(codec.loss(maps, codec.encode(targets, SIZE)).values())).sum()
    loss.backward()
    return loss.detach()


def dense_step(codec: CenterCodec, maps: Maps, targets: list[Target]) -> Tensor:
    """Draws each blob into a dense map and computes the loss the obvious way."""
    heatmap = np.zeros((IMAGES, CLASSES, CELLS, CELLS), np.float32)
    images, cells, sizes, offsets = [], [], [], []
    for image, target in enumerate(targets):
        for box, label in zip(target.boxes.numpy() / STRIDE, target.labels.tolist(), strict=True):
            width, height = box[2] - box[0], box[3] - box[1]
            x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            column, row = min(int(x), CELLS - 1), min(int(y), CELLS - 1)
            sides = torch.tensor([[np.ceil(height), np.ceil(width)]], dtype=torch.float64)
            radius = int(gaussian_radius(sides, codec.radius, codec.overlap)[0, 0])
            steps = np.arange(-radius, radius + 1)
            line = np.exp(-(steps**2) / (2 * ((2 * radius + 1) / 6) ** 2))
            top, left = max(row - radius, 0), max(column - radius, 0)
            bottom, right = min(row + radius + 1, CELLS), min(column + radius + 1, CELLS)
            blob = np.outer(
                line[top - row + radius : bottom - row + radius],
                line[left - column + radius : right - column + radius],
            )
            part = heatmap[image, label, top:bottom, left:right]
            np.maximum(part, blob, out=part)
            images.append(image)
            cells.append((row, column))
            sizes.append((width, height))
            offsets.append((x - column, y - row))
    target_map = torch.from_numpy(heatmap)
    p = maps["heatmap"].sigmoid().clamp(1e-4, 1 - 1e-4)
    positive = target_map.eq(1).float()
    cost = (1 - p) ** 2 * p.log() * positive
    cost = cost + (1 - target_map) ** 4 * p**2 * (1 - p).log() * (1 - positive)
    loss = -cost.sum() / positive.sum().clamp(min=1)
    rows, columns = torch.tensor(cells).unbind(1)
    for name, values, weight in (("size", sizes, 0.1), ("offset", offsets, 1.0)):
        found = maps[name][torch.tensor(images), :, rows, columns]
        wanted = torch.from_numpy(np.asarray(values, np.float32))
        loss = loss + weight * (found - wanted).abs().sum() / (2 * len(images) + 1e-4)
    loss.backward()
    return loss.detach()


STEPS: dict[str, Callable[[CenterCodec, Maps, list[Target]], Tensor]] = {
    "heatpoint": heatpoint_step,
    "dense": dense_step,
}


def resident(field: str) -> float:
    """Returns VmRSS or VmHWM of this process in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def measure_memory(way: str, count: int) -> None:
    """Prints by how many MiB the peak of two steps exceeds the memory held before them."""
    maps, targets = draw_maps(), draw_targets(count)
    before = resident("VmRSS")
    for _ in range(2):
        for values in maps.values():
            values.grad = None
        STEPS[way](CenterCodec(CLASSES), maps, targets)
    print(resident("VmHWM") - before)


def measure_time(count: int, turns: int) -> dict[str, list[float]]:
    """Returns milliseconds of alternating steps."""
    codec, maps, targets = CenterCodec(CLASSES), draw_maps(), draw_targets(count)
    times: dict[str, list[float]] = {way: [] for way in STEPS}
    for turn in range(turns + 1):
        losses = {}
        for way, step in STEPS.items():
            for values in maps.values():
                values.grad = None
            start = time.perf_counter()
            losses[way] = float(step(codec, maps, targets))
            if turn:
                times[way].append(1e3 * (time.perf_counter() - start))
        if abs(losses["heatpoint"] / losses["dense"] - 1) > 1e-4:
            raise SystemExit(f"the two ways disagree: {losses}")
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", nargs=2, metavar=("WAY", "OBJECTS"), help="for inner use")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory:
        measure_memory(options.memory[0], int(options.memory[1]))
        return
    for count in (10, 50, 100):
        times = measure_time(count, options.turns)
        median = {way: statistics.median(values) for way, values in times.items()}
        peak = {}
        for way in STEPS:
            command = [sys.executable, __file__, "--threads", str(options.threads)]
            command += ["--memory", way, str(count)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            peak[way] = float(done.stdout)
        for way in STEPS:
            print(
                f"{count:4} objects {way:10} median {median[way]:7.0f} ms"
                f"  best {min(times[way]):7.0f} ms  peak memory {peak[way]:6.0f} MiB"
            )
        print(
            f"             ratio of medians {median['dense'] / median['heatpoint']:.1f},"
            f" of peaks {peak['dense'] / peak['heatpoint']:.1f}"
        )


if __name__ == "__main__":
    main()
