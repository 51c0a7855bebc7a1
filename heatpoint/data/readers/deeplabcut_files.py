"""Which files of labels a path means for DeepLabCut, and what its project says of them.

A project is a folder with ``config.yaml`` and ``labeled-data``, in which each video has a folder
with its pictures and its ``CollectedData_<scorer>.csv``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from heatpoint.data.formats import matching
from heatpoint.data.readers import steps
from heatpoint.errors import HeatpointError
from heatpoint.system.files import read_yaml

PATTERN = "CollectedData*.csv"
TABLE = "CollectedData*.h5"
LABELED, CONFIG = "labeled-data", "config.yaml"
_HIGHEST = 6
"""Folders above a file of labels in which its project is looked for."""


class Project(NamedTuple):
    """What a ``config.yaml`` says.

    Attributes:
        scorer: Who labelled; "" if it is not said.
        parts: Body parts in their order, those of single animals last.
        edges: Names of two body parts each.
    """

    scorer: str = ""
    parts: tuple[str, ...] = ()
    edges: tuple[tuple[str, str], ...] = ()


class Labels(NamedTuple):
    """Files of labels that are one data set.

    Attributes:
        folder: The folder that names of pictures start from, or the one of the only file.
        files: The .csv files.
        project: What the project says of them.
    """

    folder: Path
    files: list[Path]
    project: Project


def find_labels(path: Path) -> Labels:
    """Returns the files of labels that a file, a video's folder or a project's folder means.

    Args:
        path: A .csv file, a ``config.yaml``, a project, its ``labeled-data`` or a folder of it.

    Raises:
        HeatpointError: A folder holds none or several, or ``config.yaml`` is no mapping.
    """
    folder = path.parent if path.is_file() else path
    root = _root(folder)
    project = Project() if root is None else _project(root / CONFIG)
    if path.is_file() and path.name != CONFIG:
        return Labels(root or folder, [path], project)
    if any(matching(folder, PATTERN)):
        return Labels(root or folder, [_only_file(folder, project)], project)
    videos = folder / LABELED if (folder / LABELED).is_dir() else folder
    below = sorted(each for each in videos.iterdir() if each.is_dir())
    files = [_only_file(each, project) for each in below if any(matching(each, PATTERN))]
    if not files:
        raise _none(folder, [folder, *below])
    return Labels(root or folder, files, project)


def is_project(folder: Path) -> bool:
    """Returns whether a folder holds labels itself, or in the folders of its videos."""
    videos = folder / LABELED if (folder / LABELED).is_dir() else folder
    kinds = PATTERN, TABLE
    return any(
        matching(each, f"{start}{kind}")
        for each, start in ((folder, ""), (videos, "*/"))
        for kind in kinds
    )


def is_config(path: Path) -> bool:
    """Returns whether a file is the configuration of a project."""
    return path.name == CONFIG and (path.parent / LABELED).is_dir()


def _root(folder: Path) -> Path | None:
    """Returns the folder of the project that a folder belongs to."""
    above = [folder, *Path(os.path.abspath(folder)).parents][: _HIGHEST + 1]
    return next((each for each in above if (each / LABELED).is_dir()), None)


def _only_file(folder: Path, project: Project) -> Path:
    there = matching(folder, PATTERN)
    mine = [path for path in there if path.stem == f"CollectedData_{project.scorer}"]
    chosen = mine if len(there) > 1 and mine else there
    if len(chosen) != 1:
        names = ", ".join(path.name for path in there)
        raise HeatpointError(f"{folder} holds {names}; give the file of the labels you mean")
    return chosen[0]


def _none(folder: Path, places: list[Path]) -> HeatpointError:
    tables = [path for place in places for path in matching(place, TABLE)]
    return table_alone(tables[0]) if tables else HeatpointError(f"{folder} holds no {PATTERN}")


def table_alone(path: Path) -> HeatpointError:
    """Returns the error for the table that DeepLabCut keeps beside its .csv file."""
    beside = path.with_suffix(".csv")
    if beside.is_file():
        return HeatpointError(f"{path} is DeepLabCut's table for pandas; give {beside} instead")
    return HeatpointError(
        f"{path} is DeepLabCut's table for pandas, and {beside.name} is not beside it; write it by "
        f"pandas.read_hdf({path.name!r}).to_csv({beside.name!r})"
    )


def _project(path: Path) -> Project:
    if not path.is_file():
        return Project()
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise steps.unexpected(
            path, "keys such as 'scorer' and 'bodyparts'", type(content).__name__
        )
    keys = ("bodyparts", "multianimalbodyparts", "uniquebodyparts")
    parts = [part for key in keys for part in _texts(content.get(key))]
    edges = content.get("skeleton")
    pairs = [_texts(edge) for edge in edges] if isinstance(edges, list) else []
    return Project(
        str(content.get("scorer") or ""),
        tuple(dict.fromkeys(parts)),
        tuple((pair[0], pair[1]) for pair in pairs if len(pair) == 2),
    )


def _texts(value: Any) -> list[str]:
    """Returns a list of names; nothing for ``MULTI!``, which stands for another key."""
    return [str(each) for each in value] if isinstance(value, list) else []
