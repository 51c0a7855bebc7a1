"""A row of the table of models: a network, its usual codec, its usual size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from heatpoint.codecs.base import Codec
from heatpoint.data.skeleton import SKELETONS, Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.networks.network import Network


@dataclass(frozen=True)
class Model:
    """What a name of the zoo stands for.

    Attributes:
        summary: What it is, in one line.
        kind: The codec that it is made for; the detector's is of this kind.
        usual: Returns the usual codec for class names and a skeleton.
        network: Builds the network for a codec; the second argument says whether the backbone's
            ImageNet weights are fetched through timm.
        size: (H, W) of the usual input in pixels.
        imagenet: Whether there are ImageNet weights.
        instead: What to choose for ImageNet weights where there are none.
    """

    summary: str
    kind: type[Codec]
    usual: Callable[[Sequence[str], Skeleton | None], Codec]
    network: Callable[[Codec, bool], Network]
    size: tuple[int, int]
    imagenet: bool = True
    instead: str = "centernet_mobilenetv2"

    def parts(
        self,
        name: str,
        names: Sequence[str],
        codec: Codec | None,
        pretrained: bool,
        skeleton: Skeleton | None,
    ) -> tuple[Network, Codec, tuple[str, ...], dict[str, Any], Skeleton | None]:
        """Returns the parts of an untrained ``Detector``, in its order.

        Args:
            name: What the header calls the architecture; "" leaves it out.
            names: Class names.
            codec: Instead of the usual one; its stride and trim become the network's.
            pretrained: Fetches the backbone's ImageNet weights through timm.
            skeleton: The joints, for codecs that learn some; others leave it aside.

        Raises:
            HeatpointError: A codec of another kind, no skeleton for joints, or ImageNet weights
                that do not exist.
        """
        called = name or "this model"
        joints = skeleton if "keypoints" in self.kind.learns else None
        if "keypoints" in self.kind.learns and skeleton is None:
            raise HeatpointError(
                f"{called} finds joints, but was given no skeleton: data that has no joints cannot "
                f"be its subject; otherwise name the skeleton ({', '.join(SKELETONS)} or a file)"
            )
        if self.kind.view.asks and len(names) != 1:
            raise HeatpointError(
                f"{called} finds the joints of one kind of subject, got {len(names)} names: "
                f"{', '.join(names)}; give one"
            )
        if codec is not None and not isinstance(codec, self.kind):
            raise HeatpointError(
                f"{called} is made for a {self.kind.__name__}, not for a {type(codec).__name__}; "
                "heatpoint models lists what each model finds"
            )
        if pretrained and not self.imagenet:
            raise HeatpointError(
                f"{called} has no ImageNet weights; leave pretrained off or choose {self.instead}"
            )
        chosen = self.usual(names, joints) if codec is None else codec
        network = self.network(chosen, pretrained)
        values = {"stride": network.stride, "trim": network.trim}
        known = chosen.as_dict()
        fitting = {key: value for key, value in values.items() if known.get(key, value) != value}
        chosen = chosen.tuned(called, fitting)
        view = chosen.view
        settings = {key: getattr(view, key) for key in view.settings}
        meta: dict[str, Any] = {"architecture": name, "size": list(self.size), **settings}
        if not name:
            del meta["architecture"]
        return network, chosen, tuple(names), meta, joints
