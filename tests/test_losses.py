from __future__ import annotations

import pytest
import torch
from golden_files import tensors
from torch import Tensor

from heatpoint.codecs import losses
from heatpoint.codecs.losses import best_constant, focal_loss, giou_loss, l1_loss


def _lists(heatmap: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns cells, values, starts and peaks of a dense target (B, C, h, w)."""
    flat = heatmap.reshape(-1)
    cells = flat.nonzero()[:, 0]
    planes = heatmap.shape[0] * heatmap.shape[1]
    edges = torch.arange(planes + 1) * (flat.numel() // planes)
    return cells, flat[cells], torch.searchsorted(cells, edges), (flat == 1).nonzero()[:, 0]


def _focal(logits: Tensor, heatmap: Tensor, clamp: float | None = None) -> Tensor:
    """Runs the library's loss on a dense target, divided by the number of positives."""
    lists = _lists(heatmap)
    scale = 1 / torch.tensor(len(lists[-1])).double().clamp(min=1)
    return focal_loss(logits, *lists, scale, clamp)


def _dense(logits: Tensor, heatmap: Tensor) -> Tensor:
    """The definition, written out."""
    p, heatmap = torch.sigmoid(logits), heatmap.to(logits.dtype)
    yes, no = torch.nn.functional.logsigmoid(logits), torch.nn.functional.logsigmoid(-logits)
    positive = heatmap == 1
    cost = torch.where(positive, -((1 - p) ** 2) * yes, -((1 - heatmap) ** 4) * p**2 * no)
    return cost.sum() / positive.sum().clamp(min=1)


def _close_to_largest(found: Tensor, expected: Tensor, tolerance: float) -> None:
    assert (found - expected).abs().max() <= tolerance * expected.abs().max() + 1e-30


@pytest.mark.parametrize("without", ["", "_without_positive"])
def test_focal_equals_the_published_numbers(without: str) -> None:
    data = tensors("losses_centernet")
    logits = data["logits"].double().requires_grad_()
    loss = _focal(logits, data["heatmap" + without], 1e-4)
    loss.backward()
    assert loss.item() == pytest.approx(float(data[f"focal{without}_value"]), rel=1e-6)
    assert logits.grad is not None
    expected = data[f"focal{without}_gradient"]
    _close_to_largest(logits.grad, expected, 1e-6)
    clamped = (logits.detach().sigmoid() - 0.5).abs() > 0.5 - 1e-4
    assert clamped.any()
    assert (logits.grad[clamped] == 0).all()


def test_focal_equals_the_dense_port() -> None:
    data = tensors("dense_targets_and_losses")
    p = data["probability"].double()
    logits = torch.logit(p).requires_grad_()
    heatmap = data["focal_target"].permute(0, 3, 1, 2).contiguous()
    loss = _focal(logits, heatmap, 1e-6)
    loss.backward()
    # The port computes in float32, for which the tolerance is 1e-5.
    assert loss.item() == pytest.approx(float(data["focal_value"]), rel=1e-5)
    assert logits.grad is not None
    inside = (p > 1e-6) & (p < 1 - 1e-6)
    found = torch.where(inside, logits.grad / (p * (1 - p)), 0)
    expected = data["focal_gradient"].double()
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("block", [1, 200, 1 << 17])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_focal_equals_its_definition(
    block: int, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "BLOCK_CELLS", block)
    generator = torch.Generator().manual_seed(0)
    values = 6 * torch.randn(3, 4, 9, 11, generator=generator, dtype=torch.float64)
    values[0, 0, 0] = torch.linspace(-50, 50, 11)
    heatmap = torch.rand(3, 4, 9, 11, generator=generator)
    heatmap[heatmap < 0.4] = 0
    heatmap[:, 1] = 0
    heatmap[heatmap > 0.95] = 1
    found = values.clone(memory_format=layout).requires_grad_()
    expected = values.clone().requires_grad_()
    loss, reference = _focal(found, heatmap), _dense(expected, heatmap)
    (3 * loss).backward()
    (3 * reference).backward()
    assert found.grad is not None
    assert expected.grad is not None
    torch.testing.assert_close(loss, reference, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-9, atol=1e-13)
    with torch.no_grad():
        assert _focal(found, heatmap).item() == loss.item()


def test_overlapping_blobs_count_with_their_largest_value() -> None:
    logits = torch.full((1, 1, 1, 3), 0.3, dtype=torch.float64)
    cells, values = torch.tensor([1, 1, 1, 2]), torch.tensor([0.2, 0.9, 0.4, 1.0])
    starts, peaks = torch.tensor([0, 4]), torch.tensor([2])
    loss = focal_loss(logits, cells, values, starts, peaks, torch.tensor(1.0))
    expected = _dense(logits, torch.tensor([[[[0.0, 0.9, 1.0]]]]))
    torch.testing.assert_close(loss, expected, rtol=1e-7, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("level", [-50.0, -2.19, 20.0, 50.0, 1e4])
@pytest.mark.parametrize("target", [0.0, 0.5, 1.0])
def test_focal_is_finite_and_accurate(dtype: torch.dtype, level: float, target: float) -> None:
    logits = torch.full((1, 2, 4, 4), level, dtype=dtype).requires_grad_()
    heatmap = torch.zeros(1, 2, 4, 4)
    heatmap[0, 1, 2, 2] = target
    loss = _focal(logits, heatmap)
    loss.backward()
    exact = logits.detach().double().requires_grad_()
    reference = _dense(exact, heatmap)
    reference.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(reference.item(), rel=1e-5, abs=1e-30)
    assert logits.grad is not None
    assert exact.grad is not None
    assert logits.grad.dtype == dtype
    precision = 1e-5 if dtype == torch.float32 else 1e-2
    _close_to_largest(logits.grad.double(), exact.grad, precision)


@pytest.mark.parametrize("peaks", [1, 5, 40])
def test_the_best_constant_has_the_least_loss_of_all_maps_without_places(peaks: int) -> None:
    heatmap = torch.zeros(1, 1, 64, 64)
    heatmap.view(-1)[torch.arange(peaks) * 97] = 1.0
    best = best_constant(peaks / heatmap.numel())
    tried = torch.linspace(-12, 3, 301, dtype=torch.float64)
    costs = [_focal(torch.full_like(heatmap, level), heatmap).item() for level in tried.tolist()]
    assert _focal(torch.full_like(heatmap, best), heatmap).item() <= 1.01 * min(costs)


def test_where_peaks_are_everywhere_a_constant_is_no_surer_than_half() -> None:
    assert best_constant(1.0) == 0.0
    assert best_constant(1e-4) < best_constant(1e-3) < 0


def test_backward_may_run_twice() -> None:
    logits = torch.randn(1, 1, 5, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = _focal(logits, torch.zeros(1, 1, 5, 5))
    (once,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (again,) = torch.autograd.grad(2 * loss, logits, retain_graph=True)
    (third,) = torch.autograd.grad(loss, logits)
    assert torch.equal(again, 2 * once)
    assert torch.equal(third, once)


def test_l1_equals_the_published_numbers() -> None:
    data = tensors("losses_centernet")
    maps = data["map"].double().requires_grad_()
    mask = data["mask"].bool()
    image = mask.nonzero()[:, 0]
    cell = data["index"][mask]
    predicted = maps.flatten(2)[image, :, cell]
    weight = torch.ones(len(cell))
    target = data["target"][mask]
    loss = l1_loss(predicted, target, weight, 2 * weight.sum().double() + 1e-4)
    loss.backward()
    assert loss.item() == pytest.approx(float(data["masked_l1_value"]), rel=1e-6)
    assert maps.grad is not None
    _close_to_largest(maps.grad, data["masked_l1_gradient"], 1e-6)
    none = l1_loss(predicted[:0], target[:0], weight[:0], torch.tensor(1e-4))
    assert none.item() == float(data["masked_l1_empty_value"])


def test_l1_equals_the_dense_port() -> None:
    data = tensors("dense_targets_and_losses")
    maps = data["map"].double().requires_grad_()
    image, row, column = data["map_mask"].nonzero().unbind(1)
    predicted = maps[image, :, row, column]
    target = data["map_target"][image, row, column]
    weight = torch.ones(len(image))
    loss = l1_loss(predicted, target, weight, weight.sum().double() + 1e-4)
    loss.backward()
    assert loss.item() == pytest.approx(float(data["l1_value"]), rel=1e-6)
    assert maps.grad is not None
    _close_to_largest(maps.grad, data["l1_gradient"].double(), 1e-6)


def test_giou_of_known_boxes() -> None:
    target = torch.tensor([[0.0, 0, 2, 2]]).repeat(4, 1)
    predicted = torch.tensor([[0.0, 0, 2, 2], [1, 0, 3, 2], [3, 0, 4, 2], [2, 2, 0, 0]])
    one = torch.tensor(1.0)
    costs = [
        giou_loss(predicted[i : i + 1], target[i : i + 1], torch.ones(1), one).item()
        for i in range(4)
    ]
    # Same box; IoU 2 / 6, hull 6; IoU 0, union 6 of hull 8; an inverted box is empty.
    assert costs == pytest.approx([0, 1 - 1 / 3, 1 + 2 / 8, 1.0])
    halved = giou_loss(predicted[1:3], target[1:3], torch.tensor([1.0, 0.5]), torch.tensor(2.0))
    assert halved.item() == pytest.approx((costs[1] + 0.5 * costs[2]) / 2)
