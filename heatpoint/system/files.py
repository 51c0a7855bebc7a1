"""Writes files so that a reader never sees half of one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from heatpoint.errors import HeatpointError


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` and renames it to ``path`` on success.

    The temporary name keeps the suffix of ``path``, because writers choose a format by it. On any
    error the temporary file is removed and the old file, if there was one, stays as it was.

    Raises:
        HeatpointError: The system refuses the write (full disk, no permission, missing device).
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise HeatpointError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another folder "
            "(what was saved there before is untouched)"
        ) from error
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_json(path: str | Path, value: Any) -> None:
    """Writes ``value`` as indented JSON, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Reads a JSON file.

    Raises:
        HeatpointError: The file is missing or is not JSON (cut in half, say); names where.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise HeatpointError(f"{path} does not exist") from None
    except OSError as error:
        raise HeatpointError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise HeatpointError(f"{path} is not a JSON text file") from None
    except json.JSONDecodeError as error:
        raise HeatpointError(
            f"{path} is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}; "
            "the file may be cut off"
        ) from None
