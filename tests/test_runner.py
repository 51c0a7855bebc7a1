"""The one path from pictures to results, with a detector whose answers are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from blobs import SIDE, spot_detector, spot_image
from numpy.typing import NDArray
from runners import runner_of

from heatpoint.errors import HeatpointError, HeatpointWarning
from heatpoint.geometry import Image
from heatpoint.inference import SoftNms
from heatpoint.inference.engines.engine import Timings
from heatpoint.inference.engines.torch import pick_device
from heatpoint.inference.sources import Source
from heatpoint.views import Whole


def centers(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    middles: NDArray[np.float32] = (boxes[:, :2] + boxes[:, 2:]) / 2
    return middles


def sources(images: list[Image]) -> list[Source]:
    return [Source(image) for image in images]


@pytest.mark.parametrize("size", [(128, 128), (300, 400), (500, 250), (64, 100)])
def test_boxes_come_back_in_image_pixels(size: tuple[int, int]) -> None:
    height, width = size
    zoom = max(height, width) / 128
    spots = [(0.31 * width, 0.41 * height), (0.77 * width, 0.69 * height)]
    image = spot_image(size, spots, radius=6 * zoom)
    found = runner_of(spot_detector(), score=0.5)([image])[0]
    assert len(found) == 2
    for spot in spots:
        distance = np.abs(centers(found.boxes) - spot).max(1).min()
        # A peak is known to half a cell; a box side is as large as the codec says.
        assert distance <= 2.5 * zoom
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    np.testing.assert_allclose(sides, np.full((2, 2), SIDE * zoom), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"flip": True},
        {"scales": (0.75, 1.0, 1.5)},
        {"keep_resolution": True},
        {"keep_resolution": True, "flip": True, "scales": (1.0, 2.0)},
        {"size": (256, 96)},
    ],
)
def test_every_way_of_testing_finds_the_spot_in_its_place(options: dict) -> None:
    image = spot_image((150, 200), [(140.0, 50.0)], radius=12, red=True)
    found = runner_of(spot_detector(), score=0.3, **options)([image])[0]
    assert len(found) >= 1
    assert np.unique(found.labels).tolist() == [1]
    zoom = 200 / min(options.get("size", (128, 128)))
    assert np.abs(centers(found.boxes)[0] - [140.0, 50.0]).max() <= 2.6 * zoom


def test_keep_resolution_keeps_it() -> None:
    runner = runner_of(spot_detector(), keep_resolution=True)
    job = runner.prepare(Whole(spot_image((150, 200), [(100.0, 75.0)])))
    assert job.inputs[0].shape == (3, 160, 224)
    assert job.looks[0].to_image.matrix[0] == 1.0


def test_scales_choose_legal_sizes_and_lose_no_rim() -> None:
    runner = runner_of(spot_detector(), scales=(0.5, 1.0, 1.3, 0.01))
    small = runner.prepare(Whole(spot_image((9, 9), []))).inputs
    shapes = [small[place].shape[1:] for place in sorted(small)]
    assert shapes == [(64, 64), (128, 128), (160, 160), (32, 32)]
    job = runner.prepare(Whole(spot_image((90, 90), [])))
    for place, look in enumerate(job.looks):
        corner = look.to_image.boxes(np.float32([0, 0, *job.inputs[place].shape[:0:-1]]))
        np.testing.assert_allclose(corner, [0, 0, 90, 90], rtol=1.3e-6, atol=1e-5)


def test_flip_averages_the_mirrored_pass() -> None:
    # Half a cell of asymmetry: the plain pass and its mirror image disagree on the score.
    image = spot_image((128, 128), [(61.0, 70.0)], radius=5)
    plain = runner_of(spot_detector())([image])[0]
    mirrored = runner_of(spot_detector())([np.ascontiguousarray(image[:, ::-1])])[0]
    merged = runner_of(spot_detector(), flip=True)([image])[0]
    expected = (plain.scores[0] + mirrored.scores[0]) / 2
    np.testing.assert_allclose(merged.scores[0], expected, atol=1e-4, rtol=0)


def test_several_scales_are_merged_to_one_box() -> None:
    image = spot_image((128, 128), [(64.0, 64.0)], radius=8)
    one = runner_of(spot_detector(), score=0.5)([image])[0]
    two = runner_of(spot_detector(), scales=(1.0, 1.0), score=0.5)([image])[0]
    assert len(one) == len(two) == 1
    np.testing.assert_allclose(one.boxes, two.boxes, rtol=1.3e-6, atol=1e-5)
    doubled = runner_of(spot_detector(), scales=(1.0, 1.0))([image])[0]
    # The second copy decays by exp(-1 / 0.5).
    expected = one.scores[0] * float(np.exp(-2.0))
    assert np.abs(doubled.scores - expected).min() < 1e-5


def test_nms_and_limits_reach_the_result() -> None:
    spots = [(41.5, 65.5), (58.5, 66.5), (101.5, 29.5)]
    image = spot_image((128, 128), spots, radius=4)
    plain = runner_of(spot_detector(), score=0.4)([image])[0]
    assert len(plain) == 3
    assert len(runner_of(spot_detector(), score=0.4, nms=0.15)([image])[0]) == 2
    assert len(runner_of(spot_detector(), max_detections=1)([image])[0]) == 1
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (128, 128, 3)).astype(np.uint8)
    assert len(runner_of(spot_detector())([noise])[0]) == 20 + 80
    assert len(runner_of(spot_detector(), max_detections=7, scales=(1.0, 1.5))([noise])[0]) == 7


def test_soft_nms_is_chosen_by_name_for_any_detector() -> None:
    image = spot_image((128, 128), [(41.5, 65.5), (58.5, 66.5), (101.5, 29.5)], radius=4)
    plain = runner_of(spot_detector())([image])[0]
    kinds: tuple[SoftNms, ...] = ("gaussian", "linear", "merge", "none")
    found = {kind: runner_of(spot_detector(), soft_nms=kind)([image])[0] for kind in kinds}
    assert found["none"].scores.tolist() == plain.scores.tolist()
    assert found["gaussian"].scores.sum() < plain.scores.sum()
    assert found["linear"].scores.sum() <= plain.scores.sum()
    np.testing.assert_allclose(
        found["merge"].scores, found["gaussian"].scores, rtol=1.3e-6, atol=1e-5
    )
    assert not np.array_equal(found["merge"].boxes, found["gaussian"].boxes)
    protocols = [runner_of(spot_detector(), soft_nms=kind).protocol() for kind in kinds]
    assert [protocol["soft_nms"] for protocol in protocols] == list(kinds)
    assert runner_of(spot_detector(), scales=(0.5, 1.0)).protocol()["soft_nms"] == "gaussian"
    twice = runner_of(spot_detector(), scales=(1.0, 1.0), nms=0.5, soft_nms="none")([image])[0]
    once = runner_of(spot_detector(), nms=0.5)([image])[0]
    np.testing.assert_allclose(twice.boxes, once.boxes, rtol=1.3e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"nms": 0.5, "soft_nms": "linear"}, "choose one of them"),
        ({"scales": (0.5, 1.0), "soft_nms": "none"}, "2 scales find every object 2 times"),
        ({"soft_nms": "gausian"}, "did you mean 'gaussian'"),
    ],
)
def test_choices_of_suppression_that_make_no_sense(options: dict, words: str) -> None:
    with pytest.raises(HeatpointError, match=words):
        runner_of(spot_detector(), **options)


@pytest.mark.parametrize("size", [(1, 1), (50, 20000), (1, 300)])
@pytest.mark.parametrize("keep_resolution", [False, True])
def test_extreme_images(size: tuple[int, int], keep_resolution: bool) -> None:
    image = np.full((*size, 3), 255, np.uint8)
    found = runner_of(spot_detector(), keep_resolution=keep_resolution)([image])[0]
    assert (found.boxes >= 0).all()
    assert (found.boxes <= np.array([size[1], size[0]] * 2)).all()
    # Letterboxed, the longest of them is a third of a pixel high: there is nothing left to find.
    assert len(found) > 0 or not keep_resolution


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_stream_keeps_the_order(workers: int, batch_size: int) -> None:
    images = [spot_image((100, 128), [(10.0 + 12 * i, 50.0)], radius=7) for i in range(8)]
    runner = runner_of(spot_detector(), score=0.4)
    found = list(runner.stream(sources(images), None, batch_size, workers))
    assert [one.index for one in found] == list(range(8))
    assert found[0].image_size == (100, 128)
    for place, one in enumerate(found):
        assert abs(float(centers(one.detections.boxes)[0, 0]) - 10 - 12 * place) < 3


def test_a_stream_of_mixed_sizes_equals_single_images() -> None:
    images = [spot_image((80 + 40 * i, 128), [(60.0, 40.0)]) for i in range(4)]
    runner = runner_of(spot_detector(), keep_resolution=True)
    together = runner(images)
    for image, expected in zip(images, together, strict=True):
        alone = runner([image])[0]
        np.testing.assert_allclose(alone.boxes, expected.boxes, rtol=1.3e-6, atol=1e-5)
        np.testing.assert_allclose(alone.scores, expected.scores, rtol=1.3e-6, atol=1e-5)


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_images_are_named_and_only_skipped_on_request(tmp_path: Path, workers: int) -> None:
    good = tmp_path / "good.jpg"
    cv2.imwrite(str(good), spot_image((64, 64), [(30.0, 30.0)]))
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(good.read_bytes()[:300])
    files = [Source(path, str(path)) for path in (good, cut, good)]
    with pytest.raises(HeatpointError, match=r"cut\.jpg.*skip_bad"):
        list(runner_of(spot_detector()).stream(files, workers=workers))
    runner = runner_of(spot_detector())
    with pytest.warns(HeatpointWarning, match=r"cut\.jpg"):
        found = list(runner.stream(files, workers=workers, skip_bad=True))
    assert [one.index for one in found] == [0, 2]
    assert [path for path, _ in runner.skipped] == [str(cut)]


def test_a_stream_can_be_left_early() -> None:
    images = [spot_image((64, 64), [])] * 50
    runner = runner_of(spot_detector())
    stream = runner.stream(sources(images), batch_size=2)
    next(stream)
    stream.close()
    # Of those that were read ahead, one is done.
    assert runner.timings.images == 1


def test_the_detector_is_left_as_it_is() -> None:
    detector = spot_detector()
    before = {name: tensor.clone() for name, tensor in detector.network.state_dict().items()}
    detector.network.train()
    runner_of(detector, precision="bf16")([spot_image((64, 64), [(30.0, 30.0)])])
    assert detector.network.training
    for name, tensor in detector.network.state_dict().items():
        assert torch.equal(tensor, before[name])
        assert tensor.dtype == torch.float32


def test_timings_say_where_the_time_goes() -> None:
    timings = Timings()
    runner = runner_of(spot_detector(), timings=timings)
    list(runner.stream(sources([spot_image((64, 64), [])] * 5)))
    plain = timings.as_dict()
    assert plain["images"] == 5
    for stage in ("prepare", "network", "decode", "finish", "wall"):
        assert plain[stage] > 0
    assert plain["images_per_second"] == pytest.approx(5 / plain["wall"])
    assert "5 images" in timings.summary()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": ()}, "scales"),
        ({"scales": (0.0,)}, "scales"),
        ({"size": (1, 2, 3)}, "size"),
        ({"size": -4}, "size"),
        ({"device": "warp drive"}, "device"),
        ({"device": "cuda:9"}, "cuda:9 is not available"),
        ({"score": 2.0}, "score"),
    ],
)
def test_wrong_options(options: dict, message: str) -> None:
    with pytest.raises(HeatpointError, match=message):
        runner_of(spot_detector(), **options)


def test_an_illegal_size_names_the_next_legal_one() -> None:
    with pytest.raises(HeatpointError, match=r"the next legal size is 128$"):
        runner_of(spot_detector(), size=120)


def test_auto_is_a_device_that_is_there() -> None:
    expected = "cuda" if torch.cuda.is_available() else ("cpu", "mps")
    assert pick_device("auto").type in expected
    assert pick_device("cpu").type == "cpu"
