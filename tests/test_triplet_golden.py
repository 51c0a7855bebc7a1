"""The triplet codec beside numbers computed by the published program."""

from __future__ import annotations

import pytest
import torch
from golden_files import cases, tensors
from test_corner_golden import (
    IMAGE,
    KINDS,
    MIRRORED,
    MOST_PAIRS,
    STRIDE,
    as_map,
    at_input,
    given,
    published_maps,
)
from torch import Tensor

from heatpoint.codecs import Maps
from heatpoint.codecs.corner_pairs import find_points
from heatpoint.codecs.encoded import Blobs, Points
from heatpoint.codecs.gaussian import Windows
from heatpoint.codecs.triplets import TripletCodec, TripletEncoded
from heatpoint.geometry import clip_boxes
from heatpoint.views.pictures import Picture

TARGETS, LOSSES, DECODED = "targets_triplets", "losses_triplets", "decode_triplets"

BEYOND = 5
"""Boxes that reach so many pixels beyond the picture are dropped by the released program."""


@pytest.mark.parametrize("scene", cases(TARGETS, r"scene(\d+)\."))
def test_targets_equal_the_published_program(scene: str) -> None:
    start, data = f"scene{scene}.", tensors(TARGETS)
    get = {key.removeprefix(start): data[key] for key in data if key.startswith(start)}
    classes = get["center_heatmap"].shape[0]
    codec = TripletCodec(classes, STRIDE, trim=1, border="pixels")
    height, width = (int(side) for side in get["input_height_width"])
    encoded = codec.encode([at_input(get)], (height, width))
    assert list(encoded.map_size) == get["output_height_width"].tolist()
    kept = get["mask"].bool()
    assert kept.sum() == min(len(encoded.label), len(kept))
    for kind in (*KINDS, "center"):
        points = getattr(encoded, kind)
        assert torch.equal(points.cell[: len(kept)], get[f"{kind}_index"][kept])
        offset = get[f"{kind}_offset"][kept]
        torch.testing.assert_close(points.offset[: len(kept)], offset, rtol=0, atol=1e-5)
        expected = get[f"{kind}_heatmap"]
        torch.testing.assert_close(encoded.heatmap(points)[0], expected, rtol=0, atol=1e-6)


def given_triplets(data: dict[str, Tensor]) -> TripletEncoded:
    """Builds targets from published arrays, as ``given`` does for corners."""
    corners = given(data)
    heatmap = data["center_heatmap"]
    cells = heatmap.flatten().nonzero()[:, 0]
    plane = heatmap.shape[-2] * heatmap.shape[-1]
    edges = torch.arange(corners.batch * corners.classes + 1) * plane
    values = heatmap.flatten()[cells]
    blobs = Blobs(
        Windows(cells, values, torch.ones_like(cells)),
        torch.searchsorted(cells, edges),
        cells[values == 1],
    )
    offset = data["center_offset"][data["mask"].bool()]
    counts = torch.cat((corners.counts, torch.tensor([float(len(blobs.peaks))])))
    center = Points(corners.slot, offset, blobs)
    return TripletEncoded(**{**vars(corners), "counts": counts, "center": center})


def test_losses_equal_the_published_program() -> None:
    data = tensors(LOSSES)
    encoded = given_triplets(data)
    codec = TripletCodec(
        encoded.classes,
        clamp=1e-4,
        pull_weight=float(data["pull_weight"]),
        push_weight=float(data["push_weight"]),
        offset_weight=float(data["offset_weight"]),
    )
    parts = {"": "logits", "_embedding": "embedding", "_offset": "offset_prediction"}
    names = {spec.name: spec.name for spec in codec.maps}
    for kind in (*KINDS, "center"):
        names |= {kind + part: f"{kind}_{name}" for part, name in parts.items()}
    stacks = cases(LOSSES, r"stack(\d+)\.")
    given_maps: dict[str, Maps] = {}
    total = torch.zeros((), dtype=torch.float64)
    for stack in stacks:
        maps = given_maps[stack] = {}
        for spec in codec.maps:
            value = data[f"stack{stack}.{names[spec.name]}"].double()
            value = value if value.ndim == 4 else as_map(value, encoded.map_size)
            maps[spec.name] = value.requires_grad_()
        terms = codec.loss(maps, encoded)
        assert tuple(terms) == codec.terms
        total = total + sum(terms.values()) / len(stacks)  # type: ignore[arg-type]
        for name in ("pull", "push"):
            if f"{name}_stack{stack}" in data:
                expected = data[f"{name}_stack{stack}"].item()
                assert terms[name].item() / getattr(codec, f"{name}_weight") == pytest.approx(
                    expected, rel=1e-6
                )
    total.backward()
    assert total.item() == pytest.approx(data["total"].item(), rel=1e-6)
    for stack, maps in given_maps.items():
        for name, value in maps.items():
            expected = data[f"stack{stack}.{names[name]}_gradient"]
            expected = expected if expected.ndim == 4 else as_map(expected, encoded.map_size)
            assert value.grad is not None
            assert (value.grad - expected).abs().max() <= 1e-6 * expected.abs().max()


def maps_of(data: dict[str, Tensor], image: int) -> Maps:
    only = slice(image, image + 1)
    centers = {"center": data["center_logits"][only], "center_offset": data["center_offset"][only]}
    return {**published_maps(data, image), **centers}


def codec_for(data: dict[str, Tensor], stride: int, trim: int) -> TripletCodec:
    classes, count = data["center_logits"].shape[1], int(data["top_k"])
    return TripletCodec(classes, stride, trim, corners=count, max_detections=MOST_PAIRS)


@pytest.mark.parametrize("image", [IMAGE, MIRRORED])
def test_centres_equal_the_published_program(image: int) -> None:
    data = tensors(DECODED)
    expected = data["center_points"][image]
    peaks, places = find_points(maps_of(data, image), "center", len(expected), 3)
    torch.testing.assert_close(places[0], expected[:, :2], rtol=0, atol=1e-3)
    assert torch.equal(peaks.labels[0], expected[:, 2].long())
    torch.testing.assert_close(peaks.values[0].sigmoid(), expected[:, 3], rtol=0, atol=1e-5)


CLASSES = sorted(int(label) for label in cases(DECODED, r"before_suppression\.class(\d+)$"))


def test_the_whole_way_with_mirror_image_equals_the_published_program() -> None:
    """From maps to boxes of the image, by class; suppression is CornerNet's."""
    data = tensors(DECODED)
    codec = codec_for(data, STRIDE, trim=1)
    found = codec.decode(codec.merge_flipped(maps_of(data, IMAGE), maps_of(data, MIRRORED)))
    assert found["scores"].shape == (1, 2 * MOST_PAIRS)
    assert (found["scores"][0].diff() <= 0).all()
    height, width = (int(side) for side in data["image_height_width"])
    (look,) = Picture((511, 511), 128, 1, keep_resolution=True).looks((height, width))
    assert list(look.size) == data["padded_height_width"].tolist()
    mapped = look.to_image.boxes(found["boxes"][0])
    low, high = mapped[:, :2], mapped[:, 2:]
    far = torch.tensor([width, height])
    kept = (low > -BEYOND).all(1) & (high < far + BEYOND).all(1) & (found["scores"][0] > 0)
    boxes, scores = clip_boxes(mapped, (height, width))[kept], found["scores"][0, kept]
    labels, corner_scores = found["labels"][0, kept], found["corner_scores"][0, kept]
    assert set(labels.tolist()) <= set(CLASSES)
    for label in CLASSES:
        expected = data[f"before_suppression.class{label}"]
        mine = (labels == label).nonzero()[:, 0]
        order = expected[:, 4].argsort(descending=True, stable=True)
        torch.testing.assert_close(scores[mine], expected[order, 4], rtol=0, atol=1e-5)
        torch.testing.assert_close(boxes[mine], expected[order, :4], rtol=0, atol=1e-3)
        torch.testing.assert_close(corner_scores[mine], expected[order, 5:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("image", cases(DECODED, r"decoded\.(\d+)$"))
def test_pairs_equal_the_published_program(image: str) -> None:
    """A centre in the middle of every box leaves all pairs, with their order."""
    data = tensors(DECODED)
    codec = codec_for(data, stride=1, trim=0)
    expected = data[f"decoded.{image}"]
    pairs = super(TripletCodec, codec).decode(maps_of(data, int(image)))
    kept = pairs["scores"][0] > 0
    assert kept.sum() == len(expected)
    torch.testing.assert_close(pairs["boxes"][0, kept], expected[:, :4], rtol=0, atol=1e-3)
    torch.testing.assert_close(pairs["scores"][0, kept], expected[:, 4], rtol=0, atol=1e-5)
    assert torch.equal(pairs["labels"][0, kept], expected[:, 7].long())
