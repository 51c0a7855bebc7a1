"""Training crops per second: ours against the same network trained the usual way.

From a decoded picture to updated weights, in one process. The usual way: the loader cuts the crop
in float pixels and draws one dense heatmap per joint in numpy;
NCHW, mean squared error over whole maps, Adam without fusing, an average kept tensor by tensor.
Rounds alternate, so that a busy machine hurts both; what counts is the ratio of the medians.

    python benchmarks/pose_train.py --model pose_mobilenetv2 --size 192 --batch 8
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import count

import cv2
import numpy as np
import torch
from torch import nn

from heatpoint import zoo
from heatpoint.data import Annotations
from heatpoint.data.dataset import Batch, TrainSet, collate
from heatpoint.data.images import load_image
from heatpoint.data.pose_augment import PoseAugment
from heatpoint.data.readers import read
from heatpoint.geometry import crop_affine
from heatpoint.synthetic.figures import write_figures
from heatpoint.training.optimize import Ema, build_optimizer
from heatpoint.zoo.detector import Detector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="pose_mobilenetv2")
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        data = read(write_figures(folder, 2 * chosen.batch, (256, 256), seed=0))
        assert data.skeleton is not None
        detector = zoo.build(chosen.model, data.names, skeleton=data.skeleton)
        size = (chosen.size, chosen.size)
        views = TrainSet(data, size, PoseAugment.published(), seed=0, cache_bytes=1 << 30)
        steps = {
            "ours": _ours(copy.deepcopy(detector), views),
            "usual": _usual(detector, views, data),
        }
        times: dict[str, list[float]] = {name: [] for name in steps}
        for turn in range(chosen.rounds + 1):
            for name, step in steps.items():
                start = time.perf_counter()
                step(chosen.batch)
                if turn:  # the first one warms up
                    times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        print(f"{name:<6} {1000 * median:8.1f} ms  {chosen.batch / median:6.1f} crops/s")
    print(f"usual / ours {medians['usual'] / medians['ours']:.2f}")


def _ours(detector: Detector, views: TrainSet) -> Callable[[int], None]:
    network = detector.network.to(memory_format=torch.channels_last).train()
    optimizer = build_optimizer(network, "adamw", 1e-4, 0.01)
    ema, codec, turn = Ema(network, 0.9998), detector.codec, count()

    def step(batch: int) -> None:
        chosen = [(0, next(turn) % len(views)) for _ in range(batch)]
        loaded: Batch = collate([views[place] for place in chosen])
        optimizer.zero_grad(set_to_none=True)
        encoded = codec.encode(loaded.targets, views.size)
        stacks = network(loaded.images.contiguous(memory_format=torch.channels_last))
        losses = [codec.loss(maps, encoded)["joints"] for maps in stacks]
        torch.stack(losses).sum().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 35.0)
        optimizer.step()
        ema.update()

    return step


def _usual(detector: Detector, views: TrainSet, data: Annotations) -> Callable[[int], None]:
    network, stride = detector.network.train(), detector.codec.stride
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    averaged, turn = copy.deepcopy(network), count()
    images = [load_image(record.path) for record in data.images]

    def step(batch: int) -> None:
        rng = np.random.default_rng(next(turn))
        crops, heats, masks = [], [], []
        for _ in range(batch):
            image, objects = views.samples.places[int(rng.integers(len(views)))]
            place = int(objects[0])
            record = data.images[image]
            assert record.keypoints is not None
            turned = crop_affine(record.boxes[place], views.size, 1.25 * rng.uniform(0.75, 1.25))
            warped = cv2.warpAffine(
                images[image].astype(np.float32), turned.numpy()[:2], views.size[::-1]
            )
            crops.append(np.ascontiguousarray(warped.transpose(2, 0, 1)))
            joints = record.keypoints[place].copy()
            joints[:, :2] = turned.points(joints[:, :2])
            heats.append(_dense(joints, views.size, stride))
            masks.append(joints[:, 2] > 0)
        optimizer.zero_grad()
        inputs, wanted = torch.from_numpy(np.stack(crops)), torch.from_numpy(np.stack(heats))
        weight = torch.from_numpy(np.stack(masks)).float()[..., None, None]
        total = torch.zeros(())
        for maps in network(inputs):
            total = total + ((maps["joints"] - wanted) ** 2 * weight).mean()
        total.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 35.0)
        optimizer.step()
        with torch.no_grad():
            for old, new in zip(averaged.parameters(), network.parameters(), strict=True):
                old.mul_(0.9998).add_(new, alpha=0.0002)

    return step


def _dense(joints: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
    height, width = size[0] // stride, size[1] // stride
    heat = np.zeros((len(joints), height, width), np.float32)
    y, x = np.mgrid[:height, :width] + 0.5
    for channel, (px, py, visible) in enumerate(joints):
        if visible > 0:
            gaps = (x - px / stride) ** 2 + (y - py / stride) ** 2
            heat[channel] = np.exp(-gaps / 2)
    return heat


if __name__ == "__main__":
    main()
