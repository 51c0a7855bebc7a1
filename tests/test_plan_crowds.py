"""Plans for pictures that hold very many objects, or very small ones."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_plan import CPU, drawn, said, surveyed

import heatpoint
from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.quads import as_points
from heatpoint.inspection.report import LEAST_WINDOW
from heatpoint.planning import sizes
from heatpoint.planning.sheet import recalled
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.training.options import TrainOptions


def crowd(side: float, size: tuple[int, int], step: float) -> Annotations:
    """Returns 12 pictures full of objects of one side, so far apart, two classes in turn."""
    rows, columns = (int((length - side) // step) + 1 for length in size)
    y, x = np.mgrid[:rows, :columns].reshape(2, -1) * step
    boxes, labels = np.stack((x, y, x + side, y + side), 1), np.arange(len(x)) % 2
    images = [ImageRecord(Path(f"{n}.png"), size, boxes, labels, image_id=n) for n in range(12)]
    return Annotations(("cat", "dog"), images, "drawn")


@pytest.mark.parametrize(
    ("per", "model", "value"),
    [
        (60, "centernet_tiny", None),  # there is room enough
        (80, "centernet_tiny", 200),
        (210, "centernet_tiny", 400),
        (210, "points_tiny", None),  # 2,000 as it is
        (210, "cornernet_tiny", None),  # pairs of a hundred corners: more of them would not help
        (210, "saccade_tiny", None),  # looks at a few at a time
    ],
)
def test_an_answer_has_room_for_the_fullest_picture(
    per: int, model: str, value: int | None
) -> None:
    data = crowd(20.0, (480, 640), 25.0)
    several = np.arange(len(data.images[0]))
    data.images[:] = [
        each.keep(several < (per if n == 0 else 1)) for n, each in enumerate(data.images)
    ]
    assert said("max_detections", surveyed(data, model=model)) == value


def test_room_changes_what_a_perfect_network_reaches(tmp_path: Path) -> None:
    data = crowd(20.0, (480, 640), 25.0)
    for record in data.images:
        record.path = tmp_path / record.path
        cv2.imwrite(str(record.path), np.zeros((480, 640, 3), np.uint8))
    whole = heatpoint.plan(data, data, model="centernet_tiny", window=0)
    asked = heatpoint.plan(data, data, model="centernet_tiny", window=0, max_detections=100)
    assert whole.recipe.max_detections == math.ceil(1.5 * len(data.images[0]) / 100) * 100
    assert asked.recipe.max_detections == 100
    whys = [{row.name: row.why for row in plan.rows} for plan in (whole, asked)]
    reached = [float(why["size"].rsplit(" ", 1)[1]) for why in whys]
    assert reached[0] > reached[1] + 0.5
    assert whys[1]["max_detections"] == "given"


def test_crowds_of_small_objects_are_seen_through_windows() -> None:
    data = crowd(24.0, (720, 960), 36.0)  # 11 pixels in 320x448
    survey = surveyed(data)
    assert survey.measured((720, 960))[0].covered > 0.4
    assert said("window", survey) == LEAST_WINDOW
    assert said("size", survey, window=96) == (704, 960)  # its own, nearly
    assert said("window", survey, size=448) == 0  # the user's own stands
    large = surveyed(crowd(100.0, (720, 960), 120.0))  # 46 pixels
    assert said("window", large) == 0


def test_points_that_lie_close_are_seen_through_windows() -> None:
    # 14 and 28 pixels in 320x448
    close, far = (
        surveyed(as_points(crowd(4.0, (720, 960), step)), model="points_tiny")
        for step in (30.0, 60.0)
    )
    assert said("window", close) == LEAST_WINDOW
    assert said("size", close, window=96) == (704, 960)
    assert said("window", far) == 0


def test_tiny_objects_are_seen_at_more_pixels() -> None:
    small = surveyed(drawn(14.0, (1500, 2000)))  # 10 pixels in a million
    assert said("size", small, window=96) == (1504, 1984)
    seen = surveyed(drawn(60.0, (1500, 2000)))  # 35 pixels in a million
    assert math.prod(said("size", seen, window=96)) <= 1.05 * sizes.WHOLE[CPU.device]


@pytest.mark.parametrize("given", [{"mosaic": 0.5}, {"train_size": 128}])
def test_who_asks_for_whole_pictures_gets_no_windows(given: dict[str, object]) -> None:
    survey = surveyed(crowd(8, (800, 800), 100))
    assert said("window", survey)
    assert not said("window", survey, **given)


def test_a_run_remembers_its_windows(tmp_path: Path) -> None:
    shapes = str(write_shapes(tmp_path / "shapes", 4, (64, 64), seed=3))
    quick = {"model": "centernet_tiny", "workers": 0, "threads": 1, "accelerator": "cpu"}
    out = str(tmp_path / "run")
    heatpoint.train(
        shapes, shapes, out=out, window={32: 1, 64: 3}, epochs=4, size=64, batch_size=3, **quick
    )
    again = heatpoint.train(shapes, shapes, out=out, resume=True, epochs=5, **quick)
    assert again.epochs == 5
    assert recalled(TrainOptions(shapes, shapes, out=out)).window == {32: 1, 64: 3}
