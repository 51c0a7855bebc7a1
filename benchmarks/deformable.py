"""Times deformable convolution by torchvision's operator, by summed taps, and by grid_sample.

The layer alone at the shapes of DLA-34, training steps of ``centernet_dla34`` (network), or its
prediction as heatpoint runs it beside the network as it is, with the operator (predict):

    python benchmarks/deformable.py
    python benchmarks/deformable.py --device cuda --batch 1,4,16 --compile
    python benchmarks/deformable.py --part network --device cuda --batch 16 --compile
    python benchmarks/deformable.py --part predict --batch 1 --threads 1 --processor-time --export

All ways take turns, so that a busy machine slows all; medians are printed, how many times as quick
as the operator each is, and on CUDA the most memory. On a processor ``--processor-time`` counts
what the process itself has used, for a machine that others use too; it adds the threads up.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from heatpoint import zoo
from heatpoint.exporting.export import export
from heatpoint.inference.engines import open_engine
from heatpoint.inference.engines.torch import TorchEngine
from heatpoint.networks.deformable import TAPS, DeformConv, Way, by_operator, by_taps, set_way

SHAPES = ((64, 64, 128), (128, 64, 64), (256, 256, 32))
"""Channels in and out, and cells of a side."""


def by_grid(
    features: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """Computes the same by one ``grid_sample`` of nine taps below each other."""
    batch, channels, height, width = features.shape
    tap = torch.arange(TAPS, device=features.device)[:, None, None]
    rows = torch.arange(height, device=features.device)[:, None] + tap // 3 - 1
    columns = torch.arange(width, device=features.device) + tap % 3 - 1
    y, x = offset.unflatten(1, (TAPS, 2)).unbind(2)
    places = ((2 * (x + columns) + 1) / width - 1, (2 * (y + rows) + 1) / height - 1)
    grid = torch.stack(places, -1).flatten(1, 2)
    taps = functional.grid_sample(features, grid, align_corners=False)
    taps = taps.view(batch, channels, TAPS, height, width) * mask[:, None]
    product = weight.flatten(1) @ taps.view(batch, channels * TAPS, -1).to(weight.dtype)
    output = product.view(batch, -1, height, width)
    return output if bias is None else output + bias[:, None, None]


WAYS: dict[str, Way] = {"operator": by_operator, "taps": by_taps, "grid_sample": by_grid}

Step = Callable[[], object]


def measure(name: str, steps: dict[str, Step], options: argparse.Namespace, images: int) -> None:
    """Runs steps in turn and prints a line about each."""
    clock = time.process_time if options.processor_time else time.perf_counter
    cuda = options.device == "cuda"
    times: dict[str, list[float]] = {way: [] for way in steps}
    memory = dict.fromkeys(steps, 0)
    for turn in range(options.turns + 2):  # the first two warm up
        for way, step in steps.items():
            if cuda:
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            start = clock()
            step()
            if cuda:
                torch.cuda.synchronize()
                memory[way] = torch.cuda.max_memory_allocated()
            if turn >= 2:
                times[way].append(1e3 * (clock() - start))
    middle = {way: statistics.median(values) for way, values in times.items()}
    first = next(iter(middle.values()))
    for way, spent in middle.items():
        print(
            f"{name:44} {way:20} {spent:9.2f} ms ({min(times[way]):9.2f}) {first / spent:6.2f}"
            f" times {1e3 * images / spent:8.1f} images/s"
            + (f" {memory[way] / 2**20:8.0f} MiB" if cuda else ""),
            flush=True,
        )


def forms(way: Way, module: nn.Module, compiled: bool) -> dict[str, nn.Module]:
    """Returns a module that computes in one way, eager and, if asked for, compiled."""
    set_way(module, way)
    made = {"": module}
    if compiled:
        torch._dynamo.reset()
        made[" compiled"] = torch.compile(module)
    return made


def one_layer(shape: tuple[int, int, int], batch: int, options: argparse.Namespace) -> None:
    """Measures one layer forward, and forward and backward."""
    in_channels, out_channels, side = shape
    low = options.precision == "bf16"
    layers = {}
    for name, way in WAYS.items():
        torch.manual_seed(0)
        layer = DeformConv(in_channels, out_channels).to(options.device)
        nn.init.normal_(layer.offset.weight, std=1 / in_channels)
        nn.init.normal_(layer.offset.bias)  # type: ignore[arg-type]
        for form, each in forms(way, layer, options.compile).items():
            layers[name + form] = each
    features = torch.randn(batch, in_channels, side, side, device=options.device)
    features = features.to(memory_format=torch.channels_last)
    features = features.bfloat16() if low else features

    def forward(layer: nn.Module) -> Tensor:
        with torch.autocast(options.device, torch.bfloat16, enabled=low):
            output: Tensor = layer(features)
        return output

    def asked(layer: nn.Module) -> None:
        with torch.inference_mode():
            forward(layer)

    def learns(layer: nn.Module) -> None:
        forward(layer).float().square().mean().backward()

    for learning, step in ((False, asked), (True, learns)):
        features.requires_grad_(learning)
        name = f"{batch} x {in_channels}->{out_channels} {side}x{side} {options.precision} "
        steps = {way: partial(step, layer) for way, layer in layers.items()}
        measure(name + ("both ways" if learning else "forward"), steps, options, batch)


def whole_network(batch: int, options: argparse.Namespace) -> None:
    """Measures training steps of DLA-34, without the data's part."""
    low = options.precision == "bf16"
    images = torch.randint(0, 256, (batch, 3, options.size, options.size), dtype=torch.uint8)
    images = images.to(options.device).to(memory_format=torch.channels_last)

    def learns(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        with torch.autocast(options.device, torch.bfloat16, enabled=low):
            maps = network(images)[-1]
        loss = torch.stack([each.float().square().mean() for each in maps.values()]).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for compiled in (False, True)[: 1 + options.compile]:
        for name, way in WAYS.items():  # one after the other, lest one holds the other's memory
            torch.manual_seed(0)
            network = zoo.build(
                "centernet_dla34", [f"class {index}" for index in range(80)]
            ).network
            network = network.to(options.device).to(memory_format=torch.channels_last).train()
            made = list(forms(way, network, compiled).values())[-1]
            optimizer = torch.optim.Adam(network.parameters(), 1e-5)
            steps: dict[str, Step] = {
                name + " compiled" * compiled: partial(learns, made, optimizer)
            }
            title = f"DLA-34 step, {batch} x {options.size}x{options.size} {options.precision}"
            measure(title, steps, options, batch)
            del network, made, optimizer, steps


def predicting(batch: int, options: argparse.Namespace) -> None:
    """Measures DLA-34 as it predicts, eager with the operator and as heatpoint runs it."""
    torch.manual_seed(0)
    detector = zoo.build("centernet_dla34", [f"class {index}" for index in range(80)])
    images = torch.randint(0, 256, (batch, 3, options.size, options.size), dtype=torch.uint8)
    engine = TorchEngine(detector, device=options.device, precision=options.precision)
    network = detector.network.to(options.device).eval()
    set_way(network, by_operator)

    def eager() -> None:
        with torch.inference_mode():
            network(images.to(options.device))

    def ours() -> None:
        with torch.inference_mode():
            engine.maps(images)

    steps: dict[str, Step] = {"eager, operator": eager, "heatpoint": ours}
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("onnx", "xml") if options.export else ():
            path = Path(folder, f"model.{suffix}")
            export(detector, path, size=options.size, check=False)
            exported = open_engine(path, threads=options.threads, device=options.device)
            steps[exported.name] = partial(exported, images.numpy())
    measure(f"DLA-34, {batch} x {options.size}x{options.size}", steps, options, batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--part", default="layer", choices=("layer", "network", "predict"))
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--batch", default="1,4", help="sizes of batches")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--compile", action="store_true", help="also compiled")
    parser.add_argument("--export", action="store_true", help="predict by exported files too")
    parser.add_argument("--processor-time", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    named = torch.cuda.get_device_name() if options.device == "cuda" else "processor"
    print(f"{named}, {options.threads} threads, torch {torch.__version__}")
    for batch in map(int, options.batch.split(",")):
        if options.part == "network":
            whole_network(batch, options)
        elif options.part == "predict":
            predicting(batch, options)
        else:
            for shape in SHAPES:
                one_layer(shape, batch, options)


if __name__ == "__main__":
    main()
