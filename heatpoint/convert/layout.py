"""A published checkpoint layout: which of our tensors is stored there under which name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from heatpoint import zoo
from heatpoint.codecs.joints import JointCodec
from heatpoint.skeleton import Skeleton

Stats = tuple[tuple[float, float, float], tuple[float, float, float]]

COCO_BGR: Stats = (
    (0.40789654, 0.44719302, 0.47026115),
    (0.28863828, 0.27408164, 0.27809835),
)
"""Mean and standard deviation of COCO, channels blue, green, red, on the scale 0-1."""

CLASSIFIER = re.compile(r"(base\.|backbone\.)?fc\.")
"""Left over from ImageNet weights: no detector computes with it."""


@dataclass(frozen=True)
class Layout:
    """One published layout.

    Attributes:
        architecture: Name in ``zoo.build`` of the network that computes the same.
        heatmap: Published name of the last weight of the heatmap; its rows are the classes or
            the joints.
        first: Published name of the first weight, whose input channels are ``channels``.
        published: Maps our tensor names to published ones.
        stats: Maps the number of classes to the training's normalisation, in the order of
            ``channels``, 0-1.
        channels: Order of the colours in the training's images.
        codec: Makes the published representation of a skeleton; None for networks of boxes.
        dead: Names of tensors that the published network has but never computes with.
    """

    architecture: str
    heatmap: str
    first: str
    published: Callable[[str], str]
    stats: Callable[[int], Stats]
    channels: Literal["bgr", "rgb"] = "bgr"
    codec: Callable[[Skeleton], JointCodec] | None = None
    dead: re.Pattern[str] | None = None

    def classes(self, tensors: Mapping[str, Tensor]) -> int:
        """Returns the number of classes of a checkpoint; 1 if it has no such heatmap."""
        heatmap = tensors.get(self.heatmap)
        return 1 if heatmap is None or heatmap.ndim == 0 else int(heatmap.shape[0])

    def expected(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Returns published names and shapes of this layout for a number of classes."""
        return {
            self.published(name): shape
            for name, shape in shapes(self.architecture, classes, self.codec is not None).items()
            if name not in ("mean", "std")
        }


@cache
def shapes(architecture: str, classes: int, pose: bool) -> dict[str, tuple[int, ...]]:
    """Returns our tensor names and shapes of an architecture, without making its weights.

    Args:
        architecture: Its name.
        classes: Number of classes or joints.
        pose: Whether they are joints.
    """
    numbers = tuple(str(index) for index in range(classes))
    with torch.device("meta"):
        detector = (
            zoo.build(architecture, ["subject"], skeleton=Skeleton(numbers))
            if pose
            else zoo.build(architecture, numbers)
        )
    network = detector.network
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@dataclass(frozen=True)
class Fit:
    """How well a checkpoint fits a layout.

    Attributes:
        missing: Published names the checkpoint lacks or has in another shape.
        unused: Names in the checkpoint the layout does not know, other shapes included.
        strange: Those of them that are neither an ImageNet classifier nor dead.
    """

    missing: tuple[str, ...]
    unused: tuple[str, ...]
    strange: tuple[str, ...]

    @property
    def distance(self) -> int:
        """Number of tensors that stand in the way."""
        return len(self.missing) + len(self.strange)


def fit(layout: Layout, tensors: Mapping[str, Tensor]) -> Fit:
    """Compares names and shapes; counters of batch norms may be missing, as in old files."""
    expected = layout.expected(layout.classes(tensors))
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    unused = tuple(name for name, shape in found.items() if expected.get(name) != shape)
    dead = layout.dead
    return Fit(
        missing=tuple(
            name
            for name, shape in expected.items()
            if found.get(name) != shape and not name.endswith("num_batches_tracked")
        ),
        unused=unused,
        strange=tuple(
            name
            for name in unused
            if not CLASSIFIER.match(name) and (dead is None or not dead.fullmatch(name))
        ),
    )
