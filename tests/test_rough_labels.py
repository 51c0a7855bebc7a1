"""The benchmark that asks whose boxes are rough, the labels' or the model's."""

from __future__ import annotations

from types import ModuleType

import cv2
import numpy as np
import pytest
from scripts import script


@pytest.fixture(scope="module")
def rough() -> ModuleType:
    return script("benchmarks/rough_labels.py")


@pytest.mark.parametrize("planted", [(0.05, 0.07, 0.03), (0.02, 0.01, 0.06)])
def test_three_witnesses_tell_each_one_s_error(
    rough: ModuleType, planted: tuple[float, float, float]
) -> None:
    chance = np.random.default_rng(3)
    true = chance.normal(0, 0.1, (4000, 4))
    said = [true + chance.normal(0, error, true.shape) for error in planted]
    assert rough.own_errors(*said) == pytest.approx(planted, rel=0.05)


def test_a_witness_that_is_usually_wider_is_not_wrong(rough: ModuleType) -> None:
    edges = np.array([[10.0, 10, 50, 40], [100, 80, 160, 140], [30, 60, 50, 100]])
    grown = np.tile(edges[:, 2:] - edges[:, :2], 2) * np.array([-0.1, -0.1, 0.2, 0.2])
    apart = rough.levelled(np.stack((edges + grown, edges), 1))
    np.testing.assert_allclose(apart, 0, atol=1e-12)
    ours, theirs = rough.as_boxes(apart[:, 0]), rough.as_boxes(apart[:, 1])
    assert rough.scores(ours, theirs) == pytest.approx((1.0, 1.0))


def test_the_ap_of_results_in_no_order(rough: ModuleType) -> None:
    unit = np.array([[0.0, 0, 1, 1]] * 2)
    half = np.array([[0.0, 0, 1, 1], [0, 0, 1, 0.72]])  # fits up to a threshold of 0.7
    mean, ap = rough.scores(unit, half)
    assert mean == pytest.approx(0.86)
    assert ap == pytest.approx((5 * 1 + 5 * 0.25) / 10)


def test_dark_regions_that_no_edge_cuts(rough: ModuleType) -> None:
    picture = np.full((120, 160, 3), 220, np.uint8)
    for middle in ((40, 60), (0, 20), (110, 90)):
        cv2.circle(picture, middle, 15, (160, 90, 120), -1)
    cv2.circle(picture, (110, 90), 6, (220, 220, 220), -1)  # pale within, as red cells are
    found = sorted(rough.dark_regions(picture).tolist())
    np.testing.assert_allclose(found, [[25, 45, 56, 76], [95, 75, 126, 106]], atol=1.5)
