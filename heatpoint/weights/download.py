"""Downloads a file so that a cut connection costs nothing and a wrong file is never kept."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import string
import time
from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from heatpoint.errors import HeatpointError
from heatpoint.system import locked

CHUNK = 1 << 20
"""Bytes that are read, written and told at a time."""

PATIENCE = 30.0
"""Seconds without a byte after which a connection counts as cut."""

MOST, LONGEST = 1 << 28, 120.0
"""Bytes and seconds at most of what is fetched into memory."""

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
    before, partial = _stamp(path), path.with_name(f"{path.name}.partial")
    with locked(path.with_name(f"{path.name}.lock")):
        if _stamp(path) != before:
            return
        try:
            if not _get(address, path, partial, progress):  # what was there is no part of the file
                _discard(partial)
                _get(address, path, partial, progress)
            actual = digest(partial)
            if not actual.startswith(sha256.lower()):
                _discard(partial)
                raise HeatpointError(
                    f"{address} is not the file that was published, and was deleted: expected "
                    f"SHA-256 {sha256}..., got {actual}; try again, or put the right file at {path}"
                )
            os.replace(partial, path)
            _discard(partial)
        except OSError as error:
            raise HeatpointError(
                f"cannot write {path}: {error.strerror or error}; free space, or choose another "
                "folder with HEATPOINT_CACHE (what was downloaded is kept and not asked for again)"
            ) from error


def fetch(address: str) -> bytes:
    """Returns what an address leads to, at most ``MOST`` bytes within ``LONGEST`` seconds.

    Blanks and letters of other alphabets may stand in the address as they are.

    Raises:
        HeatpointError: The server cannot be reached, lacks the file, breaks off, is too slow, or
            sends more.
    """
    quoted, content, end = quote(address, safe=string.punctuation), b"", time.monotonic() + LONGEST
    with _asked(quoted, {}, "and give its name") as response:
        while True:
            try:
                chunk = response.read1(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise HeatpointError(
                    f"{address} broke off after {len(content):,} bytes ({error}); try again, or "
                    "download it to a file first"
                ) from None
            content += chunk
            if len(content) > MOST or time.monotonic() > end:
                raise HeatpointError(
                    f"{address} sends more than {MOST:,} bytes, or takes more than {LONGEST:g} s; "
                    "download it to a file first"
                )
            if not chunk:
                break
    length = response.headers.get("Content-Length", "").strip()
    if length.isdigit() and len(length) < 19 and len(content) < int(length):
        raise HeatpointError(
            f"{address} broke off after {len(content):,} of {length} bytes; try again, or download "
            "it to a file first"
        )
    return content


def _stamp(path: Path) -> tuple[int, int] | None:
    """Returns what changes when a file is replaced; None if it does not exist."""
    with suppress(OSError):
        status = path.stat()
        return status.st_ino, status.st_mtime_ns
    return None


def _version_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.version")


def _discard(partial: Path) -> None:
    for file in (partial, _version_file(partial)):
        file.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _get(address: str, path: Path, partial: Path, progress: Progress | None) -> bool:
    """Completes the partial file; returns False if it is longer than the file or another's."""
    done = partial.stat().st_size if partial.is_file() else 0
    version = _version_file(partial)
    headers = {}
    if done:
        headers["Range"] = f"bytes={done}-"
        if version.is_file():
            headers["If-Range"] = version.read_text(encoding="latin-1")
    otherwise = f"put it at {path}, and run the same command again"
    try:
        response = _asked(address, headers, otherwise)
    except HTTPError as error:
        return _range(error.headers)[1] == done
    with response:
        if response.status == http.client.PARTIAL_CONTENT:
            first, total = _range(response.headers)
            if first != done:
                return False
        else:  # the whole file, because nothing was there, or the server sends nothing less
            length = response.headers.get("Content-Length", "").strip()
            done, total = 0, int(length) if re.fullmatch(r"\d{1,18}", length, re.ASCII) else 0
            _write_version(version, response.headers)
        free = shutil.disk_usage(path.parent).free
        if total - done > free:
            raise HeatpointError(
                f"{path} needs {total - done:,} bytes, but only {free:,} are free there; free "
                "space, or choose another folder with HEATPOINT_CACHE"
            )
        with open(partial, "ab" if done else "wb") as file:
            while chunk := _read(response, address, partial, done, total):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(done, total)
    if total and done != total:
        raise _cut(address, partial, done, total, "the connection was closed")
    return True


def _asked(address: str, headers: dict[str, str], otherwise: str) -> http.client.HTTPResponse:
    """Returns a server's answer, of which nothing but the headers is read.

    Args:
        address: What is asked for.
        headers: Say how.
        otherwise: Ends the messages; what else to do.

    Raises:
        HeatpointError: The server cannot be reached, lacks the file, or does not encrypt it.
        HTTPError: Nothing lies behind the part that was asked for.
    """
    headers = {"User-Agent": "heatpoint", **headers}
    try:
        response: http.client.HTTPResponse = urlopen(
            Request(address, headers=headers), timeout=PATIENCE
        )
    except HTTPError as error:
        error.close()
        if error.code == SATISFIED and "Range" in headers:
            raise
        what = "is not there any more" if error.code in (404, 410) else "was refused"
        raise HeatpointError(
            f"{address} {what} (HTTP status {error.code}); find the file elsewhere, {otherwise}"
        ) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        raise HeatpointError(
            f"{address} cannot be reached ({cause}); download {address} on another machine, "
            f"{otherwise}"
        ) from None
    if address.startswith("https:") and not response.url.startswith("https:"):
        response.close()
        raise HeatpointError(
            f"{address} leads to {response.url}, which is not encrypted; find the file "
            f"elsewhere, {otherwise}"
        )
    return response


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


def _range(headers: Message) -> tuple[int, int]:
    """Returns place of the first byte and length of the file, -1 and 0 if no header tells them."""
    told = headers.get("Content-Range", "")
    first, total = re.match(r"bytes (\d{1,18})-", told), re.search(r"/(\d{1,18})\s*$", told)
    return int(first[1]) if first else -1, int(total[1]) if total else 0


def _write_version(path: Path, headers: Message) -> None:
    """Keeps what tells this version of the file from others; a weak ETag does not."""
    tag = headers.get("ETag", "")
    mark = tag if tag.startswith('"') else headers.get("Last-Modified", "")
    if mark:
        path.write_text(mark, encoding="latin-1")
    else:
        path.unlink(missing_ok=True)
