"""What a user may call "images", and how they are read ahead without changing their order."""

from __future__ import annotations

import glob
import os
import re
import unicodedata
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import islice, repeat, takewhile
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PIL

from heatpoint.data.bands import stretched
from heatpoint.data.formats import files_below, is_left_behind, is_picture, is_unread, unread
from heatpoint.data.images import ImageSource, load_image, load_shown, read_header
from heatpoint.data.rasters import open_parts
from heatpoint.errors import HeatpointError, HeatpointWarning, suggest
from heatpoint.geometry import RGB, Bands, Image
from heatpoint.inference.engines.engine import Timings
from heatpoint.views import Raster, Whole
from heatpoint.weights.download import fetch

Images = ImageSource | Sequence[ImageSource]


@dataclass(frozen=True)
class Source:
    """One image that is not read yet.

    Attributes:
        content: What ``load_image`` takes.
        path: Its file or address, or "" for an image in memory.
        frame: Which picture of a file of several, from 0; None where that was not asked for, and
            the first is taken.
        bits: Of 16-bit pictures that declare none, what they have; None guesses.
        bands: What it has to hold.
    """

    content: ImageSource
    path: str = ""
    frame: int | None = None
    bits: int | None = None
    bands: Bands = RGB

    def __str__(self) -> str:
        return self.path

    def load(self, name: str = "") -> Image:
        """Returns the (H, W, 3) uint8 RGB pixels, or (H, W, C) of other bands.

        Args:
            name: What messages call an image in memory.
        """
        name, frame = self.path or name, self.frame or 0
        return load_image(self.content, name, frame, self.bits, bands=self.bands)

    def shown(self, channels: Sequence[int] = ()) -> NDArray[np.uint8]:
        """Returns the (H, W, 3) uint8 pixels as people see them; see ``load_shown``."""
        if self.frame:
            return stretched(self.load(), channels)
        return load_shown(self.content, channels)

    def open(self, name: str = "", whole: bool = True) -> Raster:
        """Returns the picture, in memory or, where not ``whole`` and its format allows, by parts.

        Raises:
            HeatpointError: It cannot be read.
        """
        parts = None
        if isinstance(self.content, Path) and not (whole or self.frame):
            parts = open_parts(self.content, self.bands)
        return Whole(self.load(name)) if parts is None else parts


def expand(images: Images, recursive: bool = False, frames: bool = False) -> list[Source]:
    """Returns one source per image, in the order given.

    A folder stands for the image files directly in it and a pattern (``*``, ``?``, ``[...]``,
    ``**``) for the files it matches, both sorted by name; an ``http`` or ``https`` address for
    what it leads to, which is fetched now. Of folders and patterns, a warning counts the pictures
    of formats that are not read; another one the files whose further frames are not looked at.

    Args:
        images: A path, pattern, folder, address, array, Pillow image or encoded bytes; or a list
            of them.
        recursive: A folder stands for the image files in its folders as well.
        frames: Return one source per frame of files, bytes and addresses.

    Raises:
        HeatpointError: A file is missing, a folder or pattern has no image, an address cannot be
            fetched, or nothing is given.
    """
    if isinstance(images, (str, Path, bytes, np.ndarray, PIL.Image)):
        images = [images]
    sources: list[Source] = []
    passed_over: list[Path] = []
    for entry in images:
        if not isinstance(entry, (str, Path)):
            sources.append(Source(entry))
        elif address := _address(str(entry)):
            sources.append(Source(fetch(address), address))
        else:
            sources += [Source(path, str(path)) for path in _files(entry, recursive, passed_over)]
    if not sources:
        raise HeatpointError("no image is given; expected a file, folder, pattern or array")
    if passed_over:
        warnings.warn(f"left out: {unread(passed_over)}", HeatpointWarning, stacklevel=2)
    counts = [_count_frames(source) for source in sources]
    if frames:
        numbered = zip(sources, counts, strict=True)
        return [replace(one, frame=place) for one, count in numbered for place in range(count)]
    if several := [place for place, count in enumerate(counts) if count > 1]:
        first = sources[several[0]].path or f"image {several[0]}"
        warnings.warn(
            f"{len(several)} of {len(sources)} pictures have several frames or pages ({first} has "
            f"{counts[several[0]]}); only the first of each is looked at, --frames looks at all",
            HeatpointWarning,
            stacklevel=2,
        )
    return sources


def _count_frames(source: Source) -> int:
    """Returns how many pictures a file holds, 1 where it cannot be read, which is told later."""
    content = source.content
    if isinstance(content, str | Path) and Path(content).suffix.lower() in (".jpg", ".jpeg"):
        return 1
    if not isinstance(content, str | Path | bytes):
        return 1
    try:
        return read_header(content).frames
    except HeatpointError:
        return 1


def _address(entry: str) -> str | None:
    """Returns what is to be fetched, None for the name of a file.

    Raises:
        HeatpointError: It is an address of another kind.
    """
    # A Path has lost one of the slashes.
    found = re.match(r"([a-z][a-z0-9+]+):/+(?=[^/])", entry, re.IGNORECASE)
    if not found or os.path.exists(entry):
        return None
    if found[1].lower() not in ("http", "https"):
        raise HeatpointError(
            f"{entry} cannot be fetched: pictures are read from files and from http and https "
            "addresses; predict --ray reads s3:// and gs://, or copy it to a file first"
        )
    return f"{found[1]}://{entry[found.end() :]}"


def _files(entry: str | Path, recursive: bool, passed_over: list[Path]) -> list[Path]:
    """Returns the image files that a name stands for; adds those that are not read to a list."""
    path = Path(entry)
    if not os.path.exists(path):
        path = Path(os.path.expanduser(entry))
    if os.path.isdir(path):
        within = list(files_below(path, recursive))
        below = "" if recursive else "; its folders are not searched, --recursive does"
        nothing = f"the folder {path} holds no image file that is read{below}"
    elif os.path.exists(path):
        # A name with brackets may be a file's own; only what does not exist is a pattern.
        return [path]
    elif glob.has_magic(str(path)):
        fixed = list(takewhile(lambda part: not glob.has_magic(part), path.parts))
        within = [
            Path(name)
            for name in glob.glob(str(path), recursive=True)
            if not any(map(is_left_behind, Path(name).parts[len(fixed) :])) and os.path.isfile(name)
        ]
        nothing = f"no image file matches {path} (working folder: {os.getcwd()})"
    elif there := _spelled_alike(path):
        return [there]
    else:
        near = suggest(path.name, [one.name for one in _beside(path)])
        raise HeatpointError(f"image {path} does not exist (working folder: {os.getcwd()}){near}")
    others = [one for one in within if is_unread(one)]
    passed_over += others
    images = sorted(filter(is_picture, within))
    if not images:
        raise HeatpointError(nothing + (f"; left out: {unread(others)}" if others else ""))
    return images


def _beside(path: Path) -> list[Path]:
    """Returns what lies in the folder where a file should be; none if that cannot be read."""
    with suppress(OSError, ValueError):
        return list(path.parent.iterdir())
    return []


def _spelled_alike(path: Path) -> Path | None:
    """Returns the file of the same name, whose accents are composed of other characters."""
    name = unicodedata.normalize("NFC", path.name)
    alike = (one for one in _beside(path) if unicodedata.normalize("NFC", one.name) == name)
    return None if name.isascii() else next(alike, None)


Item = TypeVar("Item")
Prepared = TypeVar("Prepared")
Result = TypeVar("Result")


def read_ahead(
    sources: Mapping[int, Source],
    prepare: Callable[[int, Raster], Prepared],
    *,
    whole: bool,
    ahead: int,
    workers: int,
    timings: Timings,
    skipped: list[tuple[str, str]] | None,
) -> Iterator[Prepared]:
    """Yields the prepared form of each readable image, in order.

    Args:
        sources: The images by number.
        prepare: Turns the number and the pixels into what the network takes; runs in the threads.
        whole: The picture is wanted in memory; else it is opened to be read part by part.
        ahead: At most this many images beyond the current one are in memory.
        workers: Threads; 0 reads each image when it is asked for.
        timings: Its ``load`` and ``prepare`` grow.
        skipped: Takes path and reason of each unreadable image, which is warned of and left out;
            None makes the first one an error.

    Raises:
        HeatpointError: An image cannot be read or prepared and ``skipped`` is None.
    """

    def read(index: int) -> Prepared | HeatpointError:
        try:
            with timings.stage("load"):
                raster = sources[index].open(f"image {index}", whole)
            with timings.stage("prepare"):
                return prepare(index, raster)
        except HeatpointError as error:
            return error

    made = in_order(read, sources, workers, ahead) if workers else ((i, read(i)) for i in sources)
    with closing(made):
        for index, one in made:
            if not isinstance(one, HeatpointError):
                yield one
            elif skipped is None:
                raise HeatpointError(f"{one}; skip_bad goes on without it")
            else:
                skipped.append((sources[index].path or f"image {index}", str(one)))
                warnings.warn(f"skipped: {one}", HeatpointWarning, stacklevel=2)


def in_order(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int | None = None
) -> Generator[tuple[Item, Result], None, None]:
    """Yields each item with what is made of it, in order, while later ones are worked on.

    Args:
        work: Runs in threads of its own.
        items: Asked for in the caller's thread.
        threads: Calls of ``work`` at once.
        ahead: Most items beyond the one yielded that are asked for; ``threads`` by default.

    Raises:
        Exception: What ``work`` or ``items`` raises, when it is that item's turn.
    """

    def started(pool: ThreadPoolExecutor) -> Iterator[tuple[Any, Future[Result]]]:
        try:
            for item in items:
                yield item, pool.submit(work, item)
        except Exception as error:
            # The results of the items before it come first.
            broken = Future[Result]()
            broken.set_exception(error)
            yield None, broken

    pending: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads, "heatpoint-run") as pool:
        under_way = started(pool)
        try:
            pending.extend(islice(under_way, threads if ahead is None else ahead))
            while True:
                pending.extend(islice(under_way, 1))
                if not pending:
                    return
                item, future = pending.popleft()
                yield item, future.result()
        finally:
            for _, future in pending:
                future.cancel()


def prefetch(items: Iterable[Item], ahead: int) -> Iterator[Item]:
    """Yields the items, which a thread of its own fetches ``ahead`` of time.

    Raises:
        Exception: What ``items`` raises, when it is that item's turn.
    """
    iterator, end = iter(items), object()
    with closing(in_order(lambda _: next(iterator, end), repeat(None), 1, ahead)) as fetched:
        for _, item in fetched:
            if item is end:
                return
            yield item  # type: ignore[misc]
