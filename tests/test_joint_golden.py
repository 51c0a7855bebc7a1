"""The joint codec beside numbers computed by the published programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from heatpoint.codecs.joint_targets import JointEncoded
from heatpoint.codecs.joints import JointCodec
from heatpoint.codecs.losses import blob_loss
from heatpoint.codecs.types import Target
from heatpoint.data.skeleton import SKELETONS

MPII = SKELETONS["mpii16"]


def subject(points: NDArray[Any], visibility: NDArray[Any]) -> Target:
    """Returns the target of one subject, points in input pixels."""
    rows = np.concatenate((points, visibility[:, None]), 1)
    keypoints = torch.from_numpy(rows[None]).float()
    return Target(torch.zeros(1, 4), torch.zeros(1, dtype=torch.long), keypoints)


@pytest.mark.parametrize("scene", [0, 1, 2])
def test_targets_equal_bearpaw(golden: Path, scene: int) -> None:
    data = np.load(golden / "functions" / "targets_pose.npz")
    get = {key.split(".")[1]: data[key] for key in data if key.startswith(f"scene{scene}.")}
    cells = get["mapped_joints"][:, :2] - 1  # one-based
    labelled, visible = get["joints"][:, 1] > 0, get["joints"][:, 2] > 0
    codec = JointCodec(
        16,
        sigma=float(get["sigma"]),
        target="cauchy" if get["kind"] else "rounded",
        border="window",
        train_hidden=False,
    )
    # A whole number of cells stays one under truncation, whichever its sign.
    encoded = codec.encode([subject(4.0 * cells, labelled * (1.0 + visible))], (256, 256))
    found = codec.ideal(encoded)["joints"][0]
    torch.testing.assert_close(found, torch.from_numpy(get["heatmap"]), rtol=0, atol=1e-6)
    assert torch.equal(encoded.weight[0], torch.from_numpy(get["target_weight"])[:, 0])


def test_targets_equal_princeton(golden: Path) -> None:
    data = np.load(golden / "functions" / "targets_pose.npz")
    joints = data["second_convention.joints"][0]
    codec = JointCodec(16, target="princeton", border="window", normaliser="princeton")
    encoded = codec.encode([subject(4 * joints[:, :2], np.full(16, 2.0))], (256, 256))
    expected = torch.from_numpy(data["second_convention.heatmap"])
    torch.testing.assert_close(codec.ideal(encoded)["joints"][0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("rule", "key"), [("rounded", "rounded"), ("exact", "unbiased"), ("udp", "udp")]
)
def test_targets_equal_mmpose(golden: Path, rule: Any, key: str) -> None:
    data = np.load(golden / "functions" / "targets_pose_topdown.npz")
    # mmpose's cell i stands for the pixel 4 i, whose centre is half a pixel further.
    points = 4 * data["joints"][0] + 0.5
    codec = JointCodec(17, sigma=2.0, target=rule, align="index", border="window")
    encoded = codec.encode([subject(points, 2 * data["visible"][0])], (192, 256))
    found = codec.ideal(encoded)["joints"][0]
    expected = torch.from_numpy(data[f"heatmap_{key}"])
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)
    assert torch.equal(encoded.weight, torch.from_numpy(data[f"weight_{key}"]))


def assert_gradient(found: Tensor | None, expected: NDArray[Any]) -> None:
    assert found is not None
    wanted = torch.from_numpy(expected).double()
    assert (found - wanted).abs().max() <= 1e-6 * wanted.abs().max()


def test_losses_equal_the_published_programs(golden: Path) -> None:
    data = np.load(golden / "functions" / "losses_pose.npz")
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
     ("princeton", "mean_mse", 2.0)],
)  # fmt: skip
def test_the_codec_divides_as_published(
    golden: Path, normaliser: Any, name: str, factor: float
) -> None:
    """Compares sums over both stacks; only the targets' blobs are the file's own."""
    data = np.load(golden / "functions" / "losses_pose.npz")
    weight = torch.from_numpy(data["target_weight"])[..., 0]
    counts = torch.tensor([float(weight.sum()), float(weight.numel())])
    encoded = JointEncoded(
        torch.zeros(3, 16, 2), torch.zeros(3, 16).long(), weight > 0, weight, (12, 10), counts
    )
    target = torch.from_numpy(data["target"]).double()
    total = 0.0
    codec = JointCodec(16, normaliser=normaliser)
    for stack in torch.from_numpy(data["prediction"]).double():
        # The loss sees only the difference, so the file's target can move to the other side.
        shifted = stack - target + codec.ideal(encoded)["joints"]
        total += codec.loss({"joints": shifted}, encoded)["joints"].item()
    assert total == pytest.approx(factor * data[name].item(), rel=1e-5)


def first_convention(points: Tensor, center: NDArray[Any], scale: float) -> NDArray[Any]:
    """Returns bearpaw's image joints from input pixels of a 256 x 256 crop, truncation included."""
    # Its cells are one-based with half a cell added, so half a cell is lost again on the way.
    place = points.double().numpy() / 4
    return np.trunc((place - 32) * (200 * scale / 64) + center) + 1


@pytest.fixture(scope="module")
def decoded(golden: Path) -> dict[str, NDArray[Any]]:
    return dict(np.load(golden / "functions" / "decode_pose.npz"))


def test_quarter_decodes_as_bearpaw(decoded: dict[str, NDArray[Any]]) -> None:
    maps = {"joints": torch.from_numpy(decoded["heatmap"])}
    codec = JointCodec(16, MPII.flip, refine="none")
    plain = codec.decode(maps).points / 4 + 0.5
    missing = decoded["argmax_one_based"] == 0
    assert missing.sum() == 2
    np.testing.assert_array_equal(plain[~missing], decoded["argmax_one_based"][~missing])

    codec = JointCodec(16, MPII.flip, refine="quarter")
    mirrored = {"joints": torch.from_numpy(decoded["heatmap_of_mirrored_image"])}
    merged = codec.merge_flipped(maps, mirrored)
    for found, key in ((maps, ""), (merged, "_flip_sum")):
        points = codec.decode(found).points
        for image in range(2):
            expected = decoded[f"image_joints_first_convention{key}"][image]
            center, scale = decoded["center"][image], float(decoded["scale"][image])
            np.testing.assert_array_equal(first_convention(points[image], center, scale), expected)


def test_quarter_decodes_as_princeton(decoded: dict[str, NDArray[Any]]) -> None:
    maps = {"joints": torch.from_numpy(decoded["heatmap"])}
    codec = JointCodec(16, MPII.flip, refine="quarter-princeton", flip_merge="clipped")
    seen = np.ones((2, 16), bool)
    seen[1, 15] = False  # negative everywhere: undefined there
    found = codec.decode(maps)
    expected = decoded["peaks_second_convention"]
    np.testing.assert_allclose(found.points[seen] / 4, expected[seen][:, :2], atol=1e-6)
    np.testing.assert_allclose(found.scores[seen], expected[seen][:, 2], atol=1e-6)
    plain = JointCodec(16, refine="none").decode(maps).points / 4 - 0.5
    unadjusted = decoded["peaks_second_convention_unadjusted"]
    np.testing.assert_allclose(plain[seen], unadjusted[seen][:, :2], atol=1e-6)

    mirrored = {"joints": torch.from_numpy(decoded["heatmap_of_mirrored_image"])}
    both = (found, codec.decode(codec.merge_flipped(maps, mirrored)))
    keys = ("image_joints_second_convention", "image_joints_second_convention_flip_mean_of_image0")
    center, scale = decoded["center"][0], float(decoded["scale"][0])
    for candidates, key in zip(both, keys, strict=True):
        expected = decoded[key].reshape(-1, 16, 3)[0]
        place = (candidates.points[0].double().numpy() - 128) * (200 * scale / 256) + center
        np.testing.assert_array_equal(np.trunc(place), expected[:, :2])


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
    maps = {"joints": torch.from_numpy(decoded["heatmap"])}
    found = JointCodec(16, align="index", refine=refine).decode(maps)
    places = (found.points.numpy() - 0.5) / 4
    expected = decoded[key].copy()
    seen = np.ones((2, 16), bool)
    seen[1, 15] = refine == "quarter-mmpose"  # the others are undefined without a positive value
    np.testing.assert_allclose(places[seen], expected[seen], atol=tolerance)
    height = decoded["zero_based_maximum_value"]
    np.testing.assert_allclose(found.scores, height, atol=1e-6)


def test_maps_of_the_mirrored_image_are_turned_back(decoded: dict[str, NDArray[Any]]) -> None:
    mirrored = {"joints": torch.from_numpy(decoded["heatmap_of_mirrored_image"])}
    found = JointCodec(16, MPII.flip).unflip(mirrored)["joints"]
    assert torch.equal(found, torch.from_numpy(decoded["flipped_back"]))
    shifted = JointCodec(16, MPII.flip, flip_merge="shifted").unflip(mirrored)["joints"]
    assert torch.equal(shifted[..., 1:], found[..., :-1])
    assert torch.equal(shifted[..., 0], found[..., 0])
