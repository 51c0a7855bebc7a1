"""Finds pictures that a data set holds twice or shares with another: by content, and by look."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PIL
from PIL import ImageOps

from heatpoint.data import Annotations
from heatpoint.data.findings import Finding
from heatpoint.data.images import load_shown
from heatpoint.data.opening import BadImage
from heatpoint.data.shards import place_of, reading
from heatpoint.system import usable_cores

RADIUS = 30
"""Differing bits of 256 up to which two pictures look alike.

Measured with imagehash's phash of 16 x 16 bits on 551 photographs: new JPEG compression, half the
size, other aspect, brightness and contrast change at most 24 bits; the only true near duplicates
among them, one field of blood cells in two exposures, differ in 26; the most similar others (the
same dice from another side) in 44. The hash of 8 x 8 bits cannot tell these apart (4 against 6),
wavelet hashes take dice for each other (0), and difference hashes lie between (21 against 20)."""

_BANDS, _BITS = 21, 12
"""Pictures are compared if they agree in one of 21 groups of 12 bits: that misses none up to 20
differing bits and 3 of 1,000 at 30, and of 100,000 pictures compares one pair in 200."""

_SMALL = 64  # pixels: side at which the hash looks at a picture
_PAIRS = 1 << 22  # compared at once: 16 MiB


def shared_files(annotations: Annotations, other: Annotations) -> dict[int, int]:
    """Returns which pictures of ``other`` are in ``annotations`` too, and where, by content.

    Only files of one size are read, and none that both name.
    """
    paths = [record.path for record in (*annotations.images, *other.images)]
    first = len(annotations)
    found = _copies(paths, np.where(np.arange(len(paths)) < first, 0, first))
    return {later - first: earlier for later, earlier in found.items()}


def picture_findings(
    annotations: Annotations,
    other: Annotations | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Finding]:
    """Returns the pictures that occur twice, or in both of two data sets, exactly or nearly.

    Pictures that cannot be read are passed over; ``validate`` reports them.

    Args:
        annotations: A data set as read.
        other: Another one, which should have no picture in common with it.
        progress: Called with the number of pictures looked at and the number of all.
    """
    both = (annotations,) if other is None else (annotations, other)
    paths = [record.path for one in both for record in one.images]
    first, places = len(annotations), np.arange(len(paths))
    bits, readable = _hashes(paths, progress)
    findings = []
    inner = np.where(places < first, places, 0)
    across = np.where(places < first, 0, first)
    for before, same, like in (
        (inner, "same picture twice", "similar pictures"),
        (across, "picture in both splits", "similar picture in both splits"),
    ):
        copies = _copies(paths, before)
        for later, earlier in copies.items():
            if paths[later] != paths[earlier] or later >= first:
                one_file = paths[later] == paths[earlier]
                detail = f"{'is' if one_file else 'has the content of'} {paths[earlier]}"
                findings.append(Finding(same, str(paths[later]), detail))
        alone = np.array([place not in copies for place in readable.tolist()], np.bool_)
        for later, (earlier, apart) in _alike(bits, readable, np.where(alone, before[readable], 0)):
            detail = f"looks like {paths[earlier]} ({apart} of 256 bits differ)"
            findings.append(Finding(like, str(paths[later]), detail))
    return findings


def _copies(paths: Sequence[Path], before: NDArray[np.int64]) -> dict[int, int]:
    """Returns for each picture the first one with the same content, if there is one.

    Args:
        paths: The files; those that are missing have no copies.
        before: (N,) each picture is compared with those of a smaller index than this.
    """
    found, firsts = dict[int, int](), dict[object, int]()
    file: object
    sizes: dict[int, list[int]] = defaultdict(list)
    for place, path in enumerate(paths):
        try:
            if held := place_of(path):
                file, size = (held, held[1].length)
            else:
                status = path.stat()
                file = (status.st_dev, status.st_ino) if status.st_ino else path
                size = status.st_size
        except OSError:
            continue
        earlier = firsts.setdefault(file, place)
        if earlier < before[place]:
            found[place] = earlier
        elif earlier == place:
            sizes[size].append(place)
    for group in sizes.values():
        if not any(group[0] < before[place] for place in group):
            continue
        for place in group:
            try:
                with reading(paths[place]) as file:
                    digest = hashlib.file_digest(file, "sha256").digest()
            except OSError:
                continue
            earlier = firsts.setdefault(digest, place)
            if earlier < before[place]:
                found[place] = earlier
    return found


def _hashes(
    paths: Sequence[Path], progress: Callable[[int, int], None] | None
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Returns the (N, 256) perceptual hashes of the readable pictures, and which these are."""
    found: dict[int, NDArray[np.bool_]] = {}
    with ThreadPoolExecutor(usable_cores(), "heatpoint-hash") as pool:
        for place, bits in enumerate(pool.map(_hash, paths)):
            if bits is not None:
                found[place] = bits
            if progress is not None:
                progress(place + 1, len(paths))
    return np.array([*found.values()], np.bool_).reshape(-1, 256), np.array([*found], np.int64)


def _hash(path: Path) -> NDArray[np.bool_] | None:
    import imagehash

    try:
        bits: NDArray[np.bool_] = imagehash.phash(_small(path), 16).hash.ravel()
    except BadImage:
        return None
    return bits


def _small(path: Path) -> PIL.Image:
    """Returns a small upright grey picture; of a JPEG, an eighth is decoded where that will do.

    Raises:
        BadImage: The file is missing or no image.
    """
    try:
        with reading(path) as file, PIL.open(file, formats=("JPEG",)) as image:
            image.draft("L", (_SMALL, _SMALL))
            return ImageOps.exif_transpose(image)
    # Other formats, and whatever a broken byte happens to cause.
    except Exception:
        grey = cv2.cvtColor(load_shown(path), cv2.COLOR_RGB2GRAY)
        return PIL.fromarray(cv2.resize(grey, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA))


def _alike(
    bits: NDArray[np.bool_], places: NDArray[np.int64], before: NDArray[np.int64]
) -> list[tuple[int, tuple[int, int]]]:
    """Returns for each picture the most similar one, if one is similar, and the differing bits.

    Args:
        bits: (N, 256) perceptual hashes.
        places: (N,) ascending, the number of each picture.
        before: (N,) each is compared with pictures of a smaller number than this.
    """
    _, first, inverse = np.unique(
        np.packbits(bits, axis=1), axis=0, return_index=True, return_inverse=True
    )
    nearest, least = np.full(len(bits), -1), np.full(len(bits), RADIUS + 1)
    signs, unlike = bits.astype(np.float32) * 2 - 1, np.sort(first)
    for band in range(_BANDS):
        part = bits[unlike, band * _BITS : (band + 1) * _BITS]
        keys = part @ (1 << np.arange(_BITS))
        order = np.argsort(keys, kind="stable")
        for group in np.split(unlike[order], np.flatnonzero(np.diff(keys[order])) + 1):
            step = max(1, _PAIRS // max(1, len(group)))
            for start in range(0, len(group), step):
                rows = group[start : start + step]
                rows = rows[before[rows] > places[group[0]]]
                if not len(rows):
                    continue
                apart = (256 - signs[rows] @ signs[group].T) / 2
                apart[places[group] >= before[rows, None]] = np.inf
                best = apart.argmin(1)
                closest = apart[np.arange(len(rows)), best]
                better = closest < least[rows]
                least[rows[better]] = closest[better]
                nearest[rows[better]] = group[best[better]]
    # Pictures of equal hashes were compared once.
    equal = first[inverse.reshape(-1)]
    nearest, least = nearest[equal], least[equal]
    twins = (places[equal] < before) & (equal != np.arange(len(bits)))
    nearest[twins], least[twins] = equal[twins], 0
    found = np.flatnonzero((nearest >= 0) & (before > 0))
    pairs = zip(places[nearest[found]].tolist(), least[found].tolist(), strict=True)
    return list(zip(places[found].tolist(), pairs, strict=True))
