"""One training run from data to checkpoint, and everything that may go wrong on the way."""

from __future__ import annotations

import csv
import errno
import inspect
import json
import os
import shutil
import time
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from heatpoint.codecs.center import CenterCodec
from heatpoint.data.images import load_image
from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError
from heatpoint.inference.engines.torch import describe
from heatpoint.inference.evaluate import evaluate
from heatpoint.inference.predict import predict
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.system import locked
from heatpoint.training import Recipe, TrainOptions, loop, train
from heatpoint.training.data import load_data
from heatpoint.training.recipe import FREE_ON_RESUME
from heatpoint.zoo.detector import Detector

QUICK = {
    "model": "centernet_tiny",
    "size": 64,
    "epochs": 1,
    "batch_size": 4,
    "workers": 0,
    "threads": 1,
    "accelerator": "cpu",
    "pictures": False,
}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return str(write_shapes(tmp_path_factory.mktemp("shapes"), 8, (96, 96), seed=3))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, shapes):
    """Returns the folder and the result of a run that learns eight pictures by heart."""
    out = tmp_path_factory.mktemp("run")
    choice = {**QUICK, "size": 96, "epochs": 100, "batch_size": 8, "eval_every": 50}
    extra = {"augment": "none", "lr": 6e-3, "pictures": True, "seed": 1, "cache": 0.1}
    return out, train(shapes, shapes, out=str(out), **{**choice, **extra})


def test_eight_pictures_are_learnt_by_heart(fitted):
    _, result = fitted
    assert result.finished
    assert not result.interrupted
    assert result.ap > 0.9
    assert result.epochs == 100


def test_reported_ap_is_what_evaluate_gives(fitted, shapes):
    out, result = fitted
    metrics = evaluate(str(out / "best.safetensors"), shapes)
    assert metrics.ap == result.ap
    assert metrics.ap == max(row["ap"] for row in result.history if "ap" in row)


def test_a_run_leaves_its_files(fitted):
    out, result = fitted
    expected = {"best.safetensors", "last.safetensors", "resume.pt", "options.json", "log.csv"}
    expected |= {"curves.png", "val_predictions.png"}
    names = {path.name for path in out.iterdir()}
    assert expected <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert not any("partial" in name for name in names)
    with (out / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 100
    assert float(rows[-1]["ap"]) == result.history[-1]["ap"]
    assert rows[0]["ap"] == ""
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"]) / 5
    parts = [float(rows[-1][name]) for name in rows[-1] if name.startswith("loss/")]
    assert sum(parts) == pytest.approx(float(rows[-1]["loss"]))
    record = json.loads((out / "options.json").read_text())
    assert record["options"]["model"] == "centernet_tiny"
    assert record["versions"]["torch"] == torch.__version__
    assert record["derived"]["stages"][0]["rate"] == 6e-3


def test_checkpoint_knows_size_and_names(fitted, shapes):
    detector = Detector.load(fitted[0] / "best.safetensors")
    assert detector.size == (96, 96)
    assert detector.names == read(shapes).names


def test_training_goes_on_from_weights_with_other_classes(fitted, shapes, tmp_path):
    data = read(shapes)
    other = replace(data, names=("new", *data.names[1:]))
    result = train(
        other,
        other,
        out=str(tmp_path),
        weights=str(fitted[0] / "best.safetensors"),
        **{**QUICK, "size": 96, "lr": 1e-6, "augment": "none"},
    )
    assert Detector.load(result.last).names[0] == "new"
    assert result.history[0]["loss"] < fitted[1].history[0]["loss"] / 2


def test_signature_is_that_of_the_options():
    names = [field.name for field in fields(TrainOptions)]
    assert list(inspect.signature(train).parameters) == names
    assert set(names) >= FREE_ON_RESUME
    with pytest.raises(TypeError, match="epoch"):
        train("a", "b", epoch=3)


def test_nan_names_the_images_and_spares_the_files(shapes, tmp_path, monkeypatch):
    train(shapes, shapes, out=str(tmp_path), stop_after=1, **{**QUICK, "epochs": 3})
    before = (tmp_path / "last.safetensors").read_bytes()
    real, calls = CenterCodec.loss, []

    def loss(self, maps, encoded):
        calls.append(1)
        terms = real(self, maps, encoded)
        return {**terms, "sides": terms["sides"] * float("nan")} if len(calls) > 1 else terms

    monkeypatch.setattr(CenterCodec, "loss", loss)
    with pytest.raises(HeatpointError) as caught:
        train(shapes, shapes, out=str(tmp_path), resume=True, **{**QUICK, "epochs": 3})
    message = str(caught.value)
    assert "sides nan" in message
    assert message.count(".jpg") == 4
    assert "learning rate" in message
    assert (tmp_path / "last.safetensors").read_bytes() == before


def test_full_disk_spares_the_files(shapes, tmp_path, monkeypatch):
    train(shapes, shapes, out=str(tmp_path), stop_after=1, **{**QUICK, "epochs": 2})
    saved = {name: (tmp_path / name).read_bytes() for name in ("last.safetensors", "resume.pt")}

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HeatpointError, match="No space left"):
        train(shapes, shapes, out=str(tmp_path), resume=True, **{**QUICK, "epochs": 2})
    monkeypatch.undo()
    assert saved == {name: (tmp_path / name).read_bytes() for name in saved}
    assert not list(tmp_path.glob(".*partial*"))
    result = train(shapes, shapes, out=str(tmp_path), resume=True, **{**QUICK, "epochs": 2})
    assert result.finished


def test_mistakes_are_told_before_training(shapes, tmp_path):
    data = read(shapes)
    renamed = replace(data, names=("blob", *data.names[1:]))
    with pytest.raises(HeatpointError, match=f"only in .*{data.names[0]}.*blob"):
        train(data, renamed, out=str(tmp_path), **QUICK)
    with pytest.raises(HeatpointError, match="next legal size"):
        train(data, data, out=str(tmp_path), **{**QUICK, "size": 50})
    with pytest.raises(HeatpointError, match="resume"):
        train(data, data, out=str(tmp_path), resume=True, **QUICK)
    images = [record.keep(np.zeros(len(record), bool)) for record in data.images]
    empty = replace(data, images=images)
    with pytest.raises(HeatpointError, match="no object"):
        train(empty, data, out=str(tmp_path), **QUICK)


def test_a_finished_folder_is_not_overwritten(shapes, tmp_path):
    train(shapes, shapes, out=str(tmp_path), **QUICK)
    with pytest.raises(HeatpointError, match="already holds a run"):
        train(shapes, shapes, out=str(tmp_path), **QUICK)


def test_class_order_of_the_validation_data_does_not_matter(shapes, tmp_path):
    data = read(shapes)
    order = list(range(len(data.names)))[::-1]
    place = np.argsort(order)
    images = [replace(r, labels=place[r.labels]) for r in data.images]
    turned = replace(data, names=tuple(data.names[i] for i in order), images=images)
    first = train(data, data, out=str(tmp_path / "a"), **QUICK)
    second = train(data, turned, out=str(tmp_path / "b"), **QUICK)
    assert first.ap == second.ap


def test_accumulation_equals_a_large_batch(shapes, tmp_path, monkeypatch):
    # Statistics of batch norm belong to a forward pass; with fixed ones both ways agree.
    monkeypatch.setattr(
        nn.BatchNorm2d, "train", lambda self, mode=True: nn.Module.train(self, False)
    )
    weights = []
    for batch, accumulate in ((8, 1), (2, 4)):
        out = tmp_path / str(batch)
        choice = {"batch_size": batch, "accumulate": accumulate, "optimizer": "sgd", "ema": 0.0}
        result = train(shapes, shapes, out=str(out), **{**QUICK, "epochs": 3, "lr": 1e-3, **choice})
        assert result.updates == 3
        weights.append(Detector.load(result.last).network.state_dict())
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-6)


def test_minutes_end_the_run_and_the_schedule(shapes, tmp_path):
    choice = {**QUICK, "epochs": None, "minutes": 0.05, "eval_every": 10**6}
    result = train(shapes, shapes, out=str(tmp_path), **choice)
    assert result.finished
    assert 2 < result.seconds < 10
    assert result.history[-1]["learning_rate"] < 0.05 * max(
        row["learning_rate"] for row in result.history
    )
    assert result.ap is not None


@pytest.mark.parametrize("every", [2, 3])
def test_time_that_is_over_between_two_epochs(shapes, tmp_path, monkeypatch, every):
    ended: list[bool] = []

    def end_epoch(run, last):
        ended.append(last)
        return ending(run, last)

    ending = loop.end_epoch
    monkeypatch.setattr(loop, "end_epoch", end_epoch)
    monkeypatch.setattr(loop, "is_over", lambda run: len(ended) >= 2)
    choice = {**QUICK, "epochs": None, "minutes": 9.0, "eval_every": every}
    result = train(shapes, shapes, out=str(tmp_path), **choice)
    assert (result.finished, result.epochs) == (True, 2)
    assert ended == ([False, False] if every == 2 else [False, False, True])
    assert [row["epoch"] for row in result.history] == [1, 2]
    assert all(row["loss"] > 0 for row in result.history)
    assert result.history[-1]["ap"] is not None
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3


def test_a_run_without_time_leaves_a_checkpoint(shapes, tmp_path):
    result = train(shapes, shapes, out=str(tmp_path), **{**QUICK, "epochs": None}, minutes=1e-6)
    assert (result.finished, result.updates) == (True, 0)
    assert Detector.load(result.best).size == (64, 64)


def test_unreadable_images_stop_or_are_left_out(tmp_path, capsys):
    path = write_shapes(tmp_path / "data", 6, (64, 64), seed=1)
    (path.parent / "images" / "000002.jpg").write_bytes(b"")
    with pytest.raises(HeatpointError, match=r"000002\.jpg"):
        train(str(path), str(path), out=str(tmp_path / "run"), **QUICK)
    train(str(path), str(path), out=str(tmp_path / "run"), skip_bad=True, **QUICK)
    assert "1 x unreadable image (left out)" in capsys.readouterr().out


def test_windows_are_trained_and_whole_pictures_scored(tmp_path, shapes):
    choice = {**QUICK, "size": 128, "window": [32, 64], "flip": 0.0, "quarter_turns": True}
    # Paths are taken as well as text.
    result = train([Path(shapes)], Path(shapes), out=tmp_path, **choice)
    assert Detector.load(result.best).size == (128, 128)
    chosen = json.loads((tmp_path / "options.json").read_text())["options"]
    assert (chosen["window"], chosen["flip"]) == ([32, 64], 0.0)


@pytest.mark.parametrize(
    ("window", "sentence"),
    [
        (40, "next legal size is 64"),
        (128, "larger than the input of 64x64"),
        ([32], "window must be one"),
        ({32: 1, 64: 0}, "a share of the run, a number above 0, not 1, 0"),
        ({32: 1, 64: "x"}, "a share of the run, a number above 0, not 1, x"),
        ({}, "a share of the run, a number above 0, not none"),
        ({32: 1, 40: 1}, "next legal size is 64"),
    ],
)
def test_windows_that_cannot_be(tmp_path, shapes, window, sentence):
    with pytest.raises(HeatpointError, match=sentence):
        train(shapes, shapes, out=str(tmp_path), **{**QUICK, "window": window})


def test_one_image_that_is_one_cell_is_refused(tmp_path, shapes):
    with pytest.raises(HeatpointError, match="batch norm cannot learn from one image of 32x32"):
        train(shapes, shapes, out=str(tmp_path / "a"), **{**QUICK, "size": 32, "batch_size": 1})


def test_synchronised_batch_norm_gives_the_same_file(shapes, tmp_path, monkeypatch):
    # MobileNetV2's norms carry activations, which a converted network must keep. A lean network
    # has fewer norms to convert, and sums in another order, which AdamW magnifies.
    monkeypatch.setattr("heatpoint.training.setup.lean", lambda *_: None)
    files = []
    for wanted in (False, True):
        out = tmp_path / str(wanted)
        choice = {**QUICK, "model": "centernet_mobilenetv2", "epochs": 2, "freeze": 4}
        result = train(shapes, shapes, out=str(out), sync_batchnorm=wanted, **choice)
        files.append((result.ap, Detector.load(result.last).network))
    assert files[0][0] == files[1][0]
    one, two = (network.state_dict() for _, network in files)
    assert list(one) == list(two)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-6, msg=name)
    images = torch.rand(1, 3, 64, 64) * 255
    with torch.no_grad():
        expected, found = (network(images)[-1] for _, network in files)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4)


def test_images_left_out_of_an_epoch_are_told(tmp_path, capsys):
    data = str(write_shapes(tmp_path / "data", 7, (64, 64), seed=1))
    train(data, data, out=str(tmp_path / "a"), **{**QUICK, "batch_size": 2, "accumulate": 2})
    assert "each epoch leaves out 3 of 7 images" in capsys.readouterr().out
    derived = json.loads((tmp_path / "a" / "options.json").read_text())["derived"]
    assert derived["stages"][0]["images_left_out_per_epoch"] == 3
    train(data, data, out=str(tmp_path / "b"), **{**QUICK, "batch_size": 7})
    assert "leaves out" not in capsys.readouterr().out


def test_a_folder_that_another_run_uses_is_refused(shapes, tmp_path):
    with (
        locked(tmp_path / "run" / ".lock", "busy"),
        pytest.raises(HeatpointError, match="another run is writing into"),
    ):
        train(shapes, shapes, out=str(tmp_path / "run"), **QUICK)
    train(shapes, shapes, out=str(tmp_path / "run"), **QUICK)
    assert not (tmp_path / "run" / ".lock").exists()


def test_a_folder_deleted_while_training_is_one_sentence(shapes, tmp_path, monkeypatch, capfd):
    real, out = loop.take_update, tmp_path / "run"

    def take(run, batches):
        real(run, batches)
        if run.position.updates == 2:
            shutil.rmtree(out)

    monkeypatch.setattr(loop, "take_update", take)
    monkeypatch.setattr(loop, "LOOK_EVERY", 1)
    with pytest.raises(HeatpointError, match=r"folder .*run is gone"):
        train(shapes, shapes, out=str(out), **{**QUICK, "epochs": 3})
    assert not out.exists()
    time.sleep(0.1)
    assert "Traceback" not in capfd.readouterr().err


def test_validation_pictures_that_are_trained_on_are_counted(tmp_path):
    data = write_shapes(tmp_path / "train", 4, (64, 64), seed=1)
    other = write_shapes(tmp_path / "val", 3, (64, 64), seed=2)

    def notes(val):
        options = Recipe(data=str(data), val=str(val))
        return [note for note in load_data(options, CenterCodec).notes if "warning" in note]

    assert notes(other) == []
    assert notes(data)[0].startswith("warning: 4 of the 4 validation pictures are training")
    copied = sorted((tmp_path / "train").rglob("*.*g"))[2]
    leaked = sorted((tmp_path / "val").rglob("*.*g"))[1]
    shutil.copy(copied, leaked)
    (note,) = notes(other)
    assert note.startswith("warning: 1 of the 3 validation pictures are training pictures too")
    assert leaked.name in note


def test_deep_pictures_are_scaled_by_one_depth_wherever_they_are_seen(tmp_path, capsys):
    for part, brightest in (("train", 1000), ("val", 4000)):
        path = write_shapes(tmp_path / part, 2, (64, 64), seed=1)
        content = json.loads(path.read_text())
        for number, image in enumerate(content["images"]):
            grey = cv2.imread(str(path.parent / image["file_name"]), cv2.IMREAD_GRAYSCALE)
            deep = np.uint16(grey * (brightest / grey.max()))
            image["file_name"] = f"{number}.png"
            cv2.imwrite(str(path.parent / image["file_name"]), deep)
        path.write_text(json.dumps(content))
    train_path, val_path = (tmp_path / p / "annotations.json" for p in ("train", "val"))
    result = train(str(train_path), str(val_path), out=str(tmp_path / "run"), **QUICK)
    assert "seem to have 10 bits in training and 12 in validation; all" in capsys.readouterr().out
    detector = Detector.load(result.best)
    assert detector.meta["bits"] == describe(detector).bits == 12
    assert load_data(TrainOptions(str(train_path), str(val_path)), CenterCodec).train.bits == 12

    dark = train_path.parent / "0.png"
    found, same, other = predict(
        detector, [dark, load_image(dark, bits=12), load_image(dark)], score=0.0
    )
    assert np.array_equal(found.scores, same.scores)
    assert not np.array_equal(found.scores, other.scores)
    cv2.imwrite(str(dark), np.full((8, 8), 5000, np.uint16))
    with pytest.raises(HeatpointError, match=r"0\.png holds values up to 5,000, more than the 12"):
        predict(detector, dark)
