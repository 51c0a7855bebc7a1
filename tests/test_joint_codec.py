"""Joints there and back again, hard numbers, and what cannot be encoded."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from heatpoint.codecs import Target
from heatpoint.codecs.joints import JointCodec
from heatpoint.data.skeleton import SKELETONS
from heatpoint.errors import HeatpointError

COCO = SKELETONS["coco17"]
SIZE = (96, 160)


def targets(keypoints: Tensor) -> list[Target]:
    """Returns one target for each row of (B, J, 3)."""
    return [
        Target(torch.zeros(1, 4), torch.zeros(1, dtype=torch.long), row[None]) for row in keypoints
    ]


def anywhere(batch: int, joints: int, seed: int = 0) -> Tensor:
    """Returns visible joints all over the input, corners and borders included."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(batch, joints, 2, generator=generator) * torch.tensor([SIZE[1], SIZE[0]])
    points[0, :4] = torch.tensor([[0, 0], [SIZE[1], SIZE[0]], [0, 40.0], [2.0, SIZE[0]]])
    return torch.cat((points, torch.full((batch, joints, 1), 2.0)), -1)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("stride", [2, 4, 8])
@pytest.mark.parametrize("target", ["exact", "udp"])
@pytest.mark.parametrize("align", ["center", "index"])
def test_decoding_the_ideal_gives_the_joints(
    sigma: float, stride: int, target: Any, align: Any
) -> None:
    codec = JointCodec(17, COCO.flip, stride=stride, sigma=sigma, target=target, align=align)
    keypoints = anywhere(3, 17)
    found = codec.decode(codec.ideal(codec.encode(targets(keypoints), SIZE)))
    inside = torch.ones(3, 17, dtype=torch.bool)
    if align == "index":  # the last cells stand for pixels half a cell before the border
        ends = torch.tensor([SIZE[1], SIZE[0]]) - stride / 2
        inside = (keypoints[..., :2] <= ends).all(-1) & (keypoints[..., :2] >= 0.5).all(-1)
    errors = (found["keypoints"][:, 0, :, :2] - keypoints[..., :2]).abs().amax(-1)
    assert errors[inside].max() <= 1e-3
    assert found["keypoints"].dtype == found["scores"].dtype == torch.float32
    for heights in (found["keypoints"][..., 2], found["scores"]):
        assert ((heights > 0) & (heights <= 1)).all()


@pytest.mark.parametrize("refine", ["none", "quarter", "quarter-princeton", "taylor"])
@pytest.mark.parametrize("target", ["rounded", "princeton"])
def test_rounded_targets_cost_half_a_cell_at_most(refine: Any, target: Any) -> None:
    codec = JointCodec(17, target=target, refine=refine)
    keypoints = anywhere(3, 17)
    keypoints[..., :2] = keypoints[..., :2].clamp(min=1).minimum(torch.tensor([159.0, 95.0]))
    found = codec.decode(codec.ideal(codec.encode(targets(keypoints), SIZE)))
    bound = 3.0 if refine == "quarter-princeton" else 2.0
    assert (found["keypoints"][:, 0, :, :2] - keypoints[..., :2]).abs().max() <= bound + 1e-4


def test_taylor_is_exact_for_blobs_of_another_width() -> None:
    keypoints = anywhere(2, 17, seed=3)
    keypoints[..., :2] = keypoints[..., :2].clamp(min=4).minimum(torch.tensor([156.0, 92.0]))
    wide = JointCodec(17, sigma=2.5)
    maps = {"joints": 0.3 * wide.ideal(wide.encode(targets(keypoints), SIZE))["joints"]}
    found = JointCodec(17, sigma=1.0).decode(maps)
    assert (found["keypoints"][:, 0, :, :2] - keypoints[..., :2]).abs().max() <= 1e-3


def test_joints_that_teach_nothing_are_counted() -> None:
    keypoints = torch.tensor(
        [[[10, 10, 2], [20, 20, 1], [0, 0, 0], [-0.5, 5, 2], [50, 64.1, 1]]], dtype=torch.float32
    )
    codec = JointCodec(5)
    encoded = codec.encode(targets(keypoints), (64, 64))
    assert encoded.weight.tolist() == [[1, 1, 0, 0, 0]]
    assert (encoded.unlabelled, encoded.left_out) == (1, 2)
    assert encoded.counts.tolist() == [2, 5]
    without = replace(codec, train_hidden=False).encode(targets(keypoints), (64, 64))
    assert without.weight.tolist() == [[1, 0, 0, 0, 0]]
    assert (without.unlabelled, without.left_out) == (1, 3)
    window = replace(codec, border="window").encode(targets(keypoints), (64, 64))
    assert window.weight.tolist() == [[1, 1, 0, 1, 1]]

    maps = torch.randn(1, 5, 16, 16, generator=torch.Generator().manual_seed(1), requires_grad=True)
    codec.loss({"joints": maps}, encoded)["joints"].backward()
    assert maps.grad is not None
    assert (maps.grad[0].abs().amax((1, 2)) > 0).tolist() == [True, True, False, False, False]


def test_silence_costs_one_and_the_ideal_nothing() -> None:
    keypoints = anywhere(4, 17)
    keypoints[..., :2] = keypoints[..., :2].clamp(min=16).minimum(torch.tensor([144.0, 80.0]))
    for sigma in (1.0, 2.0):
        codec = JointCodec(17, sigma=sigma)
        encoded = codec.encode(targets(keypoints), SIZE)
        ideal = codec.ideal(encoded)
        silence = codec.loss({"joints": torch.zeros_like(ideal["joints"])}, encoded)["joints"]
        assert silence.item() == pytest.approx(1, abs=2e-3)
        assert codec.loss(ideal, encoded)["joints"].item() == 0


def test_counts_of_several_processes_divide_alike() -> None:
    codec, keypoints = JointCodec(17), anywhere(4, 17)
    keypoints[0, :9, 2] = 0
    generator = torch.Generator().manual_seed(2)
    maps = torch.randn(4, 17, 24, 40, generator=generator)
    whole = codec.loss({"joints": maps}, codec.encode(targets(keypoints), SIZE))["joints"]
    halves = [codec.encode(targets(keypoints[i : i + 2]), SIZE) for i in (0, 2)]
    counts = torch.stack([half.counts for half in halves]).sum(0)
    parts = [
        codec.loss({"joints": maps[i : i + 2]}, half.with_counts(counts))["joints"]
        for i, half in zip((0, 2), halves, strict=True)
    ]
    assert sum(parts).item() == pytest.approx(whole.item(), rel=1e-6)  # type: ignore[union-attr]


@pytest.mark.parametrize("normaliser", ["blob", "bearpaw", "mmpose", "princeton"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_numbers_stay_finite(normaliser: Any, dtype: torch.dtype) -> None:
    codec = JointCodec(17, COCO.flip, normaliser=normaliser)
    keypoints = anywhere(2, 17)
    keypoints[1, :, 2] = 0  # a subject without any labelled joint
    encoded = codec.encode(targets(keypoints), SIZE)
    for value in (-50.0, 0.0, 50.0):
        maps = torch.full((2, 17, 24, 40), value, dtype=dtype, requires_grad=True)
        loss = codec.loss({"joints": maps}, encoded)["joints"]
        assert loss.dtype == torch.float32
        loss.backward()
        assert maps.grad is not None
        assert bool(loss.isfinite())
        assert bool(maps.grad.isfinite().all())
        for refine in ("taylor", "dark", "dark-udp", "quarter", "none"):
            found = replace(codec, refine=refine).decode({"joints": maps.detach()})
            assert bool(found["keypoints"].isfinite().all())
            assert bool(found["scores"].isfinite().all())


def test_nothing_labelled_and_empty_batches() -> None:
    codec = JointCodec(3)
    for batch in (0, 2):
        encoded = codec.encode(targets(torch.zeros(batch, 3, 3)), (32, 64))
        maps = {"joints": torch.ones(batch, 3, 8, 16, requires_grad=True)}
        loss = codec.loss(maps, encoded)["joints"]
        loss.backward()
        assert loss.item() == 0
        assert tuple(codec.ideal(encoded)["joints"].shape) == (batch, 3, 8, 16)
        assert tuple(codec.decode(maps)["keypoints"].shape) == (batch, 1, 3, 3)
    one = JointCodec(1, sigma=0.5).decode({"joints": torch.ones(1, 1, 1, 1)})
    assert one["keypoints"].tolist() == [[[[2, 2, 1]]]]


def test_maps_of_bfloat16_are_decoded_to_a_fraction_of_a_cell() -> None:
    codec, keypoints = JointCodec(17, sigma=1.5), anywhere(8, 17)
    maps = codec.ideal(codec.encode(targets(keypoints), SIZE))["joints"].bfloat16()
    assert (
        codec.decode({"joints": maps})["keypoints"][:, 0, :, :2] - keypoints[..., :2]
    ).abs().max() < 0.1


def test_a_mirrored_image_gives_the_same_joints() -> None:
    codec, keypoints = JointCodec(17, COCO.flip), anywhere(2, 17)
    mirrored = keypoints[:, list(COCO.flip)].clone()
    mirrored[..., 0] = SIZE[1] - mirrored[..., 0]
    maps = codec.ideal(codec.encode(targets(keypoints), SIZE))
    other = codec.ideal(codec.encode(targets(mirrored), SIZE))
    torch.testing.assert_close(codec.unflip(other)["joints"], maps["joints"], atol=1e-4, rtol=0)
    merged = codec.decode(codec.merge_flipped(maps, other))
    assert (merged["keypoints"][:, 0, :, :2] - keypoints[..., :2]).abs().max() <= 1e-2
    assert torch.equal(codec.unflip(codec.unflip(maps))["joints"], maps["joints"])
    clipped = replace(codec, flip_merge="clipped").merge_flipped(
        {"joints": maps["joints"] * 3}, {"joints": other["joints"] * 3}
    )
    assert clipped["joints"].max() == 1


def test_mmpose_shifts_by_a_cell_because_its_cells_stand_for_pixels() -> None:
    """Without the shift its mirrored joints are three quarters of a cell off, with it a quarter."""
    codec = JointCodec(1, sigma=2.0, align="index", flip_merge="shifted")
    keypoints = torch.tensor([[[61.3, 40.2, 2.0]]])
    mirrored = keypoints * torch.tensor([-1, 1, 1]) + torch.tensor([SIZE[1], 0, 0])
    maps = codec.ideal(codec.encode(targets(mirrored), SIZE))
    shifted = codec.decode(codec.unflip(maps))["keypoints"][0, 0, 0, 0] - 61.3
    plain = (
        codec.decode(replace(codec, flip_merge="mean").unflip(maps))["keypoints"][0, 0, 0, 0] - 61.3
    )
    assert shifted.item() == pytest.approx(1, abs=1e-3)
    assert plain.item() == pytest.approx(-3, abs=1e-3)


def test_targets_that_cannot_be_encoded() -> None:
    codec = JointCodec(3)
    good = targets(torch.zeros(1, 3, 3))
    with pytest.raises(ValueError, match="not a multiple of the stride 4"):
        codec.encode(good, (30, 32))
    with pytest.raises(ValueError, match="subject 1 of the batch has keypoints of shape None"):
        codec.encode([*good, Target(torch.zeros(1, 4), torch.zeros(1).long())], (32, 32))
    with pytest.raises(ValueError, match=r"\(1, 4, 3\), expected \(1, 3, 3\)"):
        codec.encode(targets(torch.zeros(1, 4, 3)), (32, 32))
    two = Target(torch.zeros(2, 4), torch.zeros(2).long(), torch.zeros(2, 3, 3))
    with pytest.raises(ValueError, match=r"expected .* one subject with 3 joints"):
        codec.encode([two], (32, 32))
    bad = torch.zeros(2, 3, 3)
    bad[1, 2, 0] = math.nan
    with pytest.raises(ValueError, match="subject 1 of the batch has a joint that is no finite"):
        codec.encode(targets(bad), (32, 32))


def test_codecs_that_make_no_sense() -> None:
    for flip in ((1, 2, 0), (0, 1), (0, 0, 2), (0, 1, 3)):
        with pytest.raises(HeatpointError, match="applied twice"):
            JointCodec(3, flip)
    with pytest.raises(HeatpointError, match="did you mean 'quarter'"):
        JointCodec(3, refine="quater")  # type: ignore[arg-type]
    with pytest.raises(HeatpointError, match="joints must be a whole number"):
        JointCodec(0)
    with pytest.raises(HeatpointError, match="sigma must be above 0"):
        JointCodec(3, sigma=0.0)
    assert JointCodec(3, [0, 2, 1]) == JointCodec(3, (0, 2, 1))  # type: ignore[arg-type]


@pytest.mark.parametrize("refine", ["taylor", "quarter", "dark"])
def test_decoding_can_be_exported(refine: Any) -> None:
    codec = JointCodec(3, (0, 2, 1), refine=refine)

    class Decode(torch.nn.Module):
        def forward(self, maps: Tensor, mirrored: Tensor) -> tuple[Tensor, Tensor]:
            merged = codec.merge_flipped({"joints": maps}, {"joints": mirrored})
            rows = codec.decode(merged)
            return rows["keypoints"], rows["scores"]

    maps, mirrored = torch.rand(2, 3, 8, 16), torch.rand(2, 3, 8, 16)
    exported = torch.export.export(Decode(), (maps, mirrored)).module()
    other = torch.rand(2, 3, 8, 16)
    for found, expected in zip(exported(other, maps), Decode()(other, maps), strict=True):
        torch.testing.assert_close(found, expected)
