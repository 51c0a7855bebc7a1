"""The quad codec by its own laws: round trips, turns, mirror images, mistakes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from heatpoint.codecs import Rows, Target
from heatpoint.codecs.quad_maps import Outline
from heatpoint.codecs.quads import Order, QuadCodec
from heatpoint.errors import HeatpointError
from heatpoint.views.fields import MIRRORED

SIZE = (192, 256)
BOTH = pytest.mark.parametrize("order", ["any", "own"])


def target_of(quads: Tensor, labels: Tensor | None = None) -> Target:
    """Returns quads (N, 4, 2) as a target, of class 0 by default."""
    boxes = torch.cat((quads.amin(1), quads.amax(1)), 1)
    return Target(
        boxes, quads.new_zeros(len(quads)).long() if labels is None else labels, None, quads
    )


def quads(count: int, seed: int = 0, classes: int = 3) -> Target:
    """Draws turned, leaning quads, clockwise, each with a cell of its own for the middle."""
    generator = torch.Generator().manual_seed(seed)
    height, width = (side // 4 for side in SIZE)
    cells = torch.randperm(height * width, generator=generator)[:count]
    inside = 0.02 + 0.96 * torch.rand(count, 2, generator=generator)
    middle = (torch.stack((cells % width, cells // width), 1) + inside) * 4
    start = 2 * torch.pi * torch.rand(count, 1, generator=generator)
    angle = start + torch.tensor([0.0, 1, 2, 3]) * torch.pi / 2
    angle = angle + 0.5 * torch.rand(count, 4, generator=generator)
    length = torch.exp(5 * torch.rand(count, 4, generator=generator) - 1)
    corners = torch.stack((angle.cos(), angle.sin()), -1) * length[..., None]
    corners = corners - corners.mean(1, keepdim=True) + middle[:, None]
    return target_of(corners, torch.randint(0, classes, (count,), generator=generator))


def check(rows: Rows, image: int, target: Target, order: Order) -> None:
    """Makes sure that just the quads of the target are found, to a thousandth of a pixel."""
    count = len(target.labels)
    assert target.points is not None
    assert (rows["scores"][image, :count] > 0.99).all()
    assert (rows["scores"][image, count:] < 0.5).all()
    if not count:
        return
    found, labels = rows["quads"][image, :count], rows["labels"][image, :count]
    turns = [target.points.roll(turn, 1) for turn in (range(4) if order == "any" else (0,))]
    away = torch.stack([(found[:, None] - turned).abs().amax((2, 3)) for turned in turns]).amin(0)
    away = away + 1e3 * (labels[:, None] != target.labels)
    best = away.min(1)
    assert sorted(best.indices.tolist()) == list(range(count))
    assert (best.values < 1e-3).all()
    around = torch.cat((found.amin(1), found.amax(1)), 1)
    torch.testing.assert_close(rows["boxes"][image, :count], around)


@BOTH
@pytest.mark.parametrize("region", [0.0, 0.6])
def test_decoding_ideal_maps_gives_the_quads(order: Order, region: float) -> None:
    codec = QuadCodec(3, order=order, corner_region=region, max_detections=500)
    targets = [quads(n, seed=n) for n in (20, 0, 1, 480)]
    encoded = codec.encode(targets, SIZE)
    assert encoded.collisions() == 0
    rows = codec.decode(codec.ideal(encoded))
    assert rows["quads"].shape == (4, 500, 4, 2)
    for image, target in enumerate(targets):
        check(rows, image, target, order)


def test_a_corner_that_means_something_stays_the_first() -> None:
    for turn in range(4):
        target = quads(9, seed=4)
        assert target.points is not None
        target.points = target.points.roll(turn, 1)
        rows = {order: QuadCodec(3, order=order) for order in ("any", "own")}
        found = {k: c.decode(c.ideal(c.encode([target], SIZE)))["quads"] for k, c in rows.items()}
        if turn == 0:
            first = found
        torch.testing.assert_close(found["any"], first["any"], rtol=0, atol=1e-3)
        torch.testing.assert_close(found["own"][0, :9], first["own"][0, :9].roll(turn, 1))


def test_the_loss_knows_no_first_corner_unless_asked_to() -> None:
    target, turned = quads(12, seed=2), quads(12, seed=2)
    assert turned.points is not None
    turned.points = turned.points.roll(1, 1)
    for order, same in (("any", True), ("own", False)):
        codec = QuadCodec(3, order=order)  # type: ignore[arg-type]
        one, other = (codec.encode([each], SIZE) for each in (target, turned))
        assert codec.loss(codec.ideal(one), one)["corners"] < 1e-5
        assert (codec.loss(codec.ideal(one), other)["corners"] < 1e-5) == same
        assert (codec.loss(codec.ideal(other), one)["corners"] < 1e-5) == same


def test_what_is_said_of_a_quad_never_jumps_as_it_turns() -> None:
    # A square, a rectangle, a parallelogram and a kite, in ten thousandths of a turn.
    shapes = torch.tensor(
        [
            [[-5.0, -5], [5, -5], [5, 5], [-5, 5]],
            [[-9.0, -3], [9, -3], [9, 3], [-9, 3]],
            [[-9.0, -4], [6, -4], [9, 4], [-6, 4]],
            [[-5.0, 0], [0, -4], [5, 0], [0, 9]],
        ],
        dtype=torch.float64,
    )
    angle = 2 * torch.pi * torch.arange(10_001, dtype=torch.float64) / 10_000
    c, s = angle.cos(), angle.sin()
    turn = torch.stack((torch.stack((c, s), -1), torch.stack((-s, c), -1)), -2)
    ways = shapes[:, None] @ turn
    said = Outline().written(ways)
    assert (said[:, 1:] - said[:, :-1]).abs().max() < 1e-2
    # What half a turn of the rectangle and a quarter of the square bring back is said again.
    torch.testing.assert_close(said[1, 5000:], said[1, :5001], rtol=0, atol=1e-9)
    torch.testing.assert_close(said[0, 2500:], said[0, :7501], rtol=0, atol=1e-9)


@BOTH
def test_maps_of_a_mirrored_image_unflip_exactly(order: Order) -> None:
    codec, target = QuadCodec(3, order=order), quads(40, seed=6)
    assert target.points is not None
    target.points = (target.points * 8).round() / 8
    target.points += 1 / 16 - target.points.mean(1, keepdim=True) % 0.125
    mirrored = target.points[:, MIRRORED].clone()
    mirrored[..., 0] = SIZE[1] - mirrored[..., 0]
    maps = codec.ideal(codec.encode([target], SIZE))
    other = codec.ideal(codec.encode([target_of(mirrored, target.labels)], SIZE))
    torch.testing.assert_close(codec.unflip(other)["heatmap"], maps["heatmap"])
    name = codec.corners.spec.name
    torch.testing.assert_close(codec.unflip(other)[name], maps[name])
    check(codec.decode(codec.merge_flipped(maps, other)), 0, target, order)


def test_a_peak_beside_the_middle_still_leads_to_the_corners() -> None:
    codec = QuadCodec(1, corner_region=1.0)
    places = torch.tensor([[[60.0, 40], [140, 60], [130, 110], [50, 90]]])
    maps = codec.ideal(codec.encode([target_of(places)], SIZE))
    maps["heatmap"] = maps["heatmap"].roll(1, -1)
    torch.testing.assert_close(codec.decode(maps)["quads"][0, 0], places[0], rtol=0, atol=1e-3)


def test_blobs_are_those_of_upright_boxes_of_the_same_sides() -> None:
    c, s = 0.8, 0.6
    upright = torch.tensor([[-40.0, -16], [40, -16], [40, 16], [-40, 16]])
    turned = upright @ torch.tensor([[c, s], [-s, c]])
    both = torch.stack((upright, turned)) + torch.tensor([102.0, 98])
    radius = [QuadCodec(1).encode([target_of(each[None])], SIZE).radius.tolist() for each in both]
    assert radius[0] == radius[1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Target(torch.zeros(1, 4), torch.zeros(1).long()), "points of shape None"),
        (
            Target(torch.zeros(1, 4), torch.zeros(1).long(), points=torch.zeros(1, 1, 2)),
            r"points of shape \(1, 1, 2\), expected \(1, 4, 2\)",
        ),
        (target_of(torch.full((1, 4, 2), -3.0)), "their middle within the input"),
        (target_of(torch.full((1, 4, 2), torch.nan)), "must be finite"),
        (target_of(torch.full((1, 4, 2), 3.0), torch.ones(1).long()), "with label 1"),
    ],
)
def test_what_cannot_be_encoded_is_said(wrong: Target, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        QuadCodec(1).encode([wrong], SIZE)


@pytest.mark.parametrize(
    ("name", "value"), [("order", "first"), ("corner_region", 1.5), ("corners_weight", -1)]
)
def test_fields_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(HeatpointError, match=name):
        replace(QuadCodec(1), **{name: value})  # type: ignore[arg-type]
