"""Measures how exact the coordinates of small networks are, in pixels, by decoding and stride.

Run with ``python benchmarks/subpixel.py runs.jsonl --kind pose points --seeds 3``. Each run is
added to the file as it ends, and the table of all runs in it is printed at the end.

A picture of 64x64 pixels holds a blob, a disc and a corner of a checkerboard. Each is a function
symmetric about its point, with edges as a lens blurs them, and is sampled at the middles of pixels:
pixel i covers [i, i + 1), so its middle is at i + 0.5. No drawing rounds the point to anything.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from heatpoint.codecs import Maps, Target
from heatpoint.codecs.joint_maps import Refine, joint_peaks
from heatpoint.codecs.joints import JointCodec
from heatpoint.codecs.peaks import places_of
from heatpoint.codecs.points import PointCodec
from heatpoint.networks import Network
from heatpoint.zoo.makers import tiny_network

SIDE, SHAPES = 64, ("blob", "disc", "corner")
LENS = 0.6
"""Standard deviation in pixels of what a lens and a pixel's own size blur."""

PICTURES: dict[str, tuple[float, float]] = {"clean": (0, 0), "noisy": (12, 0), "blurred": (0, 1.5)}
"""Standard deviations of noise, of 255, and of further blur, in pixels."""


def draw(
    count: int, noise: Tensor, blur: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Returns pictures (B, 3, 64, 64) uint8 and the points (B, 3, 2) of their shapes, in pixels.

    Args:
        count: Number of pictures B.
        noise: (B,) standard deviation, of 255.
        blur: (B,) standard deviation in pixels, beyond the lens's.
        generator: Source of all that is drawn.
    """

    def drawn(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    quarter = torch.rand(count, 4, generator=generator).argsort(1)[:, :3]
    points = places_of(quarter, 2) * 32 + drawn(11, 21, 3, 2)
    away = torch.arange(SIDE) + 0.5 - points[..., None]  # (B, 3, 2, 64)
    x, y = away[:, :, 0, None, :], away[:, :, 1, :, None]
    distance = (x.square() + y.square()).sqrt()
    soft = (LENS**2 + blur.square())[:, None, None]
    edge = (2 * soft).sqrt()
    wide = drawn(1.5, 2.5, 1, 1).square() + soft
    blob = (-0.5 * distance[:, 0].square() / wide).exp()
    disc = 0.5 * torch.erfc((distance[:, 1] - drawn(3, 7, 1, 1)) / edge)
    turn = drawn(0, torch.pi, 1, 1)
    along = x[:, 2] * turn.cos() + y[:, 2] * turn.sin()
    across = y[:, 2] * turn.cos() - x[:, 2] * turn.sin()
    corner = torch.erf(along / edge) * torch.erf(across / edge)
    corner = corner * 0.5 * torch.erfc((distance[:, 2] - 8) / edge)
    level, sign = drawn(90, 165, 1, 1), (drawn(-1, 1, 3, 1, 1) > 0) * 2 - 1
    height = drawn(45, 80, 3, 1, 1) * sign
    grey = level + (height * torch.stack((blob, disc, corner), 1)).sum(1)
    grey += noise[:, None, None] * torch.randn(count, SIDE, SIDE, generator=generator)
    pictures = grey.round().clamp(0, 255).to(torch.uint8)
    return pictures[:, None].expand(-1, 3, -1, -1), points


def codec_of(kind: str, stride: int, sigma: float) -> JointCodec | PointCodec:
    """Returns what the networks learn: joints, with blobs ``sigma`` cells wide, or points."""
    if kind == "pose":
        return JointCodec(3, stride=stride, sigma=sigma)
    codec = PointCodec(3, stride, max_detections=16)
    return replace(codec, offset_weight=5.0) if kind == "points, offset weight 5" else codec


def target_of(points: Tensor, kind: str) -> Target:
    """Returns the points (3, 2) of one picture as a target."""
    if kind == "pose":
        joints = torch.cat((points, torch.full((3, 1), 2.0)), 1)
        return Target(torch.tensor([[0.0, 0, SIDE, SIDE]]), torch.zeros(1).long(), joints[None])
    return Target(torch.cat((points, points), 1), torch.arange(3), points=points[:, None])


def trained(kind: str, stride: int, sigma: float, steps: int, batch: int, seed: int) -> Network:
    """Returns a network that saw every kind of picture, each as often."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(1 + seed)
    codec = codec_of(kind, stride, sigma)
    network = tiny_network(codec, stride=stride)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps, pct_start=0.2)
    levels = torch.tensor(list(PICTURES.values()), dtype=torch.float32)
    for _ in range(steps):
        noise, blur = levels[torch.randint(0, len(levels), (batch,), generator=generator)].unbind(1)
        pictures, points = draw(batch, noise, blur, generator)
        encoded = codec.encode([target_of(own, kind) for own in points], (SIDE, SIDE))
        (maps,) = network(pictures)
        loss = torch.stack(list(codec.loss(maps, encoded).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    return network.eval()


def middle_of_mass(maps: Tensor, reach: int) -> Tensor:
    """Returns the mean place (B, J, 2) of the cells around the highest, weighted by their values.

    This is integral regression (Sun et al. 2018) in a window of 2 ``reach`` + 1 cells.
    """
    cell, _ = joint_peaks(maps, "none", 1.0)
    lines = []
    for axis, side in ((0, maps.shape[-1]), (1, maps.shape[-2])):
        cells = torch.arange(side)
        lines.append((cells - cell[..., axis, None]).abs() <= reach)
    inside = lines[1][..., None] & lines[0][..., None, :]
    weight = maps.clamp(min=0) * inside
    weight = weight / weight.sum((-2, -1), keepdim=True).clamp(min=1e-9)
    x = (weight.sum(-2) * torch.arange(maps.shape[-1])).sum(-1)
    y = (weight.sum(-1) * torch.arange(maps.shape[-2])).sum(-1)
    return torch.stack((x, y), -1)


def answers(kind: str, stride: int, sigma: float, maps: Maps) -> dict[str, Tensor]:
    """Returns the points (B, 3, 2) in pixels by every decoding."""
    heat = maps["joints"] if kind == "pose" else maps["heatmap"].sigmoid()
    sigma = sigma if kind == "pose" else 5 / 6  # points: that of a blob that reaches two cells
    ways: dict[str, Callable[[], Tensor]] = {
        name: lambda name=name: joint_peaks(heat, name, sigma)[0] for name in get_args(Refine)
    }
    for reach in (1, 2, 3):
        ways[f"integral {2 * reach + 1}x{2 * reach + 1}"] = lambda reach=reach: middle_of_mass(
            heat, reach
        )
    found = {name: (way() + 0.5) * stride for name, way in ways.items()}
    if kind != "pose":
        cell, _ = joint_peaks(heat, "none", sigma)
        index = (cell[..., 1] * heat.shape[-1] + cell[..., 0]).long()
        inside = maps["offset"].flatten(2).gather(2, index[:, None].flatten(2).expand(-1, 2, -1))
        found["offset map"] = (cell + inside.transpose(1, 2)) * stride
    return found


def measured(
    kind: str, stride: int, sigma: float, steps: int, batch: int, seed: int
) -> dict[str, Any]:
    """Trains one network and returns its row: median errors by kind of picture and decoding."""
    start = time.process_time()
    network = trained(kind, stride, sigma, steps, batch, seed)
    seconds = time.process_time() - start
    errors: dict[str, dict[str, float]] = {}
    shapes: dict[str, dict[str, list[float]]] = {}
    for name, (noise, blur) in PICTURES.items():
        generator = torch.Generator().manual_seed(12345)
        ones = torch.ones(200)
        pictures, points = draw(200, noise * ones, blur * ones, generator)
        with torch.inference_mode():
            (maps,) = network(pictures)
        off = {
            way: (found - points).norm(dim=-1)
            for way, found in answers(kind, stride, sigma, maps).items()
        }
        errors[name] = {way: float(each.median()) for way, each in off.items()}
        shapes[name] = {way: each.median(0).values.tolist() for way, each in off.items()}
    row = {"kind": kind, "stride": stride, "sigma": sigma}
    row |= {"steps": steps, "batch": batch, "seed": seed}
    return {**row, "seconds": seconds, "errors": errors, "shapes": shapes}


def show(rows: list[dict[str, Any]]) -> None:
    """Prints the table: the mean over seeds of the median errors."""
    print("| learns | stride | decoding | " + " | ".join(PICTURES) + " |")
    print("|---" * (3 + len(PICTURES)) + "|")
    for kind, stride in sorted({(row["kind"], row["stride"]) for row in rows}):
        own = [row["errors"] for row in rows if (row["kind"], row["stride"]) == (kind, stride)]
        for way in own[0]["clean"]:
            means = [statistics.mean(each[name][way] for each in own) for name in PICTURES]
            print(f"| {kind} | {stride} | {way} | " + " | ".join(f"{m:.3f}" for m in means) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--kind", nargs="*", default=[])
    parser.add_argument("--stride", type=int, nargs="*", default=[4, 2])
    parser.add_argument("--sigma", type=float, default=1.5, help="cells; of joints' blobs")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(given.seeds):
        for kind in given.kind:
            for stride in given.stride:
                row = measured(kind, stride, given.sigma, given.steps, given.batch, seed)
                with given.runs.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    show([json.loads(line) for line in given.runs.read_text().splitlines()])


if __name__ == "__main__":
    main()
