"""Keeps OpenCV's video backends from printing what a sentence of ours says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_STANDARD_ERROR = 2


@contextmanager
def quiet() -> Iterator[None]:
    """Sends standard error nowhere while a video is opened.

    OpenCV and the libraries below it print there by themselves, past Python and past OpenCV's own
    log level (the tag of VP8, a camera that is missing). What FFmpeg has to say about single
    frames is turned off for good, as OpenCV reads that setting only once; the variable
    OPENCV_FFMPEG_LOGLEVEL brings it back.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    kept = os.dup(_STANDARD_ERROR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STANDARD_ERROR)
        yield
    finally:
        os.dup2(kept, _STANDARD_ERROR)
        os.close(kept)
        os.close(nowhere)
