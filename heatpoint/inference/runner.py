"""Runs a model over pictures: the one path from pixels to results, whatever is found."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Image
from heatpoint.inference.engines.engine import Answer, Engine
from heatpoint.inference.finish import Keep, conclude, in_image
from heatpoint.inference.places import places_among
from heatpoint.inference.sources import Source, in_order, prefetch, read_ahead
from heatpoint.system import VERSION
from heatpoint.views import Look, Pixels, Places, Raster, View, Whole
from heatpoint.views.fields import BOXES, LABELS, Arrays, counted, mapped, of_results


@dataclass(frozen=True)
class Found:
    """What was found in one image of a stream.

    Attributes:
        index: Place of the image among the sources.
        path: Its file, or "".
        image_size: (height, width) of the image.
        detections: In image pixels.
        frame: Which picture of a file, from 0, where every one was asked for.
    """

    index: int
    path: str
    image_size: tuple[int, int]
    detections: Detections
    frame: int | None = None


@dataclass(eq=False)
class Job:
    """One picture under way.

    Attributes:
        index: Its place among the sources.
        path: Its file, or "".
        raster: Its pixels.
        looks: The looks at it.
        inputs: (C, H, W) of each look that was cut out already.
        parts: Rows of each look that is answered, in image pixels.
        wanted: Places that each of these asks to look at, in image pixels, by field.
        sums: Objects of each class (C,) on the ground of each, of a model with a density map.
    """

    index: int
    path: str
    raster: Raster
    looks: list[Look]
    inputs: dict[int, Pixels] = field(default_factory=dict)
    parts: dict[int, Arrays] = field(default_factory=dict)
    wanted: dict[int, Arrays] = field(default_factory=dict)
    sums: dict[int, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def asks(self) -> list[Ask]:
        """Each of its looks."""
        return [(self, number) for number in range(len(self.looks))]

    @property
    def done(self) -> bool:
        """Whether every look is answered."""
        return len(self.parts) == len(self.looks)

    def take(self, number: int) -> Pixels:
        """Returns the input of one look, which is cut out now or was before."""
        pixels = self.inputs.pop(number, None)
        return self.looks[number].cut(self.raster) if pixels is None else pixels


Ask = tuple[Job, int]
"""A picture and the number of one of its looks."""


class Runner:
    """A model made ready to run in one fixed way.

    Args:
        engine: Runs the network.
        view: Says where to look, and puts together what is found there.
        keep: What becomes a result; of a view that asks about places everything does.

    Attributes:
        names: Class names of the model.
        timings: What has been measured so far.
        skipped: Path and reason of each image that ``stream`` left out.
        full: Looks at which every row of the answer was ``SURE``, and pictures of which the view
            made all looks that it may, so that there may be more.

    Raises:
        HeatpointError: The engine does not take the view's inputs.
    """

    def __init__(self, engine: Engine, view: View, keep: Keep) -> None:
        about = engine.description
        self.engine, self.view, self.keep = engine, view, keep
        self.names, self.timings, self.fields = about.names, engine.timings, about.answer
        results = of_results(self.fields)
        self.every = (*results, *(each for each in (BOXES, LABELS) if each not in results))
        self.places = tuple(each for each in self.fields if each.kind == "place")
        self.density = next((each.name for each in self.fields if each.kind == "density"), "")
        for size in view.sizes:
            about.check_size(size, about.called)
        if not view.sizes and not about.dynamic:
            raise HeatpointError(
                f"{about.called} takes images of {about.size[0]}x{about.size[1]} pixels only, so "
                "that their resolution cannot be kept; export it with --dynamic"
            )
        self.skipped: list[tuple[str, str]] = []
        self.full = 0

    def protocol(self) -> dict[str, Any]:
        """Returns everything that decides about the numbers, to be stored beside them."""
        keep = self.keep
        kept = {
            "max_detections": keep.max_detections,
            "score": keep.score,
            "nms": keep.nms,
            "soft_nms": keep.soft_nms,
            "soft_nms_sigma": keep.sigma if keep.soft_nms in ("gaussian", "merge") else None,
        }
        return {
            **self.view.protocol(),
            "flip": self.engine.description.flip,
            **({} if self.view.asks else kept),
            "engine": self.engine.name,
            "precision": self.engine.precision,
            "device": self.engine.device,
            "version": VERSION,
        }

    def __call__(
        self, images: Sequence[Image], places: Sequence[Places | None] | None = None
    ) -> list[Detections]:
        """Returns what is in (h, w, 3) uint8 RGB images, or other bands, run as one batch.

        Args:
            images: Any number.
            places: Where to look in each; None for wherever the view looks.
        """
        asked = places if places is not None else [None] * len(images)
        pairs = zip(images, asked, strict=True)
        jobs = [self.prepare(Whole(image), places=where) for image, where in pairs]
        self.answer([ask for job in jobs for ask in job.asks])
        return [self.conclude(job) for job in jobs]

    def prepare(
        self, raster: Raster, index: int = 0, path: str = "", places: Places | None = None
    ) -> Job:
        """Plans the looks at one picture and, unless it is read in parts, cuts them out.

        Safe in threads.

        Raises:
            HeatpointError: A place lies wholly outside the picture.
        """
        if places is not None:
            places.check_inside(raster.size, path or "the image")
        looks = list(self.view.looks(raster.size, places))
        cut = dict(enumerate(look.cut(raster) for look in looks)) if self.view.whole else {}
        return Job(index, path, raster, looks, cut)

    def answer(self, asks: Sequence[Ask], most: int | None = None) -> None:
        """Runs the network over some looks, those of equal size together.

        Args:
            asks: The looks.
            most: Looks per run of the network; None for any number.
        """
        groups: dict[tuple[int, ...], list[tuple[Ask, Pixels]]] = {}
        for job, number in asks:
            pixels = job.take(number)
            groups.setdefault(pixels.shape, []).append(((job, number), pixels))
        for group in groups.values():
            step = most or len(group)
            for start in range(0, len(group), step):
                chosen, inputs = zip(*group[start : start + step], strict=True)
                self.run(np.stack(inputs), chosen)

    def run(self, pixels: Pixels, asks: Sequence[Ask]) -> None:
        """Runs the network once, over the (B, C, H, W) inputs of some looks."""
        self.read(self.engine(pixels), asks)

    def read(self, answer: Answer, asks: Sequence[Ask]) -> None:
        """Puts what an answer says about some looks into their jobs, in pixels of the images."""
        with self.timings.stage("finish"):
            for place, (job, number) in enumerate(asks):
                look = job.looks[number]
                if not self.view.asks:
                    least = max(self.keep.score, SURE)
                    self.full += bool((answer["scores"][place] >= least).all())
                asked = {each.name: answer[each.name][place] for each in self.places}
                job.wanted[number] = mapped(asked, self.places, look.to_image)
                if self.density:
                    ground = self.view.ground(job.looks, number)
                    cells = answer[self.density][place]
                    job.sums[number] = counted(cells, look.size, look.to_image, ground)
                job.parts[number] = in_image(
                    {each.name: answer[each.name][place] for each in self.fields},
                    self.fields,
                    look,
                    job.raster.size,
                    self.view.asks,
                    job.path,
                    # Nothing lowers or joins points, of which there may be very many.
                    self.keep.score if self.engine.description.counts else 0.0,
                )

    def conclude(self, job: Job) -> Detections:
        """Returns the result of a picture, after the looks that its own answers ask for."""
        about = self.engine.description
        while True:
            parts = [job.parts[number] for number in range(len(job.looks))]
            told = [{**part, **job.wanted[number]} for number, part in enumerate(parts)]
            more = self.view.again(job.raster.size, job.looks, told) if parts else ()
            if not more:
                break
            job.looks += more
            self.answer(job.asks[-len(more) :], _LOOKS)
        self.full += self.view.full(job.looks)
        with self.timings.stage("finish"):
            if not parts:
                return Detections.empty(self.names, about.skeleton)
            rows = self.view.merge(job.looks, parts, self.every, self.keep.per_look)
            keep = None if self.view.asks else self.keep
            found = conclude(rows, self.fields, self.names, about.skeleton, keep)
        if self.density:
            found.density = np.sum(list(job.sums.values()), 0)
        return found

    def stream(
        self,
        sources: Sequence[Source],
        places: Sequence[Places | None] | Mapping[int, Places] | None = None,
        batch_size: int = 8,
        workers: int = 2,
        skip_bad: bool = False,
    ) -> Iterator[Found]:
        """Yields what is in each image, in order; reading, network and finishing overlap.

        Args:
            sources: The images; at most two batches beyond those under way are in memory.
            places: Where to look in each, for a view of places; None for the whole picture. By
                the images' numbers, those that are lacking are not looked at.
            batch_size: Looks per run of the network; those of one image may be in several runs,
                and those of several images in one.
            workers: Threads that read and cut out; 0 does both between the batches.
            skip_bad: Notes unreadable images in ``skipped``, warns of each, and goes on.

        Raises:
            HeatpointError: An image cannot be read and ``skip_bad`` is off, or ``batch_size`` or
                ``workers`` is out of range.
        """
        if batch_size < 1 or workers < 0:
            raise HeatpointError(
                f"batch_size must be at least 1 and workers at least 0, not {batch_size} and "
                f"{workers}"
            )
        about = self.engine.description
        asked: Mapping[int, Places | None] = dict.fromkeys(range(len(sources)))
        if places is not None:
            asked = places if isinstance(places, Mapping) else dict(enumerate(places))
        jobs = read_ahead(
            {
                number: replace(sources[number], bits=about.bits, bands=about.bands)
                for number in sorted(asked)
            },
            lambda index, raster: self.prepare(raster, index, sources[index].path, asked[index]),
            whole=self.view.whole,
            ahead=2 * batch_size,
            workers=workers,
            timings=self.timings,
            skipped=self.skipped if skip_bad else None,
        )
        waiting: deque[Job] = deque()
        batches = self._batches(jobs, waiting, batch_size * self.view.shapes)
        if not self.view.whole:
            batches = prefetch(batches, 1)
        return self._answered(batches, waiting, batch_size)

    def _answered(
        self, batches: Iterable[list[Ask]], waiting: deque[Job], batch_size: int
    ) -> Iterator[Found]:
        """Runs batches of looks and yields the images, which wait until all theirs are done."""
        last = time.perf_counter()
        for _ in in_order(lambda asks: self.answer(asks, batch_size), batches, self.engine.streams):
            while waiting and waiting[0].done:
                found = self._found(waiting.popleft())
                # What the caller does between two results is none of our time.
                self.timings.wall += time.perf_counter() - last
                yield found
                last = time.perf_counter()
        for job in waiting:  # the last images may hold no place to look at
            yield self._found(job)

    def _batches(self, jobs: Iterable[Job], waiting: deque[Job], size: int) -> Iterator[list[Ask]]:
        """Yields looks, ``size`` at once, across images, and notes the images that they are of."""
        queue: list[Ask] = []
        for job in jobs:
            waiting.append(job)
            for ask in job.asks:
                if not self.view.whole:
                    job.inputs[ask[1]] = job.take(ask[1])
                queue.append(ask)
                if len(queue) >= size:
                    yield queue
                    queue = []
        if queue:
            yield queue

    def _found(self, job: Job) -> Found:
        self.timings.images += 1
        return Found(job.index, job.path, job.raster.size, self.conclude(job))

    def frames(
        self, images: Iterable[Image], finder: Runner | None = None
    ) -> Iterator[tuple[Image, Detections]]:
        """Yields each image of a film, one after the other, with what is in it.

        Args:
            images: (h, w, 3) uint8 RGB; read in a thread, a few of them ahead.
            finder: Finds where to look, the class of the subjects or the only one that it knows;
                None for wherever the view looks.
        """
        placed: Iterator[tuple[Image, Places | None]] = ((image, None) for image in images)
        if finder is not None:
            subject, seen = self.names[0], finder.frames(images)
            placed = ((image, places_among(found, subject)) for image, found in seen)
        prepared = ((image, self.prepare(Whole(image), places=places)) for image, places in placed)
        ahead = prefetch(prepared, 2) if finder is None else prepared

        def look_at(pair: tuple[Image, Job]) -> Detections:
            self.answer(pair[1].asks)
            return self.conclude(pair[1])

        for (image, _), found in in_order(look_at, ahead, self.engine.streams):
            yield image, found


SURE = 0.3
"""Score from which on a result that an answer has no room for would be missed."""

_LOOKS = 8
"""Further looks per run of the network."""
