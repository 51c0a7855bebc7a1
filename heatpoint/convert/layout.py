"""A published checkpoint layout: which of our tensors is stored there under which name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from heatpoint import zoo
from heatpoint.codecs import Codec
from heatpoint.data.skeleton import Skeleton
from heatpoint.weights import PIXELS, Pixels, Triple

Words = tuple[tuple[str, str], ...]
"""Patterns in our names, and what stands there in the published ones; applied in this order."""

CLASSIFIER = re.compile(r"(base\.|backbone\.)?fc\.")
"""Left over from ImageNet weights: no detector computes with it."""

COUNTER = "num_batches_tracked"
"""End of the names of batch norms' counters, which files of old PyTorch do not have."""


@dataclass(frozen=True)
class Layout:
    """One published layout.

    Attributes:
        architecture: Name in ``zoo.build`` of the network that computes the same.
        words: What makes published names of ours.
        heatmap: Published name of the last weight of the heatmap; its rows are the classes or
            the joints.
        first: Published name of the first weight, whose input channels are ``channels``.
        pixels: Channels and normalisation of the training's images.
        codec: Makes the published representation of a skeleton; None for networks of boxes.
        dead: Names of tensors that the published network has but never computes with.
        voc: Instead of ``pixels`` for 20 classes, which are taken for VOC's.
        turned: Makes ours of a published tensor, given its name, where they differ; None where
            none does.
        each: Rows of the heatmap's weight for each class or joint.
        subject: What has the joints.
        skeleton: Name of their skeleton, where their number does not tell it.
    """

    architecture: str
    words: Words
    heatmap: str
    first: str = "pre.0.conv.weight"
    pixels: Pixels = PIXELS["coco_bgr"]
    codec: Callable[[Skeleton], Codec] | None = None
    dead: re.Pattern[str] | None = None
    voc: Pixels | None = None
    turned: Callable[[str, Tensor], Tensor] | None = None
    each: int = 1
    subject: str = "person"
    skeleton: str = ""

    @property
    def channels(self) -> Literal["bgr", "rgb"]:
        """Order of the colours in the training's images."""
        return self.pixels.channels

    def stats(self, classes: int) -> tuple[Triple, Triple]:
        """Returns mean and standard deviation in the order of ``channels``, 0-1.

        The files do not say what they were trained on; the released code normalises by data set.
        """
        pixels = self.voc if self.voc is not None and classes == 20 else self.pixels
        return pixels.mean, pixels.std

    def published(self, name: str) -> str:
        """Returns the published name of one of our tensors."""
        for pattern, text in self.words:
            name = re.sub(pattern, text, name)
        return name

    def classes(self, tensors: Mapping[str, Tensor]) -> int:
        """Returns the number of classes of a checkpoint; 1 if it has no such heatmap."""
        # Where the weight is missing, its bias lets the error name no other tensors.
        for name in (self.heatmap, self.heatmap.removesuffix("weight") + "bias"):
            heatmap = tensors.get(name)
            if heatmap is not None and heatmap.ndim:
                return int(heatmap.shape[0]) // self.each
        return 1

    def expected(self, classes: int) -> Mapping[str, tuple[int, ...]]:
        """Returns published names and shapes of this layout for a number of classes."""
        return _expected(self, classes)


@cache
def _expected(layout: Layout, classes: int) -> Mapping[str, tuple[int, ...]]:
    own = _shapes(layout.architecture, classes, layout.codec is not None)
    return {layout.published(name): shape for name, shape in own.items()}


@cache
def _shapes(architecture: str, classes: int, pose: bool) -> dict[str, tuple[int, ...]]:
    """Returns our tensor names and shapes of an architecture, without making its weights.

    Args:
        architecture: Its name.
        classes: Number of classes or joints.
        pose: Whether they are joints.
    """
    numbers = tuple(str(index) for index in range(classes))
    with torch.device("meta"):
        names = ("subject",) if pose else numbers
        network = zoo.build(architecture, names, skeleton=Skeleton(numbers)).network
    state = network.state_dict()
    return {name: tuple(state[name].shape) for name in state if name not in ("mean", "std")}


@dataclass(frozen=True)
class Fit:
    """How well a checkpoint fits a layout.

    Attributes:
        expected: Number of the layout's tensors, without counters of batch norms.
        agreeing: Number of those that are there in the layout's shape.
        missing: Published names the checkpoint lacks.
        reshaped: Published names it has in another shape, each with its shape and the layout's.
        unused: Names in the checkpoint the layout does not know, other shapes included.
        strange: Unknown names that are neither an ImageNet classifier's nor dead.
    """

    expected: int
    agreeing: int
    missing: tuple[str, ...]
    reshaped: tuple[tuple[str, list[int], list[int]], ...]
    unused: tuple[str, ...]
    strange: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether the checkpoint has everything the layout needs."""
        return not self.missing and not self.reshaped

    @property
    def distance(self) -> int:
        """Number of tensors that stand in the way."""
        return len(self.missing) + len(self.reshaped) + len(self.strange)

    @property
    def likeness(self) -> float:
        """Share of agreeing tensors among all, 0-1.

        Unlike the distance it is not near a small layout only because a checkpoint is small.
        """
        return self.agreeing / (self.agreeing + self.distance) if self.agreeing else 0.0

    def differences(self) -> str:
        """Returns the first tensors of each kind that stand in the way, for a message."""
        other = [f"{name} {found} instead of {own}" for name, found, own in self.reshaped]
        kinds = ("missing", self.missing), ("of another shape", other), ("unexpected", self.strange)
        return "; ".join(f"{kind} {some(names)}" for kind, names in kinds if names)


def some(words: Sequence[str]) -> str:
    """Returns the first five of some words, and how many more there are."""
    return ", ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")


def fit(layout: Layout, tensors: Mapping[str, Tensor]) -> Fit:
    """Compares names and shapes; counters of batch norms may be missing, as in old files."""
    expected = layout.expected(layout.classes(tensors))
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    needed = [name for name in expected if not name.endswith(COUNTER)]
    known = {name for name in found if name in expected or CLASSIFIER.match(name)}
    if layout.dead is not None:
        known |= {name for name in found if layout.dead.fullmatch(name)}
    return Fit(
        expected=len(needed),
        agreeing=sum(found.get(name) == expected[name] for name in needed),
        missing=tuple(name for name in needed if name not in found),
        reshaped=tuple(
            (name, list(found[name]), list(shape))
            for name, shape in expected.items()
            if name in found and found[name] != shape
        ),
        unused=tuple(name for name, shape in found.items() if expected.get(name) != shape),
        strange=tuple(name for name in found if name not in known),
    )
