"""Depthwise convolutions with strides, trained in half precision on processors.

oneDNN computes the gradient of their inputs in bfloat16 without vectors: 86 ms for 16 x 144 x 64 x
64, where this file takes 6 (benchmarks/training-step.md). That gradient
is a depthwise convolution itself: of the gradient of the outputs, with zeros between its cells, and
of the kernel, turned round. It has no stride, and for those there are vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from heatpoint.networks.lean import NormedConv

Pair = tuple[int, int]


def quicken_strided(network: nn.Module) -> None:
    """Lets depthwise convolutions of stride 2 or more train quickly under autocast on a CPU.

    Parameters and their names stay, and everything where nothing is learnt or halved. Kinds of
    convolutions that torch does not bring, and such as pad in other ways, compute in float32.

    Args:
        network: On a processor, and lean if it shall be; its modules change.
    """
    for module in network.modules():
        if not isinstance(module, nn.Conv2d) or max(module.stride) == 1:
            continue
        if 1 < module.groups == module.in_channels:
            # Another class leaves parameters, names, hooks and places alone.
            own = _Spread if _is_usual(module) else _Widened
            module.__class__ = _before(cast(Any, type(module)), cast(Any, own))


def _is_usual(convolution: nn.Conv2d) -> bool:
    """Returns whether a convolution is torch's, and pads with zeros no further than it reaches."""
    if type(convolution) not in (nn.Conv2d, NormedConv) or convolution.padding_mode != "zeros":
        return False
    if isinstance(convolution.padding, str):
        return False
    reach = _reach(convolution.kernel_size, convolution.dilation)
    return all(p <= r for p, r in zip(convolution.padding, reach, strict=True))


def _reach(kernel: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """Returns by how many cells a kernel is higher and wider than one cell."""
    return [step * (side - 1) for step, side in zip(dilation, kernel, strict=True)]


@cache
def _before(kind: type[nn.Conv2d], own: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """Returns a kind of convolution that asks a class of this file first."""
    return type(f"{own.__name__}{kind.__name__}", (own, kind), {})


def _halves(convolution: nn.Conv2d, features: Tensor) -> bool:
    """Returns whether a convolution computes in half precision, and something is learnt by it."""
    learns = features.requires_grad or convolution.weight.requires_grad
    return learns and torch.is_grad_enabled() and torch.is_autocast_enabled("cpu")


class _Widened(nn.Conv2d):
    def forward(self, features: Tensor) -> Tensor:
        if not _halves(self, features):
            return super().forward(features)
        with torch.autocast("cpu", enabled=False):
            return super().forward(features.float())


class _Spread(nn.Conv2d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not _halves(self, input):
            return cast(Tensor, super()._conv_forward(input, weight, bias))
        dtype = torch.get_autocast_dtype("cpu")
        parts = input.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
        return cast(Tensor, Spreading.apply(*parts, self.stride, self.padding, self.dilation))


class Spreading(torch.autograd.Function):
    """A depthwise convolution whose gradients are computed without strides."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Pair,
        padding: Pair,
        dilation: Pair,
    ) -> Tensor:
        """Returns what ``functional.conv2d`` does with one group for each input channel.

        Args:
            ctx: Keeps what the backward pass needs.
            features: (B, channels, h, w).
            weight: (outputs, 1, rows, columns), with a multiple of the channels as outputs.
            bias: (outputs,), or None.
            stride: Cells of the input per cell of the output, vertically and horizontally.
            padding: Rows of zeros above and below, columns left and right; at most the kernel's
                reach, ``dilation * (side - 1)``.
            dilation: Cells from one row and column of the kernel to the next.
        """
        ctx.save_for_backward(features, weight)
        ctx.options = stride, padding, dilation
        channels = features.shape[1]
        return functional.conv2d(features, weight, bias, stride, padding, dilation, channels)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradients of features, weight and bias."""
        features, weight = ctx.saved_tensors
        stride, padding, dilation = ctx.options
        batch, channels, *size = features.shape
        needs_features, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        _, weights, biases = torch.ops.aten.convolution_backward(
            *(gradient, features, weight, [len(weight)], stride, padding, dilation),
            *(False, [0, 0], channels, [False, needs_weight, needs_bias]),
        )
        if not needs_features:
            return None, weights, biases, None, None, None
        kernel = weight.shape[2:]
        reach = _reach(kernel, dilation)
        # The size of the outputs if there were no stride; channels lie last, as the features' do.
        height, width = (s + 2 * p - r for s, p, r in zip(size, padding, reach, strict=True))
        spread = gradient.new_zeros(batch, height, width, len(weight)).permute(0, 3, 1, 2)
        spread[:, :, :: stride[0], :: stride[1]] = gradient
        turned = weight.view(channels, -1, *kernel).flip(2, 3)
        rest = [r - p for r, p in zip(reach, padding, strict=True)]
        given = functional.conv2d(spread, turned, None, 1, rest, dilation, channels)
        return given, weights, biases, None, None, None
