"""One training step of ours, of the same network trained the usual way, and of other programs.

The usual way: NCHW, dense targets drawn box by box with numpy, sigmoid and clamp, one more pass
over dense masks for sizes, Adam without fusing. Each contender is a process of its own; they take
their steps in turn, so that a busy machine hurts all alike; what counts is the ratio of medians.

    python benchmarks/train_step.py centernet_resnet18 centernet_resnet18:usual --batch 4
    python benchmarks/train_step.py centernet_tiny centernet_mobilenetv2:4 --peer "COMMAND"

A contender is a model, with the stride up to which it is frozen and the arithmetic, which is the
one that a plan takes, as is the optimiser: centernet_mobilenetv2:4:fp32. The command of a peer lies
outside of this project. It prints "ready", then takes a step of the same batch for each line it
reads and prints its wall and its processor time in seconds; --size, --batch, --threads and
--classes are added to it.
"""

from __future__ import annotations

import argparse
import copy
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from heatpoint import zoo
from heatpoint.codecs import Target
from heatpoint.networks.lean import lean
from heatpoint.networks.strided import quicken_strided
from heatpoint.planning.learning import SMALL
from heatpoint.system import memory_kept
from heatpoint.training.optimize import Ema, build_optimizer, freeze
from heatpoint.training.processes import native_precision
from heatpoint.zoo.detector import Detector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contenders", nargs="*", default=["centernet_resnet18"])
    parser.add_argument("--peer", action="append", default=[], help="command of another program")
    parser.add_argument("--classes", type=int, default=6)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve(chosen)
        return
    numbers = [
        *(f"--size {chosen.size} --batch {chosen.batch}").split(),
        *(f"--threads {chosen.threads} --classes {chosen.classes}").split(),
    ]
    own = [sys.executable, __file__, "--serve"]
    commands = {name: [*own, name, *numbers] for name in chosen.contenders}
    commands |= {peer: [*shlex.split(peer), *numbers] for peer in chosen.peer}
    race(commands, chosen.rounds, chosen.batch)


def race(commands: dict[str, list[str]], rounds: int, batch: int) -> None:
    """Lets the contenders take turns, and prints their medians; the last one is the measure."""
    running = {
        name: subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name, command in commands.items()
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in running}
    for process in running.values():
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for turn in range(rounds + 2):
        for name, process in running.items():
            assert process.stdin is not None
            assert process.stdout is not None
            print(file=process.stdin, flush=True)
            wall, worked = map(float, process.stdout.readline().split())
            if turn > 1:  # the first ones warm up
                times[name].append((wall, worked))
    for process in running.values():
        process.communicate()
    *_, last = times
    measure = [statistics.median(column) for column in zip(*times[last], strict=True)]
    print("median images/s by wall and by processor time, and their ratio to the last contender")
    for name, pairs in times.items():
        medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
        speeds = "".join(f"{batch / median:8.1f}" for median in medians)
        ratios = "".join(f"{m / own:8.2f}" for m, own in zip(measure, medians, strict=True))
        print(f"{shlex.split(name)[-1]:<28}{speeds}{ratios}")


def serve(chosen: argparse.Namespace) -> None:
    """Takes a step for each line of the standard input, and prints its times."""
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    name, way, precision, *_ = [*chosen.contenders[0].split(":"), "", ""]
    detector = zoo.build(name, [str(i) for i in range(chosen.classes)])
    images = torch.randint(0, 256, (chosen.batch, 3, chosen.size, chosen.size), dtype=torch.uint8)
    targets = [random_target(chosen.size, chosen.classes) for _ in range(chosen.batch)]
    if way == "usual":
        answer(_usual(detector, images, targets))
        return
    with memory_kept():
        answer(_ours(detector, images, targets, int(way or 0), precision))


def answer(step: Callable[[], None]) -> None:
    """Takes a step for each line of the standard input."""
    print("ready", flush=True)
    for _ in sys.stdin:
        wall, worked = time.perf_counter(), time.process_time()
        step()
        print(time.perf_counter() - wall, time.process_time() - worked, flush=True)


def random_target(size: int, classes: int) -> Target:
    """Returns seven boxes in a square of so many pixels."""
    start = torch.rand(7, 2) * size * 0.6
    sides = 4 + torch.rand(7, 2) * size * 0.35
    return Target(torch.cat((start, start + sides), 1), torch.randint(classes, (7,)))


def _ours(
    detector: Detector, images: Tensor, targets: list[Target], stride: int, precision: str
) -> Callable[[], None]:
    halved = (precision or native_precision("cpu")) == "bf16"
    network = detector.network.to(memory_format=torch.channels_last).train()
    frozen = freeze(network.backbone, stride) if stride else []
    for norm in frozen:
        norm.eval()
    lean(network, frozen)
    if halved:
        quicken_strided(network)
    is_small = sum(each.numel() for each in network.parameters()) <= SMALL
    optimizer = build_optimizer(network, "muon" if is_small else "adamw", 1e-4, 0.01)
    ema = Ema(network, 0.9998)
    size = (images.shape[2], images.shape[3])

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        encoded = detector.codec.encode(targets, size)
        with torch.autocast("cpu", torch.bfloat16, halved):
            maps = network(images.contiguous(memory_format=torch.channels_last))[-1]
        maps = {name: values.float() for name, values in maps.items()}
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
