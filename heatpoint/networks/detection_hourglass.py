"""The detection hourglass (Law and Deng 2018, section 4.1): Hourglass-104, -52 and narrow ones.

Not the pose networks' hourglass: residuals are plain basic blocks, strides replace poolings, and
the levels grow wider on the way down. CornerNet, CenterNet, its triplets and others share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import cast

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from heatpoint.networks import Backbone
from heatpoint.networks.heads import hidden_convolution

WIDTHS = (256, 256, 384, 384, 384, 512)
"""Channels at each level of the published networks, the first at stride 4, the last at 128."""

BLOCKS = (2, 2, 2, 2, 2, 4)
"""Residuals at each level of the published networks."""


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
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same else pointwise(in_channels, out_channels, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Returns (B, out_channels, h / stride, w / stride)."""
        inner = functional.relu(self.norm1(self.conv1(features)), inplace=True)
        return functional.relu(self.norm2(self.conv2(inner)) + self.shortcut(features))


class Hourglass(nn.Module):
    """Residuals at one level beside the next level, which is upsampled and added.

    Args:
        widths: Channels of this level and of those below it.
        blocks: Numbers of residuals of the same levels.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        here, below = widths[0], widths[1]
        deeper = len(widths) > 2
        self.beside = nn.Sequential(*(BasicResidual(here, here) for _ in range(blocks[0])))
        self.before = nn.Sequential(
            BasicResidual(here, below, stride=2),
            *(BasicResidual(below, below) for _ in range(blocks[0] - 1)),
        )
        self.inner = (
            Hourglass(widths[1:], blocks[1:])
            if deeper
            else nn.Sequential(*(BasicResidual(below, below) for _ in range(blocks[1])))
        )
        self.behind = nn.Sequential(
            *(BasicResidual(below, below) for _ in range(blocks[0] - 1)),
            BasicResidual(below, here),
        )
        self.recompute = False

    def forward(self, features: Tensor) -> Tensor:
        """Returns a tensor of the shape of ``features``, (B, widths[0], h, w)."""
        lower = self._run(self.before, features)
        inner = self.inner
        lower = inner(lower) if isinstance(inner, Hourglass) else self._run(inner, lower)
        lower = self._run(self.behind, lower)
        upper = functional.interpolate(lower, scale_factor=2, mode="nearest")
        return self._run(self.beside, features) + upper

    def _run(self, block: nn.Module, features: Tensor) -> Tensor:
        """Returns ``block(features)``, computed again in the backward pass if so chosen."""
        if not (self.recompute and self.training):
            return cast(Tensor, block(features))

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _still(block)

        return cast(Tensor, checkpoint(block, features, use_reentrant=False, context_fn=contexts))


class DetectionHourglass(Backbone):
    """Hourglasses in a row, each followed by one feature map, at stride 4.

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
    """

    def __init__(
        self,
        stacks: int,
        stem: int = 128,
        widths: Sequence[int] = WIDTHS,
        blocks: Sequence[int] = BLOCKS,
        trim: int = 0,
    ) -> None:
        super().__init__()
        width = widths[0]
        self.channels, self.strides = (width,) * stacks, (4,) * stacks
        self.multiple, self.trim = 4 << (len(widths) - 1), trim
        self.stem = nn.Sequential(
            nn.Conv2d(3, stem, 7, 2, 3, bias=False), nn.BatchNorm2d(stem), nn.ReLU(inplace=True)
        )
        self.entry = BasicResidual(stem, width, stride=2)
        self.hourglasses = nn.ModuleList(Hourglass(widths, blocks) for _ in range(stacks))
        self.features = nn.ModuleList(
            hidden_convolution(width, width, norm=True) for _ in range(stacks)
        )
        self.from_input = nn.ModuleList(pointwise(width, width) for _ in range(stacks - 1))
        self.from_features = nn.ModuleList(pointwise(width, width) for _ in range(stacks - 1))
        self.between = nn.ModuleList(BasicResidual(width, width) for _ in range(stacks - 1))

    def recompute(self, wanted: bool = True) -> None:
        """Chooses whether training keeps only every other activation of the hourglasses.

        The others are computed again when the backward pass needs them: the same gradients and
        statistics, less memory, about a third more time.
        """
        for module in self.modules():
            if isinstance(module, Hourglass):
                module.recompute = wanted

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns one (B, widths[0], h, w) per hourglass, h and w at stride 4, rounded up."""
        state = self.entry(self.stem(images))
        found = []
        for index, hourglass in enumerate(self.hourglasses):
            found.append(self.features[index](hourglass(state)))
            if index + 1 < len(self.hourglasses):
                state = self.from_input[index](state) + self.from_features[index](found[-1])
                state = self.between[index](functional.relu(state, inplace=True))
        return found


def pointwise(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Returns a 1x1 convolution with batch norm."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
    )


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
