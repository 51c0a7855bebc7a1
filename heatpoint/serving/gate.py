"""What every request passes first: the token, a place among the waiting, bytes, and the clock."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from contextlib import suppress

from fastapi import HTTPException
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from heatpoint.serving import TOKEN, LimitOptions

WORK = ("/predict", "/heatmap")
"""Paths behind which a network runs."""

OPEN = ("/", "/page.css", "/page.js", "/health", "/openapi.json")
"""Paths that say nothing of the model and need no token."""

KNOWN = (*WORK, *OPEN, "/model", "/metrics")

_PATIENCE = 5.0
"""Seconds in which the rest of a refused request is read, so that its sender hears why."""


class Meters:
    """What is counted, for Prometheus.

    Attributes:
        registry: What is shown under /metrics.
        requests: Answers by path and status.
        seconds: From the first byte of a request to the end of its answer, by path.
        pictures: Pictures that were answered.
        looks: Pictures or tiles per run of the network.
        waiting: Requests under way.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "heatpoint_requests", "Answers", ["path", "status"], registry=registry
        )
        self.seconds = Histogram(
            "heatpoint_request_seconds", "Time of an answer", ["path"], registry=registry
        )
        self.pictures = Counter("heatpoint_pictures", "Pictures looked at", registry=registry)
        self.looks = Histogram(
            "heatpoint_batch_looks",
            "Pictures or tiles per run of the network",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self.waiting = Gauge("heatpoint_requests_waiting", "Requests under way", registry=registry)


class _Refused(Exception):
    """A request that is answered without being worked on: status, sentence, further header."""


class Gate:
    """The outermost layer of the application (ASGI).

    Args:
        app: What lies behind.
        limits: What a request may cost.
        token: What it must know; "" for nothing.
        meters: Where requests are counted.
    """

    def __init__(self, app: ASGIApp, limits: LimitOptions, token: str, meters: Meters) -> None:
        self._app, self._limits, self._meters = app, limits, meters
        self._token = f"Bearer {token}".encode() if token else b""
        self._most = round(limits.megabytes * 1e6)
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or lets it pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, path, status = time.perf_counter(), scope["path"], 0

        async def answer(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._pass(scope, receive, answer)
        except (_Refused, TimeoutError) as error:
            late = 504, f"the answer took more than {self._limits.seconds:g} s; send less", ()
            told = late if isinstance(error, TimeoutError) else error.args
            if not status:
                await self._refuse(scope, receive, answer, *told)
        finally:
            shown = path if path in KNOWN else "other"
            self._meters.requests.labels(shown, status).inc()
            self._meters.seconds.labels(shown).observe(time.perf_counter() - started)

    async def _pass(self, scope: Scope, receive: Receive, answer: Send) -> None:
        """Lets a request pass.

        Raises:
            _Refused: It may not.
            TimeoutError: It takes too long.
        """
        headers = dict(scope["headers"])
        given = headers.get(b"authorization", b"")
        closed = self._token and scope["path"] not in OPEN
        if closed and not secrets.compare_digest(given, self._token):
            why = f"this server wants the header 'Authorization: Bearer TOKEN' with its {TOKEN}"
            raise _Refused(401, why, [(b"www-authenticate", b"Bearer")])
        if scope["path"] not in WORK:
            await self._app(scope, receive, answer)
            return
        told = headers.get(b"content-length", b"")
        if told.isdigit() and int(told) > self._most:
            raise _Refused(413, self._too_much, ())
        if self._under_way >= self._limits.waiting:
            why = f"{self._under_way} requests are under way already; try again in a second"
            raise _Refused(429, why, [(b"retry-after", b"1")])
        self._under_way += 1
        self._meters.waiting.set(self._under_way)
        try:
            async with asyncio.timeout(self._limits.seconds):
                await self._app(scope, self._counted(receive), answer)
        finally:
            self._under_way -= 1
            self._meters.waiting.set(self._under_way)

    @property
    def _too_much(self) -> str:
        return f"a request may have {self._limits.megabytes:g} MB; send fewer or smaller pictures"

    def _counted(self, receive: Receive) -> Receive:
        """Returns what receives a body until there is more of it than a request may have."""
        total = 0

        async def counted() -> Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            if total > self._most:
                raise HTTPException(413, self._too_much)
            return message

        return counted

    async def _refuse(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        status: int,
        why: str,
        headers: list[tuple[bytes, bytes]],
    ) -> None:
        """Reads the rest of a request, as far as is reasonable, and says why it is refused."""
        left = 2 * self._most
        if b"expect" not in dict(scope["headers"]):  # such a sender waits to be asked
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    while left > 0 and (message := await receive()).get("more_body"):
                        left -= len(message["body"])
        body = json.dumps({"detail": why}).encode()
        kind = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": [*kind, *headers]})
        await send({"type": "http.response.body", "body": body})
