"""Times a model from a picture on disk to results, engine by engine and stage by stage.

Each contender is a process of its own, so this package imports nothing: a process loads what its
engine needs and no more.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import distributions
from pathlib import Path

import numpy as np

from heatpoint.benchmarking import BenchmarkOptions
from heatpoint.benchmarking.contenders import EXPORTED, NAIVE, choose, choose_for_file, export_all
from heatpoint.benchmarking.race import PER_ROUND, Race
from heatpoint.benchmarking.report import Report
from heatpoint.data.images import load_image
from heatpoint.errors import HeatpointError
from heatpoint.geometry import RGB
from heatpoint.inference.engines import is_exported, open_engine
from heatpoint.inference.engines.description import Description
from heatpoint.inference.engines.exported import check_cores
from heatpoint.inference.sources import Source, expand
from heatpoint.options import keywords
from heatpoint.synthetic.figures import write_figures
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.system import locked
from heatpoint.system.outputs import check_outputs
from heatpoint.views import input_size

DRAWN, DRAWN_SIZE = 8, (480, 640)
"""Number and (height, width) of the pictures that are drawn where none are given."""

_LIBRARIES = ("heatpoint", "torch", "onnxruntime", "openvino", "numpy", "opencv-python-headless")


@keywords(BenchmarkOptions, positional=1)
def benchmark(
    options: BenchmarkOptions, *, progress: Callable[[str, int, int], None] | None = None
) -> Report:
    """Times every stage from a picture on disk to results, batch 1, in one process per contender.

    With a checkpoint the first contender is the network run naively (``NaivePassage``), and files
    are exported to ``out`` for the engines that need them. An exported file is timed by itself.

    Args:
        options: Say what is timed, and how.
        progress: Told what is going on, and steps done and in all.

    Raises:
        HeatpointError: An argument is out of range, no picture is there, an engine that was asked
            for is not installed or has no such device, or no contender could run.

    Example:
        >>> report = benchmark("best.safetensors", engines=["openvino"])  # doctest: +SKIP
        >>> report.results[1].times_as_fast(report.results[0]).median  # doctest: +SKIP
    """
    for name in ("rounds", "starts"):
        if getattr(options, name) < 1:
            raise HeatpointError(f"{name} must be at least 1, not {getattr(options, name)}")
    model, device, images, rounds = options.model, options.device, options.images, options.rounds
    engines, precisions = options.engines, options.precisions
    threads, out = check_cores(1, options.threads), Path(options.out)
    tell = progress or (lambda *_: None)
    tell("preparing", 0, 1)
    given = None if images is None else expand(images)
    check_outputs(
        {
            "numbers": [out / "benchmark.json"],
            "pictures": [out / "benchmark.png"],
            "exported": [] if is_exported(model) else [out / name for name in EXPORTED],
        },
        [model, images],
        # One that is named by itself is an input like the model: nobody searches its folder.
        [source.path for source in given or () if source.path != str(images)],
    )
    if is_exported(model):
        # However few results it gives.
        about = open_engine(model, max_detections=1, device=device).description
        chosen = choose_for_file(Path(model), about, engines, precisions)
        left_out: dict[str, str] = {}
    else:
        chosen, left_out = choose(engines, precisions, device)
        from heatpoint.inference.engines.torch import describe
        from heatpoint.weights import checkpoint_path
        from heatpoint.zoo.detector import Detector

        detector = Detector.load(model)
        about = describe(detector)
        if about.bands != RGB:
            chosen = [each for each in chosen if each != NAIVE]
            left_out["naive"] = "it reads 8-bit RGB only"
    wanted = input_size(options.size, about.size, about.multiple, about.trim)
    about.check_size(wanted, about.called)
    with locked(out / ".lock", f"another benchmark is writing into {out}; choose another out"):
        sources = given or _draw(out, about)
        if is_exported(model):
            files, failed = dict.fromkeys(chosen, Path(model)), dict[str, str]()
        else:
            tell("exporting", 0, 1)
            files = dict.fromkeys(chosen, checkpoint_path(model))
            failed = export_all(files, detector, wanted, sources, out)
        paths = [source.path for source in sources][: rounds * PER_ROUND]
        race = Race(wanted, threads, paths, device, tell, failed)
        with ExitStack() as stack:
            race.start(files, options.starts, stack)
            race.run(rounds)
            race.measure(options.throughput)
            results = race.results()
        installed = {each.name: each.version for each in distributions()}
        protocol = {
            "model": str(model),
            "architecture": about.architecture,
            "finds": about.finds,
            "size": list(wanted),
            "device": device,
            "threads": threads,
            "rounds": rounds,
            "pictures": len(paths),
            "drawn": given is None,
            "operations": race.operations.get("network"),
            "peaks": race.operations.get("peaks", {}),
            "processor": processor(),
            "system": platform.platform(),
            "python": platform.python_version(),
            "libraries": {name: installed.get(name) for name in _LIBRARIES},
            "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        return Report(protocol, results, left_out, race.failed)


def processor() -> str:
    """Returns the name of this machine's processor as far as the system tells it."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _draw(out: Path, about: Description) -> list[Source]:
    """Draws pictures of what the model may look for."""
    write = write_shapes if about.skeleton is None else write_figures
    folder = write(out / "pictures", DRAWN, DRAWN_SIZE).parent / "images"
    files = [folder / f"{index:06d}.jpg" for index in range(DRAWN)]
    if about.bands != RGB:
        for file in files:
            np.save(file.with_suffix(".npy"), about.bands.like(load_image(file)))
        files = [file.with_suffix(".npy") for file in files]
    return expand(files)
