"""Lets a network that was made for images of some channels take those of another number."""

from __future__ import annotations

import torch
from torch import nn

from heatpoint.errors import HeatpointError
from heatpoint.networks import Network


def take_channels(network: Network, channels: int) -> None:
    """Adapts the convolutions that see the images, keeping what their filters have learnt.

    For one channel the filters' channels are added up, which is what grey shown as RGB would have
    given. For more they repeat in turn, scaled so that the answer to equal channels stays the same.
    Mean and standard deviation are those of the first channels, in turn, until others are set.

    Args:
        network: Changed in place.
        channels: Of the images, at least 1.

    Raises:
        HeatpointError: No convolution of the backbone takes as many channels as the network has.
    """
    before = len(network.mean)
    if channels == before:
        return
    seeing = [
        module
        for module in network.backbone.modules()
        if isinstance(module, nn.Conv2d) and module.in_channels == before and module.groups == 1
    ]
    if not seeing:
        raise HeatpointError(
            f"no convolution of {type(network.backbone).__name__} takes {before} channels, so that "
            f"it cannot be adapted to {channels}; choose another model, or pictures of {before}"
        )
    turns = torch.arange(channels) % before
    for module in seeing:
        weight = module.weight.detach()
        kept = weight.sum(1, keepdim=True) if channels == 1 else weight[:, turns.to(weight.device)]
        module.weight = nn.Parameter(kept if channels == 1 else kept * (before / channels))
        module.in_channels = channels
    network.mean, network.std = network.mean[turns], network.std[turns]
    mean, std = network.backbone.mean, network.backbone.std
    network.backbone.mean = tuple(mean[n % before] for n in range(channels))
    network.backbone.std = tuple(std[n % before] for n in range(channels))
