"""One training step of ours against the same network trained the usual way.

The usual way: NCHW, dense targets drawn box by box with numpy, sigmoid and clamp, one more pass
over dense masks for sizes, Adam without fusing. Rounds alternate, so that a busy machine hurts
both; what counts is the ratio of the medians.

    python benchmarks/train_step.py --model centernet_resnet18 --size 256 --batch 4
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from heatpoint import zoo
from heatpoint.codecs import Target
from heatpoint.training.optimize import Ema, build_optimizer
from heatpoint.zoo.detector import Detector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="centernet_resnet18")
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    detector = zoo.build(chosen.model, [str(i) for i in range(chosen.classes)])
    images = torch.randint(0, 256, (chosen.batch, 3, chosen.size, chosen.size), dtype=torch.uint8)
    targets = [random_target(chosen.size, chosen.classes) for _ in range(chosen.batch)]
    steps = {
        "ours": _ours(detector, images, targets),
        "usual": _usual(copy.deepcopy(detector), images, targets),
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(chosen.rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn:  # the first one warms up
                times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        print(f"{name:<6} {1000 * median:8.1f} ms  {chosen.batch / median:6.1f} images/s")
    print(f"usual / ours {medians['usual'] / medians['ours']:.2f}")


def random_target(size: int, classes: int) -> Target:
    """Returns seven boxes in a square of so many pixels."""
    start = torch.rand(7, 2) * size * 0.6
    sides = 4 + torch.rand(7, 2) * size * 0.35
    return Target(torch.cat((start, start + sides), 1), torch.randint(classes, (7,)))


def _ours(detector: Detector, images: Tensor, targets: list[Target]) -> Callable[[], None]:
    network = detector.network.to(memory_format=torch.channels_last).train()
    optimizer = build_optimizer(network, "adamw", 1e-4, 0.01)
    ema = Ema(network, 0.9998)
    size = (images.shape[2], images.shape[3])

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        encoded = detector.codec.encode(targets, size)
        maps = network(images.contiguous(memory_format=torch.channels_last))[-1]
        torch.stack(list(detector.codec.loss(maps, encoded).values())).sum().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 35.0)
        optimizer.step()
        ema.update()

    return step


def _usual(detector: Detector, images: Tensor, targets: list[Target]) -> Callable[[], None]:
    network = detector.network.train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    averaged = copy.deepcopy(network)
    side, classes = images.shape[2] // 4, detector.codec.classes

    def step() -> None:
        optimizer.zero_grad()
        heat, values, mask = (torch.from_numpy(a) for a in _dense(targets, classes, side))
        maps = network(images)[-1]
        p = maps["heatmap"].sigmoid().clamp(1e-4, 1 - 1e-4)
        positive, negative = heat.eq(1).float(), heat.lt(1).float()
        count = positive.sum().clamp(min=1)
        gain = (p.log() * (1 - p) ** 2 * positive).sum()
        waste = ((1 - p).log() * p**2 * (1 - heat) ** 4 * negative).sum()
        found = torch.cat((maps["size"], maps["offset"]), 1)
        regress = ((found - values).abs() * mask).sum() / count
        (regress - (gain + waste) / count).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 35.0)
        optimizer.step()
        with torch.no_grad():
            for old, new in zip(averaged.parameters(), network.parameters(), strict=True):
                old.mul_(0.9998).add_(new, alpha=0.0002)

    return step


def _dense(targets: list[Target], classes: int, side: int) -> tuple[np.ndarray, ...]:
    heat = np.zeros((len(targets), classes, side, side), np.float32)
    values = np.zeros((len(targets), 4, side, side), np.float32)
    mask = np.zeros((len(targets), 1, side, side), np.float32)
    y, x = np.ogrid[:side, :side]
    for i, target in enumerate(targets):
        for box, label in zip(target.boxes.numpy() / 4, target.labels.tolist(), strict=True):
            width, height = box[2] - box[0], box[3] - box[1]
            cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            column, row = int(cx), int(cy)
            sigma = max(1.0, 0.1 * min(width, height))
            blob = np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * sigma**2))
            np.maximum(heat[i, label], blob, out=heat[i, label])
            values[i, :, row, column] = width, height, cx - column, cy - row
            mask[i, 0, row, column] = 1
    return heat, values, mask


if __name__ == "__main__":
    main()
