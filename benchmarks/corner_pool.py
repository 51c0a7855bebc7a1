"""Times corner pooling of (2, 128, 128, 128) beside flips and ``cummax``, forward and both ways.

Run with ``python benchmarks/corner_pool.py``. Both ways take turns, so that a busy machine slows
both; the best of all turns is printed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor

from heatpoint.layers.corner_pool import Direction, corner_pool


def cummax(features: Tensor, direction: Direction) -> Tensor:
    axis = -2 if direction in ("top", "bottom") else -1
    if direction in ("bottom", "right"):
        return features.cummax(axis).values
    return features.flip(axis).cummax(axis).values.flip(axis)


def timed(pool: Callable[[Tensor, Direction], Tensor], features: Tensor, way: Direction) -> float:
    start = time.perf_counter()
    pooled = pool(features, way)
    if features.requires_grad:
        pooled.backward(features.detach())
        features.grad = None
    return 1e3 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    drawn = torch.randn(2, 128, 128, 128, generator=torch.Generator().manual_seed(0))
    for layout in (torch.contiguous_format, torch.channels_last):
        for learns in (False, True):
            features = drawn.contiguous(memory_format=layout).detach().requires_grad_(learns)
            for direction in get_args(Direction):
                best = {"heatpoint": float("inf"), "cummax": float("inf")}
                for _ in range(options.turns):
                    for name, pool in (("heatpoint", corner_pool), ("cummax", cummax)):
                        best[name] = min(best[name], timed(pool, features, direction))
                print(
                    f"{str(layout)[6:]:18} {'both ways' if learns else 'forward':9} {direction:6}"
                    f"  heatpoint {best['heatpoint']:7.1f} ms  cummax {best['cummax']:7.1f} ms"
                )


if __name__ == "__main__":
    main()
