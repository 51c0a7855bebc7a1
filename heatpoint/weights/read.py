"""Reads the tensors of foreign checkpoints without running foreign code."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from heatpoint.errors import HeatpointError

WRAPPERS = ("state_dict", "model_state_dict", "model", "network")
"""Keys under which training programs put the tensors beside epoch, optimiser and so on."""

PREFIXES = ("module.", "model.")
"""What wrappers such as DataParallel put in front of every name."""


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Returns the named tensors of a PyTorch or safetensors file, unwrapped, on the CPU.

    Raises:
        HeatpointError: The file is missing, cut off, holds no named tensors, or is a pickle that
            needs more than tensors and plain values, which could run code when read.
    """
    path = Path(path)
    if not path.is_file():
        raise HeatpointError(f"there is no file {path}")
    try:
        with open(path, "rb") as file:
            start = file.read(9)
        if start[8:] == b"{" and start[6:8] == b"\x00\x00":  # header length below 2**48, then JSON
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise HeatpointError(
            f"{path} is not read, because it holds more than tensors and plain values and could "
            f"run code ({reason}); save only model.state_dict() in the program it comes from"
        ) from None
    except PermissionError as error:
        raise HeatpointError(f"cannot read {path}: {error.strerror}") from None
    except Exception as error:  # a damaged file makes torch raise errors of every kind
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HeatpointError(
            f"{path} is cut off or no checkpoint ({reason}); copy or download it again"
        ) from None
    return unwrapped(content, str(path))


def unwrapped(content: Any, source: str) -> dict[str, Tensor]:
    """Returns the named tensors inside a loaded checkpoint, their common prefixes removed.

    Args:
        content: A state dict, or a dict that holds one under a usual key.
        source: How errors call it.

    Raises:
        HeatpointError: There are no named tensors, or some entries are none.
    """
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise HeatpointError(f"{source} holds no named tensors but {type(content).__name__}")
    others = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise HeatpointError(
            f"{source} holds no plain state dict: {', '.join(others[:5])} are no tensors; "
            "save model.state_dict() alone"
        )
    tensors: dict[str, Tensor] = {str(key): value for key, value in content.items()}
    for _ in PREFIXES:
        for prefix in PREFIXES:
            if all(key.startswith(prefix) for key in tensors):
                tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors
