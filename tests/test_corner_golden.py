"""The corner codec beside numbers computed by the published programs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_files import cases, tensors
from published import INCLUSIVE, best_rows, soft_nms_in_place
from torch import Tensor

from heatpoint.codecs import Maps, Target
from heatpoint.codecs.corner_pairs import CornerEncoded
from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.encoded import Blobs, Points
from heatpoint.codecs.gaussian import Windows
from heatpoint.codecs.losses import pull_push_loss
from heatpoint.geometry import clip_boxes
from heatpoint.inference.finish import soften
from heatpoint.views.pictures import Picture

KINDS = ("top_left", "bottom_right")
TARGETS, LOSSES, DECODED = "targets_cornernet", "losses_cornernet", "decode_cornernet"

STRIDE = 4
"""Pixels of the input per cell in every file of these."""

MOST_PAIRS = 1000
"""Limit of the pairs of one image in the released decoding."""

IMAGE, MIRRORED = 0, 1
"""What the batch of the released decoding holds."""

SINGLE_OBJECT_PUSH = 0.9999
"""Push of an image with one object, about which the reference is 3e-4 off."""


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


@pytest.mark.parametrize("scene", cases(TARGETS, r"scene(\d+)\."))
@pytest.mark.parametrize("prefix", ["", *cases(TARGETS, r"scene\d+\.(iou[\d.]+\.)")])
def test_targets_equal_the_published_program(scene: str, prefix: str) -> None:
    start, data = f"scene{scene}.", tensors(TARGETS)
    get = {key.removeprefix(start): data[key] for key in data if key.startswith(start)}
    usual = float(data["gaussian_min_overlap"])
    overlap = float(prefix.removeprefix("iou").removesuffix(".") or usual)
    classes = get["top_left_heatmap"].shape[0]
    codec = CornerCodec(classes, STRIDE, trim=1, border="pixels", overlap=overlap)
    size = (int(get["input_height_width"][0]), int(get["input_height_width"][1]))
    encoded = codec.encode([at_input(get)], size)
    assert list(encoded.map_size) == get["output_height_width"].tolist()
    kept = get["mask"].bool()
    assert kept.sum() == min(len(encoded.label), len(kept))
    for kind in KINDS:
        corners = getattr(encoded, kind)
        assert torch.equal(corners.cell[: len(kept)], get[f"{kind}_index"][kept])
        offset = get[f"{kind}_offset"][kept]
        torch.testing.assert_close(corners.offset[: len(kept)], offset, rtol=0, atol=1e-5)
        expected = get[f"{prefix}{kind}_heatmap"]
        torch.testing.assert_close(
            encoded.heatmap(getattr(encoded, kind))[0], expected, rtol=0, atol=1e-6
        )


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
        blobs = Blobs(windows, starts, peaks)
        corners.append(Points(slot, data[f"{kind}_offset"][mask], blobs))
    batch, classes, height, width = data["top_left_heatmap"].shape
    peaks = [len(kind.blobs.peaks) for kind in corners]
    counts = [*peaks, len(image), batch]
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


def test_losses_equal_the_published_program() -> None:
    data = tensors(LOSSES)
    encoded = given(data)
    size = encoded.map_size
    codec = CornerCodec(
        encoded.classes,
        clamp=1e-4,
        pull_weight=float(data["pull_weight"]),
        push_weight=float(data["push_weight"]),
        offset_weight=float(data["offset_weight"]),
    )
    names = {"": "logits", "_embedding": "embedding", "_offset": "offset_prediction"}
    stacks: dict[str, Maps] = {}
    total = torch.zeros((), dtype=torch.float64)
    numbers = cases(LOSSES, r"stack(\d+)\.")
    for stack in numbers:
        maps = {}
        for kind in KINDS:
            for part, name in names.items():
                value = data[f"stack{stack}.{kind}_{name}"].double()
                maps[kind + part] = (as_map(value, size) if part else value).requires_grad_()
        stacks[stack] = maps
        terms = codec.loss(maps, encoded)
        assert list(terms) == ["heatmap", "offset", "pull", "push"]
        total = total + sum(terms.values()) / len(numbers)  # type: ignore[arg-type]
        for name, stored in (("pull", "pull"), ("push", "push"), ("heatmap", "focal")):
            if f"{stored}_stack{stack}" in data:
                expected = data[f"{stored}_stack{stack}"].item()
                weight = getattr(codec, f"{name}_weight")
                assert terms[name].item() / weight == pytest.approx(expected, rel=1e-6)
    total.backward()
    assert total.item() == pytest.approx(data["total"].item(), rel=1e-6)
    for stack, maps in stacks.items():
        for kind in KINDS:
            for part, name in names.items():
                expected = data[f"stack{stack}.{kind}_{name}_gradient"]
                expected = as_map(expected, size) if part else expected
                found = maps[kind + part].grad
                assert found is not None
                assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()


def test_pull_and_push_equal_the_published_program() -> None:
    data = tensors(LOSSES)
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
    single = data["single_object_mask"].bool()
    images = len(single)
    assert (single.sum(1) == 1).all()
    pull, push = pull_push_loss(first, second, single)
    assert pull.item() == pytest.approx(data["single_object_pull"].item(), rel=1e-6)
    assert push.item() == pytest.approx(data["single_object_push"].item(), abs=images * 3e-4)
    assert push.item() == pytest.approx(images * SINGLE_OBJECT_PUSH, abs=1e-6)


@pytest.mark.parametrize("image", cases("mmdet", r"corner_match(\d+)$"))
def test_pull_and_push_as_printed_equal_mmdet(image: str) -> None:
    data = tensors("mmdet")
    match = data[f"corner_match{image}"]
    first, second = (
        data[f"{kind}_embedding"][int(image), 0, match[:, i, 0], match[:, i, 1]].double()[None]
        for i, kind in enumerate(KINDS)
    )
    mask = torch.ones_like(first, dtype=torch.bool)
    pull, push = pull_push_loss(first, second, mask, published=False)
    # mmdet's own weights are not part of these numbers.
    assert pull.item() == pytest.approx(data[f"pull{image}"].item(), rel=1e-6)
    assert push.item() == pytest.approx(data[f"push{image}"].item(), rel=1e-6)
    single = torch.zeros_like(mask)
    single[0, 0] = True
    _, push = pull_push_loss(first, second, single, published=False)
    assert push.item() == data["single_object_push"].item() == 0


def test_corner_targets_equal_mmdet() -> None:
    data = tensors("mmdet")
    images = cases("mmdet", r"boxes(\d+)$")
    height, width = (int(side) for side in data["input_height_width"])
    targets = [Target(data[f"boxes{i}"], data[f"labels{i}"]) for i in images]
    codec = CornerCodec(data["corner_topleft_heatmap"].shape[1], STRIDE)
    encoded = codec.encode(targets, (height, width))
    maps = codec.ideal(encoded)
    for kind, name in (("top_left", "topleft"), ("bottom_right", "bottomright")):
        expected = data[f"corner_{name}_heatmap"]
        torch.testing.assert_close(
            encoded.heatmap(getattr(encoded, kind)), expected, rtol=0, atol=1e-6
        )
        # Ours clips a corner beyond the border to it, which is one cell further than the last.
        expected = data[f"corner_{name}_offset"].clamp(max=1)
        torch.testing.assert_close(maps[f"{kind}_offset"], expected, rtol=0, atol=1e-5)
        cells = getattr(encoded, kind).cell.split([len(t.labels) for t in targets])
        for image, own in zip(images, cells, strict=True):
            match = data[f"corner_match{image}"][:, KINDS.index(kind)]
            assert torch.equal(own, match[:, 0] * (width // STRIDE) + match[:, 1])


def published_maps(data: dict[str, Tensor], image: int) -> Maps:
    names = {"": "logits", "_embedding": "embedding", "_offset": "offset"}
    return {
        kind + part: data[f"{kind}_{name}"][image : image + 1]
        for kind in KINDS
        for part, name in names.items()
    }


def published_codec(data: dict[str, Tensor], stride: int, trim: int) -> CornerCodec:
    classes = data["top_left_logits"].shape[1]
    return CornerCodec(classes, stride, trim, corners=int(data["top_k"]), max_detections=MOST_PAIRS)


@pytest.mark.parametrize("image", cases(DECODED, r"decoded\.(\d+)$"))
def test_decoding_equals_the_published_program(image: str) -> None:
    data = tensors(DECODED)
    found = published_codec(data, stride=1, trim=0).decode(published_maps(data, int(image)))
    expected = data[f"decoded.{image}"]
    kept = found["scores"][0] > 0
    assert found["scores"].shape == (1, MOST_PAIRS)
    assert kept.sum() == len(expected)
    torch.testing.assert_close(found["boxes"][0, kept], expected[:, :4], rtol=0, atol=1e-3)
    torch.testing.assert_close(found["scores"][0, kept], expected[:, 4], rtol=0, atol=1e-5)
    assert torch.equal(found["labels"][0, kept], expected[:, 7].long())


CLASSES = sorted(int(label) for label in cases(DECODED, r"before_suppression\.class(\d+)$"))

TOP = 100
"""How many rows the released test keeps, over all classes."""


def test_the_whole_way_with_mirror_image_equals_the_published_program() -> None:
    """From maps to boxes of the image, by class; what suppression leaves comes next."""
    data = tensors(DECODED)
    codec = published_codec(data, stride=STRIDE, trim=1)
    found = codec.decode(
        codec.merge_flipped(published_maps(data, IMAGE), published_maps(data, MIRRORED))
    )
    assert found["scores"].shape == (1, 2 * MOST_PAIRS)
    assert (found["scores"][0].diff() <= 0).all()
    height, width = (int(side) for side in data["image_height_width"])
    (look,) = Picture((511, 511), 128, 1, keep_resolution=True).looks((height, width))
    assert list(look.size) == data["padded_height_width"].tolist()
    boxes = clip_boxes(look.to_image.boxes(found["boxes"][0]), (height, width))
    kept = found["scores"][0] > 0
    boxes, scores, labels = boxes[kept], found["scores"][0, kept], found["labels"][0, kept]
    corner_scores = found["corner_scores"][0, kept]
    assert set(labels.tolist()) <= set(CLASSES)
    for label in CLASSES:
        expected = data[f"before_suppression.class{label}"]
        mine = (labels == label).nonzero()[:, 0]
        order = expected[:, 4].argsort(descending=True, stable=True)
        torch.testing.assert_close(scores[mine], expected[order, 4], rtol=0, atol=1e-5)
        torch.testing.assert_close(boxes[mine], expected[order, :4], rtol=0, atol=1e-3)
        torch.testing.assert_close(corner_scores[mine], expected[order, 5:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", ["gaussian", "hard", "merge"])
def test_the_released_suppression_gives_the_published_rows(method: str) -> None:
    """Checks the reference with which the library is compared next."""
    data = {key: values.numpy() for key, values in tensors(DECODED).items()}
    tables = {label: data[f"before_suppression.class{label}"] for label in CLASSES}
    for rows in tables.values():
        if method == "merge":
            soft_nms_in_place(rows, merge=True)
        else:
            soft_nms_in_place(rows, method)  # type: ignore[arg-type]
    stay = best_rows(np.concatenate([rows[:, 4] for rows in tables.values()]), TOP)
    prefix = "" if method == "gaussian" else f"{method}_"
    for label, rows in tables.items():
        expected = data[f"{prefix}image_detections.class{label}"]
        found, stay = rows[stay[: len(rows)]], stay[len(rows) :]
        assert len(found) == len(expected)
        found, expected = (
            r[np.lexsort((r[:, 0].round(2), -r[:, 4].round(5)))] for r in (found, expected)
        )
        np.testing.assert_allclose(found[:, 4], expected[:, 4], rtol=0, atol=1e-5)
        np.testing.assert_allclose(found[:, :4], expected[:, :4], rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["gaussian", "merge"])
def test_suppression_leaves_what_the_released_one_counts_as_valid(kind: str) -> None:
    data = tensors(DECODED)
    tables = [data[f"before_suppression.class{label}"].numpy() for label in CLASSES]
    start = np.concatenate(tables)
    labels = np.repeat(CLASSES, [len(rows) for rows in tables])
    order, boxes, scores = soften(
        start[:, :4] + INCLUSIVE,
        start[:, 4],
        labels,
        start[:, 5:],
        kind=kind,  # type: ignore[arg-type]
        max_detections=len(start),
    )
    for label, rows in zip(CLASSES, tables, strict=True):
        valid = soft_nms_in_place(rows, merge=kind == "merge", weights_stay=False)
        mine = labels[order] == label
        assert mine.sum() == valid
        np.testing.assert_allclose(scores[mine], rows[:valid, 4], rtol=0, atol=1e-5)
        np.testing.assert_allclose(boxes[mine] - INCLUSIVE, rows[:valid, :4], rtol=0, atol=1e-3)


def test_the_grid_of_cells_is_the_published_one() -> None:
    data = tensors(DECODED)
    codec = published_codec(data, stride=STRIDE, trim=1)
    nothing = Target(torch.zeros(0, 4), torch.zeros(0).long())
    for row in data["padding_table"].long().tolist():
        assert codec.encode([nothing], (row[2], row[3])).map_size == (row[4], row[5])
