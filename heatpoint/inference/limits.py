"""What limits a trained model: its maps are replaced by the true ones, one kind after another.

The error analysis of Law and Deng, "CornerNet: Detecting Objects as Paired Keypoints", ECCV 2018,
section 4.4 (table 6), for every codec.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from heatpoint.codecs import Target
from heatpoint.data import ImageRecord
from heatpoint.data.results import Detections
from heatpoint.data.validate import clean
from heatpoint.errors import HeatpointError
from heatpoint.geometry import clip_boxes
from heatpoint.inference import LimitsOptions, MeasureOptions, refuse
from heatpoint.inference.engines.engine import Pixels
from heatpoint.inference.engines.torch import TorchEngine
from heatpoint.inference.match import Match, open_truth
from heatpoint.inference.metrics import (
    flat_scores,
    measured,
    null_for_nan,
    percent,
    score_columns,
    score_title,
)
from heatpoint.inference.predict import open_runner
from heatpoint.inference.runner import Ask, Job, Runner
from heatpoint.options import keywords
from heatpoint.views import Look, Places, Raster


@dataclass(frozen=True)
class LimitRow:
    """The scores with some of the network's maps replaced.

    Attributes:
        replaced: Kinds of maps that are the true ones; empty for the network's own answer.
        scores: By name, in [0, 1], NaN without objects; the first decides.
    """

    replaced: tuple[str, ...]
    scores: dict[str, float]

    @property
    def main(self) -> float:
        """The score that decides."""
        return next(iter(self.scores.values()))


@dataclass(frozen=True)
class Limits:
    """What ``limits`` found.

    Attributes:
        rows: First the network's own answer, last the answer with all maps replaced.
        protocol: What the numbers hold for, as the runner has it.
        images: Number of images scored.
        objects: Number of annotated objects in them, ignored ones included.
    """

    rows: tuple[LimitRow, ...]
    protocol: dict[str, Any]
    images: int
    objects: int

    @property
    def titles(self) -> list[str]:
        """What the scores are called, the one that decides first."""
        return [score_title(name) for name in self.rows[0].scores]

    def as_dict(self) -> dict[str, Any]:
        """Returns everything ready for JSON, with null for NaN."""
        rows = [{"replaced": list(row.replaced), **row.scores} for row in self.rows]
        plain: dict[str, Any] = null_for_nan(vars(self) | {"rows": rows})
        return plain

    def table(self) -> list[tuple[str, ...]]:
        """Returns for each row, in words and percent: what is true, the scores, and the gain.

        The scores are those of ``titles``; the gain is that of the one that decides.
        """
        cells, before = [], None
        for row in self.rows:
            name = f"true {', '.join(row.replaced)}" if row.replaced else "the network's own maps"
            gain = "" if before is None else f"{100 * (row.main - before):+.1f}"
            cells.append((name, *map(percent, row.scores.values()), gain))
            before = row.main
        return cells

    def verdict(self) -> str:
        """Returns in one sentence what costs the most."""
        if any(row.main != row.main for row in self.rows):
            return "there is no object to be found, so nothing can be said"
        costs = {
            f"the {row.replaced[-1]}": row.main - before.main
            for before, row in zip(self.rows, self.rows[1:], strict=False)
        }
        costs["the representation itself (see heatpoint inspect)"] = 1 - self.rows[-1].main
        what = max(costs, key=lambda name: costs[name])
        if costs[what] <= 0:
            return "nothing is left to be gained"
        return f"most is lost to {what}: {100 * costs[what]:.1f} points of {self.titles[0]}"


@keywords(LimitsOptions, positional=2)
def limits(options: LimitsOptions, *, progress: Callable[[int, int], None] | None = None) -> Limits:
    """Scores a model with its own maps, then with ever more of them replaced by the true ones.

    Which maps are replaced in turn the codec says (``steps``): first the heatmaps, then those that
    place and measure. The first row is what ``evaluate`` says, the last what ``inspect`` says of a
    perfect network. A large step names the part that is worth working on: heatmaps find and
    classify, offsets place to the pixel, embeddings group and sizes measure.

    The network runs once, over letterboxed pictures or the crops of the annotated subjects.

    Args:
        options: Say which checkpoint, which data, and how.
        progress: Called with images done and images in all.

    Raises:
        HeatpointError: The model is an exported file, classes or joints differ, images are missing
            or unreadable, or an argument is out of range or not for this analysis.
    """
    run, read = options.run, options.read
    why = (
        "is not for limits, which looks once at every picture as the model was trained to; leave "
        "it out"
    )
    refuse(run, ("flip", "scales", "keep_resolution", "tiles", "streams"), why)
    refuse(read, ("skip_bad",), why)
    truth = open_truth(options.data)
    runner = open_runner(options.model, run, options.keep, 0.0)
    if not isinstance(runner.engine, TorchEngine):
        raise HeatpointError(
            f"{options.model} keeps its maps to itself; analyse the checkpoint instead"
        )
    about = runner.engine.description
    match = Match.of(about, truth)
    steps = _Steps(runner, runner.engine, match)
    for one in steps.stream(match.sources, match.places(), read.batch_size, read.workers):
        if progress:
            progress(one.index + 1, len(truth))
    rows = []
    columns = score_columns(about)[:2]
    for replaced, found in zip(steps.steps, steps.found, strict=True):
        how = MeasureOptions(metric=("coco",))
        scores = flat_scores(*measured(match, match.truth, found, match.asks, how))
        rows.append(LimitRow(tuple(replaced), {n: scores[n] for n in columns if n in scores}))
    return Limits(tuple(rows), runner.protocol(), len(truth), truth.objects)


class _Steps(Runner):
    """A runner that answers several times, with ever more of the network's maps replaced.

    Attributes:
        steps: The names of the kinds of maps that are replaced, none at first.
        found: The results of each step, one per image.
    """

    def __init__(self, runner: Runner, engine: TorchEngine, match: Match) -> None:
        super().__init__(engine, runner.view, runner.keep)
        self._maker, self._match = engine, match
        names = list(engine.codec.steps)
        self.steps = [names[:count] for count in range(len(names) + 1)]
        self.found: list[list[Detections]] = [[] for _ in self.steps]
        # Boxes that training leaves out cannot be encoded; they count as not found in every row.
        self._records = match.truth.images if match.asks else clean(match.truth)[0].images
        self._prepared: dict[int, tuple[list[Job], list[Target]]] = {}
        self._again: dict[Job, int] = {}  # the step of a picture that is looked at again

    def prepare(
        self, raster: Raster, index: int = 0, path: str = "", places: Places | None = None
    ) -> Job:
        """Prepares a picture once for every step, and what its looks show."""
        job = super().prepare(raster, index, path, places)
        copies = [
            replace(job, looks=[*job.looks], parts={}, wanted={}, sums={}) for _ in self.steps[1:]
        ]
        # The picture itself is that of the last step: once it is done, all are.
        self._prepared[index] = [*copies, job], self._targets(self._records[index], job.looks)
        return job

    def run(self, pixels: Pixels, asks: Sequence[Ask]) -> None:
        """Runs the network over some looks and reads the maps of each step into its pictures."""
        engine, codec = self._maker, self._maker.codec
        again = self._again.get(asks[0][0])
        if again is None:
            chosen = [(*self._prepared[job.index], number) for job, number in asks]
            targets = [targets[number] for _, targets, number in chosen]
            read = [[(jobs[step], n) for jobs, _, n in chosen] for step in range(len(self.steps))]
        else:
            looks = [(self._records[job.index], job.looks[number]) for job, number in asks]
            targets = [self._targets(record, [look])[0] for record, look in looks]
            read = [list(asks) if step == again else [] for step in range(len(self.steps))]
        with torch.inference_mode():
            maps = engine.maps(torch.from_numpy(pixels))
            true = codec.ideal(codec.encode(targets, (pixels.shape[-2], pixels.shape[-1])))
        for replaced, into in zip(self.steps, read, strict=True):
            if not into:
                continue
            names = [name for kind in replaced for name in codec.steps[kind]]
            # In float32 whatever the network's precision, or the true maps would not be true.
            mixed = {**maps, **{name: true[name].to(maps[name].device) for name in names}}
            self.read(engine.read(mixed), into)

    def conclude(self, job: Job) -> Detections:
        """Notes the results of every step and returns the first one."""
        for step, copy in enumerate(self._prepared.pop(job.index)[0]):
            self._again = {copy: step}
            self.found[step].append(self._match.answer(super().conclude(copy)))
        self._again = {}
        return self.found[0][-1]

    def _targets(self, record: ImageRecord, looks: Sequence[Look]) -> list[Target]:
        """Returns what each look shows, in input pixels, with the model's labels and joints."""
        match, learns = self._match, self._maker.codec.learns
        shown = record.keep(match.wanted(record))
        boxes, labels = shown.boxes, match.labels.argsort()[shown.labels]
        if record.size is not None and not match.asks:
            boxes = clip_boxes(boxes, record.size)
        joints = np.zeros((len(shown), len(match.order), 3))
        if shown.keypoints is not None and match.order:
            joints = shown.keypoints[:, np.argsort(match.order)]
            # Joints that are no numbers are not labelled, as in training.
            joints = np.where(np.isfinite(joints).all(-1, keepdims=True), joints, 0.0)
        targets = []
        for number, look in enumerate(looks):
            rows = slice(number, number + 1) if match.asks else slice(None)
            to_input, points = look.to_input, joints[rows].copy()
            points[..., :2] = to_input.points(points[..., :2])
            target = Target(
                torch.from_numpy(to_input.boxes(boxes[rows])).float().reshape(-1, 4),
                torch.from_numpy(labels[rows]),
                torch.from_numpy(points).float() if "keypoints" in learns else None,
            )
            if shown.points is not None:
                target.points = torch.from_numpy(to_input.points(shown.points)).float()
            targets.append(target)
        return targets
