"""How much a network computes, and how much this processor could at best."""

from __future__ import annotations

import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from heatpoint.networks.network import Network

SIDE = 2048
_TIMES = 5


def count_operations(network: Network, size: tuple[int, int]) -> int:
    """Returns the floating point operations of one image, a multiplication and an addition as two.

    Counted are matrix products and convolutions, in which practically all the work is.

    Args:
        network: In evaluation mode.
        size: Input (height, width) in pixels.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros((1, 3, *size), dtype=torch.uint8))
    return int(counter.get_total_flops())


def measure_peak(dtype: torch.dtype) -> float:
    """Returns the operations per second of the product of two large matrices, the best of some."""
    one = torch.rand((SIDE, SIDE), generator=torch.Generator().manual_seed(0)).to(dtype)
    best = float("inf")
    for _ in range(_TIMES):
        start = time.perf_counter()
        torch.matmul(one, one)
        best = min(best, time.perf_counter() - start)
    return 2 * SIDE**3 / best
