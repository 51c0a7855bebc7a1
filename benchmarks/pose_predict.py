"""JPEG on disk to poses: heatpoint against the same network run naively, and crowds of 1 to 50.

"Naively" is one person after the other: the picture is cropped with OpenCV and normalised in
float, the network runs eagerly in float32, NCHW, batch norms and all, and numpy looks for the
highest cell. Both find the same joints to a cell, which is checked first. The rounds of the two
are interleaved, so that a busy machine slows both alike.

    python benchmarks/pose_predict.py --model pose_mobilenetv2
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

CROWD = (1, 2, 5, 10, 20, 50)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="pose_mobilenetv2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    import torch

    from heatpoint import zoo
    from heatpoint.data.skeleton import SKELETONS
    from heatpoint.inference import KeepOptions, RunOptions
    from heatpoint.inference.predict import open_runner
    from heatpoint.inference.sources import expand

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    detector = zoo.build(options.model, ["person"], skeleton=SKELETONS["coco17"])
    detector.network.eval()
    runner = open_runner(detector, RunOptions(device="cpu"), KeepOptions(), 0.0)
    with tempfile.TemporaryDirectory() as name:
        paths = draw_photos(Path(name), options.images)
        sources = expand(list(paths))
        boxes = draw_boxes(options.people)

        def ours(count: int = options.people) -> list[object]:
            crowd = [draw_boxes(count)] * len(paths)
            return list(runner.stream(sources, crowd, options.batch_size, workers=2))

        def plain() -> list[object]:
            return [naive(detector, path, boxes.boxes.tolist()) for path in paths]

        size = "x".join(map(str, detector.size))
        people = len(paths) * options.people
        print(f"{options.model}, crops of {size}, {options.threads} threads, precision auto")
        print(f"same joints to {compare(detector, paths[0], boxes):.2g} of a crop's side in fp32")
        slow, quick, ratio = race(plain, ours, options.rounds)
        print(
            f"{options.people} people in each of {len(paths)} pictures: naive "
            f"{people / slow:.1f} people/s, ours {people / quick:.1f} people/s, {ratio:.2f} times "
            "as fast (medians; the ratio is that of interleaved rounds)"
        )
        rounds: dict[int, list[float]] = {count: [] for count in CROWD}
        for _ in range(3):
            for count in CROWD:
                rounds[count].append(clock(lambda count=count: ours(count)))
        for count, seconds in rounds.items():
            each = statistics.median(seconds) / len(paths) * 1e3
            print(f"{count:>3} people: {each:7.1f} ms a picture, {each / count:6.1f} ms a person")


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


def draw_boxes(count: int):
    """Returns that many boxes of people of all sizes in a picture of 640 x 480."""
    import numpy as np

    from heatpoint.inference.places import places_of

    rng = np.random.default_rng(0)
    middle = rng.uniform((80, 80), (560, 400), (count, 2))
    height = rng.uniform(40, 400, (count, 1))
    half = np.concatenate([height * 0.2, height * 0.5], 1)
    return places_of(np.concatenate([middle - half, middle + half], 1), "the benchmark")


def naive(detector, path: Path, boxes: list[list[float]]):
    """Returns (J, 2) joints in image pixels of each box, one after the other."""
    import cv2
    import numpy as np
    import torch

    from heatpoint.geometry import PADDING

    network, (height, width) = detector.network, detector.size
    padding = detector.meta.get("padding", PADDING)
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    mean, std = (value.numpy() for value in (network.mean, network.std))
    found = []
    for x1, y1, x2, y2 in boxes:
        zoom = min(width / (x2 - x1), height / (y2 - y1)) / padding
        shift = np.array([width / 2 - zoom * (x1 + x2) / 2, height / 2 - zoom * (y1 + y2) / 2])
        matrix = np.array(
            [[zoom, 0, shift[0] + zoom / 2 - 0.5], [0, zoom, shift[1] + zoom / 2 - 0.5]]
        )
        crop = cv2.warpAffine(image, matrix, (width, height)).astype(np.float32)
        batch = torch.from_numpy(((crop - mean) / std).transpose(2, 0, 1)[None]).contiguous()
        with torch.no_grad():
            maps = network.heads(network.neck(network.backbone(batch)))["joints"][0].numpy()
        cells = maps.reshape(len(maps), -1).argmax(1)
        points = np.stack([cells % maps.shape[2], cells // maps.shape[2]], 1) + 0.5
        found.append((points * detector.codec.stride - shift) / zoom)
    return found


def compare(detector, path: Path, boxes) -> float:
    """Returns the median distance between the joints of both, in crops' sides."""
    import numpy as np

    from heatpoint.inference import KeepOptions, RunOptions
    from heatpoint.inference.predict import open_runner
    from heatpoint.inference.sources import expand

    run = RunOptions(device="cpu", precision="fp32")
    exact = open_runner(detector, run, KeepOptions(), 0.0)
    ours = next(iter(exact.stream(expand(path), [boxes]))).detections.keypoints[..., :2]
    theirs = np.stack(naive(detector, path, boxes.boxes.tolist()))
    sides = (boxes.boxes[:, 2:] - boxes.boxes[:, :2]).max(1) * detector.settings["padding"]
    return float(np.median(np.linalg.norm(ours - theirs, axis=-1) / sides[:, None]))


def race(plain: Callable, fast: Callable, rounds: int) -> tuple[float, float, float]:
    """Returns the median seconds of both and the median ratio of neighbouring rounds."""
    plain(), fast()
    slow, quick = [], []
    for _ in range(rounds):
        slow.append(clock(plain))
        quick.append(clock(fast))
    ratios = [a / b for a, b in zip(slow, quick, strict=True)]
    return statistics.median(slow), statistics.median(quick), statistics.median(ratios)


def clock(work: Callable) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
