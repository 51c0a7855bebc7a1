from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from heatpoint.errors import HeatpointError
from heatpoint.networks.corner_pool import Direction, at_most, corner_pool, line_pool

DIRECTIONS = get_args(Direction)


@pytest.fixture(autouse=True, params=["line by line", "at once, as on a GPU"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "line by line":
        monkeypatch.setattr("heatpoint.networks.corner_pool._at_once", lambda values: True)


every_direction = pytest.mark.parametrize("direction", DIRECTIONS)


def defined(x: Tensor, direction: str) -> Tensor:
    """Returns the running maximum, cell by cell, from its definition."""
    y = torch.empty_like(x)
    for row in range(x.shape[-2]):
        for column in range(x.shape[-1]):
            seen = {
                "top": x[..., row:, column],
                "bottom": x[..., : row + 1, column],
                "left": x[..., row, column:],
                "right": x[..., row, : column + 1],
            }[direction]
            y[..., row, column] = seen.amax(-1)
    return y


class Pools(nn.Module):
    """Corner pooling in every direction as a module, for the exporters."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        pools = corner_pool, line_pool
        return tuple(pool(x, direction) for pool in pools for direction in DIRECTIONS)


@every_direction
@pytest.mark.parametrize("shape", [(2, 3, 7, 9), (1, 2, 1, 5), (1, 2, 5, 1), (3, 4, 6)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_values_are_bit_equal_to_the_definition(
    direction: Direction, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    expected = defined(x, direction)
    assert torch.equal(corner_pool(x, direction), expected)
    if x.ndim == 4:
        last = x.contiguous(memory_format=torch.channels_last)
        pooled = corner_pool(last, direction)
        assert torch.equal(pooled, expected)
        assert pooled.stride() == last.stride()


@every_direction
def test_the_gradient_of_equal_values_goes_to_the_farthest(direction: Direction) -> None:
    line = torch.tensor([1.0, 3.0, 2.0, 3.0, 3.0, 0.0], requires_grad=True)
    x = line[:, None] if direction in ("top", "bottom") else line[None]
    corner_pool(x, direction).backward(torch.arange(1.0, 7.0).view(x.shape))
    # Scanned from the end: 0, then 3 at place 4 for places 4 down to 0. From the beginning: 1,
    # then 3 at place 1 for places 1 to 5.
    wanted = [0, 0, 0, 0, 15, 6] if direction in ("top", "left") else [1, 20, 0, 0, 0, 0]
    assert line.grad is not None
    assert line.grad.tolist() == wanted


@every_direction
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_gradient(direction: Direction, memory: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randperm(2 * 3 * 4 * 5, generator=generator).double().view(2, 3, 4, 5)
    x = x.contiguous(memory_format=memory).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: corner_pool(t, direction), x)


@every_direction
def test_a_large_map_agrees_with_cummax(direction: Direction) -> None:
    x = torch.randn(1, 4, 40, 33, generator=torch.Generator().manual_seed(3))
    axis = -2 if direction in ("top", "bottom") else -1
    turned = x.flip(axis) if direction in ("top", "left") else x
    expected = turned.cummax(axis).values
    expected = expected.flip(axis) if direction in ("top", "left") else expected
    assert torch.equal(corner_pool(x, direction), expected)


OPPOSITE: dict[Direction, Direction] = {
    "top": "bottom",
    "bottom": "top",
    "left": "right",
    "right": "left",
}


@every_direction
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_whole_lines_are_one_direction_after_the_other(
    direction: Direction, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(6)
    # Whole numbers, so that many are equal and the gradient has to choose.
    x = torch.randint(0, 4, (2, 3, 7, 9), generator=generator).to(dtype)
    outer = torch.randint(0, 8, x.shape, generator=generator).to(dtype)
    results = []
    for pool in (
        lambda t: corner_pool(corner_pool(t, direction), OPPOSITE[direction]),
        lambda t: line_pool(t, direction).expand_as(t),
    ):
        source = x.clone().requires_grad_()
        pooled = pool(source)
        pooled.backward(outer)
        results.append((pooled, source.grad))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])


def test_the_exported_form_is_bit_equal() -> None:
    x = torch.randn(1, 2, 6, 11, generator=torch.Generator().manual_seed(4))
    with at_most(11):
        exported = torch.export.export(Pools().eval(), (x,))
    assert all(map(torch.equal, exported.module()(x), Pools()(x)))
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    program = torch.onnx.export(exported, dynamo=True, verbose=False)
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    for each, expected in zip(found, Pools()(x), strict=True):
        assert torch.equal(torch.from_numpy(each), expected)


def test_unknown_direction() -> None:
    with pytest.raises(HeatpointError, match="direction must be one of"):
        corner_pool(torch.zeros(1, 1, 2, 2), "up")  # type: ignore[arg-type]


def test_nothing_is_kept_without_gradient() -> None:
    x = torch.randn(1, 2, 3, 4)
    assert corner_pool(x, "top").grad_fn is None
    empty = torch.zeros(0, 2, 3, 4, requires_grad=True)
    corner_pool(empty, "left").sum().backward()
    assert empty.grad is not None
