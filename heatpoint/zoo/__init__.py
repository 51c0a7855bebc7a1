"""Architectures by name: ``boxes`` by their centres or ``corners``, and joints in ``poses``.

Example:
    >>> from heatpoint import zoo
    >>> zoo.build("centernet_tiny", ["cat", "dog"]).task
    'boxes'
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.joints import JointCodec
from heatpoint.data.skeleton import SKELETONS, Skeleton
from heatpoint.detector.detector import Detector
from heatpoint.errors import HeatpointError, suggest
from heatpoint.networks.weights import load_backbone_weights
from heatpoint.zoo.boxes import BOX_MODELS, TIMM_PREFIX, BoxModel, deconv_detector
from heatpoint.zoo.corners import CORNER_MODELS, CornerModel
from heatpoint.zoo.poses import (
    HOURGLASS,
    POSE_MODELS,
    POSE_TIMM_PREFIX,
    PoseModel,
    simple_baseline,
    stacked,
)

MODELS: dict[str, BoxModel | CornerModel | PoseModel] = {
    **BOX_MODELS,
    **CORNER_MODELS,
    **POSE_MODELS,
}
"""Every architecture that has a name of its own, for lists; ``build`` knows the families too."""

FAMILIES = (
    f"{TIMM_PREFIX}<name of a timm model>",
    f"{POSE_TIMM_PREFIX}<name of a timm model>",
    "hourglass:<stacks>x<residuals>",
    "princeton_hourglass:<stacks>x<residuals>",
)


def is_pose(name: str) -> bool:
    """Returns whether the architecture finds joints rather than boxes.

    Raises:
        HeatpointError: There is no such architecture.
    """
    if name in BOX_MODELS or name in CORNER_MODELS or name.startswith(TIMM_PREFIX):
        return False
    if name in POSE_MODELS or name.startswith(POSE_TIMM_PREFIX) or HOURGLASS.fullmatch(name):
        return True
    raise HeatpointError(
        f"there is no model {name!r}{suggest(name, MODELS)} (known: "
        f"{', '.join([*MODELS, *FAMILIES])})"
    )


def build(
    name: str,
    names: Sequence[str],
    backbone_weights: str | Path | None = None,
    pretrained: bool = False,
    codec: CenterCodec | CornerCodec | JointCodec | None = None,
    skeleton: Skeleton | None = None,
) -> Detector:
    """Returns an untrained detector.

    Args:
        name: A key of ``MODELS``; ``centernet_timm:`` or ``pose_timm:`` and the name of a timm
            model that has a feature map of stride 32, which then gets the published neck and
            heads; or ``hourglass:`` or ``princeton_hourglass:`` and, as in 3x2, the numbers of
            stacks and of residuals at each place.
        names: Class names; for joints one, which says what the subject is.
        backbone_weights: File of weights for the backbone; see ``load_backbone_weights``. Its
            name and what it holds beyond the backbone go to ``meta["backbone_weights"]``.
        pretrained: Fetches the backbone's ImageNet weights through timm.
        codec: Representation instead of the model's default.
        skeleton: The joints to find; models of boxes have none and leave it aside.

    Raises:
        HeatpointError: Unknown name, both sources of weights at once, weights that do not fit, a
            codec of the other kind, or joints to be found without a skeleton.
    """
    if backbone_weights and pretrained:
        raise HeatpointError(
            "backbone_weights and pretrained are both given; leave one of them out"
        )
    if is_pose(name):
        detector = _pose(name, names, codec, skeleton, pretrained)
    else:
        detector = _boxes(name, names, codec, pretrained)
    if backbone_weights:
        unused = load_backbone_weights(detector.network, backbone_weights)
        detector.meta["backbone_weights"] = {"file": Path(backbone_weights).name, "unused": unused}
    return detector


def _boxes(
    name: str,
    names: Sequence[str],
    codec: CenterCodec | CornerCodec | JointCodec | None,
    pretrained: bool,
) -> Detector:
    if name in CORNER_MODELS:
        if isinstance(codec, CenterCodec | JointCodec):
            raise HeatpointError(f"{name} finds corners, which a {type(codec).__name__} cannot say")
        return CORNER_MODELS[name](names, codec, pretrained)
    if isinstance(codec, CornerCodec | JointCodec):
        raise HeatpointError(f"{name} finds centres, which a {type(codec).__name__} cannot say")
    if name in BOX_MODELS:
        return BOX_MODELS[name](names, codec, pretrained)
    return deconv_detector(name, name.removeprefix(TIMM_PREFIX), names, codec, pretrained)


def _pose(
    name: str,
    names: Sequence[str],
    codec: CenterCodec | CornerCodec | JointCodec | None,
    skeleton: Skeleton | None,
    pretrained: bool,
) -> Detector:
    if skeleton is None:
        raise HeatpointError(
            f"{name} finds joints, but was given no skeleton: data that has no joints cannot be "
            f"its subject; otherwise name the skeleton ({', '.join(SKELETONS)} or a file)"
        )
    if isinstance(codec, CenterCodec | CornerCodec):
        raise HeatpointError(f"{name} finds joints, which a {type(codec).__name__} cannot say")
    if len(names) != 1:
        raise HeatpointError(
            f"{name} finds the joints of one kind of subject, got {len(names)} names: "
            f"{', '.join(names)}; give one"
        )
    subject, family = names[0], HOURGLASS.fullmatch(name)
    if name in POSE_MODELS:
        return POSE_MODELS[name](subject, skeleton, codec, pretrained)
    if family is None:
        backbone = name.removeprefix(POSE_TIMM_PREFIX)
        return simple_baseline(name, backbone, subject, skeleton, codec, pretrained)
    stacks, blocks = int(family[2]), int(family[3])
    stem = family[1]
    return stacked(
        name, stacks, blocks, "paper" if stem else "bearpaw", subject, skeleton, codec, pretrained
    )
