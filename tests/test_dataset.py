"""Samples of a data set: the same whatever the workers and what is kept of pictures."""

from __future__ import annotations

import dataclasses
import multiprocessing
import pickle
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PIL
from torch.utils.data import DataLoader

from heatpoint import plugins
from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.augment import Augment
from heatpoint.data.dataset import (
    Batch,
    TrainSet,
    collate,
    varied,
    worker_init,
)
from heatpoint.data.images import BadImage, load_image
from heatpoint.data.order import EpochSampler
from heatpoint.data.own_augment import OwnAugment
from heatpoint.data.pose_augment import PoseAugment
from heatpoint.data.skeleton import Skeleton
from heatpoint.geometry import letterbox
from heatpoint.views import Whole
from heatpoint.views.pictures import Crops, Picture
from heatpoint.views.tiles import Tiles

SIZE = (64, 96)


@pytest.fixture
def annotations(tmp_path: Path) -> Annotations:
    """Returns six drawn images; the first has a crowd region and a difficult object."""
    rng = np.random.default_rng(0)
    records = []
    for i in range(6):
        path = tmp_path / f"{i}.png"
        height, width = 40 + 7 * i, 90 - 5 * i
        PIL.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(path)
        boxes = np.array([[5.0, 5.0, 25.0, 30.0], [30.0, 10.0, 50.0, 38.0], [0.0, 0.0, 9.0, 9.0]])
        crowd, difficult = np.array([False, i == 0, False]), np.array([False, i == 0, i == 0])
        record = ImageRecord(
            path, (height, width), boxes, np.array([0, 1, 1]), crowd=crowd, difficult=difficult
        )
        records.append(record)
    return Annotations(("a", "b"), records, "drawn", (1, 2))


def batches(dataset: TrainSet, sampler: EpochSampler, workers: int = 0) -> list[Batch]:
    loader = DataLoader(
        dataset,
        batch_size=2,
        sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        worker_init_fn=worker_init,
    )
    return list(loader)


def equal(a: Batch, b: Batch) -> bool:
    return (
        torch.equal(a.images, b.images)
        and a.indices == b.indices
        and all(
            torch.equal(x.boxes, y.boxes) and torch.equal(x.labels, y.labels)
            for x, y in zip(a.targets, b.targets, strict=True)
        )
    )


def test_samples_depend_on_seed_epoch_and_index_alone(annotations: Annotations) -> None:
    first, again = (TrainSet(annotations, SIZE, seed=3) for _ in range(2))
    for place in ((0, 2), (7, 5)):
        assert torch.equal(first[place].image, again[place].image)
        assert torch.equal(first[place].target.boxes, again[place].target.boxes)
    others = [(1, 2), (0, 3)]
    assert not any(torch.equal(first[0, 2].image, first[other].image) for other in others)
    assert not torch.equal(first[0, 2].image, TrainSet(annotations, SIZE, seed=4)[0, 2].image)


def test_types_and_frames(annotations: Annotations) -> None:
    sample = TrainSet(annotations, SIZE)[0, 1]
    assert sample.image.shape == (3, *SIZE)
    assert sample.image.dtype == torch.uint8
    assert sample.target.boxes.dtype == torch.float32
    assert sample.target.labels.dtype == torch.int64
    assert sample.index == 1
    assert sample.target.keypoints is None


def test_without_augmentation_training_sees_what_evaluation_sees(annotations: Annotations) -> None:
    train = TrainSet(annotations, SIZE, Augment.none())
    for i, record in enumerate(annotations.images):
        raster = Whole(load_image(record.path))
        look = Picture(SIZE).looks(raster.size)[0]
        sample = train[4, i]
        assert np.array_equal(sample.image.numpy(), look.cut(raster))
        wanted = record.boxes[~(record.crowd | record.difficult)]
        assert np.allclose(look.to_image.boxes(sample.target.boxes), wanted, atol=1e-4)


def test_crowd_and_difficult_objects_are_no_targets_but_counted(annotations: Annotations) -> None:
    train = TrainSet(annotations, SIZE, Augment.none())
    assert train.samples.left_out == {"crowd": 1, "difficult": 1}
    assert train[0, 0].target.labels.tolist() == [0]
    assert train[0, 1].target.labels.tolist() == [0, 1, 1]


def test_workers_and_the_cache_change_nothing(annotations: Annotations) -> None:
    sampler = EpochSampler(6, seed=1)
    sampler.set_epoch(2)
    plain = batches(TrainSet(annotations, SIZE), sampler)
    cached = TrainSet(annotations, SIZE, cache_bytes=20_000)
    for other in (
        batches(cached, sampler),
        batches(cached, sampler),
        batches(TrainSet(annotations, SIZE), sampler, workers=2),
    ):
        assert all(equal(a, b) for a, b in zip(plain, other, strict=True))


@pytest.mark.parametrize("augment", [Augment(), Augment.mild(), Augment.none()])
@pytest.mark.parametrize("turned", [1, 3, 6])
def test_large_jpegs_are_read_small_and_look_the_same(
    tmp_path: Path, augment: Augment, turned: int
) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (10, 13, 3), np.uint8)
    path, box = tmp_path / "large.jpg", np.array([[100.0, 80.0, 700.0, 500.0]])
    tags = PIL.Exif()
    tags[0x0112] = turned
    picture = PIL.fromarray(coarse).resize((1296, 1000), PIL.Resampling.BICUBIC)
    picture.save(path, quality=95, exif=tags)
    size = (1296, 1000) if turned == 6 else (1000, 1296)
    known = ImageRecord(path, size, box, np.zeros(1, np.int64))
    silent = dataclasses.replace(known, size=None)
    small, whole = (
        TrainSet(Annotations(("a",), [record], "drawn", (1,)), SIZE, augment, cache_bytes=2**24)
        for record in (known, silent)
    )
    for epoch in range(4):
        ours, exact = small[epoch, 0], whole[epoch, 0]
        assert (ours.image.float() - exact.image.float()).abs().mean() < 2
        assert torch.equal(ours.target.boxes, exact.target.boxes)
    assert small._left - whole._left > 3.7e6  # of 3.9 million, for an eighth of the sides is kept


def test_persistent_workers_follow_the_epoch(annotations: Annotations) -> None:
    sampler = EpochSampler(6, seed=1)
    dataset = TrainSet(annotations, SIZE)
    loader = DataLoader(
        dataset, 3, sampler=sampler, num_workers=1, collate_fn=collate, persistent_workers=True
    )
    for epoch in range(2):
        sampler.set_epoch(epoch)
        for batch in loader:
            for i, index in enumerate(batch.indices):
                assert torch.equal(batch.images[i], dataset[epoch, index].image)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_image_is_named_in_one_sentence(annotations: Annotations, workers: int) -> None:
    path = annotations.images[3].path
    path.write_bytes(b"no pixels here")
    with pytest.raises(BadImage) as caught:
        batches(TrainSet(annotations, SIZE), EpochSampler(6), workers)
    message = str(caught.value)
    assert message.startswith(f"{path} is not an image")
    assert "\n" not in message
    assert "Traceback" not in message
    assert str(pickle.loads(pickle.dumps(caught.value))) == message


def test_a_sample_looks_different_each_time_it_comes_in_an_epoch(annotations: Annotations) -> None:
    dataset = TrainSet(annotations, SIZE)
    first, second, third = dataset[3, 2], dataset[3, 2, 1], dataset[3, 2, 2]
    assert not torch.equal(first.image, second.image)
    assert not torch.equal(second.image, third.image)
    assert torch.equal(second.image, dataset[3, 2, 1].image)
    assert first.index == second.index == 2


def test_mosaic_samples(annotations: Annotations) -> None:
    augment = dataclasses.replace(Augment.none(), mosaic=1.0)
    dataset = TrainSet(annotations, SIZE, augment)
    drawn = [dataset[epoch, 1] for epoch in range(5)]
    assert min(len(sample.target.boxes) for sample in drawn) >= 4  # one for each window
    assert max(len(sample.target.boxes) for sample in drawn) > len(annotations.images[1].boxes)
    assert torch.equal(dataset[0, 1].image, dataset[0, 1].image)


def test_sets_and_samplers_pickle(annotations: Annotations) -> None:
    for thing in (TrainSet(annotations, SIZE), EpochSampler(6)):
        assert len(pickle.loads(pickle.dumps(thing))) == 6


def test_a_set_that_is_sent_to_a_process_holds_samples_alone(annotations: Annotations) -> None:
    dataset = TrainSet(annotations, SIZE)
    before, held = collate([dataset[2, 3]]), dataset._places._held
    sent = pickle.loads(ForkingPickler.dumps(dataset))  # as to a process that starts afresh
    assert equal(collate([sent[2, 3]]), before)
    assert equal(collate([dataset[2, 3]]), before)
    assert held.is_shared()
    assert not {"annotations", "samples"} & vars(sent).keys()


_ROLLUP = Path("/proc/self/smaps_rollup")


def _changed_by(work: Callable[[], object]) -> int:
    """Returns how many bytes a loading process changes that were shared with this one."""

    def changed() -> int:
        lines = dict(line.split(":") for line in _ROLLUP.read_text().splitlines()[1:])
        return 1024 * int(lines["Private_Dirty"].split()[0])

    def run() -> None:
        worker_init(0)
        before = changed()
        work()
        sending.send(changed() - before)

    context = multiprocessing.get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=run)
    process.start()
    try:
        return int(receiving.recv())
    finally:
        process.join()


@pytest.mark.skipif(not _ROLLUP.is_file(), reason="needs Linux")
def test_loading_processes_share_what_is_known_of_samples() -> None:
    boxes, labels, count = np.ones((5, 4)), np.zeros(5, np.int64), 30_000
    records = [ImageRecord(Path(f"{n}.jpg"), SIZE, boxes.copy(), labels) for n in range(count)]
    places = TrainSet(Annotations(("a",), records), SIZE)._places
    shared = _changed_by(lambda: sum(places[n].boxes.sum() for n in range(count)))
    copied = _changed_by(lambda: sum(record.boxes.sum() for record in records))
    assert shared < 2 << 20 < 4 << 20 < copied


def test_batches_move(annotations: Annotations) -> None:
    dataset = TrainSet(annotations, SIZE)
    batch = collate([dataset[0, 0], dataset[0, 1]]).to("cpu")
    assert batch.images.shape == (2, 3, *SIZE)
    assert batch.indices == [0, 1]


def test_the_view_decides_about_the_samples() -> None:
    assert varied(Picture) is varied(Tiles) is Augment
    assert varied(Crops) is PoseAugment


def test_whole_pictures_carry_the_joints_of_all_objects(annotations: Annotations) -> None:
    nan, skeleton = float("nan"), Skeleton(("left", "right"), pairs=((0, 1),))
    joints = np.array([[[6.0, 7, 2], [20, 20, 1]], [[nan, 5, 2], [40, 30, 2]], [[0, 0, 0]] * 2])
    images = [dataclasses.replace(r, keypoints=joints) for r in annotations.images[:-1]]
    images.append(annotations.images[-1])
    data = dataclasses.replace(annotations, images=images, skeleton=skeleton)
    plain = TrainSet(data, SIZE, Augment.none())
    placed = plain[0, 1].target.keypoints
    assert placed is not None
    assert placed.dtype == torch.float32
    to_input = letterbox((47, 85), SIZE)
    np.testing.assert_allclose(placed[0, :, :2], to_input.points(joints[0, :, :2]), atol=1e-4)
    assert placed[0, :, 2].tolist() == [2, 1]
    assert placed[1, 0].tolist() == [0, 0, 0]
    assert not placed[2].any()
    assert plain[0, 0].target.keypoints.shape == (1, 2, 3)  # type: ignore[union-attr]
    assert not plain[0, 5].target.keypoints.any()  # type: ignore[union-attr]
    mirrored = TrainSet(data, SIZE, dataclasses.replace(Augment.none(), flip=1.0))[0, 1].target
    assert mirrored.keypoints is not None
    np.testing.assert_allclose(mirrored.keypoints[0, 1, 0], SIZE[1] - placed[0, 0, 0], atol=1e-4)
    assert mirrored.keypoints[0, :, 2].tolist() == [1, 2]
    boxes_alone = TrainSet(data, SIZE, learns={"boxes"})[0, 1]
    assert boxes_alone.target.keypoints is None
    assert torch.equal(boxes_alone.image, TrainSet(data, SIZE)[0, 1].image)


def test_own_changes_see_large_jpegs_as_they_are_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "_LOADED", {})
    monkeypatch.setenv(plugins.VARIABLE, "")
    (tmp_path / "own.py").write_text(
        "def looking(scene, rng):\n"
        "    assert scene.image.shape[:2] == (960, 1280), scene.image.shape\n"
        "    return scene\n"
        'AUGMENTATIONS = {"looking": looking}\n'
    )
    plugins.load(tmp_path / "own.py")
    PIL.new("RGB", (1280, 960)).save(tmp_path / "large.jpg")
    box = np.array([[100.0, 100, 1270, 950]])
    record = ImageRecord(tmp_path / "large.jpg", (960, 1280), box, np.zeros(1, int), image_id=1)
    data = Annotations(("cat",), [record], "drawn")
    assert len(TrainSet(data, (64, 64), own=OwnAugment("looking", 1))[0, 0].target.boxes) == 1
