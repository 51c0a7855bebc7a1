"""The ResNet-50 variant that bubbliiiing's centernet-pytorch was published with."""

from __future__ import annotations

from typing import Any

from torch import nn

from heatpoint.networks.timm import TimmBackbone


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
