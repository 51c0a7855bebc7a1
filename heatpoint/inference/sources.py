"""What a user may call "images", and how they are read ahead without changing their order."""

from __future__ import annotations

import glob
import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image as PIL

from heatpoint.data.images import SUFFIXES, ImageSource, load_image, open_parts
from heatpoint.errors import HeatpointError, HeatpointWarning
from heatpoint.geometry import Image
from heatpoint.inference.engines.engine import Timings
from heatpoint.views import Raster, Whole

Images = ImageSource | Sequence[ImageSource]


@dataclass(frozen=True)
class Source:
    """One image that is not read yet.

    Attributes:
        content: What ``load_image`` takes.
        path: Its file, or "" for an image in memory.
    """

    content: ImageSource
    path: str = ""

    def __str__(self) -> str:
        return self.path

    def load(self, name: str = "") -> Image:
        """Returns the (H, W, 3) uint8 RGB pixels; ``name`` is for messages about memory images."""
        return load_image(self.content, "" if self.path else name)

    def open(self, name: str = "", whole: bool = True) -> Raster:
        """Returns the picture, in memory or, where not ``whole`` and its format allows, by parts.

        Raises:
            HeatpointError: It cannot be read.
        """
        parts = None if whole or not self.path else open_parts(Path(self.path))
        return Whole(self.load(name)) if parts is None else parts


def expand(images: Images) -> list[Source]:
    """Returns one source per image, in the order given.

    A folder stands for the image files directly in it and a pattern (``*``, ``?``, ``[...]``,
    ``**``) for the files it matches, both sorted by name.

    Args:
        images: A path, pattern, folder, array, Pillow image or encoded bytes; or a list of them.

    Raises:
        HeatpointError: A file is missing, a folder or pattern has no image, or nothing is given.
    """
    if isinstance(images, (str, Path, bytes, np.ndarray, PIL.Image)):
        images = [images]
    sources: list[Source] = []
    for entry in images:
        if isinstance(entry, (str, Path)):
            sources += [Source(path, str(path)) for path in _files(entry)]
        else:
            sources.append(Source(entry))
    if not sources:
        raise HeatpointError("no image is given; expected a file, folder, pattern or array")
    return sources


def _files(entry: str | Path) -> list[Path]:
    path = Path(entry).expanduser()
    if path.is_dir():
        within = list(path.iterdir())
        nothing = (
            f"the folder {path} holds no image file; subfolders are not searched, "
            f"'{path}/**/*.jpg' does"
        )
    elif path.exists():
        # A name with brackets may be a file's own; only what does not exist is a pattern.
        return [path]
    else:
        within = [Path(name) for name in glob.glob(str(path), recursive=True)]
        is_pattern = glob.has_magic(str(path))
        nothing = f"no image file matches {path}" if is_pattern else f"image {path} does not exist"
        nothing += f" (working folder: {os.getcwd()})"
    images = sorted(one for one in within if one.suffix.lower() in SUFFIXES and one.is_file())
    if not images:
        raise HeatpointError(nothing)
    return images


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
