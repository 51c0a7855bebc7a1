"""Hourglasses: of detectors (Law and Deng 2018, section 4.1), and of poses (Newell et al. 2016).

Both are residuals at one level beside the next level, down and up again. Those of detectors are
plain basic blocks with strides, which grow wider on the way down; CornerNet, CenterNet, its
triplets and others share them. Those of poses are pre-activation bottlenecks with poolings, as
wide at every level; their stacks are the heads of a network, as each of them ends in maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import pairwise
from typing import Literal, cast

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from heatpoint.networks import Backbone, Maps, MapSpec, convolution
from heatpoint.networks.heads import continued, last_convolution

WIDTHS = (256, 256, 384, 384, 384, 512)
"""Channels at each level of the published detectors, the first at stride 4, the last at 128."""

BLOCKS = (2, 2, 2, 2, 2, 4)
"""Residuals at each level of the published detectors."""

StemKind = Literal["bearpaw", "paper"]

STEM_WIDTHS: dict[StemKind, tuple[int, int]] = {"bearpaw": (256, 256), "paper": (128, 256)}
"""Output channels of the two residuals behind the pooling of the stem for poses."""

Make = Callable[[int, int], nn.Module]
"""Makes a residual of so many channels of its input and of its output."""


class BasicResidual(nn.Module):
    """Two 3x3 convolutions with batch norm beside the input, and a ReLU behind their sum.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Of the first convolution; with one above 1, or where the widths differ, the
            shortcut is a 1x1 convolution with batch norm.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.norm1 = convolution(in_channels, out_channels, 3, stride, relu=False)
        self.conv2, self.norm2 = convolution(out_channels, out_channels, 3, relu=False)
        same = stride == 1 and in_channels == out_channels
        around = partial(convolution, in_channels, out_channels, 1, stride, relu=False)
        self.shortcut = nn.Identity() if same else around()

    def forward(self, features: Tensor) -> Tensor:
        """Returns (B, out_channels, h / stride, w / stride)."""
        inner = functional.relu(self.norm1(self.conv1(features)), inplace=True)
        return functional.relu(self.norm2(self.conv2(inner)) + self.shortcut(features))


class Residual(nn.Module):
    """A pre-activation bottleneck: batch norm and ReLU in front of 1x1, 3x3 and 1x1 convolutions.

    As released (Newell et al. 2016, figure 4 left, in the form of He et al. 2016b): all
    convolutions have a bias, the shortcut is the input itself or a bare 1x1 convolution where the
    widths differ, and nothing follows the addition.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        width = out_channels // 2
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, width, 1)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.norm3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Returns (B, out_channels, h, w) for (B, in_channels, h, w)."""
        inner = self.conv1(functional.relu(self.norm1(features), inplace=True))
        inner = self.conv2(functional.relu(self.norm2(inner), inplace=True))
        inner = self.conv3(functional.relu(self.norm3(inner), inplace=True))
        return cast(Tensor, inner + self.shortcut(features))


class PooledResidual(Residual):
    """The same behind a 2x2 maximum, so that the sides are halved."""

    def forward(self, features: Tensor) -> Tensor:
        """Returns (B, out_channels, h / 2, w / 2) for (B, in_channels, h, w)."""
        return super().forward(functional.max_pool2d(features, 2))


class Row(nn.Sequential):
    """Residuals one behind the other.

    Attributes:
        recompute: Whether training computes them again in the backward pass instead of keeping
            what is between them.
    """

    def __init__(self, make: Make, widths: Sequence[int]) -> None:
        super().__init__(*(make(before, after) for before, after in pairwise(widths)))
        self.recompute = False

    def forward(self, features: Tensor) -> Tensor:
        """Returns (B, widths[-1], h, w)."""
        run: Callable[[Tensor], Tensor] = super().forward
        if not (self.recompute and self.training):
            return run(features)

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _still(self)

        return checkpoint(run, features, use_reentrant=False, context_fn=contexts)


class Hourglass(nn.Module):
    """Residuals at one level beside the next level, which is upsampled and added.

    Args:
        widths: Channels of this level and of those below it.
        blocks: Numbers of residuals of the same levels.
        make: Makes a residual.
        halving: Makes one that halves the sides, the first on the way down.
        doubling: Makes of the channels what doubles the sides on the way up; None repeats each
            cell.
    """

    def __init__(
        self,
        widths: Sequence[int],
        blocks: Sequence[int],
        make: Make,
        halving: Make,
        doubling: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        here, below = widths[:2]
        self.beside = Row(make, [here] * (blocks[0] + 1))
        self.before = Row(halving, [here, below])
        self.before.extend(Row(make, [below] * blocks[0]))
        self.inner = (
            Hourglass(widths[1:], blocks[1:], make, halving, doubling)
            if len(widths) > 2
            else Row(make, [below] * (blocks[1] + 1))
        )
        self.behind = Row(make, [below] * blocks[0] + [here])
        self.up = doubling(here) if doubling else nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, features: Tensor) -> Tensor:
        """Returns a tensor of the shape of ``features``, (B, widths[0], h, w)."""
        return self.levels(features)[-1]

    def levels(self, features: Tensor) -> list[Tensor]:
        """Returns what every level ends in on the way up, from the coarsest to this one's."""
        lower = self.before(features)
        inner = self.inner
        coarser = inner.levels(lower) if isinstance(inner, Hourglass) else []
        lower = self.behind(coarser[-1] if coarser else inner(lower))
        return [*coarser, self.beside(features) + self.up(lower)]


def plain_hourglass(widths: Sequence[int], blocks: Sequence[int]) -> Hourglass:
    """Returns the hourglass of CornerNet and CenterNet: of basic blocks, repeating cells."""
    return Hourglass(widths, blocks, BasicResidual, partial(BasicResidual, stride=2))


class DetectionHourglass(Backbone):
    """Hourglass-104, -52 and narrow ones: in a row, each followed by one feature map at stride 4.

    The input of the next hourglass is a residual over the sum of this one's input and of its
    features, each through a 1x1 convolution with batch norm. Convolutions start from PyTorch's
    default, as published.

    Args:
        stacks: Number of hourglasses: 2 in Hourglass-104, 1 in Hourglass-52.
        stem: Channels of the first convolution.
        widths: Channels at each level, the first of them those of the feature maps.
        blocks: Residuals at each level.
        trim: 1 for inputs one pixel short of a multiple of 128, as CornerNet's 511: there, the
            strided convolutions end on the last pixel.
        make: Makes an hourglass of widths and blocks.
        halvings: Residuals in front that halve the sides; with a second one, as in
            CornerNet-Squeeze, the feature maps are at stride 8.
        every_level: Whether each hourglass also gives what its levels end in on the way up, from
            the coarsest, in front of its feature map, as CornerNet-Saccade's attention needs.
    """

    def __init__(
        self,
        stacks: int,
        stem: int = 128,
        widths: Sequence[int] = WIDTHS,
        blocks: Sequence[int] = BLOCKS,
        trim: int = 0,
        make: Callable[[Sequence[int], Sequence[int]], Hourglass] = plain_hourglass,
        halvings: int = 1,
        every_level: bool = False,
    ) -> None:
        super().__init__()
        width, stride = widths[0], 2 << halvings
        upward = range(len(widths) - 2, -1, -1) if every_level else ()
        self.channels = (*(widths[level] for level in upward), width) * stacks
        self.strides = (*(stride << level for level in upward), stride) * stacks
        self.every_level = every_level
        self.multiple, self.trim = stride << (len(widths) - 1), trim
        self.stem = convolution(3, stem, 7, 2)
        self.entry = BasicResidual(stem, width, 2)
        more = range(halvings - 1)
        self.deeper = nn.Sequential(*(BasicResidual(width, width, 2) for _ in more))
        pointwise = partial(convolution, width, width, 1, relu=False)
        self.hourglasses = _several(stacks, partial(make, widths, blocks))
        self.features = _several(stacks, partial(convolution, width, width, 3))
        self.from_input = _several(stacks - 1, pointwise)
        self.from_features = _several(stacks - 1, pointwise)
        self.between = _several(stacks - 1, partial(BasicResidual, width, width))

    def recompute(self) -> None:
        """Lets training keep only every other activation of the hourglasses.

        The others are computed again when the backward pass needs them: the same gradients and
        statistics, less memory, about a third more time.
        """
        for module in self.modules():
            if isinstance(module, Row):
                module.recompute = True

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns one (B, widths[0], h, w) per hourglass, h and w at its stride, rounded up.

        With ``every_level``, those of the levels stand in front of each.
        """
        state = self.deeper(self.entry(self.stem(images)))
        found: list[Tensor] = []
        for index, hourglass in enumerate(self.hourglasses):
            levels = cast(Hourglass, hourglass).levels(state)
            found += levels if self.every_level else ()
            found.append(self.features[index](levels[-1]))
            if index + 1 < len(self.hourglasses):
                state = self.from_input[index](state) + self.from_features[index](found[-1])
                state = self.between[index](functional.relu(state, inplace=True))
        return found


class HourglassStem(Backbone):
    """A 7x7 convolution, residuals and a pooling: the way from pixels to stride 4, for poses.

    The released programs differ in the second residual's width. The paper's (Torch 7) and
    princeton's go 64, 128, 128, 256 channels, bearpaw's 64, 128, 256, 256.

    Args:
        kind: Which of the two.
        multiple: Divisor that both sides of the input must have: 4 << order of the hourglasses.
    """

    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (255.0, 255.0, 255.0)

    def __init__(self, kind: StemKind, multiple: int) -> None:
        super().__init__()
        second, third = STEM_WIDTHS[kind]
        self.conv = nn.Conv2d(3, 64, 7, 2, 3)
        self.norm = nn.BatchNorm2d(64)
        self.residual1 = Residual(64, 128)
        self.residual2 = PooledResidual(128, second)
        self.residual3 = Residual(second, third)
        self.channels, self.strides, self.multiple = (third,), (4,), multiple

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns one (B, 256, H / 4, W / 4)."""
        features = functional.relu(self.norm(self.conv(images)), inplace=True)
        return [self.residual3(self.residual2(self.residual1(features)))]


class HourglassStacks(nn.Module):
    """Hourglasses in a row, each followed by its own maps, which the next one sees.

    The input of the next stack is the sum of this one's input, of its features and of its maps,
    the latter two through a 1x1 convolution each (Newell et al. 2016, figure 4 right, with one
    1x1 convolution before the maps, as released, where the paper draws two).

    Args:
        channels: Channels of the input and of every level.
        spec: The map to produce.
        stacks: Number of hourglasses.
        order: Poolings within each, on the way to the lowest resolution; 4 in the paper.
        blocks: Residuals at each place; 1 in the released 8-stack network.
    """

    def __init__(
        self, channels: int, spec: MapSpec, stacks: int, order: int = 4, blocks: int = 1
    ) -> None:
        super().__init__()
        self.name = spec.name
        self.hourglasses = _several(stacks, partial(pose_hourglass, order, channels, blocks))
        widths = [channels] * (blocks + 1)
        self.residuals = _several(stacks, partial(Row, Residual, widths))
        pointwise = partial(nn.Conv2d, channels, channels, 1)
        self.features = nn.ModuleList(
            nn.Sequential(pointwise(), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
            for _ in range(stacks)
        )
        self.last = _several(stacks, partial(last_convolution, channels, spec))
        self.from_features = _several(stacks - 1, pointwise)
        self.from_maps = _several(stacks - 1, partial(nn.Conv2d, spec.channels, channels, 1))

    @property
    def channels(self) -> dict[str, int]:
        """Number of channels by map name."""
        return {self.name: cast(nn.Conv2d, self.last[0]).out_channels}

    def forward(self, features: Tensor) -> list[Maps]:
        """Returns the maps of each stack, (B, spec.channels, h, w), for (B, channels, h, w)."""
        stacks: list[Maps] = []
        for index, hourglass in enumerate(self.hourglasses):
            found = self.features[index](self.residuals[index](hourglass(features)))
            maps = self.last[index](found)
            stacks.append({self.name: maps})
            if index + 1 < len(self.hourglasses):
                features = features + self.from_features[index](found) + self.from_maps[index](maps)
        return stacks

    def resize(self, spec: MapSpec, rows: Sequence[int | None]) -> None:
        """Gives every stack's maps other channels, and what the next stack sees of them.

        Args:
            spec: The map as it shall be.
            rows: For each new channel the old channel it continues, or None for a fresh one.
        """
        for index, old in enumerate(cast("Iterable[nn.Conv2d]", self.last)):
            self.last[index] = continued(old, last_convolution(old.in_channels, spec), rows)
        for index, old in enumerate(cast("Iterable[nn.Conv2d]", self.from_maps)):
            new = nn.Conv2d(spec.channels, old.out_channels, 1)
            self.from_maps[index] = continued(old, new, rows, dimension=1)


def pose_hourglass(order: int, channels: int, blocks: int) -> Hourglass:
    """Returns a hourglass of so many poolings, and so many residuals at each place."""
    widths, counts = [channels] * (order + 1), [blocks] * (order + 1)
    return Hourglass(widths, counts, Residual, PooledResidual)


def _several(count: int, make: Callable[[], nn.Module]) -> nn.ModuleList:
    return nn.ModuleList(make() for _ in range(count))


@contextmanager
def _still(block: nn.Module) -> Iterator[None]:
    """Keeps the running statistics of a block, which would otherwise count a batch twice.

    Norms of every kind, synchronised ones too, still normalise by the batch meanwhile. Counters
    are put back, not counted down: frozen norms do not count, nor those behind an early stop.
    """
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    counters = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
    counted = [counter.clone() for counter in counters]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for counter, count in zip(counters, counted, strict=True):
            counter.copy_(count)
