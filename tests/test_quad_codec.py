"""The quad codec by its own laws: round trips, turns, mirror images, mistakes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from heatpoint.codecs import Rows, Target
from heatpoint.codecs.quad_maps import Outline
from heatpoint.codecs.quads import Order, QuadCodec
from heatpoint.errors import HeatpointError
from heatpoint.geometry import box_iou
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


def lonely(target: Target) -> Target:
    """Returns the quads of which none overlaps another one by 0.6, by the boxes around them."""
    assert target.points is not None
    boxes = target.boxes.numpy()
    alone = torch.from_numpy((box_iou(boxes, boxes) >= 0.6).sum(1) == 1)
    return target_of(target.points[alone], target.labels[alone])


def unshared(target: Target) -> Target:
    """Returns the quads whose corners have cells of their own."""
    assert target.points is not None
    width = SIZE[1] // 4 + 1000
    x, y = (target.points // 4 + 500).long().unbind(-1)
    _, which, counts = torch.unique(y * width + x, return_inverse=True, return_counts=True)
    alone = (counts[which] == 1).all(1)
    return target_of(target.points[alone], target.labels[alone])


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
@pytest.mark.parametrize(("region", "neighbours"), [(0.0, 0), (0.6, 0), (0.6, 2)])
def test_decoding_ideal_maps_gives_the_quads(order: Order, region: float, neighbours: int) -> None:
    codec = QuadCodec(
        3, order=order, corner_region=region, neighbours=neighbours, max_detections=500
    )
    targets = [quads(n, seed=n) for n in (20, 0, 1, 480)]
    if neighbours:  # of objects that overlap each other by 0.6 or more, a cell gets a mean
        targets = [lonely(each) for each in targets]
        assert len(targets[-1].labels) > 200
    encoded = codec.encode(targets, SIZE)
    assert encoded.collisions() == 0
    rows = codec.decode(codec.ideal(encoded))
    assert rows["quads"].shape == (4, 500, 4, 2)
    for image, target in enumerate(targets):
        check(rows, image, target, order)


@BOTH
@pytest.mark.parametrize("neighbours", [0, 2])
def test_corners_that_move_to_ideal_peaks_are_the_corners(order: Order, neighbours: int) -> None:
    codec = QuadCodec(
        3, order=order, neighbours=neighbours, corner_heatmap=True, max_detections=500
    )
    drawn = [quads(n, seed=n) for n in (30, 0, 1, 480)]
    targets = [unshared(lonely(each)) for each in drawn]
    assert [len(each.labels) > least for each, least in zip(targets, (8, -1, 0, 8), strict=True)]
    rows = codec.decode(codec.ideal(codec.encode(targets, SIZE)))
    for image, target in enumerate(targets):
        check(rows, image, target, order)
    # Corners that share a cell move by less than one on each axis.
    codec, target = replace(codec, neighbours=0), drawn[-1]
    maps = codec.ideal(codec.encode([target], SIZE))
    said = replace(codec, corner_heatmap=False).decode(maps)["quads"]
    moved = (codec.decode(maps)["quads"] - said)[0, : len(target.labels)].abs()
    assert 0.1 < moved.max() < 4


def test_corners_move_to_peaks_that_are_sure_and_near_and_within_the_picture() -> None:
    codec = QuadCodec(1, order="own", corner_heatmap=True, max_detections=1)
    place = torch.tensor([[[40.0, 40], [80, 40], [80, 60], [40, 60]]])
    maps = codec.ideal(codec.encode([target_of(place)], SIZE))
    blank = torch.full_like(maps["corner_heatmap"], -20.0)

    def found(x: float, y: float, logit: float) -> Tensor:
        """Returns the corners where there is one peak, at a place in pixels."""
        at, heatmap, offset = (
            (int(y) // 4, int(x) // 4),
            blank.clone(),
            blank.new_zeros(1, 2, 48, 64),
        )
        heatmap[0, 0, at[0], at[1]] = logit
        offset[0, :, at[0], at[1]] = torch.tensor([x % 4 / 4, y % 4 / 4])
        return codec.decode({**maps, "corner_heatmap": heatmap, "corner_offset": offset})["quads"]

    def moved(*corner: float) -> Tensor:
        """Returns the corners where the first one is somewhere else."""
        return torch.cat((torch.tensor([[corner]]), place[:, 1:]), 1)

    # Half of the shortest side are ten pixels; a probability of 0.3 is a logit of -0.85.
    torch.testing.assert_close(found(35.0, 47, 3)[0], moved(35.0, 47))
    torch.testing.assert_close(found(35.0, 47, -0.84)[0], moved(35.0, 47))
    torch.testing.assert_close(found(35.0, 47, -0.86)[0], place)
    torch.testing.assert_close(found(30.5, 40, 3)[0], moved(30.5, 40))
    torch.testing.assert_close(found(29.5, 40, 3)[0], place)
    beyond = place - torch.tensor([44.0, 0])  # the first corner is at -4
    maps = codec.ideal(codec.encode([target_of(beyond)], SIZE))
    torch.testing.assert_close(found(1.0, 41, 3)[0], beyond, rtol=0, atol=1e-4)


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
@pytest.mark.parametrize("placed", [False, True])
def test_maps_of_a_mirrored_image_unflip_exactly(order: Order, placed: bool) -> None:
    codec = QuadCodec(3, order=order, corner_heatmap=placed)
    target = quads(40, seed=6)
    assert target.points is not None
    target.points = (target.points * 8).round() / 8
    if placed:  # nothing lies between two cells: here no corner, below no middle
        target = unshared(target_of(target.points + 1 / 16, target.labels))
        assert target.points is not None
        assert (target.points.mean(1) % 4 > 0).all()
    else:
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


@BOTH
def test_corners_of_neighbours_count_by_their_probability_in_the_nearest_turn(order: Order) -> None:
    codec = QuadCodec(1, order=order, corner_region=1.0, neighbours=1, max_detections=1)
    # A square on its corner, whose upper left corner is another one a little further round.
    square = torch.tensor([[-40.0, 0], [0, -40], [40, 0], [0, 40]]) + torch.tensor([98.0, 98])
    other = square + torch.tensor([[-2.0, -1], [1, -2], [2, 1], [-1, 2]])
    small = (square - 98) / 2 + 98  # overlaps by a quarter: another object's
    encoded = [codec.encode([target_of(each[None])], SIZE) for each in (square, other, small)]
    maps, *others = map(codec.ideal, encoded)
    name, cell = codec.corners.spec.name, 98 // 4
    maps["heatmap"].fill_(-20.0)
    maps["heatmap"][0, 0, cell, cell : cell + 2] = torch.tensor([2.0, 0.5])
    maps["heatmap"][0, 0, cell + 1, cell] = 1.0
    maps[name][..., cell, cell + 1] = others[0][name][..., cell, cell + 1]
    maps[name][..., cell + 1, cell] = others[1][name][..., cell, cell]
    found = codec.decode(maps)["quads"][0, 0]
    weights = torch.tensor([2.0, 0.5]).sigmoid()
    mean = (weights[0] * square + weights[1] * other) / weights.sum()
    turns = range(4) if order == "any" else (0,)
    assert min(float((found - mean.roll(turn, 0)).abs().max()) for turn in turns) < 1e-3
    alone = replace(codec, neighbours=0).decode(maps)["quads"][0, 0]
    assert min(float((alone - square.roll(turn, 0)).abs().max()) for turn in turns) < 1e-3


@BOTH
def test_how_far_corners_are_follows_what_reading_them_gives(order: Order) -> None:
    # A hundredth of the way, it misses by a ten thousandth: the derivative is right.
    maps = QuadCodec(1, order=order).corners
    target = quads(200, seed=3)
    assert target.points is not None
    ways = (target.points - target.points.mean(1, keepdim=True)).double() / 4
    ways = ways + torch.rand(200, 1, 2, dtype=torch.float64) - 0.5
    numbers, errors = maps.written(ways), []
    length = torch.linalg.vector_norm(ways, dim=-1).amax(1)
    for step in (1e-3, 1e-5):
        generator = torch.Generator().manual_seed(7)
        off = step * torch.randn(numbers.shape, generator=generator, dtype=torch.float64)
        read = maps.like(maps.read(numbers + off)[:, None], ways)[:, 0]
        away = maps.away(numbers + off, ways)
        errors.append(((read - ways - away).abs().amax((1, 2)) / length).max())
    assert errors[0] < 1e-3
    assert errors[1] < 1e-7


def moved(way: Tensor, places: Tensor) -> float:
    """Returns the loss of the shape where the corners of objects are said to be moved."""
    codec = QuadCodec(1, order="own", shape_weight=1.0, corner_region=0)
    true, said = (codec.encode([target_of(each)], SIZE) for each in (places, places + way))
    return float(codec.loss(codec.ideal(said), true)["shape"])


def test_the_loss_of_the_shape_is_the_same_for_thin_large_and_leaning_objects() -> None:
    square = torch.tensor([[-20.0, -20], [20, -20], [20, 20], [-20, 20]])
    middle = torch.tensor([[102.0, 102.0]])
    off = torch.tensor([[0.5, -0.25], [-1, 0.5], [0.25, 1], [0.25, -1.25]])  # the middle stays
    values = []
    for change in ([[1.0, 0], [0, 1]], [[2.5, 0], [0, 0.1]], [[2, 0.5], [-0.5, 1.5]]):
        turn = torch.tensor(change)
        values.append(moved(off @ turn, (square @ turn + middle)[None]))
    each = (off.abs().sum(1) / 40).mean()
    assert values == pytest.approx([float(each.log1p())] * 3, rel=1e-3)


def test_an_object_thinner_than_a_pixel_counts_as_one_pixel_wide() -> None:
    square = torch.tensor([[-20.0, -20], [20, -20], [20, 20], [-20, 20]])
    off, middle = torch.tensor([[0.0, 0.5], [0, -0.5], [0, 0.5], [0, -0.5]]), torch.tensor([102.0])
    thick, thin, thinner = (
        moved(off, (square * torch.tensor([1.0, width / 40]) + middle)[None])
        for width in (2.0, 1.0, 0.01)
    )
    assert thick == pytest.approx(math.log1p(0.25), rel=1e-3)
    assert thin == pytest.approx(math.log1p(0.5), rel=1e-3)
    assert thinner == pytest.approx(thin, rel=1e-3)


@BOTH
def test_the_shape_is_learnt_from_anything_that_a_map_says(order: Order) -> None:
    codec = QuadCodec(3, order=order, shape_weight=2.5)
    encoded = codec.encode([quads(30, seed=8)], SIZE)
    ideal = codec.ideal(encoded)
    assert codec.loss(ideal, encoded)["shape"] < 1e-4
    assert "shape" not in replace(codec, shape_weight=0.0).loss(ideal, encoded)
    assert codec.terms == (*replace(codec, shape_weight=0.0).terms, "shape")
    name = codec.corners.spec.name
    for value in (0.0, 50.0, -50.0):
        said = torch.full_like(ideal[name], value, requires_grad=True)
        loss = codec.loss({**ideal, name: said}, encoded)["shape"]
        (gradient,) = torch.autograd.grad(loss, said)
        assert loss.isfinite()
        assert gradient.isfinite().all()
        assert gradient.abs().max() > 0


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
    ("name", "value"),
    [
        ("order", "first"),
        ("corner_region", 1.5),
        ("corners_weight", -1),
        ("shape_weight", -1),
        ("neighbours", -1),
        ("neighbours", 1.0),
    ],
)
def test_fields_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(HeatpointError, match=name):
        replace(QuadCodec(1), **{name: value})  # type: ignore[arg-type]


def test_neighbours_need_cells_that_learn_corners() -> None:
    with pytest.raises(HeatpointError, match="0 without a corner_region, got 2"):
        QuadCodec(1, corner_region=0, neighbours=2)


def test_four_corners_in_one_place_have_no_shape_to_learn() -> None:
    assert moved(torch.tensor([1.0, 0.5]), torch.full((1, 4, 2), 102.0)) == 0
