"""Computes the scores of boxes and of joints, and says what they are and hold for."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from heatpoint.data import Annotations
from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError, check_choice
from heatpoint.inference import METRICS, RADII, MeasureOptions
from heatpoint.inference.engines.engine import Timings
from heatpoint.inference.match import Match
from heatpoint.scoring import Results
from heatpoint.scoring.boxes import (
    COUNTED,
    NUMBERS,
    CocoScores,
    QuadScores,
    VocScores,
    coco_metrics,
    score_quads,
    voc_metrics,
)
from heatpoint.scoring.keypoints import JointScores, score_joints
from heatpoint.scoring.points import Counts, PointScores, score_points
from heatpoint.scoring.subjects import NORMALISERS
from heatpoint.views import View
from heatpoint.wording import amount

if TYPE_CHECKING:
    from heatpoint.codecs import Codec
    from heatpoint.inference.engines.description import Description


@dataclass(frozen=True, kw_only=True)
class BoxScores(CocoScores):
    """COCO's and VOC's scores of boxes.

    Attributes:
        voc: Pascal VOC's.
    """

    voc: VocScores


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Scores and how they came about; NaN where there is nothing to find or nothing was asked.

    Attributes:
        boxes: Scores of boxes; None for a model that finds none.
        joints: Scores of joints; None for a model that finds none, or data without joints.
        points: Scores of points, or of boxes as points; None where these were not asked for.
        quads: Scores of four corners; None for a model that finds none.
        main: Name in ``scores`` of the one that decides.
        protocol: Size, flip, limits, precision and version: what the numbers hold for.
        images: Number of images scored.
        objects: Number of annotated objects in them, ignored ones included.
        full: Looks at which the model gave as many sure results as it can, and pictures that were
            looked at again as often as they may be; there may be more.
        skipped: Path and reason of each unreadable image that ``skip_bad`` left out.
        timings: Seconds per stage and images per second; all 0 for a file of results.
        report: What ``report.json`` holds beside these; empty where no report was asked for.
        remarks: The same in words.
    """

    boxes: BoxScores | None
    joints: JointScores | None
    main: str
    protocol: dict[str, Any]
    images: int
    objects: int
    points: PointScores | None = None
    quads: QuadScores | None = None
    full: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    timings: Timings = field(default_factory=Timings)
    report: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def ap(self) -> float:
        """COCO's AP of boxes; NaN without boxes."""
        return math.nan if self.boxes is None else self.boxes.ap

    @property
    def scores(self) -> dict[str, float]:
        """Every score in [0, 1] by name; see ``flat_scores``."""
        return flat_scores(self.boxes, self.joints, self.points, self.quads)

    def as_dict(self) -> dict[str, Any]:
        """Returns everything ready for JSON, with null for NaN."""
        plain = dataclasses.asdict(self)
        for name in ("main", "remarks", *(() if self.report else ("report",))):
            del plain[name]
        plain["skipped"] = [{"path": path, "reason": reason} for path, reason in self.skipped]
        plain["timings"] = self.timings.as_dict()
        scores = (plain.pop("boxes") or {}) | (plain.pop("joints") or {})
        for name in ("points", "quads"):
            if plain[name] is None:
                del plain[name]
        cleaned: dict[str, Any] = null_for_nan(scores | plain)
        return cleaned

    def summary(self) -> str:
        """Returns a few lines for people: scores in percent, by class and joint."""
        what, lines = amount(self.images, "image"), []
        if self.skipped:
            lines.append(f"skipped {amount(len(self.skipped), 'unreadable image')}")
        if self.full:
            lines.append(full_text(self.full))
        if self.boxes is not None:
            what += f", {amount(self.objects, 'object')}"
            lines += _box_lines(self.boxes)
        if self.quads is not None:
            what += f", {amount(self.objects, 'object')} of four corners"
            lines += _quad_lines(self.quads)
        if self.points is not None:
            what += f", {amount(self.points.counts.annotated, 'point')}"
            lines += _point_lines(self.points)
        if self.joints is not None:
            what += f", {amount(self.joints.subjects, 'subject')}"
            lines += _joint_lines(self.joints, self.protocol)
        return "\n".join([what, *lines, *self.remarks])


Scored = tuple[BoxScores | None, JointScores | None, PointScores | None, QuadScores | None]


def measured(
    match: Match,
    truth: Annotations,
    found: Sequence[Detections],
    in_order: bool,
    how: MeasureOptions,
) -> Scored:
    """Returns the scores of boxes, joints, points and corners, each None where there is none.

    Args:
        match: What is scored.
        truth: The images of ``match.truth`` that are scored.
        found: One result for each, from ``match.answer``.
        in_order: Results are those of the annotated subjects in their order.
        how: How they are computed.
    """
    boxes = joints = points = None
    if match.boxes and tuple(how.metric) != ("points",):
        boxes = score_boxes(found, truth, how.metric)
    if match.joints:
        joints = score_joints(truth, found, in_order, how.normaliser, how.thresholds, how.sigmas)
    if match.points or ((match.boxes or match.quads) and "points" in how.metric):
        points = score_points(found, truth, how.radii, how.sure)
    return boxes, joints, points, score_quads(found, truth) if match.quads else None


def score_boxes(results: Results, truth: Annotations, metric: Sequence[str]) -> BoxScores:
    """Returns the scores of boxes; NaN where a metric was not asked for."""
    unknown: dict[str, Any] = dict.fromkeys(NUMBERS, math.nan)
    coco = CocoScores(**unknown, per_class={})
    if "coco" in metric:
        coco = coco_metrics(results, truth)
    voc = voc_metrics(results, truth) if "voc" in metric else VocScores()
    return BoxScores(**vars(coco), voc=voc)


def check_measure(how: MeasureOptions) -> None:
    """Makes sure that it can be computed.

    Raises:
        HeatpointError: A name is unknown, or a threshold is no positive number.
    """
    for name in how.metric:
        check_choice("metric", name, METRICS)
    check_choice("normaliser", how.normaliser, list(NORMALISERS))
    for name in ("thresholds", "radii"):
        numbers = list(getattr(how, name))
        if not numbers or not all(0 < number < math.inf for number in numbers):
            raise HeatpointError(f"{name} must be positive numbers, not {numbers}")
    if list(how.radii) != sorted(set(how.radii)):
        raise HeatpointError(f"radii must ascend, not {list(how.radii)}")
    if not 0 <= how.sure <= 1:
        raise HeatpointError(f"sure must lie in [0, 1], not {how.sure}")


def flat_scores(
    boxes: BoxScores | None,
    joints: JointScores | None,
    points: PointScores | None,
    quads: QuadScores | None,
) -> dict[str, float]:
    """Returns every score by name.

    These are COCO's twelve numbers, the mean of each PCK, ``oks_ap``, F1 and AP of points within
    each radius, such as ``f1@8``, and ``quad_ap``, ``quad_ap50`` and ``quad_ap75``.
    """
    scores = {} if boxes is None else {name: getattr(boxes, name) for name in NUMBERS}
    if joints is not None:
        scores |= {name: each.mean for name, each in joints.pck.items()}
        scores["oks_ap"] = joints.oks.ap
    if points is not None:
        for name, each in points.within.items():
            scores |= {f"f1@{name}": each.f1, f"ap@{name}": each.ap}
    if quads is not None:
        scores |= {"quad_ap": quads.ap, "quad_ap50": quads.ap50, "quad_ap75": quads.ap75}
    return scores


def score_columns(model: Codec | Description) -> tuple[str, ...]:
    """Returns the scores that tell how a model does, before any evaluation; the first decides.

    They are names of ``Metrics.scores``; none for a model of which nothing can be scored. Joints
    in crops are judged by PCK; in whole pictures by OKS, which false alarms lower. Points are
    judged by F1, within the middle radius; four corners by AP.
    """
    found = {field.name for field in model.answer}
    view = View.kinds[model.view] if isinstance(model.view, str) else model.view
    if "keypoints" in found and view.asks:
        return ("pck@0.1", "pck@0.05", "pck@0.2")
    if "points" in found:
        low, middle = RADII[0], RADII[len(RADII) // 2]
        return (f"f1@{middle:g}", f"f1@{low:g}", f"ap@{middle:g}")
    if "quads" in found:
        return ("quad_ap", "quad_ap50", "quad_ap75")
    boxes = ("ap", "ap50", "ap75") if "boxes" in found else ()
    if "keypoints" not in found:
        return boxes
    return ("oks_ap", *boxes[:1], "pck@0.1", *boxes[1:])


_SHORT = re.compile("(ap|ar|f1|oks|pck)")


def score_title(name: str) -> str:
    """Returns the name of a score as people write it: "AP50" for "ap50", "AP small"."""
    words = (word.upper() if _SHORT.match(word) else word for word in name.split("_"))
    return " ".join(words)


def percent(value: float) -> str:
    """Returns a share in percent, or n/a for NaN."""
    return "  n/a" if math.isnan(value) else f"{100 * value:5.1f}"


def null_for_nan(value: Any) -> Any:
    """Returns nested dictionaries, lists and tuples for JSON, which lacks NaN: it becomes None."""
    if hasattr(value, "_asdict"):  # a named tuple
        value = value._asdict()
    if isinstance(value, dict):
        return {key: null_for_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [null_for_nan(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _line(scores: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {percent(score)}" for name, score in scores.items())


def _class_lines(scores: Mapping[str, Mapping[str, float]], what: str = "") -> list[str]:
    """Returns a line for each class or joint: its name, and scores of it."""
    wide = max(map(len, scores), default=0)
    return [f"{name:<{wide}}  {what}{_line(own)}" for name, own in scores.items()]


def _box_lines(boxes: BoxScores) -> list[str]:
    numbers = [{name: getattr(boxes, name) for name in part} for part in (NUMBERS[:6], NUMBERS[6:])]
    voc = {"11-point": boxes.voc.ap50_11_point, "all points": boxes.voc.ap50_all_point}
    lines = [*map(_line, numbers), f"VOC AP50  {_line(voc)}", *_class_lines(boxes.per_class)]
    if boxes.all_counted:
        lines.append(
            f"a picture holds more than {COUNTED} objects of a class: all results count, where "
            f"COCO counts {COUNTED} of a class in a picture"
        )
    return lines


def _quad_lines(quads: QuadScores) -> list[str]:
    whole = {"ap": quads.ap, "ap50": quads.ap50, "ap75": quads.ap75}
    return [f"{_line(whole)}   (by the overlap of the polygons)", *_class_lines(quads.per_class)]


def _point_lines(points: PointScores) -> list[str]:
    lines = []
    for name, each in points.within.items():
        lines.append(f"within {name} px  {_line(vars(each))}   (F1 from score {points.sure:g} on)")
    lines.append(
        f"error of paired points: median {points.error_median:.2f} px, 90 % within "
        f"{points.error_90:.2f} px; F1 is highest with --score {points.best_sure:.2f}"
    )
    classes = {"counts": points.counts}
    if len(points.counts_per_class) > 1:
        classes |= points.counts_per_class
    if points.density is not None:
        classes |= {"density": points.density}
        if len(points.density_per_class) > 1:
            per_class = points.density_per_class.items()
            classes |= {f"density, {name}": each for name, each in per_class}
    wide = max(map(len, classes))
    lines += [f"{name:<{wide}}  {_count_line(each)}" for name, each in classes.items()]
    if len(points.within_per_class) > 1:
        for name, within in points.within_per_class.items():
            scores = {f"F1@{radius}": one.f1 for radius, one in within.items()}
            lines.append(f"{name:<{wide}}  {_line(scores)}")
    return lines


def _count_line(counts: Counts) -> str:
    return (
        f"annotated {counts.annotated:,}  found {counts.found:,}  per picture off by "
        f"{counts.mae:.2f} (root mean square {counts.rmse:.2f}, bias {counts.bias:+.2f})"
    )


def full_text(looks: int) -> str:
    """Returns a sentence about looks that gave as much as a model can, or that asked for it."""
    hold = f"{amount(looks, 'picture', 'tile')} {'holds' if looks == 1 else 'hold'}"
    return (
        f"{hold} as many sure results, or places to look at again, as one "
        "look can give; there may be more: raise --max-detections, or look at --tiles"
    )


def _joint_lines(joints: JointScores, protocol: dict[str, Any]) -> list[str]:
    lines = [f"left out: {count} {reason}" for reason, count in joints.left_out.items()]
    if joints.missed:
        lines.insert(0, f"missed {joints.missed} subjects: no detected box on them")
    if joints.pck:
        means = {name: each.mean for name, each in joints.pck.items()}
        lines.append(f"{_line(means)}   (by the {protocol['normaliser']})")
    oks = {name: getattr(joints.oks, name) for name in ("ap", "ap50", "ap75", "ar")}
    how = f"sigmas: {protocol['sigmas']}; size: area of the {protocol['oks_area']}"
    lines.append(f"OKS  {_line(oks)}   ({how})")
    if len(joints.oks.per_class) > 1:
        lines += _class_lines(joints.oks.per_class, "OKS ")
    if joints.error_per_joint:
        lines.append(f"mean error {joints.mean_error:.2f} px")
    wide = max(map(len, joints.error_per_joint), default=0)
    for joint, error in joints.error_per_joint.items():
        each = {name: scores.per_joint[joint] for name, scores in joints.pck.items()}
        lines.append(f"{joint:<{wide}}  {_line(each)}  error {error:6.2f} px")
    return lines
