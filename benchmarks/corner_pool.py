"""Times corner pooling of (2, 128, 128, 128) beside flips with ``cummax``, and a loop of slices.

Run with ``python benchmarks/corner_pool.py``, on a GPU with ``--device cuda``. All ways take turns,
so that a busy machine slows all; medians are printed, the best in brackets, and how many times as
long the quickest other way takes. ``--processor-time`` counts what the process itself has used, for
a machine that others use too; it adds the threads up.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor

from heatpoint.networks.corner_pool import Direction, corner_pool

Pool = Callable[[Tensor, Direction], Tensor]


def cummax(features: Tensor, direction: Direction) -> Tensor:
    axis = -2 if direction in ("top", "bottom") else -1
    if direction in ("bottom", "right"):
        return features.cummax(axis).values
    return features.flip(axis).cummax(axis).values.flip(axis)


def slices(features: Tensor, direction: Direction) -> Tensor:
    axis = -2 if direction in ("top", "bottom") else -1
    lines = list(features.unbind(axis))
    if direction in ("top", "left"):
        lines.reverse()
    pooled = lines[:1]
    for line in lines[1:]:
        pooled.append(torch.maximum(pooled[-1], line))
    if direction in ("top", "left"):
        pooled.reverse()
    return torch.stack(pooled, axis)


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

WAYS: dict[str, Pool] = {"heatpoint": corner_pool, "cummax": cummax, "slices": slices}


def timed(
    pool: Pool, features: Tensor, given: Tensor, way: Direction, clock: Callable[[], float]
) -> float:
    if features.is_cuda:
        torch.cuda.synchronize()
    start = clock()
    pooled = pool(features, way)
    if features.requires_grad:
        pooled.backward(given)
        features.grad = None
    if features.is_cuda:
        torch.cuda.synchronize()
    return 1e3 * (clock() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--processor-time", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.processor_time else time.perf_counter
    generator = torch.Generator().manual_seed(0)
    shape, dtype = (options.batch, 128, 128, 128), DTYPES[options.precision]
    drawn, given = (
        torch.randn(shape, generator=generator).to(options.device, dtype) for _ in range(2)
    )
    for layout in (torch.contiguous_format, torch.channels_last):
        laid = given.contiguous(memory_format=layout)
        for learns in (False, True):
            features = drawn.contiguous(memory_format=layout).detach().requires_grad_(learns)
            for direction in get_args(Direction):
                times: dict[str, list[float]] = {name: [] for name in WAYS}
                for turn in range(options.turns + 1):
                    for name, pool in WAYS.items():
                        spent = timed(pool, features, laid, direction, clock)
                        if turn:
                            times[name].append(spent)
                middle = {name: statistics.median(values) for name, values in times.items()}
                quickest = min(middle[name] for name in WAYS if name != "heatpoint")
                print(
                    f"{str(layout)[6:]:17} {'both ways' if learns else 'forward':9} {direction:6}"
                    + "".join(f"  {n} {middle[n]:6.1f} ({min(times[n]):6.1f}) ms" for n in WAYS)
                    + f"  {quickest / middle['heatpoint']:4.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
