"""Says what is in a data set, what is wrong with it, and what a model can reach on it.

Run it before training: it finds boxes in the wrong format, missing images and classes without
objects, shows the targets exactly as training sees them, and scores a perfect network on the data,
which tells how many objects the representation cannot tell apart at the chosen input size.
"""

from __future__ import annotations

from heatpoint.inspection.inspector import Inspection, inspect

__all__ = ["Inspection", "inspect"]
