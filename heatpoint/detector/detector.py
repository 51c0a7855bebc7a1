"""A detector: network, codec, names, skeleton and what else a reader of the file must know."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from heatpoint.codecs.joints import JointCodec
from heatpoint.data.skeleton import Skeleton
from heatpoint.detector.file import (
    FORMAT_VERSION,
    HEADER,
    AnyCodec,
    BoxCodec,
    fill,
    read,
    read_codec,
    read_header,
)
from heatpoint.errors import HeatpointError
from heatpoint.networks.heads import Producer
from heatpoint.networks.network import Network
from heatpoint.system.files import atomic_write
from heatpoint.weights import checkpoint_path


@dataclass
class Detector:
    """Everything that is needed to find objects or joints, and nothing about training.

    Attributes:
        network: Images to maps.
        codec: Maps to candidates: a ``CenterCodec`` or a ``CornerCodec`` finds boxes in an image,
            a ``JointCodec`` the joints of the one subject that an image was cropped to.
        names: Class names in the order of the heatmap's channels; for joints what the subject is,
            one name.
        meta: JSON-able facts. ``architecture`` is the name by which ``zoo.build`` makes the
            network, ``size`` the default input size [height, width]; for joints ``padding``, the
            side of a crop over that of its box; more may be added, such as the score and the
            protocol it was measured with.
        skeleton: The joints, in the order of the map's channels; None for boxes.
    """

    network: Network
    codec: AnyCodec
    names: tuple[str, ...]
    meta: dict[str, Any] = field(default_factory=dict)
    skeleton: Skeleton | None = None

    def __post_init__(self) -> None:
        self.names = _checked(self.names)
        if isinstance(self.codec, JointCodec):
            _check_joints(self.codec, self.names, self.skeleton)
        else:
            _check_boxes(self.codec, self.names, self.skeleton)
        if isinstance(self.network.heads, Producer):
            produced = self.network.heads.channels
            needed = {spec.name: spec.channels for spec in self.codec.maps}
            if produced != needed:
                raise HeatpointError(
                    f"the network produces the maps {produced}, but the codec needs {needed}; "
                    "pass the codec when the network is built"
                )

    @property
    def task(self) -> Literal["boxes", "pose"]:
        """What the detector finds: boxes of objects, or the joints of one subject."""
        return "pose" if isinstance(self.codec, JointCodec) else "boxes"

    @property
    def box_codec(self) -> BoxCodec:
        """The codec of a detector of boxes.

        Raises:
            HeatpointError: The detector finds joints.
        """
        if not isinstance(self.codec, JointCodec):
            return self.codec
        raise HeatpointError(
            f"{self._called} finds the joints of a {self.names[0]}, not boxes; use predict_pose "
            "or evaluate_pose, or choose a model that finds boxes"
        )

    @property
    def joint_codec(self) -> JointCodec:
        """The codec of a detector of joints.

        Raises:
            HeatpointError: The detector finds boxes.
        """
        if isinstance(self.codec, JointCodec):
            return self.codec
        raise HeatpointError(
            f"{self._called} finds boxes, not joints; use predict or evaluate, or choose a model "
            "that finds joints"
        )

    @property
    def _called(self) -> str:
        return f"this detector ({self.meta.get('architecture', 'of no known architecture')})"

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
        if self.skeleton is not None:
            header["skeleton"] = self.skeleton.as_dict()
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

        Args:
            path: A file, or the name of published weights that ``heatpoint fetch`` got.
            device: Where the network is to be.

        Raises:
            HeatpointError: The file is missing, cut off, of another kind or of a newer version,
                or its tensors do not fit the architecture it names.
        """
        from heatpoint import zoo

        path = checkpoint_path(path)
        header, tensors = read(path)
        codec, meta = read_codec(header["codec"], path), header["meta"]
        stored = header.get("skeleton")
        skeleton = None if stored is None else Skeleton.from_dict(stored, path)
        with torch.random.fork_rng(devices=[]):  # random weights are drawn and overwritten
            detector = zoo.build(
                meta["architecture"], header["names"], codec=codec, skeleton=skeleton
            )
        detector.meta = meta
        fill(detector.network, tensors, path)
        detector.network.to(device).eval()
        return detector

    def adapt(self, names: Sequence[str]) -> list[str]:
        """Changes the classes of boxes, keeping what was learnt about those that keep their name.

        Only maps with channels per class change. A class known by name takes its channels along,
        wherever it now stands; the others start afresh.

        Args:
            names: New class names.

        Returns:
            The tensors which hold fresh values, with the classes concerned in brackets where
            other classes of the tensor were kept; empty if no class is new.

        Raises:
            HeatpointError: ``names`` is empty or repeats itself, or the detector finds joints.
        """
        codec, new_names = self.box_codec, _checked(names)
        if new_names == self.names:
            return []
        new_codec = dataclasses.replace(codec, classes=len(new_names))
        more = dataclasses.replace(codec, classes=len(new_names) + 1)
        heads = self.network.heads
        assert isinstance(heads, Producer)
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
                tensors = self.network.state_dict()
                fresh += [key + which for key in tensors if f".last.{spec.name}." in key]
        self.codec, self.names = new_codec, new_names
        return fresh

    def adapt_skeleton(self, skeleton: Skeleton) -> list[str]:
        """Changes the joints, keeping what was learnt about those that keep their name.

        Args:
            skeleton: New joints; those known by name take their channels along.

        Returns:
            Names of the joints that start afresh.

        Raises:
            HeatpointError: The detector finds boxes.
        """
        codec, old = self.joint_codec, self.skeleton
        assert old is not None
        rows = [old.joints.index(name) if name in old.joints else None for name in skeleton.joints]
        new_codec = dataclasses.replace(codec, joints=len(skeleton.joints), flip=skeleton.flip)
        heads = self.network.heads
        assert isinstance(heads, Producer)
        if rows != list(range(codec.joints)):
            for spec in new_codec.maps:
                heads.resize(spec, rows)
        self.codec, self.skeleton = new_codec, skeleton
        return [name for name in skeleton.joints if name not in old.joints]


def _checked(names: Sequence[str]) -> tuple[str, ...]:
    repeated = sorted({name for name in names if list(names).count(name) > 1})
    if not names or repeated:
        reason = f"{repeated} occur more than once" if repeated else "there are none"
        raise HeatpointError(f"class names must be different and at least one, but {reason}")
    return tuple(names)


def task_of_file(path: str | Path) -> Literal["boxes", "pose"]:
    """Returns what the detector in a file finds; reads the header only.

    Raises:
        HeatpointError: The file is missing or holds no detector.
    """
    header = read_header(checkpoint_path(path))
    return "pose" if header["codec"]["class"] == "JointCodec" else "boxes"


def _check_boxes(codec: BoxCodec, names: tuple[str, ...], skeleton: Skeleton | None) -> None:
    """Raises HeatpointError unless the parts of a detector of boxes belong together."""
    if codec.classes != len(names):
        raise HeatpointError(
            f"the codec is for {codec.classes} classes, but there are {len(names)} names"
        )
    if skeleton is not None:
        raise HeatpointError("a detector of boxes has no joints; leave the skeleton out")


def _check_joints(codec: JointCodec, names: tuple[str, ...], skeleton: Skeleton | None) -> None:
    """Raises HeatpointError unless the parts of a detector of joints belong together."""
    if skeleton is None:
        raise HeatpointError("a detector of joints needs a skeleton that names them")
    if codec.joints != len(skeleton.joints):
        raise HeatpointError(
            f"the codec is for {codec.joints} joints, but the skeleton has {len(skeleton.joints)}"
        )
    if (codec.flip or tuple(range(codec.joints))) != skeleton.flip:
        raise HeatpointError(
            f"the codec's flip {codec.flip} is not that of the skeleton, {skeleton.flip}"
        )
    if len(names) != 1:
        raise HeatpointError(
            f"a detector of joints knows one kind of subject, got {len(names)} names: "
            f"{', '.join(names)}"
        )
