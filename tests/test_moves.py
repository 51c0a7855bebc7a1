"""Which peak a joint or a corner takes: the nearest, or the likeliest."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from heatpoint.codecs.moves import BEYOND, LEAST, chosen_peaks, moved_joints


def drawn(points: int, peaks: int, kinds: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Returns random points, logits of peaks and their places, of two images."""
    generator = torch.Generator().manual_seed(0)
    at = 60 * torch.rand(2, kinds, points, 2, generator=generator)
    values = 3 * torch.randn(2, kinds, peaks, generator=generator)
    return at, values, 60 * torch.rand(2, kinds, peaks, 2, generator=generator)


def test_the_likeliest_peak_is_that_of_the_greatest_probability() -> None:
    points, values, places = drawn(40, 30)
    spread = torch.linspace(0.5, 20, 40).expand(2, 1, 40)
    at = chosen_peaks(points, values, places, LEAST, spread)
    chances, apart = values.double().sigmoid(), torch.cdist(points.double(), places.double())
    known = torch.exp(-(apart**2) / (2 * spread[..., None].double() ** 2)) * chances[:, :, None]
    best = torch.where((chances > LEAST)[:, :, None], known, -1.0).argmax(-1)
    torch.testing.assert_close(at.value, values.gather(2, best))
    torch.testing.assert_close(at.place, places.gather(2, best[..., None].expand(-1, -1, -1, 2)))
    nearest = apart.gather(-1, best[..., None]).squeeze(-1) ** 2
    torch.testing.assert_close(at.distance.double(), nearest, rtol=1e-4, atol=1e-4)
    assert (best != apart.argmin(-1)).any()


@pytest.mark.parametrize("spread", [None, 1e-3])
def test_where_points_are_hardly_off_the_nearest_peak_is_the_likeliest(
    spread: float | None,
) -> None:
    points, values, places = drawn(40, 30)
    off = None if spread is None else torch.full((2, 1, 40), spread)
    at = chosen_peaks(points, values, places, LEAST, off)
    apart = torch.cdist(points.double(), places.double())
    usable = (values.double().sigmoid() > LEAST)[:, :, None]
    nearest = torch.where(usable, apart, float("inf")).argmin(-1)
    torch.testing.assert_close(at.value, values.gather(2, nearest))


@pytest.mark.parametrize("spread", [0.0, 0.2])
@pytest.mark.parametrize("side", [0.0, 30.0])
def test_a_joint_without_a_peak_or_a_box_stays(spread: float, side: float) -> None:
    points, values, places = drawn(20, 5)
    joints, boxes = points.transpose(1, 2), torch.tensor([10.0, 10, 10 + side, 10 + side])
    heights = torch.full(joints.shape[:-1], 0.4)
    low = torch.full_like(values, LEAST / 2).logit()
    known = values if side == 0 else low
    found = moved_joints(joints, heights, boxes.expand(2, 20, 4), (known, places), spread)
    torch.testing.assert_close(found, (joints, heights), rtol=0, atol=0)


def test_a_sure_peak_is_taken_from_further_away_than_a_doubtful_one() -> None:
    joints, heights = torch.tensor([[[[20.0, 20.0]]]]), torch.tensor([[[0.5]]])
    boxes = torch.tensor([[[0.0, 0, 40, 40]]])
    values, places = torch.tensor([[[0.15, 0.9]]]).logit(), torch.tensor([[[[21.0, 20], [28, 20]]]])
    for spread, place, height in ((0.0, 21.0, 0.15), (0.02, 21.0, 0.15), (0.2, 28.0, 0.9)):
        moved, sure = moved_joints(joints, heights, boxes, (values, places), spread)
        assert moved[0, 0, 0].tolist() == [place, 20.0]
        assert sure.item() == pytest.approx(height)


@pytest.mark.parametrize(("outside", "moves"), [(-1.0, True), (0.9 * BEYOND, True), (0.1, False)])
def test_the_likeliest_peak_may_be_a_little_outside_of_the_box(outside: float, moves: bool) -> None:
    joints, heights = torch.tensor([[[[38.0, 20.0]]]]), torch.tensor([[[0.5]]])
    boxes, values = torch.tensor([[[0.0, 0, 40, 40]]]), torch.tensor([[[0.9]]]).logit()
    place = torch.tensor([[[[40 + 40 * outside if outside > 0 else 39.0, 20.0]]]])
    for spread, allowed in ((0.2, moves), (0.0, outside < 0)):
        moved, _ = moved_joints(joints, heights, boxes, (values, place), spread)
        torch.testing.assert_close(moved, place.view(1, 1, 1, 2) if allowed else joints)
