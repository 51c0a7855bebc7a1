"""Scores of what was found against annotations: COCO's, Pascal VOC's, PCK, OKS."""

from __future__ import annotations

from typing import Literal

Normaliser = Literal["extent", "torso", "box", "head"]
"""What PCK's errors are divided by."""
