"""Loads classification weights from a file into the backbone of a network."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from heatpoint.errors import HeatpointError
from heatpoint.networks import Network
from heatpoint.networks.features import TimmBackbone
from heatpoint.weights import read_tensors

UNIT = (127.5, 127.5, 127.5)

INPUT_OF_FILE: dict[str, tuple[Sequence[float], Sequence[float]]] = {
    # mobilenet_v2_imagenet_dequant.pth, from Google Coral's quantised MobileNetV2
    "e4f85532644f057399c7ef49334535d49f4ed8c6ef4af86592cc56fd50d5a8b5": (UNIT, UNIT),
}
"""Mean and standard deviation (R, G, B, 0-255) of known files by their sha256."""

CLASSIFIER = re.compile(r"(fc|classifier|head|conv_head|last_linear|features\.18|bn2|norm_head)\.")
"""Tensors behind the last feature map, at the end of a classification network."""

MOBILENETV2_STAGES = (1, 2, 3, 4, 3, 3, 1)
"""Blocks per stage of MobileNetV2 (Sandler et al. 2018, table 2)."""


def load_backbone_weights(
    network: Network,
    path: str | Path,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> list[str]:
    """Fills the backbone from a file of timm's or torchvision's classification weights.

    Understood are PyTorch and safetensors files, with or without wrapper and ``module.`` prefix,
    whose names are timm's or, for ResNet and MobileNetV2, torchvision's. Every tensor of the
    backbone must be there; counters of batch norms may be missing.

    Args:
        network: Its backbone is filled, and its normalisation set to that of the weights.
        path: The file.
        mean: R, G and B means (0-255) of the images the weights were made for. Without, the
            values known for this very file, else those the backbone declares (ImageNet's).
        std: R, G and B standard deviations (0-255) of the same.

    Returns:
        Names of the file's tensors that the backbone has no use for: the classifier's.

    Raises:
        HeatpointError: The file is unreadable, or has tensors missing, of other shape, or left
            over that are no classifier's.
    """
    found = read_tensors(path)
    backbone = network.backbone
    module: nn.Module = backbone.model if isinstance(backbone, TimmBackbone) else backbone
    own = module.state_dict()
    if "features.0.0.weight" in found and "conv_stem.weight" in own:
        renamed = {name: mobilenetv2_name(name) for name in found}
    else:
        renamed = {name: name for name in found}
    tensors = {renamed[name]: tensor for name, tensor in found.items() if renamed[name] in own}
    unused = [name for name in found if renamed[name] not in own]
    _check_fit(own, tensors, [name for name in unused if not CLASSIFIER.match(name)], path)
    module.load_state_dict(tensors, strict=False)

    known = INPUT_OF_FILE.get(hashlib.sha256(Path(path).read_bytes()).hexdigest())
    known_mean, known_std = known or (backbone.mean, backbone.std)
    network.set_normalisation(mean or known_mean, std or known_std)
    return unused


def mobilenetv2_name(name: str) -> str:
    """Returns timm's name for a tensor of torchvision's MobileNetV2.

    torchvision numbers all blocks and the layers in them, timm numbers stages and names layers.
    The first block has no expanding convolution, which shifts its layers by one.
    """
    match = re.fullmatch(r"features\.(\d+)\.(.+)", name)
    if match is None:
        return name
    index, rest = int(match[1]), match[2]
    if index == 0:
        return _renamed(rest, {"0.": "conv_stem.", "1.": "bn1."})
    stage, block = 0, index - 1
    while stage < len(MOBILENETV2_STAGES) and block >= MOBILENETV2_STAGES[stage]:
        block -= MOBILENETV2_STAGES[stage]
        stage += 1
    if stage == len(MOBILENETV2_STAGES):
        return _renamed(rest, {"0.": "conv_head.", "1.": "bn2."})
    depthwise = {"conv.0.0.": "conv_dw.", "conv.0.1.": "bn1."}
    narrow = {"conv.1.": "conv_pw.", "conv.2.": "bn2."}
    expand = {"conv.0.0.": "conv_pw.", "conv.0.1.": "bn1."}
    rest_of_block = {
        "conv.1.0.": "conv_dw.",
        "conv.1.1.": "bn2.",
        "conv.2.": "conv_pwl.",
        "conv.3.": "bn3.",
    }
    layers = {**depthwise, **narrow} if index == 1 else {**expand, **rest_of_block}
    return f"blocks.{stage}.{block}.{_renamed(rest, layers)}"


def _renamed(name: str, prefixes: Mapping[str, str]) -> str:
    for old, new in prefixes.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _check_fit(
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    left_over: Sequence[str],
    path: str | Path,
) -> None:
    missing = [n for n in own if n not in given and not n.endswith("num_batches_tracked")]
    other = [
        f"{name} is {list(tensor.shape)} instead of {list(own[name].shape)}"
        for name, tensor in given.items()
        if tensor.shape != own[name].shape
    ]
    faults = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (
            ("missing", missing),
            ("of another shape", other),
            ("unknown", left_over),
        )
        if names
    ]
    if faults:
        raise HeatpointError(
            f"{path} does not fit the backbone: tensors {', '.join(faults)}; "
            "choose weights of the same architecture"
        )
