"""Every timm model as a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from heatpoint.errors import HeatpointError, suggest
from heatpoint.networks.network import Backbone


class TimmBackbone(Backbone):
    """Feature maps of a timm model at chosen strides.

    Which of the model's outputs has which stride is read from timm's ``feature_info``, never
    guessed from the position. Layers behind the deepest wanted stride stay, unused.

    Args:
        name: timm's name of the model, with or without a tag of weights.
        strides: Wanted strides, ascending.
        pretrained: Fetches timm's weights for this name, with their mean and standard deviation.

    Raises:
        HeatpointError: timm has no such model, the model has no feature map of a wanted stride,
            or its weights do not exist or cannot be fetched.
    """

    def __init__(self, name: str, strides: Sequence[int], pretrained: bool = False) -> None:
        super().__init__()
        model: Any = create(name, pretrained)
        reductions = [int(reduction) for reduction in model.feature_info.reduction()]
        lacking = sorted(set(strides) - set(reductions))
        if lacking:
            raise HeatpointError(
                f"timm model {name!r} has feature maps of stride {reductions}, but this network "
                f"needs {lacking} too; choose a model with the strides {list(strides)}"
            )
        # Of several outputs with one stride the last is the deepest.
        last = len(reductions) - 1
        self.picked = tuple(last - reductions[::-1].index(stride) for stride in strides)
        self.model = model
        self.reductions = tuple(reductions)
        self.channels_last = getattr(model, "output_fmt", "NCHW") == "NHWC"
        channels = model.feature_info.channels()
        self.channels = tuple(int(channels[index]) for index in self.picked)
        self.strides = tuple(strides)
        self.multiple = max(strides)
        pretrained_cfg = getattr(model, "pretrained_cfg", None) or {}
        if "mean" in pretrained_cfg:
            self.mean = tuple(255.0 * value for value in pretrained_cfg["mean"])
            self.std = tuple(255.0 * value for value in pretrained_cfg["std"])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns one (B, channels[i], H / strides[i], W / strides[i]) per wanted stride."""
        features = self.model(images)
        picked = [features[index] for index in self.picked]
        return [feature.permute(0, 3, 1, 2) for feature in picked] if self.channels_last else picked

    def inner(self, images: Tensor) -> dict[int, Tensor]:
        """Returns all of the model's own feature maps finer than the coarsest wanted one."""
        maps = dict(zip(self.reductions, self.model(images), strict=True))
        return {stride: feature for stride, feature in maps.items() if stride < self.strides[-1]}


def create(name: str, pretrained: bool) -> nn.Module:
    """Returns the timm model ``name`` as an extractor of features."""
    import timm

    architecture = name.split(".")[0]
    if not timm.is_model(architecture):
        raise HeatpointError(
            f"timm has no model {architecture!r}{suggest(architecture, timm.list_models())}"
        )
    if pretrained and not timm.models.is_model_pretrained(name):
        raise HeatpointError(f"timm has no pretrained weights for {name!r}; leave pretrained off")
    try:
        model: nn.Module = timm.create_model(name, pretrained=pretrained, features_only=True)
    except OSError as error:
        raise HeatpointError(
            f"cannot fetch the weights of timm model {name!r} ({error}); "
            "pass a downloaded file as backbone_weights instead"
        ) from error
    return model
