"""Peak memory of one training step, with and without recomputing activations, each by itself.

Everything that a run holds is there: weights, gradients, the optimiser's two moments, the moving
average. What is printed is the most that the process had in memory, that before the step (with
gradients, moments and average still to come) and the time of the step.

    python benchmarks/train_memory.py --model triplets_hourglass104 --size 511 --batch 1

Batch norm needs more than one cell of the coarsest map: a single image has at least 255 pixels.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import torch
from torch import nn
from train_step import random_target

from heatpoint import zoo
from heatpoint.networks.hourglasses import DetectionHourglass
from heatpoint.training.optimize import Ema, build_optimizer

GIB = 2**20  # getrusage counts in KiB


def peak() -> float:
    """Returns the most memory in GiB that this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIB


def step(model: str, size: int, batch: int, recompute: bool) -> None:
    """Takes one step, and prints what it needed."""
    torch.manual_seed(0)
    detector = zoo.build(model, [str(number) for number in range(80)])
    network, codec = detector.network.to(memory_format=torch.channels_last).train(), detector.codec
    if recompute:
        assert isinstance(network.backbone, DetectionHourglass)
        network.backbone.recompute()
    optimizer, average = build_optimizer(network, "adamw", 1e-4), Ema(network, 0.9998)
    images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8)
    before, start = peak(), time.process_time()
    encoded = codec.encode([random_target(size, 80) for _ in range(batch)], (size, size))
    losses = [codec.loss(maps, encoded) for maps in network(images)]
    torch.stack([torch.stack(list(loss.values())).sum() for loss in losses]).sum().backward()
    nn.utils.clip_grad_norm_(network.parameters(), 35.0)
    optimizer.step()
    average.update()
    print(
        f"{model}, {size} px, batch {batch}, {'recomputed' if recompute else 'kept'}: peak "
        f"{peak():.2f} GiB, before the step {before:.2f} GiB, "
        f"{time.process_time() - start:.0f} s of processor time"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="triplets_hourglass104")
    parser.add_argument("--size", type=int, default=511)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--recompute", choices=("yes", "no", "both"), default="both")
    chosen = parser.parse_args()
    if chosen.recompute != "both":
        step(chosen.model, chosen.size, chosen.batch, chosen.recompute == "yes")
        return
    for word in ("yes", "no"):  # a process never has less memory than once before
        subprocess.run([sys.executable, *sys.argv, "--recompute", word], check=True)


if __name__ == "__main__":
    main()
