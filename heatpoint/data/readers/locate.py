"""Finds the files an annotation speaks of, and says where it looked when it cannot."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from heatpoint.errors import HeatpointError, suggest

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif")
"""What an image file may be called in folders that are searched; compared in lower case."""

_SHOWN = 12


def is_image_name(path: Path) -> bool:
    """Returns whether a file is called like an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


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
    names: Sequence[str], folders: Sequence[Path]
) -> tuple[list[Path], tuple[str, ...]]:
    """Resolves file names against the first folder that holds any of them.

    All images come from one folder, so that a name never means two files. A name may carry
    folders of its own; if that path does not exist, its last part is tried. Absolute names are
    taken as they are where they exist.

    Returns:
        One path per name, existing or not, and the folders searched if not one image was found.
    """
    plain = [name.replace("\\", "/") for name in names]
    for folder in folders:
        if not folder.is_dir():
            continue
        paths = [_inside(folder, name) for name in plain]
        if any(path is not None for path in paths):
            return [
                path if path is not None else folder / name
                for path, name in zip(paths, plain, strict=True)
            ], ()
    first = folders[0] if folders else Path()
    return [first / name for name in plain], tuple(str(folder) for folder in folders)


def _inside(folder: Path, name: str) -> Path | None:
    for path in (folder / name, folder / Path(name).name):
        if path.is_file():
            return path
    return None


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
    lines = read_lines(path)
    while lines and not lines[-1]:
        lines.pop()
    return lines


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
