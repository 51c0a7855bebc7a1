"""Every model by name: one table, and one rule for any timm backbone.

Example:
    >>> from heatpoint import zoo
    >>> zoo.build("centernet_tiny", ["cat", "dog"]).names
    ('cat', 'dog')
"""

from __future__ import annotations

from heatpoint.zoo.detector import Detector as Detector
from heatpoint.zoo.detector import build as build
from heatpoint.zoo.rows import Model as Model
from heatpoint.zoo.table import FAMILIES as FAMILIES
from heatpoint.zoo.table import find as find
from heatpoint.zoo.table import kind as kind
from heatpoint.zoo.table import learns_joints as learns_joints
from heatpoint.zoo.table import models as models
