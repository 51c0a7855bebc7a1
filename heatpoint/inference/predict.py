"""Finds things in images: files, folders, patterns, arrays; one call for every model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError
from heatpoint.geometry import RGB, Image
from heatpoint.inference import EvaluateOptions, KeepOptions, PredictOptions, RunOptions, refuse
from heatpoint.inference.engines import Engine, open_engine
from heatpoint.inference.engines.description import Description
from heatpoint.inference.engines.engine import Timings
from heatpoint.inference.finish import choose_keep
from heatpoint.inference.places import given_boxes, places_among
from heatpoint.inference.runner import Found, Runner
from heatpoint.inference.sources import Source, expand
from heatpoint.options import keywords
from heatpoint.system.files import write_json
from heatpoint.views import Places, View, input_size
from heatpoint.views.fields import USUAL
from heatpoint.views.pictures import Picture
from heatpoint.views.tiles import Tiles

if TYPE_CHECKING:
    from heatpoint.zoo.detector import Detector

    Model = Detector | Engine | str | Path

SCORE = 0.3
"""Least score of a result of ``predict``, where neither the user nor the model says."""


@keywords(PredictOptions, positional=2)
def predict(
    options: PredictOptions,
    *,
    timings: Timings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Detections]:
    """Returns what is in each image, in image pixels; takes every field of ``PredictOptions``.

    Results are by descending score. A model of joints looks at the boxes that it is given, or that
    ``detector`` finds, and answers in their order.

    Example:
        >>> found = predict("best.safetensors", "photos/*.jpg", score=0.4)  # doctest: +SKIP
        >>> found[0].boxes, found[0].scores  # doctest: +SKIP

    Args:
        options: Say which model, which images, and how.
        timings: Filled with where the time went, that of ``detector`` left out.
        progress: Called with images done and images in all.

    Returns:
        One result per image, whatever happened to it, in the order of the images; none for none.

    Raises:
        HeatpointError: An image is missing, or unreadable without ``skip_bad``; boxes are those of
            other images; an argument is out of range or not for this model; the model cannot be
            read.
    """
    sources, runner, stream = start(options, timings)
    skeleton = runner.engine.description.skeleton
    results = [Detections.empty(runner.names, skeleton) for _ in sources]
    for found in stream:
        results[found.index] = found.detections
        if progress:
            progress(found.index + 1, len(sources))
    return results


@keywords(PredictOptions, positional=2)
def iter_predict(options: PredictOptions, *, timings: Timings | None = None) -> Iterator[Found]:
    """Yields what is in each image as soon as it is known, however many there are.

    The arguments are those of ``predict``; images, boxes and models are looked for at once, and
    ``detector`` is run, before the first result is asked for. An unreadable image that
    ``skip_bad`` leaves out is warned of and not yielded.

    Raises:
        HeatpointError: As ``predict``.
    """
    return start(options, timings)[2]


def start(
    options: PredictOptions,
    timings: Timings | None = None,
    ready: Callable[[Sequence[Source]], None] | None = None,
) -> tuple[list[Source], Runner, Iterator[Found]]:
    """Returns the images, what runs the model, and the stream of what it finds.

    Args:
        options: As ``predict``'s.
        timings: As ``predict``'s.
        ready: Called with the images before a model is read; may refuse them.

    Raises:
        HeatpointError: As ``predict``.
    """
    images, boxes, keep, read = options.images, options.boxes, options.keep, options.read
    none = isinstance(images, (list, tuple)) and not images
    sources = [] if none else expand(images, options.recursive, options.frames)
    if ready:
        ready(sources)
    runner = open_runner(options.model, options.run, keep, None, timings)
    if boxes is not None and options.detector:
        raise HeatpointError("give either boxes or detector, the model that finds them")
    if not runner.view.asks:
        refuse(options, ("boxes", "detector"), not_everywhere(runner.engine.description))
    check_keep(runner, keep, boxes is not None or bool(options.detector))
    subject, places = runner.names[0], None
    if boxes is not None:
        least = SCORE if keep.score is None else keep.score
        places = dict(enumerate(given_boxes(boxes, sources, subject, least)))
    elif options.detector:
        places = found_places(options, subject, sources)
    found = runner.stream(sources, places, read.batch_size, read.workers, read.skip_bad)
    if options.frames:
        found = (replace(one, frame=sources[one.index].frame) for one in found)
    return sources, runner, found


def not_everywhere(about: Description) -> str:
    """Returns why places are no choice for a model that looks everywhere."""
    return (
        f"is for models that look at one subject at a time, such as those of joints; "
        f"{about.called} finds {about.finds} by itself"
    )


def check_keep(runner: Runner, keep: KeepOptions, placed: bool) -> None:
    """Makes sure that options about results are meant for the model.

    Args:
        runner: Runs the model.
        keep: Which of the things found are results.
        placed: Boxes or the detector that finds them are given.

    Raises:
        HeatpointError: One is not; says why.
    """
    start = f"does not apply to {runner.engine.description.called}: "
    if runner.view.asks:
        why = start + "there is one result for each box; leave it out"
        refuse(keep, ("soft_nms", "max_detections"), why)
    if runner.view.asks and not placed:
        why = start + "it needs boxes or detector, whose boxes it chooses from; leave it out"
        refuse(keep, ("score", "nms"), why)


def found_places(
    options: PredictOptions | EvaluateOptions,
    subject: str,
    sources: Sequence[Source],
    least: float | None = None,
) -> dict[int, Places]:
    """Returns where a model of boxes finds subjects, by the image's number.

    An image that it could not read, with ``skip_bad``, is left out.

    Args:
        options: Say which ``detector``, which has its own size, which of its boxes are subjects,
            and how images are read.
        subject: The class of the subjects, or what they are if the model knows one class only.
        sources: The images.
        least: Least score of a subject where the options do not say; None for the detector's own.

    Raises:
        HeatpointError: As ``predict``, or the detector has other classes.
    """
    assert options.detector is not None
    finder = open_finder(options.detector, options.run, options.keep, least)
    read = options.read
    found = finder.stream(sources, None, read.batch_size, read.workers, read.skip_bad)
    return {one.index: places_among(one.detections, subject) for one in found}


def open_finder(
    detector: Model, run: RunOptions, keep: KeepOptions, least: float | None = None
) -> Runner:
    """Returns what finds the places for a model of one subject.

    Args:
        detector: The model of boxes; it has its own size.
        run: Says device and precision.
        keep: Which boxes are subjects.
        least: Least score of a subject where ``keep`` does not say; None for the detector's own.

    Raises:
        HeatpointError: As ``open_runner``, or the detector looks at places itself.
    """
    how = RunOptions()
    if not isinstance(detector, Engine):
        how = RunOptions(device=run.device, precision=run.precision)
    finder = open_runner(detector, how, keep, least)
    about = finder.engine.description
    if finder.view.asks:
        raise HeatpointError(
            f"detector must find boxes in whole pictures, but {about.called} finds "
            f"{about.finds} in crops around boxes that it is given"
        )
    return finder


def looking(
    runner: Runner, detector: Model | None, run: RunOptions, keep: KeepOptions
) -> Callable[[Iterable[Image]], Iterator[tuple[Image, Detections]]]:
    """Returns what looks at the images of a film, one after the other.

    Args:
        runner: Runs the model.
        detector: Finds where to look; None for wherever the view looks.
        run: Says device and precision of the detector.
        keep: Which of the things found are results.

    Raises:
        HeatpointError: An option is not meant for the model, or the detector cannot be read.
    """
    about = runner.engine.description
    if about.bands != RGB:
        raise HeatpointError(
            f"{about.called} looks at pictures of {about.bands}, but films are 8-bit RGB; give "
            "predict the frames as pictures"
        )
    if detector and not runner.view.asks:
        raise HeatpointError(f"detector {not_everywhere(runner.engine.description)}")
    check_keep(runner, keep, bool(detector))
    finder = open_finder(detector, run, keep) if detector else None
    return lambda images: runner.frames(images, finder)


def open_runner(
    model: Model,
    run: RunOptions,
    keep: KeepOptions,
    least: float | None = None,
    timings: Timings | None = None,
) -> Runner:
    """Returns a detector, a checkpoint or an exported file made ready to run in one fixed way.

    Args:
        model: What to run; an open engine keeps the device and precision it was opened with.
        run: How it is run.
        keep: What becomes a result.
        least: Least score of a result where ``keep`` does not say; None for the model's own, which
            ``evaluate`` has set, or ``SCORE``.
        timings: Filled as it works.

    Raises:
        HeatpointError: As ``predict``.
    """
    engine = open_engine(
        model,
        flip=run.flip,
        max_detections=keep.max_detections or USUAL,
        device=run.device,
        precision=run.precision,
        streams=run.streams,
        timings=timings,
    )
    about = engine.description
    if about.counts:
        why = (
            f"is for boxes: {about.called} finds points, which have no extent to compare; leave it "
            "out"
        )
        refuse(keep, ("nms", "soft_nms"), why)
        refuse(run, ("scales",), why)
    if least is None:
        least = SCORE if about.least is None else about.least
    view = choose_view(about, run)
    return Runner(engine, view, choose_keep(keep, least, about.suppression, view, about.most))


def choose_view(about: Description, run: RunOptions) -> View:
    """Returns the view that the options mean: the model's natural one, or tiles.

    Raises:
        HeatpointError: An option is not for the model's view, or a size is illegal.
    """
    natural = about.view_type
    if natural.asks:
        why = (
            f"is for models that look at whole pictures; {about.called} looks at crops of one "
            "subject each"
        )
        refuse(run, ("tiles", "scales", "keep_resolution"), why)
    elif not issubclass(natural, Picture):
        why = f"is for models that look once; {about.called} looks again by itself; leave it out"
        refuse(run, ("scales", "keep_resolution"), why)
    if run.tiles is None:
        size = input_size(run.size, about.size, about.multiple, about.trim)
        view = about.natural_view(size)
        if not isinstance(view, Picture):
            return view
        return replace(view, scales=tuple(run.scales), keep_resolution=run.keep_resolution)
    why = "is not for tiles, which have the picture's own resolution; leave it out"
    refuse(run, ("scales", "keep_resolution"), why)
    tile = input_size(run.tiles, about.size, name="tiles")
    probe = Tiles(tile, about.multiple, about.trim)
    fits = (probe.legal(tile[0]), probe.legal(tile[1])) if about.dynamic else about.size
    size = input_size(run.size, fits, about.multiple, about.trim)
    # A tile keeps its shape: what is added to reach a legal size shows more of the picture.
    if run.size is None and about.dynamic:
        tile = size
    trained = about.natural_view()
    margin = trained.margin_in(size) if isinstance(trained, Picture) else 0.0
    return Tiles(size, about.multiple, about.trim, tile, run.overlap, margin)


def result_rows(found: Iterable[Found]) -> list[dict[str, Any]]:
    """Returns COCO result rows that also say ``file_name``, ``category_name`` and any ``frame``.

    ``image_id`` is the image's place, from 0; classes are called 1 to C.
    """
    rows = []
    for one in found:
        names = [one.detections.names[label] for label in one.detections.labels.tolist()]
        for row, name in zip(one.detections.to_coco(one.index), names, strict=True):
            frame = {} if one.frame is None else {"frame": one.frame}
            rows.append({"file_name": one.path, **frame, "category_name": name, **row})
    return rows


def write_results(path: str | Path, found: Iterable[Found]) -> None:
    """Writes ``result_rows`` as JSON, atomically; ``evaluate(results=path)`` reads the file.

    Raises:
        HeatpointError: The file cannot be written.
    """
    write_json(path, result_rows(found))
