"""A margin around whole pictures, from training to prediction and in exported files."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_train import QUICK

from heatpoint.codecs.center import CenterCodec
from heatpoint.data import Annotations
from heatpoint.data.images import load_image
from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError
from heatpoint.inference.engines.torch import describe
from heatpoint.inference.evaluate import evaluate
from heatpoint.inspection.oracle import oracle
from heatpoint.planning.sheet import draw_up
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.training import Recipe, TrainOptions, train
from heatpoint.training.data import check_samples, training_set
from heatpoint.training.start import build_detector
from heatpoint.views import Whole
from heatpoint.views.pictures import Picture
from heatpoint.views.tiles import Tiles
from heatpoint.zoo.detector import Detector


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Annotations:
    return read(write_shapes(tmp_path_factory.mktemp("shapes"), 8, (96, 80), seed=3))


def within_the_edges(data: Annotations, moved: float) -> Annotations:
    """Returns the data without objects near edges, those of one picture moved to the left."""
    images = []
    for record in data.images:
        near = (record.boxes[:, :2] < 5).any(1) | (record.boxes[:, 2:] > (75, 91)).any(1)
        images.append(record.keep(~near))
    fullest = max(images, key=len)
    fullest.boxes = fullest.boxes - (moved * fullest.boxes[:, 0].min(), 0) * 2
    return replace(data, images=images)


def test_training_and_evaluation_see_pictures_with_the_same_margin(shapes: Annotations) -> None:
    recipe = Recipe(shapes, shapes, model="centernet_tiny", size=64, margin=6, augment="none")
    detector, _ = build_detector(recipe, shapes)
    view = describe(detector).natural_view()
    assert view == Picture((64, 64), view.multiple, view.trim, margin=6.0)
    seen = training_set(recipe, shapes, detector)[0, 0]
    (look,) = view.looks((96, 80))
    raster = Whole(load_image(shapes.images[0].path, shapes.bands))
    np.testing.assert_array_equal(seen.image.numpy(), look.cut(raster))
    wanted = look.to_input.boxes(shapes.images[0].boxes)
    assert np.allclose(seen.target.boxes.numpy(), wanted, atol=1e-4)
    assert not seen.image[:, :6].any()
    assert not seen.image[:, -6:].any()


def test_the_checkpoint_keeps_it_and_training_goes_on_with_it(
    shapes: Annotations, tmp_path: Path
) -> None:
    kept: dict[str, Any] = {**QUICK, "margin": 5}
    result = train(shapes, shapes, out=tmp_path / "run", **kept)
    assert Detector.load(result.last).settings == {"margin": 5.0}
    scores = evaluate(result.last, shapes)
    assert scores.ap == result.history[-1]["ap"]
    assert scores.as_dict()["protocol"]["margin"] == 5.0
    assert evaluate(result.last, shapes, tiles=32).as_dict()["protocol"]["margin"] == 5.0
    onward = train(shapes, shapes, weights=str(result.last), out=tmp_path / "onward", **QUICK)
    assert Detector.load(onward.last).settings == {"margin": 5.0}
    longer = {**kept, "epochs": 2}
    again = train(shapes, shapes, out=tmp_path / "run", resume=True, **longer)
    assert (again.epochs, Detector.load(again.last).settings) == (2, {"margin": 5.0})
    with pytest.raises(HeatpointError, match=r"margin was 5(\.0)? and is 3"):
        train(shapes, shapes, out=tmp_path / "run", resume=True, **{**longer, "margin": 3})


def test_a_plan_asks_for_one_where_edges_cut_objects(shapes: Annotations, tmp_path: Path) -> None:
    inside, edged = within_the_edges(shapes, 0.0), within_the_edges(shapes, 1.0)
    options = TrainOptions(
        inside, val=inside, out=str(tmp_path / "run"), model="centernet_tiny", accelerator="cpu"
    )
    recipe = draw_up(options).recipe
    assert recipe.margin == 0
    seen = draw_up(replace(options, data=edged, val=edged))
    assert seen.recipe.margin == 4
    (why,) = (row.why for row in seen.rows if row.name == "margin")
    assert re.match(r"edges cut \d+% of the objects", why)
    assert recipe.size == seen.recipe.size


def test_a_perfect_network_is_perfect_with_a_margin(shapes: Annotations) -> None:
    codec = CenterCodec(len(shapes.names))
    whole = oracle(shapes, codec, Picture((128, 128), margin=7.0))
    assert whole.ap == oracle(shapes, codec, Picture((128, 128))).ap == 1.0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"model": "saccade_tiny", "margin": 4},
            "margin is an option of models that look at whole pictures",
        ),
        ({"model": "centernet_tiny", "margin": 17}, "margin.*between 0 and 16, a quarter"),
        ({"model": "centernet_tiny", "margin": -1}, "margin must be at least 0, not -1"),
    ],
)
def test_margins_that_cannot_be_are_refused_before_anything_runs(
    shapes: Annotations, tmp_path: Path, given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(HeatpointError, match=sentence):
        train(shapes, shapes, out=tmp_path / "run", **{**QUICK, **given})
    assert not any((tmp_path / "run").glob("*"))


def test_views_that_have_none_refuse_it() -> None:
    class Tiled(CenterCodec):
        view = Tiles

    with pytest.raises(HeatpointError, match="margin is about models that look at each whole"):
        check_samples(Recipe("d", "v", margin=4), Tiled)
    check_samples(Recipe("d", "v"), Tiled)
