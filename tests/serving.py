"""A server of a graph drawn by hand, in a thread or process of its own, and what is sent to it."""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PIL

from heatpoint.data.skeleton import Skeleton
from heatpoint.inference import LoadOptions
from heatpoint.inference.engines.description import Description
from heatpoint.inference.engines.engine import Timings
from heatpoint.serving import LimitOptions
from heatpoint.views.fields import BOXES, LABELS, POINTS, QUADS, SCORES, Field

ROOT = Path(__file__).resolve().parent.parent


def picture(seed: int = 0, size: tuple[int, int] = (60, 90), kind: str = "PNG") -> bytes:
    """Returns a picture file of noise, whose channels have different means."""
    rng = np.random.default_rng(seed)
    top = rng.integers(60, 256, 3)
    pixels = (rng.random((*size, 3)) * top).astype(np.uint8)
    file = io.BytesIO()
    PIL.fromarray(pixels).save(file, kind)
    return file.getvalue()


def client(model: Any, token: str = "", limits: LimitOptions | None = None, **options: Any) -> Any:
    """Returns what sends requests to an application without a port in between.

    Args:
        model: What to serve.
        token: What requests must know.
        limits: What a request may cost.
        **options: Fields of ``LoadOptions`` and of those nested in it.
    """
    from starlette.testclient import TestClient

    from heatpoint.options import built
    from heatpoint.serving.app import make_app
    from heatpoint.serving.gate import Meters
    from heatpoint.serving.served import Served

    limits, meters = limits or LimitOptions(), Meters()
    load = built(LoadOptions, {"model": model, **options})
    served = Served(load, limits, meters.looks.observe)
    sender = TestClient(make_app(served, limits, token, meters), raise_server_exceptions=False)
    sender.served = served  # type: ignore[attr-defined]
    return sender


class Fixed:
    """An engine that finds the same in every picture.

    Args:
        fields: What it finds.
        answer: (K, *tail) of each field, in input pixels.
        **about: Further fields of its description.
    """

    name, device, precision, streams = "fixed", "cpu", "fp32", 1

    def __init__(self, fields: tuple[Field, ...], answer: dict[str, Any], **about: Any) -> None:
        known = {"names": ("red", "green", "blue"), "size": (64, 96), "multiple": 32} | about
        self.description = Description(**known, answer=fields)
        self.timings = Timings()
        self._answer = {field.name: np.array(answer[field.name], field.type) for field in fields}

    def __call__(self, images: Any) -> Any:
        return {name: np.stack([rows] * len(images)) for name, rows in self._answer.items()}


SCORED = {"scores": [0.9, 0.5, 0.2], "labels": [0, 1, 0]}
FOUND = {
    "boxes": Fixed(
        (BOXES, SCORES, LABELS),
        {"boxes": [[10, 20, 40, 50], [60, 10, 80, 30], [50, 40, 90, 60]], **SCORED},
    ),
    "quads": Fixed(
        (QUADS, BOXES, SCORES, LABELS),
        {
            "quads": [
                [[10, 20], [40, 20], [40, 50], [10, 50]],
                [[70, 10], [80, 20], [70, 30], [60, 20]],
                [[50, 40], [90, 40], [90, 60], [50, 60]],
            ],
            "boxes": [[10, 20, 40, 50], [60, 10, 80, 30], [50, 40, 90, 60]],
            **SCORED,
        },
    ),
    "points": Fixed((POINTS, SCORES, LABELS), {"points": [[10, 35], [60, 20], [70, 50]], **SCORED}),
    "joints": Fixed(
        (Field("keypoints", (3, 3), "points"), BOXES, SCORES, LABELS),
        {
            "keypoints": [
                [[10, 35, 0.9], [30, 35, 0.8], [40, 60, 0.1]],
                [[60, 20, 0.9], [70, 20, 0.8], [80, 20, 0.7]],
                [[50, 60, 0.9], [60, 60, 0.8], [70, 60, 0.7]],
            ],
            "boxes": [[10, 20, 40, 50], [60, 10, 80, 30], [50, 40, 90, 60]],
            **SCORED,
        },
        skeleton=Skeleton(("nose", "left_eye", "right_eye"), ((0, 1), (1, 2))),
    ),
}
"""Three rows in each representation; something of the first is at (10, 35) in a black picture."""


@contextmanager
def listening(model: Any, token: str = "", **options: Any) -> Iterator[str]:
    """Answers at a free port in a thread, and yields the address; arguments as ``client``'s."""
    import uvicorn

    sender = client(model, token, **options)
    server = uvicorn.Server(
        uvicorn.Config(sender.app, log_level="error", lifespan="off", access_log=False)
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = server.force_exit = True
            thread.join()
            sender.served.close()


@contextmanager
def started(*words: str, folder: Path, token: str = "") -> Iterator[tuple[Any, str]]:
    """Runs ``heatpoint serve`` at a free port, and yields its process and address."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HEATPOINT_TOKEN": token}
    process = subprocess.Popen(
        [sys.executable, "-m", "heatpoint", "serve", *words, "--port", "0"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + process.stdout.read()
        yield process, found[0]
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
