"""The centre codec beside numbers computed by the published programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.encoded import CellSamples, CenterEncoded
from heatpoint.codecs.gaussian import Windows
from heatpoint.codecs.types import Maps, Target
from heatpoint.geometry.affine import center_scale


@pytest.mark.parametrize("scene", [0, 1, 2])
def test_targets_equal_the_published_program(golden: Path, scene: int) -> None:
    data = np.load(golden / "functions" / "targets_centernet.npz")
    get = {key.split(".")[1]: data[key] for key in data if key.startswith(f"scene{scene}.")}
    height, width = (int(side) for side in get["input_height_width"])
    boxes = get["boxes_xywh"].copy()
    boxes[:, 2:] += boxes[:, :2]
    if get["flipped"]:
        boxes[:, [0, 2]] = get["image_height_width"][1] - boxes[:, [2, 0]] - 1
    to_cells = center_scale(get["center"], float(get["scale"]), (height // 4, width // 4))
    mapped = torch.from_numpy(4 * to_cells.boxes(boxes)).float()
    solid = (mapped[:, 2:] > mapped[:, :2]).all(-1)
    labels = torch.from_numpy(get["labels"])
    codec = CenterCodec(4, border="cells")
    encoded = codec.encode([Target(mapped[solid], labels[solid])], (height, width))

    kept = torch.from_numpy(get["mask"]).bool()
    assert encoded.left_out + (~solid).sum() == len(boxes) - kept.sum()
    assert torch.equal(encoded.objects.cell, torch.from_numpy(get["index"])[kept])
    for name, found in (("size", encoded.objects.size), ("offset", encoded.objects.offset)):
        torch.testing.assert_close(found, torch.from_numpy(get[name])[kept], rtol=0, atol=1e-5)
    expected = torch.from_numpy(get["heatmap"])
    torch.testing.assert_close(encoded.heatmap()[0], expected, rtol=0, atol=1e-6)


def test_dense_targets_equal_the_port(golden: Path) -> None:
    data = np.load(golden / "functions" / "dense_targets_and_losses.npz")
    height, width = (int(side) for side in data["input_height_width"])
    table = torch.from_numpy(data["boxes_xyxy_label"])
    target = Target(table[:, :4].float(), table[:, 4])
    codec = CenterCodec(3, border="cells", collisions="last")
    encoded = codec.encode([target], (height, width))
    expected = torch.from_numpy(data["heatmap"]).permute(2, 0, 1)
    torch.testing.assert_close(encoded.heatmap()[0], expected, rtol=0, atol=1e-6)
    maps = codec.ideal(encoded)
    for name in ("size", "offset"):
        expected = torch.from_numpy(data[name]).permute(2, 0, 1)
        torch.testing.assert_close(maps[name][0], expected, rtol=0, atol=1e-5)
    cells = torch.from_numpy(data["mask"]).flatten().nonzero()[:, 0]
    assert torch.equal(encoded.samples.cell.sort().values, cells)


def _given(
    heatmap: Tensor, index: Tensor, mask: Tensor, size: Tensor, offset: Tensor
) -> CenterEncoded:
    """Builds targets from published arrays."""
    image = mask.nonzero()[:, 0]
    samples = CellSamples(image, index[mask], offset[mask], size[mask], torch.ones(len(image)))
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
        radius=torch.zeros_like(image),
        windows=Windows(cells, flat[cells], torch.ones_like(cells)),
        starts=torch.searchsorted(cells, edges),
        peaks=peaks,
        samples=samples,
        counts=torch.tensor([float(len(peaks)), float(len(image))]),
    )


def test_criterion_equals_the_published_program(golden: Path) -> None:
    data = {
        key: torch.from_numpy(value)
        for key, value in np.load(golden / "functions" / "criterion_centernet.npz").items()
    }
    mask = data["mask"].bool()
    encoded = _given(data["heatmap"], data["index"], mask, data["size"], data["offset"])
    codec = CenterCodec(3, clamp=1e-4)
    names = {"heatmap": "heatmap_logits", "size": "size_map", "offset": "offset_map"}
    stacks: list[Maps] = []
    sums = {name: torch.zeros((), dtype=torch.float64) for name in names}
    for stack in range(2):
        stacks.append(
            {
                name: data[f"stack{stack}.{key}"].double().requires_grad_()
                for name, key in names.items()
            }
        )
        for name, term in codec.loss(stacks[-1], encoded).items():
            sums[name] = sums[name] + term / 2
    total = sum(sums.values(), torch.zeros(()))
    total.backward()
    assert total.item() == pytest.approx(data["total"].item(), rel=1e-6)
    weights = {"heatmap": codec.heatmap_weight, "size": codec.size_weight, "offset": 1.0}
    for name, term in sums.items():
        assert term.item() / weights[name] == pytest.approx(data[f"{name}_loss"].item(), rel=1e-6)
        for stack in range(2):
            expected = data[f"stack{stack}.{names[name]}_gradient"]
            found = stacks[stack][name].grad
            assert found is not None
            assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()


@pytest.mark.parametrize(
    ("key", "count", "offset"),
    [
        ("detections_top100", 100, True),
        ("detections_top40", 40, True),
        ("detections_top40_without_offset", 40, False),
    ],
)
def test_decoding_equals_the_published_program(
    golden: Path, key: str, count: int, offset: bool
) -> None:
    data = np.load(golden / "functions" / "decode_centernet.npz")
    maps = {name: torch.from_numpy(data[name]) for name in ("heatmap", "size", "offset")}
    maps["heatmap"] = torch.logit(maps["heatmap"].double())
    found = CenterCodec(4, stride=1, max_detections=count, offset=offset).decode(maps)
    expected = torch.from_numpy(data[key])
    torch.testing.assert_close(found.boxes, expected[..., :4], rtol=0, atol=1e-3)
    torch.testing.assert_close(found.scores, expected[..., 4], rtol=0, atol=1e-5)
    assert torch.equal(found.labels, expected[..., 5].long())


def test_merging_mirrored_maps_equals_the_published_program(golden: Path) -> None:
    data = np.load(golden / "functions" / "flip_merge_centernet.npz")
    maps = {name: torch.from_numpy(data[name]) for name in ("size", "offset")}
    maps["heatmap"] = torch.from_numpy(data["heatmap_logits"])
    codec = CenterCodec(4, stride=1)
    first = {name: values[:1] for name, values in maps.items()}
    second = {name: values[1:] for name, values in maps.items()}
    found = codec.decode(codec.merge_flipped(first, second))
    expected = torch.from_numpy(data["detections_top100"])
    torch.testing.assert_close(found.boxes, expected[..., :4], rtol=0, atol=1e-3)
    torch.testing.assert_close(found.scores, expected[..., 4], rtol=0, atol=1e-5)
    assert torch.equal(found.labels, expected[..., 5].long())


@pytest.mark.parametrize("image", [0, 1])
def test_one_class_per_cell_equals_the_dense_port(golden: Path, image: int) -> None:
    data = np.load(golden / "functions" / "decode_dense.npz")
    maps = {name: torch.from_numpy(data[name]) for name in ("heatmap", "size", "offset")}
    maps["heatmap"] = torch.logit(maps["heatmap"].double())
    codec = CenterCodec(3, stride=1, one_class_per_cell=True)
    found = codec.decode(maps)
    kept = found.scores[image] > float(data["confidence"])
    expected = torch.from_numpy(data[f"decoded{image}"])
    assert kept.sum() == len(expected)
    expected = expected[expected[:, 4].argsort(descending=True, stable=True)]
    height, width = data["heatmap"].shape[2:]
    boxes = expected[:, :4] * torch.tensor([width, height, width, height])
    torch.testing.assert_close(found.boxes[image, kept], boxes, rtol=0, atol=1e-3)
    torch.testing.assert_close(found.scores[image, kept], expected[:, 4], rtol=0, atol=1e-5)
    assert torch.equal(found.labels[image, kept], expected[:, 5].long())


@pytest.mark.parametrize("suppress", [0, 1])
@pytest.mark.parametrize("letterbox", [0, 1])
@pytest.mark.parametrize("image", [0, 1])
def test_dense_port_after_suppression(
    golden: Path, image: int, letterbox: int, suppress: int
) -> None:
    data = np.load(golden / "functions" / "decode_dense.npz")
    maps = {name: torch.from_numpy(data[name]) for name in ("heatmap", "size", "offset")}
    maps["heatmap"] = torch.logit(maps["heatmap"].double())
    found = CenterCodec(3, stride=4, one_class_per_cell=True).decode(maps)
    boxes, scores, labels = (column[image] for column in found)
    kept = (scores > float(data["confidence"])).nonzero()[:, 0]
    if suppress:
        nms = pytest.importorskip("torchvision.ops").batched_nms
        kept = kept[nms(boxes[kept], scores[kept], labels[kept], 0.3)]
    original = torch.from_numpy(data["image_height_width"]).double()
    size = torch.from_numpy(data["input_height_width"]).double()
    inside = (original * (size / original).min()).round() if letterbox else size
    corners = boxes[kept].view(-1, 2, 2).flip(-1)
    corners = (corners - (size - inside) / 2) / inside * original
    rows = torch.cat((corners.flatten(1), scores[kept, None], labels[kept, None]), 1)
    expected = torch.from_numpy(data[f"final_nms{suppress}_letterbox{letterbox}_{image}"]).double()
    assert len(rows) == len(expected)
    rows, expected = (r[r[:, 4].argsort(descending=True)] for r in (rows, expected))
    torch.testing.assert_close(rows[:, :4], expected[:, :4], rtol=0, atol=1e-3)
    torch.testing.assert_close(rows[:, 4:], expected[:, 4:], rtol=0, atol=1e-5)
