"""Detectors, and their file: a safetensors file whose header says how to rebuild one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from heatpoint.codecs import Codec
from heatpoint.data.skeleton import SKELETONS, Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.geometry import RGB, Bands, next_multiple
from heatpoint.networks import Network, take_channels
from heatpoint.networks.heads import Producer
from heatpoint.system.files import atomic_write, fits
from heatpoint.views import View
from heatpoint.weights import FORMAT_VERSION, HEADER, LEAST, checkpoint_path, read_header
from heatpoint.zoo.backbone_weights import load_backbone_weights, origin
from heatpoint.zoo.families import find
from heatpoint.zoo.fit import Shapes, check_shapes, fill, outline, shapes_of
from heatpoint.zoo.rows import Model, fitted

SIZE = 512
"""Side of the default input of a detector that does not say."""


@dataclass
class Detector:
    """Everything that is needed to find things, and nothing about training.

    Attributes:
        network: Images to maps.
        codec: Maps to rows.
        names: Class names in the order of the heatmap's channels; for the joints of one subject
            what it is, one name.
        meta: JSON-able facts. ``architecture`` is the name by which ``zoo.build`` makes the
            network (without it, the file is loaded with a network of one's own), ``size`` the
            default input size [height, width], ``bits`` the depth of the 16-bit pictures it was
            trained on, if these declare none, ``bands`` [channels, dtype] where pictures are not
            8-bit RGB, ``least_score`` of results if it was set, and settings of the codec's view,
            such as ``padding``; more may be added, such as the score and the protocol it was
            measured by.
        skeleton: The joints, in the order of the keypoints; None for codecs that learn none.

    Raises:
        HeatpointError: The parts do not belong together.
    """

    network: Network
    codec: Codec
    names: tuple[str, ...]
    meta: dict[str, Any] = field(default_factory=dict)
    skeleton: Skeleton | None = None

    def __post_init__(self) -> None:
        self.names = _checked(self.names)
        learns_joints = "keypoints" in self.codec.learns
        kind = type(self.codec).__name__
        if learns_joints and self.skeleton is None:
            raise HeatpointError(f"a detector with a {kind} needs a skeleton that names its joints")
        if not learns_joints and self.skeleton is not None:
            raise HeatpointError(f"a {kind} finds no joints; leave the skeleton out")
        if self.codec.view.asks and len(self.names) != 1:
            raise HeatpointError(
                f"{self.called} finds the joints of one kind of subject, got {len(self.names)} "
                f"names: {', '.join(self.names)}; give one"
            )
        needed = fitted(self.codec, self.names, self.skeleton).as_dict()
        for name, own in self.codec.as_dict().items():
            # No pairs may be written as none or as joints that all stay.
            if name == "flip" and not own and list(needed[name]) == sorted(needed[name]):
                continue
            if own != needed[name]:
                raise HeatpointError(
                    f"the {kind} is for {name}={own}, but the {len(self.names)} class names"
                    f"{' and the skeleton' if self.skeleton else ''} make {name}={needed[name]}"
                )
        if isinstance(self.network.heads, Producer):
            produced = self.network.heads.channels
            wanted = {spec.name: spec.channels for spec in self.codec.maps}
            if produced != wanted:
                raise HeatpointError(
                    f"the network produces the maps {produced}, but the codec needs {wanted}; "
                    "pass the codec when the network is built"
                )

    @property
    def called(self) -> str:
        """What messages call the detector."""
        return f"this detector ({self.meta.get('architecture', 'of no known architecture')})"

    @property
    def size(self) -> tuple[int, int]:
        """Default input size (height, width) in pixels."""
        if "size" not in self.meta:
            side = next_multiple(SIZE, self.network.multiple, self.network.trim)
            return side, side
        height, width = self.meta["size"]
        return int(height), int(width)

    @property
    def bands(self) -> Bands:
        """What its pictures hold."""
        return Bands(*self.meta["bands"]) if "bands" in self.meta else RGB

    def take(self, bands: Bands) -> None:
        """Makes the network take pictures of other bands; see ``take_channels``.

        Raises:
            HeatpointError: The backbone cannot be adapted.
        """
        take_channels(self.network, bands.channels)
        self.meta.pop("bands", None)
        if bands != RGB:
            self.meta["bands"] = [bands.channels, bands.dtype]

    @property
    def settings(self) -> dict[str, float]:
        """Settings of the codec's view by name: the detector's own, else the view's defaults."""
        view = self.codec.view
        return {name: float(self.meta.get(name, getattr(view, name))) for name in view.settings}

    def save(self, path: str | Path) -> None:
        """Writes weights and header as one safetensors file, atomically.

        Raises:
            HeatpointError: The file cannot be written.
        """
        tensors = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in self.network.state_dict().items()
        }
        content = save(tensors, {HEADER: json.dumps(self.header())})
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)

    def header(self) -> dict[str, Any]:
        """Returns what a file says about the detector, ready for JSON."""
        header = {
            "version": FORMAT_VERSION,
            "codec": self.codec.as_dict(),
            "names": list(self.names),
            "meta": self.meta,
        }
        if self.skeleton is not None:
            header["skeleton"] = self.skeleton.as_dict()
        return header

    @classmethod
    def load(
        cls, path: str | Path, device: str | torch.device = "cpu", network: Network | None = None
    ) -> Detector:
        """Rebuilds a saved detector in evaluation mode; fetches nothing and runs no foreign code.

        Args:
            path: A file, or the name of published weights that ``heatpoint fetch`` got.
            device: Where the network is to be.
            network: A network of one's own, which the tensors are loaded into; without it, the
                architecture that the header names is built.

        Raises:
            HeatpointError: The file is missing, cut off, of another kind or of a newer version,
                its codec is not known, or its tensors do not fit the network.
        """
        path = checkpoint_path(path)
        header, tensors = read_header(path), load_file(path)
        detector = cls.from_header(header, shapes_of(tensors), path, network)
        fill(detector.network, tensors, path)
        detector.network.to(device).eval()
        return detector

    @classmethod
    def from_header(
        cls,
        header: dict[str, Any],
        shapes: Shapes,
        path: str | Path,
        network: Network | None = None,
    ) -> Detector:
        """Builds the detector that a header describes, with random weights.

        Args:
            header: What ``header`` returned.
            shapes: Those of the tensors that belong to it.
            path: The file, for messages.
            network: As for ``load``.

        Raises:
            HeatpointError: The header names no known codec or architecture, or one of other
                tensors; ``path`` is named.
        """
        codec, meta = Codec.from_dict(header["codec"], path), header["meta"]
        stored = header.get("skeleton")
        skeleton = None if stored is None else Skeleton.from_dict(stored, path)
        names = tuple(header["names"])
        if network is None:
            if "architecture" not in meta:
                raise HeatpointError(
                    f"{path} names no architecture; load it with the network that it was made "
                    "with: Detector.load(path, network=...)"
                )
            architecture = meta["architecture"]
            make = partial(build, architecture, names, codec=codec, skeleton=skeleton)

            def made() -> Network:
                fresh: Network = make().network
                take_channels(fresh, meta.get("bands", (3,))[0])
                return fresh

            plain = isinstance(find(architecture), Model)  # a plugin's function may do anything
            with _of_header(path):
                own = outline(made, len(shapes)) if plain else shapes
            check_shapes(own, shapes, path)
            with _of_header(path), torch.random.fork_rng(devices=[]):  # they are overwritten
                network = made()
        with _of_header(path):
            told = (*codec.view.settings, LEAST)
            wrong = [name for name in told if not fits(meta.get(name, 1.0), float)]
            wrong += [LEAST] if not wrong and not 0 <= meta.get(LEAST, 0.0) <= 1 else []
            if wrong:
                raise HeatpointError(f"{wrong[0]} is {meta[wrong[0]]!r:.60}")
            found = cls(network, codec, names, meta, skeleton)
            codec.view(found.size, network.multiple, network.trim, **found.settings)
        return found

    def adapt(self, names: Sequence[str], skeleton: Skeleton | None = None) -> list[str]:
        """Changes classes and joints, keeping what was learnt about those that keep their name.

        Only maps with channels per class or per joint change. A class or joint known by name takes
        its channels along, wherever it now stands; the others start afresh.

        Args:
            names: New class names.
            skeleton: New joints, for codecs that learn some; None keeps them.

        Returns:
            The tensors which hold fresh values, with the classes or joints concerned in brackets
            where others of the tensor were kept; empty if none is new.

        Raises:
            HeatpointError: ``names`` is empty or repeats itself.
        """
        names = _checked(names)
        given = None if skeleton is None else _seen_by(self.codec.view, skeleton)
        joints = given if "keypoints" in self.codec.learns and given else self.skeleton
        codec = fitted(self.codec, names, joints)
        # What the one subject is called changes nothing.
        old_names = names if self.codec.view.asks else self.names
        sources: dict[str, tuple[Sequence[str], Sequence[str]]] = {"class": (old_names, names)}
        if joints is not None and self.skeleton is not None:
            sources["joint"] = (self.skeleton.joints, joints.joints)
        heads = self.network.heads
        fresh: list[str] = []
        for spec in codec.maps:
            if not spec.per:
                continue
            old, new = sources[spec.per]
            if list(old) == list(new):
                continue
            assert isinstance(heads, Producer)
            share = spec.channels // len(new)
            position = {name: index for index, name in enumerate(old)}
            rows = [
                position[name] * share + channel if name in position else None
                for name in new
                for channel in range(share)
            ]
            before = dict(self.network.named_parameters())
            heads.resize(spec, rows)
            started = [name for name in new if name not in position]
            if started:
                which = f" [{', '.join(started)}]" if len(started) < len(new) else ""
                now = self.network.named_parameters()
                fresh += [key + which for key, tensor in now if before.get(key) is not tensor]
        self.codec, self.names, self.skeleton = codec, names, joints
        return fresh


def build(
    name: str,
    names: Sequence[str],
    backbone_weights: str | Path | None = None,
    pretrained: bool = False,
    codec: Codec | None = None,
    skeleton: Skeleton | None = None,
    choices: Mapping[str, Any] | None = None,
) -> Detector:
    """Returns an untrained detector.

    Args:
        name: A key of ``models()``; or a name made by the rule of ``zoo.families``, such as
            ``centernet_deconv:convnext_tiny`` or ``hourglass:3x2``.
        names: Class names; for the joints of one subject one, which says what it is.
        backbone_weights: File of weights for the backbone, or ``package:NAME``; see
            ``load_backbone_weights``. Its name, what it holds beyond the backbone and what is
            known of the package go to ``meta["backbone_weights"]``.
        pretrained: Fetches the backbone's ImageNet weights through timm.
        codec: Representation instead of the model's usual one; the network's stride and trim
            become its own.
        skeleton: The joints to find; models that learn none leave it aside.
        choices: Fields of the codec that are to have other values.

    Raises:
        HeatpointError: Unknown name, a choice that the codec does not have, both sources of
            weights at once, weights that do not exist or do not fit, a codec that the network
            cannot serve, or joints to be found without a skeleton.
    """
    if backbone_weights and pretrained:
        raise HeatpointError(
            "backbone_weights and pretrained are both given; leave one of them out"
        )
    found = find(name)
    if not isinstance(found, Model):
        detector: Detector = found(names, codec, pretrained)
        detector = replace(detector, codec=detector.codec.tuned(name, choices or {}))
        detector.meta.setdefault("architecture", name)
    else:
        joints = None
        if "keypoints" in found.kind.learns and skeleton is not None:
            joints = _seen_by(found.kind.view, skeleton)
        elif "keypoints" in found.kind.learns:
            raise HeatpointError(
                f"{name} finds joints, but was given no skeleton: data that has no joints cannot "
                f"be its subject; otherwise name the skeleton ({', '.join(SKELETONS)} or a file)"
            )
        own, given = found.kind, codec
        if given is not None and (
            not isinstance(given, own) or (given.learns, given.view) != (own.learns, own.view)
        ):
            raise HeatpointError(
                f"{name} is made for a {own.__name__}, not for a {type(given).__name__}; "
                "heatpoint models lists what each model finds"
            )
        if pretrained and not found.imagenet:
            raise HeatpointError(
                f"{name} has no ImageNet weights; leave pretrained off or choose {found.instead}"
            )
        chosen = found.usual(names, joints) if codec is None else codec
        chosen = chosen.tuned(name, choices or {})
        network = found.network(chosen, pretrained)
        values = {"stride": network.stride, "trim": network.trim}
        chosen = chosen.tuned(name, {key: values[key] for key in values if key in chosen.as_dict()})
        settings = {key: getattr(chosen.view, key) for key in chosen.view.settings}
        meta = {"architecture": name, "size": list(found.size), **settings}
        detector = Detector(network, chosen, tuple(names), meta, joints)
    if backbone_weights:
        unused = load_backbone_weights(detector.network, backbone_weights)
        detector.meta["backbone_weights"] = origin(backbone_weights) | {"unused": unused}
    return detector


def _seen_by(view: type[View], skeleton: Skeleton) -> Skeleton:
    """Returns the joints that a model finds: of one subject at a time all, whatever its class."""
    return replace(skeleton, slices=()) if view.asks else skeleton


@contextmanager
def _of_header(path: str | Path) -> Iterator[None]:
    """Says of a mistake that it is in the header of a file."""
    try:
        yield
    except HeatpointError as error:
        raise HeatpointError(
            f"the header of {path} is damaged: {error}; copy the file again, or train or convert "
            "anew"
        ) from None


def _checked(names: Sequence[str]) -> tuple[str, ...]:
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if not names or repeated:
        reason = f"{repeated} occur more than once" if repeated else "there are none"
        raise HeatpointError(f"class names must be different and at least one, but {reason}")
    return tuple(names)
