"""Weights in files: published ones by name, tensors of any, and the header of a detector's.

Nothing here opens a connection; ``heatpoint fetch`` does, when asked. The table is read without
PyTorch, for ``heatpoint models``.
"""

from __future__ import annotations

import json
import os
import pickle
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from safetensors import SafetensorError, safe_open

from heatpoint.errors import HeatpointError, suggest
from heatpoint.system.files import atomic_write, check_file, fits
from heatpoint.weights.download import cache_folder
from heatpoint.weights.graphs import read_graph
from heatpoint.weights.packages import Package

if TYPE_CHECKING:
    from torch import Tensor

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Pixels:
    """What a published network sees of a picture: ``(value / 255 - mean) / std`` per channel.

    ``heatpoint convert`` builds it into the network, which then takes RGB from 0 to 255.
    """

    channels: Literal["bgr", "rgb"]
    mean: Triple
    std: Triple


@dataclass(frozen=True)
class Published:
    """One published checkpoint.

    Attributes:
        name: What ``heatpoint fetch`` and every checkpoint argument take.
        architecture: Name in ``zoo.build``.
        layout: Name in ``convert.LAYOUTS``.
        data: What it was trained on; the class names or joints are this data set's.
        classes: Number of classes, or of joints.
        size: Input (height, width) in pixels.
        pixels: Order and normalisation of the channels it was trained with.
        file: The publisher's name of the file.
        address: Where the file is, or "" where a program cannot get it.
        page: The publisher's page.
        by_hand: How to get the file from the page where there is no address.
        sha256: First digits of the publisher's SHA-256, or "" where none is published.
        licence: Licence of the publishing repository.
        score: The published score.
        protocol: Data and test procedure of the score.
        reported: Where the score is published.
        sigma: Width of a joint's target in cells, where it is not the layout's.
        package: Package of the Python index that holds the file, or "" where none does.
        versions: Which versions of it do, as pip writes it.
    """

    name: str
    architecture: str
    layout: str
    data: Literal["COCO", "VOC 07+12", "COCO keypoints", "MPII", "WIDER FACE"]
    classes: int
    size: tuple[int, int]
    pixels: Pixels
    file: str
    page: str
    licence: str
    score: str
    protocol: str
    reported: str
    address: str = ""
    by_hand: str = ""
    sha256: str = ""
    sigma: float | None = None
    package: str = ""
    versions: str = ""

    @property
    def inside(self) -> Package | None:
        """The package that holds the file, if one does."""
        if not self.package:
            return None
        return Package(self.package, self.versions, self.file, self.sha256)

    @property
    def cached(self) -> Path:
        """Where ``heatpoint fetch`` puts the converted checkpoint."""
        return cache_folder() / "weights" / f"{self.name}.safetensors"

    @property
    def original(self) -> Path:
        """Where the publisher's file is downloaded to, and looked for first."""
        return cache_folder() / "downloads" / self.name / self.file


_FACTS = tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))

PIXELS = {
    name: Pixels(one["channels"], tuple(one["mean"]), tuple(one["std"]))
    for name, one in _FACTS["pixels"].items()
}
"""What published networks see of a picture, by name."""

PUBLISHED = {
    name: Published(
        name=name, size=tuple(facts.pop("size")), pixels=PIXELS[facts.pop("pixels")], **facts
    )
    for name, facts in _FACTS["weights"].items()
}
"""Every record by name, in the order of ``published.toml``."""


def published(name: str) -> Published:
    """Returns the record of that name.

    Raises:
        HeatpointError: There is none; suggests the nearest.
    """
    if name not in PUBLISHED:
        raise HeatpointError(
            f"no published weights are called {name!r}{suggest(name, PUBLISHED)} "
            f"(known: {', '.join(PUBLISHED)})"
        )
    return PUBLISHED[name]


def checkpoint_path(checkpoint: str | Path) -> Path:
    """Returns the file that a path, or the name of fetched weights, stands for; fetches nothing.

    A file of that name goes before published weights. Paths of no file are returned as they are.

    Raises:
        HeatpointError: It is the name of weights that were not fetched, or a word much like one.
    """
    path, word = Path(checkpoint), str(checkpoint)
    if os.path.isfile(path):
        return path
    if word not in PUBLISHED:
        hint = suggest(word, PUBLISHED) if path.name == word and not path.suffix else ""
        if hint:
            raise HeatpointError(f"there is no file {word}, and no weights of that name{hint}")
        return path
    cached = PUBLISHED[word].cached
    if not cached.is_file():
        raise HeatpointError(
            f"there is no file {word}; the published weights of that name are not in "
            f"{cached.parent} yet: `heatpoint fetch {word}` gets them"
        )
    return cached


WRAPPERS = ("state_dict", "model_state_dict", "model", "network")
"""Keys under which training programs put the tensors beside epoch, optimiser and so on."""

PREFIXES = ("module.", "model.")
"""What wrappers such as DataParallel put in front of every name."""


def first_bytes(path: Path) -> bytes:
    """Returns the nine bytes that a file begins with; of safetensors eight of length and a brace.

    Raises:
        HeatpointError: The file is missing, or may not be read.
    """
    try:
        with open(check_file(path), "rb") as file:
            return file.read(9)
    except OSError as error:
        raise HeatpointError(f"cannot read {path}: {error.strerror or error}") from error


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Returns the named tensors of a PyTorch, safetensors or ONNX file, unwrapped, on the CPU.

    Raises:
        HeatpointError: The file is missing, cut off, holds no named tensors, or is a pickle that
            needs more than tensors and plain values, which could run code when read.
    """
    import torch
    from safetensors.torch import load_file

    path = Path(path)
    start = first_bytes(path)
    if path.suffix.lower() == ".onnx":
        return unwrapped(read_graph(path), str(path))
    try:
        if start[6:] == b"\x00\x00{":  # header length below 2**48, then JSON
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise HeatpointError(
            f"{path} is not read, because it holds more than tensors and plain values and could "
            f"run code ({reason}); save only model.state_dict() in the program it comes from"
        ) from None
    except Exception as error:  # a damaged file makes torch raise errors of every kind
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HeatpointError(
            f"{path} is cut off or no checkpoint ({reason}); copy or download it again"
        ) from None
    return unwrapped(content, str(path))


def unwrapped(content: Any, source: str) -> dict[str, Tensor]:
    """Returns the named tensors inside a loaded checkpoint, their common prefixes removed.

    Args:
        content: A state dict, or a dict that holds one under a usual key.
        source: How errors call it.

    Raises:
        HeatpointError: There are no named tensors, or some entries are none.
    """
    from torch import Tensor

    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise HeatpointError(f"{source} holds no named tensors but {type(content).__name__}")
    others = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise HeatpointError(
            f"{source} holds no plain state dict: {', '.join(others[:5])} are no tensors; "
            "save model.state_dict() alone"
        )
    tensors: dict[str, Tensor] = {str(key): value for key, value in content.items()}
    for _ in PREFIXES:
        for prefix in PREFIXES:
            if all(key.startswith(prefix) for key in tensors):
                tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


FORMAT_VERSION = 1
"""Version of the file's header; a reader refuses newer ones."""

LEAST = "least_score"
"""Name in a detector's ``meta`` of the score from which on ``predict`` returns results."""

HEADER = "heatpoint"
"""Key of the header in the safetensors metadata."""

LARGEST = 8192
"""Pixels of a side of the default input; a header that asks for more is damaged."""

_PARTS: dict[str, Any] = {"version": int, "codec": dict, "names": list[str], "meta": dict}


def read_header(path: Path) -> dict[str, Any]:
    """Returns the header of a detector file, after making sure that it is one.

    Raises:
        HeatpointError: It is missing, cut off, of another kind or of a newer version.
    """
    start = first_bytes(path)
    is_safetensors = start[8:] == b"{"
    if not is_safetensors and start.startswith((b"PK", b"\x80")):
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


def write_meta(path: Path, name: str, value: object) -> None:
    """Writes one more fact into the header of a detector file, atomically; all else stays.

    Args:
        path: The file.
        name: What the fact is called in ``meta``.
        value: What JSON can hold.

    Raises:
        HeatpointError: It is no such file, or cannot be written.
    """
    from safetensors.torch import load_file, save

    header = read_header(path)
    header["meta"][name] = value
    content = save(load_file(path), {HEADER: json.dumps(header)})
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


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
        _check_part(name, header.get(name), kind, path)
    names, meta = header["names"], header["meta"]
    _check_part("architecture", meta.get("architecture", ""), str, path)
    _check_part("class", header["codec"].get("class"), str, path)
    if not names or len(set(names)) < len(names):
        raise _damaged(path, "its names are none or repeat themselves")
    size = meta.get("size", [1, 1])  # a detector of one's own network need not say
    if not fits(size, list[int]) or len(size) != 2 or not 1 <= min(size) <= max(size) <= LARGEST:
        shown = f"expected a size of height and width up to {LARGEST}, found {size!r:.60}"
        raise _damaged(path, shown)
    bits = meta.get("bits")
    if bits is not None and (not fits(bits, int) or not 1 <= bits <= 16):
        raise _damaged(path, f"expected bits from 1 to 16, found {bits!r:.60}")
    bands = meta.get("bands", [3, "uint8"])
    sound = isinstance(bands, list) and len(bands) == 2 and bands[1] in ("uint8", "uint16")
    if not sound or type(bands[0]) is not int or not 1 <= bands[0] <= LARGEST:
        raise _damaged(path, f"expected channels and uint8 or uint16, found {bands!r:.60}")
    return header


def _check_part(name: str, value: object, kind: Any, path: Path) -> None:
    if not fits(value, kind):
        raise _damaged(path, f"{name} is {'missing' if value is None else f'{value!r:.60}'}")


def _damaged(path: Path, what: str) -> HeatpointError:
    return HeatpointError(
        f"the header of {path} is damaged: {what}; copy the file again, or train or convert anew"
    )
