"""Parts of HTML pages that hold all they show: pictures with truth beside results, and charts."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from heatpoint.data import Annotations
from heatpoint.data.draw import draw_truth
from heatpoint.data.images import load_shown
from heatpoint.geometry import Affine, Image
from heatpoint.inference.doubts import Doubt, Doubted
from heatpoint.system.files import atomic_write
from heatpoint.system.signs import SIGN

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
