"""Training of joints: figures learnt by heart, exact resuming, data and options that do not fit."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from heatpoint.data.readers import read
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.inference.evaluate import evaluate
from heatpoint.synthetic.figures import write_figures
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.training import train
from heatpoint.training.data import training_set
from heatpoint.training.recipe import Recipe
from heatpoint.training.start import build_detector, kind_of
from heatpoint.training.state import load_resume
from heatpoint.zoo.detector import Detector

QUICK = {
    "model": "pose_tiny",
    "size": 64,
    "epochs": 1,
    "batch_size": 4,
    "workers": 0,
    "threads": 1,
    "accelerator": "cpu",
    "pictures": False,
}


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    return str(write_figures(tmp_path_factory.mktemp("figures"), 8, (96, 96), seed=3))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, figures):
    """Returns the folder and the result of a run that learns eight figures by heart."""
    out = tmp_path_factory.mktemp("run")
    choice = {**QUICK, "epochs": 100, "batch_size": 8, "eval_every": 50, "pictures": True}
    extra = {"augment": "none", "lr": 1e-2, "seed": 1, "cache": 0.1, "padding": 1.5}
    return out, train(figures, figures, out=str(out), **{**choice, **extra})


def test_eight_figures_are_learnt_by_heart(fitted):
    _, result = fitted
    assert result.finished
    assert (result.score_name, result.ap) == ("pck@0.1", None)
    assert result.score > 0.95


def test_reported_score_is_what_evaluate_gives(fitted, figures):
    out, result = fitted
    metrics = evaluate(str(out / "best.safetensors"), figures)
    assert metrics.scores["pck@0.1"] == result.score
    assert result.score == max(row["pck@0.1"] for row in result.history if "pck@0.1" in row)


def test_a_run_leaves_its_files(fitted):
    out, result = fitted
    expected = {"best.safetensors", "last.safetensors", "resume.pt", "options.json", "log.csv"}
    assert expected | {"curves.png", "val_predictions.png"} <= {p.name for p in out.iterdir()}
    with (out / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["pck@0.1"]) == result.history[-1]["pck@0.1"]
    assert float(rows[-1]["loss/joints"]) == pytest.approx(float(rows[-1]["loss"]))


def test_checkpoint_knows_size_padding_and_skeleton(fitted, figures):
    detector = Detector.load(fitted[0] / "best.safetensors")
    assert detector.size == (64, 64)
    assert detector.meta["padding"] == 1.5
    assert detector.skeleton == read(figures).skeleton


def test_training_goes_on_from_weights_and_keeps_their_padding(fitted, figures, tmp_path):
    weights = str(fitted[0] / "best.safetensors")
    choice = {**QUICK, "lr": 1e-6, "augment": "none"}
    result = train(figures, figures, out=str(tmp_path), weights=weights, **choice)
    assert Detector.load(result.last).meta["padding"] == 1.5
    assert result.history[0]["loss"] < fitted[1].history[0]["loss"] / 2


def test_joints_that_weights_know_by_name_are_kept(fitted, figures, tmp_path, capsys):
    data, weights = read(figures), str(fitted[0] / "best.safetensors")
    order = [*range(1, 5), 0]
    names = [data.skeleton.joints[i] for i in order[:-1]] + ["tail"]
    images = [replace(record, keypoints=record.keypoints[:, order]) for record in data.images]
    other = replace(data, skeleton=Skeleton(tuple(names)), images=images)
    choice = {**QUICK, "lr": 1e-6, "augment": "none"}
    result = train(other, other, out=str(tmp_path), weights=weights, **choice)
    said = capsys.readouterr().out
    started = said.split("initialised anew for this data: ")[1].splitlines()[0].split(", ")
    assert all(".last.joints." in name and name.endswith(" [tail]") for name in started)
    detector = Detector.load(result.last)
    assert list(detector.skeleton.joints) == names
    errors = evaluate(detector, other).joints.error_per_joint
    assert max(errors[name] for name in names[:-1]) < 5 < errors["tail"]


def test_a_turn_of_zero_is_not_the_usual_one(figures):
    data = read(figures)
    options = Recipe(figures, figures, model="pose_tiny", rotate=0.0, half_body=0.25)
    augment = training_set(options, data, build_detector(options, data)[0]).augment
    assert (augment.rotation, augment.half_body, augment.padding) == (0.0, 0.25, 1.25)


def test_a_header_alone_rebuilds_the_detector(fitted, figures):
    detector = Detector.load(fitted[0] / "best.safetensors")
    header = detector.header()
    state = {"detector": header, "ema": detector.network.state_dict()}
    options = Recipe(figures, figures, model="pose_tiny", weights="gone.safetensors")
    assert kind_of(options, header).__name__ == header["codec"]["class"]
    before = torch.get_rng_state()
    assert build_detector(options, read(figures), state)[0].header() == header
    assert torch.equal(before, torch.get_rng_state())


def test_stopped_and_resumed_equals_straight(figures, tmp_path):
    choice = {**QUICK, "epochs": 4, "eval_every": 2, "half_body": 0.3, "rotate": 20.0}
    straight, stopped = tmp_path / "a", tmp_path / "b"
    train(figures, figures, out=str(straight), **choice)
    train(figures, figures, out=str(stopped), stop_after=2, **choice)
    torch.rand(3)  # another process would have another random state
    train(figures, figures, out=str(stopped), resume=True, **choice)
    for name in ("last.safetensors", "best.safetensors"):
        assert (straight / name).read_bytes() == (stopped / name).read_bytes()
    one, two = (load_resume(out / "resume.pt")["position"] for out in (straight, stopped))
    assert one["best"] == two["best"]
    assert [row["loss"] for row in one["history"]] == [row["loss"] for row in two["history"]]


def test_other_joints_are_other_data(figures, tmp_path):
    train(figures, figures, out=str(tmp_path), stop_after=1, **{**QUICK, "epochs": 2})
    data = read(figures)
    data.images[0].keypoints[0, 0, 0] += 1
    with pytest.raises(HeatpointError, match="checksum of the data"):
        train(data, figures, out=str(tmp_path), resume=True, **{**QUICK, "epochs": 2})


def test_stacks_are_summed(figures, tmp_path):
    choice = {**QUICK, "model": "hourglass_2stack", "batch_size": 2, "lr": 1e-9, "augment": "none"}
    data = read(figures).subset([0, 1])
    two = train(data, data, out=str(tmp_path / "two"), **choice)
    one = train(data, data, out=str(tmp_path / "one"), **{**choice, "model": "hourglass_1stack"})
    assert two.history[0]["loss"] == pytest.approx(2 * one.history[0]["loss"], rel=0.3)


def test_boxes_of_keypoint_data_can_be_learnt(figures, tmp_path):
    result = train(figures, figures, out=str(tmp_path), **{**QUICK, "model": "centernet_tiny"})
    assert result.score_name == "ap"


def test_data_that_does_not_fit_is_explained(figures, tmp_path):
    out = {"out": str(tmp_path / "run")}
    shapes = str(write_shapes(tmp_path / "shapes", 4, (64, 64)))
    with pytest.raises(HeatpointError, match="has no joints"):
        train(shapes, shapes, **out, **QUICK)
    with pytest.raises(HeatpointError, match="skeleton coco17 has 17 joints"):
        train(figures, figures, skeleton="coco17", **out, **{**QUICK})
    data = read(figures)
    names = data.skeleton.joints
    other = replace(data, skeleton=Skeleton((*names[:-1], "tail"), data.skeleton.edges))
    with pytest.raises(HeatpointError, match=f"only in .*: {names[-1]}; only in .*: tail"):
        train(data, other, **out, **QUICK)
    blank = replace(
        data,
        images=[replace(r, keypoints=np.zeros_like(r.keypoints)) for r in data.images],
    )
    with pytest.raises(HeatpointError, match="no object to learn from"):
        train(blank, data, **out, **QUICK)


def test_a_skeleton_file_names_the_joints(figures, tmp_path):
    names = [f"point {i}" for i in range(len(read(figures).skeleton))]
    path = tmp_path / "skeleton.json"
    path.write_text(json.dumps({"joints": names, "pairs": []}))
    result = train(figures, figures, out=str(tmp_path / "run"), skeleton=str(path), **QUICK)
    assert list(Detector.load(result.last).skeleton.joints) == names


def test_options_of_the_other_kind_are_refused(figures, tmp_path):
    out = {"out": str(tmp_path / "run")}
    with pytest.raises(HeatpointError, match="mosaic is an option of models that look at whole"):
        train(figures, figures, mosaic=0.5, **out, **QUICK)
    with pytest.raises(HeatpointError, match="padding is an option of models that look at crops"):
        train(figures, figures, padding=1.5, **out, **{**QUICK, "model": "centernet_tiny"})
    with pytest.raises(HeatpointError, match="skeleton is an option of models that find joints"):
        train(figures, figures, skeleton="mpii16", **out, **{**QUICK, "model": "centernet_tiny"})
    with pytest.raises(HeatpointError, match="radius is no choice for pose_tiny"):
        train(figures, figures, radius="fixed", **out, **QUICK)
    with pytest.raises(HeatpointError, match="padding must be above 0"):
        train(figures, figures, padding=0.0, **out, **QUICK)
    with pytest.raises(HeatpointError, match="half_body is a probability"):
        train(figures, figures, half_body=2.0, **out, **QUICK)
    with pytest.raises(HeatpointError, match="skeleton"):
        train(figures, figures, skeleton="coco71", **out, **QUICK)


def test_crops_are_mirrored_only_where_joints_have_pairs(figures):
    def chance(pairs, **choice):
        options = Recipe(figures, figures, model="pose_tiny", **choice)
        data = read(figures)
        data.skeleton = replace(data.skeleton, pairs=pairs)
        return training_set(options, data, build_detector(options, data)[0]).augment.flip

    pairs = read(figures).skeleton.pairs
    assert (chance(pairs), chance(())) == (0.5, 0.0)
    assert (chance(pairs, flip=0.0), chance((), flip=0.25)) == (0.0, 0.25)
