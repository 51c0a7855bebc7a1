"""What labels and a model disagree about in a picture, and pages that show it and charts.

A page is one HTML file that holds all it shows: pictures with truth beside results, charts, tables.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.draw import draw_truth
from heatpoint.data.images import load_shown
from heatpoint.data.results import Detections
from heatpoint.geometry import Affine, Image, box_iou
from heatpoint.inference.match import Match
from heatpoint.inference.predict import SCORE
from heatpoint.scoring.subjects import joint_errors, subject_lengths
from heatpoint.system.files import atomic_write
from heatpoint.system.signs import SIGN

SAME = 0.5
"""Overlap from which a result is about a label."""

_OFF = 0.2  # share of the subject's extent that a joint may lie off
_SWAPPED = 0.5  # share of the error that is left when left and right change places


class Doubt(NamedTuple):
    """One thing about which labels and model disagree.

    Attributes:
        kind: A word for it, such as "missed".
        reason: What labels and model say, in words.
        suspicion: How much it is worth a look, from 0 to 1.
        box: Where, xyxy in image pixels.
    """

    kind: str
    reason: str
    suspicion: float
    box: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Doubted:
    """A picture that labels and model disagree about.

    Attributes:
        record: Its labels.
        found: What the model finds, without what is not sure enough.
        doubts: What they disagree about, the most suspicious first.
    """

    record: ImageRecord
    found: Detections
    doubts: tuple[Doubt, ...]


def joint_doubts(
    match: Match, record: ImageRecord, found: Detections, in_order: bool
) -> Iterator[Doubt]:
    """Yields the joints that are found far from their labels, or all on the other side.

    Args:
        match: Says what is compared.
        record: Labels of a picture.
        found: What was found in it, with the joints of the labels.
        in_order: Results are those of the labelled subjects in their order.
    """
    truth, skeleton = record.keep(match.wanted(record)), match.truth.skeleton
    if truth.keypoints is None or found.keypoints is None or skeleton is None:
        return
    pairs = list(zip(range(len(truth)), range(len(found)), strict=False))
    if not in_order:
        overlaps = box_iou(truth.boxes, found.boxes.astype(np.float64))
        best = overlaps.argmax(1) if len(found) else np.zeros(0, np.int64)
        pairs = [(row, int(b)) for row, b in enumerate(best) if overlaps[row, b] >= SAME]
    rows, others = np.array(pairs, np.int64).reshape(-1, 2).T
    labelled, seen = truth.keypoints[rows], found.keypoints[others]
    lengths = subject_lengths("extent", labelled, truth.boxes[rows], None, skeleton)[:, None]
    errors = joint_errors(seen, labelled) / lengths
    mirrored = joint_errors(seen, labelled[:, list(skeleton.flip)]) / lengths
    paired = np.array(skeleton.flip) != np.arange(len(skeleton))
    for row in range(len(rows)):
        sure = seen[row, :, 2].clip(0, 1)
        both = paired & np.isfinite(errors[row]) & np.isfinite(mirrored[row])
        own, turned = errors[row, both].sum(), mirrored[row, both].sum()
        if own > _OFF * both.sum() and turned < _SWAPPED * own:
            suspicion = float(sure[both].mean() * (1 - turned / own))
            reason = f"left and right of subject {rows[row] + 1} seem to be swapped"
            yield Doubt("sides", reason, suspicion, truth.boxes[rows[row]])
            continue
        for joint in np.flatnonzero((errors[row] > _OFF) & (sure >= SCORE)).tolist():
            error, height = float(errors[row, joint]), float(sure[joint])
            ends = np.stack((labelled[row, joint, :2], seen[row, joint, :2]))
            box = np.concatenate((ends.min(0), ends.max(0)))
            reason = (
                f"{skeleton.joints[joint]} found with {height:.2f}, {error:.0%} of the subject's "
                "extent from its label"
            )
            yield Doubt("joint", reason, height * min(1.0, error), box)


if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DOUBTS = 9  # told and marked per picture, at most
_SIDES = 480, 960  # pixels: longer side of a picture is brought between these
_QUALITY = 85
_STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")


def write_page(path: str | Path, title: str, parts: Iterable[str]) -> None:
    """Writes one HTML file that loads nothing and follows the reader's choice of dark or light.

    Args:
        path: A file that ends in .html.
        title: Its heading, as text.
        parts: What follows, as HTML; they are written one by one.
    """
    with atomic_write(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(
            f'<!doctype html>\n<!-- {SIGN} -->\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width">'
            f"<title>{escape(title)}</title><style>\n{_STYLE}</style></head>\n"
            f"<body><h1>{escape(title)}</h1>\n"
        )
        file.writelines(parts)
        file.write("</body></html>\n")


def picture(each: Doubted, truth: Annotations, called: str = "") -> str:
    """Returns the part of a page about one picture: labels beside what was found, doubts marked.

    Args:
        each: The picture; its longer side is brought to between 480 and 960 pixels.
        truth: Says what classes and joints are called.
        called: What ``Doubt.suspicion`` is called beside each doubt; "" says none.
    """
    told = each.doubts[:_DOUBTS]
    small = [f" <small>{called} {doubt.suspicion:.2f}</small>" if called else "" for doubt in told]
    items = "".join(
        f"<li>{escape(doubt.reason)}{more}</li>" for doubt, more in zip(told, small, strict=True)
    )
    rest = len(each.doubts) - len(told)
    more = f"<p><small>and {rest:,} more</small></p>" if rest else ""
    labels, found = map(_embedded, _drawn(each, told, truth))
    path, kinds = each.record.path, "|".join(dict.fromkeys(doubt.kind for doubt in each.doubts))
    return (
        f'<section data-kinds="{escape(kinds)}">'
        f'<h3 title="{escape(str(path))}">{escape(path.name)}</h3>\n'
        f'<ol>{items}</ol>{more}<div class="pair">\n'
        f'<figure><figcaption>labels</figcaption><img alt="labels" src="{labels}"></figure>\n'
        f'<figure><figcaption>found</figcaption><img alt="found" src="{found}"></figure>\n'
        "</div></section>\n"
    )


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns an HTML table of texts."""
    lines = [f"<tr>{''.join(f'<th>{escape(each)}</th>' for each in headings)}</tr>"]
    lines += [f"<tr>{''.join(f'<td>{escape(each)}</td>' for each in row)}</tr>" for row in rows]
    return f'<div class="wide"><table>{"".join(lines)}</table></div>\n'


def chart(figure: Figure, about: str) -> str:
    """Returns a drawn figure as HTML; ``about`` is read out where it cannot be seen."""
    data = io.BytesIO()
    figure.savefig(data, format="png")
    encoded = base64.b64encode(data.getvalue()).decode()
    # On a narrow screen it is rolled sideways rather than made too small to read.
    least = 0.6 * float(figure.get_figwidth() * figure.dpi)
    style = f'class="chart" style="max-width: max(100%, {least:.0f}px)"'
    image = f'<img {style} alt="{escape(about)}" src="data:image/png;base64,{encoded}">'
    # The keyboard reaches what rolls.
    named = f'tabindex="0" role="group" aria-label="{escape(about)}"'
    return f'<div class="wide rolls" {named}>{image}</div>\n'


def _drawn(each: Doubted, told: Sequence[Doubt], truth: Annotations) -> list[Image]:
    """Returns the picture with its labels and with what was found, the doubts marked in both."""
    image: Image = load_shown(each.record.path)
    height, width = image.shape[:2]
    longer = max(height, width)
    zoom = min(max(longer, _SIDES[0]), _SIDES[1]) / longer
    scale = Affine.scale(zoom, zoom)
    image = scale.warp(image, (max(1, round(zoom * height)), max(1, round(zoom * width))))
    record, found = each.record, each.found
    placed, boxes_too = record.moved(scale), found.keypoints is None
    boxes = [scale.boxes(doubt.box) for doubt in told]
    image = _framed(image, boxes)  # below, so that names can be read
    both = [
        draw_truth(image, placed, truth.names, truth.skeleton, boxes_too or found.own_boxes),
        found.moved(scale).plot(image),
    ]
    return [_numbered(picture, boxes) for picture in both]


def _framed(image: Image, boxes: Sequence[NDArray[np.float64]]) -> Image:
    """Returns the picture with a frame around each place, black and white to stand out."""
    for box in boxes:
        ends = _ends(box, image)
        for colour, thickness in (((0, 0, 0), 5), ((255, 255, 255), 2)):
            cv2.rectangle(image, *ends, colour, thickness)
    return image


def _numbered(image: Image, boxes: Sequence[NDArray[np.float64]]) -> Image:
    """Returns the picture with the number of each place in its frame."""
    font, (height, width) = cv2.FONT_HERSHEY_SIMPLEX, image.shape[:2]
    for number, box in reversed([*enumerate(boxes, start=1)]):
        (left, _), (_, bottom) = _ends(box, image)
        # The number stands at the lower edge, because names stand at the upper one.
        x, y = min(left, width - 24), min(max(bottom, 26), height)
        cv2.rectangle(image, (x, y - 26), (x + 22, y), (0, 0, 0), cv2.FILLED)
        cv2.putText(image, str(number), (x + 4, y - 6), font, 0.65, (255, 255, 255), 2, cv2.LINE_AA)
    return image


def _ends(box: NDArray[np.float64], image: Image) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns two corners of the frame around a box, within the picture."""
    left, top, right, bottom = (round(float(value)) for value in box)
    height, width = image.shape[:2]
    return (max(0, left - 5), max(0, top - 5)), (min(width, right + 5), min(height, bottom + 5))


def _embedded(image: Image) -> str:
    """Returns the picture as the text of a JPEG file that HTML can hold."""
    options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
