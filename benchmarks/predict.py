"""JPEG on disk to boxes: heatpoint against the same network run as usual.

"As usual" is what most ports of CenterNet do: Pillow reads, numpy resizes and normalises in float,
the network runs eagerly in float32 as it was trained, batch norms and all, and the decode takes
sigmoid, max pooling and two rounds of top-k over all cells. Both give the same boxes, which is
checked first. The rounds of the two are interleaved, so that a busy machine slows both alike.

    python benchmarks/predict.py --model centernet_resnet18 --size 512
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CHILD = """
import resource, sys, time
from heatpoint.inference.predict import predict
found = predict(sys.argv[1], sys.argv[2], batch_size=1, workers=0)
print(time.time() - float(sys.argv[3]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="centernet_resnet18")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    import torch

    from heatpoint import zoo
    from heatpoint.inference import KeepOptions, RunOptions
    from heatpoint.inference.engines.engine import Timings
    from heatpoint.inference.predict import open_runner
    from heatpoint.inference.sources import expand

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    detector = zoo.build(options.model, [f"class {i}" for i in range(80)])
    with torch.no_grad():
        # Untrained sides are noise about 0; these are boxes.
        detector.network.heads.get_parameter("last.size.bias").fill_(10.0)
    detector.network.eval()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = draw_photos(folder, options.images)
        size = (options.size, options.size)
        timings = Timings()
        run = RunOptions(size=size, device="cpu")
        runner = open_runner(detector, run, KeepOptions(), 0.0, timings)
        sources = expand(list(paths))

        def ours_one() -> object:
            return list(runner.stream(sources[:1], batch_size=1, workers=0))

        def ours_all() -> object:
            return list(runner.stream(sources, batch_size=4, workers=2))

        def usual_one() -> object:
            return usual(detector, paths[0], size)

        def usual_all() -> object:
            return [usual(detector, path, size) for path in paths]

        print(f"{options.model}, {options.size} x {options.size}, {options.threads} threads")
        print(f"same boxes to {compare(runner, detector, paths, size):.2g} of a score")
        for text, count, plain, fast in (
            ("one image", 1, usual_one, ours_one),
            (f"{len(paths)} images", len(paths), usual_all, ours_all),
        ):
            slow, quick, ratio = race(plain, fast, options.rounds)
            print(
                f"{text:>10}: usual {slow / count * 1e3:7.1f} ms, ours {quick / count * 1e3:7.1f} "
                f"ms per image, {ratio:.2f} times as fast"
            )
        print(timings.summary())
        checkpoint = folder / "detector.safetensors"
        detector.save(checkpoint)
        seconds, peak = first_prediction(checkpoint, paths[0], options.threads)
        print(f"process start to first prediction {seconds:.1f} s, peak memory {peak:.0f} MiB")


def draw_photos(folder: Path, count: int) -> list[Path]:
    """Writes JPEG files of 640 x 480, the size of COCO's."""
    import numpy as np

    from heatpoint.data.draw import write_picture
    from heatpoint.synthetic.pictures import draw_scene

    paths = []
    for index in range(count):
        paths.append(folder / f"{index}.jpg")
        write_picture(paths[-1], draw_scene((480, 640), np.random.default_rng(index)).image)
    return paths


def usual(detector, path: Path, size: tuple[int, int]):
    """Returns (100, 6) boxes in image pixels, scores and labels, the way most ports do it."""
    import cv2
    import numpy as np
    import torch
    from PIL import Image

    from heatpoint.geometry import letterbox

    network = detector.network
    image = np.asarray(Image.open(path).convert("RGB"))
    to_input = letterbox(image.shape[:2], size)
    shift = to_input.numpy()
    shift[:, 2] += shift[:, :2].sum(1) / 2 - 0.5
    warped = cv2.warpAffine(image, shift, (size[1], size[0])).astype(np.float32)
    mean, std = (value.numpy() for value in (network.mean, network.std))
    normalised = ((warped - mean) / std).transpose(2, 0, 1)[None]
    with torch.no_grad():
        features = network.backbone(torch.from_numpy(np.ascontiguousarray(normalised)))
        maps = network.heads(network.neck(features))
        heatmap = maps["heatmap"].sigmoid()
        peaks = torch.nn.functional.max_pool2d(heatmap, 3, stride=1, padding=1)
        heatmap = heatmap * (peaks == heatmap).float()
        classes, _, width = heatmap.shape[1:]
        scores, cells = heatmap.view(classes, -1).topk(100)
        scores, best = scores.view(-1).topk(100)
        labels, cells = best // 100, cells.view(-1)[best]
        offset, sides = (maps[key].view(2, -1)[:, cells] for key in ("offset", "size"))
        center = torch.stack([cells % width, cells // width]) + offset
        boxes = torch.cat([center - sides / 2, center + sides / 2]).T * 4
        boxes = to_input.inverse().boxes(boxes)
        return torch.cat([boxes, scores[:, None], labels[:, None]], 1).numpy()


def compare(runner, detector, paths: list[Path], size: tuple[int, int]) -> float:
    """Returns the largest difference between the scores of both."""
    import numpy as np

    from heatpoint.inference.sources import expand

    worst = 0.0
    for path in paths[:2]:
        ours = next(iter(runner.stream(expand(path)))).detections.scores
        theirs = usual(detector, path, size)[:, 4]
        worst = max(worst, float(np.abs(theirs[: len(ours)] - ours).max()))
        assert np.isfinite(ours).all()
    return worst


def race(
    plain: Callable[[], object], fast: Callable[[], object], rounds: int
) -> tuple[float, float, float]:
    """Returns both median seconds and the median of the rounds' ratios."""
    times: list[tuple[float, float]] = []
    for _ in range(rounds + 1):
        row = []
        for run in (plain, fast):
            start = time.perf_counter()
            run()
            row.append(time.perf_counter() - start)
        times.append((row[0], row[1]))
    slow, quick = zip(*times[1:], strict=True)
    ratios = [a / b for a, b in times[1:]]
    return statistics.median(slow), statistics.median(quick), statistics.median(ratios)


def first_prediction(checkpoint: Path, image: Path, threads: int) -> tuple[float, float]:
    """Returns seconds from the start of a fresh process to its boxes, and its peak MiB."""
    answer = subprocess.run(
        [sys.executable, "-c", CHILD, str(checkpoint), str(image), str(time.time())],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )
    seconds, peak = answer.stdout.split()
    # Linux counts in KiB, macOS in bytes.
    return float(seconds), int(peak) / (1024**2 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main()
