"""The file of a detector: a safetensors file whose header says how to rebuild it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from heatpoint.errors import HeatpointError
from heatpoint.networks.network import Network
from heatpoint.system.files import fits

FORMAT_VERSION = 1
"""Version of the file's header; a reader refuses newer ones."""

HEADER = "heatpoint"
"""Key of the header in the safetensors metadata."""

LARGEST = 8192
"""Pixels of a side of the default input; a header that asks for more is damaged."""

_PARTS: dict[str, Any] = {"version": int, "codec": dict, "names": list[str], "meta": dict}


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
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError as error:
        raise HeatpointError(f"cannot read {path}: {error.strerror or error}") from error
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
    return check_header(text, path)


def check_header(text: str, path: Path) -> dict[str, Any]:
    """Returns the header of a detector, whole and sound, before anything is built from it.

    Args:
        text: The header as JSON.
        path: The file it stands in, for messages.

    Raises:
        HeatpointError: It is damaged, or of a newer version.
    """
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"no JSON ({error})") from None
    if not isinstance(header, dict):
        raise _damaged(path, f"expected an object, found {type(header).__name__}")
    version = header.get("version")
    if type(version) is int and version > FORMAT_VERSION:
        raise HeatpointError(
            f"{path} has format version {version}, but this heatpoint reads up to "
            f"{FORMAT_VERSION}; install a newer one"
        )
    for name, kind in _PARTS.items():
        if not fits(header.get(name), kind):
            raise _damaged(path, f"{name} is {_short(header.get(name))}")
    names, meta = header["names"], header["meta"]
    if not names or len(set(names)) < len(names):
        raise _damaged(path, "its names are none or repeat themselves")
    size = meta.get("size", [1, 1])  # a detector of one's own network need not say
    if not fits(size, list[int]) or len(size) != 2 or not 1 <= min(size) <= max(size) <= LARGEST:
        raise _damaged(
            path, f"expected a size of height and width up to {LARGEST}, found {_short(size)}"
        )
    for key, value in (
        ("architecture", meta.get("architecture", "")),
        ("class", header["codec"].get("class")),
    ):
        if not fits(value, str):
            raise _damaged(path, f"{key} is {_short(value)}")
    return header


def _damaged(path: Path, what: str) -> HeatpointError:
    return HeatpointError(
        f"the header of {path} is damaged: {what}; copy the file again, or train or convert anew"
    )


def _short(value: object) -> str:
    """Returns a value as a message shows it."""
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


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
    if not tensors["mean"].is_floating_point():
        raise HeatpointError(f"{path} holds {tensors['mean'].dtype} where weights are floating")
    network.to(tensors["mean"].dtype).load_state_dict(tensors)
