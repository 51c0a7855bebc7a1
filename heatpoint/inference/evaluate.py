"""Scores a model of any kind, or a file of its results, on annotated images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heatpoint.data import Annotations
from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError
from heatpoint.inference import (
    EvaluateOptions,
    LimitsOptions,
    MeasureOptions,
    ReportOptions,
    refuse,
)
from heatpoint.inference.analysis import Analysis, Evaluated
from heatpoint.inference.charts import draw_point_curves
from heatpoint.inference.engines.description import Description
from heatpoint.inference.engines.engine import Engine, Timings
from heatpoint.inference.match import Match, check_files, open_truth
from heatpoint.inference.metrics import (
    Metrics,
    check_measure,
    flat_scores,
    measured,
    score_boxes,
    score_columns,
)
from heatpoint.inference.predict import found_places, not_everywhere, open_runner
from heatpoint.inference.report import check_report, report_files, set_threshold, write_report
from heatpoint.inference.runner import Runner
from heatpoint.options import as_keywords, keywords
from heatpoint.scoring import read_rows
from heatpoint.scoring.boxes import score_quads
from heatpoint.scoring.keypoints import JointScores, default_sigmas, oks_metrics, sizes_of
from heatpoint.scoring.points import score_points
from heatpoint.scoring.subjects import MATCH, NORMALISERS, is_subject
from heatpoint.system.files import write_json
from heatpoint.system.outputs import check_outputs
from heatpoint.system.signs import Kind

if TYPE_CHECKING:
    from heatpoint.zoo.detector import Detector

PLACE_SCORE = 0.05
"""Least score of a box of ``detector``, where the user does not say."""


@keywords(EvaluateOptions, positional=2)
def evaluate(
    options: EvaluateOptions, *, progress: Callable[[int, int], None] | None = None
) -> Metrics:
    """Returns the scores of a model, or of a file of results; takes every ``EvaluateOptions``.

    Found boxes are scored by COCO's and VOC's rules, found joints by PCK, PCKh, pixel errors and
    OKS, four corners by the AP of their polygons. What is scored is what ``predict`` returns with
    the same arguments; only the default of ``score`` differs, 0, because the area under a curve
    needs its far end.

    Example:
        >>> metrics = evaluate("best.safetensors", "val.json")  # doctest: +SKIP
        >>> metrics.scores[metrics.main]  # doctest: +SKIP

    Args:
        options: Say which model, which data, and how; ``model`` is None with ``results``.
        progress: Called with images done and images in all.

    Raises:
        HeatpointError: Classes or joints differ, images are missing or unreadable, results belong
            to other images, a box to look at is without area or outside its image, the normaliser
            is not defined here, or an argument is out of range or not for this model.
    """
    check_measure(options.measure)
    wanted = options.about
    if (options.model is None) == (options.results is None):
        raise HeatpointError("expected either a model or results to score, not both or neither")
    truth = open_truth(options.data)
    given = [options.model, options.detector, options.results, truth.source]
    pictures = [record.path for record in truth.images]
    page, numbers = report_files(wanted.report) if wanted.report else (None, None)
    written: dict[Kind, list[Path | str | None]] = {"pages": [page]}
    written["numbers"] = [options.save_results, numbers]
    written["pictures"] = [options.measure.curves]
    check_outputs(written, [*given, wanted.against], pictures)
    if options.model is None or options.results is not None:
        why = "looks at what a model finds, and a file of results is scored alone; give the model"
        refuse(wanted, ("report", "against", "limits", "set_threshold"), why)
        return _with_curves(_score_file(Path(options.results or ""), truth, options), options)
    models = [options.model, *([wanted.against] if wanted.against else ())]
    ready = [_opened(model, options, truth) for model in models]
    in_order = ready[0][1].asks and options.detector is None
    check_report(wanted, options.model, ready[0][1], in_order)
    if len({_scored_by(match) for _, match in ready}) > 1:
        found = " and ".join(runner.engine.description.finds for runner, _ in ready)
        raise HeatpointError(
            f"against compares models by the same score, and these find {found}; give another one"
        )
    if not options.read.skip_bad:
        check_files(truth)
    limits = None
    if wanted.limits and not isinstance(options.model, Engine):
        # It needs torch, which a report does not.
        from heatpoint.inference.limits import limits as what_limits

        how = LimitsOptions(options.model, truth, options.keep, options.run, options.read)
        limits = what_limits(**as_keywords(how), progress=progress)
    first = _evaluated(*ready[0], options, _called(options.model, ready[0][0]), progress)
    if wanted == ReportOptions():
        return _with_curves(first.metrics, options)
    other = None
    if wanted.against:
        alone = replace(options, save_results=None)
        other = _evaluated(*ready[1], alone, _called(wanted.against, ready[1][0]), progress)
    analysis = Analysis(first, other, limits)
    remarks = analysis.lines()
    if wanted.report:
        write_report(wanted.report, truth.source or "annotations", analysis)
        remarks.append(f"report: {page}")
    if wanted.set_threshold and isinstance(options.model, (str, Path)):
        remarks.append(set_threshold(options.model, analysis))
    metrics = replace(first.metrics, report=analysis.as_dict(), remarks=tuple(remarks))
    return _with_curves(metrics, options)


def _with_curves(metrics: Metrics, options: EvaluateOptions) -> Metrics:
    """Draws the curves of points if that was asked for, and adds a remark that says so."""
    path = options.measure.curves
    if path is None or metrics.points is None:
        return metrics
    draw_point_curves(path, metrics.points)
    return replace(metrics, remarks=(*metrics.remarks, f"curves: {path}"))


def _opened(
    model: Detector | Engine | str | Path, options: EvaluateOptions, truth: Annotations
) -> tuple[Runner, Match]:
    """Returns what runs a model, and how its answers are compared."""
    timings = None if isinstance(model, Engine) else Timings()
    runner = open_runner(model, options.run, options.keep, 0.0, timings)
    match = Match.of(runner.engine.description, truth)
    _check_options(options, match, runner.engine.description)
    return runner, match


def _scored_by(match: Match) -> tuple[bool, ...]:
    return match.asks, match.quads, match.points, match.joints


def _called(model: object, runner: Runner) -> str:
    """Returns what a model is called on the page: as the user wrote it."""
    return str(model) if isinstance(model, (str, Path)) else runner.engine.description.called


def _evaluated(
    runner: Runner,
    match: Match,
    options: EvaluateOptions,
    called: str,
    progress: Callable[[int, int], None] | None,
) -> Evaluated:
    """Runs a model over all pictures and scores what it finds."""
    about, read = runner.engine.description, options.read
    sources, keep = match.sources, options.keep
    least = PLACE_SCORE if keep.score is None else keep.score
    if options.detector is None:
        places = match.places()
    else:
        places = found_places(options, about.names[0], sources, PLACE_SCORE)
    done: list[int] = []
    found: list[Detections] = []
    for one in runner.stream(sources, places, read.batch_size, read.workers, read.skip_bad):
        done.append(one.index)
        found.append(match.answer(one.detections))
        if progress:
            progress(one.index + 1, len(sources))
    truth = match.truth.subset(done)
    if options.save_results is not None:
        rows = [
            row
            for record, one in zip(truth.images, found, strict=True)
            for row in one.to_coco(record.image_id, truth.category_ids)
        ]
        write_json(options.save_results, rows)
    in_order = match.asks and options.detector is None
    scored = measured(match, truth, found, in_order, options.measure)
    scores, (boxes, joints, points, quads) = flat_scores(*scored), scored
    unread = [] if places is None else [i for i in range(len(sources)) if i not in places]
    metrics = Metrics(
        boxes=boxes,
        joints=joints,
        main=next(name for name in (*score_columns(about), *scores) if name in scores),
        protocol=runner.protocol() | _protocol(options, match, least),
        images=len(truth),
        objects=truth.objects,
        points=points,
        quads=quads,
        full=runner.full,
        skipped=[(str(sources[i]), "unreadable") for i in unread] + runner.skipped,
        timings=runner.timings,
    )
    return Evaluated(called, metrics, match, truth, found, in_order, options.measure)


def _check_options(options: EvaluateOptions, match: Match, about: Description) -> None:
    """Refuses options that would change nothing."""
    if not match.asks:
        refuse(options, ("detector",), not_everywhere(about))
    elif options.detector is None:
        why = (
            f"chooses among the boxes that a detector finds, and {about.called} looks at the "
            "annotated ones; give detector too, or leave it out"
        )
        refuse(options.keep, ("score", "nms", "soft_nms"), why)
    if not match.joints:
        why = "is for joints, and there are none to score; leave it out"
        refuse(options.measure, ("normaliser", "sigmas"), why)
    if not match.points:
        _refuse_points(options.measure)


def _refuse_points(how: MeasureOptions) -> None:
    """Refuses options of points where nothing is scored as such."""
    if "points" not in how.metric:
        why = "is for points, and boxes are scored as such with metric=points only; leave it out"
        refuse(how, ("radii", "sure", "curves"), why)


def _protocol(options: EvaluateOptions, match: Match, least: float) -> dict[str, Any]:
    """Returns what decides about the numbers beside the runner's protocol."""
    protocol: dict[str, Any] = {}
    keep, how, detected = options.keep, options.measure, options.detector is not None
    if match.asks:
        protocol |= {
            "boxes": "detected" if detected else "annotated",
            "box_score": least if detected else None,
            "box_nms": keep.nms,
        }
    if match.joints and match.truth.skeleton is not None:
        protocol |= {
            "match_iou": MATCH if detected or not match.asks else None,
            "normaliser": f"{how.normaliser}: {NORMALISERS[how.normaliser]}",
            "thresholds": list(how.thresholds),
        }
        protocol |= _oks_protocol(match.truth, how)
    if match.points or "points" in how.metric:
        protocol |= {"radii": list(how.radii), "sure": how.sure}
    return protocol


def _oks_protocol(truth: Annotations, how: MeasureOptions) -> dict[str, str]:
    """Returns what OKS depends on."""
    assert truth.skeleton is not None
    sigmas = "given" if how.sigmas is not None else default_sigmas(truth.skeleton)[1]
    return {"sigmas": sigmas, "oks_area": sizes_of(truth)}


def _score_file(path: Path, truth: Annotations, options: EvaluateOptions) -> Metrics:
    """Returns the scores of a file of results: of boxes, joints, both, points or corners."""
    if not truth.pointed:
        _refuse_points(options.measure)
    rows, how = read_rows(path, truth), options.measure
    protocol: dict[str, Any] = {"results": str(options.results)}
    boxes = joints = points = quads = None
    if truth.pointed or "points" in how.metric:
        points = score_points(rows, truth, how.radii, how.sure)
        protocol |= {"radii": list(how.radii), "sure": how.sure}
    posed = any("keypoints" in row for row in rows)
    if posed and (truth.skeleton is not None or not all("bbox" in row for row in rows)):
        subjects = sum(int(is_subject(record).sum()) for record in truth.images)
        joints = JointScores(oks=oks_metrics(rows, truth, how.sigmas), subjects=subjects)
        protocol |= _oks_protocol(truth, how)
    boxed = not posed or all("bbox" in row for row in rows)
    if truth.cornered and rows and all("segmentation" in row for row in rows):
        quads, boxed = score_quads(rows, truth), False
    if boxed and not truth.pointed and tuple(how.metric) != ("points",):
        boxes = score_boxes(rows, truth, how.metric)
    return Metrics(
        boxes=boxes,
        joints=joints,
        points=points,
        quads=quads,
        main=next(
            iter(flat_scores(None, None, points, quads)), "ap" if joints is None else "oks_ap"
        ),
        protocol=protocol,
        images=len(truth),
        objects=truth.objects,
    )
