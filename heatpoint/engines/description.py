"""What must be known about a detector to run it: all that a file without a program has to say."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.geometry.sizes import less, next_multiple

EXPORT_VERSION = 1
"""Version of the description in exported files; a reader refuses newer ones."""

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""In which numbers an exported network can compute."""

KEY = "heatpoint"
"""Name of the description in the metadata of an exported file."""


@dataclass(frozen=True)
class Description:
    """How to prepare images for a network and how to read its answer.

    Attributes:
        task: "boxes" of objects, or "pose" for the joints of the one subject of a crop.
        names: Class names by label; for joints what the subject is, one name.
        size: Default input (height, width) in pixels; the only one if ``dynamic`` is off.
        multiple: Both sides of an input are multiples of this number of pixels ...
        trim: ... less this.
        dynamic: Other sizes than ``size`` are accepted.
        batch: The number of images that every run takes, or None for any number.
        max_detections: Rows of the answer per image, K; 0 for joints.
        sigma: Width of the gaussian soft-NMS that the boxes need; None where they need none.
        flip: The mirrored image is run too and merged inside the graph; of a network that can do
            either, what is done.
        precision: "fp32", "fp16", "bf16" or "int8": in which numbers the network computes.
        architecture: Name of the network.
        padding: Side of a crop over that of its box, for joints.
        skeleton: The joints; None for boxes.
    """

    task: Literal["boxes", "pose"]
    names: tuple[str, ...]
    size: tuple[int, int]
    multiple: int
    trim: int = 0
    dynamic: bool = True
    batch: int | None = None
    max_detections: int = 100
    sigma: float | None = None
    flip: bool = False
    precision: str = "fp32"
    architecture: str = ""
    padding: float = 1.25
    skeleton: Skeleton | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the arrays of an answer that every network of the task gives."""
        return ("boxes", "scores", "labels") if self.task == "boxes" else ("points", "scores")

    @property
    def called(self) -> str:
        """What messages call the network."""
        return f"this detector ({self.architecture or 'of no known architecture'})"

    def check_size(self, size: tuple[int, int], where: str) -> None:
        """Makes sure that images of (height, width) pixels can be run.

        Raises:
            HeatpointError: They cannot; names what can.
        """
        wanted = f"{size[0]}x{size[1]}"
        if not self.dynamic and size != self.size:
            raise HeatpointError(
                f"{where} accepts images of {self.size[0]}x{self.size[1]} pixels (height x width) "
                f"only, not {wanted}; export it with --dynamic, or for that size"
            )
        legal = tuple(next_multiple(side, self.multiple, self.trim) for side in size)
        if legal != size:
            raise HeatpointError(
                f"size {wanted} (height x width) does not fit {where}, which needs multiples of "
                f"{self.multiple}{less(self.trim)}: the next legal size is {legal[0]}x{legal[1]}"
            )

    def to_json(self) -> str:
        """Returns the description as the text that an exported file carries."""
        from heatpoint import __version__

        plain = dataclasses.asdict(self) | {
            "version": EXPORT_VERSION,
            "heatpoint": __version__,
            "skeleton": None if self.skeleton is None else self.skeleton.as_dict(),
        }
        return json.dumps(plain, indent=1)

    @classmethod
    def from_json(cls, text: str | None, path: str | Path) -> Description:
        """Returns the description that ``to_json`` wrote into the file ``path``.

        Raises:
            HeatpointError: There is none, it is damaged or of a newer version.
        """
        if not text:
            raise HeatpointError(
                f"{path} does not say how it is to be used: it lacks the metadata {KEY!r}, which "
                "heatpoint export writes; export the checkpoint again"
            )
        try:
            plain: dict[str, Any] = json.loads(text)
            version = int(plain.pop("version"))
            plain.pop("heatpoint")
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _damaged(path) from None
        if version > EXPORT_VERSION:
            raise HeatpointError(
                f"{path} has export version {version}, but this heatpoint reads up to "
                f"{EXPORT_VERSION}; install a newer one"
            )
        known = {field.name for field in dataclasses.fields(cls)}
        if set(plain) != known:
            raise HeatpointError(
                f"the metadata {KEY!r} of {path} differs from version {version} in "
                f"{', '.join(sorted(set(plain) ^ known))}; export the checkpoint again"
            )
        skeleton = plain["skeleton"]
        plain["skeleton"] = None if skeleton is None else Skeleton.from_dict(skeleton, path)
        try:
            plain["names"], plain["size"] = tuple(plain["names"]), tuple(plain["size"])
        except TypeError:
            raise _damaged(path) from None
        if plain["precision"] not in PRECISIONS or len(plain["size"]) != 2:
            raise _damaged(path)
        return cls(**plain)


def _damaged(path: str | Path) -> HeatpointError:
    return HeatpointError(f"the metadata {KEY!r} of {path} is damaged; export the checkpoint again")
