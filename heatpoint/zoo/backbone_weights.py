"""Loads classification weights from a file into the backbone of a network."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from heatpoint.errors import HeatpointError
from heatpoint.networks import Network
from heatpoint.networks.features import TimmBackbone
from heatpoint.weights import read_tensors

Tensors = Mapping[str, Tensor]

UNIT = (127.5, 127.5, 127.5)

INPUT_OF_FILE: dict[str, tuple[Sequence[float], Sequence[float]]] = {
    # mobilenet_v2_imagenet_dequant.pth, from Google Coral's quantised MobileNetV2
    "e4f85532644f057399c7ef49334535d49f4ed8c6ef4af86592cc56fd50d5a8b5": (UNIT, UNIT),
}
"""Mean and standard deviation (R, G, B, 0-255) of known files by their sha256."""

UNUSED = re.compile(
    r"(fc|classifier|head|conv_head|last_linear|features\.18|bn2|norm_head|level\d\.project)\."
)
"""Tensors behind the last feature map, at the end of a classification network, and those that
DLA's files hold although the network never computes with them."""


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
        Names of the file's tensors that the backbone has no use for, as in ``UNUSED``.

    Raises:
        HeatpointError: The file is unreadable, or has tensors missing, of other shape, or left
            over that are no classifier's.
    """
    found = read_tensors(path)
    backbone = network.backbone
    module: nn.Module = backbone.model if isinstance(backbone, TimmBackbone) else backbone
    own = module.state_dict()
    is_numbered = "features.0.0.weight" in found and "conv_stem.weight" in own
    renamed = {name: mobilenetv2_name(name) if is_numbered else name for name in found}
    tensors = {renamed[name]: tensor for name, tensor in found.items() if renamed[name] in own}
    unused = [name for name in found if renamed[name] not in own]
    misfits = _misfits(own, tensors, [name for name in unused if not UNUSED.match(name)])
    if misfits:
        raise HeatpointError(
            f"{path} does not fit the backbone: tensors {misfits}; choose weights of the same "
            "architecture"
        )
    module.load_state_dict(tensors, strict=False)

    known = INPUT_OF_FILE.get(hashlib.sha256(Path(path).read_bytes()).hexdigest())
    known_mean, known_std = known or (backbone.mean, backbone.std)
    network.set_normalisation(mean or known_mean, std or known_std)
    return unused


@cache
def _mobilenetv2_names() -> dict[str, str]:
    """Returns timm's names of MobileNetV2's tensors by torchvision's.

    torchvision numbers all blocks and the layers in them, timm numbers stages and names layers;
    both have the same layers in the same order (Sandler et al. 2018, table 2).
    """
    import timm
    from torchvision.models import mobilenet_v2

    with torch.device("meta"):  # names without weights
        theirs, ours = mobilenet_v2(), timm.create_model("mobilenetv2_100")
    return dict(zip(theirs.state_dict(), ours.state_dict(), strict=True))


def mobilenetv2_name(name: str) -> str:
    """Returns timm's name for a tensor of torchvision's MobileNetV2; others stay."""
    return _mobilenetv2_names().get(name, name)


def _misfits(own: Tensors, given: Tensors, unknown: Sequence[str]) -> str:
    """Returns which tensors are not as the backbone's own, "" if all are."""
    faults = {
        "missing": [n for n in own if n not in given and not n.endswith("num_batches_tracked")],
        "of another shape": [
            f"{name} is {list(tensor.shape)} instead of {list(own[name].shape)}"
            for name, tensor in given.items()
            if tensor.shape != own[name].shape
        ],
        "unknown": unknown,
    }
    return ", ".join(
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in faults.items()
        if names
    )
