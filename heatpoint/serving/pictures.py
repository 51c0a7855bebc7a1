"""What a request sends as pictures: names and bytes, from itself or from hosts that are allowed."""

from __future__ import annotations

import http.client
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, build_opener

from fastapi import HTTPException

from heatpoint.data.images import image_size
from heatpoint.data.opening import BadImage, TooLarge
from heatpoint.serving import LimitOptions


@dataclass(frozen=True)
class Sent:
    """A picture as it was sent.

    Attributes:
        name: What its sender calls it; it names no file of this machine.
        content: The bytes of its file.
    """

    name: str
    content: bytes


def check(sent: Sent, limits: LimitOptions) -> None:
    """Makes sure by its header that a picture can be read and is not too large to be decoded.

    Raises:
        HTTPException: 415 for what is no picture, 413 for one of too many pixels.
    """
    try:
        height, width = image_size(sent.content, sent.name)
    except BadImage as error:
        raise HTTPException(413 if isinstance(error, TooLarge) else 415, str(error)) from None
    if height * width > limits.megapixels * 1e6:
        raise HTTPException(
            413,
            f"{sent.name} claims {width} x {height} pixels; at most {limits.megapixels:g} million "
            "are looked at: cut it into parts or make it smaller",
        )


class _Stay(HTTPRedirectHandler):
    """Goes nowhere else: another host would not be one of those that are allowed."""

    def redirect_request(self, *_: Any) -> None:
        """Returns nothing, which makes the answer an error."""


def fetched(address: str, hosts: Sequence[str], limits: LimitOptions) -> Sent:
    """Returns the picture at an address.

    Raises:
        HTTPException: 403 for a host that is not allowed, 413 for too many bytes, 400 if the
            picture does not come.
    """
    try:
        parts = urlsplit(address)
        host, name = parts.hostname or "", parts.path.rpartition("/")[2] or address
    except ValueError:
        raise HTTPException(400, f"{address!r:.200} is no address") from None
    if parts.scheme not in ("http", "https") or host not in hosts or "@" in parts.netloc:
        allowed = f"those are {', '.join(hosts)}" if hosts else "there are none: --urls names some"
        why = f"{address!r:.200} is not at a host that pictures are fetched from; {allowed}"
        raise HTTPException(403, why)
    most, end = limits.megabytes * 1e6, time.monotonic() + limits.seconds
    content = b""
    try:
        with build_opener(_Stay).open(address, timeout=limits.seconds) as response:
            while chunk := response.read1(1 << 20):
                content += chunk
                if len(content) > most:
                    why = f"{name} has more than {limits.megabytes:g} MB; send a smaller picture"
                    raise HTTPException(413, why)
                if time.monotonic() > end:
                    raise TimeoutError("too slow")
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise HTTPException(400, f"{address!r:.200} did not give a picture: {error}") from None
    return Sent(name, content)
