"""The network: a pure function from images to maps by name, normalisation included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from heatpoint.errors import HeatpointError
from heatpoint.geometry import less, next_multiple

Maps = dict[str, Tensor]
"""One stack's output: name to ``(B, channels, h, w)``; logits where a probability is meant."""


@dataclass(frozen=True)
class MapSpec:
    """One map that a codec needs and a network must produce.

    Attributes:
        name: Key in ``Maps``.
        channels: Number of channels.
        bias: Initial bias of the last layer; -2.19 = -ln(0.9 / 0.1) for heatmaps of objects.
        branch: Name of the shared branch in front of the head (corner pooling, say); "" for none.
        per: What the channels are about, in equal shares: "class", "joint", or "" for neither.
            When classes or joints change, the channels of those that stay are kept.
        std: Spread of the last layer's initial weights; None for PyTorch's own way.
        stride: Input pixels per cell; 0 for the codec's.
    """

    name: str
    channels: int
    bias: float = 0.0
    branch: str = ""
    per: Literal["", "class", "joint"] = ""
    std: float | None = None
    stride: int = 0


IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
"""ImageNet's mean and standard deviation of R, G and B on the 0-255 scale."""


def convolution(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, relu: bool = True
) -> nn.Sequential:
    """Returns a convolution without bias, a batch norm and, unless refused, a ReLU.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Odd side of the kernel, in cells; the padding keeps the input's sides.
        stride: Cells per step.
        relu: Whether there is a ReLU.
    """
    bare = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
    last = [nn.ReLU(inplace=True)] if relu else []
    return nn.Sequential(bare, nn.BatchNorm2d(out_channels), *last)


class Backbone(nn.Module):
    """What every backbone declares; calling it yields one feature map per entry of ``strides``.

    Attributes:
        channels: Channels of each feature map, in the order of ``strides``.
        strides: Input pixels per cell of each feature map, ascending.
        multiple: Divisor that both sides of the input must have.
        trim: Pixels by which both sides must fall short of that; 1 for CornerNet's 511.
        mean: R, G and B means (0-255) of the images that the weights were made for, or one of each
            channel where images have other ones.
        std: R, G and B standard deviations (0-255) of the same.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    multiple: int
    trim: int = 0
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def inner(self, images: Tensor) -> dict[int, Tensor]:
        """Returns the feature maps in front of the last one, by stride; of several the first."""
        maps = list(zip(self.strides, self(images), strict=True))[:-1]
        return dict(reversed(maps))


class Network(nn.Module):
    """Normalisation, backbone, neck and heads in a row.

    It knows no labels and no losses, and its return type never depends on the mode.

    Args:
        backbone: Turns (B, C, H, W) normalised images into feature maps of ascending stride.
        neck: Turns the list of feature maps into one (B, channels, h, w) tensor.
        heads: Turns that tensor into maps by name, or into such maps of each stack in a row.
        stride: Input pixels per cell of the maps.

    Attributes:
        mean: (C,) buffer in the values of the images: of RGB R, G and B on the 0-255 scale.
        std: (C,) buffer, likewise.
        multiple: Divisor that both input sides must have, after ``trim`` is added.
        trim: Pixels by which both sides must fall short of a multiple; 0 for most networks.
        stride: Input pixels per cell of the maps.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, neck: nn.Module, heads: nn.Module, stride: int) -> None:
        super().__init__()
        self.backbone, self.neck, self.heads = backbone, neck, heads
        self.multiple, self.trim, self.stride = backbone.multiple, backbone.trim, stride
        self.register_buffer("mean", torch.tensor(backbone.mean))
        self.register_buffer("std", torch.tensor(backbone.std))

    def forward(self, images: Tensor) -> list[Maps]:
        """Returns the maps of each stack, of which the last are the network's answer.

        The others exist so that training can supervise them; most networks have one stack.

        The normalisation runs in the dtype of ``mean``, everything behind it in the dtype of the
        weights, so that ``fast`` can keep the former in float32 while the latter are bfloat16.

        Args:
            images: (B, 3, H, W) RGB, 0-255, uint8 or floating; any memory format. Of a network for
                other bands (B, C, H, W) in their own values.

        Returns:
            One dict per stack, name to (B, channels, H / stride, W / stride), rounded up.

        Raises:
            HeatpointError: H or W is not a multiple of ``multiple`` less ``trim``.
        """
        height, width = images.shape[-2:]
        legal = tuple(next_multiple(side, self.multiple, self.trim) for side in (height, width))
        if legal != (height, width):
            raise HeatpointError(
                f"images are {height}x{width} pixels (height x width), but this network needs "
                f"multiples of {self.multiple}{less(self.trim)}: the next legal size is "
                f"{legal[0]}x{legal[1]}"
            )
        mean, std = self.mean[:, None, None], self.std[:, None, None]
        normalised = (images.to(self.mean.dtype) - mean) / std
        features = self.backbone(normalised.to(next(self.parameters()).dtype))
        maps: Maps | list[Maps] = self.heads(self.neck(features))
        return maps if isinstance(maps, list) else [maps]

    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Sets mean and standard deviation by channel: of RGB each on the 0-255 scale."""
        self.mean.copy_(torch.tensor(mean, dtype=torch.float64))
        self.std.copy_(torch.tensor(std, dtype=torch.float64))


_SEES = "sees_images"
"""Attribute of the convolutions that ``take_channels`` has adapted."""


def take_channels(network: Network, channels: int) -> None:
    """Adapts the convolutions that see the images, keeping what their filters have learnt.

    The answer to equal channels stays the same. For more channels the filters' own repeat in turn,
    each divided by how often it is there; for fewer, each takes an equal share of their sum: one
    channel gives what grey shown as RGB would have given. Mean and standard deviation are those of
    the first channels, in turn, until others are set.

    Args:
        network: Changed in place.
        channels: Of the images, at least 1.

    Raises:
        HeatpointError: No convolution of the backbone takes as many channels as the network has.
    """
    before = len(network.mean)
    if channels == before:
        return
    convolutions = [each for each in network.backbone.modules() if isinstance(each, nn.Conv2d)]
    # Convolutions within may take as many later, 16 say: the first time they are noted.
    seeing = [each for each in convolutions if hasattr(each, _SEES)] or [
        each for each in convolutions if each.in_channels == before and each.groups == 1
    ]
    if not seeing:
        raise HeatpointError(
            f"no convolution of {type(network.backbone).__name__} takes {before} channels, so that "
            f"it cannot be adapted to {channels}; choose another model, or pictures of {before}"
        )
    turns = [channel % before for channel in range(channels)]
    times = [turns.count(channel) for channel in turns]
    for module in seeing:
        weight = module.weight.detach()
        if channels < before:
            kept = (weight.sum(1, keepdim=True) / channels).repeat(1, channels, 1, 1)
        else:
            kept = weight[:, turns] / weight.new_tensor(times)[:, None, None]
        module.weight = nn.Parameter(kept)
        module.in_channels = channels
        setattr(module, _SEES, True)
    network.mean, network.std = network.mean[turns], network.std[turns]
    mean, std = network.backbone.mean, network.backbone.std
    network.backbone.mean = tuple(mean[channel] for channel in turns)
    network.backbone.std = tuple(std[channel] for channel in turns)
