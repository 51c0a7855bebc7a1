from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from heatpoint import zoo
from heatpoint.codecs import MapSpec
from heatpoint.data.skeleton import SKELETONS
from heatpoint.errors import HeatpointError
from heatpoint.networks import Network
from heatpoint.networks.fast import _halving_pays, fast
from heatpoint.networks.features import PlainResNet
from heatpoint.networks.heads import SharedHeads


def randomised(network: Network) -> Network:
    """Gives batch norms statistics and weights as training would."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
        if isinstance(module, nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=0.05, generator=generator)
    return network.train()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def assert_same(network: Network, copied: Network, tolerance: float) -> None:
    side = network.multiple
    images = torch.randint(0, 256, (2, 3, side, 2 * side), dtype=torch.uint8)
    with torch.no_grad():
        expected, found = network.eval()(images)[0], copied(images)[0]
    for name, value in expected.items():
        difference = (found[name].float() - value).abs().max()
        assert difference <= tolerance * value.abs().max(), name


# Stacked hourglasses keep norms that no convolution feeds: see test_stacked_hourglass.py.
# Norms behind a concatenation stay too: see test_lite_models.py.
UNLIKE = "hourglass|resdcn101|darknet53|squeeze|_saccade"
FOLDABLE = [name for name in zoo.models() if not re.search(UNLIKE, name)]


@pytest.mark.parametrize("name", [*FOLDABLE, "centernet_timm:mobilenetv3_small_050"])
def test_copies_compute_the_same_without_batch_norms(name: str) -> None:
    torch.manual_seed(0)
    names = ["person"] if zoo.learns_joints(name) else ["cat", "dog"]
    network = randomised(zoo.build(name, names, skeleton=SKELETONS["mpii16"]).network)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    copied = fast(network, "fp32")
    assert norms(copied) == 0 < norms(network)
    assert not copied.training
    assert network.training
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    assert_same(network, copied, 1e-4)
    after = network.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)
    four = [p for p in copied.parameters() if p.ndim == 4]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in four)


@pytest.mark.parametrize("name", ["centernet_tiny", "cornernet_tiny", "pose_tiny", "hourglass:2x1"])
def test_bfloat16_keeps_normalisation_and_maps_in_float32(name: str) -> None:
    torch.manual_seed(0)
    names = ["person"] if zoo.learns_joints(name) else ["cat"]
    network = randomised(zoo.build(name, names, skeleton=SKELETONS["lsp14"]).network)
    copied = fast(network, "bf16")
    assert torch.equal(copied.mean, network.mean)
    side = 2 * network.multiple - network.trim
    image = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    whole, half = network.eval()(image)[-1], copied(image)[-1]
    assert {values.dtype for values in half.values()} == {torch.float32}
    exact = [p for p in copied.parameters() if p.dtype == torch.float32]
    assert len(exact) == 2 * len(whole)  # weight and bias of each map
    assert {p.dtype for p in copied.parameters()} == {torch.float32, torch.bfloat16}
    kept = {tuple(p.flatten().tolist()) for p in network.parameters()}
    assert all(tuple(p.flatten().tolist()) in kept for p in exact)
    for key, values in whole.items():
        error = (half[key] - values).abs().max()
        assert 0 < error <= 0.1 * values.abs().max(), key


@pytest.mark.parametrize("pays", [True, False])
def test_auto_takes_bfloat16_only_where_the_cpu_is_faster_in_it(
    monkeypatch: pytest.MonkeyPatch, pays: bool
) -> None:
    network = zoo.build("centernet_tiny", ["cat"]).network
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    monkeypatch.setattr("heatpoint.networks.fast._halving_pays", lambda: pays)
    for tiles, vectors in ((True, False), (False, True), (True, True), (False, False)):
        for name, here in zip(names, (tiles, vectors), strict=True):
            monkeypatch.setattr(torch.cpu, name, lambda here=here: here, raising=False)
        expected = torch.bfloat16 if tiles or (vectors and pays) else torch.float32
        assert next(fast(network).parameters()).dtype == expected
    for name in names:
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert next(fast(network).parameters()).dtype == torch.float32


@pytest.mark.parametrize("slow", [torch.float32, torch.bfloat16])
def test_whether_bfloat16_pays_is_measured(
    monkeypatch: pytest.MonkeyPatch, slow: torch.dtype
) -> None:
    now, product = [0.0], torch.Tensor.__matmul__

    def slower(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        now[0] += 2.0 if first.dtype == slow else 1.0
        assert torch.get_num_threads() == 1  # two would wait for each other on a busy machine
        return product(first, second)

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    monkeypatch.setattr(torch.Tensor, "__matmul__", slower)
    _halving_pays.cache_clear()
    threads = torch.get_num_threads()
    try:
        assert _halving_pays() is (slow == torch.float32)
        assert torch.get_num_threads() == threads
    finally:
        _halving_pays.cache_clear()


def test_unknown_precision() -> None:
    network = zoo.build("centernet_tiny", ["cat"]).network
    with pytest.raises(HeatpointError, match="must be one of auto, fp32, bf16, fp16, got 'fp8'"):
        fast(network, "fp8")  # type: ignore[arg-type]


class Neck(nn.Module):
    """Has a grouped transposed convolution, and may use its output behind the batch norm's back."""

    def __init__(self, channels: int, reuse: bool) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels, channels, 4, 2, 1, groups=2)
        self.norm = nn.BatchNorm2d(channels)
        self.reuse = reuse

    def forward(self, features: list[Tensor]) -> Tensor:
        up = self.up(features[-1])
        return self.norm(up) + up if self.reuse else torch.relu(self.norm(up))


@pytest.mark.parametrize("reuse", [False, True])
def test_folding_is_undone_where_it_would_change_the_result(reuse: bool) -> None:
    torch.manual_seed(0)
    heads = SharedHeads(8, (MapSpec("heatmap", 2),), 8)
    network = randomised(
        Network(PlainResNet(stem=4, channels=(8, 8)), Neck(8, reuse), heads, stride=4)
    )
    copied = fast(network, "fp32")
    assert norms(copied) == (norms(network) if reuse else 0)
    assert_same(network, copied, 1e-4)
