"""Makes a copy of a network that computes the same, faster, for inference only."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from heatpoint.errors import check_choice
from heatpoint.networks import Network
from heatpoint.networks.heads import StackHeads

Precision = Literal["auto", "fp32", "bf16", "fp16"]

SELF_CHECK = 1e-3
"""Largest difference, relative to the largest value of a map, that folding may make."""


def fast(
    network: Network,
    precision: Precision = "auto",
    device: str | torch.device | None = None,
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
            neighbour; "fp16" does the same in float16. For "auto" see ``choose_precision``.
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

    "auto" is bfloat16 on CPUs with AMX tiles and on GPUs that multiply it natively: elsewhere it
    is slower than float32.

    Raises:
        HeatpointError: Unknown precision.
    """
    check_choice("precision", precision, get_args(Precision))
    if precision != "auto":
        return precision
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and has_amx()
    return "bf16" if native else "fp32"


def has_amx() -> bool:
    """Returns whether this CPU multiplies bfloat16 tiles, which PyTorch tells since 2.4."""
    ask = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(ask is not None and ask())


def _answering(network: Network) -> Network:
    """Returns a copy for inference, with the heads of the last stack only."""
    copied = copy.deepcopy(network).eval().requires_grad_(False)
    if isinstance(copied.heads, StackHeads):
        copied.heads.keep_last()
    return copied


def _halve(network: Network, half: torch.dtype) -> None:
    """Lets a network compute in 16 bits, all but its normalisation and its last convolutions."""
    mean, std = network.mean, network.std
    exact = {last: copy.deepcopy(last.state_dict()) for last in _last_convolutions(network)}
    network.to(half)
    network.mean, network.std = mean, std
    for last, state in exact.items():
        last.float().load_state_dict(state)
        last.register_forward_pre_hook(_in_float32)


def _in_float32(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Hands a module its inputs in float32."""
    return tuple(values.float() for values in inputs)


@torch.no_grad()
def _last_convolutions(network: Network) -> list[nn.Conv2d]:
    """Returns the convolutions whose outputs are the maps of the last stack, as observed."""
    made: list[tuple[Tensor, nn.Conv2d]] = []
    handles = [
        module.register_forward_hook(lambda module, _, output: made.append((output, module)))
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    maps = network(_noise(network))[-1].values()
    for handle in handles:
        handle.remove()
    return [module for output, module in made if any(output is values for values in maps)]


@torch.no_grad()
def _fold_all(network: Network) -> bool:
    """Folds the batch norms of a network in place; returns whether it still computes the same."""
    image = _noise(network)
    pairs, before = _observe(network, image)
    parents = {
        child: (parent, name)
        for parent in network.modules()
        for name, child in parent.named_children()
    }
    for norm, convolution in pairs.items():
        _fold(convolution, norm)
        parent, name = parents[norm]
        setattr(parent, name, _remainder(norm))
    after = network(image)[-1]
    return all(
        bool((after[name] - value).abs().max() <= SELF_CHECK * value.abs().max())
        for name, value in before.items()
    )


def _noise(network: Network) -> Tensor:
    """Returns a random image of a legal size, on the network's device."""
    side = 2 * network.multiple - network.trim
    generator = torch.Generator().manual_seed(0)
    return (torch.rand((1, 3, side, side), generator=generator) * 255).to(network.mean)


def _observe(
    network: Network, image: Tensor
) -> tuple[dict[nn.BatchNorm2d, nn.Conv2d | nn.ConvTranspose2d], dict[str, Tensor]]:
    """Returns the convolution in front of each batch norm, and the maps of ``image``."""
    calls: Counter[nn.Module] = Counter()
    source: dict[int, nn.Conv2d | nn.ConvTranspose2d] = {}
    pairs: dict[nn.BatchNorm2d, nn.Conv2d | nn.ConvTranspose2d] = {}
    alive: list[Tensor] = []  # an id is unique only while its tensor lives

    def on_call(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        calls[module] += 1
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            alive.append(output)
            source[id(output)] = module
        elif isinstance(module, nn.BatchNorm2d) and id(inputs[0]) in source:
            pairs[module] = source[id(inputs[0])]

    watched = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)
    handles = [
        module.register_forward_hook(on_call)
        for module in network.modules()
        if isinstance(module, watched)
    ]
    maps = network(image)[-1]
    for handle in handles:
        handle.remove()
    once = {
        norm: convolution
        for norm, convolution in pairs.items()
        if calls[norm] == calls[convolution] == 1 and norm.running_var is not None
    }
    return once, maps


def _fold(convolution: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> None:
    """Multiplies a batch norm's scale into the weights and moves its shift to the bias."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    weight = convolution.weight.double()
    if isinstance(convolution, nn.ConvTranspose2d):
        # Stored input channels first; a group's output channels are the second dimension.
        grouped = weight.reshape(convolution.groups, -1, *weight.shape[1:])
        grouped = grouped * scale.reshape(convolution.groups, 1, -1, 1, 1)
        weight = grouped.flatten(0, 1)
    else:
        weight = weight * scale.reshape(-1, 1, 1, 1)
    bias = shift if convolution.bias is None else convolution.bias.double() * scale + shift
    dtype = convolution.weight.dtype
    convolution.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    convolution.bias = nn.Parameter(bias.to(dtype), requires_grad=False)


def _remainder(norm: nn.BatchNorm2d) -> nn.Module:
    """Returns what is left of a folded batch norm: timm's carry an activation with them."""
    activation = getattr(norm, "act", None)
    return activation if isinstance(activation, nn.Module) else nn.Identity()
