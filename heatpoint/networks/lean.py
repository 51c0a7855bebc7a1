"""Trains a network with fewer passes over its feature maps, on processors.

Norms and activations do little with each number, so that on a processor they wait for memory. What
changes here is where they are computed; what the network computes, learns and saves stays.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from heatpoint.networks import Network
from heatpoint.networks.fast import fed, observe

Pair = tuple[nn.Conv2d, nn.BatchNorm2d]

WIDEST = 128
"""Most input channels of a convolution that takes its norm in: from 160 on the covariance of the
inputs costs more than the norm."""

WIDENING = 4
"""Least output channels per input channel: with 1.5 there is nothing to gain."""


def lean(network: Network, frozen: Collection[nn.Module] = ()) -> None:
    """Lets a network train with fewer passes over memory; parameters and their names stay.

    ReLU6 works in place: PyTorch's keeps a copy of its input for the backward pass, although its
    output tells the same. A norm in evaluation mode goes into the convolution before it. So does a
    norm of batches behind a 1x1 convolution that widens, for whose outputs the mean and the
    variance follow from those of its few inputs: ``mean = W m`` and ``variance = diag(W C W')``,
    where ``m`` and ``C`` are mean and covariance of the inputs over images and cells.

    In evaluation mode the network computes as before. Of a network whose convolutions are read
    elsewhere, too, their norms stay where they are: that is found out on a random image.

    Args:
        network: In its final place, a processor; its modules change.
        frozen: Norms that stay in evaluation mode while the network trains.
    """
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    pairs = _pairs(network, frozen)
    if pairs and not _alone(network, pairs):
        pairs = [pair for pair in pairs if _alone(network, [pair])]
    for module, training in modes:
        module.training = training
    for convolution, norm in pairs:
        _merge(convolution, norm)
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.ReLU6 and child.inplace:
                setattr(parent, name, ClippingReLU6())


def _pairs(network: Network, frozen: Collection[nn.Module]) -> list[Pair]:
    """Returns the convolutions that can take in the norm behind them, with that norm."""
    pairs = []
    for convolution, norm in fed(observe(network)[0]):
        usual = norm.track_running_stats and norm.affine and norm.momentum is not None
        if type(convolution) is not nn.Conv2d or convolution.bias is not None or not usual:
            continue
        pointwise = convolution.kernel_size == convolution.stride == (1, 1)
        inputs, outputs = convolution.in_channels, convolution.out_channels
        narrow = inputs <= WIDEST and outputs >= WIDENING * inputs and convolution.groups == 1
        if norm in frozen or (pointwise and narrow and convolution.padding == (0, 0)):
            pairs.append((convolution, norm))
    return pairs


def _alone(network: Network, pairs: list[Pair]) -> bool:
    """Returns whether nothing but the norms reads what the convolutions give.

    Then the maps stay if convolutions give NaN, while norms give what they gave before.
    """
    given: dict[nn.Module, Tensor] = {}

    def keep(norm: nn.Module, _: Any, output: Tensor) -> None:
        given[norm] = output.clone()  # what comes behind may work in place

    def recall(norm: nn.Module, *_: Any) -> Tensor:
        return given[norm]

    def blind(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        return torch.full_like(output, torch.nan)

    handles = [norm.register_forward_hook(keep) for _, norm in pairs]
    _, before = observe(network)
    for handle in handles:
        handle.remove()
    handles = [norm.register_forward_hook(recall) for _, norm in pairs]
    handles += [convolution.register_forward_hook(blind) for convolution, _ in pairs]
    _, after = observe(network)
    for handle in handles:
        handle.remove()
    return all(torch.equal(value, before[name]) for name, value in after.items())


def _merge(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Lets a convolution take in the norm behind it in training; both keep all that they hold."""
    # Another class leaves parameters, names, hooks and places alone.
    convolution.__class__ = NormedConv
    norm.__class__ = _passing(cast(Any, type(norm)))
    # In tuples, since a module that is an attribute of another one becomes its child.
    cast(NormedConv, convolution).behind = (norm,)
    cast(Any, norm).before = (convolution,)


class NormedConv(nn.Conv2d):
    """A convolution that takes in the norm behind it while it trains.

    Attributes:
        behind: That norm, which in training hands on what it gets.
    """

    behind: tuple[nn.BatchNorm2d]

    def forward(self, features: Tensor) -> Tensor:
        """Returns (B, out_channels, h, w) for (B, in_channels, h, w), in training normalised."""
        if not self.training:
            return super().forward(features)
        (norm,) = self.behind
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        if not norm.training:
            scale = norm.weight * torch.rsqrt(variance + norm.eps)
            weight = self.weight * scale[:, None, None, None]
            return cast(Tensor, self._conv_forward(features, weight, norm.bias - mean * scale))
        merged, m, v = _Widening.apply(features, self.weight, norm.weight, norm.bias, norm.eps)
        count = features.numel() // self.in_channels
        with torch.no_grad():
            mean.lerp_(m, cast(float, norm.momentum))
            variance.lerp_(v * (count / max(count - 1, 1)), cast(float, norm.momentum))
            cast(Tensor, norm.num_batches_tracked).add_(1)
        return cast(Tensor, merged)


class _Passing(nn.Module):
    """A norm that leaves its work to the convolution before it while that trains."""

    before: tuple[nn.Conv2d]

    def forward(self, features: Tensor) -> Tensor:
        """Returns the features; where timm's norms carry an activation, behind it."""
        if not self.before[0].training:
            return cast(Tensor, super().forward(features))
        for name in ("drop", "act"):
            features = cast(Any, getattr(self, name, nn.Identity()))(features)
        return features


@cache
def _passing(kind: type[nn.BatchNorm2d]) -> type[nn.BatchNorm2d]:
    """Returns a kind of norm with ``_Passing`` before it."""
    return type(f"Passing{kind.__name__}", (_Passing, kind), {})


class _Widening(torch.autograd.Function):
    """A 1x1 convolution and the norm of its outputs over images and cells (Ioffe et al. 2015)."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, gain: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the normalised outputs, and mean and variance of what was normalised.

        Args:
            ctx: Keeps what the backward pass needs.
            features: (B, inputs, h, w).
            weight: (outputs, inputs, 1, 1).
            gain: (outputs,) factor of the norm.
            bias: (outputs,) summand of the norm.
            eps: Summand of the variance.
        """
        mixed = torch.is_autocast_enabled("cpu")
        if mixed:
            features = features.to(torch.get_autocast_dtype("cpu"))
        with torch.autocast("cpu", enabled=False):
            matrix, rows = weight.flatten(1), _rows(features).to(weight.dtype)
            centre = rows.mean(0)
            apart = rows - centre
            spread = matrix @ (apart.T @ apart / len(rows))
            mean, variance = matrix @ centre, (spread * matrix).sum(1).clamp_(min=0)
            root = torch.rsqrt(variance + eps)
            scale = gain * root
            scaled = (matrix * scale[:, None])[:, :, None, None].to(features.dtype)
            shift = (bias - scale * mean).to(features.dtype)
            merged = functional.conv2d(features, scaled, shift)
        ctx.save_for_backward(features, matrix, centre, spread, mean, root, scale, scaled)
        ctx.mark_non_differentiable(mean, variance)
        return merged, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradients of features, weight, gain and bias.

        With ``s = gain / root(variance + eps)`` the outputs are ``s W x + bias - s W m``. So the
        loss depends on W, x and the gain through ``s W``, through ``s`` and through ``m``, and
        ``s`` depends on W and x through the variance.
        """
        features, matrix, centre, spread, mean, root, scale, scaled = ctx.saved_tensors
        given, merged, shift = torch.ops.aten.convolution_backward(
            *(gradients[0], features, scaled, [len(scale)], [1, 1], [0, 0], [1, 1]),
            *(False, [0, 0], 1, [ctx.needs_input_grad[0], True, True]),
        )
        merged, shift = merged.flatten(1).to(matrix.dtype), shift.to(matrix.dtype)
        scales = (merged * matrix).sum(1) - shift * mean
        means, variances = -shift * scale, -0.5 * scales * scale * root**2
        weight = merged * scale[:, None] + means[:, None] * centre + 2 * variances[:, None] * spread
        if given is not None:
            rows = _rows(features).to(matrix.dtype)
            # Both factors of the covariance are the inputs, each less its mean.
            factor = (matrix * variances[:, None]).T @ matrix * (2 / len(rows))
            given = _rows(given).to(matrix.dtype).addmm_(rows, factor)
            given += means @ matrix / len(rows) - centre @ factor
            batch, channels, height, width = features.shape
            given = given.view(batch, height, width, channels).permute(0, 3, 1, 2)
            given = given.to(features.dtype)
        return given, weight[:, :, None, None], scales * root, shift, None


def _rows(features: Tensor) -> Tensor:
    """Returns (B * h * w, channels) for (B, channels, h, w); no copy where channels lie last."""
    return features.permute(0, 2, 3, 1).flatten(0, 2)


class ClippingReLU6(nn.Module):
    """ReLU6 in place that remembers its output only."""

    def forward(self, features: Tensor) -> Tensor:
        """Returns the features, clipped to [0, 6]."""
        return cast(Tensor, _Clipping.apply(features))


class _Clipping(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        features.clamp_(0, 6)
        ctx.mark_dirty(features)
        ctx.save_for_backward(features)
        return features

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # Where the output is 0 or 6, so was the input or beyond, and nothing passes.
        (clipped,) = ctx.saved_tensors
        return cast(Tensor, torch.ops.aten.hardtanh_backward(gradient, clipped, 0.0, 6.0))
