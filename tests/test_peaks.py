from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from heatpoint.codecs import peaks as module
from heatpoint.codecs.peaks import Peaks, local_maxima, portable, read_cells, top_peaks


def _obvious(heatmap: Tensor, count: int, kernel: int) -> Peaks:
    """Sorts all local maxima of each image, found cell by cell, by value and then by index."""
    rows = []
    for image in heatmap.float().numpy():
        reach = kernel // 2
        padded = np.pad(image, ((0, 0), (reach, reach), (reach, reach)), constant_values=-np.inf)
        views = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
        values = np.where(views.max((-2, -1)) == image, image, -np.inf).reshape(-1)
        order = np.lexsort((np.arange(values.size), -values))[:count]
        rows.append((values[order], order))
    values, index = (torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True))
    cells = heatmap.shape[-2] * heatmap.shape[-1]
    return Peaks(values, index // cells, index % cells)


def _map(kind: str) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(3, 5, 48, 64, generator=generator)
    if kind == "noise":
        return noise
    if kind == "channels last":
        return noise.contiguous(memory_format=torch.channels_last)
    if kind == "odd size":
        return noise[..., :47, :61].contiguous()
    if kind == "small":
        return noise[..., :8, :8].contiguous()
    if kind == "saturated":
        return (10 * noise).clamp(-9, 9)
    if kind == "coarse":
        return noise.round()
    if kind == "bfloat16":
        return noise.bfloat16()
    if kind == "constant":
        return torch.full_like(noise, -2.19)
    if kind == "nothing":
        return torch.full_like(noise, float("-inf"))
    if kind == "sparse":
        sparse = torch.full_like(noise, -9.0)
        sparse[:, 2, 7::11, 5::13] = noise[:, 2, 7::11, 5::13]
        return sparse
    smooth = torch.nn.functional.avg_pool2d(noise, 15, 1, 7)
    return smooth - 2


KINDS = [
    *("noise", "channels last", "odd size", "small", "saturated", "coarse", "bfloat16"),
    *("constant", "nothing", "sparse", "smooth"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("count", "kernel"), [(1, 3), (20, 3), (100, 3), (100, 1), (30, 5)])
def test_both_ways_give_the_same_rows(
    kind: str, count: int, kernel: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    heatmap = _map(kind)
    expected = _obvious(heatmap, count, kernel)
    fast = top_peaks(heatmap, count, kernel)
    monkeypatch.setattr(module, "TILE_SIDES", ())
    plain = top_peaks(heatmap, count, kernel)
    for found in (fast, plain):
        assert torch.equal(found.values.float(), expected.values)
        assert torch.equal(found.labels, expected.labels)
        assert torch.equal(found.cells, expected.cells)


@pytest.mark.parametrize("kind", ["noise", "channels last", "smooth", "bfloat16"])
def test_tiles_spare_the_plain_way(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the whole map was pooled")

    monkeypatch.setattr(module, "_ordered", fail)
    assert top_peaks(_map(kind), 5).values.isfinite().all()


def test_rows_are_empty_where_maps_are_smaller() -> None:
    heatmap = torch.zeros(2, 1, 3, 3)
    found = top_peaks(heatmap, 12)
    assert found.values.shape == (2, 12)
    assert found.values.isneginf().sum(1).tolist() == [3, 3]
    assert found.cells.max() < 9


def test_plateaus_survive_whole() -> None:
    heatmap = torch.zeros(1, 1, 6, 6)
    heatmap[0, 0, 2, 2:4] = 1
    kept = local_maxima(heatmap)
    assert kept[0, 0, 2].tolist() == [True, False, True, True, False, True]


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maxima_of_lines_and_columns_are_those_of_pooling(
    kernel: int, layout: torch.memory_format
) -> None:
    generator = torch.Generator().manual_seed(0)
    heatmap = torch.randn(2, 3, 5, 40, generator=generator).mul(2).round()  # with plateaus
    heatmap[0, 0, 0, 0], heatmap[1, 2, 4, 39] = torch.nan, -torch.inf
    heatmap = heatmap.contiguous(memory_format=layout)
    with portable():
        pooled = local_maxima(heatmap, kernel)
    assert torch.equal(local_maxima(heatmap, kernel), pooled)


def test_reading_cells_takes_vectors() -> None:
    values = torch.arange(2 * 3 * 4 * 5).float().view(2, 3, 4, 5)
    cells = torch.tensor([[0, 7], [19, 7]])
    read = read_cells(values.contiguous(memory_format=torch.channels_last), cells)
    assert torch.equal(read[1, 0], values[1, :, 3, 4])
    assert torch.equal(read[0, 1], values[0, :, 1, 2])
