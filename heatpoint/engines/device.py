"""Chooses the device that inference runs on."""

from __future__ import annotations

import torch

from heatpoint.errors import HeatpointError


def pick_device(device: str | torch.device) -> torch.device:
    """Returns the device of a name; "auto" is the first of CUDA, MPS and CPU that is there.

    Raises:
        HeatpointError: There is no such device here.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise HeatpointError(f"device {device!r} is not auto, cpu, cuda, cuda:N or mps") from None
    cuda_missing = chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count()
    if cuda_missing or (chosen.type == "mps" and not torch.backends.mps.is_available()):
        raise HeatpointError(f"device {device} is not available here; use device='auto'")
    return chosen
