from __future__ import annotations

from typing import Any

import pytest
import torch
from deformed import deformed_detector, spread
from torch import Tensor, nn

from heatpoint.networks.deformable import DeformConv, by_operator, by_taps
from heatpoint.networks.fast import fast


def inputs(
    shape: tuple[int, int, int, int] = (2, 5, 7, 9), dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """Returns features, offsets, mask, weight and bias, all of which learn.

    Every other line of taps lies on whole numbers, some of them on the border and beyond.
    """
    batch, channels, height, width = shape
    chance = torch.Generator().manual_seed(0)
    offset = 3 * torch.randn(batch, 18, height, width, dtype=dtype, generator=chance)
    offset[:, :, ::2] = offset[:, :, ::2].round()
    offset[:, :, -1, 0], offset[:, :, -1, -1] = 1e9, -1e9
    drawn = [
        torch.randn(shape, dtype=dtype, generator=chance),
        offset,
        torch.rand(batch, 9, height, width, dtype=dtype, generator=chance),
        torch.randn(6, channels, 3, 3, dtype=dtype, generator=chance),
        torch.randn(6, dtype=dtype, generator=chance),
    ]
    return [each.requires_grad_() for each in drawn]


def both_ways(way: Any, given: list[Tensor]) -> list[Tensor]:
    """Returns the output and the gradients of all that is given."""
    output = way(*given)
    outer = torch.randn(
        output.shape, dtype=output.dtype, generator=torch.Generator().manual_seed(1)
    )
    return [output.detach(), *torch.autograd.grad(output, given, outer)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(2, 5, 7, 9), (1, 3, 1, 1), (3, 4, 2, 11)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_both_ways_are_equal(
    shape: tuple[int, int, int, int], dtype: torch.dtype, layout: torch.memory_format
) -> None:
    given = inputs(shape, dtype)
    given[0] = given[0].detach().contiguous(memory_format=layout).requires_grad_()
    found, wanted = both_ways(by_taps, given), both_ways(by_operator, given)
    close = 1e-5 if dtype == torch.float32 else 1e-13
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one, other, rtol=0, atol=close * float(other.abs().max() + 1))


def test_taps_on_the_border_have_the_gradient_of_the_operator() -> None:
    given = inputs((1, 2, 4, 4), torch.float64)
    for side in (-1, 0, 3, 4):  # cells of the top left tap, whose own place is (-1, -1)
        given[1] = torch.full((1, 18, 4, 4), side + 1.0, dtype=torch.float64, requires_grad=True)
        found, wanted = both_ways(by_taps, given), both_ways(by_operator, given)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("way", [by_taps, by_operator])
def test_offsets_and_sampling_stay_in_float32(way: Any) -> None:
    layer, seen = DeformConv(4, 6), []
    spread(layer)

    def watched(*given: Any) -> Tensor:
        seen.append(given)
        output: Tensor = way(*given)
        return output

    layer.way = watched
    features = torch.randn(2, 4, 9, 9).bfloat16()
    wanted = layer(features.float())
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(features)
    half = layer.bfloat16()(features)
    for output in (found, half):
        assert output.dtype == torch.bfloat16
    exact, mixed, low = seen
    for values in (*mixed[:3], *low[:3]):
        assert values.dtype == torch.float32
    assert torch.equal(mixed[1], exact[1])
    torch.testing.assert_close(found.float(), wanted, rtol=0.02, atol=0.02)
    assert layer.double()(features.double()).dtype == torch.float64


def test_half_precision_keeps_offsets_and_folding_keeps_values() -> None:
    network = deformed_detector().network
    network.neck.norm.running_mean.fill_(0.1)  # type: ignore[union-attr, operator]
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        wanted = network(images)[-1]
        for precision, close in (("fp32", 1e-5), ("bf16", 0.02)):
            copied = fast(network, precision)  # type: ignore[arg-type]
            assert not any(isinstance(module, nn.BatchNorm2d) for module in copied.modules())
            assert copied.neck.first.offset.weight.dtype == torch.float32  # type: ignore[union-attr]
            for name, values in copied(images)[-1].items():
                torch.testing.assert_close(values, wanted[name], rtol=0, atol=close)


@pytest.mark.parametrize("way", [by_taps, by_operator])
def test_compiled_layers_compute_the_same(way: Any) -> None:
    layer = DeformConv(4, 6)
    spread(layer)
    layer.way = way
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    features = torch.randn(2, 4, 6, 8, requires_grad=True)
    found, wanted = (both_ways(each, [features]) for each in (compiled, layer))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("way", [by_taps, by_operator])
def test_an_empty_batch_is_none_the_worse(way: Any) -> None:
    layer = DeformConv(4, 6)
    layer.way = way
    features = torch.zeros(0, 4, 5, 7, requires_grad=True)
    output = layer(features)
    output.sum().backward()
    assert output.shape == (0, 6, 5, 7)
    assert features.grad is not None


def test_offsets_that_are_no_numbers_do_not_go_unnoticed() -> None:
    layer = DeformConv(4, 6)
    with torch.no_grad():
        layer.offset.bias[0] = float("nan")  # type: ignore[index]
    assert layer(torch.randn(1, 4, 5, 7)).isnan().all()


def test_without_offsets_it_is_half_a_convolution() -> None:
    layer, features = DeformConv(4, 6), torch.randn(1, 4, 5, 7)
    wanted = nn.functional.conv2d(features, layer.weight / 2, layer.bias, padding=1)
    torch.testing.assert_close(layer(features), wanted, rtol=1e-5, atol=1e-6)
