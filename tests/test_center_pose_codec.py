"""The codec of centres with joints by its laws: round trips, mirror images, classes, mistakes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from heatpoint.codecs import Rows, Target
from heatpoint.codecs.center_pose import CenterPoseCodec
from heatpoint.codecs.moves import LEAST
from heatpoint.data.skeleton import SKELETONS
from heatpoint.errors import HeatpointError

SIZE = (192, 256)
MPII = SKELETONS["mpii16"]
CODEC = CenterPoseCodec(1, joints=16, flip=MPII.flip)
SLICES = ((0, 6), (6, 16))


def people(count: int, seed: int = 0, classes: int = 1, step: float = 0) -> Target:
    """Draws people whose joints and centres all have a cell of their own; some are not labelled.

    Args:
        count: Number of people, at most 180.
        seed: Chooses them.
        classes: Number of classes.
        step: Puts everything onto a grid of so many pixels, within cells.
    """
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randperm(SIZE[0] * SIZE[1] // 16, generator=generator)[: 17 * count]
    corner = torch.stack((cells % (SIZE[1] // 4), cells // (SIZE[1] // 4)), 1)
    inside = 0.05 + 0.9 * torch.rand(17 * count, 2, generator=generator)
    if step:
        inside = step / 4 * torch.randint(1, int(4 / step), inside.shape, generator=generator)
    center, points = (4 * (corner + inside)).split((count, 16 * count))
    half = torch.minimum(center, torch.tensor([SIZE[1], SIZE[0]]) - center)
    seen = torch.randint(0, 3, (count, 16, 1), generator=generator)
    keypoints = torch.cat((points.view(count, 16, 2), seen), -1)
    labels = torch.randint(0, classes, (count,), generator=generator)
    return Target(torch.cat((center - half, center + half), 1), labels, keypoints)


def mirrored(target: Target) -> Target:
    assert target.keypoints is not None
    boxes, keypoints = target.boxes.clone(), target.keypoints[:, list(MPII.flip)]
    boxes[:, [0, 2]] = SIZE[1] - boxes[:, [2, 0]]
    keypoints[..., 0] = SIZE[1] - keypoints[..., 0]
    return Target(boxes, target.labels, keypoints)


def found_of(rows: Rows, image: int, target: Target) -> Tensor:
    """Returns the joints that were found for each object of an image, in the objects' order."""
    count = len(target.labels)
    assert (rows["scores"][image, :count] > 0.99).all()
    assert (rows["scores"][image, count:] < 0.5).all()
    distance = (rows["boxes"][image, None, :count] - target.boxes[:, None]).abs().amax(-1)
    if not count:
        return rows["keypoints"][image, :0]
    assert (distance.amin(1) < 1e-3).all()
    return rows["keypoints"][image, distance.argmin(1)]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"joint_heatmaps": False},
        {"size_region": 0.6, "radius": "fixed"},
        {"classes": 2, "slices": SLICES},
    ],
    ids=str,
)
def test_decoding_ideal_maps_gives_the_targets(fields: dict[str, object]) -> None:
    codec = replace(CODEC, max_detections=150, **fields)  # type: ignore[arg-type]
    counts = (12, 0, 1, 120)
    targets = [people(count, seed, codec.classes) for seed, count in enumerate(counts)]
    encoded = codec.encode(targets, SIZE)
    rows = codec.decode(codec.ideal(encoded))
    for image, target in enumerate(targets):
        assert target.keypoints is not None
        found = found_of(rows, image, target)
        own = codec._owned(target.labels)
        seen = (target.keypoints[..., 2] > 0) & own
        expected = target.keypoints[seen][:, :2]
        torch.testing.assert_close(found[seen][:, :2], expected, rtol=0, atol=1e-3)
        assert (found[seen][:, 2] > 0.99).all()
        assert (found[~own][:, 2] == 0).all()


def test_a_joint_that_shares_its_cell_moves_by_less_than_it() -> None:
    keypoints = torch.zeros(2, 16, 3)
    keypoints[0, 3], keypoints[1, 7] = torch.tensor([80.5, 80.5, 2]), torch.tensor([83.5, 81, 2])
    boxes = torch.tensor([[60.0, 60, 110, 110], [64, 50, 130, 110]])
    target = Target(boxes, torch.zeros(2).long(), keypoints)
    seen = keypoints[..., 2] > 0
    for codec, least, most in ((CODEC, 1.0, 4.0), (replace(CODEC, joint_heatmaps=False), 0, 1e-3)):
        rows = codec.decode(codec.ideal(codec.encode([target], SIZE)))
        off = (found_of(rows, 0, target) - keypoints)[seen][:, :2].abs().max()
        assert least <= off <= most


def test_maps_of_a_mirrored_image_unflip_exactly() -> None:
    target = people(30, step=0.125)
    maps = CODEC.ideal(CODEC.encode([target], SIZE))
    other = CODEC.ideal(CODEC.encode([mirrored(target)], SIZE))
    back = CODEC.unflip(other)
    taken = {
        "displacement": (maps["size"] > 0).any(1),
        "joint_offset": maps["joint_offset"].amax(1) > 0,
    }
    assert taken["displacement"].sum() == 30
    for name, values in maps.items():
        found = back[name]
        if name in ("size", "offset", *taken):
            cells = taken.get(name, taken["displacement"])
            values, found = (each.movedim(1, -1)[cells] for each in (values, found))
        # What is not labelled has no displacement, which the mirror cannot know.
        known = values != 0 if name == "displacement" else torch.ones_like(values, dtype=torch.bool)
        torch.testing.assert_close(found[known], values[known], rtol=0, atol=1e-5)
    assert target.keypoints is not None
    found = found_of(CODEC.decode(CODEC.merge_flipped(maps, other)), 0, target)
    seen = target.keypoints[..., 2] > 0
    expected = target.keypoints[seen][:, :2]
    torch.testing.assert_close(found[seen][:, :2], expected, rtol=0, atol=1e-3)


def test_joints_of_another_class_are_neither_learnt_nor_found() -> None:
    codec = replace(CODEC, classes=2, slices=SLICES)
    target = people(20, classes=2)
    assert target.keypoints is not None
    target.keypoints[..., 2] = 2
    encoded = codec.encode([target], SIZE)
    own = codec._owned(target.labels)
    assert torch.equal(encoded.labelled, own)
    assert encoded.left_out == (~own).sum()
    # Peaks in every map, right at the place where the other class's joints would be.
    maps = CODEC.ideal(replace(CODEC, classes=2).encode([target], SIZE))
    rows = codec.decode(maps)
    found = found_of(rows, 0, target)[~own]
    middle = (target.boxes[:, :2] + target.boxes[:, 2:]) / 2
    expected = middle[:, None].expand(-1, 16, -1)[~own]
    torch.testing.assert_close(found[:, :2], expected, rtol=0, atol=1e-3)
    assert (found[:, 2] == 0).all()


@pytest.mark.parametrize(
    ("at", "probability", "moves"),
    [
        ((100.0, 98.0), 0.9, True),
        ((100.0, 98.0), LEAST + 0.01, True),
        ((100.0, 98.0), LEAST - 0.01, False),
        ((100.0, 114.0), 0.9, False),  # 0.3 of the longer side of the box are 12 pixels
        ((100.0, 72.0), 0.9, False),  # outside of the box
    ],
)
def test_a_joint_moves_to_a_near_peak_within_its_box(
    at: tuple[float, float], probability: float, moves: bool
) -> None:
    start = (100.0, 82.0) if at[1] < 80 else (100.0, 100.0)
    keypoints = torch.zeros(1, 16, 3)
    keypoints[0, 5] = torch.tensor([*start, 2])
    target = Target(torch.tensor([[80.0, 80, 120, 120]]), torch.zeros(1).long(), keypoints)
    maps = CODEC.ideal(CODEC.encode([target], SIZE))
    maps["joint_heatmap"].fill_(-20.0)
    cell = int(at[1] / 4), int(at[0] / 4)
    maps["joint_heatmap"][0, 5, *cell] = torch.tensor(probability).logit()
    maps["joint_offset"][0, :, *cell] = torch.tensor([at[0] / 4 - cell[1], at[1] / 4 - cell[0]])
    joint = CODEC.decode(maps)["keypoints"][0, 0, 5]
    place, height = (at, probability) if moves else (start, 1.0)
    torch.testing.assert_close(joint, torch.tensor([*place, height]), rtol=0, atol=1e-3)


def test_objects_without_labelled_joints_teach_their_box_or_the_heatmap_alone() -> None:
    target = people(10)
    assert target.keypoints is not None
    target.keypoints[:4, :, 2] = 0
    whole = CODEC.encode([target], SIZE)
    published = replace(CODEC, unlabelled="heatmap").encode([target], SIZE)
    assert (len(whole.samples.cell), len(published.samples.cell)) == (10, 6)
    assert whole.counts[0] == published.counts[0] == 10
    assert torch.equal(whole.counts[2:], published.counts[2:])
    assert torch.equal(published.samples.owner, torch.arange(4, 10))


def test_joints_outside_of_the_input_are_counted_and_not_learnt() -> None:
    target = people(1)
    assert target.keypoints is not None
    target.keypoints[..., 2] = 1
    target.keypoints[0, :3, :2] = torch.tensor([[-1.0, 5], [256.0, 192.0], [256.5, 0]])
    encoded = CODEC.encode([target], SIZE)
    assert encoded.labelled[0, :4].tolist() == [False, True, False, True]
    assert encoded.left_out == 2
    assert int(encoded.at.cell[0]) == 48 * 64 - 1
    # A joint that nobody labelled may be anywhere, even nowhere.
    target.keypoints[0, 0] = torch.tensor([float("nan"), float("inf"), 0])
    assert CODEC.encode([target], SIZE).left_out == 1


def test_mean_counts_make_processes_equal_one_batch() -> None:
    targets = [people(30), people(2, seed=1)]
    generator = torch.Generator().manual_seed(0)
    maps = {
        spec.name: torch.randn(2, spec.channels, 48, 64, generator=generator) for spec in CODEC.maps
    }
    together = CODEC.loss(maps, CODEC.encode(targets, SIZE))
    parts = [CODEC.encode([target], SIZE) for target in targets]
    counts = torch.stack([part.counts for part in parts]).mean(0)
    apart = [
        CODEC.loss({k: v[i : i + 1] for k, v in maps.items()}, part.with_counts(counts))
        for i, part in enumerate(parts)
    ]
    for name, term in together.items():
        mean = (apart[0][name] + apart[1][name]) / 2
        torch.testing.assert_close(mean, term, rtol=1e-5, atol=0)


def test_export_equals_eager() -> None:
    codec = replace(CODEC, classes=2, slices=SLICES, max_detections=20)

    class Decoder(torch.nn.Module):
        def forward(self, *maps: Tensor) -> Rows:
            named = {spec.name: values for spec, values in zip(codec.maps, maps, strict=True)}
            return codec.decode(named)

    generator = torch.Generator().manual_seed(0)
    maps = tuple(torch.randn(2, s.channels, 16, 24, generator=generator) for s in codec.maps)
    exported = torch.export.export(Decoder(), maps).module()(*maps)
    for name, expected in Decoder()(*maps).items():
        assert torch.equal(exported[name], expected), name


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"joints": 0}, "joints must be a whole number"),
        ({"flip": (1, 0)}, "flip must name each of the 16 joints once"),
        ({"slices": ((0, 17),)}, "slices must give each of the 1 classes some of the 16 joints"),
        ({"slices": ((0, 8), (8, 16))}, "slices must give each of the 1 classes"),
        ({"displacement_weight": -1.0}, "displacement_weight must be at least 0"),
        ({"mirror": "negatd"}, "did you mean 'negated'"),
        ({"unlabelled": "boxes"}, "box, heatmap"),
    ],
)
def test_mistaken_fields_are_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(HeatpointError, match=message):
        replace(CODEC, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keypoints", "message"),
    [
        (None, r"image 1 of the batch has keypoints of shape None, expected \(3, 16, 3\)"),
        (torch.ones(3, 17, 3), r"shape \(3, 17, 3\), expected \(3, 16, 3\): 16 joints of each"),
        (torch.ones(2, 16, 3), r"16 joints of each of its 3 objects"),
        (
            torch.full((3, 16, 3), float("nan")),
            "image 1 of the batch has a joint that is no finite",
        ),
    ],
    ids=["none", "joints", "objects", "nan"],
)
def test_targets_that_cannot_be_encoded_are_named(keypoints: Tensor | None, message: str) -> None:
    target = replace(people(3), keypoints=keypoints)
    with pytest.raises(ValueError, match=message):
        CODEC.encode([people(2), target], SIZE)
