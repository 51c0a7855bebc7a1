from __future__ import annotations

import pytest
import torch
from golden_files import tensors

from heatpoint.codecs.gaussian import draw_windows, gaussian_radius, gaussian_windows
from heatpoint.errors import HeatpointError


@pytest.mark.parametrize(
    ("rule", "key"),
    [
        ("legacy", "radius_released"),
        ("fixed", "radius_corrected"),
        ("half-fixed", "radius_half_corrected"),
    ],
)
def test_radius_equals_the_published_table(rule: str, key: str) -> None:
    table = tensors("gaussian")
    for column, overlap in enumerate(table["min_overlap"]):
        radius = gaussian_radius(table["height_width"].double(), rule, float(overlap))  # type: ignore[arg-type]
        expected = table[key][:, column, None].expand(-1, 2)
        torch.testing.assert_close(radius, expected, rtol=1e-9, atol=1e-9)


def test_rules_differ_by_the_documented_factors() -> None:
    square = torch.tensor([[64.0, 64.0]])
    legacy = gaussian_radius(square, "legacy", 0.7)[0, 0]
    fixed, lowered = (gaussian_radius(square, "fixed", overlap)[0, 0] for overlap in (0.7, 0.3))
    assert legacy / fixed == pytest.approx(3.35, abs=0.01)
    assert legacy / lowered == pytest.approx(1.21, abs=0.01)
    assert gaussian_radius(torch.tensor([[40.0, 8.0]]), "elliptical", alpha=0.5).tolist() == [
        [10.0, 2.0]
    ]


def test_radius_names_the_rule_that_was_meant() -> None:
    with pytest.raises(HeatpointError, match="did you mean 'legacy'"):
        gaussian_radius(torch.ones(1, 2), "legaci")  # type: ignore[arg-type]
    with pytest.raises(HeatpointError, match="overlap must lie between 0 and 1"):
        gaussian_radius(torch.ones(1, 2), "fixed", 1.0)
    with pytest.raises(HeatpointError, match=r"alpha must lie in \(0, 1\]"):
        gaussian_radius(torch.ones(1, 2), "elliptical", alpha=0.0)


@pytest.mark.parametrize(("key", "divisor"), [("heatmap_sixth", 6.0), ("heatmap_fifth", 5.0)])
def test_blobs_equal_the_published_drawing(key: str, divisor: float) -> None:
    data = tensors("gaussian")
    column, row = data["draw_center"].unbind(1)
    expected = data[key]
    planes, height, width = expected.shape
    radius = data["draw_radius"][:, None].expand(-1, 2)
    windows = gaussian_windows(data["draw_channel"], column, row, radius, (height, width), divisor)
    found = draw_windows(windows, planes, (height, width))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_ellipses_equal_the_published_drawing() -> None:
    data = tensors("gaussian_ttfnet")
    expected, (column, row) = data["heatmap"], data["center_xy"].unbind(1)
    planes, height, width = expected.shape
    radius = data["radius_h_w"].flip(-1)
    windows = gaussian_windows(torch.arange(planes), column, row, radius, (height, width))
    found = draw_windows(windows, planes, (height, width))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_windows_list_whole_blobs_within_the_map() -> None:
    generator = torch.Generator().manual_seed(0)
    size, blobs = (17, 29), 40
    column = torch.randint(0, size[1], (blobs,), generator=generator)
    row = torch.randint(0, size[0], (blobs,), generator=generator)
    radius = torch.randint(0, 35, (blobs, 2), generator=generator)
    windows = gaussian_windows(torch.arange(blobs), column, row, radius, size)
    cells = size[0] * size[1]
    assert torch.equal(windows.cell // cells, windows.owner)
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    drawn = draw_windows(windows, blobs, size).double()
    for i in range(blobs):
        dx, dy = x - column[i], y - row[i]
        sx, sy = ((2 * radius[i] + 1) / 6).double()
        full = torch.exp(-(dx**2) / (2 * sx**2) - dy**2 / (2 * sy**2))
        full[(dx.abs() > radius[i, 0]) | (dy.abs() > radius[i, 1])] = 0
        torch.testing.assert_close(drawn[i], full, rtol=0, atol=1e-6)
        assert drawn[i, row[i], column[i]] == 1
        assert int(windows.counts[i]) == int((full > 0).sum())


def test_no_blobs_is_an_empty_list() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    windows = gaussian_windows(none, none, none, none.view(0, 2), (8, 8))
    assert len(windows.cell) == 0
    assert draw_windows(windows, 2, (8, 8)).sum() == 0
