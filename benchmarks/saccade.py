"""Looking again beside tiles and beside one pass: cost against AP as the picture grows.

Pictures of 1, 2 and 4 thousand pixels hold as many drawn shapes of 48 to 96 pixels each, so that
the larger ones are emptier. Both models are trained on the smallest, for as many minutes. What the
network is given, in megapixels, does not depend on the machine; processor time does.

    python benchmarks/saccade.py WORK --minutes 10

WORK keeps pictures, runs and numbers; what is there is not made again. To measure on data of your
own, name it with two trained models; sizes are then first looks and single passes:

    python benchmarks/saccade.py WORK --data ../shared/data/dice:val --models saccade.safetensors \
        centre.safetensors --first 256 --once 640 --tiles 320
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from heatpoint import evaluate, train
from heatpoint.data.readers import read
from heatpoint.inference import KeepOptions, RunOptions
from heatpoint.inference.predict import Found, open_runner, result_rows
from heatpoint.inference.sources import expand
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.system.files import write_json

PICTURE = Path(__file__).parent.parent / "docs" / "looking-again.png"
DIAMETERS = (48.0, 96.0)
NUMBERS = {1: 24, 2: 16, 4: 8}
"""Pictures of so many thousand pixels' width that are scored."""

DATA = ("train", "choose")

SHARED: dict[str, Any] = {
    "augment": "mild",
    "flip_vertical": True,
    "quarter_turns": True,
    "lr": 6e-3,
    "batch_size": 16,
    "cache": 0.5,
    "eval_every": 1000,
    "threads": 1,
    "workers": 0,
    "window": 128,
}


def draw(work: Path) -> None:
    """Draws what is trained on and what is scored, unless it is there."""
    sets = {"train": (160, 1, 1), "choose": (24, 1, 2)}
    sets |= {f"{1000 * times}": (number, times, 2 + times) for times, number in NUMBERS.items()}
    for name, (number, times, seed) in sets.items():
        if not (work / "scenes" / name / "annotations.json").exists():
            size = (750 * times, 1000 * times)
            write_shapes(work / "scenes" / name, number, size, seed, DIAMETERS)


def learn(work: Path, minutes: float) -> tuple[Path, Path]:
    """Returns the checkpoints of the model that looks again and of the one that looks once."""
    found = []
    for model, size in (("saccade_tiny", (192, 256)), ("centernet_tiny", (480, 640))):
        out = work / model
        if not (out / "last.safetensors").exists():
            data = (
                str(work / "scenes" / name / "annotations.json") for name in ("train", "choose")
            )
            train(*data, out=str(out), model=model, size=size, minutes=minutes, **SHARED)
        found.append(out / "last.safetensors")
    return found[0], found[1]


def measure(model: Path, data: str, work: Path, **look: Any) -> dict[str, float]:
    """Returns AP and AP50, and per picture the seconds, the looks and the megapixels."""
    truth = read(data)
    runner = open_runner(model, RunOptions(device="cpu", **look), KeepOptions(), 0.0)
    looks = pixels = 0
    run = runner.run

    def counted(inputs: Any, asks: Sequence[Any]) -> None:
        nonlocal looks, pixels
        looks, pixels = looks + len(inputs), pixels + inputs[:, 0].size
        run(inputs, asks)

    runner.run = counted  # type: ignore[method-assign]
    sources = expand([str(record.path) for record in truth.images])
    start = time.process_time()
    found: list[Found] = list(runner.stream(sources, batch_size=4, workers=0))
    seconds = (time.process_time() - start) / len(found)
    results = work / "results.json"
    write_json(results, result_rows(found))
    scores = evaluate(None, data, results=results).scores
    return {
        "AP": scores["ap"],
        "AP50": scores["ap50"],
        "seconds": seconds,
        "looks": looks / len(found),
        "megapixels": pixels / 1e6 / len(found),
    }


def row(what: str, ways: str, found: dict[str, float]) -> str:
    """Returns a row of the table."""
    return (
        f"| {what} | {ways} | {found['AP']:.3f} | {found['AP50']:.3f} | "
        f"{1000 * found['seconds']:.0f} | {found['looks']:.1f} | {found['megapixels']:.2f} |"
    )


def chart(measured: dict[str, dict[str, dict[str, float]]]) -> None:
    """Draws AP over cost, a line for each way, a larger dot for larger pictures."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, name, title in (
        (left, "megapixels", "megapixels that the network is given per picture"),
        (right, "seconds", "seconds of one core per picture"),
    ):
        costs = [found[name] for by_size in measured.values() for found in by_size.values()]
        for way, by_size in measured.items():
            x = [found[name] for found in by_size.values()]
            y = [found["AP"] for found in by_size.values()]
            (line,) = axes.plot(x, y, label=way)
            areas = [30 * int(size) / 1000 for size in by_size]
            axes.scatter(x, y, areas, color=line.get_color(), zorder=3)
        axes.set(xscale="log", xlabel=title, ylabel="AP", ylim=(0, 1.05))
        axes.set_xticks([n * 10.0**e for e in range(-3, 3) for n in (1, 2, 5)])
        axes.set_xlim(0.8 * min(costs), 1.4 * max(costs))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    left.legend(loc="lower right", fontsize=8)
    figure.suptitle("Shapes of 48 to 96 pixels in pictures 1000, 2000 and 4000 pixels wide")
    figure.savefig(PICTURE, dpi=100)


def grown(work: Path, minutes: float) -> None:
    """Measures every way on every size of drawn picture, prints the table, and draws the chart."""
    draw(work)
    again, once = learn(work, minutes)
    numbers = work / "measured.json"
    measured = json.loads(numbers.read_text()) if numbers.exists() else {}
    measured.pop("written_by", None)
    for times in NUMBERS:
        first, half, whole = ((side * times * 3 // 4, side * times) for side in (256, 512, 1024))
        for way, model, look in (
            ("looks again", again, {"size": first}),
            ("tiles of 512", once, {"tiles": 512}),
            ("one pass, all pixels", once, {"size": whole}),
            ("one pass, half as wide", once, {"size": half}),
            ("one pass, a quarter as wide", once, {"size": first}),
        ):
            of_way = measured.setdefault(way, {})
            if str(1000 * times) not in of_way:
                data = str(work / "scenes" / f"{1000 * times}" / "annotations.json")
                of_way[str(1000 * times)] = measure(model, data, work, **look)
                write_json(numbers, measured)
            print(row(f"{1000 * times}x{750 * times}", way, of_way[str(1000 * times)]), flush=True)
    chart(measured)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--data")
    parser.add_argument("--models", nargs=2, type=Path, metavar=("AGAIN", "ONCE"))
    parser.add_argument("--first", type=int, nargs="*", default=[256])
    parser.add_argument("--once", type=int, nargs="*", default=[640])
    parser.add_argument("--tiles", type=int, nargs="*", default=[320])
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print("| pictures | way | AP | AP50 | ms of one core | looks | megapixels |\n|" + "---|" * 7)
    if chosen.data is None:
        grown(chosen.work, chosen.minutes)
        return
    again, once = chosen.models
    ways = [(f"looks again, first at {n}", again, {"size": n}) for n in chosen.first]
    ways += [(f"tiles of {n}", once, {"tiles": n}) for n in chosen.tiles]
    ways += [(f"one pass at {n}", once, {"size": n}) for n in chosen.once]
    for way, model, look in ways:
        print(row(chosen.data, way, measure(model, chosen.data, chosen.work, **look)), flush=True)


if __name__ == "__main__":
    main()
