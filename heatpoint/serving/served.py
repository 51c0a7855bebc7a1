"""The open model of a server, and the way of a picture from what was sent to what is found in it.

A picture is sent with a request, or fetched for it from hosts that are allowed.
"""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, build_opener

import cv2
import numpy as np
from fastapi import HTTPException

from heatpoint.data.images import image_size
from heatpoint.data.opening import BadImage, TooLarge
from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError
from heatpoint.inference import LoadOptions
from heatpoint.inference.finish import choose_keep
from heatpoint.inference.loaded import open_model
from heatpoint.inference.places import ImageBoxes, places_among, places_of
from heatpoint.inference.predict import SCORE, check_keep, choose_view, not_everywhere
from heatpoint.inference.runner import Found, Runner
from heatpoint.inference.sources import Source
from heatpoint.serving import LimitOptions
from heatpoint.serving.batches import Batches
from heatpoint.system import VERSION
from heatpoint.views import Places, Raster


@dataclass(frozen=True)
class Sent:
    """A picture as it was sent.

    Attributes:
        name: What its sender calls it; it names no file of this machine.
        content: The bytes of its file.
    """

    name: str
    content: bytes


def check_sent(sent: Sent, limits: LimitOptions) -> None:
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


Runners = tuple[Runner, Runner | None]
"""What looks at pictures, and what finds where it looks, or None."""

Given = ParamSpec("Given")
Result = TypeVar("Result")
Tiles = int | tuple[int, int]


@dataclass(frozen=True)
class Wish:
    """How a request wants its pictures to be looked at.

    Attributes:
        score: Least score of a result; None for what the server was started with.
        tiles: Sides of tiles; None for that, too.
    """

    score: float | None = None
    tiles: Tiles | None = None


class Served:
    """An open model that answers many requests at once.

    Args:
        options: Say which model, and how it is run unless a request wishes otherwise.
        limits: What a request may cost.
        told: Called with the number of looks of each run of the network.

    Raises:
        HeatpointError: The model cannot be opened or run, or an option is not for it.
    """

    def __init__(
        self, options: LoadOptions, limits: LimitOptions, told: Callable[[int], None]
    ) -> None:
        model = open_model(options)
        self._options, self._limits = options, limits
        self.runner, self.finder = model.runner, model.finder
        self.about = model.engine.description
        # A broken model shall fail now, and the first request shall be as quick as the others.
        black = np.zeros((*model.size, self.about.channels), self.about.dtype)
        self.runner([black])
        self.heated = self._has_heat()
        self.batches = Batches(model.engine.streams, limits.batch_size, told)
        self._pool = ThreadPoolExecutor(limits.workers, "heatpoint-serve-read")
        # Decoded pictures are large; further ones wait as the bytes that were sent.
        self._decoded = asyncio.Semaphore(2 * limits.batch_size)
        self._as_wished = lru_cache(64)(self._changed)

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(cancel_futures=True)
        self.batches.close()

    def card(self) -> dict[str, Any]:
        """Returns what a client should know of the model, ready for JSON."""
        about, engine, limits = self.about, self.runner.engine, self._limits
        skeleton = about.skeleton
        keep = (self.finder or self.runner).keep
        return {
            "name": about.architecture or "model",
            "finds": "quads" if "quads" in {f.name for f in about.answer} else about.finds,
            "names": about.names,
            "skeleton": skeleton and {**skeleton.as_dict(), "sides": skeleton.sides},
            "size": about.size,
            "asks": self.runner.view.asks,
            "finder": self.finder is not None,
            "score": keep.score,
            "heatmap": self.heated,
            "engine": {"name": engine.name, "device": engine.device, "precision": engine.precision},
            "limits": {
                "bytes": round(limits.megabytes * 1e6),
                "pixels": round(limits.megapixels * 1e6),
                "seconds": limits.seconds,
                "waiting": limits.waiting,
            },
            "version": VERSION,
        }

    def runner_for(self, wish: Wish, boxes: bool) -> Runners:
        """Returns what looks at the pictures of a request, and what finds where, or None.

        Args:
            wish: The request's.
            boxes: It says itself where to look.

        Raises:
            HeatpointError: A wish is not for this model.
        """
        if boxes and not self.runner.view.asks:
            raise HeatpointError(f"boxes {not_everywhere(self.about)}")
        finder = None if boxes else self.finder
        if finder is not None:
            return self._as_wished(self.runner, Wish(None, wish.tiles)), self._as_wished(
                finder, Wish(wish.score)
            )
        if self.runner.view.asks and wish.score is not None:
            check_keep(self.runner, replace(self._options.keep, score=wish.score), boxes)
        return self._as_wished(self.runner, wish), None

    def _changed(self, runner: Runner, wish: Wish) -> Runner:
        """Returns a runner of the same engine, for one wish."""
        if wish == Wish():
            return runner
        run, keep, view = self._options.run, self._options.keep, runner.view
        about = runner.engine.description
        if wish.tiles is not None:
            view = choose_view(about, replace(run, tiles=wish.tiles))
        if wish.score is not None:
            keep = replace(keep, score=wish.score)
        least = SCORE if about.least is None else about.least
        kept = choose_keep(keep, least, about.suppression, view, about.most)
        return Runner(runner.engine, view, kept)

    async def fetch(self, address: str) -> Sent:
        """Returns the picture at an address.

        Raises:
            HTTPException: As ``fetched``.
        """
        return await self._threaded(fetched, address, self._limits.urls, self._limits)

    async def look(
        self,
        index: int,
        sent: Sent,
        runners: tuple[Runner, Runner | None],
        boxes: ImageBoxes | None,
    ) -> Found:
        """Returns what is found in a picture.

        Args:
            index: Its number in the request.
            sent: Its file.
            runners: What looks at it, and what finds where, or None.
            boxes: Where to look, (N, 4) xyxy in its pixels; None for wherever the model looks.

        Raises:
            HTTPException: It is no picture, too large, broken, or the model fails at it.
            HeatpointError: The boxes are none.
        """
        runner, finder = runners
        places = None if boxes is None else places_of(boxes, sent.name)
        async with self._decoded:
            raster = await self._threaded(self._read, sent)
            if finder is not None:
                found = await self._answered(finder, raster, index, sent.name, None)
                places = places_among(found, runner.names[0])
            found = await self._answered(runner, raster, index, sent.name, places)
            return Found(index, sent.name, raster.size, found)

    async def draw(self, sent: Sent, found: Detections) -> bytes:
        """Returns a JPEG file of a picture with what is found drawn in."""

        def drawn() -> bytes:
            return _encoded(".jpg", found.plot(_source(sent).shown()))

        return await self._threaded(drawn)

    async def heat(self, sent: Sent) -> bytes:
        """Returns a grey PNG file of the heatmap over a picture, as large as it.

        Raises:
            HTTPException: As ``look``.
            HeatpointError: The model keeps its heatmap to itself, or has none.
        """
        if not self.heated:
            raise HeatpointError(
                f"{self.about.called} shows no heatmap: serve the checkpoint of a model that has "
                "one, not an exported file"
            )
        from heatpoint.inference.heat import heat_of

        def drawn() -> bytes:
            check_sent(sent, self._limits)
            with self.batches.turn:
                return _encoded(".png", heat_of(self.runner, _source(sent)))

        async with self._decoded:
            try:
                return await self._threaded(drawn)
            except BadImage as error:
                raise HTTPException(422, str(error)) from None

    def _has_heat(self) -> bool:
        if self.runner.engine.name != "torch":
            return False
        from heatpoint.inference.engines.torch import TorchEngine
        from heatpoint.inference.heat import MAP

        engine = self.runner.engine
        return isinstance(engine, TorchEngine) and MAP in {each.name for each in engine.codec.maps}

    def _read(self, sent: Sent) -> Raster:
        """Returns the pixels of a picture."""
        check_sent(sent, self._limits)
        about = self.about
        try:
            return replace(_source(sent), bits=about.bits, bands=about.bands).open()
        except BadImage as error:
            raise HTTPException(422, str(error)) from None

    async def _answered(
        self, runner: Runner, raster: Raster, index: int, name: str, places: Places | None
    ) -> Detections:
        """Returns what a runner finds in a picture."""
        job = await self._threaded(runner.prepare, raster, index, name, places)
        try:
            return await asyncio.wrap_future(self.batches.look(runner, job))
        except HeatpointError as error:  # no wish of the request's, but the model or the machine
            raise HTTPException(500, str(error)) from None

    async def _threaded(
        self, work: Callable[Given, Result], *given: Given.args, **more: Given.kwargs
    ) -> Result:
        """Returns what a function gives that runs in a thread."""
        return await asyncio.wrap_future(self._pool.submit(work, *given, **more))


def _source(sent: Sent) -> Source:
    return Source(sent.content, sent.name)


def _encoded(ending: str, picture: Any) -> bytes:
    if picture.ndim == 3:
        picture = picture[..., ::-1]  # OpenCV's order
    if ending == ".jpg" and max(picture.shape) > 65500:
        raise HTTPException(413, "the picture has a side that is too long to be sent as JPEG")
    _, data = cv2.imencode(ending, picture, [cv2.IMWRITE_JPEG_QUALITY, 95] * (ending == ".jpg"))
    return bytes(data)
