"""Training: options, the loop, and everything a run leaves behind."""

from __future__ import annotations

from heatpoint.training.launch import run, train
from heatpoint.training.options import TrainOptions

__all__ = ["TrainOptions", "run", "train"]
