"""The file of a detector: a safetensors file whose header says how to rebuild it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.joints import JointCodec
from heatpoint.errors import HeatpointError
from heatpoint.networks.network import Network

FORMAT_VERSION = 1
"""Version of the file's header; a reader refuses newer ones."""

HEADER = "heatpoint"
"""Key of the header in the safetensors metadata."""

BoxCodec = CenterCodec | CornerCodec
"""Codecs that find boxes."""

AnyCodec = BoxCodec | JointCodec

CODECS: dict[str, type[AnyCodec]] = {
    "CenterCodec": CenterCodec,
    "CornerCodec": CornerCodec,
    "JointCodec": JointCodec,
}
"""Codecs a header may name."""


def read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Returns header and tensors of a detector file; raises as ``read_header``."""
    from safetensors import safe_open

    header = read_header(path)
    with safe_open(path, framework="pt") as opened:
        return header, {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118


def read_header(path: Path) -> dict[str, Any]:
    """Returns the header of a detector file, after making sure that it is one.

    Raises:
        HeatpointError: It is missing, cut off, of another kind or of a newer version.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise HeatpointError(f"there is no file {path}")
    with open(path, "rb") as file:
        start = file.read(9)
    is_safetensors = start[8:] == b"{"  # behind eight bytes of header length
    if not is_safetensors and (start[:2] == b"PK" or start[:1] == b"\x80"):
        raise HeatpointError(
            f"{path} is a PyTorch checkpoint, not a heatpoint detector; "
            "turn it into one with `heatpoint convert`"
        )
    try:
        with safe_open(path, framework="pt") as opened:
            text = (opened.metadata() or {}).get(HEADER)
    except SafetensorError as error:
        raise HeatpointError(
            f"{path} is {'cut off' if is_safetensors else 'not a heatpoint detector'} ({error}); "
            "copy or save it again"
        ) from None
    if text is None:
        raise HeatpointError(
            f"{path} is a safetensors file, but not a heatpoint detector; if it holds published "
            "weights, turn it into one with `heatpoint convert`"
        )
    header: dict[str, Any] = json.loads(text)
    if header["version"] > FORMAT_VERSION:
        raise HeatpointError(
            f"{path} has format version {header['version']}, but this heatpoint reads up to "
            f"{FORMAT_VERSION}; install a newer one"
        )
    return header


def read_codec(header: dict[str, Any], path: Path) -> AnyCodec:
    """Returns the codec that a header describes by its class and fields.

    Raises:
        HeatpointError: This version lacks the class or a field.
    """
    values = dict(header)
    kind = CODECS.get(values.pop("class"))
    known = {part.name for part in dataclasses.fields(kind)} if kind else set()
    unknown = sorted(values.keys() - known)
    if kind is None or unknown:
        raise HeatpointError(
            f"{path} needs the codec {header['class']}({', '.join(unknown)}), which this version "
            "of heatpoint lacks; install a newer one"
        )
    return kind(**values)


def fill(network: Network, tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Loads tensors, which must be exactly those of the network in name and shape.

    Raises:
        HeatpointError: They are not; lists the differences.
    """
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = [
        f"{name}: expected {own.get(name, 'nothing')}, found {found.get(name, 'nothing')}"
        for name in sorted(own.keys() | found.keys())
        if own.get(name) != found.get(name)
    ]
    if wrong:
        shown = "; ".join(wrong[:5]) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise HeatpointError(f"{path} does not fit the architecture it names: {shown}")
    network.to(tensors["mean"].dtype).load_state_dict(tensors)
