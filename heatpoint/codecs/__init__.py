"""What every codec declares, so that nobody else needs to know its name.

Shape letters: B batch, C classes, K candidates, J joints, N objects of one image, P positives of
the batch, H W input pixels, h w cells. Boxes are ``xyxy`` and continuous: pixel ``i`` covers
``[i, i + 1)``. Sizes are ``(height, width)``, points are ``(x, y)``.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heatpoint.codecs.peaks import mean_logit
from heatpoint.errors import HeatpointError, check_choice
from heatpoint.networks import Maps as Maps
from heatpoint.networks import MapSpec as MapSpec
from heatpoint.system.files import fits
from heatpoint.views import View
from heatpoint.views.fields import NO_SUPPRESSION, Field, Suppression
from heatpoint.views.fields import Part as Part
from heatpoint.views.fields import Target as Target
from heatpoint.views.pictures import Picture

Rows = dict[str, Tensor]
"""What a codec decodes: each field of its ``answer`` by name, ``(B, K, *tail)``."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoded(ABC):
    """What the maps should say about a batch; every codec adds what its loss and ``ideal`` need.

    Attributes:
        map_size: (h, w) of the maps.
        counts: (n,) float32, the divisors of the losses: objects, positive cells and the like.
        left_out: Number of things to be learnt that the maps cannot hold.
    """

    map_size: tuple[int, int]
    counts: Tensor
    left_out: int = 0

    def with_counts(self, counts: Tensor) -> Self:
        """Returns the targets with other divisors of the losses.

        Each process of distributed training divides by its own number of objects, as the
        published systems do; with the sum over all processes instead, the gradient is exactly
        that of one large batch.
        """
        return dataclasses.replace(self, counts=counts)

    @abstractmethod
    def preview(self) -> Tensor:
        """Draws for people what is to be learnt: (B, channels, h, w) float32 in [0, 1]."""


class Codec(ABC):
    """One representation: which maps, what they should say, how wrong they are, what they mean.

    A codec is a frozen dataclass without weights. A subclass registers itself by its class name,
    which the header of a checkpoint gives; one file with one subclass is all that a new
    representation needs.

    Attributes:
        stride: Input pixels per cell.
        max_detections: Rows of an answer, K; a field of codecs that may give more than one.
        learns: Parts of a target that ``encode`` reads.
        terms: Names of the loss terms, those with weight 0 left out.
        view: Its natural view; a user may choose another one.
        place: What an object is found by, in words of the reports: "centre", "corner" ...
        pairs: Whether an object is found as an upper-left and a lower-right place, which have to
            be matched; ``claims`` then returns both.
    """

    kinds: ClassVar[dict[str, type[Codec]]] = {}
    """Every codec by class name."""

    stride: int
    max_detections: int = 1
    learns: ClassVar[frozenset[Part]] = frozenset({"boxes"})
    view: ClassVar[type[View]] = Picture
    place: ClassVar[str] = "centre"
    pairs: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        """Registers the codec; the same file may be loaded twice, two codecs of one name not.

        Raises:
            HeatpointError: Another codec has this name.
        """
        super().__init_subclass__()
        known = Codec.kinds.get(cls.__name__)
        if known is not None and known.__module__ != cls.__module__:
            raise HeatpointError(
                f"{cls.__module__} defines a codec {cls.__name__}, which {known.__module__} does "
                "too; give it another name, since checkpoints name codecs by their class"
            )
        Codec.kinds[cls.__name__] = cls

    @property
    @abstractmethod
    def maps(self) -> tuple[MapSpec, ...]:
        """The maps a network must produce."""

    @property
    @abstractmethod
    def answer(self) -> tuple[Field, ...]:
        """The fields that ``decode`` returns, ``scores`` among them."""

    @property
    @abstractmethod
    def terms(self) -> tuple[str, ...]:
        """Names of the loss terms."""

    @property
    def stacks(self) -> Literal["mean", "sum"]:
        """How the losses of a network's stacks become one."""
        return "mean"

    @property
    def steps(self) -> dict[str, tuple[str, ...]]:
        """Maps that ``limits`` replaces by the true ones in turn, by the name of each step."""
        return {spec.name: (spec.name,) for spec in self.maps}

    @property
    def handed(self) -> bool:
        """Whether a mirror image may contradict what is learnt; then none is shown unasked."""
        return False

    @property
    def suppression(self) -> Suppression:
        """What the rows need before they are results; nothing by default."""
        return NO_SUPPRESSION

    def rows(self, flip: bool = False) -> int:
        """Returns the number K of rows of an answer, where ``flip`` merges a mirror image."""
        return self.max_detections

    def with_rows(self, least: int) -> Self:
        """Returns the codec with at least so many rows; one that has a fixed number stays."""
        return self._having({"max_detections": max(least, self.max_detections)})

    @property
    def capacity(self) -> int:
        """How many objects of one look can be found at most."""
        return self.rows()

    def fitted(
        self,
        classes: int,
        flip: tuple[int, ...] | None = None,
        slices: tuple[tuple[int, int], ...] = (),
    ) -> Self:
        """Returns the codec for other classes and joints.

        The fields ``classes``, ``joints``, ``flip`` and ``slices`` are those of the data, where the
        codec has them; every other field stays.

        Args:
            classes: Number of classes.
            flip: For each joint, the one whose place it takes in a mirror image
                (``Skeleton.flip``); None without joints.
            slices: First joint of each class and joint behind its last (``Skeleton.slices``).
        """
        values: dict[str, Any] = {"classes": classes}
        if flip is not None:
            values |= {"joints": len(flip), "flip": flip, "slices": slices}
        return self._having(values)

    def tuned(self, model: str, values: Mapping[str, Any]) -> Self:
        """Returns the codec with other values of its fields.

        Args:
            model: Its model, for the message.
            values: Fields by name.

        Raises:
            HeatpointError: The codec has no such field, or refuses the value.
        """
        foreign = [name for name in values if name not in self._fields()]
        if foreign:
            raise HeatpointError(
                f"{foreign[0]} is no choice for {model}, whose codec is a {type(self).__name__}; "
                "leave it out"
            )
        return self._having(values) if values else self

    @abstractmethod
    def encode(self, targets: Sequence[Target], size: tuple[int, int]) -> Any:
        """Turns the targets of a batch, ``size`` input pixels (H, W) large, into ``Encoded``.

        Raises:
            ValueError: The size is illegal, or a target cannot be encoded.
        """

    @abstractmethod
    def loss(self, maps: Maps, encoded: Any) -> dict[str, Tensor]:
        """Returns weighted terms by name, in fp32 or better; their sum is a stack's loss."""

    @abstractmethod
    def decode(self, maps: Maps) -> Rows:
        """Reads the rows of the answer off the maps of the last stack.

        Rows are in input pixels, not clipped, by descending score; a score of 0 marks an empty
        one.
        """

    @abstractmethod
    def unflip(self, maps: Maps) -> Maps:
        """Turns the maps of the mirrored image (x to W - x) into maps of the image."""

    def merge_flipped(self, maps: Maps, mirrored: Maps) -> Maps:
        """Merges the maps of the image with those of its mirror image, not yet turned back.

        By default it is their mean, and of ``heatmap`` the logit of the mean probability.
        """
        other = self.unflip(mirrored)
        mean = {name: (maps[name] + other[name]) / 2 for name in maps if name != "heatmap"}
        if "heatmap" in maps:
            mean["heatmap"] = mean_logit(maps["heatmap"].float(), other["heatmap"].float())
        return mean

    @abstractmethod
    def ideal(self, encoded: Any) -> Maps:
        """Returns the maps a perfect network would produce."""

    def claims(self, boxes: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.int64]:
        """Returns the cells in which objects are found, (M, N, 2): column and row.

        Two objects that claim one cell cannot both be right. By default an object claims the cell
        of its centre.

        Args:
            boxes: (N, 4) xyxy in input pixels.
            size: (H, W) of the input in pixels.
        """
        centres = (boxes[:, :2] + boxes[:, 2:]) / (2 * self.stride)
        return np.floor(centres[None]).astype(np.int64)

    def _having(self, values: Mapping[str, Any]) -> Self:
        """Returns the codec with other values of those fields that it has."""
        known = {name: value for name, value in values.items() if name in self._fields()}
        return dataclasses.replace(self, **known)  # type: ignore[type-var]

    @classmethod
    def _fields(cls) -> set[str]:
        """Returns the names of the dataclass's fields."""
        return {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, Any]:
        """Returns the class name and the fields, ready for JSON."""
        return {"class": type(self).__name__, **dataclasses.asdict(self)}  # type: ignore[call-overload]

    @staticmethod
    def from_dict(values: Any, where: str | Path) -> Codec:
        """Returns the codec that ``as_dict`` described.

        Args:
            values: What ``as_dict`` returned, possibly by way of JSON.
            where: Named in messages.

        Raises:
            HeatpointError: No loaded codec has this name, or a field is unknown or out of range.
        """
        if not isinstance(values, dict) or not isinstance(values.get("class"), str):
            raise HeatpointError(f"the header of {where} does not name its codec; it is damaged")
        name = values["class"]
        kind = Codec.kinds.get(name)
        if kind is None:
            raise HeatpointError(
                f"{where} needs the codec {name}, which this heatpoint does not know; load the "
                "file that defines it with --plugin FILE (heatpoint.plugin(FILE) in Python), or "
                "install a newer heatpoint"
            )
        chosen = {key: value for key, value in values.items() if key != "class"}
        if unknown := sorted(chosen.keys() - kind._fields()):
            raise HeatpointError(
                f"{where} needs a {name} with {', '.join(unknown)}, which this version of "
                "heatpoint lacks; install a newer one"
            )
        hints = _hints(kind)
        try:
            wrong = [key for key, value in chosen.items() if not fits(value, hints[key])]
            if wrong:
                raise ValueError(f"{wrong[0]} is {chosen[wrong[0]]!r:.60}")
            return kind(**chosen)
        except (HeatpointError, TypeError, ValueError, OverflowError) as error:
            raise HeatpointError(
                f"the header of {where} describes no valid {name} ({error}); it is damaged"
            ) from None


def check_values(codec: Codec, whole: Sequence[str] = (), weights: Sequence[str] = ()) -> None:
    """Makes sure that fields of a codec are in range; every ``__post_init__`` calls it.

    Fields whose type is a ``Literal`` hold one of its values.

    Args:
        codec: The codec.
        whole: Names of fields that are whole numbers of at least 1.
        weights: Names of fields that are finite numbers of at least 0.

    Raises:
        HeatpointError: One is not; names it and its value.
    """
    for name, hint in _hints(type(codec)).items():
        if get_origin(hint) is Literal:
            check_choice(name, getattr(codec, name), get_args(hint))
    for name in whole:
        value = getattr(codec, name)
        fine = type(value) is int and 1 <= value <= _LARGEST
        require(fine, name, "be a whole number of at least 1", value)
    for name in weights:
        value = getattr(codec, name)
        fine = isinstance(value, (int, float)) and 0 <= value < float("inf")
        require(fine, name, "be at least 0", value)


@cache
def _hints(kind: type[Codec]) -> dict[str, Any]:
    return get_type_hints(kind)


def require(fine: bool, name: str, rule: str, value: object) -> None:
    """Raises HeatpointError, which says what a field must do and what it is, unless it is fine."""
    if not fine:
        raise HeatpointError(f"{name} must {rule}, got {value!r}")


_LARGEST = 1_000_000
"""More classes, rows or cells than any file that is not damaged asks for."""


def gathered(targets: Sequence[Target]) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the objects of a batch in one list, on their device; the batch may be empty.

    Returns:
        Boxes (P, 4) float32 in input pixels, labels (P,) int64, and the image (P,) int64 of each.
    """
    if not targets:
        return torch.zeros(0, 4), torch.zeros(0).long(), torch.zeros(0).long()
    boxes = torch.cat([target.boxes for target in targets]).float()
    labels = torch.cat([target.labels for target in targets]).long()
    counts = torch.tensor([len(target.labels) for target in targets])
    image = torch.arange(len(targets)).repeat_interleave(counts)
    return boxes, labels, image.to(boxes.device, non_blocking=True)


def with_honest_scores(rows: Rows, maps: Maps) -> Rows:
    """Returns the rows with NaN for scores where a map holds a number that is not finite.

    No cell is the maximum of its neighbourhood where there is NaN, so that a broken network would
    seem to find nothing.
    """
    doubt = sum(values.sum((1, 2, 3), dtype=torch.float32) * 0 for values in maps.values())
    return {**rows, "scores": rows["scores"] + torch.as_tensor(doubt)[..., None]}


def check_size(size: tuple[int, int], stride: int, trim: int = 0) -> tuple[int, int]:
    """Returns (h, w) in cells for (H, W) in pixels.

    Args:
        size: (H, W) of the input.
        stride: Input pixels per cell.
        trim: Pixels by which a side falls short of a whole number of cells.

    Raises:
        ValueError: A side is not ``trim`` less than a multiple of the stride.
    """
    height, width = size[0] + trim, size[1] + trim
    if height % stride or width % stride:
        short = f"{trim} pixels short of " if trim else ""
        raise ValueError(f"input size {size} is not {short}a multiple of the stride {stride}")
    return height // stride, width // stride
