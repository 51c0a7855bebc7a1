"""How exact coordinates are: drawn scenes, warped pictures, and every decoding of ideal maps."""

from __future__ import annotations

from types import ModuleType
from typing import get_args

import numpy as np
import pytest
import torch
from scripts import script

from heatpoint.codecs import Target
from heatpoint.codecs.joint_maps import Refine, draw_joints, joint_peaks
from heatpoint.codecs.points import PointCodec
from heatpoint.data.augment import Augment
from heatpoint.data.scene import Scene


@pytest.fixture(scope="module")
def subpixel() -> ModuleType:
    return script("benchmarks/subpixel.py")


@pytest.mark.parametrize("blur", [0.0, 1.5])
def test_pixels_of_drawn_scenes_are_averages_over_their_area(
    subpixel: ModuleType, blur: float
) -> None:
    blurs = torch.full((8,), blur)
    coarse, points = subpixel.scenes(8, blurs, torch.Generator().manual_seed(0))
    fine, same = subpixel.scenes(8, blurs, torch.Generator().manual_seed(0), nodes=8)
    assert (points == same).all()
    assert (coarse - fine).abs().max() < 0.5  # grey values are whole


@pytest.mark.parametrize("blur", [0.0, 1.5])
@pytest.mark.parametrize("nodes", [2, 8])
def test_drawn_shapes_are_symmetric_about_their_points(
    subpixel: ModuleType, blur: float, nodes: int
) -> None:
    grey, points = subpixel.scenes(
        8, torch.full((8,), blur), torch.Generator().manual_seed(1), nodes=nodes
    )
    grey = grey - grey[:, :1, :1]
    k = torch.cartesian_prod(torch.arange(-3, 4), torch.arange(0, 4)) * (2 * torch.pi / 32)
    for picture, own in zip(grey, points, strict=True):
        for point in own:
            right, down = ((point // 32) * 32).long()
            part = picture[down : down + 32, right : right + 32]
            y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
            x, y = x + right + 0.5 - point[0], y + down + 0.5 - point[1]
            phase = k[:, :1] * x.flatten() + k[:, 1:] * y.flatten()
            even, odd = phase.cos() @ part.flatten(), phase.sin() @ part.flatten()
            # A shape that is symmetric about (x, y) has odd = (k . (x, y)) even to first order.
            off = torch.linalg.lstsq(k * even[:, None], odd[:, None]).solution
            assert off.abs().max() < 0.005


def test_points_follow_their_pictures_through_every_augmentation() -> None:
    rng, middles, off = np.random.default_rng(0), np.arange(96) + 0.5, []
    vary = Augment(
        scale_low=0.7, scale_step=0.0, rotation=180, flip_vertical=0.5, quarter_turn=0.5,
        colour=0.0, lighting=0.0,
    )  # fmt: skip
    while len(off) < 60:
        x, y = rng.uniform(40, 56, 2)
        away = (middles - x) ** 2 + (middles[:, None] - y) ** 2
        image = (60000 * np.exp(-away / 18)).round().astype(np.uint16)[..., None].repeat(3, -1)
        box = np.array([[x, y, x, y]])
        scene = Scene(image, box, np.zeros(1, np.int64), points=np.array([[[x, y]]]))
        seen = vary.view([scene], (96, 96), rng)
        if not len(seen.boxes) or (np.abs(seen.boxes - 48) > 24).any():
            continue
        weight = seen.image[..., 0] / seen.image[..., 0].sum(dtype=np.float64)
        middle = np.array([weight.sum(0) @ middles, weight.sum(1) @ middles])
        assert seen.points is not None
        off.append(middle - seen.points[0, 0])
    # OpenCV rounds to 1/32 of a pixel; on average there is no shift at all.
    assert np.abs(off).max() < 1 / 32
    assert np.abs(np.mean(off, 0)).max() < 1e-3


LEFT_OVER: dict[str, float] = {
    "taylor": 1e-4,
    "none": 0.5,
    "quarter": 0.25,
    "quarter-princeton": 0.25,
    "quarter-mmpose": 0.25,
    "dark": 5e-4,
    "dark-udp": 1e-4,
}
"""Cells by which decoding may be off on each axis, of blobs drawn about the joints themselves."""


@pytest.mark.parametrize("refine", get_args(Refine))
@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0])
def test_every_decoding_of_ideal_maps_is_within_its_bound(refine: Refine, sigma: float) -> None:
    generator = torch.Generator().manual_seed(0)
    position = 9 + 6 * torch.rand(40, 5, 2, generator=generator, dtype=torch.float64)
    maps = draw_joints(position, torch.ones(40, 5, dtype=torch.bool), sigma, (24, 24), "exact")
    found, height = joint_peaks(maps, refine, sigma)
    off = (found - position).abs().max()
    assert off <= LEFT_OVER[refine] + 1e-9
    if LEFT_OVER[refine] >= 0.25:
        assert off > 0.99 * LEFT_OVER[refine]
    assert (height > 0.7).all()


@pytest.mark.parametrize("neighbours", [0, 1])
@pytest.mark.parametrize("stride", [2, 4])
def test_offset_maps_are_exact_at_every_place_within_a_cell(stride: int, neighbours: int) -> None:
    inside = torch.cartesian_prod(torch.linspace(0, 0.99, 12), torch.linspace(0, 0.99, 12))
    index = torch.arange(len(inside))
    points = (torch.stack((index % 12, index // 12), 1) * 5 + 2 + inside) * stride
    target = Target(torch.cat((points, points), 1), index * 0, points=points[:, None])
    codec = PointCodec(1, stride, neighbours=neighbours, max_detections=len(points))
    rows = codec.decode(codec.ideal(codec.encode([target], (64 * stride, 64 * stride))))
    away = (rows["points"][0, :, None] - points).abs().amax(-1)
    assert away.amin(1).max() < 1e-3
    assert away.amin(0).max() < 1e-3
