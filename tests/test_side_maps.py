"""Sides of boxes that move to where their own heatmap says, and boxes that each class learns."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from heatpoint.codecs import Maps, Target
from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.center_pose import CenterPoseCodec
from heatpoint.codecs.peaks import portable
from heatpoint.codecs.side_maps import (
    ALL,
    LEAST,
    NEAR,
    REACH,
    SHORT,
    SURE,
    list_sides,
    placed_sides,
)

SIZE = (192, 256)
PLACED: dict[str, Any] = {"measure": "sides", "side_heatmap": True, "max_detections": 40}


def grid(seed: int, classes: int = 3) -> Target:
    """Returns twelve boxes in a grid, none of which has a side in a cell of another's side."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.cartesian_prod(torch.arange(4) * 64, torch.arange(3) * 64) + 8.0
    low = corner + 20 * torch.rand(12, 2, generator=generator)
    high = low + 6 + 24 * torch.rand(12, 2, generator=generator)
    labels = torch.randint(0, classes, (12,), generator=generator)
    return Target(torch.cat((low, high), 1), labels)


def check(found: Tensor, wanted: Tensor, atol: float = 1e-3) -> None:
    """Makes sure that every wanted box (N, 4) is among those that were found (K, 4)."""
    apart = (found[:, None] - wanted).abs().amax(-1).amin(0)
    torch.testing.assert_close(apart, torch.zeros_like(apart), rtol=0, atol=atol)


@pytest.mark.parametrize("measure", ["sides", "size"])
@pytest.mark.parametrize("neighbours", [0, 2])
def test_sides_that_move_to_ideal_places_are_the_sides(measure: Any, neighbours: int) -> None:
    codec = CenterCodec(
        3, size_region=1.0, neighbours=neighbours, **(PLACED | {"measure": measure})
    )
    targets = [grid(0), Target(torch.zeros(0, 4), torch.zeros(0).long()), grid(1)]
    rows = codec.decode(codec.ideal(codec.encode(targets, SIZE)))
    for image in (0, 2):
        check(rows["boxes"][image], targets[image].boxes)
    assert float(rows["scores"][1].max()) < 0.01


def test_sides_that_are_said_wrongly_are_put_right() -> None:
    codec, target = CenterCodec(3, **PLACED), grid(2)
    maps = codec.ideal(codec.encode([target], SIZE))
    generator = torch.Generator().manual_seed(0)
    # Logarithmic beyond a cell: a tenth is an error of a tenth of the distance.
    wrong = 0.2 * torch.rand(maps["sides"].shape, generator=generator) - 0.1
    maps["sides"] = maps["sides"] + wrong
    answers = (
        each.decode(maps)["boxes"][0] for each in (replace(codec, side_heatmap=False), codec)
    )
    said, moved = (
        boxes[(boxes[:, None] - target.boxes).abs().amax(-1).argmin(0)] for boxes in answers
    )
    off = (said - target.boxes).abs()
    assert float(off.max()) > 0.5
    # Four cells from the opposite side, the middle is as exact as a place that is sure.
    length = (said[:, 2:] - said[:, :2]).repeat(1, 2) / codec.stride
    left = off * SHORT**2 / (length**2 + SHORT**2)
    torch.testing.assert_close((moved - target.boxes).abs(), left, rtol=0, atol=1e-3)


def lines(*sides: tuple[int, float, float]) -> Maps:
    """Returns maps of 32 x 96 cells with sides as whole lines: which one, where, how probable."""
    sure = torch.full((1, 4, 32, 96), 1e-6)
    offset = torch.full((1, 4, 32, 96), 0.9)
    for side, place, probability in sides:
        cell = int(place)
        at = (0, side, slice(None), cell) if side % 2 == 0 else (0, side, cell)
        sure[at] = torch.maximum(sure[at], torch.tensor(probability))
        offset[at] = place - cell
    return {"side_heatmap": torch.logit(sure), "side_offset": offset}


def placed(maps: Maps, *box: float) -> list[float]:
    """Returns a box in cells whose sides moved."""
    return placed_sides(torch.tensor([[box]]), maps)[0][0, 0].tolist()


def gone(start: float, place: float, length: float = 10.0, sure: float = 1.0) -> Any:
    """Returns about where a side is that moved towards a place."""
    share = min(1.0, sure / ALL) * length**2 / (length**2 + SHORT**2)
    return pytest.approx(start + share * (place - start), abs=1e-4)


def test_a_side_moves_to_the_likeliest_place_within_reach() -> None:
    box = (20.0, 8.0, 30.0, 18.0)
    assert placed(lines(), *box) == pytest.approx(box)
    to = (21.25, 7.5, 29.75, 19.125)
    every = lines(*((side, place, 0.9) for side, place in enumerate(to)))
    assert placed(every, *box) == [gone(*each) for each in zip(box, to, strict=True)]

    def left(*others: tuple[float, float]) -> float:
        """Returns the left side where such places and probabilities are."""
        return placed(lines(*((0, *other) for other in others)), *box)[0]

    # The nearer of two that are equally sure, the surer of two that are equally near.
    assert left((18.5, 0.9), (22.9, 0.9)) == gone(20, 18.5)
    assert left((17.5, 0.5), (22.5, 0.9)) == gone(20, 22.5)
    # Sure ones are taken from further away, doubtful ones not at all.
    assert left((18.5, 0.9), (21.5, 0.2)) == gone(20, 18.5)
    assert left((21.5, LEAST - 0.01)) == 20
    # Of two next to each other the nearer one is a place, unless it pales beside the other.
    assert left((20.5, 0.7), (21.75, 0.9)) == gone(20, 20.5, sure=0.7)
    assert left((20.5, 0.5), (21.75, 0.9)) == gone(20, 21.75)
    # What is not sure moves a side by a part of the way.
    for sure in (LEAST + 0.01, 0.4, ALL, 0.99):
        assert left((21.5, sure)) == gone(20, 21.5, sure=sure)
    # No side moves by more than a share of the way to the opposite one, or some cells.
    assert NEAR == 0.35
    assert left((23.1, 0.9)) == gone(20, 23.1)
    assert left((24.1, 0.9)) == 20
    wide = (2.0, 8.0, 92.0, 18.0)
    assert placed(lines((0, 2.5 + REACH, 0.9)), *wide)[0] == gone(2, 2.5 + REACH, length=90)
    assert placed(lines((0, 3.5 + REACH, 0.9)), *wide)[0] == 2


def test_few_sure_cells_of_a_side_are_enough() -> None:
    maps = lines((0, 21.5, 0.9))
    maps["side_heatmap"][0, 0, :15] = -14.0  # of the rows 8 to 18 three know something
    maps["side_offset"][0, 0, :15] = 0.0
    sure = 0.9 * math.sqrt(3 / 9)  # of nine places along the side
    assert placed(maps, 20.0, 8.0, 30.0, 18.0)[0] == gone(20, 21.5, sure=sure)
    maps["side_heatmap"][0, 0] = -14.0
    assert placed(maps, 20.0, 8.0, 30.0, 18.0)[0] == 20


def test_boxes_do_not_turn_over_and_sides_beyond_the_maps_stay() -> None:
    for width in (0.1, 0.5, 1, 1.5, 2, 2.8, 3, 4, 6, 9):
        left, right = 30.9 - width / 2, 30.9 + width / 2
        for away in np.arange(0, 4, 0.25):
            found = placed(lines((0, left + away, 1.0), (2, right - away, 1.0)), left, 4, right, 12)
            assert found[2] > found[0]
    outside = (-3.0, 8.0, 102.0, 18.0)
    assert placed(lines((0, 95.5, 0.9), (2, 0.5, 0.9)), *outside) == pytest.approx(outside)


def test_a_side_outside_of_the_input_does_not_jump_to_another_objects() -> None:
    boxes = torch.tensor([[100.0, -40, 300, 150], [20, 10, 60, 60]])
    codec = CenterCodec(1, size_region=1.0, **PLACED)
    ideal = codec.ideal(codec.encode([Target(boxes, torch.zeros(2).long())], (256, 320)))
    check(codec.decode(ideal)["boxes"][0], boxes)


def test_a_box_moves_alike_alone_and_beside_a_large_one() -> None:
    maps = lines((0, 14.5, 0.45), (0, 15.5, 0.95))  # the likelier one is just out of reach
    small, large = [10.9, 5.0, 10.9 + 3.7 / NEAR, 15.0], [2.0, 2.0, 90.0, 30.0]
    both = placed_sides(torch.tensor([[small, large]]), maps)[0][0, 0]
    assert placed(maps, *small) == both.tolist()


def test_cells_of_sides_are_those_that_they_pass_through_and_those_beside() -> None:
    boxes = torch.tensor([[1.25, 2.5, 4.0, 4.5], [-1.0, 0.0, 2.0, 3.5]]).double()
    found = list_sides(boxes, torch.tensor([0, 1]), torch.zeros(2, 2).long(), 2, (6, 8))
    own = [(0, row, 1) for row in (2, 3, 4)] + [(1, 2, column) for column in (1, 2, 3)]
    own += [(2, row, 4) for row in (2, 3, 4)] + [(3, 4, column) for column in (1, 2, 3)]
    # The left side of the other lies outside of the maps, as a part of its upper and lower one.
    own += [(5, 0, column) for column in (0, 1)] + [(6, row, 2) for row in (0, 1, 2, 3)]
    own += [(7, 3, column) for column in (0, 1)]
    assert found.blobs.peaks.tolist() == [(p * 6 + row) * 8 + column for p, row, column in own]
    place = {0: 1.25, 1: 2.5, 2: 4.0, 3: 4.5, 5: 0.0, 6: 2.0, 7: 3.5}
    wanted = {}
    for plane, row, column in own:
        for step in (-1, 0, 1):
            at = (row, column + step) if plane % 2 == 0 else (row + step, column)
            if at[0] in range(6) and at[1] in range(8):
                wanted[plane, *at] = place[plane] - at[1 - plane % 2]
    places = zip(found.plane.tolist(), found.cell.tolist(), strict=True)
    said = [(plane, cell // 8, cell % 8) for plane, cell in places]
    assert len(said) == len(wanted)
    assert dict(zip(said, found.offset[:, 0].tolist(), strict=True)) == pytest.approx(wanted)


def test_a_cell_that_a_side_passes_through_learns_that_side() -> None:
    boxes = torch.tensor([[3.25, 0, 7, 2], [2.5, 0, 7, 2]]).double()
    found = list_sides(boxes, torch.zeros(2).long(), torch.zeros(2, 2).long(), 1, (2, 8))
    left = found.plane == 0
    places = zip(found.cell[left].tolist(), found.offset[left, 0].tolist(), strict=True)
    row = {cell: offset for cell, offset in places if cell < 8}
    assert row == {1: 1.5, 2: 0.5, 3: 0.25, 4: -0.75}


@pytest.mark.parametrize("seed", range(3))
def test_exported_programs_place_sides_alike(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps = {
        "side_heatmap": 3 * torch.randn(2, 4, 24, 40, generator=generator),
        "side_offset": torch.rand(2, 4, 24, 40, generator=generator),
    }
    low = torch.rand(2, 9, 2, generator=generator) * torch.tensor([40, 24])
    boxes = torch.cat((low, low + 12 * torch.rand(2, 9, 2, generator=generator)), -1)
    found, sure = placed_sides(boxes, maps)
    assert bool((found != boxes).any())
    assert 0 <= float(sure.min()) < float(sure.max()) <= 1
    with portable():
        again = placed_sides(boxes, maps)
    assert torch.equal(again[0], found)
    assert torch.equal(again[1], sure)
    assert bool(placed_sides(boxes.fill_(float("nan")), maps)[0].isnan().all())


def test_how_sure_sides_are_is_the_mean_of_four() -> None:
    maps = lines((0, 10.4, 0.95), (1, 5.4, 0.5), (2, 30.4, 0.2))  # and no lower side
    _, sure = placed_sides(torch.tensor([[[10.0, 5, 30, 25]]]), maps)
    assert float(sure) == pytest.approx((0.95 + 0.5 + 0.2) / 4 / SURE, abs=1e-4)
    every = lines((0, 10.4, 0.95), (1, 5.4, 0.9), (2, 30.4, 1.0), (3, 25.4, 1.0))
    assert float(placed_sides(torch.tensor([[[10.0, 5, 30, 25]]]), every)[1]) == 1


@pytest.mark.parametrize(
    "codec", [CenterCodec(3, **PLACED), CenterPoseCodec(3, joints=2, **PLACED)]
)
def test_of_two_boxes_the_one_whose_sides_were_seen_comes_first(codec: CenterCodec) -> None:
    target = grid(3)
    middle = (target.boxes[:, None, :2] + target.boxes[:, None, 2:]) / 2 + torch.zeros(12, 2, 1)
    joints = torch.cat((middle, torch.full((12, 2, 1), 2.0)), 2)
    maps = codec.ideal(codec.encode([replace(target, keypoints=joints)], SIZE))
    left, top, right, bottom = (target.boxes[5] / 4).long().tolist()
    for column in (left, right):
        maps["side_heatmap"][:, :, top : bottom + 1, column - 1 : column + 2] = -20
    for row in (top, bottom):  # as probable as 0.5 / SURE
        maps["side_heatmap"][:, 1::2, row, left : right + 1] = 0
    rows = codec.decode(maps)
    scores, boxes = rows["scores"][0], rows["boxes"][0][:12]
    assert bool((scores[:-1] >= scores[1:]).all())
    order = (boxes[:, None] - target.boxes).abs().amax(-1).argmin(1)
    assert sorted(order.tolist()) == list(range(12))
    assert int(order[-1]) == 5
    torch.testing.assert_close(rows["labels"][0][:12], target.labels[order])
    assert float(scores[10]) > 0.99
    assert float(scores[11]) == pytest.approx(0.5 + 0.5 * (0.5 + 0.5) / 4 / SURE, abs=0.01)
    if "keypoints" in rows:
        torch.testing.assert_close(rows["keypoints"][0][:12, :, :2], middle[order])


def concentric() -> Target:
    """Returns a person, the vest and the badge on it, with one middle."""
    middle = torch.tensor([100.0, 90])
    sides = torch.tensor([[60.0, 120], [50, 50], [12, 16]])
    return Target(torch.cat((middle - sides / 2, middle + sides / 2), 1), torch.arange(3))


@pytest.mark.parametrize("measure", ["sides", "size"])
def test_classes_with_boxes_of_their_own_can_share_a_middle(measure: Any) -> None:
    codec = CenterCodec(
        3, measure=measure, per_class=True, size_region=1.0, neighbours=2, side_heatmap=True
    )
    target = concentric()
    encoded = codec.encode([target, grid(3)], SIZE)
    assert encoded.collisions() == 0
    rows = codec.decode(codec.ideal(encoded))
    order = rows["labels"][0, :3].argsort()
    torch.testing.assert_close(rows["boxes"][0, :3][order], target.boxes, rtol=0, atol=1e-3)
    check(rows["boxes"][1], grid(3).boxes)
    alone = replace(codec, per_class=False, side_heatmap=False)
    encoded = alone.encode([target], SIZE)
    assert encoded.collisions() == 3
    boxes = alone.decode(alone.ideal(encoded))["boxes"][0, :3]
    assert np.ptp(boxes.numpy(), 0).max() < 1  # all get one box


def test_a_class_learns_from_its_own_objects() -> None:
    codec = CenterCodec(3, measure="sides", per_class=True, size_region=1.0, sides_weight=1.0)
    target = concentric()
    vest = Target(target.boxes[1:2], target.labels[1:2])
    maps = {s.name: torch.zeros(1, s.channels, 48, 64, requires_grad=True) for s in codec.maps}
    codec.loss(maps, codec.encode([vest], SIZE))["sides"].backward()
    gradient = maps["sides"].grad
    assert gradient is not None
    learnt = gradient.view(3, 4, 48, 64).abs().sum((1, 2, 3))
    assert learnt[1] > 0
    assert learnt[[0, 2]].tolist() == [0, 0]
