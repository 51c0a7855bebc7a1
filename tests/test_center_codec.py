"""The centre codec by its own laws: round trips, mirror images, numerics, mistakes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from heatpoint.codecs import Rows, Target
from heatpoint.codecs.center import CenterCodec
from heatpoint.errors import HeatpointError

SIZE = (192, 256)


def _objects(
    count: int, classes: int = 3, seed: int = 0, size: tuple[int, int] = SIZE, step: float = 0
) -> Target:
    """Draws objects with a cell of their own; ``step`` puts the corners onto a grid."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.tensor([size[1], size[0]])
    cells = torch.randperm(size[0] * size[1] // 16, generator=generator)[:count]
    cell = torch.stack((cells % (size[1] // 4), cells // (size[1] // 4)), 1)
    center = 4 * (cell + 0.05 + 0.9 * torch.rand(count, 2, generator=generator))
    half = torch.minimum(center, corner - center)
    half = half * (0.05 + 0.95 * torch.rand(count, 2, generator=generator))
    if step:
        center = (
            4 * cell + 1 + step * torch.randint(0, int(2 / step), (count, 2), generator=generator)
        )
        half = (half / step).ceil() * step
    labels = torch.randint(0, classes, (count,), generator=generator)
    return Target(torch.cat((center - half, center + half), 1), labels)


def _nothing() -> Target:
    return Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))


def _sorted(boxes: Tensor, labels: Tensor) -> Tensor:
    rows = torch.cat((labels[:, None], boxes), 1)
    return rows[np.lexsort(rows.numpy()[:, :3].round(2).T)]


def _found(candidates: Rows, image: int, count: int) -> Tensor:
    assert (candidates["scores"][image, :count] > 0.99).all()
    assert (candidates["scores"][image, count:] < 0.5).all()
    return _sorted(candidates["boxes"][image, :count], candidates["labels"][image, :count])


@pytest.mark.parametrize("rule", ["legacy", "fixed", "half-fixed", "elliptical"])
@pytest.mark.parametrize("region", [0.0, 0.6])
@pytest.mark.parametrize("measure", ["size", "sides"])
def test_decoding_ideal_maps_gives_the_targets(rule: str, region: float, measure: str) -> None:
    given: Any = {"radius": rule, "measure": measure}
    codec = CenterCodec(3, max_detections=500, size_region=region, **given)
    targets = [_objects(20), _nothing(), _objects(1, seed=1), _objects(400, seed=2)]
    encoded = codec.encode(targets, SIZE)
    assert len(encoded) == 421
    assert encoded.collisions() == 0
    candidates = codec.decode(codec.ideal(encoded))
    assert candidates["boxes"].shape == (4, 500, 4)
    for image, target in enumerate(targets):
        found = _found(candidates, image, len(target.labels))
        expected = _sorted(target.boxes, target.labels)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_centres_on_the_border_fall_into_the_last_cell() -> None:
    codec = CenterCodec(2)
    boxes = torch.tensor(
        [[236.0, 172, 276, 212], [-20, -20, 20, 20], [-3, 100, 3, 284], [9, 9, 10, 10]]
    )
    target = Target(boxes, torch.tensor([0, 1, 0, 1]))
    encoded = codec.encode([target], SIZE)
    assert encoded.objects.cell[0] == 48 * 64 - 1
    assert encoded.objects.offset[0].tolist() == [1.0, 1.0]
    found = _found(codec.decode(codec.ideal(encoded)), 0, 4)
    torch.testing.assert_close(found, _sorted(boxes, target.labels), rtol=0, atol=1e-3)


def test_without_an_offset_map_centres_are_off_by_half_a_cell_at_most() -> None:
    codec = CenterCodec(3, offset=False)
    assert [spec.name for spec in codec.maps] == ["heatmap", "size"]
    target = _objects(30)
    encoded = codec.encode([target], SIZE)
    maps = codec.ideal(encoded)
    assert set(codec.loss(maps, encoded)) == {"heatmap", "size"}
    boxes = codec.decode(maps)["boxes"][0, :30]
    distance = (boxes[:, None] - target.boxes).abs().amax(-1).amin(1)
    assert 0.1 < distance.max() <= 2.0 + 1e-4
    assert codec.unflip(maps).keys() == maps.keys()


@pytest.mark.parametrize("measure", ["size", "sides"])
def test_maps_of_a_mirrored_image_unflip_exactly(measure: Any) -> None:
    codec = CenterCodec(3, measure=measure)
    target = _objects(60, step=0.125)
    boxes = target.boxes.clone()
    boxes[:, [0, 2]] = SIZE[1] - boxes[:, [2, 0]]
    maps = codec.ideal(codec.encode([target], SIZE))
    mirrored = codec.ideal(codec.encode([Target(boxes, target.labels)], SIZE))
    back = codec.unflip(mirrored)
    taken = (maps[measure] != 0).any(1)
    assert taken.sum() == 60
    for name, values in maps.items():
        found = back[name]
        if name != "heatmap":
            values, found = (v.movedim(1, -1)[taken] for v in (values, found))
        torch.testing.assert_close(found, values, rtol=0, atol=1e-5)
    merged = codec.merge_flipped(maps, mirrored)
    for name, values in maps.items():
        torch.testing.assert_close(merged[name], values, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("logit", [-50.0, -2.19, 50.0])
@pytest.mark.parametrize("counts", [[0, 0], [1], [500, 3]])
@pytest.mark.parametrize("measure", ["size", "sides"])
def test_loss_is_finite(dtype: torch.dtype, logit: float, counts: list[int], measure: Any) -> None:
    codec = CenterCodec(3, giou_weight=1.0, size_region=0.5, sides_weight=1.0, measure=measure)
    encoded = codec.encode([_objects(n, seed=n) if n else _nothing() for n in counts], SIZE)
    maps = {
        spec.name: torch.full((len(counts), spec.channels, 48, 64), logit, dtype=dtype)
        for spec in codec.maps
    }
    for values in maps.values():
        values.requires_grad_()
    terms = codec.loss(maps, encoded)
    boxes = ["sides"] if measure == "sides" else ["size", "offset"]
    assert tuple(terms) == codec.terms == ("heatmap", *boxes, "giou")
    torch.stack(list(terms.values())).sum().backward()
    for term in terms.values():
        assert term.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert term.isfinite()
        assert term >= 0
    for name, values in maps.items():
        assert values.grad is not None
        assert values.grad.isfinite().all()
        # No object: the heatmap learns that there is nothing, the others learn nothing.
        if sum(counts) == 0 and name != "heatmap":
            assert (values.grad == 0).all()


def test_sides_are_distances_from_the_middle_of_a_cell() -> None:
    boxes = torch.tensor([[8.0, 4, 24, 40], [101, 101, 102, 102]])  # the second is beside it
    codec = CenterCodec(1, measure="sides")
    encoded = codec.encode([Target(boxes, torch.tensor([0, 0]))], SIZE)
    sides = codec.ideal(encoded)["sides"][0]
    distance = torch.tensor([10.0, 18, 6, 18]) / 4  # of the centre of cell (4, 5): (18, 22)
    torch.testing.assert_close(sides[:, 5, 4], 1 + distance.log())
    assert sides[:, 25, 25].tolist() == [0.25, 0.25, 0.0, 0.0]
    untrained = codec._says.read({"sides": torch.full((1, 4), codec.maps[1].bias)})[1]
    torch.testing.assert_close(untrained, torch.full((1, 2), 16.0))


def test_ideal_maps_have_next_to_no_loss() -> None:
    codec = CenterCodec(3, giou_weight=1.0)
    encoded = codec.encode([_objects(1, seed=4)], SIZE)
    terms = codec.loss(codec.ideal(encoded), encoded)
    assert terms["size"] == 0
    assert terms["offset"] == 0
    assert terms["giou"] < 1e-4
    worse = {**codec.ideal(encoded), "heatmap": torch.full((1, 3, 48, 64), -2.19)}
    assert terms["heatmap"] < codec.loss(worse, encoded)["heatmap"]


def test_coinciding_centres_are_one_positive() -> None:
    boxes = torch.tensor([[40.0, 40, 80, 80], [50, 50, 70, 70], [20, 20, 100, 100]])
    target = Target(boxes, torch.tensor([1, 1, 0]))
    encoded = CenterCodec(2).encode([target], SIZE)
    assert encoded.counts.tolist() == [2.0, 3.0]
    assert encoded.collisions() == 3
    assert len(encoded.samples.cell) == 3
    last = CenterCodec(2, collisions="last").encode([target], SIZE)
    assert last.samples.size.tolist() == [[20.0, 20.0]]
    assert last.counts.tolist() == [2.0, 1.0]


def test_dividing_by_objects_doubles_the_published_loss() -> None:
    codec = CenterCodec(3)
    encoded = codec.encode([_objects(7)], SIZE)
    maps = {spec.name: torch.zeros(1, spec.channels, 48, 64) for spec in codec.maps}
    published = codec.loss(maps, encoded)
    ported = replace(codec, normaliser="objects").loss(maps, encoded)
    assert ported["size"] / published["size"] == pytest.approx(2, rel=1e-4)
    assert ported["heatmap"] == published["heatmap"]


def test_mean_counts_make_processes_equal_one_batch() -> None:
    codec = CenterCodec(3)
    targets = [_objects(30), _objects(2, seed=1)]
    generator = torch.Generator().manual_seed(0)
    maps = {
        spec.name: torch.randn(2, spec.channels, 48, 64, generator=generator) for spec in codec.maps
    }
    together = codec.loss(maps, codec.encode(targets, SIZE))
    parts = [codec.encode([target], SIZE) for target in targets]
    counts = torch.stack([part.counts for part in parts]).mean(0)
    apart = [
        codec.loss({k: v[i : i + 1] for k, v in maps.items()}, part.with_counts(counts))
        for i, part in enumerate(parts)
    ]
    for name, term in together.items():
        mean = (apart[0][name] + apart[1][name]) / 2
        torch.testing.assert_close(mean, term, rtol=1e-5, atol=0)


@pytest.mark.parametrize("rule", ["legacy", "elliptical"])
def test_a_region_trains_the_same_box_at_neighbouring_cells(rule: str) -> None:
    codec = CenterCodec(1, size_region=0.5, radius=rule)  # type: ignore[arg-type]
    boxes = torch.tensor([[10.0, 10, 150, 130], [61, 40, 113, 100]])
    encoded = codec.encode([Target(boxes, torch.tensor([0, 0]))], SIZE)
    at = encoded.samples
    assert torch.equal(at.cell[:2], encoded.objects.cell)
    assert len(at.cell) == len(at.cell.unique()) > 50
    corner = torch.stack((at.cell % 64, at.cell // 64), 1)
    center = corner + at.offset
    found = 4 * torch.cat((center - at.size / 2, center + at.size / 2), 1)
    distance, owner = (found[:, None] - boxes).abs().amax(-1).min(1)
    assert distance.max() < 1e-3
    for number in range(2):
        weight = at.weight[owner == number]
        assert weight.sum() == pytest.approx(1)
        assert weight[0] == weight.max()
    # The smaller object has all of its region, apart from the other's own cell.
    sides = 2 * (encoded.radius[1] * 0.5).long() + 1
    assert (owner == 1).sum() == sides.prod() - 1
    assert (owner == 0).sum() > 50


@pytest.mark.parametrize("measure", ["size", "sides"])
@pytest.mark.parametrize("neighbours", [1, 2])
def test_averages_over_neighbours_of_ideal_maps_are_the_boxes(
    measure: Any, neighbours: int
) -> None:
    codec = CenterCodec(
        3, max_detections=500, size_region=0.6, measure=measure, neighbours=neighbours
    )
    targets = []
    for count in (20, 0, 1, 400):
        drawn = _objects(count, seed=count)
        alone = (_overlaps(drawn.boxes) >= 0.6).sum(1) == 1
        targets.append(Target(drawn.boxes[alone], drawn.labels[alone]))
    assert len(targets[-1].labels) > 200
    candidates = codec.decode(codec.ideal(codec.encode(targets, SIZE)))
    for image, target in enumerate(targets):
        found = _found(candidates, image, len(target.labels))
        expected = _sorted(target.boxes, target.labels)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def _overlaps(boxes: Tensor) -> Tensor:
    low = torch.maximum(boxes[:, None, :2], boxes[:, :2])
    high = torch.minimum(boxes[:, None, 2:], boxes[:, 2:])
    shared, area = (high - low).clamp(min=0).prod(-1), (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    return shared / (area[:, None] + area - shared)


def test_boxes_of_neighbours_count_by_their_probability_where_they_overlap() -> None:
    heatmap = torch.full((1, 2, 6, 7), -200.0)
    size, offset = torch.full((1, 2, 6, 7), 3.0), torch.full((1, 2, 6, 7), 0.5)
    heatmap[0, 1, 0, 3], heatmap[0, 1, 0, 4], heatmap[0, 1, 1, 3] = 2.0, 0.0, 1.0
    offset[0, :, 0, 4] = torch.tensor([-0.3, 0.7])  # centre 3.7, 0.7
    size[0, :, 0, 4] = torch.tensor([2.8, 3.2])
    size[0, :, 1, 3] = torch.tensor([1.5, 2.0])  # overlaps by a third: another object's
    maps = {"heatmap": heatmap, "size": size, "offset": offset}
    codec = CenterCodec(2, size_region=0.5, neighbours=1, max_detections=3)
    rows = codec.decode(maps)
    # The row of cells beyond the border is the first one again, so both count twice.
    weights = torch.tensor([2.0, 0.0]).sigmoid()
    says = torch.tensor([[2.0, -1.0, 5.0, 2.0], [2.3, -0.9, 5.1, 2.3]])
    expected = (weights[:, None] * says).sum(0) / weights.sum() * 4
    torch.testing.assert_close(rows["boxes"][0, 0], expected)
    assert rows["boxes"].isfinite().all()
    alone = replace(codec, neighbours=0).decode(maps)
    torch.testing.assert_close(alone["boxes"][0, 0], says[0] * 4)
    assert torch.equal(alone["scores"], rows["scores"])


def test_export_equals_eager() -> None:
    class Decoder(torch.nn.Module):
        def forward(self, heatmap: Tensor, size: Tensor, offset: Tensor) -> Rows:
            maps = {"heatmap": heatmap, "size": size, "offset": offset}
            return CenterCodec(3, max_detections=50).decode(maps)

    generator = torch.Generator().manual_seed(0)
    maps = tuple(torch.randn(2, n, 48, 64, generator=generator) for n in (3, 2, 2))
    exported = torch.export.export(Decoder(), maps).module()(*maps)
    eager = Decoder()(*maps)
    assert exported.keys() == eager.keys()
    for name, expected in eager.items():
        assert torch.equal(exported[name], expected)


def test_codec_survives_json() -> None:
    codec = CenterCodec(7, radius="fixed", overlap=0.3, clamp=1e-4, size_region=0.5, neighbours=1)
    assert CenterCodec(**json.loads(json.dumps(asdict(codec)))) == codec


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"radius": "legacyy"}, "did you mean 'legacy'"),
        ({"border": "cell"}, "did you mean 'cells'"),
        ({"normaliser": "object"}, "did you mean 'objects'"),
        ({"collisions": "first"}, "keep, last"),
        ({"classes": 0}, "classes must be a whole number"),
        ({"max_detections": 2.5}, "max_detections must be a whole number"),
        ({"peak_kernel": 4}, "must be odd"),
        ({"clamp": 0.7}, "clamp must lie between 0 and 0.5"),
        ({"overlap": 1.5}, "overlap must lie between 0 and 1"),
        ({"size_weight": -1.0}, "size_weight must be at least 0"),
        ({"alpha": 0.0}, "alpha must lie in"),
        ({"size_region": 2.0}, "size_region"),
        ({"measure": "side"}, "did you mean 'sides'"),
        ({"neighbours": 1}, "neighbours must be .* 0 without a size_region, got 1"),
        ({"neighbours": -1, "size_region": 0.5}, "neighbours must be a whole number"),
        ({"neighbours": 1.0, "size_region": 0.5}, "neighbours must be a whole number"),
    ],
)
def test_mistaken_fields_are_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(HeatpointError, match=message):
        CenterCodec(**{"classes": 3, **fields})  # type: ignore[arg-type]


def test_without_a_region_other_cells_have_learnt_no_box() -> None:
    codec = CenterCodec(3, size_region=1.0, neighbours=2)
    assert codec.tuned("small", {"size_region": 0.0}).neighbours == 0
    assert codec.tuned("small", {"size_region": 0.5}).neighbours == 2
    with pytest.raises(HeatpointError, match="0 without a size_region, got 1"):
        codec.tuned("small", {"size_region": 0.0, "neighbours": 1})


@pytest.mark.parametrize(
    ("box", "label"),
    [
        ([10.0, 10, 10, 20], 0),
        ([20.0, 10, 10, 20], 0),
        ([10.0, 10, float("nan"), 20], 0),
        ([10.0, 10, float("inf"), 20], 0),
        ([300.0, 10, 320, 20], 0),
        ([10.0, 10, 20, 20], 3),
        ([10.0, 10, 20, 20], -1),
    ],
)
def test_objects_that_cannot_be_encoded_are_named(box: list[float], label: int) -> None:
    target = Target(torch.tensor([box]), torch.tensor([label]))
    with pytest.raises(ValueError, match="image 1 of the batch"):
        CenterCodec(3).encode([_objects(2), target], SIZE)


def test_input_must_be_a_multiple_of_the_stride() -> None:
    with pytest.raises(ValueError, match="multiple of the stride"):
        CenterCodec(3).encode([_nothing()], (190, 256))
