"""Whether the tensors of a file are those of the network that its header names."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from heatpoint.errors import HeatpointError
from heatpoint.networks import Network

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of tensors by name."""

_SPARE = 100
"""Parameters that a network may make beside those it keeps: timm drops classifiers again."""


def shapes_of(tensors: Mapping[str, Tensor]) -> Shapes:
    """Returns the shapes of named tensors."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


class _Undrawn(TorchFunctionMode):
    """Leaves random weights out, for which the "meta" device would load PyTorch's compiler."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") == "normal_":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def outline(make: Callable[[], Network], count: int) -> Shapes:
    """Returns the shapes of a network's tensors, for which no memory is taken.

    A few bytes of a header may ask for any network. It is made on PyTorch's "meta" device, and
    given up once it has far more tensors than the file.

    Args:
        make: Makes the network.
        count: Number of tensors in the file.

    Raises:
        HeatpointError: It has far more.
    """
    made, here = 0, threading.get_ident()

    def counted(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal made
        made += threading.get_ident() == here
        if made > 2 * count + _SPARE:
            raise HeatpointError(
                f"the architecture that it names has more than {made} tensors where the file holds "
                f"{count}"
            )

    hook: Any = register_module_parameter_registration_hook(counted)
    try:
        with torch.device("meta"), _Undrawn():
            return shapes_of(make().state_dict())
    finally:
        hook.remove()


def check_shapes(own: Shapes, found: Shapes, path: str | Path) -> None:
    """Makes sure that a file has exactly the tensors of a network in name and shape.

    Raises:
        HeatpointError: It has not; lists the differences.
    """
    wrong = [
        f"{name:.80}: expected {own.get(name, 'nothing')}, found {found.get(name, 'nothing')}"
        for name in sorted(own.keys() | found.keys())
        if own.get(name) != found.get(name)
    ]
    if wrong:
        shown = "; ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise HeatpointError(f"{path} does not fit the architecture it names: {shown}")


def fill(network: Network, tensors: dict[str, Tensor], path: Path) -> None:
    """Loads tensors, which must be exactly those of the network in name and shape.

    Raises:
        HeatpointError: They are not; lists the differences.
    """
    check_shapes(shapes_of(network.state_dict()), shapes_of(tensors), path)
    if not tensors["mean"].is_floating_point():
        raise HeatpointError(f"{path} holds {tensors['mean'].dtype} where weights are floating")
    network.to(tensors["mean"].dtype).load_state_dict(tensors)
