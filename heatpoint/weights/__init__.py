"""Published weights by name: what they are, and which file here a name stands for.

Nothing here opens a connection; ``heatpoint.weights.fetch`` does, when asked.
"""

from __future__ import annotations

from pathlib import Path

from heatpoint.errors import HeatpointError, suggest
from heatpoint.weights.record import Pixels as Pixels
from heatpoint.weights.record import Published as Published
from heatpoint.weights.table import PUBLISHED as PUBLISHED


def published(name: str) -> Published:
    """Returns the record of that name.

    Raises:
        HeatpointError: There is none; suggests the nearest.
    """
    if name not in PUBLISHED:
        raise HeatpointError(
            f"no published weights are called {name!r}{suggest(name, PUBLISHED)} "
            f"(known: {', '.join(PUBLISHED)})"
        )
    return PUBLISHED[name]


def checkpoint_path(checkpoint: str | Path) -> Path:
    """Returns the file that a path, or the name of fetched weights, stands for; fetches nothing.

    A file of that name goes before published weights. Paths of no file are returned as they are.

    Raises:
        HeatpointError: It is the name of weights that were not fetched, or a word much like one.
    """
    path, word = Path(checkpoint), str(checkpoint)
    if path.is_file():
        return path
    if word not in PUBLISHED:
        hint = suggest(word, PUBLISHED) if path.name == word and not path.suffix else ""
        if hint:
            raise HeatpointError(f"there is no file {word}, and no weights of that name{hint}")
        return path
    cached = PUBLISHED[word].cached
    if not cached.is_file():
        raise HeatpointError(
            f"there is no file {word}; the published weights of that name are not in "
            f"{cached.parent} yet: `heatpoint fetch {word}` gets them"
        )
    return cached
