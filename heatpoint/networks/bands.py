"""Lets a network that was made for images of some channels take those of another number."""

from __future__ import annotations

from torch import nn

from heatpoint.errors import HeatpointError
from heatpoint.networks import Network


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
    network.mean, network.std = network.mean[turns], network.std[turns]
    mean, std = network.backbone.mean, network.backbone.std
    network.backbone.mean = tuple(mean[channel] for channel in turns)
    network.backbone.std = tuple(std[channel] for channel in turns)
