"""Corners in crops with attention: what is learnt, masked, attended, and answered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from heatpoint.codecs import Target
from heatpoint.codecs.saccade import ATTENTION, ZOOMS, SaccadeCodec
from heatpoint.data.closeups import SIDES, CloseAugment
from heatpoint.data.scene import Scene
from heatpoint.geometry import clip_boxes

SIZE = (255, 255)
CODEC = SaccadeCodec(2, trim=1)


def target(*boxes: tuple[float, float, float, float]) -> Target:
    return Target(torch.tensor(boxes, dtype=torch.float32), torch.arange(len(boxes)) % 2)


SCENE = target((20, 30, 40, 45), (60, 60, 120, 90), (30, 110, 200, 240))
"""A small, a medium and a large object."""

NOTHING = Target(torch.zeros(0, 4), torch.zeros(0).long())


def test_decoding_ideal_maps_gives_the_targets_and_where_to_look() -> None:
    encoded = CODEC.encode([SCENE, NOTHING], SIZE)
    rows = CODEC.decode(CODEC.ideal(encoded))
    assert rows["boxes"].shape == (2, 12, 4)
    assert (rows["scores"] > 0.9).sum(1).tolist() == [3, 0]
    order = rows["boxes"][0, :3, 2].argsort()
    torch.testing.assert_close(rows["boxes"][0, order], SCENE.boxes, rtol=0, atol=1e-3)
    places = rows["places"]
    assert places.shape == (2, 96, 5)
    sure = places[0, places[0, :, 4] > 0.5]
    assert (places[1, :, 4] < 0.5).all()
    middles = (SCENE.boxes[:, :2] + SCENE.boxes[:, 2:]) / 2
    for place, box, (name, (times, _, _)) in zip(
        sure, middles.flip(0), ATTENTION.items(), strict=True
    ):
        away = box - (place[:2] + place[2:4]) / 2
        assert ((away >= 0) & (away < 4 * times)).all()
        torch.testing.assert_close(place[2:4] - place[:2], torch.full((2,), 255 / ZOOMS[name]))


def test_objects_that_are_cut_or_small_are_neither_learnt_nor_denied() -> None:
    cut, small = (-60.0, 100.0, 50.0, 150.0), (200.0, 20.0, 214.0, 30.0)
    alone = CODEC.encode([target((60, 60, 120, 90))], SIZE)
    both = CODEC.encode([target((60, 60, 120, 90), cut, small)], SIZE)
    assert (len(alone), len(both), both.left_out) == (1, 1, 0)
    torch.manual_seed(0)
    maps = {spec.name: torch.randn(1, spec.channels, 64, 64) for spec in CODEC.maps}
    for name, (times, _, _) in ATTENTION.items():
        maps[name] = torch.randn(1, 1, 64 // times, 64 // times)
    free, masked = CODEC.loss(maps, alone), CODEC.loss(maps, both)
    assert masked["heatmap"] < free["heatmap"]
    # Logits at the corners of the two, of which one lies on the border, have no say.
    loud = {name: values.clone() for name, values in maps.items()}
    for label, row, column in ((1, 25, 0), (0, 5, 50)):
        loud["top_left"][0, label, row, column] = 9.0
    assert CODEC.loss(loud, both)["heatmap"] == masked["heatmap"]
    assert CODEC.loss(loud, alone)["heatmap"] > free["heatmap"] + 1
    # Attention is for them all the same.
    assert both.counts[4:].tolist() == [0, 2, 1]
    learns = replace(CODEC, least_side=0).encode([target(small, cut)], SIZE)
    assert len(learns) == 1


def test_sizes_on_the_edge_are_of_two_maps() -> None:
    encoded = CODEC.encode([target((10, 10, 42, 20), (10, 50, 106, 60))], SIZE)
    assert {name: encoded.attention_map(name).sum().item() for name in ATTENTION} == {
        "attention_large": 1,
        "attention_medium": 2,
        "attention_small": 1,
    }


@pytest.mark.parametrize("height", [-50.0, 50.0])
def test_losses_of_hard_logits_and_of_nothing_are_finite(height: float) -> None:
    for targets in ([SCENE, NOTHING], [NOTHING], []):
        encoded = CODEC.encode(targets, SIZE)
        maps = CODEC.ideal(encoded)
        hard = {name: torch.full_like(values, height).bfloat16() for name, values in maps.items()}
        for values in hard.values():
            values.requires_grad_()
        loss = torch.stack(list(CODEC.loss(hard, encoded).values())).sum()
        loss.backward()
        assert loss.isfinite()
        assert all(v.grad is None or v.grad.isfinite().all() for v in hard.values())


def test_broken_boxes_are_refused() -> None:
    for box in ((10.0, 10.0, 5.0, 20.0), (float("nan"), 0.0, 5.0, 5.0)):
        with pytest.raises(ValueError, match="boxes must be finite, of positive area"):
            CODEC.encode([target(box)], SIZE)


@pytest.mark.parametrize("longest", [10, 60, 300])
def test_crops_show_an_object_at_its_scale(longest: int) -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((600, 900, 3), np.uint8)
    box = np.array([[400.0, 200.0, 400.0 + longest, 200.0 + longest / 2]])
    least, most = next(sides for above, sides in SIDES if longest > above)
    middles = []
    for _ in range(50):
        scene = Scene(image, box, np.zeros(1, np.int64))
        seen = CloseAugment(whole=0.0).view([scene], SIZE, rng)
        (found,) = seen.boxes
        assert least - 1e-6 <= found[2] - found[0] <= most + 1e-6
        inside = clip_boxes(seen.boxes, SIZE)[0]
        assert (inside[2:] - inside[:2] > 0).all()
        middles.append((found[:2] + found[2:]) / 2)
    assert np.ptp(middles, axis=0).min() > 20


def test_pictures_smaller_than_a_crop_and_without_objects() -> None:
    rng = np.random.default_rng(0)
    image = np.full((20, 30, 3), 200, np.uint8)
    one = Scene(image, np.array([[5.0, 5.0, 15.0, 15.0]]), np.zeros(1, np.int64))
    for scene in (one, one.keep(np.zeros(1, bool))):
        plain = CloseAugment(whole=0.0, flip=0.0, colour=0.0, lighting=0.0)
        seen = plain.view([scene], SIZE, rng)
        assert seen.image.shape == (*SIZE, 3)
        assert seen.image.max() == 200
    still = CloseAugment.none().view([one], SIZE, rng)
    np.testing.assert_allclose(still.boxes, [[42.5, 85, 127.5, 170]])


def test_some_views_are_first_looks_and_windows_cut_both() -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((600, 900, 3), np.uint8)
    scene = Scene(image, np.array([[400.0, 200.0, 460.0, 230.0]]), np.zeros(1, np.int64))
    augment = replace(CloseAugment.mild(), window=(128, 128), focus=1.0)
    sides = []
    for _ in range(200):
        seen = augment.view([scene], (255, 255), rng)
        assert seen.image.shape == (128, 128, 3)
        sides.append(float(seen.boxes[0, 2] - seen.boxes[0, 0]))
    shown = 60 * 255 / 900  # by a first look, give or take
    first = [side for side in sides if shown / 1.3 - 1e-6 <= side <= shown / 0.7 + 1e-6]
    assert 30 < len(first) < 90
    assert all(32 <= side <= 97 for side in sides if side not in first)
