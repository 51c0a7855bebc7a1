"""The corner codec by its own laws: round trips, mirror images, numerics, mistakes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from heatpoint.codecs import Maps, Rows, Target
from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.losses import pull_push_loss
from heatpoint.errors import HeatpointError

SIZE = (192, 256)


def objects(count: int, classes: int = 3, seed: int = 0, size: tuple[int, int] = SIZE) -> Target:
    """Draws boxes of which no two share a cell with a corner of a kind, in a mirror neither."""
    generator = torch.Generator().manual_seed(seed)
    far = torch.tensor([size[1], size[0]], dtype=torch.float32)
    cell = [size[1] / -(-size[1] // 4), size[0] / -(-size[0] // 4)]
    boxes: list[Tensor] = []
    taken: set[tuple[object, ...]] = set()
    while len(boxes) < count:
        ends = torch.rand(2, 2, generator=generator) * far
        box = torch.cat((ends.amin(0), ends.amax(0)))
        x1, y1, x2, y2 = box.tolist()
        keys = {
            (kind, x // cell[0], y // cell[1])
            for kind, x, y in (
                ("top_left", x1, y1),
                ("bottom_right", x2, y2),
                ("mirrored top_left", size[1] - x2, y1),
                ("mirrored bottom_right", size[1] - x1, y2),
            )
        }
        if x2 - x1 > 0.5 and y2 - y1 > 0.5 and not keys & taken:
            boxes.append(box)
            taken |= keys
    labels = torch.randint(0, classes, (count,), generator=generator)
    return Target(torch.stack(boxes), labels)


def nothing() -> Target:
    return Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))


def in_order(boxes: Tensor, labels: Tensor) -> Tensor:
    rows = torch.cat((labels[:, None], boxes), 1)
    return rows[np.lexsort(rows.numpy()[:, :5].round(2).T)]


def sure(candidates: Rows, image: int, count: int) -> Tensor:
    assert (candidates["scores"][image, :count] > 0.99).all()
    assert (candidates["scores"][image, count:] < 0.5).all()
    return in_order(candidates["boxes"][image, :count], candidates["labels"][image, :count])


@pytest.mark.parametrize("rule", ["legacy", "fixed", "half-fixed"])
@pytest.mark.parametrize("trim", [0, 1])
def test_decoding_ideal_maps_gives_the_targets(rule: str, trim: int) -> None:
    codec = CornerCodec(3, radius=rule, trim=trim, corners=200)  # type: ignore[arg-type]
    size = (SIZE[0] - trim, SIZE[1] - trim)
    targets = [
        objects(20, size=size),
        nothing(),
        objects(1, seed=1, size=size),
        objects(150, seed=2, size=size),
    ]
    encoded = codec.encode(targets, size)
    assert len(encoded) == 171
    assert encoded.left_out == 0
    assert encoded.slots == 150
    candidates = codec.decode(codec.ideal(encoded))
    assert candidates["boxes"].shape == (4, 1000, 4)
    for image, target in enumerate(targets):
        expected = in_order(target.boxes, target.labels)
        found = sure(candidates, image, len(target.labels))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_boxes_on_and_beyond_the_border() -> None:
    codec = CornerCodec(2)
    boxes = torch.tensor([[0.0, 0, 256, 192], [200, 100, 256, 150], [-9, 40, 60, 90]])
    target = Target(boxes, torch.tensor([0, 1, 1]))
    encoded = codec.encode([target], SIZE)
    assert encoded.bottom_right.cell[0] == 48 * 64 - 1
    assert encoded.bottom_right.offset[0].tolist() == [1.0, 1.0]
    clipped = boxes.clamp(min=0)
    found = sure(codec.decode(codec.ideal(encoded)), 0, 3)
    torch.testing.assert_close(found, in_order(clipped, target.labels), rtol=0, atol=1e-3)

    released = replace(codec, border="pixels")
    outside = torch.tensor([[300.0, 10, 320, 30]])
    encoded = released.encode([Target(torch.cat((boxes, outside)), torch.zeros(4).long())], SIZE)
    assert (len(encoded), encoded.left_out) == (3, 1)
    assert encoded.bottom_right.offset[0].tolist() == [0.75, 0.75]
    with pytest.raises(ValueError, match="centred within the input"):
        codec.encode([Target(outside, torch.zeros(1).long())], SIZE)


def test_corners_that_share_a_cell_are_counted() -> None:
    codec = CornerCodec(2)
    boxes = torch.tensor([[8.0, 8, 40, 40], [9, 9, 80, 80], [100, 100, 120, 120]])
    encoded = codec.encode([Target(boxes, torch.tensor([0, 1, 0]))], SIZE)
    assert encoded.collisions() == 2
    assert encoded.counts.tolist() == [3, 3, 3, 1]
    same = codec.encode([Target(boxes, torch.tensor([0, 0, 0]))], SIZE)
    assert same.counts.tolist() == [2, 3, 3, 1]
    torch.testing.assert_close(
        encoded.preview(),
        torch.maximum(encoded.heatmap(encoded.top_left), encoded.heatmap(encoded.bottom_right)),
    )


@pytest.mark.parametrize("trim", [0, 1])
def test_the_mirror_image_gives_the_same_boxes(trim: int) -> None:
    codec = CornerCodec(3, trim=trim)
    size = (SIZE[0] - trim, SIZE[1] - trim)
    target = objects(40, size=size, seed=3)
    boxes = target.boxes.clone()
    boxes[:, [0, 2]] = size[1] - boxes[:, [2, 0]]
    mirrored = codec.ideal(codec.encode([Target(boxes, target.labels)], size))
    assert codec.encode([Target(boxes, target.labels)], size).collisions() == 0
    empty = codec.ideal(codec.encode([nothing()], size))
    merged = codec.merge_flipped(empty, mirrored)
    found = sure(codec.decode(merged), 0, 40)
    expected = in_order(target.boxes, target.labels)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    assert set(codec.unflip(mirrored)) & set(mirrored) == set()
    both = codec.decode(codec.merge_flipped(codec.ideal(codec.encode([target], size)), mirrored))
    assert both["boxes"].shape == (1, 2000, 4)
    assert (both["scores"][0] > 0.99).sum() == 80


def random_maps(codec: CornerCodec, batch: int, size: tuple[int, int]) -> Maps:
    generator = torch.Generator().manual_seed(7)
    return {
        spec.name: torch.randn(
            batch, spec.channels, size[0] // 4, size[1] // 4, generator=generator
        )
        for spec in codec.maps
    }


def test_rejected_pairs_are_rejected() -> None:
    codec = CornerCodec(3, max_detections=400, corners=20)
    maps = random_maps(codec, 2, SIZE)
    found = codec.decode(maps)
    real = found["scores"] > 0
    assert 0 < real.sum() < real.numel()
    assert (found["boxes"][real][:, 2:] >= found["boxes"][real][:, :2]).all()
    loose = replace(codec, threshold=100.0).decode(maps)
    assert (loose["scores"] > 0).sum() > real.sum()
    tight = replace(codec, threshold=0.0).decode(maps)
    assert (tight["scores"] == 0).all()


def test_more_corners_asked_for_than_there_are_cells() -> None:
    codec = CornerCodec(1, max_detections=50)
    maps = {name: values[..., :1, :2] for name, values in random_maps(codec, 1, SIZE).items()}
    found = codec.decode(maps)
    assert found["boxes"].shape == (1, 50, 4)
    assert (found["scores"] > 0).sum() <= 1  # one peak of each kind at most


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("logit", [-50.0, -2.19, 50.0])
@pytest.mark.parametrize("counts", [[0, 0], [1], [300, 3]])
def test_loss_is_finite(dtype: torch.dtype, logit: float, counts: list[int]) -> None:
    codec = CornerCodec(2)
    encoded = codec.encode([objects(n, 2, seed=n) if n else nothing() for n in counts], SIZE)
    maps = {
        name: torch.full_like(values, logit).to(dtype).requires_grad_()
        for name, values in random_maps(codec, len(counts), SIZE).items()
    }
    terms = codec.loss(maps, encoded)
    assert list(terms) == ["heatmap", "offset", "pull", "push"]
    torch.stack(list(terms.values())).sum().backward()
    for term in terms.values():
        assert term.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert term.isfinite()
    for values in maps.values():
        assert values.grad is not None
        assert values.grad.isfinite().all()


def test_the_loss_of_ideal_maps_is_least() -> None:
    codec = CornerCodec(3)
    target = objects(12, seed=5)
    encoded = codec.encode([target], SIZE)
    ideal = codec.ideal(encoded)
    terms = codec.loss(ideal, encoded)
    assert terms["offset"] == 0
    assert terms["pull"] == 0
    assert terms["push"].abs() < 1e-5  # embeddings are a margin apart; the rest is 1e-4 / N
    worse = {name: values + 0.3 * torch.randn_like(values) for name, values in ideal.items()}
    for name, term in codec.loss(worse, encoded).items():
        assert term > terms[name] or name == "push"


def test_accumulated_batches_have_the_gradient_of_one_large_batch() -> None:
    codec = CornerCodec(2, images="mean")
    targets = [objects(5, 2), objects(9, 2, seed=1), nothing(), objects(2, 2, seed=2)]
    maps = {k: v.double().requires_grad_() for k, v in random_maps(codec, 4, SIZE).items()}
    whole = codec.encode(targets, SIZE)
    sum(codec.loss(maps, whole).values()).backward()  # type: ignore[union-attr]
    expected = {k: v.grad for k, v in maps.items()}
    parts = [codec.encode(targets[i : i + 2], SIZE) for i in (0, 2)]
    counts = torch.stack([part.counts for part in parts]).sum(0)
    for values in maps.values():
        values.grad = None
    for start, part in zip((0, 2), parts, strict=True):
        piece = {name: values[start : start + 2] for name, values in maps.items()}
        sum(codec.loss(piece, part.with_counts(counts)).values()).backward()  # type: ignore
    for name, values in maps.items():
        torch.testing.assert_close(values.grad, expected[name], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("published", [True, False])
def test_pull_and_push_from_their_definition(published: bool) -> None:
    generator = torch.Generator().manual_seed(8)
    first, second = torch.randn(2, 3, 6, generator=generator, dtype=torch.float64)
    numbers = [6, 2, 0]
    mask = torch.arange(6)[None] < torch.tensor(numbers)[:, None]
    epsilon = 1e-4 if published else 0.0
    pull = push = 0.0
    for image, count in enumerate(numbers):
        ends = [(first[image, i].item(), second[image, i].item()) for i in range(count)]
        means = [(a + b) / 2 for a, b in ends]
        for (a, b), mean in zip(ends, means, strict=True):
            pull += ((a - mean) ** 2 + (b - mean) ** 2) / (count + epsilon)
        for i in range(count):
            for j in range(count):
                near = max(0.0, 1 - abs(means[i] - means[j]))
                if published:
                    push += (near - 1 / (count + epsilon)) / (count * (count - 1) + epsilon)
                elif i != j:
                    push += near / (count * (count - 1))
    found = pull_push_loss(first, second, mask, published)
    assert found[0].item() == pytest.approx(pull, rel=1e-12)
    assert found[1].item() == pytest.approx(push, rel=1e-12)
    # Slots without an object do not matter, whatever they hold.
    changed = torch.where(mask, first, 1e3), torch.where(mask, second, -1e3)
    assert torch.equal(torch.stack(found), torch.stack(pull_push_loss(*changed, mask, published)))


def test_decoding_exports() -> None:
    codec = CornerCodec(3, max_detections=60, corners=20)

    class Decode(torch.nn.Module):
        def forward(self, values: list[Tensor]) -> Rows:
            return codec.decode(dict(zip(names, values, strict=True)))

    maps = random_maps(codec, 1, SIZE)
    names = list(maps)
    exported = torch.export.export(Decode(), (list(maps.values()),)).module()
    found, expected = exported(list(maps.values())), codec.decode(maps)
    torch.testing.assert_close(found, expected)


def test_a_codec_survives_json() -> None:
    codec = CornerCodec(3, trim=1, soft_nms=None, images="mean")
    assert CornerCodec(**json.loads(json.dumps(asdict(codec)))) == codec
    assert len(codec.encode([objects(3)], (255, 511))) == 3
    assert [spec.name for spec in codec.maps if spec.branch == "top_left"] == [
        "top_left",
        "top_left_embedding",
        "top_left_offset",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 0}, "classes must be a whole number"),
        ({"radius": "fxed"}, "did you mean 'fixed'"),
        ({"overlap": 1.0}, "overlap must lie between"),
        ({"corners": 0}, "corners must be a whole number"),
        ({"peak_kernel": 2}, "peak_kernel must be odd"),
        ({"trim": 4}, "trim must be at least 0"),
        ({"grouping": "paper"}, "grouping must be one of"),
        ({"images": "all"}, "images must be one of"),
        ({"border": "cells"}, "border must be one of"),
        ({"pull_weight": -1.0}, "pull_weight must be at least 0"),
        ({"clamp": 0.5}, "clamp must lie between"),
        ({"soft_nms": 0.0}, "soft_nms must be above 0"),
    ],
)
def test_mistakes_in_the_codec(changes: dict[str, object], message: str) -> None:
    with pytest.raises(HeatpointError, match=message):
        replace(CornerCodec(3), **changes)  # type: ignore[arg-type]


def test_mistakes_in_targets() -> None:
    codec = CornerCodec(3, trim=1)
    with pytest.raises(ValueError, match="1 pixels short of a multiple of the stride 4"):
        codec.encode([objects(1)], SIZE)
    for box, label in (([5.0, 5, 5, 9], 0), ([1.0, 1, float("nan"), 3], 0), ([1.0, 1, 9, 9], 3)):
        with pytest.raises(ValueError, match="labels from 0 to 2"):
            codec.encode([Target(torch.tensor([box]), torch.tensor([label]))], (255, 255))


def test_a_corner_on_the_border_claims_the_cell_that_it_is_encoded_in() -> None:
    boxes = torch.tensor([[10.0, 10, 256, 192], [20, 20, 255, 191], [-3, -3, 40, 40]])
    cells = CornerCodec(1).claims(boxes.double().numpy(), SIZE)
    assert cells[1, :2].tolist() == [[63, 47]] * 2
    assert cells[0, 2].tolist() == [0, 0]
