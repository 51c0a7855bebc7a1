"""A server of a graph drawn by hand, in a thread or process of its own, and what is sent to it."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PIL

from heatpoint.inference import LoadOptions
from heatpoint.serving import LimitOptions

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
