"""Looks at where a command wants to write, before it works: nothing of the user's is replaced."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from heatpoint.errors import HeatpointError
from heatpoint.system.files import is_stream
from heatpoint.system.signs import Kind, is_ours

Named = str | Path

Identity = tuple[int, int]
"""Device and number of a file: the same for all its names, links and spellings."""


def check_outputs(
    outputs: Mapping[Kind, Iterable[Named | None]],
    inputs: Iterable[object] = (),
    pictures: Iterable[Named] = (),
) -> None:
    """Makes sure that files can be written, and that nothing is lost by it.

    An output may replace what an earlier run of heatpoint wrote as an output of the same kind (see
    ``signs.is_ours``), unless it is read now, and nothing else. Pictures are not put where pictures
    are read, lest they are read the next time. Devices and pipes may always be written to.

    Args:
        outputs: Files that will be written, by their kind; None and "" are no files.
        inputs: Files and folders that are read, ``folder:split`` too; what is no path is passed
            over, such as a detector in memory.
        pictures: Pictures that are read.

    Raises:
        HeatpointError: An output is an input, under whatever name; two outputs are one file; it
            exists and is not heatpoint's; it would lie among the pictures that are read; or the
            system would refuse it. Names both.
    """
    wanted = [
        (Path(path), kind)
        for kind, paths in outputs.items()
        for path in paths
        if path not in (None, "") and _is_file(path)
    ]
    places: dict[str, Path] = {}
    for path, _ in wanted:
        other = places.setdefault(os.path.realpath(path), path)
        if other is not path:
            raise HeatpointError(f"{other} and {path} are one file; give each output its own name")
    there = {found: path for place, path in places.items() if (found := _identity(place))}
    named, shown = list(_named(inputs)), list(map(str, pictures))
    for given in (*named, *shown) if there else ():
        replaced = there.get(_identity(given) or (0, 0))
        if replaced is not None:
            what = f"{replaced} would replace {given}, which is read"
            if str(replaced) == given:
                what = f"{given} is read, and would be replaced by what is written"
            raise HeatpointError(f"{what}; choose another name or folder")
    _check_apart([path for path, kind in wanted if kind == "pictures"], named, shown)
    for path, kind in wanted:
        _check_place(path)
        try:
            lost = os.path.exists(path) and not is_ours(path, kind)
        except OSError:  # what cannot be read cannot be known
            lost = True
        if lost:
            raise HeatpointError(
                f"{path} exists and was not written as such by heatpoint, so it is not replaced; "
                "move it away, or choose another name or folder"
            )


def _is_file(path: Named) -> bool:
    try:
        return not is_stream(path)
    except OSError as error:
        raise HeatpointError(
            f"cannot write {path}: {error.strerror}; choose another name"
        ) from None


def _identity(path: Named) -> Identity | None:
    """Returns what a file or folder is known by; None if there is none."""
    with suppress(OSError, ValueError):
        found = os.stat(path)
        return found.st_dev, found.st_ino
    return None


def _named(inputs: Iterable[object]) -> Iterator[str]:
    """Yields the paths among inputs, and the folders or files before a split."""
    for given in inputs:
        if isinstance(given, list | tuple):
            yield from _named(given)
        elif isinstance(given, str | Path):
            yield str(given)
            yield str(given).rpartition(":")[0]


def _check_apart(written: Sequence[Path], named: Sequence[str], shown: Sequence[str]) -> None:
    """Refuses pictures that would be written where pictures are read.

    That is beside them; and, of a folder that was named as a whole, anywhere in those of its
    folders that lead to pictures, for they may be searched through.
    """
    homes = {os.path.dirname(os.path.abspath(path)): path for path in shown if written}
    whole = {found for path in named if os.path.isdir(path) and (found := _identity(path))}
    direct, inner = dict[Identity, str](), dict[Identity, str]()
    for home, picture in homes.items():
        above = [found for each in (Path(home), *Path(home).parents) if (found := _identity(each))]
        direct |= dict.fromkeys(above[:1], picture)
        inside = next((place for place, found in enumerate(above) if found in whole), 0)
        inner |= dict.fromkeys(above[:inside], picture)
    for path in written:
        parents = [_identity(each) for each in Path(os.path.realpath(path)).parents]
        near = [direct.get(found) for found in parents[:1] if found]
        near += [inner.get(found) for found in parents if found]
        for beside in filter(None, near):
            raise HeatpointError(
                f"{path} would lie where pictures are read, such as {beside}; choose a folder of "
                "its own"
            )


def _existing(folder: Path) -> Path:
    """Returns the folder, or the nearest one above that exists."""
    folder = folder.absolute()
    while not os.path.lexists(folder) and folder.parent != folder:
        folder = folder.parent
    return folder


def _check_place(path: Path) -> None:
    """Refuses a file that cannot be written because of the folder it is in."""
    folder = _existing(Path(os.path.realpath(path)).parent)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        why = "may not be written to" if folder.is_dir() else "is no folder"
        raise HeatpointError(f"cannot write {path}: {folder} {why}; choose another folder")
