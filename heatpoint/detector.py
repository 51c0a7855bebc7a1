"""A detector: network, codec, class names and what else a reader of the file must know."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from heatpoint.codecs.center import CenterCodec
from heatpoint.errors import HeatpointError
from heatpoint.files import atomic_write
from heatpoint.heads import Heads
from heatpoint.network import Network

FORMAT_VERSION = 1
"""Version of the file's header; a reader refuses newer ones."""

HEADER = "heatpoint"
"""Key of the header in the safetensors metadata."""

CODECS = {"CenterCodec": CenterCodec}
"""Codecs a header may name."""


@dataclass
class Detector:
    """Everything that is needed to find objects in images, and nothing about training.

    Attributes:
        network: Images to maps.
        codec: Maps to candidates.
        names: Class names; their order is that of the heatmap's channels.
        meta: JSON-able facts. ``architecture`` is the name by which ``zoo.build`` makes the
            network, ``size`` the default input size [height, width]; more may be added, such as
            the score and the protocol it was measured with.
    """

    network: Network
    codec: CenterCodec
    names: tuple[str, ...]
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = _checked(self.names)
        if self.codec.classes != len(self.names):
            raise HeatpointError(
                f"the codec is for {self.codec.classes} classes, but there are "
                f"{len(self.names)} names"
            )
        if isinstance(self.network.heads, Heads):
            produced = self.network.heads.channels
            needed = {spec.name: spec.channels for spec in self.codec.maps}
            if produced != needed:
                raise HeatpointError(
                    f"the network produces the maps {produced}, but the codec needs {needed}; "
                    "pass the codec when the network is built"
                )

    @property
    def size(self) -> tuple[int, int]:
        """Default input size (height, width) in pixels."""
        height, width = self.meta["size"]
        return int(height), int(width)

    def save(self, path: str | Path) -> None:
        """Writes weights and header as one safetensors file, atomically.

        Raises:
            HeatpointError: The file cannot be written.
        """
        from safetensors.torch import save

        header = {
            "version": FORMAT_VERSION,
            "codec": {"class": type(self.codec).__name__, **dataclasses.asdict(self.codec)},
            "names": list(self.names),
            "meta": self.meta,
        }
        tensors = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in self.network.state_dict().items()
        }
        content = save(tensors, {HEADER: json.dumps(header)})
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu") -> Detector:
        """Rebuilds a saved detector in evaluation mode; fetches nothing and runs no foreign code.

        Raises:
            HeatpointError: The file is missing, cut off, of another kind or of a newer version,
                or its tensors do not fit the architecture it names.
        """
        from heatpoint import zoo

        path = Path(path)
        header, tensors = _read(path)
        codec, meta = _codec(header["codec"], path), header["meta"]
        with torch.random.fork_rng(devices=[]):  # random weights are drawn and overwritten
            detector = zoo.build(meta["architecture"], header["names"], codec=codec)
        detector.meta = meta
        _fill(detector.network, tensors, path)
        detector.network.to(device).eval()
        return detector

    def adapt(self, names: Sequence[str]) -> list[str]:
        """Changes the classes, keeping what was learnt about those that keep their name.

        Only maps with channels per class change. A class known by name takes its channels along,
        wherever it now stands; the others start afresh.

        Args:
            names: New class names.

        Returns:
            The tensors which hold fresh values, with the classes concerned in brackets where
            other classes of the tensor were kept; empty if no class is new.

        Raises:
            HeatpointError: ``names`` is empty or repeats itself.
        """
        new_names = _checked(names)
        if new_names == self.names:
            return []
        new_codec = dataclasses.replace(self.codec, classes=len(new_names))
        more = dataclasses.replace(self.codec, classes=len(new_names) + 1)
        heads = self.network.heads
        assert isinstance(heads, Heads)
        position = {name: index for index, name in enumerate(self.names)}
        fresh_names = [name for name in new_names if name not in position]
        kept_any = len(fresh_names) < len(new_names)
        fresh = []
        for spec, wider in zip(new_codec.maps, more.maps, strict=True):
            per_class = wider.channels - spec.channels
            if per_class == 0:
                continue
            rows: list[int | None] = []
            for name in new_names:
                old = position.get(name)
                rows += [None if old is None else old * per_class + i for i in range(per_class)]
            heads.resize(spec, rows)
            if fresh_names:
                which = f" [{', '.join(fresh_names)}]" if kept_any else ""
                fresh += [f"heads.last.{spec.name}.{part}{which}" for part in ("weight", "bias")]
        self.codec, self.names = new_codec, new_names
        return fresh


def _checked(names: Sequence[str]) -> tuple[str, ...]:
    repeated = sorted({name for name in names if list(names).count(name) > 1})
    if not names or repeated:
        reason = f"{repeated} occur more than once" if repeated else "there are none"
        raise HeatpointError(f"class names must be different and at least one, but {reason}")
    return tuple(names)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Returns header and tensors of a detector file."""
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
            keys = opened.keys()
            tensors = {key: opened.get_tensor(key) for key in keys} if text is not None else {}
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
    return header, tensors


def _codec(header: dict[str, Any], path: Path) -> CenterCodec:
    """Returns the codec that a header describes by its class and fields."""
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


def _fill(network: Network, tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Loads tensors, which must be exactly those of the network in name and shape."""
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
