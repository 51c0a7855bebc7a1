"""The codec of centres and sides: beside the published program's numbers, and by its own laws."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from golden_files import cases, part, tensors
from torch import Tensor

from heatpoint.codecs import Target
from heatpoint.codecs.encoded import Blobs
from heatpoint.codecs.gaussian import Windows
from heatpoint.codecs.ttf import SideSamples, TTFCodec, TTFEncoded
from heatpoint.errors import HeatpointError

SIZE = (192, 256)
TARGETS, LOSSES, DECODED = "targets_ttfnet", "losses_ttfnet", "decode_ttfnet"
THRESHOLD = 0.01
"""Of the published program, where a key names no other."""

VARIANTS: dict[str, dict[str, object]] = {
    "": {},
    "beta0.2.": {"beta": 0.2},
    "sqrt_area.": {"area": "sqrt"},
    "per_class.": {"per_class": True},
}
"""What differs in the variants of the targets, by the start of their keys."""


def published(classes: int, **fields: object) -> TTFCodec:
    return TTFCodec(classes, border="pixels", collisions="smallest", clamp=1e-4, **fields)  # type: ignore[arg-type]


def corners(at: SideSamples, width: int) -> Tensor:
    """Returns x and y of the corners that sides are measured from, twice: (S, 4)."""
    return 4.0 * torch.stack((at.cell % width, at.cell // width), 1).repeat(1, 2)


@pytest.mark.parametrize("variant", VARIANTS)
def test_targets_equal_the_published_program(variant: str) -> None:
    data = tensors(TARGETS)
    images = cases(TARGETS, r"boxes(\d+)$")
    targets = [Target(data[f"boxes{i}"], data[f"labels{i}"].long()) for i in images]
    height, width = (int(side) for side in data["input_height_width"])
    codec = published(data["heatmap"].shape[1], **VARIANTS[variant])
    encoded = codec.encode(targets, (height, width))
    torch.testing.assert_close(encoded.preview(), data["heatmap"], rtol=0, atol=1e-6)
    at = encoded.samples
    get = {key: torch.from_numpy(value) for key, value in part(TARGETS, variant).items()}
    shares = codec.classes if codec.per_class else 1
    weight = encoded.map_of(at.weight[:, None], at.plane, at.cell, shares)
    torch.testing.assert_close(weight, get["weight"], rtol=0, atol=1e-5)
    away = torch.tensor((-1.0, -1.0, 1.0, 1.0))
    boxes = encoded.map_of(corners(at, width // 4) + away * at.sides, at.plane, at.cell, shares)
    boxes = torch.where(weight.repeat_interleave(4, 1) > 0, boxes, -1.0)
    torch.testing.assert_close(boxes, get["box_target"], rtol=0, atol=1e-4)


def test_losses_equal_the_published_program() -> None:
    data = tensors(LOSSES)
    heatmap, weight, boxes = (data[key] for key in ("heatmap", "weight", "box_target"))
    batch, classes, height, width = heatmap.shape
    image, _, row, column = (weight > 0).nonzero().unbind(1)
    flat = heatmap.flatten()
    cells, edges = flat.nonzero()[:, 0], torch.arange(batch * classes + 1) * height * width
    peaks = (flat == 1).nonzero()[:, 0]
    windows = Windows(cells, flat[cells], torch.ones_like(cells))
    at = SideSamples(image, row * width + column, boxes[image, :, row, column], torch.zeros(0))
    given = (at.sides - corners(at, width)) * torch.tensor((-1.0, -1.0, 1.0, 1.0))
    at = at._replace(sides=given, weight=weight[image, 0, row, column])
    encoded = TTFEncoded(
        batch=batch,
        classes=classes,
        map_size=(height, width),
        label=torch.zeros(0).long(),
        image=image,
        cell=at.cell,
        blobs=Blobs(windows, torch.searchsorted(cells, edges), peaks),
        samples=at,
        counts=torch.stack((torch.tensor(float(len(peaks))), at.weight.sum())),
    )
    codec = published(classes)
    maps = {
        "heatmap": data["logits"].double().requires_grad_(),
        "sides": data["sides"].double().requires_grad_(),
    }
    found = codec.loss({**maps, "sides": maps["sides"] / codec.unit}, encoded)
    torch.stack(list(found.values())).sum().backward()
    for name, term, key in (("heatmap", "heatmap", "heatmap"), ("sides", "giou", "size")):
        assert found[term].item() == pytest.approx(data[f"{key}_loss"].item(), rel=1e-6)
        expected, gradient = data[f"{name}_gradient"], maps[name].grad
        assert gradient is not None
        assert (gradient - expected).abs().max() <= 1e-6 * expected.abs().max()


@pytest.mark.parametrize("key", cases(DECODED, r"(\S*boxes\d+)$"))
def test_decoding_equals_the_published_program(key: str) -> None:
    data, image = tensors(DECODED), int(key[-1])
    classes = data["logits"].shape[1]
    codec = TTFCodec(classes)
    rows = codec.decode({"heatmap": data["logits"], "sides": data["sides"] / codec.unit})
    expected, labels = data[key], data[key.replace("boxes", "labels")]
    boxes, scores = rows["boxes"][image], rows["scores"][image]
    height, width = (int(side) for side in data["input_height_width"])
    boxes = torch.minimum(boxes, torch.tensor([width - 1, height - 1] * 2)).clamp(min=0)
    rescaled = re.match(r"rescaled_threshold(\d\.\d)_", key)
    kept = scores > (float(rescaled[1]) if rescaled else THRESHOLD)
    if rescaled:
        boxes = boxes / data["scale_factor"].float()
    assert kept.sum() == len(expected)
    torch.testing.assert_close(boxes[kept], expected[:, :4], rtol=0, atol=1e-3)
    torch.testing.assert_close(scores[kept], expected[:, 4], rtol=0, atol=1e-5)
    assert torch.equal(rows["labels"][image][kept], labels.long())


def objects(count: int, seed: int = 0, smallest: float = 8.0) -> Target:
    """Draws boxes in sixteenths of a pixel, whose centres have cells of their own."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randperm(SIZE[0] * SIZE[1] // 16, generator=generator)[:count]
    cell = torch.stack((cells % (SIZE[1] // 4), cells // (SIZE[1] // 4)), 1)
    center = 4 * cell + torch.randint(1, 63, (count, 2), generator=generator) / 16
    half = torch.randint(0, 900, (count, 2), generator=generator) / 16 + smallest / 2
    labels = torch.randint(0, 3, (count,), generator=generator)
    return Target(torch.cat((center - half, center + half), 1), labels)


@pytest.mark.parametrize(
    "fields", [{}, {"border": "pixels", "beta": 0.2}, {"per_class": True}], ids=str
)
def test_decoding_ideal_maps_gives_the_targets(fields: dict[str, Any]) -> None:
    codec = TTFCodec(3, max_detections=500, **fields)
    targets = [objects(20), objects(0), objects(1, seed=1), objects(400, seed=2)]
    encoded = codec.encode(targets, SIZE)
    assert len(encoded) == 421
    rows = codec.decode(codec.ideal(encoded))
    for image, target in enumerate(targets):
        count = len(target.labels)
        assert (rows["scores"][image, :count] > 0.99).all()
        assert (rows["scores"][image, count:] < 0.999).all()
        boxes, labels = rows["boxes"][image, :count], rows["labels"][image, :count]
        distance = (boxes[:, None] - target.boxes).abs().amax(-1)
        distance[labels[:, None] != target.labels] = torch.inf
        if count:
            assert distance.amin(0).max() < 1e-3


def test_boxes_below_two_cells_begin_at_their_cell() -> None:
    box = torch.tensor([[42.5, 41.0, 43.5, 43.0]])
    codec = TTFCodec(1)
    rows = codec.decode(codec.ideal(codec.encode([Target(box, torch.tensor([0]))], SIZE)))
    assert rows["boxes"][0, 0].tolist() == [40.0, 40.0, 43.5, 43.0]


def test_the_smallest_object_takes_a_cell_but_no_centre_unless_published() -> None:
    boxes = torch.tensor([[10.0, 10, 210, 170], [94, 60, 154, 120]])
    target = Target(boxes, torch.tensor([0, 0]))
    for collisions, best in (("own", [0, 1]), ("smallest", [1])):
        codec = TTFCodec(1, collisions=collisions)  # type: ignore[arg-type]
        encoded = codec.encode([target], SIZE)
        at = encoded.samples
        assert len(at.cell) == len(at.cell.unique())
        wide = at.sides[:, 0] + at.sides[:, 2] > 100
        # The small ellipse covers the centre of the large one.
        assert encoded.cell[0] in at.cell[wide] or collisions == "smallest"
        rows = codec.decode(codec.ideal(encoded))
        found = {(rows["boxes"][0, i] - boxes).abs().amax(-1).argmin().item() for i in range(2)}
        assert sorted(found) == best


def test_classes_with_sides_of_their_own_may_share_a_cell() -> None:
    boxes = torch.tensor([[10.0, 10, 90, 90], [30, 20, 70, 80], [34, 36, 66, 64]])
    target = Target(boxes, torch.tensor([0, 2, 2]))
    for per_class, expected in ((False, [2, 2]), (True, [0, 2])):
        codec = TTFCodec(3, per_class=per_class)
        encoded = codec.encode([Target(torch.zeros(0, 4), torch.zeros(0).long()), target], SIZE)
        rows = codec.decode(codec.ideal(encoded))
        found = rows["boxes"][1, :2]  # those of one class and cell are one peak
        assert rows["labels"][1, :2].tolist() == [0, 2]
        torch.testing.assert_close(found, boxes[expected], rtol=0, atol=1e-3)


def test_weights_grow_with_the_area_and_fall_from_the_centre() -> None:
    boxes = torch.tensor([[10.0, 20, 90, 60], [130, 20, 238, 160]])
    encoded = TTFCodec(1).encode([Target(boxes, torch.tensor([0, 0]))], SIZE)
    at = encoded.samples
    for number, box in enumerate(boxes):
        own = (at.sides[:, 0] + at.sides[:, 2] - (box[2] - box[0])).abs() < 1e-3
        area = (box[2:] - box[:2] + 1).prod()
        assert at.weight[own].sum() == pytest.approx(float(area.log()), rel=1e-5)
        assert at.cell[own][at.weight[own].argmax()] == encoded.cell[number]
    assert encoded.counts[1] == at.weight.sum()


@pytest.mark.parametrize("per_class", [False, True])
def test_maps_of_a_mirrored_image_unflip_exactly(per_class: bool) -> None:
    codec, target = TTFCodec(3, per_class=per_class), objects(60, smallest=16.0)
    boxes = target.boxes.clone()
    boxes[:, [0, 2]] = SIZE[1] - boxes[:, [2, 0]]
    maps = codec.ideal(codec.encode([target], SIZE))
    mirrored = codec.ideal(codec.encode([Target(boxes, target.labels)], SIZE))
    merged = codec.merge_flipped(maps, mirrored)
    back = codec.unflip(mirrored)
    encoded = codec.encode([target], SIZE)
    own = torch.arange(4) + 4 * encoded.label[:, None] * per_class
    torch.testing.assert_close(back["heatmap"], maps["heatmap"], rtol=0, atol=1e-4)
    for found in (back, merged):
        sides = (each["sides"].flatten(2)[0, own, encoded.cell[:, None]] for each in (found, maps))
        torch.testing.assert_close(*sides, rtol=0, atol=1e-4)


def test_ideal_maps_have_next_to_no_loss() -> None:
    for codec in (TTFCodec(3), TTFCodec(3, border="pixels"), TTFCodec(3, per_class=True)):
        encoded = codec.encode([objects(5, smallest=32.0)], SIZE)
        ideal = codec.ideal(encoded)
        assert codec.loss(ideal, encoded)["giou"] < 1e-4
        worse = {**ideal, "sides": ideal["sides"] * 1.1}
        assert codec.loss(worse, encoded)["giou"] > 0.1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"alpha": 0.0}, r"alpha must lie in \(0, 1\]"),
        ({"beta": 1.5}, r"beta must lie in \(0, 1\]"),
        ({"unit": 0.0}, "unit must be above 0"),
        ({"area": "lg"}, "did you mean 'log'"),
        ({"border": "cells"}, "border"),
        ({"collisions": "last"}, "own, smallest"),
        ({"clamp": 0.7}, "clamp must lie between 0 and 0.5"),
    ],
)
def test_mistaken_fields_are_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(HeatpointError, match=message):
        TTFCodec(**{"classes": 3, **fields})  # type: ignore[arg-type]
