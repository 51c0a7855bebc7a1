"""Finds and reads the files of a data set, and says where it looked when it cannot."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from heatpoint.data.images import SUFFIXES
from heatpoint.errors import HeatpointError, suggest

_SHOWN = 12


def is_image_name(path: Path) -> bool:
    """Returns whether a file is called like an image."""
    return path.suffix.lower() in SUFFIXES


def image_stem(name: str) -> str:
    """Returns a file name without folders and image suffix; ``scan.v2`` keeps its ``.v2``."""
    path = Path(name.replace("\\", "/"))
    return path.stem if is_image_name(path) else path.name


def list_images(folder: Path) -> list[Path]:
    """Returns the image files below ``folder``, sorted by path; none if it does not exist."""
    return sorted(path for path in folder.rglob("*") if is_image_name(path) and path.is_file())


def index_images(folder: Path) -> dict[str, Path]:
    """Returns the image files below ``folder`` by stem; of two with one stem the first."""
    return {path.stem: path for path in reversed(list_images(folder))}


def image_folders(annotation: Path) -> list[Path]:
    """Returns where the images of an annotation file are looked for, in order.

    Beside the file, in ``images``, in ``../images``, in ``..``; and, for a file such as
    ``instances_val2017.json``, in the folder ``val2017`` beside, above, or inside ``images``.
    """
    split = annotation.stem.rsplit("_", 1)[-1]
    places = [".", "images", "../images", ".."]
    places += [split, f"../{split}", f"images/{split}", f"../images/{split}"]
    return [Path(os.path.normpath(annotation.parent / place)) for place in places]


def locate_images(
    names: Sequence[str], annotation: Path, images: str | Path | None, at_last: Sequence[Path] = ()
) -> tuple[list[Path], tuple[str, ...]]:
    """Resolves file names against the first folder that holds any of them.

    All images come from one folder, so that a name never means two files. A name may carry
    folders of its own; if that path does not exist, its last part is tried. Absolute names are
    taken as they are where they exist.

    Args:
        names: What the annotation calls its images.
        annotation: The file that names them.
        images: The one folder to look in; None means ``image_folders``.
        at_last: Folders to look in after those.

    Returns:
        One path per name, existing or not, and the folders searched if not one image was found.

    Raises:
        HeatpointError: ``images`` is no folder or holds none of the images.
    """
    folders = [*image_folders(annotation), *at_last] if images is None else [Path(images)]
    if images is not None and not folders[0].is_dir():
        raise HeatpointError(f"{images} is not a folder; expected the images of {annotation}")
    plain = [name.replace("\\", "/") for name in names]
    for folder in folders:
        paths = [_inside(folder, name) for name in plain] if folder.is_dir() else []
        if any(path is not None for path in paths):
            there = zip(paths, plain, strict=True)
            return [folder / name if path is None else path for path, name in there], ()
    if images is not None and names:
        raise HeatpointError(
            f"{images} holds none of the {len(names)} images of {annotation}; "
            f"expected {names[0]!r}, for one"
        )
    searched = tuple(str(folder) for folder in folders) if names else ()
    return [folders[0] / name for name in plain], searched


def _inside(folder: Path, name: str) -> Path | None:
    places = (folder / name, folder / Path(name).name)
    return next((path for path in places if path.is_file()), None)


def read_text(path: Path) -> str:
    """Returns the contents of a text file without its byte order mark.

    Raises:
        HeatpointError: The file is missing, unreadable, or not UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise HeatpointError(f"{path} does not exist") from None
    except UnicodeDecodeError:
        raise HeatpointError(f"{path} is not a UTF-8 text file; save it as UTF-8") from None
    except OSError as error:
        raise HeatpointError(f"cannot read {path}: {error.strerror or error}") from error


def read_lines(path: Path) -> list[str]:
    """Returns the lines of a text file, stripped of white space at both ends.

    Raises:
        HeatpointError: The file is missing, unreadable, or not UTF-8 text.
    """
    return [line.strip() for line in read_text(path).split("\n")]


def read_names(path: Path) -> list[str]:
    """Returns class names, one per line; empty lines at the end are not classes.

    Raises:
        HeatpointError: The file cannot be read.
    """
    text = read_text(path).rstrip()
    return [line.strip() for line in text.split("\n")] if text else []


def read_split(folder: Path, split: str, lists: Mapping[str, Path], layout: str) -> list[str]:
    """Returns the lines of a split's list that are not empty.

    Args:
        folder: What the split is one of, for the message.
        split: Its name.
        lists: The lists there are, by name.
        layout: What a split looks like here, for the message.

    Raises:
        HeatpointError: There is no such split, or its list cannot be read.
    """
    if split not in lists:
        raise no_such_split(folder, split, lists, layout)
    return [line for line in read_lines(lists[split]) if line]


def no_such_split(folder: Path, split: str, known: Iterable[str], layout: str) -> HeatpointError:
    """Returns the error for a split that ``folder`` does not have; lists those it has."""
    names = sorted(known)
    if not names:
        return HeatpointError(
            f"{folder} has no split {split!r}, nor any other; expected {layout}. "
            "Leave the split off to read everything"
        )
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return HeatpointError(
        f"{folder} has no split {split!r} ({layout}); it has {shown}{suggest(split, names)}"
    )


def read_matlab(path: Path, name: str) -> Any:
    """Returns the variable ``name`` of a .mat file, as ``scipy.io.loadmat`` gives it.

    Raises:
        HeatpointError: The file is missing, damaged, of MATLAB's version 7.3, or has no such
            variable.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path)
    except FileNotFoundError:
        raise HeatpointError(f"{path} does not exist") from None
    except NotImplementedError:
        raise HeatpointError(
            f"{path} is a MATLAB file of version 7.3; save it once more with '-v7'"
        ) from None
    except (MatReadError, ValueError, TypeError, OSError, EOFError) as error:
        raise HeatpointError(f"{path} is no whole MATLAB file: {error}") from None
    if name not in content:
        there = ", ".join(sorted(key for key in content if not key.startswith("__"))) or "nothing"
        raise HeatpointError(f"{path}: expected the variable {name!r}, got {there}")
    return content[name]
