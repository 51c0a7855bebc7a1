r"""Trains one network under each rule for the radius; draws the table and pictures of the document.

The same network, data, order, augmentation and number of updates, several seeds; the rules alone
differ. Nothing is validated before the last update, so that no number is chosen on itself. Sizes
are learnt at the centres alone and by L1, as published, unless ``--size-region`` and
``--giou-weight`` say otherwise: a region is a share of the radius, and would mix two questions.

    python benchmarks/radius.py train runs.jsonl --updates 500 --jobs 2 \
        --data bccd ../shared/data/bccd:train ../shared/data/bccd:val 288x384 0 \
        --data dice ../shared/data/dice:train ../shared/data/dice:val 640 192
    python benchmarks/radius.py draw runs.jsonl
    python benchmarks/radius.py draw other.jsonl --part people

Each run is appended to the file as it ends; the same command goes on where it was cut off.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent / "docs"

RULES: dict[str, dict[str, Any]] = {
    "legacy 0.7": {"radius": "legacy", "overlap": 0.7},
    "fixed 0.3": {"radius": "fixed", "overlap": 0.3},
    "fixed 0.7": {"radius": "fixed", "overlap": 0.7},
    "half-fixed 0.7": {"radius": "half-fixed", "overlap": 0.7},
    "elliptical 0.54": {"radius": "elliptical", "alpha": 0.54},
}
"""What each row of the table is trained with."""

TTFNET = "TTFNet"
"""The row of another representation, for which there are no options."""

SHAPES = {"48 x 48": (48.0, 48.0), "96 x 24": (96.0, 24.0), "16 x 64": (16.0, 64.0)}
"""Boxes that the picture shows, width and height in cells."""

SCORES = {"ap": "AP", "ap50": "AP50", "ap75": "AP75"}


@dataclass(frozen=True)
class Task:
    """One run, and all that its numbers depend on."""

    data: str
    train: str
    val: str
    size: str
    window: int
    rule: str
    seed: int
    model: str
    backbone: str
    updates: int
    batch: int
    lr: float
    size_region: float
    giou_weight: float
    augment: str
    flip_vertical: bool

    @property
    def key(self) -> str:
        """Says which run it is, wherever its files are."""
        return json.dumps({**asdict(self), "train": "", "val": "", "backbone": ""}, sort_keys=True)


def run(task: Task, accelerator: str, workers: int, threads: int) -> dict[str, Any]:
    """Trains as a task says and returns its row."""
    import torch

    from heatpoint.data.readers import read
    from heatpoint.inference.engines.torch import pick_device
    from heatpoint.training import train
    from heatpoint.training.processes import native_precision

    start = time.perf_counter()
    data = read(task.train)
    steps = max(1, len(data) // task.batch)
    chosen: dict[str, Any] = {}
    if task.rule != TTFNET:
        chosen |= {"size_region": task.size_region, "giou_weight": task.giou_weight}
        chosen |= RULES[task.rule]
    with (
        tempfile.TemporaryDirectory() as folder,
        Path(os.devnull).open("w") as nowhere,
        redirect_stdout(nowhere),
        redirect_stderr(nowhere),
    ):
        result = train(
            data,
            task.val,
            out=f"{folder}/run",
            model=task.model.replace("centernet", "ttfnet") if task.rule == TTFNET else task.model,
            backbone_weights=task.backbone,
            size=_size(task.size),
            window=task.window,
            epochs=max(1, round(task.updates / steps)),
            batch_size=task.batch,
            lr=task.lr,
            augment=task.augment,
            flip_vertical=task.flip_vertical,
            eval_every=1_000_000,
            pictures=False,
            seed=task.seed,
            accelerator=accelerator,
            workers=workers,
            threads=threads,
            precision=native_precision(pick_device(accelerator).type),
            cache=1.0,
            **chosen,
        )
    last = result.history[-1]
    return {
        **asdict(task),
        **{name: last[name] for name in SCORES},
        "taken": result.updates,
        "loss": last["loss"],
        "seconds": round(time.perf_counter() - start, 1),
        "torch": str(torch.__version__),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
    }


def _size(text: str) -> int | tuple[int, int]:
    sides = [int(side) for side in text.split("x")]
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def train_all(chosen: argparse.Namespace) -> None:
    """Runs what is not in the file yet, several at a time, and appends each as it ends."""
    out = Path(chosen.file)
    done = {_task(row).key for row in rows_of(out)}
    tasks = [
        Task(
            *(name, train, val, size, int(window), rule, seed, chosen.model, chosen.backbone),
            *(chosen.updates, chosen.batch, chosen.lr, chosen.size_region, chosen.giou_weight),
            *(chosen.augment, chosen.flip_vertical),
        )
        for seed in chosen.seeds
        for name, train, val, size, window in chosen.data
        for rule in chosen.rules
    ]
    left = [task for task in tasks if task.key not in done]
    print(f"{len(tasks)} runs, {len(tasks) - len(left)} of them in {out}", flush=True)
    context, start = multiprocessing.get_context("spawn"), time.monotonic()
    failed = []
    with ProcessPoolExecutor(chosen.jobs, mp_context=context) as pool:
        machine = chosen.accelerator, chosen.workers, chosen.threads
        futures = {pool.submit(run, task, *machine): task for task in left}
        for future in as_completed(futures):
            task = futures[future]
            name = f"{task.data}, {task.rule}, seed {task.seed}"
            if future.cancelled():
                continue
            if error := future.exception():
                failed.append(name)
                print(f"{name}: {error!r}", flush=True)
                continue
            row = future.result()
            with out.open("a") as file:
                file.write(json.dumps(row) + "\n")
                file.flush()
                os.fsync(file.fileno())
            scores = ", ".join(f"{title} {row[key] or 0:.3f}" for key, title in SCORES.items())
            print(f"{name}: {scores}, {row['seconds']:.0f} s", flush=True)
            if chosen.minutes and time.monotonic() - start > 60 * chosen.minutes:
                pool.shutdown(wait=False, cancel_futures=True)
    if failed:
        raise SystemExit(f"{len(failed)} runs failed: {'; '.join(failed)}")


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Returns the whole lines of a file of runs; a cut-off one is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            print(f"{path}: a line is cut off: {line[:60]}")
    return rows


def _task(row: dict[str, Any]) -> Task:
    return Task(**{name: row[name] for name in Task.__dataclass_fields__})


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Returns the means over seeds, in percent, with the deviation of AP, as Markdown."""
    sets = list(dict.fromkeys(row["data"] for row in rows))
    lines = ["| targets | " + " | ".join(f"{name}: AP | AP50 | AP75" for name in sets) + " |"]
    lines.append("|---" * (1 + 3 * len(sets)) + "|")
    for rule in [*RULES, TTFNET]:
        cells = []
        for name in sets:
            these = [row for row in rows if row["data"] == name and row["rule"] == rule]
            for score in SCORES:
                values = [100 * (row[score] or 0) for row in these]
                cells.append(_mean(values, spread=score == "ap"))
        if any(cells):
            lines.append(f"| {rule} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean(values: Sequence[float], spread: bool) -> str:
    if not values:
        return ""
    text = f"{statistics.mean(values):.1f}"
    return f"{text} ± {statistics.stdev(values):.1f}" if spread and len(values) > 1 else text


def draw_scores(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draws AP of every run, and their means, a panel for each data set."""
    import matplotlib.pyplot as plt

    sets = list(dict.fromkeys(row["data"] for row in rows))
    rules = [rule for rule in [*RULES, TTFNET] if any(row["rule"] == rule for row in rows)]
    figure, axes = plt.subplots(
        1, len(sets), figsize=(1.5 + 3.2 * len(sets), 3.2), squeeze=False, layout="constrained"
    )
    for axis, name in zip(axes[0], sets, strict=True):
        for place, rule in enumerate(rules):
            these = [row for row in rows if row["data"] == name and row["rule"] == rule]
            for score, colour in (("ap", "C0"), ("ap50", "C1")):
                values = [100 * (row[score] or 0) for row in these]
                axis.plot([place] * len(values), values, "o", color=colour, ms=3.5, alpha=0.5)
                if values:
                    axis.plot(place, statistics.mean(values), "_", color=colour, ms=16, mew=2)
        axis.set_title(name)
        axis.set_xticks(range(len(rules)), rules, rotation=35, ha="right", fontsize=8)
        axis.set_ylim(bottom=0)
        axis.grid(axis="y", alpha=0.3)
    axes[0, 0].set_ylabel("percent")
    axes[0, 0].plot([], [], "_", color="C1", ms=12, mew=2, label="AP50")
    axes[0, 0].plot([], [], "_", color="C0", ms=12, mew=2, label="AP")
    axes[0, 0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def draw_boxes(path: Path) -> None:
    """Draws what each rule says about the same boxes."""
    import matplotlib.pyplot as plt
    import torch
    from matplotlib.patches import Rectangle

    from heatpoint.codecs import Target
    from heatpoint.codecs.center import CenterCodec

    cells = 104
    figure, axes = plt.subplots(
        len(SHAPES), len(RULES), figsize=(10.5, 6.6), layout="constrained", sharex=True, sharey=True
    )
    for line, (shape, (width, height)) in enumerate(SHAPES.items()):
        left, top = (cells - width) / 2, (cells - height) / 2
        box = torch.tensor([[left, top, left + width, top + height]]) * 4
        target = Target(box, torch.tensor([0]))
        for column, (rule, fields) in enumerate(RULES.items()):
            encoded = CenterCodec(1, **fields).encode([target], (4 * cells, 4 * cells))
            axis = axes[line, column]
            # From corner to corner of the cells, so that the box lies where it belongs.
            extent = (0, cells, cells, 0)
            axis.imshow(encoded.preview()[0, 0], vmin=0, vmax=1, cmap="magma", extent=extent)
            axis.add_patch(Rectangle((left, top), width, height, fill=False, ec="white", lw=1))
            across, down = encoded.radius[0].tolist()
            axis.text(3, 100, f"radius {across} x {down}", color="white", fontsize=8)
            axis.set_xticks([])
            axis.set_yticks([])
            if line == 0:
                axis.set_title(rule, fontsize=10)
        axes[line, 0].set_ylabel(f"{shape} cells", fontsize=9)
    figure.savefig(path, dpi=110)


def draw(chosen: argparse.Namespace) -> None:
    """Draws the pictures, and writes the table into the document between its two marks."""
    draw_boxes(DOCS / "radius-boxes.png")
    rows = rows_of(Path(chosen.file)) if chosen.file else []
    if not rows:
        return
    draw_scores(rows, DOCS / (f"radius-{chosen.part}.png" if chosen.part else "radius.png"))
    text, document = table(rows), DOCS / "radius.md"
    mark = f"table of {chosen.part}" if chosen.part else "table"
    print(text)
    old = document.read_text()
    new, count = re.subn(
        rf"(<!-- {mark} -->\n).*?(<!-- end of table -->)",
        lambda match: f"{match[1]}{text}\n{match[2]}",
        old,
        flags=re.DOTALL,
    )
    if count != 1:
        raise SystemExit(f"{document} has no place for the {mark}")
    document.write_text(new)


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    trains = commands.add_parser("train")
    trains.set_defaults(job=train_all)
    trains.add_argument("file", help="JSON lines, appended to")
    trains.add_argument(
        "--data",
        nargs=5,
        action="append",
        required=True,
        metavar=("NAME", "TRAIN", "VAL", "SIZE", "WINDOW"),
        help="WINDOW 0 trains on whole pictures",
    )
    trains.add_argument("--rules", nargs="+", choices=[*RULES, TTFNET], default=list(RULES))
    trains.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    trains.add_argument("--model", default="centernet_tiny")
    trains.add_argument("--backbone", default="", help="file of ImageNet weights")
    trains.add_argument("--updates", type=int, default=500, help="rounded to whole epochs")
    trains.add_argument("--batch", type=int, default=16)
    trains.add_argument("--lr", type=float, default=3e-3)
    trains.add_argument("--size-region", type=float, default=0.0)
    trains.add_argument("--giou-weight", type=float, default=0.0)
    trains.add_argument("--augment", default="mild")
    trains.add_argument("--flip-vertical", action=argparse.BooleanOptionalAction, default=True)
    trains.add_argument("--jobs", type=int, default=1, help="runs at a time")
    trains.add_argument("--minutes", type=float, default=0, help="begin no run after these")
    trains.add_argument("--accelerator", default="auto")
    trains.add_argument("--workers", type=int, default=0, help="loading processes of each run")
    trains.add_argument("--threads", type=int, default=1)
    draws = commands.add_parser("draw")
    draws.set_defaults(job=draw)
    draws.add_argument("file", nargs="?", default="", help="without, the boxes alone are drawn")
    draws.add_argument("--part", default="", help="table and picture of the document by this name")
    chosen = parser.parse_args(arguments)
    chosen.job(chosen)


if __name__ == "__main__":
    main()
