"""Which pictures are trained on and which are validated on, where the user named only data."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from heatpoint.data import Annotations
from heatpoint.data.dividing import picture_names, split
from heatpoint.data.readers import read
from heatpoint.data.shards import is_pattern
from heatpoint.errors import HeatpointError
from heatpoint.training.data import joined, several
from heatpoint.training.options import TrainOptions

SHARE, FEWER, MANY = 0.2, 0.1, 1000
"""Part of the pictures that is held out, and of ``MANY`` pictures or more."""

MOST = 2000
"""Pictures that are held out at most."""

STRATIFIED = 20
"""Pictures from which on both parts get the same share of each class; fewer cannot be even."""

FILMS, FRAMES = 4, 5
"""Least number of films, and of frames of the median film, that names of pictures must tell."""

SEEN = 5
"""Objects of a class from which on it must be in both parts, or groups are given up."""

_TRAIN = re.compile(r"(?<![a-z])train(ing)?(?![a-z])", re.IGNORECASE)
_VAL = ("val", "valid", "validation")
_COPY = re.compile(r"(_(jpe?g|png|bmp|webp))?\.rf\.[0-9a-f]{8,}$", re.IGNORECASE)
_FRAME = re.compile(r"[-_. ]*(frame|img|image|f)?[-_. ]*\d+$", re.IGNORECASE)


@dataclass(frozen=True)
class Parts:
    """The data of a run.

    Attributes:
        sources: The training data, as the user named it.
        train: To train on, as read.
        val: To validate on, as read.
        value: What to say of ``val`` in a table.
        why: Why it is this, in one sentence; "" where the user named it.
        held_out: Whether it is a part of what was given as training data.
        notes: What there is to say of several data sets that are trained on together.
    """

    sources: tuple[str, ...]
    train: Annotations
    val: Annotations
    value: str
    why: str = ""
    held_out: bool = False
    notes: tuple[str, ...] = ()

    @property
    def both(self) -> tuple[Annotations, Annotations]:
        """Both parts."""
        return self.train, self.val


def parts_of(options: TrainOptions) -> Parts:
    """Returns what a run trains and validates on: as named, as the data divides itself, or divided.

    Of several data sets that are trained on, a part of all together is held out.

    Raises:
        HeatpointError: Data cannot be read, or cannot be divided.
    """
    given = several(options.data)
    if len(given) != 1 or options.val:
        train, notes = joined([_read(each, options.images) for each in given])
        sources = tuple(each if isinstance(each, str) else each.source for each in given)
        if not options.val:
            return replace(_divided(train, options.seed), sources=sources, notes=tuple(notes))
        val = _read(options.val, options.val_images)
        return Parts(sources, train, val, val.source, notes=tuple(notes))
    (data,) = given
    if isinstance(data, Annotations):
        return _divided(data, options.seed)
    whole, missed = None, ""
    for first, second in _own_splits(data):
        try:
            whole = read(first, options.images or None)
        except HeatpointError:  # there is no such split, or what is wrong is said below
            continue
        try:
            other = read(second, options.val_images or options.images or None)
        except HeatpointError as error:
            missed = missed or f"; {error}"
            continue
        return Parts((first,), whole, other, second, "the data has this split for it")
    parts = _divided(whole or read(data, options.images or None), options.seed)
    return replace(parts, why=parts.why + missed)


def _read(data: str | Annotations, images: str) -> Annotations:
    return data if isinstance(data, Annotations) else read(data, images or None)


def _own_splits(data: str) -> Iterator[tuple[str, str]]:
    """Yields what the two splits of a folder or description may be called, or of a file beside."""
    path = Path(data)
    if is_pattern(data):
        pairs = [(data, _TRAIN.sub(val, data)) for val in _VAL if _TRAIN.search(data)]
    elif not path.exists():
        head, _, name = data.rpartition(":")
        pairs = [(data, f"{head}:{_TRAIN.sub(val, name)}") for val in _VAL if _TRAIN.search(name)]
    elif path.is_dir() or path.suffix.lower() in (".yaml", ".yml", ".data"):
        pairs = [(f"{data}:train", f"{data}:{val}") for val in _VAL]
    else:
        named = [path.with_name(_TRAIN.sub(val, path.name)) for val in _VAL]
        pairs = [(data, str(other)) for other in named if other != path and other.is_file()]
    yield from pairs


def _divided(whole: Annotations, seed: int) -> Parts:
    """Returns the two parts of data that has none: films stay together, classes are even.

    Raises:
        HeatpointError: There is one picture only.
    """
    count = len({record.path for record in whole.images})
    if count < 2:
        raise HeatpointError(
            f"{whole.source} has one picture, of which none can be held out: name validation data "
            "with val, the same if need be"
        )
    held = min(MOST, max(1, round(count * (SHARE if count < MANY else FEWER))))
    groups, why = None, f"held out by chance (seed {seed})"
    films = films_of(list(picture_names([record.path for record in whole.images])))
    if films is not None:
        groups = films
        why = f"held out in whole groups (seed {seed}), for the names look like those of films"
    try:
        train, val = split(whole, held / count, seed, groups, stratify=count >= STRATIFIED)
    except HeatpointError:  # one of the parts would be empty
        train, val = split(whole, held, seed)
    if groups is not None and (lost := _unseen(whole, train, val)):
        train, val = split(whole, held / count, seed, stratify=count >= STRATIFIED)
        why = f"held out by chance (seed {seed}): groups by name would leave out {lost}"
    value = f"{len(val):,} of {len(whole):,} pictures"
    return Parts((whole.source,), train, val, value, why, held_out=True)


def _unseen(whole: Annotations, train: Annotations, val: Annotations) -> str:
    """Returns a class that only one of the two parts has, though there is enough of it."""
    one, other = train.counts(), val.counts()
    few = (n for n, count in whole.counts().items() if count >= SEEN and not (one[n] and other[n]))
    return next(few, "")


def films_of(names: list[str]) -> list[str] | None:
    """Returns the film or the original of each picture, where names tell; else None.

    Frames are numbered behind the name of their film, or lie in a folder of its own. Copies of one
    picture are those that Roboflow makes, told by ``.rf.`` and a hash.

    Example:
        >>> films_of([f"{film}/{n:04}.png" for film in "abcd" for n in range(5)])[::5]
        ['a/', 'b/', 'c/', 'd/']

    Args:
        names: Paths of the pictures below the folder that they have in common, with ``/``.
    """
    stems = [name.rpartition(".")[0] or name for name in names]
    bases = [_COPY.sub("", stem) for stem in stems]
    films = [_FRAME.sub("", base) for base in bases]
    sizes = sorted(Counter(films).values())
    is_numbered = all(film != base for film, base in zip(films, bases, strict=True))
    if is_numbered and len(sizes) >= FILMS and sizes[len(sizes) // 2] >= FRAMES:
        return films
    return bases if len(set(bases)) < len(set(stems)) else None


def folder_of(paths: Sequence[Path]) -> str:
    """Returns the folder that all pictures are in, which files elsewhere may name if it is given.

    It is "" where there is none, as on two drives.
    """
    try:
        return os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    except ValueError:
        return ""


def placed(parts: Parts, folder: Path) -> Parts:
    """Returns parts that were held out under the names of the files that they are saved as."""
    files = folder / "train.json", folder / "val.json"
    train, val = (
        replace(part, source=str(file)) for part, file in zip(parts.both, files, strict=True)
    )
    return replace(parts, train=train, val=val)
