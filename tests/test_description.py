"""What an exported file says about itself: there and back, and what is said of a bad one."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from heatpoint import __version__, zoo
from heatpoint.data.skeleton import SKELETONS, Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.inference.engines.description import EXPORT_VERSION, Description
from heatpoint.inference.engines.torch import describe
from heatpoint.views.fields import BOXES as BOX
from heatpoint.views.fields import LABELS, SCORES, Field, Suppression
from heatpoint.views.pictures import Crops, Picture

BOXES = Description(
    names=("cat", "Schöner Hund"),
    size=(383, 511),
    multiple=128,
    trim=1,
    answer=(BOX, SCORES, LABELS, Field("corner_scores", (2,))),
    rows=70,
    capacity=35,
    suppression=Suppression(0.5, "corner_scores"),
    dynamic=False,
    batch=4,
    flip=True,
    precision="int8",
    bits=12,
    channels=5,
    dtype="uint16",
    architecture="cornernet_tiny",
    least=0.25,
)
JOINTS = Description(
    names=("mouse",),
    size=(256, 192),
    multiple=32,
    answer=(Field("keypoints", (3, 3), "points"), SCORES),
    rows=1,
    view="Crops",
    settings={"padding": 1.1},
    architecture="pose_tiny",
    skeleton=Skeleton(("nose", "left_ear", "right_ear"), ((0, 1), (0, 2)), pairs=((1, 2),)),
)
BOTH = pytest.mark.parametrize("about", [BOXES, JOINTS], ids=["boxes", "joints"])


def plain_of(about: Description) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(about.to_json())
    return plain


def changed(**fields: object) -> str:
    return json.dumps(plain_of(BOXES) | fields)


def without(*names: str, about: Description = BOXES) -> str:
    return json.dumps({k: v for k, v in plain_of(about).items() if k not in names})


@BOTH
def test_what_is_written_is_read(about: Description) -> None:
    back = Description.from_json(about.to_json(), "a.onnx")
    assert back == about
    for field in dataclasses.fields(Description):
        # A list in place of a tuple would make another view, say.
        assert type(getattr(back, field.name)) is type(getattr(about, field.name)), field.name
    assert back.to_json() == about.to_json()


@pytest.mark.parametrize("name", ["centernet_tiny", "cornernet_tiny", "pose_tiny"])
@pytest.mark.parametrize("flip", [False, True])
def test_what_models_say_is_read(name: str, flip: bool) -> None:
    names = ["mouse"] if name == "pose_tiny" else ["cat", "dog"]
    detector = zoo.build(name, names, skeleton=SKELETONS["lsp14"])
    about = describe(detector, flip=flip, max_detections=250)
    assert Description.from_json(about.to_json(), "a.onnx") == about
    assert about.rows == detector.codec.with_rows(250).rows(flip)
    assert about.answer == detector.codec.answer


@pytest.mark.parametrize(
    ("name", "own", "most"),
    [
        ("centernet_tiny", 100, 100),
        ("centernet_tiny", 300, 300),  # what it was trained to find is what it answers
        ("centernet_tiny", 20, 100),
        ("cornernet_tiny", 1000, 100),  # pairs, not objects
        ("points_tiny", 2000, 2000),
    ],
)
def test_as_many_results_as_a_model_can_find(name: str, own: int, most: int) -> None:
    detector = zoo.build(name, ["cat", "dog"], choices={"max_detections": own})
    about = describe(detector)
    assert about.most == most
    old = dataclasses.replace(about, capacity=Description.capacity)  # a file from before
    assert old.most == (most if name == "points_tiny" else 100)


def test_every_field_differs_from_its_default_in_one_of_the_two() -> None:
    # Or the round trip could drop a field unseen.
    for field in dataclasses.fields(Description):
        values = [getattr(about, field.name) for about in (BOXES, JOINTS)]
        assert field.name == "older" or any(value != field.default for value in values), field.name


def test_the_text_is_json_that_names_the_version() -> None:
    plain = plain_of(JOINTS)
    assert plain["version"] == EXPORT_VERSION
    assert plain["heatpoint"] == __version__
    assert plain["skeleton"]["joints"] == ["nose", "left_ear", "right_ear"]
    assert plain["size"] == [256, 192]
    assert plain["answer"][0] == {"name": "keypoints", "tail": [3, 3], "kind": "points"}
    assert plain_of(BOXES)["skeleton"] is None
    assert "older" not in plain


@pytest.mark.parametrize("text", [None, ""])
def test_a_file_without_a_description(text: str | None) -> None:
    with pytest.raises(HeatpointError, match=r"other\.onnx does not say .*'heatpoint'.* again"):
        Description.from_json(text, Path("other.onnx"))


@pytest.mark.parametrize(
    "text",
    [
        BOXES.to_json()[:-5],
        "nonsense",
        "[]",
        "5",
        "null",
        "{}",
        "[" * 100_000,
        without("version"),
        without("names"),
        without("size"),
        without("multiple"),
        changed(version="new"),
        changed(version=None),
        changed(version=True),
        changed(names=None),
        changed(names="cat"),
        changed(size=[4]),
        changed(size=5),
        changed(precision="int4"),
        changed(answer=[]),
        changed(answer=plain_of(BOXES)["answer"][:1]),
        changed(answer=plain_of(BOXES)["answer"] * 2),
        changed(answer=plain_of(JOINTS)["answer"]),
        changed(skeleton=plain_of(JOINTS)["skeleton"]),
        json.dumps(plain_of(JOINTS) | {"skeleton": SKELETONS["lsp14"].as_dict()}),
    ],
)
def test_a_damaged_description(text: str) -> None:
    with pytest.raises(HeatpointError, match=r"'heatpoint' of a\.xml is damaged; export"):
        Description.from_json(text, "a.xml")


WRONG: dict[str, tuple[object, ...]] = {
    "names": ([], [1], [None], "cat", 5, None, {}, [["a"]]),
    "size": ([0, 64], [-64, 64], [64, 10**9], [64, 64.0], [64], "64", None, [True, 64], [64] * 3),
    "multiple": (0, -1, 10**9, 1.5, "32", None, True, []),
    "trim": (-1, 128, 10**9, 0.5, "1", None, True),
    "answer": (None, 5, [5], [{}], {}, [None], "boxes", [{"name": 1, "tail": [], "kind": "raw"}]),
    "rows": (0, -1, 10**9, 1.5, "70", None, True, []),
    "capacity": (0, -1, 10**9, 1.5, "70", None, True, []),
    "suppression": (None, 5, "x", {"sigma": 0}, {"sigma": -1}, {"sigma": "a"}, {"weights": 3}),
    "view": (None, 5, [], {}, "Telescope", ""),
    "settings": (None, 5, [], {"padding": None}, {"padding": 0}, {"size": 5}, {"padding": 10**400}),
    "skeleton": (5, "x", [], {"joints": []}, {"joints": 5}, {}),
    "dynamic": (None, 5, "yes", 0, []),
    "batch": (0, -1, 10**9, 1.5, "4", True, []),
    "flip": (None, 5, "yes", 0, []),
    "precision": (None, 5, "", [], "int4"),
    "bits": (0, 17, -1, 1.5, "12", True, []),
    "channels": (0, -1, 10**9, 1.5, "3", None, True, []),
    "dtype": (None, 5, "", "float32", []),
    "architecture": (None, 5, []),
    "least": (-0.1, 1.1, "0.3", True, []),
    "version": (None, "2", 2.0, [], True),
}


@BOTH
@pytest.mark.parametrize("name", WRONG)
def test_any_damaged_value_is_one_sentence(name: str, about: Description) -> None:
    assert WRONG.keys() | {"heatpoint"} == plain_of(about).keys()
    for value in WRONG[name]:
        with pytest.raises(HeatpointError, match=r"a\.xml") as caught:
            Description.from_json(json.dumps(plain_of(about) | {name: value}), "a.xml")
        assert "export" in str(caught.value), value


@BOTH
def test_any_value_at_all_is_read_or_one_sentence(about: Description) -> None:
    for name in plain_of(about):
        for value in (
            None,
            True,
            -1,
            0,
            1,
            0.5,
            10**12,
            1e308,
            "",
            "x",
            [],
            [1],
            [[]],
            {},
            {"a": 1},
        ):
            with suppress(HeatpointError):
                found = Description.from_json(json.dumps(plain_of(about) | {name: value}), "a.xml")
                assert found.natural_view().size == found.size
                found.to_json()


def test_what_is_missing_has_its_default_and_what_is_foreign_is_passed_over() -> None:
    needed = ("names", "size", "multiple", "version")
    optional = plain_of(BOXES).keys() - needed
    found = Description.from_json(without(*optional), "a.onnx")
    assert found == Description(BOXES.names, BOXES.size, BOXES.multiple)
    for name in optional - {"answer"}:
        Description.from_json(without(name), "a.onnx")
    later = changed(version=EXPORT_VERSION + 1, rotation=90, older=True)
    assert Description.from_json(later, "a.onnx") == BOXES


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"view": "Telescope"}, r"through 'Telescope'.*--plugin"),
        ({"settings": {"zoom": 2.0}}, "Picture has no setting 'zoom'"),
        (
            {"answer": [*plain_of(BOXES)["answer"], {"name": "a", "tail": [4], "kind": "spline"}]},
            r"a field's kind is one of .* not 'spline'",
        ),
    ],
)
def test_what_only_a_newer_version_understands_is_named(fields: dict, named: str) -> None:
    with pytest.raises(
        HeatpointError, match=rf"a\.onnx cannot be understood: .*{named}.*install a newer heatpoint"
    ):
        Description.from_json(changed(version=EXPORT_VERSION + 1, **fields), "a.onnx")


def test_an_unsound_skeleton_names_the_file() -> None:
    plain = json.loads(JOINTS.to_json())
    plain["skeleton"]["pairs"] = [[1, 7]]
    with pytest.raises(HeatpointError, match=r"a\.onnx.*pairs"):
        Description.from_json(json.dumps(plain), "a.onnx")


def test_sizes_of_a_fixed_file() -> None:
    BOXES.check_size((383, 511), "a.onnx")
    for size in ((511, 383), (127, 127), (512, 512)):
        found = rf"a\.onnx accepts images of 383x511 .*only, not {size[0]}x{size[1]}; .*--dynamic"
        with pytest.raises(HeatpointError, match=found):
            BOXES.check_size(size, "a.onnx")


@pytest.mark.parametrize(
    ("size", "legal"),
    [
        ((100, 255), "127x255"),
        ((256, 256), "383x383"),
        ((1, 1), "127x127"),
        ((128, 127), "255x127"),
    ],
)
def test_sizes_of_a_file_that_takes_many(size: tuple[int, int], legal: str) -> None:
    about = dataclasses.replace(BOXES, dynamic=True)
    about.check_size((127, 1023), "it")
    found = (
        rf"size {size[0]}x{size[1]} \(height x width\) does not fit it, which needs multiples of "
        f"128 less 1: the next legal size is {legal}$"
    )
    with pytest.raises(HeatpointError, match=found):
        about.check_size(size, "it")
    JOINTS.check_size((64, 32), "it")
    with pytest.raises(HeatpointError, match="multiples of 32: the next legal size is 64x96"):
        JOINTS.check_size((33, 96), "it")


def test_what_messages_and_readers_need() -> None:
    assert (BOXES.finds, JOINTS.finds) == ("boxes", "joints")
    assert BOXES.called == "this detector (cornernet_tiny)"
    assert "no known architecture" in dataclasses.replace(BOXES, architecture="").called
    assert BOXES.natural_view() == Picture((383, 511), 128, 1)
    assert JOINTS.natural_view((64, 64)) == Crops((64, 64), 32, 0, 1.1)
