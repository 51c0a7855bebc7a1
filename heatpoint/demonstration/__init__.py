"""Proves an installation: draws a data set, trains on it, scores it and shows what was found."""

from __future__ import annotations

from heatpoint.demonstration.run import DemoResult, demo

__all__ = ["DemoResult", "demo"]
