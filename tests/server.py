"""A server of one file on this machine that breaks off, forgets ranges and fails on request."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server does.

    Attributes:
        content: The file.
        address: Where it is.
        ranges: Whether parts of it can be asked for.
        etag: Mark of the version, or "".
        length: Whether the length is told.
        wrong_length: What is told instead of the length, or "".
        cut: Bytes after which a connection is closed, or None.
        status: Answer instead of the file, or 0.
        asked: The Range headers of all requests so far.
    """

    content: bytes
    address: str = ""
    ranges: bool = True
    etag: str = ""
    length: bool = True
    wrong_length: str = ""
    cut: int | None = None
    status: int = 0
    asked: list[str] = field(default_factory=list)


@contextmanager
def serve(content: bytes) -> Iterator[Site]:
    """Serves the content until the end of the block."""
    site = Site(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, site)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.address = f"http://127.0.0.1:{server.server_port}/file.pth"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(request: BaseHTTPRequestHandler, site: Site) -> None:
    """Sends the file or a part of it as the site is told to."""
    asked = request.headers.get("Range", "")
    site.asked.append(asked)
    if site.status:
        request.send_error(site.status)
        return
    first, total = 0, len(site.content)
    same = request.headers.get("If-Range", site.etag) == site.etag
    if asked and site.ranges and same:
        first = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        if first >= total:
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{total}")
            request.end_headers()
            return
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
    else:
        request.send_response(200)
    if site.length:
        request.send_header("Content-Length", site.wrong_length or str(total - first))
    if site.etag:
        request.send_header("ETag", site.etag)
    request.end_headers()
    request.wfile.write(site.content[first:][: site.cut])
