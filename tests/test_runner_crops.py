"""Crops of many subjects through the network and back, with a detector whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from ramps import SKELETON, joints_of, ramp_detector, ramp_image
from runners import runner_of

from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError, HeatpointWarning
from heatpoint.inference.engines.engine import Answer
from heatpoint.inference.engines.torch import TorchEngine
from heatpoint.inference.places import places_of
from heatpoint.inference.runner import Found, Runner
from heatpoint.inference.sources import Source
from heatpoint.networks.fast import Precision
from heatpoint.views import Whole

Box = tuple[float, float, float, float]


def ramp_runner(padding: float = 1.25, precision: Precision = "fp32", **options: Any) -> Runner:
    return runner_of(ramp_detector(padding), precision=precision, **options)


def keypoints_of(found: Detections) -> NDArray[np.float32]:
    assert found.keypoints is not None
    return found.keypoints


def off(poses: Detections, boxes: list[Box]) -> float:
    """Returns the largest error, in input pixels of a crop 128 wide with a padding of 1.25."""
    assert len(poses) == len(boxes)
    worst = 0.0
    for row, box in zip(keypoints_of(poses), boxes, strict=True):
        scale = 128 / 1.25 / max(box[2] - box[0], box[3] - box[1])
        worst = max(worst, float(np.abs(row[:, :2] - joints_of(box)).max()) * scale)
    return worst


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((128, 128), (13.0, 13, 115, 115)),
        ((90, 200), (70.0, 20, 130, 80)),
        ((60, 60), (20.0, 25, 40, 45)),  # 20 px
        ((4100, 4200), (60.0, 40, 4060, 4040)),  # 4,000 px
        ((300, 300), (33.3, 41.7, 201.9, 250.2)),
        ((300, 200), (20.0, 10, 80, 290)),
    ],
)
def test_joints_come_back_in_image_pixels(size: tuple[int, int], box: Box, flip: bool) -> None:
    runner = ramp_runner(flip=flip)
    found = runner([ramp_image(size, [box])], [places_of([box], "x")])[0]
    # The colours are rounded to whole levels, 2 of them to a pixel of the input.
    assert off(found, [box]) < 0.4
    assert (keypoints_of(found)[..., 2] > 0.4).all()
    np.testing.assert_allclose(found.boxes, [box], rtol=1.3e-6, atol=1e-5)
    assert found.scores[0] > 0.6


def test_a_mirrored_picture_exchanges_left_and_right() -> None:
    box = (20.0, 20.0, 90.0, 90.0)
    image = ramp_image((110, 130), [box])
    runner = ramp_runner()
    plain = keypoints_of(runner([image], [places_of([box], "x")])[0])[0]
    other = (130 - 90.0, 20.0, 130 - 20.0, 90.0)
    mirror = runner([np.ascontiguousarray(image[:, ::-1])], [places_of([other], "x")])[0]
    back = keypoints_of(mirror)[0][list(SKELETON.flip)]
    back[:, 0] = 130 - back[:, 0]
    assert float(np.abs((back - plain)[:, :2]).max()) < 0.3


def test_a_box_half_outside_still_finds_what_is_inside() -> None:
    whole = (-50.0, 20.0, 70.0, 140.0)
    image = ramp_image((160, 160), [whole])
    found = ramp_runner()([image], [places_of([whole], "x")])[0]
    errors = np.linalg.norm(keypoints_of(found)[0, :, :2] - joints_of(whole), axis=1)
    visible = joints_of(whole)[:, 0] > 3
    assert visible.tolist() == [True, True, False, False]
    assert (errors[visible] < 0.5).all()
    assert (keypoints_of(found)[0, 2, 2] < 0.5).all()


def test_of_several_people_each_box_gets_its_own() -> None:
    boxes: list[Box] = [
        (10, 10, 70, 70),
        (75, 12, 145, 82),
        (30, 90, 130, 190),
        (150, 90, 180, 120),
    ]
    image = ramp_image((200, 200), boxes)
    found = ramp_runner()([image], [places_of(boxes, "x")])[0]
    assert off(found, boxes) < 0.4
    backwards = ramp_runner()([image], [places_of(boxes[::-1], "x")])[0]
    np.testing.assert_allclose(
        keypoints_of(backwards)[::-1], keypoints_of(found), rtol=1.3e-6, atol=1e-5
    )


def test_without_boxes_the_picture_is_the_subject() -> None:
    image = ramp_image((96, 96), [(0, 0, 96, 96)])
    found = ramp_runner()([image])[0]
    assert off(found, [(0, 0, 96, 96)]) < 0.4
    assert found.boxes.tolist() == [[0, 0, 96, 96]]
    assert ramp_runner(precision="auto")([]) == []
    nobody = ramp_runner(precision="auto")([image], [places_of([], "x")])[0]
    assert keypoints_of(nobody).shape == (0, 4, 3)


def test_padding_is_the_checkpoints() -> None:
    box = (20.0, 20.0, 84.0, 84.0)
    runner = ramp_runner(padding=1.0)
    job = runner.prepare(Whole(ramp_image((100, 100), [box])), places=places_of([box], "x"))
    assert job.looks[0].to_image.matrix == (0.5, 0, 20, 0, 0.5, 20)
    assert runner.protocol()["padding"] == 1.0
    silent = ramp_detector()
    del silent.meta["padding"]
    assert runner_of(silent).protocol()["padding"] == 1.25


def streamed(counts: list[int], batch_size: int, workers: int) -> list[Found]:
    boxes, sources = [], []
    for place, count in enumerate(counts):
        mine: list[Box] = [(5 + 3 * i, 4, 60 + place, 70) for i in range(count)]
        sources.append(Source(ramp_image((80, 90), mine[:1])))
        boxes.append(places_of(mine, "x"))
    runner = ramp_runner()
    return list(runner.stream(sources, boxes, batch_size, workers))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_a_stream_keeps_the_order_of_pictures_and_people(batch_size: int, workers: int) -> None:
    counts = [2, 0, 5, 1, 0, 0, 7, 3, 0]
    found = streamed(counts, batch_size, workers)
    assert [one.index for one in found] == list(range(len(counts)))
    assert [len(one.detections) for one in found] == counts
    assert found[0].image_size == (80, 90)
    for place, one in enumerate(found):
        expected = [[5.0 + 3 * i, 4, 60 + place, 70] for i in range(counts[place])]
        assert one.detections.boxes.tolist() == expected
        if counts[place]:
            assert off(one.detections[:1], [tuple(expected[0])]) < 0.4  # type: ignore[list-item]


def test_batches_are_filled_across_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    call = TorchEngine.__call__

    def counted(self: TorchEngine, images: NDArray[np.uint8]) -> Answer:
        sizes.append(len(images))
        return call(self, images)

    monkeypatch.setattr(TorchEngine, "__call__", counted)
    streamed([2, 0, 5, 1], 4, 0)
    assert sizes == [4, 4]


def test_fifty_people_and_half_the_precision() -> None:
    boxes: list[Box] = [
        (30.0 * (i % 10) + 2, 30.0 * (i // 10) + 2, 30.0 * (i % 10) + 28, 30.0 * (i // 10) + 28)
        for i in range(50)
    ]
    image = ramp_image((150, 300), boxes)
    exact = ramp_runner()([image], [places_of(boxes, "x")])[0]
    assert off(exact, boxes) < 0.4
    half = ramp_runner(precision="bf16")([image], [places_of(boxes, "x")])[0]
    assert np.isfinite(keypoints_of(half)).all()
    assert off(half, boxes) < 4  # red itself is known to 1 of 256 levels in bfloat16


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[10, 10, 10, 40]], "box 0 of x.*no area"),
        ([[0, 0, 5, 5], [10, 10, 40, 5]], "box 1 of x.*no area"),
        ([[0, 0, float("nan"), 5]], "four finite"),
        ([[0, 0, float("inf"), 5]], "four finite"),
        ([[0, 0, 5]], r"\(N, 4\)"),
        ([[0, 0, 5, 5], [1, 2]], "rows of four numbers"),
        ("abc", "rows of four numbers"),
    ],
)
def test_unusable_boxes_are_refused(boxes: list[list[float]], message: str) -> None:
    with pytest.raises(HeatpointError, match=message):
        places_of(boxes, "x")


def test_a_box_beyond_the_picture_is_refused_by_name(tmp_path: Path) -> None:
    runner = ramp_runner(precision="auto")
    image = ramp_image((100, 100), [])
    boxes = places_of([[10, 10, 40, 40], [100, 0, 140, 40]], "x")
    with pytest.raises(HeatpointError, match=r"box 1 of .*\(100, 0, 140, 40\).*100 x 100"):
        runner([image], [boxes])
    (tmp_path / "bad.png").write_bytes(b"no image")
    sources = [Source(image), Source(image), Source(str(tmp_path / "bad.png"), "bad.png")]
    with pytest.raises(HeatpointError, match="skip_bad"):
        list(runner.stream(sources, [None, boxes, None]))
    with pytest.warns(HeatpointWarning):
        found = list(runner.stream(sources, [None, boxes, None], skip_bad=True))
    assert [one.index for one in found] == [0]
    assert [path for path, _ in runner.skipped] == ["image 1", "bad.png"]


def test_arguments_out_of_range() -> None:
    runner = ramp_runner(precision="auto")
    with pytest.raises(HeatpointError, match="batch_size"):
        list(runner.stream([], [], batch_size=0))
    with pytest.raises(HeatpointError, match="divisible by 32"):
        ramp_runner(size=100)
    assert list(runner.stream([], [])) == []


def test_timings_are_filled() -> None:
    runner = ramp_runner(precision="auto")
    list(runner.stream([Source(ramp_image((50, 50), []))] * 3, None, 2, 0))
    assert runner.timings.images == 3
    assert runner.timings.network > 0
    assert runner.timings.wall >= runner.timings.network
