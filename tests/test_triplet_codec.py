"""The triplet codec by its own laws: what a centre confirms, whose score counts, mistakes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_corner_codec import SIZE, in_order, nothing, objects, sure
from torch import Tensor

from heatpoint.codecs import Maps, Target
from heatpoint.codecs.triplets import TripletCodec
from heatpoint.errors import HeatpointError


def alone(count: int, seed: int = 0, trim: int = 0) -> tuple[Target, tuple[int, int]]:
    """Returns objects of which no two have their centres in one cell, and the size of the input."""
    size = (SIZE[0] - trim, SIZE[1] - trim)
    found = objects(count + count // 5, seed=seed, size=size)
    cell = 2 * torch.tensor([size[1] / (SIZE[1] // 4), size[0] / (SIZE[0] // 4)])
    cells = ((found.boxes[:, :2] + found.boxes[:, 2:]) / cell).floor().tolist()
    rows = [row for row, cell in enumerate(cells) if cell not in cells[:row]][:count]
    assert len(rows) == count
    return Target(found.boxes[rows], found.labels[rows]), size


@pytest.mark.parametrize("trim", [0, 1])
def test_decoding_ideal_maps_gives_the_targets(trim: int) -> None:
    codec = TripletCodec(3, trim=trim, corners=200)
    crowd, size = alone(150, 2, trim)
    targets = [alone(20, 0, trim)[0], nothing(), alone(1, 1, trim)[0], crowd]
    encoded = codec.encode(targets, size)
    assert len(encoded.center.cell) == len(encoded) == 171
    candidates = codec.decode(codec.ideal(encoded))
    assert candidates["boxes"].shape == (4, 1000, 4)
    for image, target in enumerate(targets):
        found = sure(candidates, image, len(target.labels))
        expected = in_order(target.boxes, target.labels)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_200_objects_of_one_class() -> None:
    cells = torch.randperm(50 * 50, generator=torch.Generator().manual_seed(1))[:200]
    start = torch.stack((cells % 50, cells // 50), 1) * 8.0
    boxes = torch.cat((start, start + 32), 1)
    codec = TripletCodec(1, corners=200)
    found = codec.decode(
        codec.ideal(codec.encode([Target(boxes, torch.zeros(200).long())], (512, 512)))
    )
    found = found["boxes"][0][found["scores"][0] > 0.99]
    assert ((found[:, None] - boxes).abs().amax(-1) < 1e-3).any(0).all()


@pytest.mark.parametrize("trim", [0, 1])
def test_the_mirror_image_gives_the_same_boxes(trim: int) -> None:
    codec = TripletCodec(3, trim=trim)
    target, size = alone(30, 3, trim)
    boxes = target.boxes.clone()
    boxes[:, [0, 2]] = size[1] - boxes[:, [2, 0]]
    own, empty = (codec.ideal(codec.encode([each], size)) for each in (target, nothing()))
    mirrored = codec.ideal(codec.encode([Target(boxes, target.labels)], size))
    assert not set(codec.unflip(mirrored)) & set(mirrored)
    expected = in_order(target.boxes, target.labels)
    found = sure(codec.decode(codec.merge_flipped(empty, mirrored)), 0, 30)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    both = codec.decode(codec.merge_flipped(own, mirrored))
    assert both["boxes"].shape == (1, 2000, 4)
    assert (both["scores"][0] > 0.99).sum() == 60
    # A centre that one of the two images shows confirms the pairs of both.
    blind = {name: empty[name] if "center" in name else own[name] for name in own}
    assert (codec.decode(codec.merge_flipped(blind, mirrored))["scores"][0] > 0.99).sum() == 60


def one_box(
    box: list[float], centers: list[tuple[float, float, int, float]], codec: TripletCodec
) -> Tensor:
    """Returns the scores for one box of class 0 between corners of probability 0.6 and 0.8.

    Args:
        box: In input pixels.
        centers: x, y, class and probability of each.
        codec: With stride 4.
    """
    maps: Maps = codec.ideal(codec.encode([Target(torch.tensor([box]), torch.tensor([0]))], SIZE))
    maps = {name: values.clone() for name, values in maps.items()}
    for corner, probability in (("top_left", 0.6), ("bottom_right", 0.8)):
        heatmap = torch.full_like(maps[corner], -20.0)
        peak = maps[corner].flatten().argmax()
        heatmap.view(-1)[peak] = torch.logit(torch.tensor(probability))
        maps[corner] = heatmap
    maps["center"] = torch.full_like(maps["center"], -20.0)
    for x, y, label, probability in centers:
        column, row = int(x // 4), int(y // 4)
        maps["center"][0, label, row, column] = torch.logit(torch.tensor(probability))
        maps["center_offset"][0, :, row, column] = torch.tensor([x / 4 - column, y / 4 - row])
    return codec.decode(maps)["scores"][0]


SMALL = [30.0, 30.0, 150.0, 90.0]
"""Its middle third reaches from 70 to 110, and from 50 to 70."""

LARGE = [10.0, 10.0, 210.0, 160.0]
"""Its middle fifth reaches from 90 to 130, and from 70 to 100."""


@pytest.mark.parametrize(
    ("box", "center", "confirmed"),
    [
        (SMALL, (90, 60), True),
        (SMALL, (71, 51), True),
        (SMALL, (109, 69), True),
        (SMALL, (69, 60), False),
        (SMALL, (90, 71), False),
        (SMALL, (111, 60), False),
        (SMALL, (90, 49), False),
        (LARGE, (91, 71), True),
        (LARGE, (129, 99), True),
        (LARGE, (88, 85), False),
        (LARGE, (110, 102), False),
    ],
)
def test_a_centre_must_lie_in_the_middle(
    box: list[float], center: tuple[float, float], confirmed: bool
) -> None:
    codec = TripletCodec(2)
    scores = one_box(box, [(*center, 0, 0.9)], codec)
    expected = (0.6 + 0.8 + 0.9) / 3 if confirmed else 0.0
    assert scores[0].item() == pytest.approx(expected, abs=1e-5)
    assert (scores[1:] < 1e-4).all()
    assert one_box(box, [(*center, 1, 0.9)], codec)[0] < 1e-4


def test_the_area_decides_how_large_the_middle_is() -> None:
    near = [(72.0, 60.0, 0, 0.9)]
    area = 120.0 * 60.0
    assert one_box(SMALL, near, TripletCodec(1, small_area=area))[0] > 0.7
    assert one_box(SMALL, near, TripletCodec(1, small_area=area - 1))[0] == 0


def test_the_best_centre_that_fits_counts() -> None:
    centers = [(90.0, 60.0, 0, 0.5), (100.0, 60.0, 0, 0.7), (20.0, 60.0, 0, 0.99)]
    score = one_box(SMALL, centers, TripletCodec(1))[0].item()
    assert score == pytest.approx((0.6 + 0.8 + 0.7) / 3, abs=1e-5)
    # The best may be none of those that are looked for.
    assert one_box(SMALL, centers, TripletCodec(1, corners=1))[0] == 0


def test_blobs_of_centres_are_wider() -> None:
    codec = TripletCodec(1)
    box = torch.tensor([[40.0, 40.0, 120.0, 120.0]])
    encoded = codec.encode([Target(box, torch.tensor([0]))], SIZE)
    counts = [len(points.blobs.windows.cell) for points in (encoded.top_left, encoded.center)]
    assert counts[0] == counts[1]
    sums = [
        points.blobs.windows.value.sum().item() for points in (encoded.top_left, encoded.center)
    ]
    assert sums[0] < sums[1]
    assert encoded.counts.tolist() == [1, 1, 1, 1, 1]
    assert encoded.preview()[0, 0, 20, 20] == 1


def test_the_loss_of_ideal_maps_is_least() -> None:
    codec = TripletCodec(3)
    encoded = codec.encode([objects(12, seed=5)], SIZE)
    ideal = codec.ideal(encoded)
    terms = codec.loss(ideal, encoded)
    assert terms["center_offset"] == 0
    worse = {name: values + 0.3 * torch.randn_like(values) for name, values in ideal.items()}
    for name, term in codec.loss(worse, encoded).items():
        assert term > terms[name] or name == "push"


def test_mistakes_in_the_codec() -> None:
    with pytest.raises(HeatpointError, match="small_area must be at least 0"):
        TripletCodec(3, small_area=-1.0)
    with pytest.raises(HeatpointError, match="corners must be a whole number"):
        replace(TripletCodec(3), corners=0)
