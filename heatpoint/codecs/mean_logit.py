"""The logit of a mean of two probabilities, from their logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def mean_logit(first: Tensor, second: Tensor) -> Tensor:
    """Returns logits of the mean of the probabilities that two maps of logits mean.

    No probability is ever rounded to 0 or 1. All is said by softplus, which exported programs
    know and compute without overflow, where they lack or misjudge other functions.

    Args:
        first: Logits, float32.
        second: Logits of the same shape.
    """
    yes = _log_sum(-F.softplus(-first), -F.softplus(-second))
    no = _log_sum(-F.softplus(first), -F.softplus(second))
    return yes - no


def _log_sum(first: Tensor, second: Tensor) -> Tensor:
    """Returns the logarithms of the sums of numbers given by their logarithms."""
    return torch.maximum(first, second) + F.softplus(-(first - second).abs())
