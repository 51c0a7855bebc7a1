"""The corner codec beside numbers computed by the published programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from heatpoint.codecs.corner_encoded import CornerEncoded, Corners
from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.gaussian import Windows
from heatpoint.codecs.losses import pull_push_loss
from heatpoint.codecs.types import Maps, Target
from heatpoint.inference.suppress import soft_nms, soft_nms_merge, top_detections

PUBLISHED = CornerCodec(4, trim=1, border="pixels", clamp=1e-4)
KINDS = ("top_left", "bottom_right")


def load(golden: Path, name: str) -> dict[str, Tensor]:
    data = np.load(golden / "functions" / f"{name}.npz")
    return {key: torch.from_numpy(data[key]) for key in data}


def at_input(get: dict[str, Tensor]) -> Target:
    """Returns boxes in pixels of the network's input, as the published program maps them."""
    height, width = (int(side) for side in get["image_height_width"])
    wanted = get["input_height_width"]
    boxes = get["boxes_xyxy"].float()
    if len(get["crop"]):
        scale, x, y = (float(value) for value in get["crop"][:3])
        canvas = [int(int(side) * scale) for side in wanted]
    else:
        canvas, x, y = [max(height, width)] * 2, width // 2, height // 2
    moved = boxes + torch.tensor([canvas[1] // 2 - x, canvas[0] // 2 - y] * 2)
    ratio = torch.tensor([int(wanted[1]) / canvas[1], int(wanted[0]) / canvas[0]] * 2)
    boxes = moved * ratio
    if len(get["crop"]) and get["crop"][3]:
        last = torch.tensor([int(wanted[1]) - 1, int(wanted[0]) - 1] * 2)
        boxes = torch.minimum(boxes, last).clamp(min=0)
        boxes[:, [0, 2]] = int(wanted[1]) - boxes[:, [2, 0]] - 1
    solid = (boxes[:, 2:] > boxes[:, :2]).all(-1)
    return Target(boxes[solid], get["labels"][solid])


@pytest.mark.parametrize("scene", [0, 1, 2, 3])
@pytest.mark.parametrize("overlap", [0.3, 0.7])
def test_targets_equal_the_published_program(golden: Path, scene: int, overlap: float) -> None:
    start = f"scene{scene}."
    data = load(golden, "targets_cornernet")
    get = {key.removeprefix(start): data[key] for key in data if key.startswith(start)}
    codec = CornerCodec(4, trim=1, border="pixels", overlap=overlap)
    size = (int(get["input_height_width"][0]), int(get["input_height_width"][1]))
    encoded = codec.encode([at_input(get)], size)
    assert list(encoded.map_size) == get["output_height_width"].tolist()
    kept = get["mask"].bool()
    for kind in KINDS:
        corners = getattr(encoded, kind)
        assert torch.equal(corners.cell, get[f"{kind}_index"][kept])
        offset = get[f"{kind}_offset"][kept]
        torch.testing.assert_close(corners.offset, offset, rtol=0, atol=1e-5)
        prefix = "" if overlap == 0.3 else "iou0.7."
        expected = get[f"{prefix}{kind}_heatmap"]
        torch.testing.assert_close(encoded.heatmap(kind)[0], expected, rtol=0, atol=1e-6)


def given(data: dict[str, Tensor]) -> CornerEncoded:
    """Builds targets from published arrays; the n-th object's corners are put into cell n."""
    mask = data["mask"].bool()
    image, slot = mask.nonzero().unbind(1)
    corners = []
    for kind in KINDS:
        heatmap = data[f"{kind}_heatmap"]
        flat = heatmap.flatten()
        cells = flat.nonzero()[:, 0]
        planes = heatmap.shape[0] * heatmap.shape[1]
        edges = torch.arange(planes + 1) * (flat.numel() // planes)
        windows = Windows(cells, flat[cells], torch.ones_like(cells))
        starts, peaks = torch.searchsorted(cells, edges), (flat == 1).nonzero()[:, 0]
        corners.append(Corners(slot, data[f"{kind}_offset"][mask], windows, starts, peaks))
    batch, classes, height, width = data["top_left_heatmap"].shape
    counts = [len(corners[0].peaks), len(corners[1].peaks), len(image), batch]
    return CornerEncoded(
        batch=batch,
        classes=classes,
        map_size=(height, width),
        image=image,
        label=torch.zeros_like(image),
        slot=slot,
        slots=mask.shape[1],
        top_left=corners[0],
        bottom_right=corners[1],
        counts=torch.tensor(counts, dtype=torch.float32),
    )


def as_map(rows: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns (B, channels, h, w) with the n-th row of (B, M, channels) in cell n."""
    plane = rows.new_zeros(rows.shape[0], size[0] * size[1], rows.shape[2])
    plane[:, : rows.shape[1]] = rows
    return plane.transpose(1, 2).unflatten(2, size)


def test_losses_equal_the_published_program(golden: Path) -> None:
    data = load(golden, "losses_cornernet")
    encoded = given(data)
    size = encoded.map_size
    codec = CornerCodec(2, clamp=1e-4)
    names = {"": "logits", "_embedding": "embedding", "_offset": "offset_prediction"}
    stacks: list[Maps] = []
    total = torch.zeros((), dtype=torch.float64)
    for stack in range(2):
        maps = {}
        for kind in KINDS:
            for part, name in names.items():
                value = data[f"stack{stack}.{kind}_{name}"].double()
                maps[kind + part] = (as_map(value, size) if part else value).requires_grad_()
        stacks.append(maps)
        terms = codec.loss(maps, encoded)
        assert list(terms) == ["heatmap", "offset", "pull", "push"]
        total = total + sum(terms.values()) / 2  # type: ignore[arg-type]
        if stack == 0:
            for name in ("pull", "push"):
                expected = data[f"{name}_stack0"].item()
                assert terms[name].item() / 0.1 == pytest.approx(expected, rel=1e-6)
            expected = data["focal_stack0"].item()
            assert terms["heatmap"].item() == pytest.approx(expected, rel=1e-6)
    total.backward()
    assert total.item() == pytest.approx(data["total"].item(), rel=1e-6)
    for stack, maps in enumerate(stacks):
        for kind in KINDS:
            for part, name in names.items():
                expected = data[f"stack{stack}.{kind}_{name}_gradient"]
                expected = as_map(expected, size) if part else expected
                found = maps[kind + part].grad
                assert found is not None
                assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()


def test_pull_and_push_equal_the_published_program(golden: Path) -> None:
    data = load(golden, "losses_cornernet")
    first, second = (data[f"stack0.{kind}_embedding"][..., 0].double() for kind in KINDS)
    for name, place in (("pull", 0), ("push", 1)):
        ends = [first.clone().requires_grad_(), second.clone().requires_grad_()]
        value = pull_push_loss(ends[0], ends[1], data["mask"].bool())[place]
        value.backward()  # type: ignore[no-untyped-call]
        assert value.item() == pytest.approx(data[f"{name}_stack0"].item(), rel=1e-6)
        for end, kind in zip(ends, KINDS, strict=True):
            expected = data[f"{name}_gradient_{kind}"][..., 0]
            assert end.grad is not None
            assert (end.grad - expected).abs().max() <= 1e-6 * expected.abs().max()
    pull, push = pull_push_loss(first, second, data["single_object_mask"].bool())
    assert pull.item() == pytest.approx(data["single_object_pull"].item(), rel=1e-6)
    assert push.item() == pytest.approx(data["single_object_push"].item(), abs=3 * 3e-4)
    # One object per image: the constant is 0.9999, to the rounding of a float32 number there.
    assert push.item() == pytest.approx(3 * 0.9999, abs=1e-6)


def test_pull_and_push_as_printed_equal_mmdet(golden: Path) -> None:
    data = load(golden, "mmdet")
    for image in range(2):
        match = data[f"corner_match{image}"]
        first, second = (
            data[f"{kind}_embedding"][image, 0, match[:, i, 0], match[:, i, 1]].double()[None]
            for i, kind in enumerate(KINDS)
        )
        mask = torch.ones_like(first, dtype=torch.bool)
        pull, push = pull_push_loss(first, second, mask, published=False)
        # mmdet's own weights are not part of these numbers.
        assert pull.item() == pytest.approx(data[f"pull{image}"].item(), rel=1e-6)
        assert push.item() == pytest.approx(data[f"push{image}"].item(), rel=1e-6)
        if image == 0:
            single = torch.zeros_like(mask)
            single[0, 0] = True
            pull, push = pull_push_loss(first, second, single, published=False)
            assert push.item() == data["single_object_push"].item() == 0


def test_corner_targets_equal_mmdet(golden: Path) -> None:
    data = load(golden, "mmdet")
    height, width = (int(side) for side in data["input_height_width"])
    targets = [Target(data[f"boxes{i}"], data[f"labels{i}"]) for i in range(2)]
    encoded = CornerCodec(3).encode(targets, (height, width))
    maps = CornerCodec(3).ideal(encoded)
    for kind, name in (("top_left", "topleft"), ("bottom_right", "bottomright")):
        expected = data[f"corner_{name}_heatmap"]
        torch.testing.assert_close(encoded.heatmap(kind), expected, rtol=0, atol=1e-6)
        expected = data[f"corner_{name}_offset"]
        torch.testing.assert_close(maps[f"{kind}_offset"], expected, rtol=0, atol=1e-5)
        cells = getattr(encoded, kind).cell.split([len(t.labels) for t in targets])
        for image in range(2):
            match = data[f"corner_match{image}"][:, KINDS.index(kind)]
            assert torch.equal(cells[image], match[:, 0] * (width // 4) + match[:, 1])


def published_maps(data: dict[str, Tensor], image: int) -> Maps:
    names = {"": "logits", "_embedding": "embedding", "_offset": "offset"}
    return {
        kind + part: data[f"{kind}_{name}"][image : image + 1]
        for kind in KINDS
        for part, name in names.items()
    }


@pytest.mark.parametrize("image", [0, 1])
def test_decoding_equals_the_published_program(golden: Path, image: int) -> None:
    data = load(golden, "decode_cornernet")
    found = CornerCodec(5, stride=1).decode(published_maps(data, image))
    expected = data[f"decoded.{image}"]
    kept = found.scores[0] > 0
    assert found.scores.shape == (1, 1000)
    assert kept.sum() == len(expected)
    torch.testing.assert_close(found.boxes[0, kept], expected[:, :4], rtol=0, atol=1e-3)
    torch.testing.assert_close(found.scores[0, kept], expected[:, 4], rtol=0, atol=1e-5)
    assert torch.equal(found.labels[0, kept], expected[:, 7].long())


@pytest.mark.parametrize("method", ["gaussian", "hard", "merge"])
def test_the_whole_way_with_mirror_image_equals_the_published_program(
    golden: Path, method: str
) -> None:
    data = load(golden, "decode_cornernet")
    codec = CornerCodec(5, trim=1)
    found = codec.decode(codec.merge_flipped(published_maps(data, 0), published_maps(data, 1)))
    assert found.scores.shape == (1, 2000)
    assert (found.scores[0].diff() <= 0).all()
    height, width = (int(side) for side in data["image_height_width"])
    row = data["padding_table"][0]
    assert row[:4].tolist() == [height, width, 127, 255]
    top, left = row[6].item(), row[8].item()
    boxes = found.boxes[0] - torch.tensor([left, top, left, top])
    boxes = torch.minimum(boxes, torch.tensor([width, height, width, height])).clamp(min=0)
    kept = found.scores[0] > 0
    boxes, scores, labels = boxes[kept], found.scores[0, kept], found.labels[0, kept]
    assert found.corner_scores is not None
    corner_scores = found.corner_scores[0, kept]
    places = []
    for label in range(5):
        expected = data[f"before_suppression.class{label}"]
        mine = (labels == label).nonzero()[:, 0]
        order = expected[:, 4].argsort(descending=True, stable=True)
        torch.testing.assert_close(scores[mine], expected[order, 4], rtol=0, atol=1e-5)
        torch.testing.assert_close(boxes[mine], expected[order, :4], rtol=0, atol=1e-3)
        torch.testing.assert_close(corner_scores[mine], expected[order, 5:], rtol=0, atol=1e-5)
        places.append(mine[order.argsort()])
    # Which stale rows remain depends on the order at the start: the image's, then the mirrored's.
    place = torch.cat(places)
    boxes, scores, labels = (part[place].numpy() for part in (boxes, scores, labels))
    if method == "merge":
        rows, merged, decayed = soft_nms_merge(
            boxes,
            scores,
            corner_scores[place].numpy(),
            labels,
            inclusive=True,
            keep_stale=True,
            corner_scores_stay=True,
        )
    else:
        rows, decayed = soft_nms(
            boxes,
            scores,
            labels,
            method=method,  # type: ignore[arg-type]
            inclusive=True,
            keep_stale=True,
        )
        merged = boxes[rows]
    stay = top_detections(decayed, 100)
    rows, decayed, merged = rows[stay], decayed[stay], merged[stay]
    prefix = "" if method == "gaussian" else f"{method}_"
    for label in range(5):
        expected = data[f"{prefix}image_detections.class{label}"]
        mine = labels[rows] == label
        assert mine.sum() == len(expected)
        found_rows = np.concatenate((merged[mine], decayed[mine, None]), 1)
        found_rows, rows_there = (
            r[np.lexsort((r[:, 0].round(2), -r[:, 4].round(5)))]
            for r in (found_rows, expected.numpy())
        )
        np.testing.assert_allclose(found_rows[:, 4], rows_there[:, 4], rtol=0, atol=1e-5)
        np.testing.assert_allclose(found_rows[:, :4], rows_there[:, :4], rtol=0, atol=1e-3)


def test_the_grid_of_cells_is_the_published_one(golden: Path) -> None:
    table = load(golden, "decode_cornernet")["padding_table"]
    for row in table.tolist():
        padded, output = (int(row[2]), int(row[3])), (int(row[4]), int(row[5]))
        assert PUBLISHED.encode([Target(torch.zeros(0, 4), torch.zeros(0).long())], padded).map_size
        assert ((padded[0] + 1) // 4, (padded[1] + 1) // 4) == output
