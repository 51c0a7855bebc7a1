"""A published checkpoint layout: which of our tensors is stored there under which name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from heatpoint import zoo

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
    """One published layout. All known ones were trained on BGR images.

    Attributes:
        architecture: Name in ``zoo.build`` of the network that computes the same.
        heatmap: Published name of the last weight of the heatmap; its rows are the classes.
        first: Published name of the first weight, whose input channels are B, G, R.
        published: Maps our tensor names to published ones.
        stats: Maps the number of classes to the training's normalisation, in BGR order, 0-1.
    """

    architecture: str
    heatmap: str
    first: str
    published: Callable[[str], str]
    stats: Callable[[int], Stats]

    def classes(self, tensors: Mapping[str, Tensor]) -> int:
        """Returns the number of classes of a checkpoint; 1 if it has no such heatmap."""
        heatmap = tensors.get(self.heatmap)
        return 1 if heatmap is None or heatmap.ndim == 0 else int(heatmap.shape[0])

    def expected(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Returns published names and shapes of this layout for a number of classes."""
        return {
            self.published(name): shape
            for name, shape in shapes(self.architecture, classes).items()
            if name not in ("mean", "std")
        }


@cache
def shapes(architecture: str, classes: int) -> dict[str, tuple[int, ...]]:
    """Returns our tensor names and shapes of an architecture, without making its weights."""
    with torch.device("meta"):
        network = zoo.build(architecture, [str(index) for index in range(classes)]).network
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@dataclass(frozen=True)
class Fit:
    """How well a checkpoint fits a layout.

    Attributes:
        missing: Published names the checkpoint lacks or has in another shape.
        unused: Names in the checkpoint the layout does not know, other shapes included.
    """

    missing: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def distance(self) -> int:
        """Number of tensors that stand in the way."""
        return len(self.missing) + len(self.strange)

    @property
    def strange(self) -> tuple[str, ...]:
        """Unused tensors that are no ImageNet classifier."""
        return tuple(name for name in self.unused if not CLASSIFIER.match(name))


def fit(layout: Layout, tensors: Mapping[str, Tensor]) -> Fit:
    """Compares names and shapes; counters of batch norms may be missing, as in old files."""
    expected = layout.expected(layout.classes(tensors))
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return Fit(
        missing=tuple(
            name
            for name, shape in expected.items()
            if found.get(name) != shape and not name.endswith("num_batches_tracked")
        ),
        unused=tuple(name for name, shape in found.items() if expected.get(name) != shape),
    )
