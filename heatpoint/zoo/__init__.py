"""Every model by name: one table, and one rule for any timm backbone.

Example:
    >>> from heatpoint import zoo
    >>> zoo.build("centernet_tiny", ["cat", "dog"]).names
    ('cat', 'dog')
"""

from __future__ import annotations

from heatpoint.zoo.detector import Detector as Detector
from heatpoint.zoo.detector import build as build
from heatpoint.zoo.families import FAMILIES as FAMILIES
from heatpoint.zoo.families import find as find
from heatpoint.zoo.families import kind as kind
from heatpoint.zoo.families import learns_joints as learns_joints
from heatpoint.zoo.families import models as models
from heatpoint.zoo.rows import Model as Model
