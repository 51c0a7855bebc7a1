"""Subjects as samples: which there are, what they look like, and that chance is repeatable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.dataset import TrainSet, collate
from heatpoint.data.images import BadImage, load_image
from heatpoint.data.order import EpochSampler
from heatpoint.data.pose_augment import PoseAugment
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.views import Places, Whole
from heatpoint.views.pictures import Crops

FIXED = {"scale": 0.0, "rotation": 0.0, "flip": 0.0, "gain": 0.0}
PAIR = Skeleton(("left_hand", "right_hand"), pairs=((0, 1),))


def dataset(folder: Path) -> Annotations:
    """Returns two images: one with a green and a blue square subject side by side, one random."""
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[20:80, 20:80] = (0, 255, 0)
    pixels[20:80, 100:160] = (0, 0, 255)
    noise = np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8)
    for name, image in (("a.png", pixels), ("b.png", noise)):
        Image.fromarray(image).save(folder / name)
    boxes = np.array([[20.0, 20, 80, 80], [100, 20, 160, 80]])
    joints = np.array([[[30.0, 50, 2], [70, 50, 1]], [[110, 50, 2], [150, 50, 2]]])
    first = ImageRecord(
        folder / "a.png", (100, 200), boxes, np.array([0, 0]), image_id=1, keypoints=joints
    )
    second = ImageRecord(
        folder / "b.png",
        (80, 60),
        np.array([[0.0, 0, 60, 80], [5, 5, 5, 9], [0, 0, 30, 30], [0, 0, 9, 9], [0, 0, 9, 9]]),
        np.zeros(5, np.int64),
        crowd=np.array([False, False, False, True, False]),
        difficult=np.array([False, False, False, False, True]),
        image_id=2,
        keypoints=np.array(
            [
                [[10.0, 20, 2], [np.nan, 5, 2]],
                [[5, 6, 2], [5, 7, 2]],
                [[0, 0, 0], [0, 0, 0]],
                [[1, 1, 2], [2, 2, 2]],
                [[1, 1, 2], [2, 2, 2]],
            ]
        ),
    )
    return Annotations(("person",), [first, second], "two", skeleton=PAIR)


def test_subjects_are_objects_with_joints(tmp_path: Path) -> None:
    views = TrainSet(dataset(tmp_path), (64, 64), PoseAugment.none())
    places = [(image, objects.tolist()) for image, objects in views.samples.places]
    assert places == [(0, [0]), (0, [1]), (1, [0])]
    assert [Path(path).name for path in views.paths] == ["a.png", "a.png", "b.png"]
    assert len(views) == 3
    assert views.samples.left_out == {
        "crowd": 1,
        "difficult": 1,
        "without joints": 1,
        "without a box": 1,
    }


def test_the_centred_subject_is_meant(tmp_path: Path) -> None:
    views = TrainSet(dataset(tmp_path), (64, 64), PoseAugment.none())
    for index, channel in ((0, 1), (1, 2)):
        sample = views[0, index]
        assert sample.index == index
        assert sample.image.shape == (3, 64, 64)
        assert sample.image.dtype == torch.uint8
        assert int(sample.image[channel, 32, 32]) == 255
        assert sample.target.boxes.tolist() == pytest.approx(torch.tensor([[6.4, 6.4, 57.6, 57.6]]))
        assert sample.target.labels.tolist() == [0]
        assert sample.target.keypoints is not None
        assert sample.target.keypoints.dtype == torch.float32
        np.testing.assert_allclose(
            sample.target.keypoints[0, :, :2], [[14.9333, 32], [49.0667, 32]], atol=1e-3
        )
    assert views[0, 0].target.keypoints[0, :, 2].tolist() == [2, 1]  # type: ignore[index]


def test_nan_joints_are_not_labelled(tmp_path: Path) -> None:
    target = TrainSet(dataset(tmp_path), (64, 64), PoseAugment.none())[0, 2].target
    assert target.keypoints is not None
    assert target.keypoints[0, 1].tolist() == [0, 0, 0]
    assert torch.isfinite(target.keypoints).all()


def test_joints_beyond_the_crop_are_not_labelled(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    assert data.images[0].keypoints is not None
    data.images[0].keypoints[0, 1] = [190.0, 50.0, 2.0]
    views = TrainSet(data, (64, 64), PoseAugment.none())
    assert views[0, 0].target.keypoints[0].tolist()[1] == [0, 0, 0]  # type: ignore[index]


def test_chance_depends_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    views, again = (
        TrainSet(data, (48, 48), PoseAugment(), seed=3),
        TrainSet(data, (48, 48), PoseAugment(), seed=3, cache_bytes=1 << 20),
    )
    again[5, 1], again[0, 2]  # whatever was drawn before
    one, other = views[2, 2], again[2, 2]
    assert torch.equal(one.image, other.image)
    assert torch.equal(one.target.keypoints, other.target.keypoints)  # type: ignore[arg-type]
    assert not torch.equal(one.image, views[3, 2].image)
    assert not torch.equal(one.image, TrainSet(data, (48, 48), PoseAugment(), seed=4)[2, 2].image)


def test_a_loader_takes_the_samples(tmp_path: Path) -> None:
    views = TrainSet(dataset(tmp_path), (32, 32), PoseAugment())
    loader = DataLoader(views, 3, sampler=EpochSampler(len(views)), collate_fn=collate)
    batch = next(iter(loader))
    assert batch.images.shape == (3, 3, 32, 32)
    assert sorted(batch.indices) == [0, 1, 2]


def test_without_augmentation_training_sees_what_evaluation_sees(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    views = TrainSet(data, (64, 48), PoseAugment(**FIXED, padding=1.5))
    record = data.images[0]
    places = Places(record.boxes.astype(np.float32), np.ones(2, np.float32), np.zeros(2, np.int64))
    looks = Crops((64, 48), padding=1.5).looks((100, 200), places)
    raster = Whole(load_image(record.path))
    for index, look in enumerate(looks):
        sample = views[0, index]
        assert np.array_equal(sample.image.numpy(), look.cut(raster))
        assert sample.target.keypoints is not None
        back = look.to_image.points(sample.target.keypoints[0, :, :2])
        np.testing.assert_allclose(back, record.keypoints[index, :, :2], atol=1e-4)  # type: ignore[index]


@pytest.mark.parametrize("side", [20, 4000])
def test_sizes_and_borders(tmp_path: Path, side: int) -> None:
    """A subject of 20 px or 4,000 px, half of it beyond the picture, fills the crop alike."""
    pixels = np.zeros((side, side // 2, 3), np.uint8)
    pixels[side // 2 :] = 255
    Image.fromarray(pixels).save(tmp_path / "half.png")
    box = np.array([[-side / 2, 0, side / 2, side]])
    joints = np.array([[[-side / 4, side / 2, 1], [side / 4, side / 2, 2]]])
    record = ImageRecord(tmp_path / "half.png", None, box, np.array([0]), keypoints=joints)
    data = Annotations(("person",), [record], "half", skeleton=PAIR)
    sample = TrainSet(data, (64, 64), PoseAugment(**FIXED, padding=1.0))[0, 0]
    assert sample.target.keypoints is not None
    np.testing.assert_allclose(sample.target.keypoints[0, :, :2], [[16, 32], [48, 32]], atol=1e-3)
    assert int(sample.image[:, :, :30].max()) == 0
    assert int(sample.image[:, 36:60, 36:60].min()) == 255
    assert int(sample.image[:, :28, 36:].max()) == 0


def test_images_that_are_bad_and_data_without_a_skeleton(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    (tmp_path / "b.png").write_bytes(b"nothing")
    with pytest.raises(BadImage, match=r"b\.png"):
        TrainSet(data, (32, 32), PoseAugment())[0, 2]
    data.skeleton = None
    with pytest.raises(HeatpointError, match="two does not name its joints"):
        TrainSet(data, (32, 32), PoseAugment())


def test_empty_data() -> None:
    nothing = Annotations(("a",), [], "none", skeleton=PAIR)
    assert len(TrainSet(nothing, (32, 32), PoseAugment())) == 0
