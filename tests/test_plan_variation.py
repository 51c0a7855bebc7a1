"""Rules of a plan about how pictures vary, and what it leaves to the user."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_plan import GPU, drawn, jointed, surveyed

import heatpoint
from heatpoint.codecs.quads import QuadCodec
from heatpoint.planning import variation
from heatpoint.planning.learning import LITTLE, SHORT, heatmap_bias, lr, optimizer, schedule
from heatpoint.planning.sheet import hints
from heatpoint.planning.variation import find_upright, flip, margin, mosaic, repeat_rare
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.training.recipe import Recipe
from heatpoint.training.state import load_resume, save_resume
from heatpoint.zoo import build

OPEN = Recipe("d", "v")


@pytest.mark.parametrize(("moved", "value"), [(0, 0.0), (1, variation.MARGIN)])
def test_a_margin_shows_where_pictures_end_that_cut_objects(moved: int, value: float) -> None:
    data = drawn(100.0, pictures=40)
    for record in data.images[moved:]:
        record.boxes = record.boxes + 20
    decided = margin(OPEN, surveyed(data))
    assert decided.value == value
    share = moved / len(data)
    assert f"edges cut {share:.0%} of the objects" in decided.why


@pytest.mark.parametrize(("model", "value"), [("pose_tiny", None), ("centerpose_tiny", 4.0)])
def test_margins_are_for_whole_pictures(model: str, value: float | None) -> None:
    assert margin(OPEN, surveyed(jointed(), model=model)).value == value


def test_few_pictures_are_asked_whether_they_have_an_upright() -> None:
    assert find_upright(OPEN, surveyed(drawn(100.0))).value is True
    many = surveyed(drawn(100.0, pictures=variation.FEW))
    assert find_upright(OPEN, many).value is False


@pytest.mark.parametrize("given", [{"flip": 0.0}, {"flip_vertical": True}, {"quarter_turns": True}])
def test_what_the_user_says_of_mirror_images_decides(given: dict[str, float]) -> None:
    recipe = Recipe("d", "v", **given)  # type: ignore[arg-type]
    assert find_upright(recipe, surveyed(drawn(100.0))).value is False


def test_what_has_a_first_corner_is_not_mirrored() -> None:
    survey = surveyed(drawn(100.0), model="quads_tiny")
    names = survey.sample.names
    trained = build("quads_tiny", names, codec=QuadCodec(len(names), order="own"))
    handed = replace(survey, detector=trained)
    assert [find_upright(OPEN, each).value for each in (survey, handed)] == [True, False]
    sides = replace(survey.sample, names=("left", "right"))
    values = (flip(OPEN, replace(each, sample=sides)).value for each in (survey, handed))
    assert list(values) == [0.0, None]  # None: training mirrors nothing as it is
    (hint,) = hints(Recipe("d", "v"), handed)
    assert "--rotate 180 helps" in hint


def test_windows_are_not_turned() -> None:
    assert find_upright(Recipe("d", "v", window=96), surveyed(drawn(100.0))).value is False


@pytest.mark.parametrize("names", [("left", "right"), ("6", "9"), ("b", "d")])
def test_classes_that_a_mirror_image_may_change_are_not_turned(names: tuple[str, str]) -> None:
    survey = surveyed(drawn(100.0))
    survey = replace(survey, sample=replace(survey.sample, names=names))
    assert find_upright(OPEN, survey).value is False


@pytest.mark.parametrize("model", ["pose_tiny", "centerpose_tiny"])
def test_joints_are_not_turned(model: str) -> None:
    assert find_upright(OPEN, surveyed(jointed(), model=model)).value is False


@pytest.mark.parametrize(("count", "share"), [(1, variation.RARE), (3, variation.RARE), (4, 0.0)])
def test_rare_classes_come_more_often(count: int, share: float) -> None:
    data = drawn(100.0, pictures=40)
    for number, record in enumerate(data.images):
        record.labels = np.where(number < count, record.labels, 0)
    decided = repeat_rare(OPEN, surveyed(data))
    assert decided.value == share
    assert f"dog is in {count} of 40 pictures" in decided.why


@pytest.mark.parametrize("model", ["centernet_tiny", "quads_tiny"])
@pytest.mark.parametrize(("per", "share"), [(1, 0.5), (4, 0.5), (variation.CROWD, 0.0)])
def test_pictures_of_few_objects_are_put_together(per: int, share: float, model: str) -> None:
    data = drawn(40.0, per=per)
    decided = mosaic(OPEN, surveyed(data, model=model))
    assert decided.value == share
    assert f"{per}" in decided.why
    for record in data.images:  # a crowd is nothing that is learnt
        record.crowd = np.ones(len(record), bool)
        record.crowd[0] = False
    assert mosaic(OPEN, surveyed(data)).value == 0.5


@pytest.mark.parametrize("given", [{"window": 96}, {"augment": "none"}])
def test_pictures_that_are_shown_otherwise_are_not_put_together(given: dict[str, object]) -> None:
    recipe = Recipe("d", "v", **given)  # type: ignore[arg-type]
    assert mosaic(recipe, surveyed(drawn(100.0))).value == 0


@pytest.mark.parametrize("model", ["pose_tiny", "points_tiny", "saccade_tiny"])
def test_crops_points_and_looks_are_not_put_together(model: str) -> None:
    data = jointed() if model.startswith("pose") else drawn(100.0)
    assert mosaic(OPEN, surveyed(data, model=model)).value == 0


def test_people_in_whole_pictures_are_put_together() -> None:
    assert mosaic(OPEN, surveyed(jointed(), model="centerpose_tiny")).value == 0.5


def test_many_pictures_are_not_put_together() -> None:
    many = surveyed(drawn(100.0, pictures=variation.FEW))
    assert mosaic(OPEN, many).value == 0


def test_a_class_without_an_object_is_not_rare() -> None:
    data = drawn(100.0, pictures=40)
    for record in data.images:
        record.labels = np.zeros_like(record.labels)
    assert repeat_rare(OPEN, surveyed(data)).value == 0


@pytest.mark.parametrize(
    ("model", "of_few", "of_many"),
    [
        ("centernet_tiny", "cooldown", "cooldown"),
        ("cornernet_tiny", "cooldown", "cooldown"),
        ("quads_tiny", "cooldown", "cooldown"),
        ("points_tiny", "cooldown", "cooldown"),
        ("centerpose_tiny", "cooldown", "cooldown"),
        ("pose_tiny", "cosine", "cooldown"),
    ],
)
def test_the_schedule_follows_what_is_learnt(model: str, of_few: str, of_many: str) -> None:
    few = jointed() if "pose" in model else drawn(100.0)
    many = replace(few, images=(few.images * variation.FEW)[: variation.FEW])
    survey = surveyed(few, model=model)
    assert schedule(OPEN, survey).value == of_few
    assert schedule(OPEN, surveyed(many, model=model)).value == of_many
    assert schedule(Recipe("d", "v", steps=(90, 120)), survey).value == "steps"


@pytest.mark.parametrize(
    ("model", "of_few", "of_many"),
    [
        ("points_tiny", "muon", "muon"),
        ("pose_tiny", "adamw", "muon"),
        ("centernet_dla34", "muon", "muon"),
        ("pose_resnet50", "adamw", "adamw"),  # takes a processor too long
    ],
)
def test_the_optimiser_follows_the_network_and_its_data(
    model: str, of_few: str, of_many: str
) -> None:
    few = jointed() if "pose" in model else drawn(100.0)
    many = replace(few, images=(few.images * variation.FEW)[: variation.FEW])
    assert optimizer(OPEN, surveyed(few, model=model)).value == of_few
    assert optimizer(OPEN, surveyed(many, model=model)).value == of_many
    assert optimizer(replace(OPEN, weights="a.safetensors"), surveyed(many)).value == "adamw"
    large = surveyed(drawn(100.0), model="centernet_resnet18")
    deep = surveyed(many, model="ttfnet_darknet53", machine=GPU)
    assert optimizer(OPEN, deep).value == "muon"
    begun = replace(OPEN, pretrained=True, batch_size=16)
    assert optimizer(begun, large).value == "adamw"
    assert lr(replace(begun, optimizer="muon"), large).value == 5e-4
    stack = surveyed(jointed(), model="hourglass_1stack")
    assert lr(replace(OPEN, optimizer="muon", batch_size=32), stack).value == 2e-3


@pytest.mark.parametrize("model", ["centernet_tiny", "points_tiny", "quads_tiny", "cornernet_tiny"])
def test_heatmaps_begin_lower_where_objects_of_a_class_are_rarer(model: str) -> None:
    data = drawn(30.0)
    many = replace(data, names=tuple(f"class {n}" for n in range(100)), category_ids=())
    few, rare = (
        heatmap_bias(replace(OPEN, size=256), surveyed(each, model=model)).value
        for each in (data, many)
    )
    assert -3.5 < few < -2  # four objects of two classes in 64 x 64 cells
    assert rare == pytest.approx(few - math.log(50) / 3, abs=0.1)  # a 50th of the peaks
    windows = replace(OPEN, size=256, window=96)
    window = heatmap_bias(windows, surveyed(data, model=model)).value
    assert window > few
    empty = [each.keep(np.arange(len(each)) < 0) for each in data.images]
    tenth = replace(data, images=data.images + 9 * empty)
    apart = heatmap_bias(windows, surveyed(tenth, model=model)).value
    assert apart == pytest.approx(window - math.log(10) / 3, abs=0.1)


def test_heatmaps_that_hold_no_classes_begin_as_they_do() -> None:
    assert heatmap_bias(OPEN, surveyed(jointed(), model="pose_tiny")).value is None
    assert heatmap_bias(OPEN, surveyed(drawn(30.0), model="ttfnet_darknet53")).value is None


def test_heatmaps_of_weights_begin_anew_for_new_classes_alone(tmp_path: Path) -> None:
    build("centernet_tiny", ("cat", "dog", "cow")).save(tmp_path / "a.safetensors")
    begun, data = replace(OPEN, weights=str(tmp_path / "a.safetensors")), drawn(30.0)
    assert heatmap_bias(begun, surveyed(data)).value is None
    other = replace(data, names=("cat", "sheep"))
    assert heatmap_bias(begun, surveyed(other)).value == heatmap_bias(OPEN, surveyed(data)).value


def test_imagenet_weights_keep_adamw_where_little_is_learnt() -> None:
    survey = surveyed(drawn(100.0, pictures=40))
    begun = replace(OPEN, backbone_weights="trunk.pth")
    edge = 32 * math.ceil((LITTLE / 40) ** 0.5 / 32)
    assert optimizer(replace(begun, size=edge), survey).value == "muon"
    assert optimizer(replace(begun, size=edge - 32), survey).value == "adamw"
    assert optimizer(replace(begun, size=edge, window=96), survey).value == "adamw"
    assert optimizer(replace(OPEN, size=edge - 32), survey).value == "muon"  # from nothing
    for minutes, wanted in ((SHORT, "muon"), (SHORT / 2, "adamw")):
        short = replace(OPEN, size=edge, pretrained=True, minutes=minutes)
        assert optimizer(short, survey).value == wanted
        assert optimizer(replace(short, pretrained=False), survey).value == "muon"
    gpu = replace(survey, machine=replace(survey.machine, device="cuda"))
    assert optimizer(replace(short, minutes=1), gpu).value == "muon"


def test_a_run_goes_on_with_the_schedule_and_data_that_it_began_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes, out = str(write_shapes(tmp_path / "shapes", 12, (64, 64), seed=3)), tmp_path / "run"
    choice = {"size": 32, "pictures": False, "workers": 0}
    heatpoint.train(shapes, out=str(out), epochs=2, stop_after=1, schedule="cosine", **choice)
    told = "goes on with"
    assert told not in capsys.readouterr().out
    assert heatpoint.train(shapes, out=str(out), resume=True, **choice).finished
    assert told in capsys.readouterr().out  # for a part was held out
    assert load_resume(out / "resume.pt")["options"]["schedule"] == "cosine"
    parts = [str(out / name) for name in ("train.json", "val.json")]
    images = {"images": str(tmp_path / "shapes"), "val_images": str(tmp_path / "shapes")}
    heatpoint.train(*parts, **images, out=str(out), epochs=3, resume=True, **choice)
    assert told not in capsys.readouterr().out


def test_a_run_that_began_before_these_options_goes_on(tmp_path: Path) -> None:
    shapes, out = str(write_shapes(tmp_path / "shapes", 12, (64, 64), seed=3)), tmp_path / "run"
    choice = {"size": 32, "pictures": False, "workers": 0}
    heatpoint.train(shapes, out=str(out), epochs=2, stop_after=1, **choice)
    state = load_resume(out / "resume.pt")
    state["detector"] = json.dumps(state["detector"])
    del state["format"], state["position"]["turns"]
    for name in ("find_upright", "repeat_rare"):
        del state["options"][name]
    save_resume(out / "resume.pt", state)
    assert heatpoint.train(shapes, out=str(out), resume=True, **choice).finished
    saved = load_resume(out / "resume.pt")["options"]
    assert (saved["find_upright"], saved["repeat_rare"]) == (False, 0.0)


@pytest.mark.parametrize(
    ("names", "is_mirrored"),
    [
        (("shoe", "hat"), True),
        (("left_shoe", "right_shoe"), False),
        (("hat", "turn-left"), False),
        (("a", "B"), False),
        (("A", "shoe"), True),
        (tuple("0123456789"), False),
        (tuple("123456"), True),  # of dice, or of classes without a name
        (("letter", "light"), True),
    ],
)
def test_nothing_is_mirrored_that_would_be_another_class(
    names: tuple[str, ...], is_mirrored: bool
) -> None:
    survey = surveyed(drawn(100.0))
    ids = tuple(range(1, len(names) + 1))
    survey = replace(survey, sample=replace(survey.sample, names=names, category_ids=ids))
    assert flip(OPEN, survey).value == (None if is_mirrored else 0.0)


def test_hints() -> None:
    survey = surveyed(drawn(100.0))
    assert any("--flip-vertical" in hint for hint in hints(Recipe("d", "v"), survey))
    assert not hints(Recipe("d", "v", find_upright=True), survey)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("pictures", [variation.FEW - 1, variation.FEW])
def test_larger_models_are_named_where_a_gpu_has_much_to_learn(device: str, pictures: int) -> None:
    survey = surveyed(drawn(100.0, pictures=pictures))
    survey = replace(survey, machine=replace(survey.machine, device=device))
    is_said = device == "cuda" and pictures == variation.FEW
    assert any("larger model" in hint for hint in hints(OPEN, survey)) is is_said
    assert not any("larger model" in hint for hint in hints(OPEN, survey, is_planned=False))
    trained = Recipe("d", "v", weights="mine.safetensors")
    assert not any("larger model" in hint for hint in hints(trained, survey))
