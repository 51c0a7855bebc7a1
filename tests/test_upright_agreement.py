"""How far subjects agree about which way is up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from test_plan import surveyed

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.skeleton import Skeleton
from heatpoint.inspection.upright import upright_agreement
from heatpoint.planning import variation
from heatpoint.planning.variation import rotate
from heatpoint.training.recipe import Recipe

COW = Skeleton(("nose", "tail", "left_hoof", "right_hoof", "back"), pairs=((2, 3),))
SIDE = np.array([[60.0, -10], [-60, -5], [40, 40], [42, 38], [0, -30]])
"""A cow seen from its side: much longer than high, so that upside down it fits its mirror image."""

TOP = Skeleton(("nose", "tail", "ear", "paw"))
ABOVE = np.array([[50.0, 0], [-50, 3], [35, 12], [-20, -15]])


def data(shapes: list[NDArray[np.float64]], skeleton: Skeleton) -> Annotations:
    """Returns a picture of each shape, a little different and somewhere."""
    rng = np.random.default_rng(0)
    images = []
    for number, shape in enumerate(shapes):
        places = shape * rng.uniform(0.5, 2) + rng.normal(0, 2, shape.shape) + rng.uniform(200, 300)
        joints = np.column_stack((places, np.full(len(places), 2.0)))[None]
        box = np.hstack((places.min(0), places.max(0)))[None]
        record = ImageRecord(Path(f"{number}.png"), (600, 600), box, np.zeros(1, np.int64))
        images.append(replace(record, keypoints=joints))
    return Annotations(("cow",), images, "drawn", skeleton=skeleton)


def turned(shape: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    angle = np.radians(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(shape @ np.array([[cos, sin], [-sin, cos]]))


def herd(degrees: float, mirrored: bool = True) -> Annotations:
    """Returns 80 cows turned by up to some degrees, every second one looking to the left."""
    rng = np.random.default_rng(1)
    shapes = []
    for number in range(80):
        shape = SIDE.copy()
        if mirrored and number % 2:
            shape = shape[[0, 1, 3, 2, 4]] * (-1, 1)
        shapes.append(turned(shape, rng.uniform(-degrees, degrees)))
    return data(shapes, COW)


@pytest.mark.parametrize(
    ("degrees", "least", "most"), [(0, 0.99, 1), (20, 0.9, 1), (90, 0.5, 0.8), (180, 0, 0.3)]
)
def test_agreement_is_the_less_the_further_subjects_are_turned(
    degrees: float, least: float, most: float
) -> None:
    expected = abs(np.sinc(degrees / 180)) if degrees else 1.0  # of turns that are equally likely
    found = upright_agreement(herd(degrees))
    assert least <= found <= most
    assert found == pytest.approx(expected, abs=0.15)


def test_what_looks_to_the_left_is_no_less_upright() -> None:
    assert upright_agreement(herd(10)) > 0.95
    assert upright_agreement(herd(10, mirrored=False)) > 0.95


def test_what_is_seen_from_above_points_every_way() -> None:
    shapes = [turned(ABOVE, angle) for angle in np.arange(0, 360, 5.0)]
    assert upright_agreement(data(shapes, TOP)) < 0.1


def test_joints_that_are_missing_or_in_one_place_do_no_harm() -> None:
    some = herd(10)
    for number, record in enumerate(some.images):
        assert record.keypoints is not None
        record.keypoints[0, number % 5, 2] = 0
        record.keypoints[0, number % 5, :2] = np.nan
    assert upright_agreement(some) > 0.9
    some.images[0].keypoints = np.full((1, 5, 3), 2.0)  # all in one place
    assert upright_agreement(some) > 0.9
    none = replace(some, images=[])
    assert upright_agreement(none) == upright_agreement(replace(some, images=some.images[:1])) == 1
    for record in some.images:
        record.keypoints = np.zeros((1, 5, 3))
    assert upright_agreement(some) == 1


@pytest.mark.parametrize(
    ("degrees", "model", "recipe", "value"),
    [
        (180, "pose_tiny", {"augment": "mild"}, variation.TURNED),
        (20, "pose_tiny", {"augment": "mild"}, 30.0),
        (180, "pose_tiny", {"augment": "published"}, None),
        (180, "pose_tiny", {"augment": "none"}, None),
        (180, "centerpose_tiny", {"augment": "mild"}, None),
        (180, "centernet_tiny", {"augment": "mild"}, None),
    ],
)
def test_few_crops_of_what_points_every_way_are_turned_further(
    degrees: float, model: str, recipe: dict[str, str], value: float | None
) -> None:
    chosen = Recipe("d", "v", **recipe)  # type: ignore[arg-type]
    decided = rotate(chosen, surveyed(herd(degrees), model=model))
    assert decided.value == value
    assert bool(decided.why) == (value is not None)
