"""Writes what ``evaluate`` found out about a model as one page that holds all it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np

from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError
from heatpoint.inference import ReportOptions
from heatpoint.inference.analysis import SEEN, Analysis
from heatpoint.inference.charts import (
    draw_calibration,
    draw_confusion,
    draw_curves,
    draw_groups,
    draw_joints,
    draw_waterfall,
    point_curves,
)
from heatpoint.inference.doubts import Doubt, Doubted, joint_doubts
from heatpoint.inference.engines import Engine, is_exported
from heatpoint.inference.match import Match
from heatpoint.inference.metrics import percent, score_title
from heatpoint.inference.page import chart, picture, table, write_page
from heatpoint.inference.predict import SCORE
from heatpoint.scoring.faults import BACKGROUND, BOTH, CLASS, DOUBLE, KINDS, MISSED, PLACE, Faults
from heatpoint.system.files import write_json
from heatpoint.system.outputs import check_outputs
from heatpoint.weights import LEAST, PUBLISHED, checkpoint_path, write_meta
from heatpoint.wording import amount

PICTURES = 60
"""Pictures on a page, at most, of each kind of mistake the worst."""

_SCRIPT = Path(__file__).with_name("report.js").read_text(encoding="utf-8")


def report_files(folder: str | Path) -> tuple[Path, Path]:
    """Returns the page and the file of numbers that are written to a folder."""
    return Path(folder) / "report.html", Path(folder) / "report.json"


def check_report(wanted: ReportOptions, model: object, match: Match, in_order: bool) -> None:
    """Makes sure that what is asked for can be done with a model.

    Raises:
        HeatpointError: It cannot, or the checkpoint may not be written to; says why.
    """
    if wanted.limits and wanted.report is None:
        raise HeatpointError(
            "limits is a part of the report; give report, or use heatpoint limits, which needs none"
        )
    if wanted.limits and (is_exported(model) or isinstance(model, Engine)):
        raise HeatpointError(
            "limits needs a checkpoint: exported files and open engines keep their maps to "
            "themselves; leave it out"
        )
    if not wanted.set_threshold:
        return
    if in_order:
        raise HeatpointError(
            "set_threshold is for models that find things; there is one result for each box that "
            "is given; leave it out"
        )
    if is_exported(model):
        raise HeatpointError(
            f"set_threshold writes into checkpoints, and {model} is an exported file; set it in "
            "its checkpoint and export that again, which takes it along"
        )
    if not isinstance(model, (str, Path)):
        raise HeatpointError("set_threshold writes into a file; give the checkpoint's path")
    if str(model) in PUBLISHED and not Path(model).is_file():
        raise HeatpointError(
            f"set_threshold writes into a checkpoint of yours, and {model} are published weights; "
            f"copy {checkpoint_path(model)} and give the copy"
        )
    check_outputs({"checkpoints": [model]})


def set_threshold(model: str | Path, analysis: Analysis) -> str:
    """Writes the score with the best F1 into a checkpoint, and returns a sentence about it.

    Raises:
        HeatpointError: There is none, or the file cannot be written.
    """
    score, f1 = analysis.best
    if score != score:
        raise HeatpointError(
            f"nothing that {model} finds is right, so no score can be set; see the report"
        )
    write_meta(Path(model), LEAST, score)
    return f"{model}: predict returns results from score {score:g} on (F1 {percent(f1).strip()})"


def write_report(folder: str | Path, data: str, analysis: Analysis) -> None:
    """Writes report.html and report.json.

    Args:
        folder: Where to.
        data: The data, as the user wrote it.
        analysis: What was found out.
    """
    page, numbers = report_files(folder)
    metrics = analysis.model.metrics.as_dict()
    told = {"model": analysis.model.called, "data": data} | analysis.as_dict()
    write_page(page, f"{analysis.model.called} on {data}", _parts(analysis))
    write_json(numbers, told | {"metrics": metrics})


def _parts(analysis: Analysis) -> Iterator[str]:
    """Yields the page part by part, as HTML."""
    model, judged = analysis.model, analysis.model.judged
    metrics, score = model.metrics, analysis.best[0]
    yield _text(
        f"{amount(metrics.images, 'picture')}, {amount(metrics.objects, 'annotated object')}. "
        "Intervals say how "
        "far scores would differ on other pictures of the same kind: the pictures are drawn anew, "
        f"with replacement ({analysis.resamples}), and 95 % of the scores lie in the interval."
    )
    rows = []
    for name, value in (model.sample.numbers() | metrics.scores).items():
        low, high = analysis.intervals.get(name, (np.nan, np.nan))
        between = "" if low != low else f"{percent(low)} to {percent(high)}"
        rows.append((score_title(name), percent(value), between))
    yield _section("Scores", table(("", "percent", "95 % interval"), rows))
    protocol = [(name, str(value)) for name, value in metrics.protocol.items()]
    yield f"<details><summary>what they hold for</summary>{table(('', ''), protocol)}</details>"
    if analysis.other is not None:
        yield _section(f"Against {analysis.other.called}", *_compared(analysis))
    if judged is not None and analysis.faults is not None:
        name, known = judged.main[1], judged.numbers()[judged.main[1]]
        if known == known:
            title = f"from the {score_title(name)} to 100"
            waterfall = draw_waterfall(title, (score_title(name), known), analysis.shares)
            tighter = ""
            if not judged.pointed:
                whole = judged.numbers()[judged.main[0]]
                tighter = (
                    f" {score_title(judged.main[0])} asks for places that are more exact, and "
                    f"loses {percent(known - whole).strip()} points more."
                )
            yield _section(
                "What is lost to which mistakes",
                _text(_LOST + tighter),
                chart(waterfall, "what each kind of mistake costs"),
            )
    if analysis.limits is not None:
        yield _section("What limits the model", *_limited(analysis))
    if judged is not None and analysis.faults is not None:
        if score == score:
            yield _section("Classes", _text(_from(score)), table(*_by_class(analysis)))
        yield _section("Curves", chart(draw_curves(judged, score), "precision, recall, F1"))
        if metrics.points is not None and judged.pointed:
            yield chart(point_curves(metrics.points), "points: precision, recall, F1 and counts")
        confusion = analysis.faults.confusion(_shown_from(analysis))
        yield _section(
            "Confusion",
            _text(_CONFUSION + _from(_shown_from(analysis))),
            chart(draw_confusion(judged.names, confusion), "labelled and found classes"),
        )
        yield _section(
            "Size and crowding",
            _text(_from(_shown_from(analysis))),
            chart(draw_groups(analysis.groups), "shares by size and crowding"),
        )
        yield _section(
            "Calibration of scores",
            _text(_CALIBRATION),
            chart(draw_calibration(judged, SEEN), "share of right results by score"),
        )
    if model.match.joints and metrics.joints is not None and model.truth.skeleton is not None:
        name, share = list(metrics.joints.pck.items())[len(model.how.thresholds) // 2]
        errors = model.subjects.errors / model.subjects.lengths[:, None]
        title, joints = f"{score_title(name)} of each joint", model.truth.skeleton.joints
        figure = draw_joints(title, joints, errors, share.per_joint)
        yield _section("Joints", chart(figure, "joints within an error, and joint by joint"))
    yield from _gallery(analysis)


_LOST = (
    "Each bar is what mending one kind of mistake would bring, as the mean over all orders in "
    "which the kinds can be mended; so the bars add up. Mistakes of every score count. A result is "
    "badly placed if it and an object are too little alike to belong together, but by a tenth at "
    "least; with less it is background. Alike are boxes and corners by their overlap (IoU), poses "
    "by their OKS, points by their distance."
)
_CONFUSION = (
    "Each object stands in one row, each result in one column; what is badly placed is missed and "
    "background. Colours are shares of the row, of background shares of the column. "
)
_CALIBRATION = (
    "If scores are true, seven in ten results with a score of 0.7 are right. Results from score "
    f"{SEEN} on count; above each bar stands their number."
)


_CALLED = {"joint": "joint far off", "sides": "left and right swapped"}


def _from(score: float) -> str:
    return f"Only results from score {score:g} on count."


def _text(text: str) -> str:
    return f"<p>{escape(text)}</p>\n"


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{''.join(parts)}</section>\n"


def _shown_from(analysis: Analysis) -> float:
    """Returns the score from which results are shown: the best one, or what predict uses."""
    score = analysis.best[0]
    return score if score == score else SCORE


def _compared(analysis: Analysis) -> Iterator[str]:
    assert analysis.other is not None
    yield _text(f"{analysis.verdict()}. Both were scored on the same pictures each time.")
    one, two = (each.sample.numbers() for each in (analysis.model, analysis.other))
    rows = []
    for name, (low, high) in analysis.differences.items():
        gap = f"{100 * (two[name] - one[name]):+.1f}"
        between = f"{100 * low:+.1f} to {100 * high:+.1f}"
        rows.append((score_title(name), percent(one[name]), percent(two[name]), gap, between))
    headings = ("", analysis.model.called, analysis.other.called, "difference", "95 % interval")
    yield table(headings, rows)
    yield _text(
        "The interval is about the pictures alone: another run of training with another seed would "
        "move both scores, too."
    )


def _limited(analysis: Analysis) -> Iterator[str]:
    assert analysis.limits is not None
    first, *rows = analysis.limits.rows
    before, steps = first.main, {}
    for row in rows:
        steps[f"true {row.replaced[-1]}"] = row.main - before
        before = row.main
    steps["the representation itself"] = 1 - before
    verdict = analysis.limits.verdict()
    yield _text(f"{verdict[:1].upper()}{verdict[1:]}.")
    if before == before:
        name = analysis.limits.titles[0]
        figure = draw_waterfall(f"{name} with ever more true maps", (name, first.main), steps)
        yield chart(figure, "what each kind of map costs")


def _by_class(analysis: Analysis) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Returns headings and rows of the table of classes."""
    rows: list[Sequence[str]] = []
    headings: list[str] = []
    for name, numbers in analysis.classes.items():
        headings = ["", *map(score_title, numbers)]
        cells = [percent(value) for value in numbers.values()]
        cells[0] = f"{numbers['objects']:,}"
        cells[-1] = (
            "" if numbers["best_score"] != numbers["best_score"] else f"{numbers['best_score']:g}"
        )
        rows.append((name, *cells))
    return headings, rows


def _gallery(analysis: Analysis) -> Iterator[str]:
    """Yields the worst pictures, and what shows those of some kinds only."""
    least, model = _shown_from(analysis), analysis.model
    doubts: list[list[Doubt]] = [[] for _ in model.found]
    if analysis.faults is not None:
        doubts = _mistakes(analysis.faults, analysis, least)
    if model.match.joints:
        for place, (record, found) in enumerate(zip(model.truth.images, model.found, strict=True)):
            doubts[place] += joint_doubts(model.match, record, found, model.in_order)
    kinds = Counter(doubt.kind for each in doubts for doubt in each)
    chosen: set[int] = set()
    for kind in kinds:
        costs = [sum(d.suspicion for d in each if d.kind == kind) for each in doubts]
        worst = np.argsort(costs, kind="stable")[::-1][: PICTURES // len(kinds)].tolist()
        chosen |= {place for place in worst if costs[place] > 0}
    order = sorted(chosen, key=lambda place: -sum(d.suspicion for d in doubts[place]))
    some = sum(map(bool, doubts))
    yield _section(
        "The worst pictures",
        _text(
            f"{some:,} of {len(doubts):,} pictures hold a mistake; here are {len(order):,}, the "
            "worst of each kind. Labels stand on the left, what was found on the right; mistakes "
            "are numbered frames." + ("" if model.in_order else f" {_from(least)}")
        ),
        "<p>",
        *(
            f'<label><input type="checkbox" name="kind" value="{kind}" checked> '
            f"{_CALLED.get(kind, kind)} ({count:,})</label>"
            for kind, count in kinds.most_common()
        ),
        "</p>",
    )
    for place in order:
        found = model.found[place]
        shown = found if model.in_order else found[found.scores >= least]
        ordered = tuple(sorted(doubts[place], key=lambda doubt: -doubt.suspicion))
        yield picture(Doubted(model.truth.images[place], shown, ordered), model.truth)
    yield f"<script>\n{_SCRIPT}</script>\n"


def _mistakes(faults: Faults, analysis: Analysis, least: float) -> list[list[Doubt]]:
    """Returns the mistakes of each picture from a score on, in words."""
    judged, records = faults.judged, analysis.model.truth.images
    wrong, missed = faults.at(least)
    names, doubts = judged.names, [list[Doubt]() for _ in records]
    starts = np.searchsorted(judged.images, np.arange(len(records)))
    for row in np.flatnonzero(wrong).tolist():
        place, kind = int(judged.images[row]), int(faults.kinds[row])
        found: Detections = analysis.model.found[place]
        own, score = row - int(starts[place]), float(judged.scores[row])
        target, record = int(faults.targets[row] - judged.firsts[place]), records[place]
        reason = f"{names[judged.labels[row]]} found with {score:.2f}"
        if kind == CLASS:
            reason += f", labelled {names[record.labels[target]]}"
        elif kind == PLACE:
            # Rounded down, for 0.496 is too little.
            common = int(100 * judged.alike[place][own, target]) / 100
            beside = f", but only {common:.2f} like its label"
            reason += ", but beside its label" if judged.pointed else beside
        elif kind == BOTH:
            reason += f" beside a {names[record.labels[target]]}"
        elif kind == DOUBLE:
            reason += " a second time"
        elif kind == BACKGROUND:
            reason += " where nothing is labelled"
        box = found.boxes[own].astype(np.float64)
        doubts[place].append(Doubt(KINDS[kind], reason, score, box))
    recalls = {name: numbers["recall"] for name, numbers in analysis.classes.items()}
    for number in np.flatnonzero(missed).tolist():
        place = int(np.searchsorted(judged.firsts, number, side="right")) - 1
        target = number - int(judged.firsts[place])
        name = names[records[place].labels[target]]
        # What a model usually finds is worse to miss.
        cost = max(0.05, np.nan_to_num(recalls[name]))
        reason = f"{name} labelled where nothing is found"
        doubts[place].append(Doubt(KINDS[MISSED], reason, cost, records[place].boxes[target]))
    return doubts
