"""Which optimiser, with which learning rate, decaying which weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn

Name = Literal["adamw", "adam", "sgd"]

BASE_BATCH = 16
BASE_RATE: Mapping[str, float] = {"adamw": 5e-4, "adam": 5e-4, "sgd": 2.5e-3}
DECAY: Mapping[str, float] = {"adamw": 0.01, "adam": 0.0, "sgd": 1e-4}


def default_rate(name: Name, images: int) -> float:
    """Returns the peak learning rate for ``images`` images per update.

    Plain SGD follows the linear rule (Goyal et al. 2017, section 2.1): 0.02 for 128 images, as in
    published SGD recipes of CenterNet. The Adam family divides the gradient by its own size, for
    which the square root keeps the noise of an update constant (Malladi et al. 2022). The released
    CenterNet uses 1.25e-4 for 32 images with Adam and 140 epochs; ours is higher because gradient
    clipping, warm-up and averaged weights allow it and runs are usually shorter.
    """
    ratio = images / BASE_BATCH
    return BASE_RATE[name] * (ratio if name == "sgd" else ratio**0.5)


def parameter_groups(module: nn.Module, decay: float) -> list[dict[str, object]]:
    """Returns two groups of trainable parameters: weights that decay, norms and biases that do not.

    Whatever has at most one dimension is a bias, or scale or shift of a norm.
    """
    trainable = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]


def build_optimizer(
    module: nn.Module, name: Name, rate: float, decay: float
) -> torch.optim.Optimizer:
    """Returns the optimiser; one fused kernel per update where the device has it."""
    groups = parameter_groups(module, decay)
    device = next(module.parameters()).device.type
    fused = device in ("cpu", "cuda")
    if name == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, fused=fused)
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return kind(groups, lr=rate, fused=fused)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
