"""Writes a data set as WebDataset: .tar files of pictures, each with what COCO says of it."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

import msgspec

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.images import image_size
from heatpoint.data.readers.coco import as_coco
from heatpoint.data.shards import content
from heatpoint.errors import HeatpointError

BYTES = 1 << 30
"""A new .tar file is begun where one holds so much: quick to copy, and few of them."""


def write_shards(
    parts: Mapping[str, Annotations],
    folder: Path,
    names: Mapping[Path, str],
    lost: Counter[str],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Writes ``NAME-000000.tar``, ``NAME-000001.tar`` ... of each part.

    Args:
        parts: The data sets by the names of their splits.
        folder: Where they go.
        names: What each picture is called.
        lost: Grows by what cannot be said.
        progress: Called with the number of pictures written and of all.

    Raises:
        HeatpointError: A picture is missing.
        OSError: The system refuses.
    """
    done, total = 0, sum(map(len, parts.values()))
    used = set[int]()
    for part_name, part in parts.items():
        packer = _Packer(folder / part_name)
        written = set[Path]()
        with closing(packer):
            for record in part.images:
                if record.path in written:
                    lost["pictures listed a second time, left out with their objects"] += 1
                else:
                    used.update(record.labels.tolist())
                    packer.add(names[record.path], record, part)
                written.add(record.path)
                done += 1
                if progress is not None:
                    progress(done, total)
    classes = next(iter(parts.values())).names
    lost["classes without an object, which shards do not list"] += len(classes) - len(used)


class _Packer:
    """The .tar files of one split."""

    def __init__(self, start: Path) -> None:
        self._start, self._number = start, 0
        self._archive: tarfile.TarFile | None = None

    def add(self, name: str, record: ImageRecord, part: Annotations) -> None:
        """Adds a picture and its annotation."""
        try:
            picture = content(record.path)
        except OSError as error:
            raise HeatpointError(
                f"{record.path} cannot be read ({error.strerror or 'it is not there'}), so it "
                "cannot be packed; give the folder of the pictures by --images"
            ) from None
        if record.size is None:
            with suppress(HeatpointError):  # whoever trains is told
                record = replace(record, size=image_size(picture, str(record.path)))
        # Other readers of such files take what follows the first dot for the ending.
        path = PurePosixPath(name)
        key = str(path.with_name(path.stem.replace(".", "_")))
        for ending, data in ((path.suffix, picture), (".json", _told(record, part, key))):
            member = tarfile.TarInfo(key + ending)
            member.size = len(data)
            archive = self._open(ending != ".json")
            archive.addfile(member, io.BytesIO(data))
            archive.members = []  # type: ignore[attr-defined] # it would keep all of them

    def _open(self, may_change: bool) -> tarfile.TarFile:
        """Returns the file to write to, a new one where the last is full."""
        if may_change and self._archive is not None and self._archive.offset >= BYTES:
            self.close()
        if self._archive is None:
            self._archive = tarfile.open(f"{self._start}-{self._number:06}.tar", "w")  # noqa: SIM115
            self._number += 1
        return self._archive

    def close(self) -> None:
        """Ends the file that is written."""
        if self._archive is not None:
            self._archive.close()
        self._archive = None


def _told(record: ImageRecord, part: Annotations, key: str) -> bytes:
    """Returns the JSON that stands beside a picture."""
    whole = as_coco(replace(part, images=[replace(record, path=Path(key + record.path.suffix))]))
    used = {part.category_ids[label] for label in record.labels.tolist()}
    return msgspec.json.encode(
        {
            "image": whole["images"][0],
            "annotations": whole["annotations"],
            "categories": [each for each in whole["categories"] if each["id"] in used],
        }
    )
