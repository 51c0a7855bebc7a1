"""Objects and poses as peaks of heatmaps: train, evaluate, predict and export."""

from __future__ import annotations

__version__ = "0.1.0"
