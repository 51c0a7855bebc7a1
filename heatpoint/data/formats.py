"""Which files are pictures: the one list of endings, and what is found in a folder."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path, PurePath

from heatpoint.errors import HeatpointError

_ALWAYS = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"),
    *(".pbm", ".pnm", ".jpe", ".jfif", ".dib", ".jp2", ".avif", ".mpo", ".apng", ".j2k"),
    ".npy",
)

_EXTRAS = {
    **dict.fromkeys((".heic", ".heif", ".hif"), ("heic", "pillow_heif")),
    ".jxl": ("jxl", "imagecodecs"),
}
"""Endings that an optional package reads: the extra of heatpoint, and the package's module."""

SUFFIXES = (*_ALWAYS, *(end for end, (_, module) in _EXTRAS.items() if find_spec(module)))
"""Endings, in lower case, by which a folder's pictures are told from its other files."""

_RAW = "camera raw data"
_DRAWING = "a drawing or document"
_FOREIGN = {
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2"), _RAW),
    **dict.fromkeys((".svg", ".eps", ".ai", ".pdf", ".ps"), _DRAWING),
    **dict.fromkeys((".psd", ".xcf"), "layers of an editor"),
    **dict.fromkeys((".dcm", ".nii"), "medical data"),
    **dict.fromkeys((".exr", ".hdr"), "light without an upper bound"),
    **dict.fromkeys((".tga", ".ico", ".pcx", ".sgi", ".jxr", ".jls"), "of a rare format"),
}
"""Endings of pictures that are not read, and what such a file is."""

UNREAD = {
    end: what
    for end, what in (
        *((end, f"needs heatpoint[{extra}]") for end, (extra, _) in _EXTRAS.items()),
        *_FOREIGN.items(),
    )
    if end not in SUFFIXES
}
"""Endings, in lower case, of pictures that are not read here, and what such a file is or needs."""

_LEFT_BEHIND = {"thumbs.db", "desktop.ini", "__macosx", "@eadir", "#recycle", "$recycle.bin"}


def is_left_behind(name: str) -> bool:
    """Returns whether a system or program leaves files or folders of this name in folders.

    Those are hidden ones (``._photo.jpg`` of macOS looks like a picture, but is none), marks of
    files that an office program has open, caches of thumbnails, and waste baskets.
    """
    return name.startswith((".", "~$")) or name.lower() in _LEFT_BEHIND


def matching(folder: Path, *patterns: str) -> list[Path]:
    """Returns what some patterns match in a folder, sorted, without what ``is_left_behind``.

    Capitals do not count: ``*.json`` finds ``A.JSON``.
    """
    either = (re.sub("[a-zA-Z]", _either, pattern) for pattern in patterns)
    found = {path for pattern in either for path in folder.glob(pattern)}
    return sorted(
        path for path in found if not any(map(is_left_behind, path.relative_to(folder).parts))
    )


def _either(letter: re.Match[str]) -> str:
    return f"[{letter[0].lower()}{letter[0].upper()}]"


def is_picture(path: PurePath) -> bool:
    """Returns whether a file is called like a picture that is read."""
    return path.suffix.lower() in SUFFIXES and not is_left_behind(path.name)


def is_unread(path: PurePath) -> bool:
    """Returns whether a file is called like a picture that is not read here."""
    return path.suffix.lower() in UNREAD and not is_left_behind(path.name)


def walk(folder: str | Path, recursive: bool = True) -> Iterator[tuple[str, list[str]]]:
    """Yields a folder and those below it, and the names of their files, sorted.

    What ``is_left_behind`` is passed over; links to folders are followed, each folder once.

    Args:
        folder: Where to look; nothing is yielded if it does not exist.
        recursive: Look into its folders as well.

    Raises:
        HeatpointError: A folder may not be read.
    """

    def stop(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise HeatpointError(f"the folder {error.filename} cannot be read: {error.strerror}")

    seen: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=stop, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(one for one in folders if recursive and not is_left_behind(one))
        yield place, sorted(name for name in names if not is_left_behind(name))


def files_below(
    folder: Path, recursive: bool = True, endings: Container[str] | None = None
) -> Iterator[Path]:
    """Yields the files of a folder that ``walk`` finds.

    Args:
        folder: As for ``walk``.
        recursive: As for ``walk``.
        endings: Endings in lower case that are looked for; None for all.

    Raises:
        HeatpointError: A folder may not be read.
    """
    for place, names in walk(folder, recursive):
        for name in names:
            if endings is None or os.path.splitext(name)[1].lower() in endings:
                yield Path(place, name)


def unread(paths: Iterable[Path]) -> str:
    """Returns how many of the files are pictures that are not read and why, "" if none is.

    Such as ``"2 x .heic (needs heatpoint[heic])"``.
    """
    counts = Counter(path.suffix.lower() for path in paths if is_unread(path))
    return ", ".join(f"{count} x {end} ({UNREAD[end]})" for end, count in sorted(counts.items()))
