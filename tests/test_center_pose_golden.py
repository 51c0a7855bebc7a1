"""The codec of centres with joints beside numbers computed by the published program."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from golden_files import arrays, cases, part, tensors
from published import center_scale
from test_center_golden import STRIDE, assert_same
from torch import Tensor

from heatpoint.codecs import Maps, Target
from heatpoint.codecs.center_pose import CenterPoseCodec, CenterPoseEncoded
from heatpoint.codecs.encoded import Blobs, CellSamples, Points
from heatpoint.codecs.gaussian import Windows

TARGETS, LOSSES, DECODED = "targets_multi_pose", "criterion_multi_pose", "decode_multi_pose"

NAMES = {
    "heatmap": "heatmap_logits",
    "size": "size",
    "offset": "offset",
    "displacement": "joint_displacement",
    "joint_heatmap": "joint_heatmap_logits",
    "joint_offset": "joint_offset",
}
"""Published names of our maps; in the file of losses, those without logits end in "_map"."""


def codec_of(pairs: np.ndarray, **fields: object) -> CenterPoseCodec:  # type: ignore[type-arg]
    """Returns the published representation of as many joints as the pairs mirror, and a nose."""
    flip = np.arange(2 * len(pairs) + 1)
    flip[pairs] = pairs[:, ::-1]
    published = CenterPoseCodec(
        1, joints=len(flip), flip=tuple(flip.tolist()), unlabelled="heatmap", mirror="negated"
    )
    return replace(published, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("scene", cases(TARGETS, r"scene(\d+)\."))
def test_targets_equal_the_published_program(scene: str) -> None:
    get, pairs = part(TARGETS, f"scene{scene}."), arrays(TARGETS)["flip_pairs"]
    codec = codec_of(pairs, border="cells")
    boxes, keypoints = get["boxes_xywh"].copy(), get["keypoints"].copy()
    boxes[:, 2:] += boxes[:, :2]
    if get["flipped"]:
        width = get["image_height_width"][1]
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]] - 1
        keypoints[..., 0] = width - keypoints[..., 0] - 1
        keypoints = keypoints[:, list(codec.flip)]
    cells = (len(get["heatmap"][0]),) * 2
    place = tuple(get["center"].tolist()), float(get["scale"]), cells
    mapped = torch.from_numpy(STRIDE * center_scale(*place).boxes(boxes)).float()
    turned = center_scale(*place, rotation=float(get["rotation_degrees"]))
    keypoints[..., :2] = STRIDE * turned.points(keypoints[..., :2])
    solid = (mapped[:, 2:] > mapped[:, :2]).all(-1)
    labels = torch.zeros(int(solid.sum())).long()
    joints = torch.from_numpy(keypoints).float()[solid]
    target = Target(mapped[solid], labels, joints)
    encoded = codec.encode([target], (int(get["input_resolution"]),) * 2)

    # The published program teaches no box of a turned picture; a view that turns would have to.
    if not get["rotation_degrees"]:
        mask = torch.from_numpy(get["mask"]).bool()
        assert torch.equal(encoded.samples.cell, torch.from_numpy(get["index"])[mask])
        names = {"size": encoded.samples.size, "offset": encoded.samples.offset}
        displaced = encoded.displacement.flatten(1)
        names["joint_displacement"] = displaced
        for name, found in names.items():
            torch.testing.assert_close(found, torch.from_numpy(get[name])[mask], rtol=0, atol=1e-5)
        learnt = encoded.labelled[encoded.samples.owner].repeat_interleave(2, 1)
        assert torch.equal(learnt, torch.from_numpy(get["joint_displacement_mask"])[mask].bool())
        torch.testing.assert_close(
            encoded.preview()[0, :1], torch.from_numpy(get["heatmap"]), rtol=0, atol=1e-6
        )
    mask = torch.from_numpy(get["joint_mask"]).bool()
    assert encoded.counts[-1] == mask.sum()
    assert torch.equal(encoded.at.cell, torch.from_numpy(get["joint_index"])[mask])
    expected = torch.from_numpy(get["joint_offset"])[mask]
    torch.testing.assert_close(encoded.at.offset, expected, rtol=0, atol=1e-5)
    expected = torch.from_numpy(get["joint_heatmap"])
    torch.testing.assert_close(encoded.preview()[0, 1:], expected, rtol=0, atol=1e-6)


def listed(heatmap: Tensor) -> Blobs:
    """Returns the blobs of a published heatmap (B, C, h, w), each cell as one of them."""
    flat = heatmap.flatten()
    cells, planes = flat.nonzero()[:, 0], heatmap.shape[0] * heatmap.shape[1]
    edges = torch.arange(planes + 1) * (flat.numel() // planes)
    windows = Windows(cells, flat[cells], torch.ones_like(cells))
    return Blobs(windows, torch.searchsorted(cells, edges), (flat == 1).nonzero()[:, 0])


def test_criterion_equals_the_published_program() -> None:
    data = tensors(LOSSES)
    codec = CenterPoseCodec(1, joints=data["joint_heatmap"].shape[1], clamp=1e-4)
    mask, joint_mask = data["mask"].bool(), data["joint_mask"].bool()
    image, joint_image = mask.nonzero()[:, 0], joint_mask.nonzero()[:, 0]
    cell, every = data["index"][mask], torch.arange(len(image))
    height, width = data["heatmap"].shape[2:]
    corner = torch.stack((cell % width, cell // width), -1)
    displacement = data["joint_displacement"][mask].unflatten(1, (-1, 2))
    labelled = data["joint_displacement_mask"][mask].bool()[:, ::2]
    ones = torch.ones(len(image))
    samples = CellSamples(image, cell, data["offset"][mask], data["size"][mask], ones, every)
    blobs, joint_blobs = listed(data["heatmap"]), listed(data["joint_heatmap"])
    counts = (len(blobs.peaks), len(image), int(labelled.sum()), len(joint_blobs.peaks))
    encoded = CenterPoseEncoded(
        batch=len(mask),
        classes=1,
        map_size=(height, width),
        objects=samples,
        label=torch.zeros_like(image),
        radius=torch.zeros_like(image),
        blobs=blobs,
        samples=samples,
        kept=torch.ones(len(image), dtype=torch.bool),
        joints=displacement + corner[:, None],
        labelled=labelled,
        at=Points(data["joint_index"][joint_mask], data["joint_offset"][joint_mask], joint_blobs),
        at_image=joint_image,
        counts=torch.tensor([*counts, len(joint_image)]).double(),
    )
    keys = {k: v if v.endswith("_logits") else f"{v}_map" for k, v in NAMES.items()}
    maps: Maps = {name: data[key].double().requires_grad_() for name, key in keys.items()}
    terms = codec.loss(maps, encoded)
    total = torch.stack(list(terms.values())).sum()
    total.backward()
    assert total.item() == pytest.approx(data["total"].item(), rel=1e-6)
    for name, term in terms.items():
        published = data[f"{NAMES[name].removesuffix('_logits')}_loss"].item()
        weight = codec.size_weight if name == "size" else 1.0
        assert term.item() / weight == pytest.approx(published, rel=1e-6)
        expected, found = data[f"{keys[name]}_gradient"], maps[name].grad
        assert found is not None
        assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()


def assert_joints(found: Tensor, expected: Tensor) -> None:
    """Compares joints (B, K, J, 3) with published rows, in which only places are told."""
    wanted = expected[..., 5:39].unflatten(-1, (-1, 2))
    torch.testing.assert_close(found[..., :2], wanted, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("key", "fields"),
    [
        ("detections", {}),
        ("detections_regression_only", {"joint_heatmaps": False}),
        ("detections_without_joint_offset", {"joint_offset": False}),
        ("detections_flip_merged", {}),
    ],
)
def test_decoding_equals_the_published_program(key: str, fields: dict[str, object]) -> None:
    data, pairs = tensors(DECODED), arrays(DECODED)["flip_pairs"]
    expected = data[key]
    codec = codec_of(pairs, stride=1, max_detections=expected.shape[1], **fields)
    maps = {spec.name: data[NAMES[spec.name]] for spec in codec.maps}
    if key.endswith("_flip_merged"):
        first, second = ({name: v[i : i + 1] for name, v in maps.items()} for i in (0, 1))
        turned = codec.unflip(second)
        for name, logits in (("heatmap", True), ("joint_heatmap", True), ("displacement", False)):
            values = turned[name].sigmoid() if logits else turned[name]
            published = data[f"flipped_{NAMES[name].removesuffix('_logits')}"]
            torch.testing.assert_close(values, published, rtol=0, atol=1e-6)
        maps = codec.merge_flipped(first, second)
    rows = codec.decode(maps)
    assert_same(rows, torch.cat((expected[..., :5], expected[..., -1:]), -1))
    assert_joints(rows["keypoints"], expected)
