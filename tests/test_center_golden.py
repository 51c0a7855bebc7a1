"""The centre codec beside numbers computed by the published programs."""

from __future__ import annotations

import re

import pytest
import torch
from golden_files import cases, part, tensors
from published import center_scale
from torch import Tensor

from heatpoint.codecs import Maps, Rows, Target
from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.encoded import Blobs, CellSamples, CenterEncoded
from heatpoint.codecs.gaussian import Windows
from heatpoint.inference.finish import nms

STRIDE = 4
"""Pixels of the input per cell in every file of these."""

PORT_NMS = 0.3
"""Overlap above which the dense port removes the worse box."""

COLUMNS = ("boxes", "scores", "labels")
TARGETS, DENSE, DECODED = "targets_centernet", "dense_targets_and_losses", "decode_centernet"


@pytest.mark.parametrize("scene", cases(TARGETS, r"scene(\d+)\."))
def test_targets_equal_the_published_program(scene: str) -> None:
    get = part(TARGETS, f"scene{scene}.")
    height, width = (int(side) for side in get["input_height_width"])
    slots = len(get["mask"])  # the published program reads no more objects than these
    boxes = get["boxes_xywh"][:slots].copy()
    boxes[:, 2:] += boxes[:, :2]
    if get["flipped"]:
        boxes[:, [0, 2]] = get["image_height_width"][1] - boxes[:, [2, 0]] - 1
    classes, *cells = get["heatmap"].shape
    to_cells = center_scale(get["center"], float(get["scale"]), (cells[0], cells[1]))
    mapped = torch.from_numpy(STRIDE * to_cells.boxes(boxes)).float()
    solid = (mapped[:, 2:] > mapped[:, :2]).all(-1)
    labels = torch.from_numpy(get["labels"][:slots])
    codec = CenterCodec(classes, border="cells")
    encoded = codec.encode([Target(mapped[solid], labels[solid])], (height, width))

    kept = torch.from_numpy(get["mask"]).bool()
    assert encoded.left_out + (~solid).sum() == len(boxes) - kept.sum()
    assert torch.equal(encoded.objects.cell, torch.from_numpy(get["index"])[kept])
    for name, found in (("size", encoded.objects.size), ("offset", encoded.objects.offset)):
        torch.testing.assert_close(found, torch.from_numpy(get[name])[kept], rtol=0, atol=1e-5)
    expected = torch.from_numpy(get["heatmap"])
    torch.testing.assert_close(encoded.preview()[0], expected, rtol=0, atol=1e-6)


def test_dense_targets_equal_the_port() -> None:
    data = tensors(DENSE)
    height, width = (int(side) for side in data["input_height_width"])
    table = data["boxes_xyxy_label"]
    target = Target(table[:, :4].float(), table[:, 4])
    codec = CenterCodec(data["heatmap"].shape[-1], border="cells", collisions="last")
    encoded = codec.encode([target], (height, width))
    expected = data["heatmap"].permute(2, 0, 1)
    torch.testing.assert_close(encoded.preview()[0], expected, rtol=0, atol=1e-6)
    maps = codec.ideal(encoded)
    for name in ("size", "offset"):
        expected = data[name].permute(2, 0, 1)
        torch.testing.assert_close(maps[name][0], expected, rtol=0, atol=1e-5)
    cells = data["mask"].flatten().nonzero()[:, 0]
    assert torch.equal(encoded.samples.cell.sort().values, cells)


def _given(
    heatmap: Tensor, index: Tensor, mask: Tensor, size: Tensor, offset: Tensor
) -> CenterEncoded:
    """Builds targets from published arrays."""
    image = mask.nonzero()[:, 0]
    every, ones = torch.arange(len(image)), torch.ones(len(image))
    samples = CellSamples(image, index[mask], offset[mask], size[mask], ones, every)
    flat = heatmap.flatten()
    cells, planes = flat.nonzero()[:, 0], heatmap.shape[0] * heatmap.shape[1]
    edges = torch.arange(planes + 1) * (flat.numel() // planes)
    peaks = (flat == 1).nonzero()[:, 0]
    return CenterEncoded(
        batch=len(heatmap),
        classes=heatmap.shape[1],
        map_size=(heatmap.shape[2], heatmap.shape[3]),
        objects=samples,
        label=torch.zeros_like(image),
        radius=torch.zeros(len(image), 2).long(),
        blobs=Blobs(
            Windows(cells, flat[cells], torch.ones_like(cells)),
            torch.searchsorted(cells, edges),
            peaks,
        ),
        samples=samples,
        kept=torch.ones(len(image), dtype=torch.bool),
        counts=torch.tensor([float(len(peaks)), float(len(image))]),
    )


def test_criterion_equals_the_published_program() -> None:
    name = "criterion_centernet"
    data = tensors(name)
    mask = data["mask"].bool()
    encoded = _given(data["heatmap"], data["index"], mask, data["size"], data["offset"])
    codec = CenterCodec(data["heatmap"].shape[1], clamp=1e-4)
    names = {"heatmap": "heatmap_logits", "size": "size_map", "offset": "offset_map"}
    stacks: dict[str, Maps] = {}
    sums = {name: torch.zeros((), dtype=torch.float64) for name in names}
    numbers = cases(name, r"stack(\d+)\.")
    for stack in numbers:
        stacks[stack] = {
            name: data[f"stack{stack}.{key}"].double().requires_grad_()
            for name, key in names.items()
        }
        for name, term in codec.loss(stacks[stack], encoded).items():
            sums[name] = sums[name] + term / len(numbers)
    total = sum(sums.values(), torch.zeros(()))
    total.backward()
    assert total.item() == pytest.approx(data["total"].item(), rel=1e-6)
    weights = {"heatmap": codec.heatmap_weight, "size": codec.size_weight, "offset": 1.0}
    for name, term in sums.items():
        assert term.item() / weights[name] == pytest.approx(data[f"{name}_loss"].item(), rel=1e-6)
        for stack, maps in stacks.items():
            expected = data[f"stack{stack}.{names[name]}_gradient"]
            found = maps[name].grad
            assert found is not None
            assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()


def corrected(boxes: Tensor) -> Tensor:
    """Returns published boxes whose negative sizes count as 0, as ours do: a point."""
    first, second = boxes[..., :2], boxes[..., 2:]
    middle, solid = (first + second) / 2, second > first
    sides = (torch.where(solid, first, middle), torch.where(solid, second, middle))
    return torch.cat(sides, -1)


def assert_same(found: Rows, expected: Tensor) -> None:
    """Compares with rows x1, y1, x2, y2, score, class; those of score 0 stand for no peak."""
    kept = expected[..., 4] > 0
    assert torch.equal(found["scores"] > 0, kept)
    boxes = corrected(expected[..., :4])[kept]
    torch.testing.assert_close(found["boxes"][kept], boxes, rtol=0, atol=1e-3)
    torch.testing.assert_close(found["scores"][kept], expected[..., 4][kept], rtol=0, atol=1e-5)
    assert torch.equal(found["labels"][kept], expected[..., 5][kept].long())


@pytest.mark.parametrize("key", cases(DECODED, r"(detections_top\d+(?:_without_offset)?)$"))
def test_decoding_equals_the_published_program(key: str) -> None:
    data = tensors(DECODED)
    maps = {name: data[name] for name in ("heatmap", "size", "offset")}
    maps["heatmap"] = torch.logit(maps["heatmap"].double())
    expected = data[key]
    codec = CenterCodec(
        maps["heatmap"].shape[1],
        stride=1,
        max_detections=expected.shape[1],
        offset=not key.endswith("_without_offset"),
    )
    assert_same(codec.decode(maps), expected)


@pytest.mark.parametrize("key", cases("flip_merge_centernet", r"(detections_top\d+)$"))
def test_merging_mirrored_maps_equals_the_published_program(key: str) -> None:
    data = tensors("flip_merge_centernet")
    maps = {"heatmap": data["heatmap_logits"], "size": data["size"], "offset": data["offset"]}
    expected = data[key]
    codec = CenterCodec(maps["heatmap"].shape[1], stride=1, max_detections=expected.shape[1])
    first = {name: values[:1] for name, values in maps.items()}
    second = {name: values[1:] for name, values in maps.items()}
    assert_same(codec.decode(codec.merge_flipped(first, second)), expected)


def dense_port(stride: int) -> tuple[dict[str, Tensor], Rows]:
    """Returns the dense port's file, and what the codec finds in its maps at any confidence."""
    data = tensors("decode_dense")
    maps = {name: data[name] for name in ("heatmap", "size", "offset")}
    maps["heatmap"] = torch.logit(maps["heatmap"].double())
    _, classes, height, width = maps["heatmap"].shape
    codec = CenterCodec(
        classes, stride=stride, one_class_per_cell=True, max_detections=height * width
    )
    return data, codec.decode(maps)


@pytest.mark.parametrize("image", cases("decode_dense", r"decoded(\d+)$"))
def test_one_class_per_cell_equals_the_dense_port(image: str) -> None:
    data, found = dense_port(stride=1)
    boxes, scores, labels = (found[name][int(image)] for name in COLUMNS)
    kept = scores > float(data["confidence"])
    expected = data[f"decoded{image}"]
    assert kept.sum() == len(expected)
    expected = expected[expected[:, 4].argsort(descending=True, stable=True)]
    height, width = data["heatmap"].shape[2:]
    wanted = corrected(expected[:, :4]) * torch.tensor([width, height, width, height])
    torch.testing.assert_close(boxes[kept], wanted, rtol=0, atol=1e-3)
    torch.testing.assert_close(scores[kept], expected[:, 4], rtol=0, atol=1e-5)
    assert torch.equal(labels[kept], expected[:, 5].long())


@pytest.mark.parametrize("key", cases("decode_dense", r"(final_nms\d_letterbox\d_\d+)$"))
def test_dense_port_after_suppression(key: str) -> None:
    match = re.fullmatch(r"final_nms(\d)_letterbox(\d)_(\d+)", key)
    assert match is not None
    suppress, letterbox, image = (int(number) for number in match.groups())
    data, found = dense_port(STRIDE)
    boxes, scores, labels = (found[name][image] for name in COLUMNS)
    kept = (scores > float(data["confidence"])).nonzero()[:, 0]
    if suppress:
        rows = nms(*(part[kept].numpy() for part in (boxes, scores, labels)), PORT_NMS)
        kept = kept[torch.from_numpy(rows)]
    original, size = data["image_height_width"].double(), data["input_height_width"].double()
    inside = (original * (size / original).min()).round() if letterbox else size
    corners = boxes[kept].view(-1, 2, 2).flip(-1)
    corners = (corners - (size - inside) / 2) / inside * original
    rows = torch.cat((corners.flatten(1), scores[kept, None], labels[kept, None]), 1)
    expected = data[key].double()
    assert len(rows) == len(expected)
    rows, expected = (r[r[:, 4].argsort(descending=True)] for r in (rows, expected))
    torch.testing.assert_close(rows[:, :4], corrected(expected[:, :4]), rtol=0, atol=1e-3)
    torch.testing.assert_close(rows[:, 4:], expected[:, 4:], rtol=0, atol=1e-5)
