"""Makes a copy of a network that computes the same, faster, for inference only."""

from __future__ import annotations

import copy
import math
import time
from collections import Counter
from functools import cache
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from heatpoint.errors import check_choice
from heatpoint.networks import Maps, Network
from heatpoint.networks.deformable import DeformConv
from heatpoint.networks.heads import StackHeads

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Convolution = nn.Conv2d | nn.ConvTranspose2d | DeformConv

SELF_CHECK = 1e-3
"""Largest difference, relative to the largest value of a map, that folding may make."""

_TRIALS = 7
"""Times that each arithmetic is tried where the processor's instructions do not tell."""


def fast(
    network: Network, precision: Precision = "auto", device: str | torch.device | None = None
) -> Network:
    """Returns a copy in evaluation mode, batch norms folded, channels last, without gradients.

    Of several stacks with heads of their own, the copy has the last one's heads only.

    Every batch norm that is fed by one convolution or transposed convolution disappears in its
    weights. Which one feeds it is observed on a random image, not guessed from names, and the
    outcome is compared on the same image: should a model use the convolution's output elsewhere
    too, so that folding changes the result, the copy stays unfolded.

    Args:
        network: Stays as it is.
        precision: "bf16" computes in bfloat16 between the normalisation and the convolutions that
            end in maps, which stay in float32: bfloat16 knows 8 digits of 0 and 1, and so a size
            of 16 cells to half a pixel and a logit not well enough to tell a peak from its
            neighbour. So do offsets of deformable convolutions. "fp16" does the same in float16.
            For "auto" see ``choose_precision``.
        device: Where the copy shall live; the network's own device without.

    Raises:
        HeatpointError: Unknown precision.
    """
    target = network.mean.device if device is None else torch.device(device)
    copied = _answering(network)
    if not _fold_all(copied):
        copied = _answering(network)
    copied = copied.to(target).to(memory_format=torch.channels_last)
    computes = choose_precision(precision, target)
    if computes != "fp32":
        _halve(copied, torch.bfloat16 if computes == "bf16" else torch.float16)
    return copied


def choose_precision(precision: Precision, device: torch.device) -> Literal["fp32", "bf16", "fp16"]:
    """Returns the arithmetic that is meant on a device.

    "auto" is bfloat16 on CPUs that compute faster in it (``multiplies_bf16``) and on GPUs that
    multiply it natively (NVIDIA's from compute capability 8 on: Ampere), float16 on those that
    multiply only this one (7: Volta and Turing): elsewhere both are slower than float32.

    Raises:
        HeatpointError: Unknown precision.
    """
    check_choice("precision", precision, get_args(Precision))
    if precision != "auto":
        return precision
    if device.type == "cuda":
        # Of this very card: a machine may hold several kinds.
        generation = torch.cuda.get_device_capability(device)[0]
        return "bf16" if generation >= 8 else "fp16" if generation == 7 else "fp32"
    return "bf16" if device.type == "cpu" and multiplies_bf16() else "fp32"


def multiplies_bf16() -> bool:
    """Returns whether this CPU computes faster in bfloat16 than in float32.

    With tiles (AMX) it does. That it has vectors for it (AVX512-BF16) does not tell: AMD's multiply
    twice as many numbers as those of float32, Intel's half as many, and Intel's processors whose
    tiles are hidden from a virtual machine have nothing else. So there both are measured.
    """
    tiles, vectors = (
        (ask := getattr(torch.cpu, f"_is_{name}_supported", None)) is not None and ask()
        for name in ("amx_tile", "avx512_bf16")
    )
    return bool(tiles or (vectors and _halving_pays()))


@cache
def _halving_pays() -> bool:
    """Returns whether this CPU multiplies matrices of bfloat16 faster than of float32 now.

    One answer per process. The least of several times decides, of one thread, for beside other
    programs two wait for each other (benchmarks/training-step.md). The factor between the two
    arithmetics is about 2 either way. It takes a tenth of a second.
    """
    matrices = [torch.ones(512, 512, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    taken, threads = [math.inf, math.inf], torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(_TRIALS):
            for index, matrix in enumerate(matrices):
                start = time.perf_counter()
                _ = matrix @ matrix
                taken[index] = min(taken[index], time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return taken[1] < taken[0]


def _answering(network: Network) -> Network:
    """Returns a copy for inference, with the heads of the last stack only."""
    copied = copy.deepcopy(network).eval().requires_grad_(False)
    if isinstance(copied.heads, StackHeads):
        copied.heads.keep_last()
    return copied


def _halve(network: Network, half: torch.dtype) -> None:
    """Lets a network compute in 16 bits, all but its normalisation and its last convolutions."""
    mean, std = network.mean, network.std
    seen, maps = observe(network)
    ends = {module for module, output in seen if any(output is each for each in maps.values())}
    ends |= {each.offset for each in network.modules() if isinstance(each, DeformConv)}
    exact = {last: copy.deepcopy(last.state_dict()) for last in ends}
    network.to(half)
    network.mean, network.std = mean, std
    for last, state in exact.items():
        last.float().load_state_dict(state)
        last.register_forward_pre_hook(lambda _, inputs: tuple(each.float() for each in inputs))


def _fold_all(network: Network) -> bool:
    """Folds the batch norms of a network in place; returns whether it still computes the same."""
    seen, before = observe(network)
    parents = {
        child: (parent, name)
        for parent in network.modules()
        for name, child in parent.named_children()
    }
    for convolution, norm in fed(seen):
        if norm.running_var is not None:
            _fold(convolution, norm)
            parent, name = parents[norm]
            # What is left of timm's batch norms is the activation that they carry with them.
            left = getattr(norm, "act", None)
            setattr(parent, name, left if isinstance(left, nn.Module) else nn.Identity())
    after = observe(network)[1]
    return all(
        bool((after[name] - value).abs().max() <= SELF_CHECK * value.abs().max())
        for name, value in before.items()
    )


def fed(seen: list[tuple[nn.Module, Tensor]]) -> list[tuple[Convolution, nn.BatchNorm2d]]:
    """Returns the batch norms that a convolution feeds, with it, where both are called once.

    Args:
        seen: What ``observe`` returns first.
    """
    times = Counter(module for module, _ in seen)
    source = {id(made): module for module, made in seen if isinstance(module, Convolution)}
    return [
        (source[id(given)], norm)
        for norm, given in seen
        if isinstance(norm, nn.BatchNorm2d) and id(given) in source
        if times[norm] == times[source[id(given)]] == 1
    ]


@torch.no_grad()
def observe(network: Network) -> tuple[list[tuple[nn.Module, Tensor]], Maps]:
    """Returns what convolutions give and batch norms get, call by call, and the maps, of noise.

    The tensors themselves are kept, since an id is unique only while its tensor lives.
    """
    seen: list[tuple[nn.Module, Tensor]] = []

    def see(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((module, output if isinstance(module, Convolution) else inputs[0]))

    handles = [
        module.register_forward_hook(see)
        for module in network.modules()
        if isinstance(module, Convolution | nn.BatchNorm2d)
    ]
    side = 2 * network.multiple - network.trim
    generator = torch.Generator().manual_seed(0)
    largest = max(255.0, 2 * float(network.mean.max()))
    image = torch.rand((1, len(network.mean), side, side), generator=generator) * largest
    maps = network(image.to(network.mean))[-1]
    for handle in handles:
        handle.remove()
    return seen, maps


def _fold(convolution: Convolution, norm: nn.BatchNorm2d) -> None:
    """Multiplies a batch norm's scale into the weights and moves its shift to the bias."""
    dtype = convolution.weight.dtype
    turned = convolution.groups if isinstance(convolution, nn.ConvTranspose2d) else 0
    convolution.double()
    norm.double()
    weight = _turned(convolution.weight, turned) if turned else convolution.weight
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    weight, convolution.bias = fuse_conv_bn_weights(
        weight, convolution.bias, mean, variance, norm.eps, norm.weight, norm.bias
    )
    weight = _turned(weight, turned) if turned else weight
    convolution.weight = nn.Parameter(weight, requires_grad=False)
    convolution.to(dtype)


def _turned(weight: Tensor, groups: int) -> Tensor:
    """Returns weights with channels of input and output, which are grouped, in the other order."""
    each = weight.reshape(groups, -1, *weight.shape[1:])
    return each.transpose(1, 2).flatten(0, 1)
