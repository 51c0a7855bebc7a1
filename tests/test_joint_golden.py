"""The joint codec beside numbers computed by the published programs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from golden_files import arrays, cases, part
from numpy.typing import NDArray
from torch import Tensor

from heatpoint.codecs import Target
from heatpoint.codecs.joint_maps import JointEncoded
from heatpoint.codecs.joints import JointCodec
from heatpoint.codecs.losses import blob_loss
from heatpoint.data.skeleton import SKELETONS

MPII = SKELETONS["mpii16"]

STRIDE = 4
"""Pixels of the input per cell."""

PERSON = 200
"""Pixels of the image per unit of a person's scale."""


def subject(points: NDArray[Any], visibility: NDArray[Any]) -> Target:
    """Returns the target of one subject, points in input pixels."""
    rows = np.concatenate((points, visibility[:, None]), 1)
    keypoints = torch.from_numpy(rows[None]).float()
    return Target(torch.zeros(1, 4), torch.zeros(1, dtype=torch.long), keypoints)


def input_size(heatmap: NDArray[Any]) -> tuple[int, int]:
    """Returns (H, W) in pixels for maps (..., h, w)."""
    return STRIDE * heatmap.shape[-2], STRIDE * heatmap.shape[-1]


@pytest.mark.parametrize("scene", cases("targets_pose", r"scene(\d+)\."))
def test_targets_equal_bearpaw(scene: str) -> None:
    get = part("targets_pose", f"scene{scene}.")
    cells = get["mapped_joints"][:, :2] - 1  # one-based
    labelled, visible = get["joints"][:, 1] > 0, get["joints"][:, 2] > 0
    codec = JointCodec(
        len(cells),
        sigma=float(get["sigma"]),
        target="cauchy" if get["kind"] else "rounded",
        border="window",
        train_hidden=False,
    )
    target = subject(1.0 * STRIDE * cells, labelled * (1.0 + visible))
    # A whole number of cells stays one under truncation, whichever its sign.
    encoded = codec.encode([target], input_size(get["heatmap"]))
    found = codec.ideal(encoded)["joints"][0]
    torch.testing.assert_close(found, torch.from_numpy(get["heatmap"]), rtol=0, atol=1e-6)
    # The released weight is the visibility even of a joint that is not labelled.
    weight = torch.from_numpy(get["target_weight"][:, 0] * labelled)
    assert torch.equal(encoded.weight[0], weight)


def test_targets_equal_princeton() -> None:
    data = part("targets_pose", "second_convention.")
    (joints,) = data["joints"]
    codec = JointCodec(len(joints), target="princeton", border="window", normaliser="princeton")
    target = subject(STRIDE * joints[:, :2], np.full(len(joints), 2.0))
    encoded = codec.encode([target], input_size(data["heatmap"]))
    expected = torch.from_numpy(data["heatmap"])
    torch.testing.assert_close(codec.ideal(encoded)["joints"][0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("rule", "key"), [("rounded", "rounded"), ("exact", "unbiased"), ("udp", "udp")]
)
def test_targets_equal_mmpose(rule: Any, key: str) -> None:
    data = arrays("targets_pose_topdown")
    (joints,), (visible,) = data["joints"], data["visible"]
    # mmpose's cell i stands for the pixel 4 i, whose centre is half a pixel further.
    points = STRIDE * joints + 0.5
    codec = JointCodec(len(joints), sigma=2.0, target=rule, align="index", border="window")
    expected = torch.from_numpy(data[f"heatmap_{key}"])
    encoded = codec.encode([subject(points, 2 * visible)], input_size(data[f"heatmap_{key}"]))
    found = codec.ideal(encoded)["joints"][0]
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    assert torch.equal(encoded.weight, torch.from_numpy(data[f"weight_{key}"]))


def assert_gradient(found: Tensor | None, expected: NDArray[Any]) -> None:
    assert found is not None
    wanted = torch.from_numpy(expected).double()
    assert (found - wanted).abs().max() <= 1e-6 * wanted.abs().max()


def test_losses_equal_the_published_programs() -> None:
    data = arrays("losses_pose")
    target = torch.from_numpy(data["target"]).double()
    weights = {
        "joint_mse_weighted": torch.from_numpy(data["target_weight"])[..., 0].double(),
        "joint_mse_unweighted": torch.ones(target.shape[:2], dtype=torch.float64),
        "mean_mse": torch.ones(target.shape[:2], dtype=torch.float64),
    }
    for name, weight in weights.items():
        maps = torch.from_numpy(data["prediction"]).double().requires_grad_()
        halved = name != "mean_mse"  # bearpaw's half, summed over stacks; princeton's mean
        divisor = torch.tensor(float(target.numel() * (2 if halved else 1)))
        losses = torch.stack([blob_loss(stack, target, weight, divisor) for stack in maps])
        loss = losses.sum() if halved else losses.mean()
        loss.backward()
        assert loss.item() == pytest.approx(data[name].item(), rel=1e-6)
        assert_gradient(maps.grad, data[f"{name}_gradient"])
        if name == "mean_mse":
            each = (maps.detach() - target).square().mean((2, 3, 4)).T
            np.testing.assert_allclose(each, data["per_sample_stack_mse"], rtol=1e-6)


@pytest.mark.parametrize(
    ("normaliser", "name", "factor"),
    [("bearpaw", "joint_mse_weighted", 1.0), ("mmpose", "joint_mse_weighted", 2.0),
     ("princeton", "mean_mse", 1.0)],
)  # fmt: skip
def test_the_codec_divides_as_published(normaliser: Any, name: str, factor: float) -> None:
    """Compares sums or means over the stacks; only the targets' blobs are the file's own."""
    data = arrays("losses_pose")
    batch, joints, height, width = data["target"].shape
    weight = torch.from_numpy(data["target_weight"])[..., 0]
    counts = torch.tensor([float(weight.sum()), float(weight.numel())])
    position, visibility = torch.zeros(batch, joints, 2), torch.zeros(batch, joints).long()
    encoded = JointEncoded(
        map_size=(height, width),
        counts=counts,
        position=position,
        visibility=visibility,
        drawn=weight > 0,
        weight=weight,
        sigma=1.0,
        rule="exact",
    )
    target = torch.from_numpy(data["target"]).double()
    stacks = torch.from_numpy(data["prediction"]).double()
    total = 0.0
    codec = JointCodec(joints, normaliser=normaliser)
    for stack in stacks:
        # The loss sees only the difference, so the file's target can move to the other side.
        shifted = stack - target + codec.ideal(encoded)["joints"]
        total += codec.loss({"joints": shifted}, encoded)["joints"].item()
    if name == "mean_mse":
        total /= len(stacks)
    assert total == pytest.approx(factor * data[name].item(), rel=1e-5)


def first_convention(points: Tensor, center: NDArray[Any], scale: float, side: int) -> NDArray[Any]:
    """Returns bearpaw's image joints from input pixels of a crop, truncation included.

    Its cells, of which ``side`` make up the width, are one-based with half a cell added, so half a
    cell is lost again on the way.
    """
    place = points.double().numpy() / STRIDE
    return np.trunc((place - side / 2) * (PERSON * scale / side) + center) + 1


@pytest.fixture(scope="module")
def decoded() -> dict[str, NDArray[Any]]:
    return arrays("decode_pose")


def positive(maps: Tensor | NDArray[Any]) -> NDArray[Any]:
    """Returns (B, J): where a map has a positive value at all; other places are undefined."""
    found: NDArray[Any] = np.asarray(maps).max((2, 3)) > 0
    return found


def test_quarter_decodes_as_bearpaw(decoded: dict[str, NDArray[Any]]) -> None:
    heatmap = decoded["heatmap"]
    images, joints, _, side = heatmap.shape
    maps = {"joints": torch.from_numpy(heatmap)}
    codec = JointCodec(joints, MPII.flip, refine="none")
    plain = codec.decode(maps)["keypoints"][:, 0, :, :2] / STRIDE + 0.5
    found = positive(heatmap)
    np.testing.assert_array_equal((decoded["argmax_one_based"] > 0).all(-1), found)
    np.testing.assert_array_equal(plain[found], decoded["argmax_one_based"][found])

    codec = JointCodec(joints, MPII.flip, refine="quarter")
    mirrored = {"joints": torch.from_numpy(decoded["heatmap_of_mirrored_image"])}
    merged = codec.merge_flipped(maps, mirrored)
    for each, key in ((maps, ""), (merged, "_flip_sum")):
        points = codec.decode(each)["keypoints"][:, 0, :, :2]
        for image in range(images):
            expected = decoded[f"image_joints_first_convention{key}"][image]
            center, scale = decoded["center"][image], float(decoded["scale"][image])
            own = first_convention(points[image], center, scale, side)
            np.testing.assert_array_equal(own, expected)


def test_quarter_decodes_as_princeton(decoded: dict[str, NDArray[Any]]) -> None:
    heatmap = decoded["heatmap"]
    images, joints, _, side = heatmap.shape
    maps = {"joints": torch.from_numpy(heatmap)}
    codec = JointCodec(joints, MPII.flip, refine="quarter-princeton", flip_merge="clipped")
    seen = positive(heatmap)
    found = codec.decode(maps)["keypoints"][:, 0]
    expected = decoded["peaks_second_convention"]
    np.testing.assert_allclose(found[..., :2][seen] / STRIDE, expected[seen][:, :2], atol=1e-6)
    np.testing.assert_allclose(found[..., 2][seen], expected[seen][:, 2], atol=1e-6)
    plain = JointCodec(joints, refine="none").decode(maps)["keypoints"][:, 0, :, :2] / STRIDE - 0.5
    unadjusted = decoded["peaks_second_convention_unadjusted"]
    np.testing.assert_allclose(plain[seen], unadjusted[seen][:, :2], atol=1e-6)

    def at_image(points: Tensor, image: int) -> NDArray[Any]:
        center, scale = decoded["center"][image], float(decoded["scale"][image])
        from_middle = points[image].double().numpy() - STRIDE * side / 2
        whole: NDArray[Any] = np.trunc(from_middle * (PERSON * scale / (STRIDE * side)) + center)
        return whole

    for image in range(images):
        expected = decoded["image_joints_second_convention"][image, :, :2]
        own = at_image(found[..., :2], image)
        np.testing.assert_array_equal(own[seen[image]], expected[seen[image]])
    mirrored = {"joints": torch.from_numpy(decoded["heatmap_of_mirrored_image"])}
    merged = codec.merge_flipped(maps, mirrored)
    first = positive(merged["joints"])[0]
    expected = decoded["image_joints_second_convention_flip_mean_of_image0"][:, :2]
    own = at_image(codec.decode(merged)["keypoints"][:, 0, :, :2], 0)
    np.testing.assert_array_equal(own[first], expected[first])


@pytest.mark.parametrize(
    ("refine", "key", "tolerance"),
    [
        ("quarter-mmpose", "zero_based_quarter_shift", 1e-6),
        ("dark", "zero_based_dark_kernel11", 1e-3),
        ("dark-udp", "zero_based_dark_udp_kernel11", 1e-3),
    ],
)
def test_refinements_equal_mmpose(
    decoded: dict[str, NDArray[Any]], refine: Any, key: str, tolerance: float
) -> None:
    heatmap = decoded["heatmap"]
    maps = {"joints": torch.from_numpy(heatmap)}
    codec = JointCodec(heatmap.shape[1], align="index", refine=refine)
    found = codec.decode(maps)["keypoints"][:, 0]
    places = (found[..., :2].numpy() - 0.5) / STRIDE
    # Two of them are undefined without a positive value.
    seen = positive(heatmap) | (refine == "quarter-mmpose")
    np.testing.assert_allclose(places[seen], decoded[key][seen], atol=tolerance)
    height = decoded["zero_based_maximum_value"]
    np.testing.assert_allclose(found[..., 2], height, atol=1e-6)


def test_maps_of_the_mirrored_image_are_turned_back(decoded: dict[str, NDArray[Any]]) -> None:
    mirrored = {"joints": torch.from_numpy(decoded["heatmap_of_mirrored_image"])}
    joints = mirrored["joints"].shape[1]
    found = JointCodec(joints, MPII.flip).unflip(mirrored)["joints"]
    assert torch.equal(found, torch.from_numpy(decoded["flipped_back"]))
    shifted = JointCodec(joints, MPII.flip, flip_merge="shifted").unflip(mirrored)["joints"]
    assert torch.equal(shifted[..., 1:], found[..., :-1])
    assert torch.equal(shifted[..., 0], found[..., 0])


@pytest.mark.parametrize(("normaliser", "stacks"), [("princeton", "mean"), ("bearpaw", "sum")])
def test_losses_of_stacks_are_joined_as_released(normaliser: Any, stacks: str) -> None:
    assert JointCodec(16, normaliser=normaliser).stacks == stacks
