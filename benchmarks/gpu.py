"""Training and prediction of zoo entries on a GPU: images per second and memory, way by way.

Every line is the median of several steps behind a warm-up, on pixels that already lie on the GPU:
the network, its targets and its loss are measured, not the loader. Ways: ``fp32``, whose
convolutions use TF32 (PyTorch's default), ``bf16`` (autocast), ``+last`` (channels last), ``+muon``
(Muon instead of AdamW) and ``+compile`` (torch.compile of the network). Prediction runs the copy
that ``predict`` makes, decoding included, for one image and for a batch; ``graph`` replays it as a
CUDA graph. Entries that this version lacks are named and left out. Behind the networks come, by the
scripts of those names, ``corner_pool.py``, ``deformable.py`` (single layers) and ``loader.py``: how
many samples the loading processes of a plan make.

    python benchmarks/gpu.py > gpu.md
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from heatpoint import zoo
from heatpoint.codecs import Target
from heatpoint.data.skeleton import SKELETONS
from heatpoint.errors import HeatpointError
from heatpoint.networks.fast import fast
from heatpoint.training.optimize import Ema, Name, build_optimizer
from heatpoint.zoo.detector import Detector

ENTRIES = (
    ("centernet_dla34", 512, 32),
    ("centernet_dla34_plain", 512, 32),
    ("centernet_resnet18", 512, 32),
    ("centernet_resdcn18", 512, 32),
    ("ttfnet_resnet18", 512, 32),
    ("centerpose_dla34", 512, 32),
    ("centernet_mobilenetv2", 384, 64),
    ("centernet_tiny", 384, 64),
    ("centernet_hourglass104", 512, 8),
    ("cornernet_hourglass104", 511, 8),
    ("pose_resnet50", 256, 64),
    ("hourglass_8stack", 256, 16),
)
"""Model, side of the input, batch."""

WAYS = (
    *("train fp32", "train bf16", "train bf16+last", "train bf16+last+muon"),
    *("train bf16+last+compile", "predict fp32", "predict bf16", "predict bf16 graph"),
)
PARTS = (
    ("corner_pool.py", "--device", "cuda", "--batch", "8", "--turns", "6"),
    ("corner_pool.py", "--device", "cuda", "--batch", "8", "--turns", "6", "--precision", "bf16"),
    ("deformable.py", "--device", "cuda", "--batch", "16", "--turns", "5", "--precision", "bf16"),
    ("loader.py", "--workers", "8"),
)
"""What is measured behind the networks."""

COMPILED = ("centernet_dla34", "centernet_resnet18", "centernet_mobilenetv2")
"""Models that are worth the minutes that compiling takes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--minutes", type=float, default=5.5, help="for networks: later ones are left out"
    )
    parser.add_argument("--models", nargs="*", help="only these, and no layers and loaders")
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=WAYS, help="only these")
    parser.add_argument("--steps", type=int, default=8)
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("there is no GPU that PyTorch can use")
    end = time.monotonic() + 60 * chosen.minutes
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    print("| model | input | batch | way | images/s | GiB at most |\n|---|---|---|---|---|---|")
    for name, side, batch in ENTRIES:
        if chosen.models and name not in chosen.models:
            continue
        if time.monotonic() > end:
            print(f"| {name} | left out: the time was over | | | | |")
            continue
        ways = [way for way in chosen.ways if "compile" not in way or name in COMPILED]
        for line in lines(name, side, batch, ways, chosen.steps):
            print(line, flush=True)
    for script, *words in () if chosen.models else PARTS:
        print(f"\n`python benchmarks/{script} {' '.join(words)}`\n", flush=True)
        path = Path(__file__).with_name(script)
        subprocess.run([sys.executable, path, *words], check=False)


def lines(name: str, side: int, batch: int, ways: Sequence[str], steps: int) -> Iterator[str]:
    """Yields the table's rows of one entry."""
    for way in ways:
        for count in (batch,) if way.startswith("train") else (1, batch):
            torch.compiler.reset()
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            try:
                detector = built(name)
                step = (training if way.startswith("train") else predicting)(
                    detector, way.split(" ", 1)[1], side, count
                )
                seconds = timed(step, steps)
                rate, memory = count / seconds, torch.cuda.max_memory_allocated() / 2**30
                said = f"{rate:.0f}" if count > 1 else f"{1000 * seconds:.1f} ms"
                yield f"| {name} | {side} | {count} | {way} | {said} | {memory:.1f} |"
            except HeatpointError as error:
                yield f"| {name} | {error} | | | | |"
                return
            except Exception as error:  # one way that fails must not hide the others
                reason = " ".join(str(error).split())[:120]
                yield f"| {name} | {side} | {count} | {way} | {type(error).__name__}: {reason} | |"


def built(name: str) -> Detector:
    """Returns an untrained detector of 80 classes, or of people with COCO's joints."""
    torch.manual_seed(0)
    joints = zoo.families.learns_joints(name)
    names = ("person",) if joints else tuple(str(index) for index in range(80))
    return zoo.build(name, names, skeleton=SKELETONS["coco17"] if joints else None)


def timed(step: Callable[[], object], steps: int) -> float:
    """Returns the median seconds of a step, each of which is waited for."""
    times = []
    for turn in range(steps + 3):
        torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        torch.cuda.synchronize()
        if turn >= 3:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def training(detector: Detector, way: str, side: int, batch: int) -> Callable[[], None]:
    """Returns one update: encode, forward, loss, backward, optimiser and moving average."""
    last = torch.channels_last if "last" in way else torch.contiguous_format
    network = detector.network.cuda().to(memory_format=last).train()
    name: Name = "muon" if "muon" in way else "adamw"
    optimizer, ema = build_optimizer(network, name, 1e-4, 0.01), Ema(network, 0.9998)
    run = torch.compile(network) if "compile" in way else network
    images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device="cuda")
    images = images.contiguous(memory_format=last)
    targets = [target(detector, side).to("cuda") for _ in range(batch)]

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        encoded = detector.codec.encode(targets, (side, side))
        half = torch.autocast("cuda", torch.bfloat16) if "bf16" in way else nullcontext()
        with half:
            stacks = run(images)
        terms = [term for maps in stacks for term in detector.codec.loss(maps, encoded).values()]
        torch.stack(terms).sum().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 35.0)
        optimizer.step()
        ema.update()

    return step


def predicting(detector: Detector, way: str, side: int, batch: int) -> Callable[[], object]:
    """Returns one forward pass of the copy for inference with decoding."""
    precision = "fp32" if way == "fp32" else "bf16"
    network = fast(detector.network, precision, "cuda")
    images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device="cuda")

    def step() -> dict[str, Tensor]:
        with torch.inference_mode():
            return detector.codec.decode(network(images)[-1])

    if "graph" not in way:
        return step
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def target(detector: Detector, side: int) -> Target:
    """Returns seven random objects, with joints inside their boxes where the codec learns some."""
    crops = detector.codec.view.asks
    count = 1 if crops else 7
    start = torch.rand(count, 2) * side * 0.6
    sides = 4 + torch.rand(count, 2) * side * 0.35
    boxes, labels = (
        torch.cat((start, start + sides), 1),
        torch.randint(len(detector.names), (count,)),
    )
    if detector.skeleton is None:
        return Target(boxes, labels)
    places = start[:, None] + torch.rand(count, len(detector.skeleton.joints), 2) * sides[:, None]
    return Target(boxes, labels, torch.cat((places, torch.full_like(places[..., :1], 2)), 2))


if __name__ == "__main__":
    main()
