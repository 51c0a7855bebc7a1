"""What a plan decides, that the user's word stands, and that it can be repeated and resumed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

import heatpoint
from heatpoint.commands import parse
from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.readers import read
from heatpoint.data.readers.coco import write_coco
from heatpoint.data.skeleton import Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.planning import rules, sizes
from heatpoint.planning.parts import films_of, parts_of
from heatpoint.planning.sheet import Plan, draw_up, recalled
from heatpoint.planning.survey import Machine, Survey
from heatpoint.synthetic.figures import write_figures
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.training.options import TrainOptions
from heatpoint.training.recipe import Recipe
from heatpoint.training.state import load_resume
from heatpoint.weights.packages import BACKBONES, Package
from heatpoint.zoo import build
from heatpoint.zoo.backbone_weights import trunk_of

CPU = Machine("cpu", 2, 8 * 2**30, bf16=False)
GPU = Machine("cuda", 16, 128 * 2**30, bf16=True)
HANDS = Skeleton(("left_hand", "right_hand"), pairs=((0, 1),))


@pytest.fixture(autouse=True)
def _without_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hides the packages of weights that are installed, and the machine's own numbers."""
    monkeypatch.setattr(Package, "here", False)
    monkeypatch.setattr(Machine, "here", classmethod(lambda cls, accelerator="auto": CPU))


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_shapes(tmp_path_factory.mktemp("shapes"), 30, (96, 96), seed=3))


def drawn(
    side: float, size: tuple[int, int] = (480, 640), pictures: int = 12, per: int = 4
) -> Annotations:
    """Returns data without files: objects of one side in rows, two classes in turn."""
    corners = np.array([(side * 1.1 * i, 0) for i in range(per)], float)
    boxes = np.hstack((corners, corners + side))
    labels = np.arange(per) % 2
    images = [
        ImageRecord(Path(f"{n}.png"), size, boxes.copy(), labels.copy(), image_id=n)
        for n in range(pictures)
    ]
    return Annotations(("cat", "dog"), images, "drawn")


def jointed(share: float = 1.0) -> Annotations:
    """Returns data of which so many objects have joints."""
    data = drawn(100.0)
    for record in data.images:
        record.keypoints = np.zeros((len(record), 2, 3))
        record.keypoints[: round(share * len(record))] = (20.0, 30.0, 2.0)
    return replace(data, skeleton=HANDS)


def surveyed(
    data: Annotations, machine: Machine = CPU, model: str = "centernet_tiny", **more: Any
) -> Survey:
    names = ("cat",) if model.startswith(("pose", "hour")) else data.names
    detector = build(model, names, skeleton=data.skeleton)
    return replace(Survey(machine, data, len(data), 10, detector), **more)


def said(name: str, survey: Survey, **given: Any) -> Any:
    recipe = Recipe("drawn", "drawn", **given)
    value, why = rules.RULES[name](recipe, survey)
    assert why.strip() or value is None
    assert len(why) < 250
    return value


@pytest.mark.parametrize(
    ("side", "machine", "size"),
    [
        (300.0, CPU, (224, 288)),  # large: the least that is worth it, in the pictures' shape
        (80.0, CPU, (288, 384)),  # 48 pixels there
        (30.0, CPU, (320, 448)),  # never as clear: the most that is worth it
        (300.0, GPU, (320, 416)),
        (30.0, GPU, (448, 576)),
    ],
)
def test_size_follows_the_objects(side: float, machine: Machine, size: tuple[int, int]) -> None:
    data = drawn(side, per=2 if side > 100 else 6)
    assert said("size", surveyed(data, machine)) == size


def test_pictures_are_not_enlarged_unless_objects_are_tiny() -> None:
    assert said("size", surveyed(drawn(40.0, (96, 96), per=2))) == (96, 96)
    assert said("size", surveyed(drawn(9.0, (96, 96), per=6))) == (192, 192)


def test_a_size_that_loses_objects_is_not_taken() -> None:
    data = drawn(300.0, per=3)
    for record in data.images:  # three that cross, and whose middles lie 7 pixels apart
        middles = np.array([[313.0, 240.0], [320.0, 240.0], [327.0, 240.0]])
        halves = np.array([[150.0, 50.0], [50.0, 150.0], [100.0, 75.0]])
        record.boxes = np.hstack((middles - halves, middles + halves))
        record.labels = np.zeros(3, np.int64)
    survey = surveyed(data)
    assert survey.side((224, 288)) >= sizes.CLEAR
    assert survey.reached((224, 288)) < survey.reached((320, 448)) - sizes.LOST
    assert said("size", survey) > (224, 288)


def test_small_objects_in_large_pictures_are_seen_through_windows() -> None:
    survey = surveyed(drawn(46.0, (640, 640), per=6))
    assert said("window", survey) == 96
    assert said("size", survey, window=64) == (544, 544)
    assert said("batch_size", survey, window=96) == 32
    assert said("eval_every", survey, window=96, size=640, batch_size=32) > 5
    photographs = surveyed(drawn(200.0, (3000, 4000), per=6))
    assert said("window", photographs) == 96
    assert math.prod(said("size", photographs, window=96)) <= sizes.WHOLE["cpu"]
    assert said("window", surveyed(drawn(200.0, per=3))) == 0


def test_batch_and_rate() -> None:
    few, many = surveyed(drawn(100.0)), surveyed(drawn(100.0), pictures=500)
    assert said("batch_size", few) == rules.LEAST_BATCH
    assert (said("batch_size", many), said("batch_size", many, devices=3)) == (8, 9)
    assert said("batch_size", surveyed(drawn(100.0), GPU, pictures=5000)) == 16
    few, many = (surveyed(jointed(), model="pose_tiny", pictures=each) for each in (6, 500))
    sides = {128: 32, 192: 16, 256: 8}
    assert {side: said("batch_size", many, size=side) for side in sides} == sides
    assert said("batch_size", few, size=128) == rules.LEAST_BATCH
    many = surveyed(drawn(100.0), pictures=500)
    assert said("lr", many, batch_size=8) == 6e-3
    assert said("lr", many, batch_size=2) == 3e-3
    for images in ({"batch_size": 8}, {"batch_size": 4, "accumulate": 2}, {"batch_size": 32}):
        assert said("lr", many, backbone_weights="a.pth", **images) == 3e-3
        assert said("lr", many, pretrained=True, **images) == 3e-3
    assert said("lr", many, batch_size=128, optimizer="sgd") == pytest.approx(0.02)
    assert said("lr", many, batch_size=8, weights="a.safetensors") == pytest.approx(1e-3)
    large = surveyed(drawn(100.0), model="centernet_resnet18")
    assert said("lr", large, batch_size=16) == 5e-4
    assert [said("lr", large, batch_size=n, optimizer="muon") for n in (8, 2)] == [2e-3, 1e-3]


def test_layers_are_frozen_where_they_know_something() -> None:
    survey = surveyed(drawn(100.0), model="centernet_mobilenetv2")
    assert said("freeze", survey) == 0
    assert said("freeze", survey, backbone_weights="weights.pth") == 4
    assert said("freeze", survey, pretrained=True) == 4
    assert said("freeze", survey, weights="a.safetensors") == 0
    assert said("freeze", surveyed(drawn(100.0)), pretrained=True) in (0, 4)


def test_the_end_of_a_run() -> None:
    assert said("minutes", surveyed(drawn(100.0), pictures=300)) == 15
    assert said("minutes", surveyed(drawn(100.0), pictures=1200)) == 30
    assert said("epochs", surveyed(drawn(100.0)), minutes=15) is None
    assert said("minutes", surveyed(drawn(100.0), GPU)) is None
    fast = surveyed(drawn(100.0), GPU, pictures=1600)
    assert said("epochs", fast, batch_size=16) == 60
    assert said("epochs", surveyed(drawn(100.0), GPU, pictures=10**6), batch_size=16) == 24
    assert said("augment", fast) == "mild"
    assert said("augment", surveyed(drawn(100.0), pictures=5000)) == "published"


def test_machine() -> None:
    survey, single = surveyed(drawn(100.0)), surveyed(drawn(100.0), replace(CPU, cores=1))
    assert (said("threads", survey), said("workers", survey)) == (2, 1)
    assert (said("threads", single), said("workers", single)) == (1, 0)
    assert said("threads", replace(survey, machine=replace(CPU, crowded=True))) == 1
    assert (said("threads", survey, devices=2), said("workers", survey, devices=2)) == (1, 0)
    fast = surveyed(drawn(100.0), GPU)
    assert (said("workers", fast), said("precision", fast)) == (8, "bf16")
    assert said("precision", survey) == "fp32"
    assert said("cache", survey) == 0.1
    assert said("cache", surveyed(drawn(100.0), pictures=10**5)) == 0


def test_jpeg_files_of_photographs_are_kept_as_small_as_they_are_decoded() -> None:
    photographs = surveyed(drawn(1000.0, (3024, 4032), pictures=400, per=2))
    assert said("cache", photographs, size=384) == 0
    for record in photographs.sample.images:
        record.path = record.path.with_suffix(".JPG")
    quarter = 400 * 3 * (3024 // 4) * (4032 // 4)
    assert said("cache", photographs, size=384) == pytest.approx(quarter / 2**30, abs=0.1)
    assert said("cache", photographs, size=(1536, 2048)) == 0


def test_joints_are_what_most_objects_have() -> None:
    whole = replace(surveyed(jointed()), detector=None)
    assert said("model", whole, model="") == "pose_tiny"
    assert said("model", whole, model="", pretrained=True) == "pose_mobilenetv2"
    some = replace(surveyed(jointed(0.25)), detector=None)
    value, why = rules.model(Recipe("d", "v", model=""), some)
    assert value == "centernet_tiny"
    assert "25% of the objects have joints" in why
    crops = surveyed(jointed(), model="pose_tiny")
    assert said("size", crops) == (128, 128)
    assert said("window", crops) == 0
    assert crops.examples == 48


def test_weights_that_are_here_choose_the_trunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    survey = replace(surveyed(drawn(100.0)), detector=None)
    assert said("backbone_weights", survey, model="") == ""
    assert said("model", survey, model="") == "centernet_tiny"
    monkeypatch.setattr(Package, "here", True)
    name = next(iter(BACKBONES))
    assert said("backbone_weights", survey, model="") == f"package:{name}"
    assert said("backbone_weights", survey, model="centernet_tiny") == ""
    assert said("backbone_weights", survey, model="", pretrained=True) == ""
    given = {"model": "", "backbone_weights": f"package:{name}"}
    assert said("model", survey, **given) == "centernet_mobilenetv2"
    path = tmp_path / "resnet18.pth"
    torch.save(timm.create_model("resnet18").state_dict(), path)
    given = {"model": "", "backbone_weights": str(path)}
    assert said("model", survey, **given) == "centernet_topdown:resnet18"
    torch.save({"a.weight": torch.zeros(1)}, path)
    with pytest.raises(HeatpointError, match="say with model which one is trained"):
        trunk_of(path)


def test_films_stay_together() -> None:
    films = [f"film{n}_{frame:04}.jpg" for n in "abcde" for frame in range(8)]
    assert len(set(films_of(films) or ())) == 5
    assert films_of([f"img{n:05}.jpg" for n in range(50)]) is None
    assert films_of([f"{name}.jpg" for name in ("cat", "dog", "cow")]) is None
    copies = [f"{n}_jpg.rf.{n:08x}{copy:08x}.jpg" for n in range(9) for copy in range(3)]
    assert len(set(films_of(copies) or ())) == 9
    data = drawn(100.0, pictures=40)
    for name, record in zip(films, data.images, strict=True):
        record.path = Path(name)
    parts = parts_of(TrainOptions(data))
    assert "films" in parts.why
    sides = [{record.path.name[:5] for record in part.images} for part in (parts.train, parts.val)]
    assert not sides[0] & sides[1]
    assert len(parts.val) == 8
    # Groups that are classes leave one of them out, so that chance divides.
    for number, record in enumerate(data.images):
        record.labels = np.full(4, number // 20)
    for name, record in zip(sorted(films), data.images, strict=True):
        record.path = Path(("cat" if record.labels[0] == 0 else "dog") + name)
    again = parts_of(TrainOptions(data))
    assert all(again.val.counts().values())


def test_parts_are_even_and_reproducible(shapes: str) -> None:
    whole = read(shapes)
    one, two = parts_of(TrainOptions(whole)), parts_of(TrainOptions(whole))
    assert one.held_out
    assert [r.path for r in one.val.images] == [r.path for r in two.val.images]
    other = parts_of(TrainOptions(whole, seed=1))
    assert [r.path for r in one.val.images] != [r.path for r in other.val.images]
    assert 3 <= len(one.val) <= 9
    assert len(one.train) + len(one.val) == 30
    assert all(one.val.counts().values())
    three = parts_of(TrainOptions(whole.subset(range(3))))
    assert (len(three.train), len(three.val)) == (2, 1)
    with pytest.raises(HeatpointError, match="has one picture"):
        parts_of(TrainOptions(whole.subset([0])))


def test_splits_of_the_data_are_taken(
    tmp_path: Path, shapes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(shapes).parents[1])  # where files may name pictures of other folders
    whole = read(shapes)
    for name, part in (("train", range(20)), ("valid", range(20, 30))):
        (tmp_path / name).mkdir()
        write_coco(whole.subset(part), tmp_path / name / "_annotations.coco.json")
    parts = parts_of(TrainOptions(str(tmp_path)))
    assert (len(parts.train), len(parts.val), parts.held_out) == (20, 10, False)
    assert parts.value == f"{tmp_path}:valid"
    parts = parts_of(TrainOptions(f"{tmp_path}:train"))
    assert (len(parts.train), len(parts.val)) == (20, 10)
    for name in ("train", "val"):
        write_coco(whole.subset(range(5)), tmp_path / f"my_{name}.json")
    parts = parts_of(TrainOptions(str(tmp_path / "my_train.json")))
    assert parts.value == str(tmp_path / "my_val.json")


def test_what_the_user_says_stands(shapes: str, tmp_path: Path) -> None:
    given = {"model": "centernet_tiny", "size": 64, "lr": 1e-4, "batch_size": 3, "epochs": 2}
    given |= {"augment": "none", "window": 0, "backbone_weights": "none", "ema": 0.5}
    drawn_up = heatpoint.plan(shapes, shapes, out=str(tmp_path / "run"), **given)
    recipe = drawn_up.recipe
    assert {name: getattr(recipe, name) for name in given} == given | {"backbone_weights": ""}
    assert recipe.minutes is None
    reasons = {row.name: row.why for row in drawn_up.rows}
    assert all(reasons[name] == "given" for name in given)
    assert reasons["val"] == "given"
    assert reasons["warmup"] != "given"
    assert not (tmp_path / "run").exists()
    text = str(drawn_up)
    assert "30 pictures" in text.splitlines()[0]
    assert "5 classes" in text.splitlines()[0]
    assert all(len(line) <= 120 for line in text.splitlines()[1:-1])


def repeated(plan: Plan, folder: Path) -> Recipe:
    file = folder / "plan.yaml"
    file.write_text(plan.yaml(), encoding="utf-8")
    return draw_up(parse(["--config", str(file)], "train", TrainOptions)).recipe


@pytest.mark.parametrize("joints", [False, True])
def test_a_plan_is_repeated_by_its_file(tmp_path: Path, joints: bool) -> None:
    write = write_figures if joints else write_shapes
    data = str(write(tmp_path / "data", 6, (64, 64), seed=1))
    plan = draw_up(TrainOptions(data, data, size=(64, 128), flip=0.25, quarter_turns=not joints))
    again = repeated(plan, tmp_path)
    for name, value in vars(plan.recipe).items():
        expected = data if name in ("data", "val") else value
        found = getattr(again, name)
        assert getattr(found, "source", found) == expected, name
    assert plan.recipe.model == ("pose_tiny" if joints else "centernet_tiny")


def test_a_run_is_planned_saved_and_resumed(
    shapes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    choice = {"out": str(out), "size": 32, "epochs": 2, "pictures": False, "workers": 0}
    heatpoint.train(shapes, stop_after=1, **choice)
    text = capsys.readouterr().out
    assert text.startswith("plan: ")
    assert "held out by chance (seed 0)" in text
    pictures = Path(shapes).parent / "images"
    parts = [read(out / name, pictures) for name in ("train.json", "val.json")]
    assert sum(map(len, parts)) == 30
    assert not {r.path.name for r in parts[0].images} & {r.path.name for r in parts[1].images}
    assert (out / "plan.yaml").read_text().startswith("# written by heatpoint ")
    saved = load_resume(out / "resume.pt")["options"]
    recipe = recalled(TrainOptions(shapes, out=str(out), resume=True))
    assert (recipe.data, recipe.val) == (str(out / "train.json"), str(out / "val.json"))
    assert (recipe.lr, recipe.batch_size, recipe.size) == (saved["lr"], saved["batch_size"], 32)
    longer = recalled(TrainOptions(shapes, out=str(out), resume=True, epochs=3, lr=1.0))
    assert (longer.epochs, longer.minutes, longer.lr) == (3, None, 1.0)
    result = heatpoint.train(shapes, resume=True, out=str(out), size=32, pictures=False)
    assert result.finished
    assert "plan:" not in capsys.readouterr().out
    with pytest.raises(HeatpointError, match="already holds a run"):
        heatpoint.train(shapes, **choice)


def test_files_of_the_user_are_not_replaced(shapes: str, tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text("{}")
    with pytest.raises(HeatpointError, match="not written as such by heatpoint"):
        heatpoint.train(shapes, out=str(tmp_path), epochs=1)
    assert (tmp_path / "train.json").read_text() == "{}"


def test_mistakes_come_before_the_plan(shapes: str, tmp_path: Path) -> None:
    with pytest.raises(HeatpointError, match="next legal size"):
        heatpoint.plan(shapes, size=50)
    with pytest.raises(HeatpointError, match="option of models that look at crops"):
        heatpoint.plan(shapes, half_body=0.5)
    with pytest.raises(HeatpointError, match="batch_size must be at least 1"):
        heatpoint.plan(shapes, batch_size=0)
    with pytest.raises(HeatpointError, match="does not exist"):
        heatpoint.plan(str(tmp_path / "nowhere.json"))
    empty = replace(
        read(shapes), images=[r.keep(np.zeros(len(r), bool)) for r in read(shapes).images]
    )
    with pytest.raises(HeatpointError, match="no object to learn from"):
        heatpoint.plan(empty)


def test_weights_of_another_model_are_refused(shapes: str, tmp_path: Path) -> None:
    path = tmp_path / "sides.safetensors"  # its maps have the names and sizes of a centernet's
    build("ttfnet_tiny", ["a"]).save(path)
    with pytest.raises(HeatpointError, match="is of ttfnet_tiny, not of centernet_tiny; leave out"):
        heatpoint.plan(shapes, model="centernet_tiny", weights=str(path))
    assert heatpoint.plan(shapes, model="ttfnet_tiny", weights=str(path)).recipe.weights


def test_data_that_is_joined_or_divided_is_not_replaced(shapes: str, tmp_path: Path) -> None:
    data = tmp_path / "options.json"  # a name that the run writes, too
    write_coco(read(shapes), data)
    before, pictures = data.read_bytes(), str(Path(shapes).parent / "images")
    for given in ([str(data)], [str(data), shapes]):
        drawn_up = draw_up(TrainOptions(given, out=str(tmp_path), images=pictures))
        with pytest.raises(HeatpointError, match=r"options\.json"):
            drawn_up.save()
    assert data.read_bytes() == before
