"""Keeps the first layers of a backbone as they are."""

from __future__ import annotations

import torch
from torch import nn

from heatpoint.errors import HeatpointError
from heatpoint.networks.network import Backbone


def freeze(backbone: Backbone, stride: int) -> list[nn.Module]:
    """Stops training all that the feature map of ``stride`` is computed from.

    These layers see the most pixels, so leaving them out of the backward pass saves much of an
    update's time, and ImageNet's edges and textures suit most data.

    Args:
        backbone: In its final place; its parameters are changed.
        stride: Input pixels per cell of the last feature map that stays as it is.

    Returns:
        The norms with frozen parameters: whoever puts the network into training mode must put
        them back into evaluation mode, or their statistics would drift.

    Raises:
        HeatpointError: The backbone has no feature map of that stride, or no other one.
    """
    if stride not in backbone.strides[:-1]:
        known = ", ".join(str(each) for each in backbone.strides[:-1]) or "none"
        raise HeatpointError(f"freeze is a stride of the backbone ({known}), not {stride}")
    parameters = list(backbone.parameters())
    training = backbone.training
    backbone.eval()
    device, side = parameters[0].device, 2 * backbone.multiple
    feature = backbone(torch.zeros(1, 3, side, side, device=device))[backbone.strides.index(stride)]
    used = torch.autograd.grad(feature.sum(), parameters, allow_unused=True)
    backbone.train(training)
    for parameter, gradient in zip(parameters, used, strict=True):
        if gradient is not None:
            parameter.requires_grad_(False)
    return [
        module
        for module in backbone.modules()
        if hasattr(module, "running_mean")
        and not any(parameter.requires_grad for parameter in module.parameters(recurse=False))
    ]
