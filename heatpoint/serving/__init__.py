"""The options of serve: which model, where it listens, and what a request may cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from heatpoint.errors import HeatpointError
from heatpoint.inference import LoadOptions
from heatpoint.options import Name, Seconds, Words

TOKEN = "HEATPOINT_TOKEN"
"""Environment variable of what a request must know."""


@dataclass
class LimitOptions:
    """What a request may cost, and how many are taken at once."""

    LIMITS: ClassVar[str] = "limits"

    megabytes: float = 32.0
    """most megabytes of a request; a larger one is answered with status 413"""

    megapixels: float = 50.0
    """most millions of pixels of a picture, by its header and before it is decoded; else 413"""

    seconds: Seconds = 30.0
    """time for a request, from its first byte to its answer; then it is given up with 504"""

    waiting: int = 64
    """most requests under way; one more is answered with 429 at once"""

    urls: Words = ()
    """hosts, such as pictures.example.org, from which a request may have pictures fetched; none by
    default"""

    WORK: ClassVar[str] = "how requests are worked on"

    batch_size: int = 8
    """most pictures or tiles per run of the network, of requests that are there together"""

    workers: int = 2
    """threads that decode and resize pictures"""

    def check(self) -> None:
        """Makes sure that every number can be meant.

        Raises:
            HeatpointError: One cannot.
        """
        for name in ("megabytes", "megapixels", "seconds"):
            if getattr(self, name) <= 0:
                raise HeatpointError(f"{name} must be above 0, not {getattr(self, name):g}")
        for name in ("waiting", "batch_size", "workers"):
            if getattr(self, name) < 1:
                raise HeatpointError(f"{name} must be at least 1, not {getattr(self, name)}")


@dataclass
class ServeOptions:
    """Answers requests over HTTP, and shows a page to try the model on."""

    load: LoadOptions

    LISTEN: ClassVar[str] = "where it listens"

    host: Name = "127.0.0.1"
    """address to listen at: this machine alone by default, 0.0.0.0 for all that can reach it"""

    port: int = 8000
    """port to listen at; 0 takes a free one and says which"""

    limits: LimitOptions = field(default_factory=LimitOptions)
