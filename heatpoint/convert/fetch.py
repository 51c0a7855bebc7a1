"""Gets published weights on request: download, verify, convert, keep in the cache."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

from heatpoint.convert import convert_file
from heatpoint.errors import HeatpointError
from heatpoint.system.processes import locked
from heatpoint.weights import Published, published
from heatpoint.weights.download import Progress, digest, download
from heatpoint.zoo.detector import Detector


def fetch(name: str, file: str | Path | None = None, progress: Progress | None = None) -> Path:
    """Returns the converted checkpoint of published weights, downloading it if it is not here.

    Afterwards the name is taken wherever the path of a checkpoint is. The publisher's file is
    removed once it is converted, unless it was not downloaded here.

    Example:
        >>> fetch("mmpose_hourglass52_coco_256")  # doctest: +SKIP
        >>> predict("mmpose_hourglass52_coco_256", "runner.jpg")  # doctest: +SKIP

    Args:
        name: A key of ``weights.PUBLISHED``; ``heatpoint models`` lists them.
        file: The publisher's file, if it is on this machine; nothing is downloaded then.
        progress: Called with bytes done and bytes in all, 0 if that is unknown.

    Raises:
        HeatpointError: Unknown name, no way to the file, a file that is not the one published, or
            no place for the result; says what to do.
    """
    record = published(name)
    if file is None and record.cached.is_file():
        return record.cached
    # Another process may fetch the same weights: it is waited for, and its file is taken.
    with locked(record.cached.with_suffix(".lock")):
        if file is not None or not record.cached.is_file():
            _fetch(record, file, progress)
    return record.cached


def _fetch(record: Published, file: str | Path | None, progress: Progress | None) -> None:
    """Fetches as ``fetch``, while nobody else does."""
    source = record.original if file is None else Path(file)
    downloaded = file is None and not source.is_file()
    if downloaded:
        if not record.address:
            raise HeatpointError(
                f"{record.name} cannot be downloaded by a program: {record.by_hand} "
                f"({record.page}); put it at {source}, or name it with file (--file), and run this "
                "again"
            )
        download(record.address, source, record.sha256, progress)
    elif not source.is_file():
        raise HeatpointError(f"there is no file {source}")
    actual = digest(source)
    if not actual.startswith(record.sha256):
        raise HeatpointError(
            f"{source} is not the {record.file} that was published: expected SHA-256 "
            f"{record.sha256}..., found {actual}; download it again"
        )
    detector = _converted(record, source)
    detector.meta["published"] = {
        **{key: value for key, value in asdict(record).items() if key in KEPT},
        "sha256": actual,
    }
    detector.save(record.cached)
    if downloaded:
        source.unlink()


KEPT = ("name", "file", "page", "licence", "data", "score", "protocol", "reported")
"""Facts of the record that travel in the checkpoint."""


def _converted(record: Published, source: Path) -> Detector:
    """Returns the detector in the publisher's file, as the record describes it."""
    detector = convert_file(source)
    if detector.meta["layout"] != record.layout:  # a twin with the same tensors, or a wrong file
        detector = convert_file(source, record.layout)
    found = len(detector.skeleton or detector.names)
    if found != record.classes:
        raise HeatpointError(
            f"{source} is not {record.name}: expected {record.classes} classes or joints, found "
            f"{found}"
        )
    if record.sigma is not None:
        codec = detector.codec.tuned(record.name, {"sigma": record.sigma})
        detector = replace(detector, codec=codec)
    detector.meta["size"] = list(record.size)
    return detector
