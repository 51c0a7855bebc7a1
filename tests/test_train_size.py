"""Training that shows whole pictures smaller than predictions see them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_plan import HANDS, drawn, repeated, said, surveyed
from test_train import QUICK

from heatpoint.data import Annotations
from heatpoint.data.augment import Augment
from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError
from heatpoint.inference.evaluate import evaluate
from heatpoint.planning import sizes
from heatpoint.planning.rules import eval_every
from heatpoint.planning.sheet import draw_up
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.training import Recipe, TrainOptions, train
from heatpoint.training.data import check_samples, training_set
from heatpoint.training.start import build_detector
from heatpoint.zoo import build
from heatpoint.zoo.detector import Detector

SMALLER: dict[str, Any] = {**QUICK, "size": 96, "train_size": 64}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Annotations:
    return read(write_shapes(tmp_path_factory.mktemp("shapes"), 8, (96, 96), seed=3))


def mixed(small: float, size: tuple[int, int] = (600, 800)) -> Annotations:
    """Returns data with as many large objects as small ones, which are wanted in each picture."""
    data = drawn(200.0, size, per=2)
    for record, other in zip(data.images, drawn(small, size, per=2).images, strict=True):
        record.boxes[1] = other.boxes[0] + 300.0
    return data


def test_training_shows_pictures_smaller_than_predictions(shapes: Annotations) -> None:
    recipe = Recipe(shapes, shapes, model="centernet_tiny", size=96, train_size=64, augment="none")
    detector, _ = build_detector(recipe, shapes)
    assert detector.size == (96, 96)
    seen = training_set(recipe, shapes, detector)[0, 0]
    assert seen.image.shape[-2:] == (64, 64)
    wanted = shapes.images[0].boxes * 64 / 96
    assert seen.target.boxes.numpy() == pytest.approx(wanted, abs=1e-4)


def test_views_reach_from_the_scale_of_training_to_that_of_predictions(
    shapes: Annotations,
) -> None:
    recipe = Recipe(shapes, shapes, model="centernet_tiny", size=96, train_size=64, augment="mild")
    augment = training_set(recipe, shapes, build_detector(recipe, shapes)[0]).augment
    assert isinstance(augment, Augment)
    assert augment.nearer == 96 / 64
    still = replace(augment, near_scale=0.0, near_shift=0.0, flip=0.0)
    rng = np.random.default_rng(0)
    maps = [still.draw_map((96, 96), (64, 64), rng) for _ in range(400)]
    zooms = np.array([to_view.matrix[0] for to_view in maps])
    assert zooms.min() == pytest.approx(64 / 96, abs=0.01)
    assert zooms.max() == pytest.approx(1.0, abs=0.01)
    view = np.array([[0.0, 0.0], [64.0, 64.0]])
    seen = np.stack([to_view.inverse().points(view) for to_view in maps])
    assert seen.min() >= -1e-9  # no view leaves the picture ...
    assert seen.max() <= 96 + 1e-9
    near = seen[zooms > 0.8]  # ... and close ones see each of its edges
    assert near[:, 0].min() < 3
    assert near[:, 1].max() > 93


@pytest.mark.parametrize("kind", ["none", "published"])
def test_other_variations_are_as_they_were(shapes: Annotations, kind: Any) -> None:
    recipe = Recipe(shapes, shapes, model="centernet_tiny", size=96, train_size=64, augment=kind)
    augment = training_set(recipe, shapes, build_detector(recipe, shapes)[0]).augment
    assert augment == getattr(Augment, kind, Augment)()


def test_the_checkpoint_predicts_at_the_larger_size(shapes: Annotations, tmp_path: Path) -> None:
    result = train(shapes, shapes, out=tmp_path / "run", **SMALLER)
    detector = Detector.load(result.last)
    assert (detector.size, detector.meta["train_size"]) == ((96, 96), [64, 64])
    assert evaluate(result.last, shapes).ap == result.history[-1]["ap"]
    derived = json.loads((tmp_path / "run" / "options.json").read_text())["derived"]
    assert (derived["size"], derived["train_size"]) == ([96, 96], [64, 64])
    onward = TrainOptions(shapes, val=shapes, weights=str(result.last), out=str(tmp_path / "on"))
    recipe = draw_up(onward).recipe
    assert (recipe.size, recipe.train_size) == ((96, 96), (64, 64))
    alike = train(shapes, shapes, out=tmp_path / "alike", weights=str(result.last), **QUICK)
    assert "train_size" not in Detector.load(alike.last).meta


def test_a_resumed_run_goes_on_with_it(shapes: Annotations, tmp_path: Path) -> None:
    longer = {**SMALLER, "epochs": 2}
    whole = train(shapes, shapes, out=tmp_path / "whole", **longer)
    train(shapes, shapes, out=tmp_path / "run", stop_after=1, **longer)
    again = train(shapes, shapes, out=tmp_path / "run", resume=True, **longer)
    assert Path(again.last).read_bytes() == Path(whole.last).read_bytes()
    changed = {**longer, "train_size": None, "epochs": 3}
    with pytest.raises(HeatpointError, match=r"train_size was 64 and is None"):
        train(shapes, shapes, out=tmp_path / "run", resume=True, **changed)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"train_size": 128}, "train_size 128x128 is larger than the size of 96x96"),
        ({"train_size": 50}, "train_size 50x50 .* the next legal size is 64"),
        ({"train_size": 64, "window": 64}, "window shows parts of them; give one of both"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(
    shapes: Annotations, given: dict[str, Any], sentence: str
) -> None:
    recipe = Recipe(shapes, shapes, model="centernet_tiny", size=96, **given)
    detector, _ = build_detector(recipe, shapes)
    with pytest.raises(HeatpointError, match=sentence):
        training_set(recipe, shapes, detector)


def test_models_that_look_at_parts_have_none() -> None:
    recipe = Recipe("data", "val", model="pose_tiny", train_size=64)
    kind = type(build("pose_tiny", ("person",), skeleton=HANDS).codec)
    with pytest.raises(HeatpointError, match="train_size is about models that look at whole"):
        check_samples(recipe, kind)


@pytest.mark.parametrize("side", [9.0, 16.0, 21.0])
def test_a_plan_shows_small_objects_larger_in_predictions(side: float) -> None:
    survey = surveyed(mixed(side))
    shown = said("train_size", survey)
    found = said("size", survey, train_size=shown)
    assert shown == said("size", survey)
    assert math.prod(shown) < math.prod(found) <= sizes.STRETCH**2 * math.prod(shown)
    assert survey.side(shown) < sizes.FINE
    smaller = [each for each in survey.inputs(sizes.STEP, 1) if math.prod(each) < math.prod(found)]
    assert survey.side(smaller[-1]) < sizes.FINE


def test_it_does_not_where_objects_are_large_or_pictures_have_no_more_pixels() -> None:
    assert said("train_size", surveyed(mixed(60.0))) is None
    assert said("train_size", surveyed(drawn(9.0, (96, 96), per=6))) is None


def test_what_the_user_says_stands() -> None:
    survey = surveyed(mixed(9.0))
    assert said("train_size", survey, size=(320, 448)) is None
    assert said("train_size", survey, window=96) is None
    assert said("size", survey, train_size=256)[0] >= 256
    pointed = surveyed(mixed(9.0), model="points_tiny")
    assert said("train_size", pointed) is None


def test_a_saved_plan_keeps_both_sizes(tmp_path: Path) -> None:
    data = str(write_shapes(tmp_path / "data", 6, (64, 64), seed=1))
    plan = draw_up(TrainOptions(data, data, size=(96, 128), train_size=(64, 96)))
    again = repeated(plan, tmp_path)
    assert (again.size, again.train_size) == ((96, 128), (64, 96))


def test_validation_of_larger_pictures_is_rarer() -> None:
    survey = replace(surveyed(mixed(9.0)), scored=400)
    same = Recipe("a", "b", batch_size=8, epochs=None, minutes=5, size=(320, 448))
    larger = replace(same, size=(480, 640), train_size=(320, 448))
    assert eval_every(larger, survey).value > eval_every(same, survey).value
