"""The point codec by its own laws: round trips, mirror images, crowds, mistakes, golden blobs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from golden_files import tensors
from torch import Tensor

from heatpoint.codecs import Rows, Target
from heatpoint.codecs.points import PointCodec
from heatpoint.errors import HeatpointError

SIZE = (192, 256)


def target_of(points: Tensor, labels: Tensor) -> Target:
    """Returns points (N, 2) as a target."""
    return Target(torch.cat((points, points), 1), labels, points=points[:, None])


def points(count: int, classes: int = 3, seed: int = 0, stride: int = 4) -> Target:
    """Draws points with a cell of their own."""
    generator = torch.Generator().manual_seed(seed)
    height, width = (side // stride for side in SIZE)
    cells = torch.randperm(height * width, generator=generator)[:count]
    inside = 0.02 + 0.96 * torch.rand(count, 2, generator=generator)
    places = (torch.stack((cells % width, cells // width), 1) + inside) * stride
    return target_of(places, torch.randint(0, classes, (count,), generator=generator))


def found(rows: Rows, image: int, target: Target) -> tuple[Tensor, Tensor]:
    """Returns what was found and what was to be found, both as rows of label, x and y in order."""
    count = len(target.labels)
    assert (rows["scores"][image, :count] > 0.99).all()
    assert (rows["scores"][image, count:] < 0.5).all()
    assert target.points is not None
    both = []
    for labels, places in (
        (rows["labels"][image, :count], rows["points"][image, :count]),
        (target.labels, target.points[:, 0]),
    ):
        table = torch.cat((labels[:, None], places), 1)
        both.append(table[np.lexsort(table.numpy().round(2).T)])
    return both[0], both[1]


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("region", [0, 1, 3])
@pytest.mark.parametrize("spacing", [0.0, 0.5])
def test_decoding_ideal_maps_gives_the_points(stride: int, region: int, spacing: float) -> None:
    codec = PointCodec(3, stride, offset_region=region, spacing=spacing)
    targets = [points(n, seed=n, stride=stride) for n in (20, 0, 1, 900)]
    encoded = codec.encode(targets, SIZE)
    assert len(encoded) == 921
    assert encoded.collisions() == 0
    rows = codec.decode(codec.ideal(encoded))
    assert rows["points"].shape == (4, 2000, 2)
    for image, target in enumerate(targets):
        torch.testing.assert_close(*found(rows, image, target), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("region", "neighbours"), [(1, 1), (3, 1), (3, 2)])
def test_averages_over_neighbours_of_ideal_maps_are_the_points(
    region: int, neighbours: int
) -> None:
    codec = PointCodec(3, 4, offset_region=region, point_radius=3, neighbours=neighbours)
    targets = []
    for count in (20, 0, 1, 900):
        drawn = points(count, seed=count)
        assert drawn.points is not None
        cells = drawn.points[:, 0] / 4
        near = (cells[:, None] - cells).abs().amax(-1) <= 0.51
        alone = near.sum(1) == 1
        targets.append(target_of(drawn.points[alone, 0], drawn.labels[alone]))
    assert len(targets[-1].labels) > 600
    rows = codec.decode(codec.ideal(codec.encode(targets, SIZE)))
    for image, target in enumerate(targets):
        torch.testing.assert_close(*found(rows, image, target), rtol=0, atol=1e-3)


def test_neighbours_count_by_their_probability_where_they_agree() -> None:
    heatmap, offset = torch.full((1, 2, 6, 7), -200.0), torch.full((1, 2, 6, 7), 0.5)
    heatmap[0, 1, 0, 3], heatmap[0, 1, 0, 4], heatmap[0, 1, 1, 3] = 2.0, 0.0, 1.0
    offset[0, :, 0, 3] = torch.tensor([0.7, 0.4])
    offset[0, :, 0, 4] = torch.tensor([-0.2, 0.5])  # in this cell's frame: 3.8 and 0.5
    offset[0, :, 1, 3] = torch.tensor([0.9, 0.1])  # 3.9 and 1.1, which is too far away
    maps = {"heatmap": heatmap, "offset": offset}
    codec = PointCodec(2, 4, neighbours=1, max_detections=3)
    rows = codec.decode(maps)
    weights = torch.tensor([2.0, 0.0]).sigmoid()
    # The row of cells beyond the border is the first one again.
    says = torch.tensor([[3.7, 0.4], [3.8, 0.5]])
    expected = (weights[:, None] * says).sum(0) / weights.sum() * 4
    torch.testing.assert_close(rows["points"][0, 0], expected)
    assert rows["points"].isfinite().all()
    alone = PointCodec(2, 4, max_detections=3).decode(maps)
    torch.testing.assert_close(alone["points"][0, 0], torch.tensor([3.7, 0.4]) * 4)


@pytest.mark.parametrize("neighbours", [-1, 2, 1.0, True])
def test_neighbours_that_learn_nothing_are_refused(neighbours: Any) -> None:
    with pytest.raises(HeatpointError, match=r"neighbours must be .* offset_region of 1, got"):
        PointCodec(1, neighbours=neighbours)


def test_points_on_the_border_fall_into_the_last_cell() -> None:
    codec = PointCodec(2)
    target = target_of(torch.tensor([[256.0, 192], [0, 0], [256, 0]]), torch.tensor([0, 1, 0]))
    encoded = codec.encode([target], SIZE)
    assert encoded.objects.cell[0] == 48 * 64 - 1
    assert encoded.objects.offset[0].tolist() == [1.0, 1.0]
    rows = codec.decode(codec.ideal(encoded))
    torch.testing.assert_close(*found(rows, 0, target), rtol=0, atol=1e-3)


def test_blobs_reach_less_where_points_of_a_class_crowd() -> None:
    places = torch.tensor([[40.0, 40], [52, 40], [41, 41], [120, 40], [129, 40], [200, 100]])
    labels = torch.tensor([0, 0, 1, 0, 0, 0])
    target = target_of(places, labels)
    encoded = PointCodec(2, point_radius=3).encode([target, points(0)], SIZE)
    # Three cells from the next one of its class, another class close by, two and a quarter, alone.
    assert encoded.radius[:, 0].tolist() == [1, 1, 3, 1, 1, 3]
    fixed = PointCodec(2, point_radius=3, spacing=0).encode([target], SIZE)
    assert fixed.radius[:, 0].tolist() == [3] * 6
    valley = encoded.preview()[0, 0, 10]
    assert valley[10] == valley[13] == 1
    assert valley[11] < 0.2


def test_a_crowd_is_measured_in_parts() -> None:
    many = points(1500)
    codec = PointCodec(3, point_radius=2)
    encoded = codec.encode([many, points(3)], SIZE)
    assert many.points is not None
    cells, same = many.points[:, 0] / 4, many.labels[:, None] == many.labels
    away = (cells[:, None] - cells).norm(dim=-1).masked_fill(~same, torch.inf)
    near = away.fill_diagonal_(torch.inf).amin(1)
    expected = (near / 2).clamp(max=2).long()
    assert (encoded.radius[:1500, 0] != expected).sum() <= 2  # by rounding


def test_blobs_equal_the_published_drawing() -> None:
    data = tensors("gaussian")
    expected = data["heatmap_sixth"]
    planes, height, width = expected.shape
    places, drawn = (data["draw_center"] + 0.3) * 4, torch.zeros_like(expected)
    for radius in data["draw_radius"].unique().tolist():
        own = data["draw_radius"] == radius
        codec = PointCodec(planes, point_radius=radius, spacing=0)
        target = target_of(places[own].float(), data["draw_channel"][own])
        preview = codec.encode([target], (4 * height, 4 * width)).preview()[0]
        drawn = torch.maximum(drawn, preview)  # as published, where blobs overlap
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-6)


def test_maps_of_a_mirrored_image_unflip_exactly() -> None:
    codec, target = PointCodec(3), points(60)
    assert target.points is not None
    target.points = (target.points * 8).round() / 8 + 1 / 16
    other = target.points.clone()
    other[..., 0] = SIZE[1] - other[..., 0]
    maps = codec.ideal(codec.encode([target], SIZE))
    mirrored = codec.ideal(codec.encode([target_of(other[:, 0], target.labels)], SIZE))
    torch.testing.assert_close(codec.unflip(mirrored)["heatmap"], maps["heatmap"])
    plain, merged = codec.decode(maps), codec.decode(codec.merge_flipped(maps, mirrored))
    torch.testing.assert_close(merged["points"][0, :60], plain["points"][0, :60], rtol=0, atol=1e-3)


def test_one_cell_is_one_thing_unless_asked_otherwise() -> None:
    target = target_of(torch.tensor([[101.0, 83], [102, 82]]), torch.tensor([0, 1]))
    for codec, count in ((PointCodec(2), 1), (PointCodec(2, one_class_per_cell=False), 2)):
        rows = codec.decode(codec.ideal(codec.encode([target], SIZE)))
        assert (rows["scores"][0] > 0.9).sum() == count


def test_a_peak_beside_its_point_still_leads_to_it() -> None:
    codec, target = PointCodec(1), target_of(torch.tensor([[101.0, 83]]), torch.zeros(1).long())
    maps = codec.ideal(codec.encode([target], SIZE))
    maps["heatmap"] = maps["heatmap"].roll(1, -1)
    torch.testing.assert_close(codec.decode(maps)["points"][0, 0], torch.tensor([101.0, 83]))


def test_ideal_maps_have_next_to_no_loss() -> None:
    codec = PointCodec(3)
    encoded = codec.encode([points(40)], SIZE)
    terms = codec.loss(codec.ideal(encoded), encoded)
    assert terms["offset"] == 0
    untrained = {"heatmap": torch.full((1, 3, 48, 64), -2.19), "offset": torch.zeros(1, 2, 48, 64)}
    assert terms["heatmap"] < 0.05 * codec.loss(untrained, encoded)["heatmap"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Target(torch.zeros(1, 4), torch.zeros(1).long()), "points of shape None"),
        (
            Target(torch.zeros(1, 4), torch.zeros(1).long(), points=torch.zeros(1, 4, 2)),
            r"points of shape \(1, 4, 2\), expected \(1, 1, 2\)",
        ),
        (target_of(torch.tensor([[-3.0, 5]]), torch.zeros(1).long()), "must lie within the input"),
        (target_of(torch.tensor([[torch.nan, 5]]), torch.zeros(1).long()), "must lie within"),
        (target_of(torch.tensor([[3.0, 5]]), torch.ones(1).long()), "with label 1"),
    ],
)
def test_what_cannot_be_encoded_is_said(wrong: Target, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PointCodec(1).encode([wrong], SIZE)


def test_the_sum_of_a_density_map_is_the_count() -> None:
    codec = PointCodec(3, density=10.0)
    targets = [
        points(200, stride=1),
        points(0),
        target_of(torch.tensor([[0.0, 0], [256, 192]]), torch.tensor([1, 1])),
    ]
    encoded = codec.encode(targets, SIZE)
    ideal = codec.ideal(encoded)
    counts = torch.stack([target.labels.bincount(minlength=3) for target in targets])
    # Also where points share a cell, and where the border cuts their blobs.
    torch.testing.assert_close(codec.decode(ideal)["density"].sum(1), counts.float())
    assert codec.loss(ideal, encoded)["density"] == 0
    # The mean of what is possible costs the least: half a point rather than none or a whole one.
    other = codec.encode([targets[1], *targets[1:]], SIZE)
    costs = []
    for share in (0.0, 0.5, 1.0):
        maps = {**ideal, "density": share * ideal["density"]}
        maps["density"][1:] = ideal["density"][1:]
        costs.append(
            sum(
                float(codec.loss(maps, each)["density"]) * max(1.0, float(each.counts[0]))
                for each in (encoded, other)
            )
        )
    assert costs[1] < 0.6 * min(costs[0], costs[2])


def test_without_density_nothing_is_added() -> None:
    codec = PointCodec(3)
    assert [spec.name for spec in codec.maps] == ["heatmap", "offset"]
    assert [field.name for field in codec.answer] == ["points", "scores", "labels"]
    assert codec.terms == ("heatmap", "offset")


@pytest.mark.parametrize(
    ("name", "value"),
    [("density", -1.0), ("point_radius", -1), ("offset_region", 0.5), ("spacing", -0.5)],
)
def test_fields_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(HeatpointError, match=name):
        PointCodec(1, **{name: value})  # type: ignore[arg-type]
