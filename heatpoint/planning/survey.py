"""What a plan goes by: the machine, and pictures and objects of the data as a network sees them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from heatpoint.data import Annotations, Size
from heatpoint.data.dataset import shrink_of, varied
from heatpoint.data.scene import Variation
from heatpoint.data.validate import clean
from heatpoint.errors import HeatpointError
from heatpoint.geometry import next_multiple
from heatpoint.inference.engines.torch import pick_device
from heatpoint.inspection.oracle import oracle
from heatpoint.inspection.report import DataReport, evenly, known_size, measure, sought
from heatpoint.inspection.upright import upright_agreement
from heatpoint.system import usable_cores, usable_memory
from heatpoint.training.processes import is_crowded, native_precision
from heatpoint.views.pictures import Picture
from heatpoint.wording import amount
from heatpoint.zoo.detector import Detector

SAMPLED = 1000
"""Pictures at most whose headers are read and whose objects are measured."""

_SHRUNK = (".jpg", ".jpeg", ".jpe", ".jfif")
"""Endings of files that are decoded at a part of their size."""

_TOUCHING = 2
"""Image pixels from the edge of a picture up to which a box touches it: labels are not exact."""

PAIRED = 100
"""Pictures at most whose objects are compared with each other."""

INNER, ALIKE = 0.4, 0.8
"""Share of a box's sides, around its middle, within which a network learns it, and ratio of areas
from which on two boxes are nearly one."""

SCORED = 40
"""Pictures at most on which a perfect network is scored."""


class Decision(NamedTuple):
    """What a rule says: the value of the option, and the reason in one sentence."""

    value: Any
    why: str


@dataclass(frozen=True)
class Machine:
    """Where a run computes.

    Attributes:
        device: "cpu", "cuda" or "mps".
        cores: Cores that this process may run on.
        memory: Bytes of main memory that it may use.
        bf16: Whether the device is faster in bfloat16 than in float32.
        crowded: Whether other programs keep the cores so busy that one thread alone computes faster
            than many, which wait for each other.
    """

    device: str
    cores: int
    memory: int
    bf16: bool
    crowded: bool = False

    @classmethod
    def here(cls, accelerator: str = "auto") -> Machine:
        """Returns this machine.

        Args:
            accelerator: The kind of device that was asked for.

        Raises:
            HeatpointError: There is no such device here.
        """
        device = pick_device(accelerator).type
        bf16 = native_precision(device) == "bf16"
        crowded = device == "cpu" and usable_cores() > 1 and is_crowded()
        return cls(device, usable_cores(), usable_memory(), bf16, crowded)

    @property
    def family(self) -> str:
        """Returns "cpu", or "gpu" for all others, by which work is measured out."""
        return "cpu" if self.device == "cpu" else "gpu"

    def __str__(self) -> str:
        return f"{self.device}, {amount(self.cores, 'core')}, {self.memory / 2**30:.0f} GB"


@dataclass(frozen=True)
class Survey:
    """What is known of the data and the machine before anything is decided.

    Attributes:
        machine: Where the run computes.
        sample: Pictures of the training data, cleaned, with their sizes.
        pictures: How many pictures there are to train on ...
        scored: ... and to validate on.
        detector: What is trained, with whatever weights; None until the model is chosen.
    """

    machine: Machine
    sample: Annotations
    pictures: int
    scored: int
    detector: Detector | None = None

    @classmethod
    def of(cls, train: Annotations, scored: int, machine: Machine, skip_bad: bool) -> Survey:
        """Looks at the headers of pictures, of at most ``SAMPLED``.

        Args:
            train: The training data as read.
            scored: Pictures to validate on.
            machine: Where the run computes.
            skip_bad: Leave out what cannot be read.

        Raises:
            HeatpointError: Pictures cannot be read, or hold no object.
        """
        sample, _ = clean(train.subset(evenly(len(train), SAMPLED).tolist()), skip_bad)
        if not any(sought(record).any() for record in sample.images):
            raise HeatpointError(f"{train.source} holds no object to learn from or to score")
        return cls(machine, sample, len(train), scored)

    @property
    def trained(self) -> Detector:
        """The detector; a rule that asks for it comes after the one that chooses the model."""
        assert self.detector is not None
        return self.detector

    @cached_property
    def picture(self) -> tuple[int, int]:
        """(height, width) of the median picture."""
        sizes = np.array([known_size(record) for record in self.sample.images])
        height, width = np.median(sizes, axis=0)
        return int(height), int(width)

    def decoded(self, variation: Variation, size: Size) -> float:
        """Returns the bytes of all training pictures as training decodes them.

        Args:
            variation: Says how far a view enlarges a picture: JPEG files are decoded no larger.
            size: (H, W) of the network's input.
        """
        pixels = 0.0
        for record in self.sample.images:
            shown, shrink = known_size(record), 1
            if record.path.suffix.lower() in _SHRUNK:
                shrink = shrink_of(shown, variation.enlarges(shown, size))
            pixels += math.prod(shown) / shrink**2
        bands = self.sample.bands
        each = bands.channels * np.dtype(bands.dtype).itemsize
        return each * pixels * self.pictures / len(self.sample)

    @cached_property
    def jointed(self) -> float:
        """Share of the objects of which a joint is labelled, in [0, 1]."""
        objects = labelled = 0
        for record in self.sample.images:
            objects += len(record)
            if record.keypoints is not None:
                labelled += int((record.keypoints[..., 2] > 0).any(1).sum())
        return labelled / max(1, objects)

    @cached_property
    def agreed(self) -> float:
        """How far subjects agree about which way is up, from 0 to 1; see ``upright_agreement``."""
        return upright_agreement(self.sample)

    @cached_property
    def cut(self) -> float:
        """Share of the objects that an edge of their picture touches, in [0, 1]."""
        objects = touched = 0
        for record in self.sample.images:
            height, width = known_size(record)
            objects += len(record)
            ends = np.array([width, height]) - _TOUCHING
            touched += int(
                ((record.boxes[:, :2] <= _TOUCHING) | (record.boxes[:, 2:] >= ends)).any(1).sum()
            )
        return touched / max(1, objects)

    @cached_property
    def nested(self) -> float:
        """Share of the objects that have about the middle of one of another class, in [0, 1].

        Such as a head and its helmet: the middle of one is in the ``INNER`` part of the other's
        box, on both axes. Boxes of nearly one size do not count, for one map can say both.
        """
        objects = shared = 0
        for index in evenly(len(self.sample), PAIRED):
            record = self.sample.images[index]
            rows = sought(record)
            boxes, labels = record.boxes[rows], record.labels[rows]
            objects += len(boxes)
            if len({*labels.tolist()}) < 2:
                continue
            middle, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
            apart = np.abs(middle[:, None] - middle)
            near = (apart <= INNER / 2 * sides).all(-1)
            area = sides.prod(1)
            other = np.minimum(area[:, None], area) < ALIKE * np.maximum(area[:, None], area)
            near &= other & (labels[:, None] != labels)
            shared += int((near | near.T).any(1).sum())
        return shared / max(1, objects)

    @cached_property
    def fullest(self) -> int:
        """Objects of the picture that holds most of them."""
        return max(int(sought(record).sum()) for record in self.sample.images)

    @cached_property
    def objects(self) -> float:
        """Objects of a picture on average."""
        return sum(int(sought(record).sum()) for record in self.sample.images) / len(self.sample)

    @cached_property
    def filled(self) -> float:
        """Share of the pictures that hold an object."""
        return sum(sought(record).any() for record in self.sample.images) / len(self.sample)

    @property
    def pointed(self) -> bool:
        """Whether objects are labelled by one point each, or by a single joint."""
        return self.sample.pointed or len(self.sample.skeleton or ()) == 1

    @cached_property
    def crop(self) -> float:
        """Longer side in image pixels of the median object's box."""
        boxes = np.concatenate([record.boxes for record in self.sample.images])
        return float(np.median((boxes[:, 2:] - boxes[:, :2]).max(1)))

    @cached_property
    def examples(self) -> int:
        """Samples of an epoch: pictures, or subjects where the model looks at one at a time."""
        codec = self.trained.codec
        places = varied(codec.view)().samples(self.sample, "keypoints" in codec.learns).places
        return max(1, round(len(places) * self.pictures / len(self.sample)))

    @cached_property
    def strides(self) -> set[int]:
        """Strides up to which the backbone can be frozen."""
        backbone = self.trained.network.backbone
        side = 2 * backbone.multiple - backbone.trim
        with torch.inference_mode():
            return {*backbone.eval().inner(torch.zeros(1, len(backbone.mean), side, side))}

    @cached_property
    def parameters(self) -> int:
        """Numbers that the network learns."""
        return sum(each.numel() for each in self.trained.network.parameters())

    def legal(self, height: float, width: float, step: int = 1) -> tuple[int, int]:
        """Returns the input size nearest to a height and a width, in multiples of ``step`` too."""
        network = self.trained.network
        view = Picture((1, 1), int(np.lcm(step, network.multiple)), network.trim)
        return view.legal(height), view.legal(width)

    def measured(self, size: tuple[int, int]) -> tuple[DataReport, NDArray[np.float64]]:
        """Returns what objects are like at an input size, and their sides in input pixels, (N,)."""
        report, each = measure(self.sample, self._view(size))
        return report, each.sides

    def side(self, size: tuple[int, int], quantile: float = 0.1) -> float:
        """Returns the side in input pixels that all objects but a share of them reach."""
        return float(np.quantile(self.measured(size)[1], quantile))

    def inputs(self, step: int, enlarged: float) -> list[tuple[int, int]]:
        """Returns inputs of the median picture's shape, ascending.

        Args:
            step: Sides are multiples of this many pixels, if the network takes them.
            enlarged: Longer side of the last one over that of the picture, rounded up.
        """
        height, width = self.picture
        longer, step = max(height, width), next_multiple(step, self.trained.network.multiple)
        sides = range(step, next_multiple(math.ceil(enlarged * longer), step) + 1, step)
        return [self.legal(s * height / longer, s * width / longer, step) for s in sides]

    def reached(self, size: tuple[int, int]) -> float:
        """Returns the AP, or F1 of points, that a perfect network reaches at an input size."""
        some = self.sample.subset(evenly(len(self.sample), SCORED).tolist())
        return oracle(some, self.trained.codec, self._view(size)).reached

    def _view(self, size: tuple[int, int]) -> Picture:
        """Returns a look that a picture fills; a margin takes its pixels from it afterwards."""
        network = self.trained.network
        return Picture(size, network.multiple, network.trim)
