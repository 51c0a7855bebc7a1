"""JPEG on disk to boxes with CenterNet's Hourglass-104: the default path beside the usual one.

"Usual" is what ports of CenterNet do: Pillow reads, the image is warped and normalised in float,
and the network runs as it was trained, in float32, channels first, batch norms unfolded, the heads
of both stacks computed. The default path is ``heatpoint predict``'s. That both find the same is
checked first; then they take turns, so that a busy machine slows both alike. Needs 4 GB of memory.

    python benchmarks/hourglass.py
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from predict import draw_photos, race

from heatpoint import zoo
from heatpoint.geometry import letterbox
from heatpoint.inference import KeepOptions, RunOptions
from heatpoint.inference.predict import open_runner
from heatpoint.inference.sources import expand
from heatpoint.zoo.detector import Detector


def usual(detector: Detector, path: Path, size: tuple[int, int]) -> NDArray[np.float32]:
    """Returns (100, 6): boxes in image pixels, scores and labels, the way most ports do it."""
    network = detector.network
    image = np.asarray(Image.open(path).convert("RGB"))
    to_input = letterbox(image.shape[:2], size)
    shift = to_input.numpy()
    shift[:, 2] += shift[:, :2].sum(1) / 2 - 0.5
    warped = cv2.warpAffine(image, shift, (size[1], size[0])).astype(np.float32)
    mean, std = (values.numpy() for values in (network.mean, network.std))
    normalised = ((warped - mean) / std).transpose(2, 0, 1)[None]
    with torch.no_grad():
        features = network.backbone(torch.from_numpy(np.ascontiguousarray(normalised)))
        stacks = network.heads(network.neck(features))
    maps = stacks[-1] if isinstance(stacks, list) else stacks
    heatmap = maps["heatmap"].sigmoid()
    heatmap = heatmap * (F.max_pool2d(heatmap, 3, stride=1, padding=1) == heatmap).float()
    classes, _, width = heatmap.shape[1:]
    scores, cells = heatmap.view(classes, -1).topk(100)
    scores, best = scores.view(-1).topk(100)
    labels, cells = best // 100, cells.view(-1)[best]
    offset, sides = (maps[key].view(2, -1)[:, cells] for key in ("offset", "size"))
    center = torch.stack([cells % width, cells // width]) + offset
    boxes = torch.cat([center - sides / 2, center + sides / 2]).T * network.stride
    boxes = torch.as_tensor(to_input.inverse().boxes(boxes))
    return torch.cat([boxes, scores[:, None], labels[:, None]], 1).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="centernet_hourglass104")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    detector = zoo.build(options.model, [f"class {index}" for index in range(80)])
    detector.network.eval()
    with torch.no_grad():
        for name, parameter in detector.network.named_parameters():
            if name.endswith("last.size.bias"):
                parameter.fill_(10.0)  # untrained sides are noise about 0; these are boxes
    size = (options.size, options.size)
    run = RunOptions(size=size, device="cpu")
    runner = open_runner(detector, run, KeepOptions(), 0.0)
    with tempfile.TemporaryDirectory() as folder:
        (path,) = draw_photos(Path(folder), 1)
        sources = expand([path])

        def default_path() -> NDArray[np.float32]:
            (found,) = runner.stream(sources, batch_size=1, workers=0)
            return found.detections.scores

        scores = default_path()
        gap = float(np.abs(usual(detector, path, size)[: len(scores), 4] - scores).max())
        assert len(scores)
        print(f"{options.model}, {options.size} x {options.size}, {options.threads} threads")
        print(f"{len(scores)} results, same to {gap:.2g} of a score")
        slow, quick, ratio = race(lambda: usual(detector, path, size), default_path, options.rounds)
    print(f"usual {slow:.2f} s, default {quick:.2f} s, median of the ratios {ratio:.2f}")


if __name__ == "__main__":
    main()
