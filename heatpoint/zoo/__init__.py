"""Every model by name: one table, and one rule for any timm backbone.

Example:
    >>> from heatpoint import zoo
    >>> zoo.build("centernet_tiny", ["cat", "dog"]).names
    ('cat', 'dog')
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heatpoint.codecs import Codec
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.zoo.backbone_weights import load_backbone_weights
from heatpoint.zoo.detector import Detector as Detector
from heatpoint.zoo.detector import untrained
from heatpoint.zoo.families import FAMILIES as FAMILIES
from heatpoint.zoo.families import Model as Model
from heatpoint.zoo.table import find as find
from heatpoint.zoo.table import kind as kind
from heatpoint.zoo.table import learns_joints as learns_joints
from heatpoint.zoo.table import models as models


def build(
    name: str,
    names: Sequence[str],
    backbone_weights: str | Path | None = None,
    pretrained: bool = False,
    codec: Codec | None = None,
    skeleton: Skeleton | None = None,
) -> Detector:
    """Returns an untrained detector.

    Args:
        name: A key of ``models()``; or a name made by the rule of ``zoo.families``, such as
            ``centernet_deconv:convnext_tiny`` or ``hourglass:3x2``.
        names: Class names; for the joints of one subject one, which says what it is.
        backbone_weights: File of weights for the backbone; see ``load_backbone_weights``. Its
            name and what it holds beyond the backbone go to ``meta["backbone_weights"]``.
        pretrained: Fetches the backbone's ImageNet weights through timm.
        codec: Representation instead of the model's default.
        skeleton: The joints to find; models that learn none leave it aside.

    Raises:
        HeatpointError: Unknown name, both sources of weights at once, weights that do not fit, a
            codec that the network cannot serve, or joints to be found without a skeleton.
    """
    if backbone_weights and pretrained:
        raise HeatpointError(
            "backbone_weights and pretrained are both given; leave one of them out"
        )
    detector = untrained(name, names, codec, pretrained, skeleton)
    if backbone_weights:
        unused = load_backbone_weights(detector.network, backbone_weights)
        detector.meta["backbone_weights"] = {"file": Path(backbone_weights).name, "unused": unused}
    return detector
