"""Loads classification weights from a file or a package into the backbone of a network."""

from __future__ import annotations

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
from heatpoint.weights.download import digest
from heatpoint.weights.packages import PREFIX, PackagedBackbone, packaged

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


def load_backbone_weights(network: Network, path: str | Path) -> list[str]:
    """Fills the backbone from a file of timm's or torchvision's classification weights.

    Understood are PyTorch and safetensors files, with or without wrapper and ``module.`` prefix,
    whose names are timm's or, for ResNet and MobileNetV2, torchvision's; and the files in known
    packages. Every tensor of the backbone must be there; counters of batch norms may be missing.

    Args:
        network: Its backbone is filled, and its normalisation set to the values known for this
            very file, else to those the backbone declares (ImageNet's).
        path: The file, or ``package:NAME`` for the file in a package of ``packages.BACKBONES``.

    Returns:
        Names of the file's tensors that the backbone has no use for, as in ``UNUSED``.

    Raises:
        HeatpointError: The file is unreadable, or has tensors missing, of other shape, or left
            over that are no classifier's; or the package is unknown, not installed, or made for
            another backbone.
    """
    record, backbone = packaged(str(path)), network.backbone
    if record is not None:
        _check_architecture(record, network)
    file = Path(path) if record is None else record.path()
    found = read_tensors(file)
    module: nn.Module = backbone.model if isinstance(backbone, TimmBackbone) else backbone
    own = module.state_dict()
    is_numbered = "features.0.0.weight" in found and "conv_stem.weight" in own
    if record is not None:  # its file, which is known by its hash, has timm's order
        renamed = dict(zip(found, _names(record.backbone), strict=True))
    else:
        renamed = {name: mobilenetv2_name(name) if is_numbered else name for name in found}
    tensors = {renamed[name]: tensor for name, tensor in found.items() if renamed[name] in own}
    unused = [name for name in found if renamed[name] not in own]
    misfits = _misfits(own, tensors, [n for n in unused if not UNUSED.match(renamed[n])])
    if misfits:
        raise HeatpointError(
            f"{path} does not fit the backbone: tensors {misfits}; choose weights of the same "
            "architecture"
        )
    module.load_state_dict(tensors, strict=False)

    known = (record.mean, record.std) if record else INPUT_OF_FILE.get(digest(file))
    network.set_normalisation(*(known or (backbone.mean, backbone.std)))
    return unused


def origin(path: str | Path) -> dict[str, str]:
    """Returns what is known of a file of backbone weights, or of ``package:NAME``, for records."""
    record = packaged(str(path))
    if record is None:
        return {"file": Path(path).name}
    return {key: getattr(record, key) for key in ("file", "sha256", "licence", "reported")} | {
        "package": record.name
    }


TRUNKS = (
    *("mobilenetv2_100", "resnet18", "resnet34", "resnet50", "resnet101", "resnet18d", "dla34"),
    *("mobilenetv3_large_100", "mobilenetv4_conv_small", "hgnetv2_b0", "efficientvit_b1"),
)
"""Networks of timm that a file is compared with where no model was named, the first ones first."""


def trunk_of(path: str | Path) -> str:
    """Returns timm's name of the network that a file of weights, or ``package:NAME``, belongs to.

    Raises:
        HeatpointError: The file is unreadable, or of none of ``TRUNKS``.
    """
    record = packaged(str(path))
    if record is not None:
        return record.backbone
    import timm

    found = {mobilenetv2_name(name): tensor for name, tensor in read_tensors(path).items()}
    for trunk in TRUNKS:
        with torch.device("meta"):
            own = timm.create_model(trunk).state_dict()
        needed = {name: tensor for name, tensor in own.items() if not UNUSED.match(name)}
        if not _misfits(needed, {n: found[n] for n in needed.keys() & found.keys()}, ()):
            return trunk
    raise HeatpointError(
        f"{path} is of none of the networks that are known by their tensors "
        f"({', '.join(TRUNKS)}); say with model which one is trained, such as "
        "centernet_topdown:NAME with timm's name of it"
    )


def trunk_in(network: Network) -> str:
    """Returns timm's name of a network's backbone, of one of ours the name of its class."""
    facts = getattr(getattr(network.backbone, "model", None), "pretrained_cfg", None) or {}
    return str(facts.get("architecture", type(network.backbone).__name__))


def _check_architecture(record: PackagedBackbone, network: Network) -> None:
    """Raises HeatpointError unless the backbone is the one that a package's weights belong to."""
    found = trunk_in(network)
    if found != record.backbone:
        raise HeatpointError(
            f"{PREFIX}{record.name} holds the weights of {record.backbone}, but this model's "
            f"backbone is {found}; choose --model centernet_topdown:{record.backbone}, or another "
            "model with that backbone"
        )


def _names(backbone: str) -> list[str]:
    """Returns the names of all tensors of a timm model, in its order."""
    import timm

    with torch.device("meta"):  # names without weights
        return list(timm.create_model(backbone).state_dict())


@cache
def _mobilenetv2_names() -> dict[str, str]:
    """Returns timm's names of MobileNetV2's tensors by torchvision's.

    torchvision numbers all blocks and the layers in them, timm numbers stages and names layers;
    both have the same layers in the same order (Sandler et al. 2018, table 2).
    """
    from torchvision.models import mobilenet_v2

    with torch.device("meta"):
        theirs = mobilenet_v2().state_dict()
    return dict(zip(theirs, _names("mobilenetv2_100"), strict=True))


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
