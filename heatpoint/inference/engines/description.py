"""What must be known about a model to run it: all that a file without a program has to say."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Bands, less, next_multiple
from heatpoint.inference.engines import older
from heatpoint.system import VERSION
from heatpoint.system.files import fits
from heatpoint.views import View
from heatpoint.views.fields import (
    BOXES,
    LABELS,
    NO_SUPPRESSION,
    POINTS,
    SCORES,
    USUAL,
    Field,
    Suppression,
)

# Views by which files may say that pictures are looked at: each is known once it is imported.
from heatpoint.views.pictures import Crops as Crops
from heatpoint.views.pictures import Picture as Picture
from heatpoint.views.zoom import Zoom as Zoom
from heatpoint.weights import LARGEST

EXPORT_VERSION = 2
"""Version of the description in exported files; newer ones are read as far as they can be."""

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""In which numbers an exported network can compute."""

KEY = "heatpoint"
"""Name of the description in the metadata of an exported file."""


@dataclass(frozen=True)
class Description:
    """How to prepare images for a network and how to read its answer.

    Attributes:
        names: Class names by label; of joints what the subject is, one name.
        size: Default input (height, width) in pixels; the only one if ``dynamic`` is off.
        multiple: Both sides of an input are multiples of this number of pixels ...
        trim: ... less this.
        answer: The fields of an answer.
        rows: Rows of the answer per look, K.
        capacity: Objects of a look that can be found at most; older files do not say.
        suppression: What the rows need before they are results.
        view: Class name of the natural view.
        settings: Its settings, such as the padding of crops.
        skeleton: The joints of ``keypoints``; None for answers without them.
        dynamic: Other sizes than ``size`` are accepted.
        batch: The number of images that every run takes, or None for any number.
        flip: The mirrored image is run too and merged inside the graph; of a network that can do
            either, what is done.
        precision: "fp32", "fp16", "bf16" or "int8": in which numbers the network computes.
        bits: How many bits 16-bit pictures have that declare none; None guesses it of each.
        channels: How many channels pictures have.
        dtype: What their values are, "uint8" or "uint16", in the whole range.
        architecture: Name of the network.
        least: Least score of a result where the user does not say; None leaves it to ``predict``.
        older: The graph answers as files of the first edition do; see ``engines.older``.
    """

    names: tuple[str, ...]
    size: tuple[int, int]
    multiple: int
    trim: int = 0
    answer: tuple[Field, ...] = (BOXES, SCORES, LABELS)
    rows: int = USUAL
    capacity: int = USUAL
    suppression: Suppression = NO_SUPPRESSION
    view: str = "Picture"
    settings: dict[str, float] = field(default_factory=dict)
    skeleton: Skeleton | None = None
    dynamic: bool = True
    batch: int | None = None
    flip: bool = False
    precision: str = "fp32"
    bits: int | None = None
    channels: int = 3
    dtype: str = "uint8"
    architecture: str = ""
    least: float | None = None
    older: bool = False

    @property
    def called(self) -> str:
        """What messages call the network."""
        return f"this detector ({self.architecture or 'of no known architecture'})"

    @property
    def bands(self) -> Bands:
        """What pictures hold."""
        return Bands(self.channels, self.dtype)

    @property
    def finds(self) -> str:
        """What the network finds, for sentences."""
        names = {each.name for each in self.answer}
        told = (("boxes", "boxes"), ("keypoints", "joints"))
        return " and ".join(word for name, word in told if name in names) or "points"

    @property
    def counts(self) -> bool:
        """Whether the network finds points, which are counted."""
        return POINTS in self.answer

    @property
    def most(self) -> int:
        """Most results of a look where the user does not say.

        As many as can be found, or COCO's hundred if that is more; of points, which are counted,
        all rows.
        """
        return self.rows if self.counts else max(USUAL, self.capacity)

    @property
    def view_type(self) -> type[View]:
        """The natural view."""
        return View.kinds[self.view]

    def natural_view(self, size: tuple[int, int] | None = None) -> View:
        """Returns the natural view with the network's settings, at ``size`` or its own."""
        values: dict[str, Any] = dict(self.settings)
        return self.view_type(size or self.size, self.multiple, self.trim, **values)

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
        plain = dataclasses.asdict(self) | {
            "version": EXPORT_VERSION,
            "heatpoint": VERSION,
            "skeleton": None if self.skeleton is None else self.skeleton.as_dict(),
        }
        del plain["older"]
        return json.dumps(plain, indent=1)

    @classmethod
    def from_json(cls, text: str | None, path: str | Path) -> Description:
        """Returns the description that ``to_json`` wrote into the file ``path``.

        What an older version did not write has its default; what a newer one added is passed over,
        unless it concerns how an answer is read.

        Raises:
            HeatpointError: There is none, it is damaged, or this version cannot understand it.
        """
        if not text:
            raise HeatpointError(
                f"{path} does not say how it is to be used: it lacks the metadata {KEY!r}, which "
                "heatpoint export writes; export the checkpoint again"
            )
        try:
            plain = {key: value for key, value in json.loads(text).items() if key != "older"}
            if not fits(plain["version"], int):
                raise ValueError(plain["version"])
            if plain.get("skeleton") is not None:
                plain["skeleton"] = Skeleton.from_dict(plain["skeleton"], path)
            if "answer" in plain:
                plain["answer"] = [Field(f["name"], f["tail"], f["kind"]) for f in plain["answer"]]
            if "suppression" in plain:
                own = plain["suppression"]
                plain["suppression"] = Suppression(own.get("sigma"), own.get("weights", ""))
            if plain["version"] == 1:
                plain = older.upgraded(plain)
            types = get_type_hints(cls)
            values: dict[str, Any] = {name: plain[name] for name in types.keys() & plain.keys()}
            if not all(fits(value, types[name]) for name, value in values.items()):
                raise ValueError(values)
            values |= {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
            found = cls(**values)
            if not found._is_sound():
                raise ValueError(found)
            found._check_view()
        except HeatpointError as error:
            raise HeatpointError(
                f"{path} cannot be understood: {error}; install a newer heatpoint, or export the "
                "checkpoint again"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            raise HeatpointError(
                f"the metadata {KEY!r} of {path} is damaged; export the checkpoint again"
            ) from None
        return found

    def _check_view(self) -> None:
        """Makes sure that there is such a view, with such settings.

        Raises:
            HeatpointError: There is none; says what it needs.
        """
        if self.view not in View.kinds:
            raise HeatpointError(
                f"it looks at pictures through {self.view!r}, which this heatpoint does not know "
                "and a file of yours may define (--plugin)"
            )
        foreign = sorted(self.settings.keys() - set(self.view_type.settings))
        if foreign:
            raise HeatpointError(f"{self.view} has no setting {foreign[0]!r} here")
        self.natural_view()

    def _is_sound(self) -> bool:
        """Tells whether the values can be meant; a file may hold anything."""
        fields = {each.name: each for each in self.answer}
        usual = {each.name: each for each in (BOXES, SCORES, LABELS)}
        if self.skeleton is not None:
            usual["keypoints"] = Field("keypoints", (len(self.skeleton), 3), "points")
        sigma, weights = self.suppression.sigma, self.suppression.weights
        whole = (
            *self.size,
            self.multiple,
            self.rows,
            self.capacity,
            self.channels,
            1 if self.batch is None else self.batch,
        )
        return (
            all(1 <= number <= _LARGEST for number in whole)
            and max(self.size) <= LARGEST
            and len(self.size) == 2
            and 0 <= self.trim < self.multiple
            and (self.bits is None or self.bits in range(1, 17))
            and bool(self.names)
            and all(isinstance(text, str) for text in (*fields, weights))
            and (sigma is None or 0 < sigma < _LARGEST)
            and (self.least is None or 0 <= self.least <= 1)
            and self.precision in PRECISIONS
            and self.dtype in ("uint8", "uint16")
            and len(fields) == len(self.answer)
            and "scores" in fields
            and ("keypoints" in fields) == (self.skeleton is not None)
            and all(each == usual.get(name, each) for name, each in fields.items())
        )


_LARGEST = 65536
