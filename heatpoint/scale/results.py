"""What a run on a cluster writes: two files of rows and one of pictures for each part."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from heatpoint.errors import HeatpointError
from heatpoint.scale import ScaleOptions
from heatpoint.scale.pictures import Part
from heatpoint.system import locked
from heatpoint.system.files import atomic_write, read_json, write_json
from heatpoint.views.fields import Field, of_results

Row = dict[str, Any]
"""A row of a table by its columns."""

_KNOWN = ("boxes", "scores", "labels", "keypoints", "quads")
"""Fields that COCO's rows have their own columns for."""


@dataclass(frozen=True)
class Looked:
    """A part that is done.

    Attributes:
        number: Of the part.
        pictures: How many pictures it has.
        found: Rows in them.
        bad: Pictures of these that could not be looked at.
        reason: Why the first one could not.
        parquet: The rows, as a file.
        jsonl: The same.
        told: A row for each picture, as a parquet file.
        full: Looks that may have held more than the model gives at once.
        mistake: Why nothing could be done; else "".
    """

    number: int
    pictures: int = 0
    found: int = 0
    bad: int = 0
    reason: str = ""
    parquet: bytes = b""
    jsonl: bytes = b""
    told: bytes = b""
    full: int = 0
    mistake: str = ""

    @classmethod
    def of(
        cls,
        number: int,
        rows: Sequence[Row],
        told: Sequence[Row],
        answer: Sequence[Field],
        full: int,
    ) -> Looked:
        """Returns a part as files.

        Args:
            number: Of the part.
            rows: What is in its pictures, as ``result_rows``.
            told: A row for each picture.
            answer: Fields of the model.
            full: Looks that may have held more.
        """
        bad = [each["error"] for each in told if "error" in each]
        lines = msgspec.json.Encoder().encode_lines(rows)
        files = _parquet(rows, _columns(answer)), lines, _parquet(told, _columns_of_pictures())
        return cls(number, len(told), len(rows), len(bad), "".join(bad[:1]), *files, full)


def _columns(answer: Sequence[Field]) -> dict[str, Any]:
    """Returns the types of the columns of rows, the same for every part of a model."""
    import pyarrow as pa

    text, whole, number = pa.string(), pa.int64(), pa.float64()
    fields = {field.name: field for field in of_results(answer)}
    columns = {"file_name": text, "category_name": text, "image_id": whole, "category_id": whole}
    columns["bbox"] = pa.list_(number)
    if "keypoints" in fields:
        columns["keypoints"] = pa.list_(number)
    if "quads" in fields:
        columns["segmentation"] = pa.list_(pa.list_(number))
    columns["score"] = number
    for name in [each for each in fields if each not in _KNOWN]:
        columns[name] = number if np.issubdtype(fields[name].type, np.floating) else whole
        for _ in fields[name].tail:
            columns[name] = pa.list_(columns[name])
    return columns


def _columns_of_pictures() -> dict[str, Any]:
    import pyarrow as pa

    numbers = dict.fromkeys(("image_id", "height", "width", "found"), pa.int64())
    return {"file_name": pa.string(), **numbers, "error": pa.string()}


def _parquet(rows: Sequence[Row], columns: Mapping[str, Any]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    file = io.BytesIO()
    table = pa.Table.from_pylist(list(rows), pa.schema(columns.items()))
    # Numbers with a fraction hardly repeat: a dictionary of them costs time and space.
    repeated = [name for name, kind in columns.items() if kind in (pa.string(), pa.int64())]
    parquet.write_table(table, file, use_dictionary=repeated)
    return file.getvalue()


class Results:
    """The folder of a run, which no other run writes to meanwhile.

    Args:
        folder: The folder; a part is done when its file in ``pictures`` is there.

    Raises:
        HeatpointError: It holds something else, or another process works in it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._plan = folder, folder / "plan.json"
        self._stack = ExitStack()

    def __enter__(self) -> Results:
        folder = self._folder
        there = os.listdir(folder) if folder.is_dir() else []
        if any(not each.startswith(".") for each in there) and not self._plan.is_file():
            raise HeatpointError(
                f"{folder} holds something else than a run on a cluster, such as {min(there)}; "
                "choose another folder as out"
            )
        busy = f"another process writes to {folder}; wait for it, or choose another folder as out"
        self._stack.enter_context(locked(folder / ".lock", busy))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def plan(
        self,
        options: ScaleOptions,
        files: Mapping[str, bytes],
        names: Sequence[str],
        parts: Sequence[Part],
    ) -> None:
        """Notes what decides about the rows, or makes sure that it is as it was.

        Args:
            options: Of the run.
            files: Contents of the models' files.
            names: Files of pictures.
            parts: What they are divided into.

        Raises:
            HeatpointError: An earlier run was about something else.
        """
        digest = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        joined = hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()
        plan = {
            "models": digest,
            "files": {"number": len(names), "names": joined},
            "parts": {"number": len(parts), "pictures": len(parts[0].names)},
            "column": options.cluster.column,
            "batch_size": options.read.batch_size,
            **asdict(options.keep),
            **asdict(options.run),
        }
        plan = json.loads(json.dumps(plan, default=str))
        before = read_json(self._plan) if self._plan.is_file() else {}
        told = [key for key, value in plan.items() if before.get(key) != value]
        if not (self._folder / "pictures").is_dir():  # nothing came of it
            write_json(self._plan, plan)
            return
        if told:
            raise HeatpointError(
                f"{self._folder} holds parts of a run that differs in {', '.join(told)}; repeat it "
                "as it was, or choose another folder as out"
            )

    def has(self, number: int) -> bool:
        """Tells whether a part is done."""
        return self._path("pictures", number, "parquet").is_file()

    def write(self, looked: Looked) -> None:
        """Writes a part, of its files that last by which it is known to be done.

        Raises:
            HeatpointError: There is no room, or the folder may not be written to.
        """
        for folder, suffix, content in (
            ("parquet", "parquet", looked.parquet),
            ("jsonl", "jsonl", looked.jsonl),
            ("pictures", "parquet", looked.told),
        ):
            with atomic_write(self._path(folder, looked.number, suffix)) as temporary:
                temporary.write_bytes(content)

    def _path(self, folder: str, number: int, suffix: str) -> Path:
        return self._folder / folder / f"part-{number:06}.{suffix}"
