"""CornerNet-Saccade's codec and view beside numbers computed by the published program."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_files import arrays, tensors

from heatpoint.codecs import Target
from heatpoint.codecs.corners import CORNERS
from heatpoint.codecs.encoded import Blobs
from heatpoint.codecs.gaussian import Windows
from heatpoint.codecs.losses import focal_loss
from heatpoint.codecs.peaks import local_maxima
from heatpoint.codecs.saccade import ATTENTION, SaccadeCodec, without
from heatpoint.geometry import Affine
from heatpoint.views import Look
from heatpoint.views.fields import Field, mapped
from heatpoint.views.zoom import Locations, Zoom, around, attended, distinct

NAME = "saccade"
SIZE = (255, 255)


def listed(target: torch.Tensor) -> Blobs:
    """Returns a dense target (B, C, h, w) as a list of cells."""
    flat = target.flatten()
    cells = flat.nonzero()[:, 0]
    planes = target.shape[0] * target.shape[1]
    starts = torch.searchsorted(cells, torch.arange(planes + 1) * (len(flat) // planes))
    return Blobs(Windows(cells, flat[cells], cells), starts, (flat == 1).nonzero()[:, 0])


def test_masked_focal_loss() -> None:
    data = tensors(NAME)
    target, valid = data["masked_focal_target"], data["masked_focal_valid"]
    blobs = listed(target)
    learnt = without(blobs, listed(1 - valid), target[0, 0].numel())
    logits = data["masked_focal_logits"].double().requires_grad_()
    scale = 1 / torch.tensor(float(len(blobs.peaks)))
    loss = focal_loss(logits, *learnt.lists, scale, clamp=1e-4)
    loss.backward()
    assert loss.item() == pytest.approx(data["masked_focal_value"].item(), rel=1e-6)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, data["masked_focal_gradient"], rtol=1e-5, atol=1e-7)


def test_attention_targets() -> None:
    data = tensors(NAME)
    boxes = data["attention_boxes"].float()
    target = Target(boxes, torch.zeros(len(boxes)).long())
    encoded = SaccadeCodec(1, trim=1, border="pixels").encode([target], SIZE)
    for place, name in enumerate(ATTENTION):
        expected = data[f"attention_target{place}"]
        assert torch.equal(encoded.attention_map(name)[0, 0], expected)


def test_locations_of_attention() -> None:
    data = arrays(NAME)
    codec = SaccadeCodec(1, trim=1, places=64)
    maps = {}
    for place, name in enumerate(ATTENTION):
        maps[name] = torch.from_numpy(data[f"attention{place}"]).double()
        peaks = torch.from_numpy(data[f"attention{place}_suppressed"])
        found = maps[name] * local_maxima(maps[name])
        torch.testing.assert_close(found, peaks.double(), rtol=0, atol=1e-9)
        maps[name] = torch.logit(maps[name].clamp(1e-9, 1 - 1e-9))
    for spec in codec.maps:
        maps.setdefault(spec.name, torch.zeros(2, spec.channels, 64, 64))
    places = codec.decode(maps)["places"].numpy()
    height, width = (int(side) for side in data["image_height_width"])
    rows = []
    for patch, (zoom, (y, x)) in enumerate(
        zip(data["zoom"].tolist(), data["patch_origin_yx"].tolist(), strict=True)
    ):
        look = Look(SIZE, Affine.scale(zoom, zoom) @ Affine.translate(-x, -y))
        fields = (Field("places", (5,), "place"),)
        own = mapped({"places": places[patch]}, fields, look.to_image)["places"]
        found = attended(own, zoom, SIZE, (height, width), 0.3)
        rows.append(np.column_stack((found.points[:, ::-1], found.zooms, found.scores)))
    ours, theirs = np.concatenate(rows), data["locations"]
    order, published = (np.lexsort(each.round(2).T) for each in (ours, theirs))
    np.testing.assert_allclose(ours[order], theirs[published], rtol=1e-4, atol=1e-2)


def test_locations_of_detections() -> None:
    data = arrays(NAME)
    rows = data["detections"]
    found = around(rows[:, :4], rows[:, 4], 0.5)
    ours = np.column_stack((found.points[:, ::-1], found.zooms, found.scores))
    np.testing.assert_allclose(ours, data["reference_locations"], rtol=1e-5)


def test_suppression_of_locations() -> None:
    data = arrays(NAME)
    before = data["locations_before_suppression"]
    found = distinct(Locations(before[:, 1::-1], before[:, 2], before[:, 3]), both=False)
    ours = np.column_stack((found.points[:, ::-1], found.zooms, found.scores))
    np.testing.assert_allclose(ours, data["locations_after_suppression"], rtol=1e-9)


@pytest.mark.parametrize(("name", "rim"), [("no_border", False), ("with_border", True)])
def test_decoding(name: str, rim: bool) -> None:
    data = tensors(NAME)
    parts = {"": "logits", "_embedding": "embedding", "_offset": "offset"}
    maps = {
        corner + part: data[f"corner_{stored}"][place : place + 1]
        for place, corner in enumerate(CORNERS)
        for part, stored in parts.items()
    }
    classes = maps["top_left"].shape[1]
    codec = SaccadeCodec(classes, stride=1, corners=32, max_detections=1024, rim=rim)
    maps |= {attention: torch.zeros(1, 1, 32, 32) for attention in ATTENTION}
    found, expected = codec.decode(maps), data[f"decoded_{name}"]
    kept = found["scores"][0] > 0
    assert kept.sum() == len(expected)
    torch.testing.assert_close(found["boxes"][0, kept], expected[:, :4], rtol=0, atol=1e-4)
    torch.testing.assert_close(found["scores"][0, kept], expected[:, 4], rtol=0, atol=1e-5)
    assert torch.equal(found["labels"][0, kept], expected[:, 7].long())


def test_detections_of_a_patch_in_the_image() -> None:
    data = arrays(NAME)
    for patch, zoom in enumerate(data["zoom"].tolist()):
        y, x = data["patch_origin_yx"][patch].tolist()
        look = Look(SIZE, Affine.scale(zoom, zoom) @ Affine.translate(-x, -y))
        cells = data["patch_detections"][patch]
        corners = cells[:, :4].reshape(-1, 2, 2) * np.float32(SIZE[0] / 64)
        ours = look.to_image.points(corners).reshape(-1, 4)
        np.testing.assert_allclose(ours, data["image_detections"][patch, :, :4], atol=1e-3)


def test_crops_begin_where_the_published_ones_do() -> None:
    data = arrays(NAME)
    height, width = data["crop_image"].shape[1:]
    side = data["crop_patches"].shape[-1]
    view = Zoom((side, side))
    part = {"boxes": np.zeros((0, 4)), "scores": np.zeros(0)}
    for (y, x, zoom), origin in zip(
        data["crop_locations_y_x_zoom"].tolist(), data["crop_origin_yx"].tolist(), strict=True
    ):
        reach = side / zoom / 2
        places = np.array([[x - reach, y - reach, x + reach, y + reach, 1.0]])
        first = view.looks((4 * height, 4 * width))[:1]
        (look,) = view.again((height, width), first, [part | {"places": places}])
        corner = look.to_image.points(np.zeros(2))
        # The released program begins at whole pixels.
        assert np.abs(corner[::-1] - origin).max() <= 1
