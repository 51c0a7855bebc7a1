"""Measures how exact the coordinates of small networks are, in pixels, by decoding and stride.

Run with ``python benchmarks/subpixel.py runs.jsonl --learns points joints --seeds 0 1``. Each run
is added to the file as it ends, and the table of all runs in it is printed at the end;
``--picture exact.png`` draws what the last network found.

A picture of 64x64 pixels holds a blob, a disc and a corner of a checkerboard. Each is a function
symmetric about its point, with edges as a lens blurs them, averaged over the area of each pixel:
pixel i covers [i, i + 1), so its middle is at i + 0.5. No drawing rounds the point to anything.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from heatpoint.codecs import Codec, Maps, Rows, Target
from heatpoint.codecs.joint_maps import JointEncoded, Refine, joint_peaks
from heatpoint.codecs.joints import JointCodec
from heatpoint.codecs.peaks import places_of
from heatpoint.codecs.points import PointCodec
from heatpoint.networks import Network
from heatpoint.training.optimize import Ema, Schedule
from heatpoint.zoo.makers import tiny_network, topdown

SIDE, SHAPES = 64, ("blob", "disc", "corner")
LENS = 0.6
"""Standard deviation in pixels of what a lens blurs."""

PICTURES: dict[str, tuple[float, float]] = {
    "clean": (0, 0),
    "noise 5": (5, 0),
    "noise 12": (12, 0),
    "blurred": (0, 1.5),
}
"""Standard deviations of noise, of 255, and of further blur, in pixels. The pictures are grey, so
that the noise of all three channels is the same."""


def scenes(
    count: int,
    blur: Tensor,
    generator: torch.Generator,
    nodes: int = 2,
    shift: tuple[float, float] = (0, 0),
) -> tuple[Tensor, Tensor]:
    """Returns grey pictures (B, 64, 64) without noise and the points (B, 3, 2) of their shapes.

    Args:
        count: Number of pictures B.
        blur: (B,) standard deviation in pixels, beyond the lens's.
        generator: Source of all that is drawn.
        nodes: Places on each axis of a pixel over which it is averaged, by Gauss's rule.
        shift: Pixels by which all points are moved right and down.
    """

    def drawn(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    quarter = torch.rand(count, 4, generator=generator).argsort(1)[:, :3]
    points = places_of(quarter, 2) * 32 + drawn(11, 21, 3, 2) + torch.tensor(shift)
    spread, disc_radius, turn = drawn(1.5, 2.5, 1, 1), drawn(3, 7, 1, 1), drawn(0, torch.pi, 1, 1)
    level, sign = drawn(90, 165, 1, 1), (drawn(-1, 1, 3, 1, 1) > 0) * 2 - 1
    height = drawn(45, 80, 3, 1, 1) * sign

    at, weight = (torch.tensor(each).float() for each in np.polynomial.legendre.leggauss(nodes))
    middles = torch.arange(SIDE)[:, None] + 0.5 + at / 2
    away = middles.flatten() - points[..., None]  # (B, 3, 2, 64 nodes)
    x, y = away[:, :, 0, None, :], away[:, :, 1, :, None]
    distance = (x.square() + y.square()).sqrt()
    soft = (LENS**2 + blur.square())[:, None, None]
    edge = (2 * soft).sqrt()
    blob = (-0.5 * distance[:, 0].square() / (spread.square() + soft)).exp()
    disc = 0.5 * torch.erfc((distance[:, 1] - disc_radius) / edge)
    along = x[:, 2] * turn.cos() + y[:, 2] * turn.sin()
    across = y[:, 2] * turn.cos() - x[:, 2] * turn.sin()
    corner = torch.erf(along / edge) * torch.erf(across / edge)
    corner = corner * 0.5 * torch.erfc((distance[:, 2] - 8) / edge)
    fine = (height * torch.stack((blob, disc, corner), 1)).sum(1)
    fine = fine.view(count, SIDE, nodes, SIDE, nodes)
    return level + torch.einsum("bynxm,n,m->byx", fine, weight / 2, weight / 2), points


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
    grey, points = scenes(count, blur, generator)
    grey = grey + noise[:, None, None] * torch.randn(count, SIDE, SIDE, generator=generator)
    pictures = grey.round().clamp(0, 255).to(torch.uint8)
    return pictures[:, None].expand(-1, 3, -1, -1), points


def unseen_pictures(noise: float, blur: float, count: int = 200) -> tuple[Tensor, Tensor]:
    """Returns pictures and points that no training saw."""
    generator, ones = torch.Generator().manual_seed(12345), torch.ones(count)
    return draw(count, noise * ones, blur * ones, generator)


def bound(noise: float, blur: float, count: int = 200) -> Tensor:
    """Returns errors (B, 3, 500) in pixels that no unbiased method can beat on average.

    They are drawn from the inverse of Fisher's information (Cramér and Rao). Rounding to whole
    grey values counts as noise of 1/12. All else that is unknown of a shape, its size or height,
    is no further loss: a shape is symmetric about its point.
    """
    blurs, step = blur * torch.ones(count), 0.05

    def shifted(x: float, y: float) -> Tensor:
        return scenes(count, blurs, torch.Generator().manual_seed(12345), shift=(x, y))[0]

    slope = torch.stack(
        (shifted(step, 0) - shifted(-step, 0), shifted(0, step) - shifted(0, -step)), 1
    ) / (2 * step)
    _, points = scenes(count, blurs, torch.Generator().manual_seed(12345))
    side = SIDE // 2
    own = slope.unfold(2, side, side).unfold(3, side, side).flatten(4)  # (B, 2, 2, 2, cells)
    quarter = (points // side).long()
    own = own[torch.arange(count)[:, None], :, quarter[..., 1], quarter[..., 0]]
    information = own @ own.mT / (noise**2 + 1 / 12)
    spread = torch.linalg.cholesky(torch.linalg.inv(information))
    normal = torch.randn(count, 3, 2, 500, generator=torch.Generator().manual_seed(0))
    return (spread @ normal).norm(dim=2)


@dataclass(frozen=True)
class IntegralCodec(JointCodec):
    """Joints by integral regression (Sun et al. 2018): a joint is the mean place of its map.

    The softmax of a map learns a blob of sum 1, and its mean the joint: L1, in cells.
    """

    def loss(self, maps: Maps, encoded: JointEncoded) -> dict[str, Tensor]:
        """Returns the cross-entropy of the blobs and five times the L1 error, in one."""
        logs = maps["joints"].flatten(2).log_softmax(-1)
        blobs = encoded.preview().flatten(2)
        blobs = blobs / blobs.sum(-1, keepdim=True)
        away = mean_place(logs.exp().view_as(maps["joints"])) - encoded.position
        return {"joints": -(blobs * logs).sum(-1).mean() + 5 * away.abs().mean()}


def mean_place(maps: Tensor, reach: int | None = None) -> Tensor:
    """Returns the mean place (B, J, 2) of cells, weighted by their values.

    Args:
        maps: (B, J, h, w), no value below 0.
        reach: Cells on each side of the highest that count; None for all.
    """
    if reach is not None:
        cell, _ = joint_peaks(maps, "none", 1.0)
        x, y = ((torch.arange(side) - cell[..., axis, None]).abs() <= reach
                for axis, side in ((0, maps.shape[-1]), (1, maps.shape[-2])))  # fmt: skip
        maps = maps * (y[..., None] & x[..., None, :])
    weight = maps / maps.sum((-2, -1), keepdim=True).clamp(min=1e-9)
    x, y = (
        weight.sum(axis) * torch.arange(maps.shape[side]) for axis, side in ((-2, -1), (-1, -2))
    )
    return torch.stack((x.sum(-1), y.sum(-1)), -1)


LEARNS: dict[str, Callable[[int], Codec]] = {
    "points": lambda stride: PointCodec(3, stride, max_detections=64, offset_weight=5.0),
    "points, weight 1": lambda stride: PointCodec(3, stride, max_detections=64),
    "joints": lambda stride: JointCodec(3, stride=stride),
    "joints, integral": lambda stride: IntegralCodec(3, stride=stride),
}
"""What a network may learn, by stride."""


def network_of(name: str, codec: Codec, stride: int) -> Network:
    """Returns an untrained network: "tiny", or any backbone of timm under a top-down neck."""
    assert stride in (2, 4)
    if name == "tiny":
        return tiny_network(codec, stride=stride)  # type: ignore[arg-type]
    kind = "pose" if "keypoints" in codec.learns else "points"
    return topdown(name, kind, "", stride).network(codec, False)  # type: ignore[arg-type]


def target_of(points: Tensor, codec: Codec) -> Target:
    """Returns the points (3, 2) of one picture as a target."""
    if "keypoints" in codec.learns:
        joints = torch.cat((points, torch.full((3, 1), 2.0)), 1)
        return Target(torch.tensor([[0.0, 0, SIDE, SIDE]]), torch.zeros(1).long(), joints[None])
    return Target(torch.cat((points, points), 1), torch.arange(3), points=points[:, None])


def trained(network: Network, codec: Codec, given: argparse.Namespace, seed: int) -> Network:
    """Returns the average of a network that saw every kind of picture, each as often."""
    generator = torch.Generator().manual_seed(1 + seed)
    network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), given.lr, weight_decay=1e-4, fused=True)
    schedule, average = Schedule("cosine", warmup=0.05), Ema(network, 0.998)
    levels = torch.tensor(list(PICTURES.values()), dtype=torch.float32)
    for update in range(given.updates):
        optimizer.param_groups[0]["lr"] = given.lr * schedule.factor(update / given.updates, update)
        if update >= given.updates * (1 - given.settle):
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.eval()
        kinds = torch.randint(0, len(levels), (given.batch,), generator=generator)
        pictures, points = draw(given.batch, *levels[kinds].unbind(1), generator)
        encoded = codec.encode([target_of(own, codec) for own in points], (SIDE, SIDE))
        (maps,) = network(pictures)
        loss = torch.stack(list(codec.loss(maps, encoded).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        average.update()
    return average.module  # type: ignore[return-value]


def best_of_each(rows: Rows) -> Tensor:
    """Returns the point (B, 3, 2) with the highest score of each class, far away without any."""
    own = rows["labels"][:, None] == torch.arange(3)[:, None]  # (B, 3, K)
    first = own.float().argmax(-1, keepdim=True).expand(-1, -1, 2)
    return rows["points"].gather(1, first) + torch.where(own.any(-1), 0.0, 1e3)[..., None]


def answers(codec: Codec, maps: Maps, mirrored: Maps) -> dict[str, Tensor]:
    """Returns the points (B, 3, 2) in pixels by every decoding."""
    found: dict[str, Tensor] = {}
    if isinstance(codec, PointCodec):
        heat, sigma = maps["heatmap"].sigmoid(), 5 / 6  # that of a blob that reaches two cells
        both = codec.merge_flipped(maps, mirrored)
        near = replace(codec, neighbours=1)
        found["offset, 3x3 cells"] = best_of_each(near.decode(maps))
        found["offset"] = best_of_each(codec.decode(maps))
        found["offset, 3x3 cells, mirrored too"] = best_of_each(near.decode(both))
    else:
        assert isinstance(codec, JointCodec)
        heat, sigma = maps["joints"], codec.sigma
        if isinstance(codec, IntegralCodec):
            heat = heat.flatten(2).softmax(-1).view_as(heat)
            found["integral, all cells"] = (mean_place(heat) + 0.5) * codec.stride
        else:
            both = codec.merge_flipped(maps, mirrored)
            found["taylor"] = codec.decode(maps)["keypoints"][:, 0, :, :2]
            found["taylor, mirrored too"] = codec.decode(both)["keypoints"][:, 0, :, :2]
    for name in get_args(Refine):
        if not name.startswith("quarter-"):
            found[name] = (joint_peaks(heat, name, sigma)[0] + 0.5) * codec.stride
    for reach in (1, 2, 3):
        place = mean_place(heat.clamp(min=0), reach)
        found[f"integral, {2 * reach + 1}x{2 * reach + 1} cells"] = (place + 0.5) * codec.stride
    return found


SHOWN = 5
"""Which of the unseen pictures is drawn for people."""

Shown = tuple[Tensor, Tensor, Tensor]
"""A picture (3, 64, 64) with its points and those that were found, both (3, 2)."""


def measured(
    given: argparse.Namespace, learns: str, stride: int, seed: int
) -> tuple[dict[str, Any], dict[str, Shown]]:
    """Trains one network.

    Returns:
        Its row, errors by kind of picture and decoding, and a picture of each kind.
    """
    torch.manual_seed(seed)
    start, codec = time.process_time(), LEARNS[learns](stride)
    network = network_of(given.network, codec, stride)
    network = trained(network, codec, given, seed)
    seconds = time.process_time() - start
    errors: dict[str, dict[str, list[float]]] = {}
    shapes: dict[str, dict[str, list[float]]] = {}
    shown: dict[str, Shown] = {}
    for name, levels in PICTURES.items():
        pictures, points = unseen_pictures(*levels)
        with torch.inference_mode():
            (maps,), (mirrored,) = network(pictures), network(pictures.flip(-1))
        found = answers(codec, maps, mirrored)
        off = {way: (each - points).norm(dim=-1) for way, each in found.items()}
        errors[name] = {way: middle_and_most(each) for way, each in off.items()}
        shapes[name] = {way: each.median(0).values.tolist() for way, each in off.items()}
        best = next(iter(found.values()))
        shown[name] = (pictures[SHOWN], points[SHOWN], best[SHOWN])
    row = {"network": given.network, "learns": learns, "stride": stride, "seed": seed}
    row |= {"updates": given.updates, "batch": given.batch, "lr": given.lr, "seconds": seconds}
    row["settle"] = given.settle
    return {**row, "errors": errors, "shapes": shapes}, shown


def middle_and_most(errors: Tensor) -> list[float]:
    """Returns the median, and what nine in ten do not exceed."""
    return [float(errors.median()), float(errors.quantile(0.9))]


def show(rows: list[dict[str, Any]]) -> None:
    """Prints means over seeds beside what noise allows: median and 90 % error, medians by shape."""
    own = ("network", "updates", "settle", "learns", "stride")
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple({"settle": 0.0, **row}[name] for name in own), []).append(row)
    bounds = {name: bound(*levels) for name, levels in PICTURES.items()}
    least = {name: middle_and_most(each) for name, each in bounds.items()}
    by_shape = {name: each.mT.flatten(0, 1).median(0).values for name, each in bounds.items()}
    kinds = {"errors": ("Median and 90 %", least), "shapes": (f"Medians of {SHAPES}", by_shape)}
    for kind, (title, bars) in kinds.items():
        print(f"{title}:\n\n| " + " | ".join((*own, "seeds", "decoding", *PICTURES)) + " |")
        print("|---" * (len(own) + 2 + len(PICTURES)) + "|")
        for key, group in groups.items():
            for way in group[0][kind]["clean"]:
                each = ([row[kind][name][way] for row in group] for name in PICTURES)
                seeds = (zip(*lists, strict=True) for lists in each)
                means = (
                    ", ".join(f"{statistics.mean(one):.3f}" for one in column) for column in seeds
                )
                print("| " + " | ".join((*map(str, key), str(len(group)), way, *means)) + " |")
        means = (", ".join(f"{one:.3f}" for one in bars[name]) for name in PICTURES)
        print("| any" + " | " * (len(own) + 1) + "bound | " + " | ".join(means) + " |\n")


def picture(shown: dict[str, Shown], path: Path) -> None:
    """Draws the corner of a checkerboard of each kind of picture, enlarged, with grid and crosses.

    Args:
        shown: Pictures, true and found points, by kind.
        path: The PNG file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.4), dpi=90, layout="constrained")
    axes = figure.subplots(2, len(shown))
    for column, (name, (pixels, true, found)) in enumerate(shown.items()):
        for row, reach in enumerate((SIDE / 2, 2.5)):
            x, y = (true[2] if row else torch.tensor([SIDE / 2, SIDE / 2])).tolist()
            view = axes[row, column]
            # Pixel i covers [i, i + 1), which matplotlib does only if told.
            view.imshow(pixels[0].numpy(), cmap="gray", extent=(0, SIDE, SIDE, 0), vmin=0, vmax=255)
            view.plot(*true.T.numpy(), "o", color="#00a0ff", fillstyle="none", ms=9 + 5 * row)
            view.plot(*found.T.numpy(), "+", color="#ff3030", ms=9 + 5 * row, mew=1.5)
            view.set_xlim(x - reach, x + reach)
            view.set_ylim(y + reach, y - reach)
            view.tick_params(labelsize=7)
            if row:
                lines = [range(math.floor(at - reach), math.ceil(at + reach) + 1) for at in (x, y)]
                view.set_xticks(lines[0])
                view.set_yticks(lines[1])
                view.grid(color="#00a0ff", lw=0.4, alpha=0.6)
                off = float((found[2] - true[2]).norm())
                view.set_title(f"{off:.2f} pixels off", fontsize=9)
                view.set_xlim(x - reach, x + reach)
                view.set_ylim(y + reach, y - reach)
            else:
                view.set_title(name, fontsize=10)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--network", default="tiny", help="tiny, or a backbone of timm")
    parser.add_argument("--learns", nargs="*", default=[], choices=LEARNS)
    parser.add_argument("--stride", type=int, nargs="*", default=[2, 4])
    parser.add_argument("--updates", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument(
        "--settle", type=float, default=0.0, help="last share of updates with fixed batch norms"
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--picture", type=Path, help="PNG of what the last network found")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for seed in given.seeds:
        for learns in given.learns:
            for stride in given.stride:
                row, shown = measured(given, learns, stride, seed)
                with given.runs.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    if given.learns and given.picture:
        picture(shown, given.picture)
    show([json.loads(line) for line in given.runs.read_text().splitlines()])


if __name__ == "__main__":
    main()
