"""Freezing keeps exactly the layers in front of a feature map."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from heatpoint import zoo
from heatpoint.data.skeleton import skeleton_of
from heatpoint.errors import HeatpointError
from heatpoint.training.optimize import freeze


@pytest.mark.parametrize(
    "model",
    ["centernet_mobilenetv2", "centernet_resnet18", "centernet_dla34_plain", "centernet_tiny"],
)
def test_frozen_layers_do_not_change_and_the_others_do(model: str) -> None:
    torch.manual_seed(0)
    network = zoo.build(model, ["a"]).network
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # the last of a residual starts at 0 and hides the others
    norms = freeze(network.backbone, 4)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    for norm in norms:
        norm.eval()
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    images = torch.rand(2, 3, 64, 64) * 255
    normalised = (images - network.mean[:, None, None]) / network.std[:, None, None]
    fine = network.backbone.inner(normalised)[4]
    sum(maps.square().mean() for maps in network(images)[0].values()).backward()
    optimizer.step()
    assert torch.equal(network.backbone.inner(normalised)[4], fine)
    changed = {n for n, value in network.state_dict().items() if not torch.equal(value, before[n])}
    parameters = dict(network.named_parameters())
    assert {name for name in parameters if not parameters[name].requires_grad}.isdisjoint(changed)
    frozen = sum(p.numel() for p in parameters.values() if not p.requires_grad)
    assert 0 < frozen < 0.1 * sum(p.numel() for p in network.backbone.parameters())
    assert norms
    assert all(n in changed for n, p in parameters.items() if p.requires_grad and "conv" in n)


@pytest.mark.parametrize(
    ("model", "stride"),
    [
        ("centernet_tiny", 32),
        ("centernet_mobilenetv2", 32),
        ("centernet_resnet18", 32),
        ("ttfnet_resnet18", 32),
        ("pose_tiny", 32),
        ("hourglass_1stack", 4),
    ],
)
def test_the_coarsest_stride_freezes_the_whole_backbone(model: str, stride: int) -> None:
    """Of a single hourglass its one map is all there is, so that its heads learn alone."""
    network = zoo.build(model, ["a"], skeleton=skeleton_of("lsp14")).network
    norms = freeze(network.backbone, stride)
    assert not any(parameter.requires_grad for parameter in network.backbone.parameters())
    assert all(parameter.requires_grad for parameter in network.heads.parameters())
    assert len(norms) == sum(hasattr(m, "running_mean") for m in network.backbone.modules())


def test_a_stride_the_backbone_lacks_is_explained() -> None:
    with pytest.raises(HeatpointError, match=r"freeze is a stride .*\(4, 8, 16, 32\), not 3"):
        freeze(zoo.build("centernet_tiny", ["a"]).network.backbone, 3)
