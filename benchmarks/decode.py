"""Times the decoding of 80 x 128 x 128 maps (K = 100) beside the published order of steps.

Then that of small models' maps, for 100 and 500 boxes, with and without a heatmap of sides.
Run with ``python benchmarks/decode.py``. Both ways take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from heatpoint.codecs import Maps, Target
from heatpoint.codecs.center import CenterCodec


def published(maps: Maps, count: int = 100) -> Tensor:
    """Decodes as the released program does: sigmoid, pooling, top-k per class, top-k of those."""
    heat = maps["heatmap"].sigmoid()
    batch, classes, _, width = heat.shape
    heat = heat * (F.max_pool2d(heat, 3, 1, 1) == heat).float()
    scores, cells = heat.view(batch, classes, -1).topk(count)
    scores, best = scores.view(batch, -1).topk(count)
    cells = cells.view(batch, -1).gather(1, best)
    index = cells.unsqueeze(1).expand(-1, 2, -1)
    size = maps["size"].flatten(2).gather(2, index)
    offset = maps["offset"].flatten(2).gather(2, index)
    center = torch.stack((cells % width, cells // width), 1) + offset
    boxes = torch.cat((center - size / 2, center + size / 2), 1).transpose(1, 2)
    return torch.cat((boxes, scores[..., None], (best // count)[..., None]), -1)


def scenes(codec: CenterCodec, generator: torch.Generator) -> dict[str, Maps]:
    """Draws maps as of an untrained network (noise) and of a trained one (blobs and noise)."""
    noise = torch.randn(1, codec.classes, 128, 128, generator=generator)
    center = torch.rand(40, 2, generator=generator) * 512
    sides = torch.exp(torch.rand(40, 2, generator=generator) * 3.4 + 2.3)
    boxes = torch.cat((center - sides / 2, center + sides / 2), 1).clamp(0, 512)
    labels = torch.randint(0, codec.classes, (40,), generator=generator)
    encoded = codec.encode([Target(boxes, labels)], (512, 512))
    rest = {name: values for name, values in codec.ideal(encoded).items() if name != "heatmap"}
    blobs = torch.logit(encoded.preview() * 0.8, eps=1e-3) + 0.5 * noise
    return {"noise": {"heatmap": noise - 2.19, **rest}, "blobs": {"heatmap": blobs, **rest}}


def in_turns(ways: dict[str, Callable[[], object]], turns: int = 60) -> str:
    """Runs both ways in turns; returns their medians, least times and the ratio of the medians."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(turns):
        for way, decode in ways.items():
            start = time.perf_counter()
            decode()
            if turn >= 10:
                times[way].append(1e3 * (time.perf_counter() - start))
    middle = [statistics.median(values) for values in times.values()]
    said = [
        f"{way} {each:7.2f} ms (best {min(times[way]):6.2f})"
        for way, each in zip(times, middle, strict=True)
    ]
    return f"{' '.join(said)}  ratio of medians {middle[1] / middle[0]:.2f}"


def small(count: int, generator: torch.Generator) -> dict[str, Callable[[], object]]:
    """Returns how ``count`` boxes are read, with and without a heatmap of sides."""
    codec = CenterCodec(
        3, measure="sides", size_region=1.0, neighbours=2, side_heatmap=True, max_detections=count
    )
    maps = {
        spec.name: torch.randn(1, spec.channels, 128, 128, generator=generator)
        for spec in codec.maps
    }
    maps["sides"] = 3 + 0.3 * maps["sides"]  # logarithmic beyond a cell
    plain = replace(codec, side_heatmap=False)
    return {"with sides": lambda: codec.decode(maps), "without": lambda: plain.decode(maps)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    codec, generator = CenterCodec(80), torch.Generator().manual_seed(0)
    for name, maps in scenes(codec, generator).items():
        for layout in (torch.contiguous_format, torch.channels_last):
            laid = {key: values.contiguous(memory_format=layout) for key, values in maps.items()}
            ways: dict[str, Callable[[], object]] = {
                "heatpoint": partial(codec.decode, laid),
                "published": partial(published, laid),
            }
            print(f"{name:6} {str(layout)[6:]:18} {in_turns(ways)}")
    for count in (100, 500):
        print(f"small, {count} boxes        {in_turns(small(count, generator))}")


if __name__ == "__main__":
    main()
