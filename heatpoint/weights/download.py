"""Downloads a file so that a cut connection costs nothing and a wrong file is never kept."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from heatpoint.errors import HeatpointError
from heatpoint.system import locked

CHUNK = 1 << 20
"""Bytes that are read, written and told at a time."""

PATIENCE = 30.0
"""Seconds without a byte after which a connection counts as cut."""

SATISFIED = 416
"""HTTP status: nothing of the file lies behind what was asked for."""

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all, 0 where the server does not say."""


def cache_folder() -> Path:
    """Returns the folder for what was fetched: HEATPOINT_CACHE, or heatpoint in the user's cache.

    The latter is ``$XDG_CACHE_HOME``, by default ``~/.cache``. The folder may not exist yet.
    """
    if own := os.environ.get("HEATPOINT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heatpoint"


def download(address: str, path: Path, sha256: str = "", progress: Progress | None = None) -> None:
    """Downloads ``address`` to ``path``, which appears when it is complete and verified.

    Until then the bytes are in ``path`` with ``.partial`` behind it, and the server's mark of the
    version in ``.partial.version``. What is there of an earlier attempt is not asked for again,
    if the server can send the rest of the same version. While another process downloads the same
    file, it is waited for; what it got is then taken.

    Args:
        address: Where the file is.
        path: Where it goes.
        sha256: First hexadecimal digits of its SHA-256; "" checks the length only.
        progress: Called after every chunk.

    Raises:
        HeatpointError: The server cannot be reached, lacks the file or breaks off, the disk is
            full, or the file is not the one that was published.
    """
    before = _stamp(path)
    with locked(path.with_name(f"{path.name}.lock")):
        if _stamp(path) == before:
            _download(address, path, sha256, progress)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Returns what changes when a file is replaced; None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _download(address: str, path: Path, sha256: str, progress: Progress | None) -> None:
    """Downloads as ``download``, while nobody else does."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        if not _get(address, path, partial, progress):  # what was there is no part of the file
            _discard(partial)
            _get(address, path, partial, progress)
        actual = digest(partial)
        if not actual.startswith(sha256.lower()):
            _discard(partial)
            raise HeatpointError(
                f"{address} is not the file that was published, and was deleted: expected SHA-256 "
                f"{sha256}..., got {actual}; try again, or put the right file at {path}"
            )
        os.replace(partial, path)
        _discard(partial)
    except OSError as error:
        raise HeatpointError(
            f"cannot write {path}: {error.strerror or error}; free space, or choose another folder "
            "with HEATPOINT_CACHE (what was downloaded is kept and not asked for again)"
        ) from error


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _get(address: str, path: Path, partial: Path, progress: Progress | None) -> bool:
    """Completes the partial file; returns False if it is longer than the file or another's."""
    done = partial.stat().st_size if partial.is_file() else 0
    version = _version_file(partial)
    headers = {"User-Agent": "heatpoint"}
    if done:
        headers["Range"] = f"bytes={done}-"
        if version.is_file():
            headers["If-Range"] = version.read_text(encoding="latin-1")
    try:
        response = urlopen(Request(address, headers=headers), timeout=PATIENCE)
    except HTTPError as error:
        error.close()
        if error.code == SATISFIED and done:
            return _total(error.headers) == done
        what = "is not there any more" if error.code in (404, 410) else "was refused"
        raise HeatpointError(
            f"{address} {what} (HTTP status {error.code}); {_elsewhere(path)}"
        ) from None
    except (URLError, OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise HeatpointError(
            f"{address} cannot be reached ({reason}); {_elsewhere(path, address)}"
        ) from None
    with response:
        if address.startswith("https:") and not response.url.startswith("https:"):
            raise HeatpointError(
                f"{address} leads to {response.url}, which is not encrypted; {_elsewhere(path)}"
            )
        if response.status == http.client.PARTIAL_CONTENT:
            total = _total(response.headers)
            if _first(response.headers) != done:
                return False
        else:  # the whole file, because nothing was there, or the server sends nothing less
            length = response.headers.get("Content-Length", "").strip()
            done, total = 0, int(length) if re.fullmatch(r"\d{1,18}", length, re.ASCII) else 0
            _write_version(version, response.headers)
        _check_space(path, total - done)
        with open(partial, "ab" if done else "wb") as file:
            while chunk := _read(response, address, partial, done, total):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(done, total)
    if total and done != total:
        raise _cut(address, partial, done, total, "the connection was closed")
    return True


def _read(
    response: http.client.HTTPResponse, address: str, partial: Path, done: int, total: int
) -> bytes:
    """Returns the next bytes; what fails here is the connection, not the disk."""
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _cut(address, partial, done, total, str(error) or type(error).__name__) from None


def _cut(address: str, partial: Path, done: int, total: int, reason: str) -> HeatpointError:
    of = f" of {total:,}" if total else ""
    return HeatpointError(
        f"{address} broke off after {done:,}{of} bytes ({reason}); they are kept in {partial}, and "
        "the same command again asks for the rest"
    )


def _check_space(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise HeatpointError(
            f"{path} needs {needed:,} bytes, but only {free:,} are free there; free space, or "
            "choose another folder with HEATPOINT_CACHE"
        )


def _elsewhere(path: Path, address: str = "") -> str:
    """Returns how a file that cannot be downloaded here still gets to its place."""
    source = f"download {address} on another machine" if address else "find the file elsewhere"
    return f"{source}, put it at {path}, and run the same command again"


def _total(headers: Message) -> int:
    """Returns the length of the file that a Content-Range tells, 0 if it does not."""
    found = re.search(r"/(\d{1,18})\s*$", headers.get("Content-Range", ""))
    return int(found[1]) if found else 0


def _first(headers: Message) -> int:
    """Returns the place of the first byte that a Content-Range tells, -1 if it does not."""
    found = re.match(r"bytes (\d{1,18})-", headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def _version_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.version")


def _write_version(path: Path, headers: Message) -> None:
    """Keeps what tells this version of the file from others; a weak ETag does not."""
    tag = headers.get("ETag", "")
    mark = tag if tag.startswith('"') else headers.get("Last-Modified", "")
    if mark:
        path.write_text(mark, encoding="latin-1")
    else:
        path.unlink(missing_ok=True)


def _discard(partial: Path) -> None:
    for file in (partial, _version_file(partial)):
        with suppress(FileNotFoundError):
            file.unlink()
