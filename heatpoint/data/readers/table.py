"""Reads tables of boxes or points, one a row: TensorFlow's, Open Images', RetinaNet's, and kin.

Columns are known by their headings, in any order, in capitals or not. Tables without headings are
RetinaNet's ``path,x1,y1,x2,y2,class``, makesense.ai's ``class,x,y,w,h,path,width,height`` and
Google AutoML's, which begins with the split. napari has a CSV file for each picture, called as it:
``axis-0`` counts rows and ``axis-1`` columns of pixels, whose middles are whole numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from heatpoint.data import Annotations
from heatpoint.data.formats import SUFFIXES, is_picture, matching
from heatpoint.data.readers import steps
from heatpoint.data.readers.deeplabcut import fits as is_deeplabcut
from heatpoint.data.readers.drawn import SUBJECT, Note, Picture, Thing, as_annotations, called
from heatpoint.data.readers.given import Given, begins
from heatpoint.data.readers.outlines import ROTATED, Outline, number
from heatpoint.data.readers.via import fits as is_via
from heatpoint.errors import HeatpointError
from heatpoint.system.files import read_text

_HEADINGS = {
    "image": "filename picture imagepath imagename imageid imagefile image filepath path file img"
    " imgpath",
    "label": "class label labelname classname category categoryname name object classlabel",
    "split": "split subset set usage mlusage",
    "crowd": "isgroupof iscrowd",
    "difficult": "difficult",
    "x1": "xmin x1 minx xtl bboxxmin bboxx1 boxxmin left",
    "y1": "ymin y1 miny ytl bboxymin bboxy1 boxymin top",
    "x2": "xmax x2 maxx xbr bboxxmax bboxx2 boxxmax right",
    "y2": "ymax y2 maxy ybr bboxymax bboxy2 boxymax bottom",
    **{key: key for key in ("x3", "y3", "x4", "y4")},
    "x": "x bboxx boxx left bboxleft",
    "y": "y bboxy boxy top bboxtop",
    "cx": "cx xcenter xcentre centerx centrex",
    "cy": "cy ycenter ycentre centery centrey",
    "w": "w bw bboxwidth bboxw boxwidth boxw",
    "h": "h bh bboxheight bboxh boxheight boxh",
    "bbox": "bbox box boundingbox",
    "width": "width imagewidth imgwidth",
    "height": "height imageheight imgheight",
}
"""What columns are called, without capitals, blanks and ``_``; the first one counts."""

_CORNERS, _SIDES, _MIDDLE = ("x1", "y1", "x2", "y2"), ("x", "y", "w", "h"), ("cx", "cy", "w", "h")
_POINTS = (("x", "y"), ("cx", "cy"))
_QUAD = (*_CORNERS, "x3", "y3", "x4", "y4")
_SHAPES = (_QUAD, _CORNERS, _SIDES, _MIDDLE, ("bbox",), *_POINTS)
_RETINANET = ("image", "x1", "y1", "x2", "y2", "label")
_MAKE_SENSE = ("label", "x", "y", "w", "h", "image", "width", "height")
_AUTOML = ("split", "image", "label", "x1", "y1", "", "", "x2", "y2", "", "")
_AUTOML_SPLITS = {
    **{"TRAIN": "train", "TRAINING": "train", "VALIDATION": "val", "VALIDATE": "val"},
    **{"TEST": "test", "UNASSIGNED": ""},
}

_PIXELS = re.compile(r"[(\[](px|pixels?)[)\]]\s*$", re.IGNORECASE)
"""What headings may say of units; columns of other units are none of those that are read."""

_COMMA = re.compile(r"^([-+]?\d+),(\d+)$")

ROBOFLOW = "_annotations.csv"
"""What Roboflow calls the file of a split."""

_PLAUSIBLE = 1.5
"""Largest coordinate of tables whose coordinates are shares of the picture."""

_PIXEL = 0.5
"""From the number of a pixel to the coordinate of its middle."""

_TRIED = 5
"""CSV files of a folder that are looked at to recognise it."""


class _Row(NamedTuple):
    """The place of a row, what the cells of its box mean, these, all cells, and which is which."""

    where: str
    keys: Sequence[str]
    cells: list[str]
    all: list[str]
    columns: Mapping[str, int]

    def text(self, key: str, default: str = "") -> str:
        """Returns the cell of a meaning; what stands for it in tables without such a column."""
        return self.all[self.columns[key]] if key in self.columns else default


class _Table(NamedTuple):
    """What the rows of one picture say."""

    size: steps.Size | None
    split: str
    things: list[Thing]
    notes: list[Note]


def fits(given: Given) -> bool:
    """Returns whether a file is a table that no other reader knows, or Roboflow's in a folder."""
    if given.is_folder:
        return bool(steps.split_files(given.path, ROBOFLOW))
    if given.suffix not in (".csv", ".tsv"):
        return False
    return not (is_via(given) or is_napari(given) or is_deeplabcut(given))


@steps.without_collection()
def read_table(given: Given) -> Annotations:
    """Reads a table, or a folder of Roboflow's with a table in each split.

    A box is two corners, four of them, a corner and the sides, the middle and the sides, or a
    column ``bbox`` of ``[x, y, width, height]``; a point is x and y alone, a box without sides.
    Numbers of tables with semicolons may have decimal commas.
    Coordinates that are all at most about 1 are shares of the picture, which is told, and need the
    pictures. A row without coordinates is a picture without objects. Without a column of classes,
    all boxes are of the class "object".

    Classes are in the order of TensorFlow's ``label_map.pbtxt``, of ``class-descriptions``, which
    give names to Open Images' codes, or of RetinaNet's table ``name,number``, if one is beside the
    file; otherwise they are those of all splits, sorted.

    A split is a value of the column of splits, or a folder's name.

    Raises:
        HeatpointError: Columns are missing (names the headings), a cell is no number (names the
            line), or there is no such split.
    """
    path, images = given.path, given.images
    files = {"": path}
    if given.is_folder:
        files = steps.files_together(path, ROBOFLOW, given.split)
    first = path / ROBOFLOW if given.is_folder else path
    names, classes = _classes(first.parent)
    found: dict[str, _Table] = {}
    for folder, file in files.items():
        for row in _rows(file):
            name = f"{folder}/{row.text('image')}" if folder else row.text("image")
            table = found.get(name) or found.get(name := name.replace("\\", "/").removeprefix("./"))
            if table is None:
                split_of = folder or row.text("split")
                split_of = _AUTOML_SPLITS.get(split_of, split_of)
                table = found[name] = _Table(_size(row), split_of, [], [])
            outline = _outline(row)
            if outline is not None:
                _add(table, row, outline, names)
    boxes = (each.outline.box or () for table in found.values() for each in table.things)
    values = np.fromiter(chain.from_iterable(boxes), float)
    values = values[np.isfinite(values)]
    largest = values.max(initial=0.0)
    relative = largest <= _PLAUSIBLE and bool((values % 1).any())
    pictures = [
        Picture(name, table.size, table.things, (), table.split, table.notes)
        for name, table in found.items()
    ]
    forms = [[f"{each.name}{end}" for each in pictures] for end in ("", ".jpg", ".png", ".jpeg")]
    bare = not any(is_picture(Path(each.name)) for each in pictures)
    named = called(pictures, forms, first, images) if bare else pictures
    annotations = as_annotations(named, first, images, given.split, classes, relative=relative)
    if relative:
        detail = f"none is larger than {largest:g}"
        annotations.say("shares of the image as coordinates", "", detail)
    return annotations


def _rows(path: Path) -> Iterator[_Row]:
    """Yields the rows of a table by the meaning of their columns."""
    separator, table = steps.separated(path)
    first = next(table, None)
    if first is None:
        raise HeatpointError(f"{path} is empty; expected a table of boxes or points")
    # Semicolons stand where the comma is the decimal sign.
    pointed = _with_points if separator == ";" else list[str]
    columns = _without_headings(pointed(first[1]))
    if columns:
        table = chain([first], table)
    else:
        columns = _columns(first[1], path)
    shape = next(keys for keys in _SHAPES if set(keys) <= set(columns))
    places = [columns.index(key) for key in shape]
    used = {key: place for place, key in enumerate(columns) if key}
    least, image, file = max(used.values()) + 1, used["image"], str(path)
    for line, cells in table:
        where = f"{file}:{line}"
        if len(cells) < least:
            remedy = "; the file may be cut off"
            raise steps.unexpected(where, f"{len(columns)} cells", len(cells), remedy)
        if not cells[image]:
            raise steps.unexpected(where, "the name of a picture", "an empty cell")
        yield _Row(where, shape, pointed([cells[place] for place in places]), cells, used)


def _with_points(cells: Sequence[str]) -> list[str]:
    """Returns cells with decimal points for decimal commas, others as they are."""
    return [_COMMA.sub(r"\1.\2", cell) for cell in cells]


def _without_headings(cells: Sequence[str]) -> Sequence[str]:
    """Returns the columns of a table without headings by its first row; none if it has some."""
    if len(cells) == len(_AUTOML) and cells[0].upper() in _AUTOML_SPLITS:
        return _AUTOML
    if not any(map(_is_word, cells[1:5])):
        if len(cells) == len(_RETINANET):
            return _RETINANET
        if len(cells) == len(_MAKE_SENSE) and is_picture(Path(cells[5])):
            return _MAKE_SENSE
    return ()


def _is_word(cell: str) -> bool:
    return bool(cell) and math.isnan(number(cell))


def _columns(headings: Sequence[str], path: Path) -> list[str]:
    """Returns what each column means, ``""`` for nothing."""
    pixels = [_PIXELS.sub("", heading.replace("%", "percent")) for heading in headings]
    plain = [re.sub(r"[\W_]", "", heading).lower() for heading in pixels]
    place = {
        key: next((plain.index(word) for word in words.split() if word in plain), None)
        for key, words in _HEADINGS.items()
    }
    corners = all(place[key] is not None for key in _CORNERS)
    sides = place["w"] is not None and place["h"] is not None
    if not corners and not sides and place["bbox"] is None:
        place["w"], place["h"] = place.pop("width"), place.pop("height")
    there = {key for key, at in place.items() if at is not None}
    shape = next((keys for keys in _SHAPES if there.issuperset(keys)), None)
    if "image" not in there or shape is None:
        wanted = "columns of the picture and of a box (filename, xmin, ymin, xmax, ymax, class) "
        wanted += "or a point (filename, x, y, class)"
        seen = ", ".join(map(repr, headings[:12]))
        raise steps.unexpected(path, wanted, f"the headings {seen}", "; a row is one of these")
    used = {"image", "label", "split", "crowd", "difficult", "width", "height", *shape}
    meaning = {at: key for key, at in place.items() if at is not None and key in used}
    return [meaning.get(column, "") for column in range(len(headings))]


def _outline(row: _Row) -> Outline | None:
    """Returns where the object of a row is, as it is written; None for a picture without one."""
    keys, cells = row.keys, row.cells
    if keys == ("bbox",):
        keys, cells = _SIDES, re.split(r"[\s,;]+", cells[0].strip("[]() "))
    try:
        values = list(map(float, cells))
    except ValueError:
        if not any(cells):
            return None
        words = [cell for cell in cells if _is_word(cell) and cell.lower() != "nan"]
        if words or len(cells) != len(keys):
            wanted = f"numbers {', '.join(keys)}"
            raise steps.unexpected(row.where, wanted, repr(words or cells)) from None
        values = list(map(number, cells))
    if len(values) != len(keys):
        raise steps.unexpected(row.where, f"numbers {', '.join(keys)}", repr(cells))
    if keys is _QUAD:
        return Outline.of(list(zip(values[::2], values[1::2], strict=True)), ROTATED)
    a, b, c, d = values if len(values) == 4 else (*values, 0.0, 0.0)
    if keys is _CORNERS:
        return Outline((a, b, c, d))
    if keys in (_SIDES, *_POINTS):
        return Outline((a, b, a + c, b + d))
    return Outline((a - c / 2, b - d / 2, a + c / 2, b + d / 2))


def _size(row: _Row) -> steps.Size | None:
    return steps.known_size(number(row.text("height")), number(row.text("width")))


def _add(table: _Table, row: _Row, outline: Outline, names: dict[str, str]) -> None:
    """Adds the object of a row; corners in another order are put in order, which is told."""
    box = x1, y1, x2, y2 = outline.box or (math.nan,) * 4
    if x2 < x1 or y2 < y1:
        table.notes.append(Note("corners swapped", f"{row.where}: {x1:g}, {y1:g}, {x2:g}, {y2:g}"))
        box = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
    label = row.text("label", SUBJECT)
    marks = (_is_set(row, key) for key in ("crowd", "difficult"))
    at = outline._replace(box=box)
    table.things.append(Thing(names.get(label, label), at, row.where, None, *marks))


def _is_set(row: _Row, key: str) -> bool:
    return key in row.columns and row.text(key).lower() in ("1", "1.0", "true", "yes")


def _classes(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Returns names of codes, and the classes in order, as files beside a table tell them."""
    for path in matching(folder, "*label*.pbtxt"):
        items = re.findall(r"\bname\s*:\s*[\"']([^\"'\n]+)[\"']", read_text(path))
        if items:
            return {}, items
    for path in (*matching(folder, "*class-descriptions*.csv"), *_above(folder)):
        rows = [cells for _, cells in steps.read_table(path) if len(cells) > 1]
        names = {code: name for code, name, *_ in rows if code.startswith("/")}
        if names:
            return names, list(names.values())
    for path in matching(folder, "*class*.csv"):
        rows = [cells for _, cells in steps.read_table(path)]
        if rows and all(len(cells) == 2 and cells[1].isdigit() for cells in rows):
            return {}, [name for name, _ in sorted(rows, key=lambda cells: int(cells[1]))]
    return {}, []


def _above(folder: Path) -> list[Path]:
    places = (folder.parent, folder.parent / "metadata", folder / "metadata")
    return [path for place in places for path in matching(place, "*class-descriptions*.csv")]


def is_napari(given: Given) -> bool:
    """Returns whether a file is a CSV of napari's points, or one of the first of a folder is."""
    folder = given.is_folder
    return any(map(_is_napari, matching(given.path, "*.csv")[:_TRIED] if folder else [given.path]))


def _is_napari(path: Path) -> bool:
    return path.suffix.lower() == ".csv" and begins(path, rb'^([^\n]*,)?"?axis-0"?,"?axis-1', 256)


def read_napari(given: Given) -> Annotations:
    """Reads one file, or those of a folder.

    A picture without a file is left out, for nobody said that it holds nothing.

    Raises:
        HeatpointError: A file has points of more than two axes, or a cell is no number.
    """
    path, images = given.without_split(), given.images
    files = [each for each in matching(path, "*.csv") if _is_napari(each)] or [path]
    pictures = [_picture(file) for file in files]
    first = path / files[0].name if given.is_folder else path
    forms = [[f"{each.name}{end}" for each in pictures] for end in SUFFIXES]
    return as_annotations(called(pictures, forms, first, images), first, images)


def _picture(file: Path) -> Picture:
    """Returns the points of a file; its picture lacks its ending."""
    (_, headings), *rows = steps.read_table(file)
    plain = [re.sub(r"\W", "", heading).lower() for heading in headings]
    if "axis2" in plain:
        wanted = "points of two axes, rows and columns of a picture"
        raise steps.unexpected(file, wanted, ", ".join(headings[:6]))
    if not {"axis0", "axis1"} <= {*plain}:
        raise steps.unexpected(file, "columns axis-0 and axis-1", ", ".join(headings[:6]))
    row, column = plain.index("axis0"), plain.index("axis1")
    named = [plain.index(word) for word in ("label", "class", "name", "type") if word in plain]
    things = []
    for line, cells in rows:
        where = f"{file}:{line}"
        y, x = (number(cells[at]) if at < len(cells) else math.nan for at in (row, column))
        if math.isnan(x + y):
            raise steps.unexpected(where, "numbers axis-0 and axis-1", ", ".join(cells[:6]))
        x, y = x + _PIXEL, y + _PIXEL
        label = cells[named[0]] if named and named[0] < len(cells) else ""
        things.append(Thing(label or SUBJECT, Outline((x, y, x, y)), where))
    return Picture(file.stem, None, things)
