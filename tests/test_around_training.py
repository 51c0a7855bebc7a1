"""What belongs to a run beside the updates: its end, its logs, several data sets, own changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from heatpoint import planning, plugins
from heatpoint.cli import main
from heatpoint.codecs.center import CenterCodec
from heatpoint.data.combining import select
from heatpoint.data.dataset import TrainSet
from heatpoint.data.own_augment import OwnAugment
from heatpoint.data.readers import read
from heatpoint.data.readers.coco import write_coco
from heatpoint.errors import HeatpointError
from heatpoint.inference.evaluate import evaluate
from heatpoint.synthetic.figures import write_figures
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.training import TrainOptions, loop, train
from heatpoint.training.data import load_data
from heatpoint.training.options import check
from heatpoint.training.state import load_resume
from heatpoint.zoo.detector import Detector

QUICK = {
    "model": "centernet_tiny",
    "size": 64,
    "epochs": 6,
    "batch_size": 4,
    "workers": 0,
    "threads": 1,
    "accelerator": "cpu",
    "pictures": False,
}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return str(write_shapes(tmp_path_factory.mktemp("shapes"), 4, (64, 64), seed=3))


@pytest.fixture
def judged(monkeypatch):
    """Lets validations have these scores, one after the other."""
    scores = [0.3, 0.5, 0.4, 0.5, 0.2, 0.1]
    done: list[float] = []

    def evaluate(*_, **__):
        done.append(scores[len(done)])
        return Judged(done[-1])

    monkeypatch.setattr(loop, "evaluate", evaluate)
    return done


class Judged:
    """What ``evaluate`` returns, as far as a run looks at it."""

    def __init__(self, score):
        self.scores = dict.fromkeys(("ap", "ap50", "ap75"), score)

    def summary(self):
        return f"the table of {self.scores['ap']}"


def test_patience_ends_a_run_and_says_what_that_means(shapes, tmp_path, judged, capsys):
    result = train(shapes, shapes, out=str(tmp_path), patience=2, schedule="cosine", **QUICK)
    assert judged == [0.3, 0.5, 0.4, 0.5]  # an equal score is no better one
    assert (result.epochs, result.best_epoch, result.score) == (4, 2, 0.5)
    assert (result.early, result.finished, result.interrupted) == (True, False, False)
    said = capsys.readouterr().out
    assert "no validation since epoch 2 was better" in said
    assert "still at 54% of its highest" in said
    assert said.count("the table of 0.5") == 1
    again = train(
        shapes, shapes, out=str(tmp_path), patience=2, resume=True, schedule="cosine", **QUICK
    )
    assert len(judged) == 4
    assert (again.epochs, again.early) == (4, True)
    longer = train(shapes, shapes, out=str(tmp_path), resume=True, schedule="cosine", **QUICK)
    assert (longer.epochs, longer.early, longer.finished) == (6, False, True)
    assert capsys.readouterr().out.count("the table of 0.5") == 2


def test_a_resumed_run_is_as_patient_as_one_without_a_stop(shapes, tmp_path, judged):
    choice = {**QUICK, "patience": 3}
    train(shapes, shapes, out=str(tmp_path), stop_after=3, **choice)
    result = train(shapes, shapes, out=str(tmp_path), resume=True, **choice)
    assert (result.epochs, result.early) == (5, True)


def test_patience_holds_beside_minutes(shapes, tmp_path, judged):
    choice = {**QUICK, "epochs": None, "minutes": 5.0, "patience": 1}
    result = train(shapes, shapes, out=str(tmp_path), **choice)
    assert (result.epochs, result.early) == (3, True)


def test_the_table_at_the_end_is_that_of_evaluate(shapes, tmp_path, capsys, monkeypatch):
    calls = []

    def counted(*words, **named):
        calls.append(1)
        return evaluate(*words, **named)

    monkeypatch.setattr(loop, "evaluate", counted)
    train(shapes, shapes, out=str(tmp_path), **{**QUICK, "epochs": 1})
    said = capsys.readouterr().out
    assert len(calls) == 1
    assert said.count(evaluate(str(tmp_path / "best.safetensors"), shapes).summary()) == 1


def test_loggers_are_checked_before_work(monkeypatch):
    with pytest.raises(HeatpointError, match=r"logger must be one of .*did you mean 'wandb'"):
        check(TrainOptions("d", "v", logger=("wandbb",)))
    monkeypatch.setattr("heatpoint.training.options.find_spec", lambda name: None)
    for name in ("wandb", "mlflow"):
        with pytest.raises(HeatpointError, match=rf"pip install 'heatpoint\[{name}\]'"):
            check(TrainOptions("d", "v", logger=("csv", name)))


def test_no_logger_leaves_no_log(shapes, tmp_path):
    train(shapes, shapes, out=str(tmp_path), logger=(), **{**QUICK, "epochs": 1})
    names = [path.name for path in tmp_path.iterdir()]
    assert "log.csv" not in names
    assert not any("tfevents" in name for name in names)


def test_wandb_is_told_offline(shapes, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="needs heatpoint[wandb]")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    choice = {**QUICK, "epochs": 2, "logger": ("wandb",)}
    train(shapes, shapes, out=str(tmp_path), stop_after=1, **choice)
    train(shapes, shapes, out=str(tmp_path), resume=True, **choice)
    # Both parts are one run to the service.
    called = load_resume(tmp_path / "resume.pt")["position"]["logged"]["Wandb"]
    files = list((tmp_path / "wandb").glob(f"offline-run-*/run-{called}.wandb"))
    assert len(files) in (1, 2)  # folders are named by the second
    content = b"".join(file.read_bytes() for file in files)
    assert b"loss/heatmap" in content
    assert b"images_per_second" in content


def test_mlflow_is_told(shapes, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="needs heatpoint[mlflow]")
    # Its file store starts at once; tables of a database take half a minute to make.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    choice = {**QUICK, "epochs": 2, "logger": ("mlflow",)}
    out = tmp_path / "run"
    train(shapes, shapes, out=str(out), stop_after=1, **choice)
    train(shapes, shapes, out=str(out), resume=True, **choice)
    client = mlflow.MlflowClient()
    home = client.get_experiment_by_name("heatpoint").experiment_id
    (run,) = client.search_runs([home])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "run"
    assert run.data.params["model"] == "centernet_tiny"
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "ap")]
    assert steps == [1, 2]


@pytest.mark.slow
def test_mlflow_keeps_a_database_in_the_folder(shapes, tmp_path, monkeypatch):
    pytest.importorskip("sqlalchemy", reason="needs heatpoint[mlflow]")
    mlflow = pytest.importorskip("mlflow", reason="needs heatpoint[mlflow]")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    choice = {**QUICK, "epochs": 1, "logger": ("mlflow",)}
    train(shapes, shapes, out=str(tmp_path), **choice)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert len(client.search_runs([client.get_experiment_by_name("heatpoint").experiment_id])) == 1


def test_several_data_sets_are_joined_by_the_names_of_classes(tmp_path, capsys):
    first = read(write_shapes(tmp_path / "a", 4, (64, 64), seed=1))
    second = read(write_shapes(tmp_path / "b", 3, (64, 64), seed=2))
    one, two, *_ = first.names
    parts = [tmp_path / "a" / "one.json", tmp_path / "b" / "two.json"]
    write_coco(select(first, [one]), parts[0])
    write_coco(select(second, [two, one], rename={first.names[2]: two.upper()}), parts[1])
    data = [str(part) for part in parts]
    choice = {**QUICK, "epochs": 2}
    loaded = load_data(TrainOptions(data, data[0]), CenterCodec)
    assert loaded.train.names == (one, two)
    assert len(loaded.train) == 7
    said = "\n".join(loaded.notes)
    assert "2 data sets are trained on together" in said
    assert f"nothing is labelled there as {two}; where its pictures" in said
    out = str(tmp_path / "run")
    train(data, data[0], out=out, stop_after=1, **choice)
    assert f"{data[1]}: 3 images" in capsys.readouterr().out
    with pytest.raises(HeatpointError, match=r"the (names|images|checksum) of the data were"):
        train(data[0], data[0], out=out, resume=True, **choice)
    assert train(data, data[0], out=out, resume=True, **choice).finished
    named = json.loads((tmp_path / "run" / "options.json").read_text())["options"]["data"]
    assert named == " + ".join(data)


def test_files_of_all_data_sets_are_kept(shapes, tmp_path):
    mine = tmp_path / "run" / "log.csv"
    mine.parent.mkdir()
    mine.write_text(Path(shapes).read_text())
    with pytest.raises(HeatpointError, match=r"log\.csv"):
        train([shapes, str(mine)], shapes, out=str(mine.parent), **QUICK)


def test_classes_alike_in_two_data_sets_are_told(shapes):
    data = read(shapes)
    other = replace(data, names=(data.names[0].upper(), *data.names[1:]))
    notes = load_data(TrainOptions([data, other], data), CenterCodec).notes
    assert any("class names alike" in note for note in notes)


OWN = """
from dataclasses import replace
import numpy as np
from PIL import Image, ImageOps
from heatpoint.geometry import Affine

def poster(scene, rng):
    picture = ImageOps.posterize(Image.fromarray(scene.image), int(rng.integers(1, 5)))
    return replace(scene, image=np.asarray(picture))

def enlarged(scene, rng):
    height, width = scene.image.shape[:2]
    scene.image[:] = 255 - scene.image
    return scene.moved(Affine.scale(2, 2), (2 * height, 2 * width))

class Dropping:
    # As albumentations does it: a dictionary of lists, and what belongs to a box goes with it.
    def __call__(self, *, image, bboxes, labels):
        return {"image": image[:, ::-1].copy(), "bboxes": bboxes[:1], "labels": labels[:1]}

def dropping(scene, rng):
    found = Dropping()(image=scene.image, bboxes=scene.boxes.tolist(), labels=scene.labels.tolist())
    boxes = np.array(found["bboxes"], float).reshape(-1, 4)
    width = scene.image.shape[1]
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    return replace(scene, image=found["image"], boxes=boxes, labels=np.array(found["labels"], int))

AUGMENTATIONS = {
    "poster": poster,
    "enlarged": enlarged,
    "dropping": dropping,
    "nothing": lambda scene, rng: None,
    "grey": lambda scene, rng: replace(scene, image=scene.image[..., 0]),
    "strange": lambda scene, rng: replace(scene, labels=scene.labels + 9),
    "fewer": lambda scene, rng: replace(scene, boxes=scene.boxes[:0]),
    "jointless": lambda scene, rng: replace(scene, keypoints=None),
}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "_LOADED", {})
    monkeypatch.setenv(plugins.VARIABLE, "")
    path = tmp_path / "own.py"
    path.write_text(OWN)
    plugins.load(path)


def test_own_changes_come_first_and_are_functions_of_the_seed(own, shapes):
    data, size = read(shapes), (64, 64)

    def samples(name, seed=0, cache=1 << 20):
        changed = OwnAugment(name, len(data.names))
        return TrainSet(data, size, None, seed, cache, own=changed)

    first, again = samples("poster"), samples("poster", cache=0)
    for place in ((0, 1), (3, 2), (0, 1)):
        assert torch.equal(first[place].image, again[place].image)
    assert not torch.equal(first[0, 1].image, first[1, 1].image)
    # A function that writes into the pixels does not change those that are kept.
    enlarged = samples("enlarged")
    assert torch.equal(enlarged[0, 0].image, enlarged[0, 0].image)
    plain = TrainSet(data, size, enlarged.augment)[0, 0]
    assert torch.allclose(enlarged[0, 0].target.boxes, plain.target.boxes, atol=1e-3)
    assert all(len(samples("dropping")[0, index].target.boxes) <= 1 for index in range(4))


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("nothing", "it must return the scene"),
        ("grey", r"its image must be \(h, w, 3\) uint8, not \(64, 64\)"),
        ("strange", r"its labels must lie in \[0, "),
        ("fewer", "its boxes must be finite"),
        ("posters", "did you mean 'poster'.*the plugins have dropping, "),
    ],
)
def test_own_changes_that_cannot_be_are_told_at_once(own, shapes, tmp_path, name, fault):
    with pytest.raises(HeatpointError, match=f"augment_with .*{name}.*{fault}"):
        train(shapes, shapes, out=str(tmp_path / "run"), augment_with=name, **QUICK)


def test_joints_stay_with_their_scene(own, tmp_path):
    data = read(write_figures(tmp_path / "figures", 2, (64, 64), seed=1))
    joints = len(data.skeleton)
    whole = TrainSet(data, (64, 64), own=OwnAugment("enlarged", 1))[0, 0].target
    assert whole.keypoints.shape == (len(whole.boxes), joints, 3)
    with pytest.raises(HeatpointError, match="must leave the joints to scenes"):
        TrainSet(data, (64, 64), own=OwnAugment("jointless", 1))[0, 0]


def test_a_run_with_own_changes_resumes_exactly(own, shapes, tmp_path):
    choice = {**QUICK, "epochs": 2, "augment_with": "poster", "eval_every": 2}
    train(shapes, shapes, out=str(tmp_path / "a"), **{**choice, "workers": 1})
    train(shapes, shapes, out=str(tmp_path / "b"), stop_after=1, **choice)
    with pytest.raises(HeatpointError, match="augment_with was 'poster' and is ''"):
        train(shapes, shapes, out=str(tmp_path / "b"), resume=True, **choice | {"augment_with": ""})
    train(shapes, shapes, out=str(tmp_path / "b"), resume=True, **choice)
    one, two = ((tmp_path / run / "last.safetensors").read_bytes() for run in "ab")
    assert one == two


def test_tables_of_plugins_are_checked(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text("AUGMENTATIONS = {'a': 3}\n")
    with pytest.raises(HeatpointError, match="AUGMENTATIONS must be a dict of names and functions"):
        plugins.load(path)
    assert np.all([str(path) not in name for name in plugins.loaded()])


@pytest.mark.parametrize("word", ["--device", "--accelerator"])
@pytest.mark.parametrize("device", ["cuda", "mps"])
@pytest.mark.parametrize("command", ["train", "plan"])
def test_a_device_that_is_not_here(shapes, tmp_path, monkeypatch, capsys, word, device, command):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    assert main([command, shapes, word, device]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.endswith(f"device {device} is not available here; use device='auto'")
    assert not any(tmp_path.iterdir())


def test_a_run_goes_on_when_nobody_reads_it(shapes, tmp_path, monkeypatch, capsys):
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        result = planning.train(shapes, shapes, out=str(tmp_path), **{**QUICK, "epochs": 2})
        closed.flush()
    assert result.finished
    assert (tmp_path / "last.safetensors").exists()
    assert capsys.readouterr().err.count("the run goes on without it") == 1


IN_A_TERMINAL = """
import fcntl, signal, sys, termios
from heatpoint.cli import main
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests may run under nohup
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no terminal of Windows hangs up")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_is_saved_when_its_terminal_is_closed(shapes, tmp_path, workers):
    import pty

    out = tmp_path / "run"
    window, terminal = pty.openpty()
    words = f"train {shapes} --val {shapes} --model centernet_tiny --size 64 --epochs 100000"
    more = f"--eval-every 100000 --threads 1 --accelerator cpu --workers {workers} --no-pictures"
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *f"{words} {more} --out".split(), str(out)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    shown, end = b"", time.monotonic() + 90
    while b"epoch 3" not in shown:
        assert time.monotonic() < end, shown
        shown += os.read(window, 4096)
    assert not (out / "resume.pt").exists()
    os.close(window)
    assert process.wait(timeout=60) == 130
    position = load_resume(out / "resume.pt")["position"]
    assert position["updates"] >= 2
    assert Detector.load(out / "last.safetensors").meta["trained"]["updates"] == position["updates"]
