"""What an exported file says about itself: there and back, and what is said of a bad one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from heatpoint import __version__
from heatpoint.data.skeleton import Skeleton
from heatpoint.engines.description import EXPORT_VERSION, Description
from heatpoint.errors import HeatpointError

BOXES = Description(
    task="boxes",
    names=("cat", "Schöner Hund"),
    size=(383, 511),
    multiple=128,
    trim=1,
    dynamic=False,
    batch=4,
    max_detections=70,
    sigma=0.5,
    flip=True,
    precision="int8",
    architecture="cornernet_tiny",
)
JOINTS = Description(
    task="pose",
    names=("mouse",),
    size=(256, 192),
    multiple=32,
    max_detections=0,
    architecture="pose_tiny",
    padding=1.1,
    skeleton=Skeleton(("nose", "left_ear", "right_ear"), ((0, 1), (0, 2)), pairs=((1, 2),)),
)


def changed(**fields: object) -> str:
    return json.dumps(json.loads(BOXES.to_json()) | fields)


def without(field: str) -> str:
    return json.dumps({k: v for k, v in json.loads(BOXES.to_json()).items() if k != field})


@pytest.mark.parametrize("about", [BOXES, JOINTS], ids=["boxes", "joints"])
def test_what_is_written_is_read(about: Description) -> None:
    back = Description.from_json(about.to_json(), "a.onnx")
    assert back == about
    # As equal says nothing about a list in place of a tuple, which would not go into a dict.
    assert hash(back) == hash(about)
    assert back.to_json() == about.to_json()


def test_every_field_differs_from_its_default_in_one_of_the_two() -> None:
    # Or the round trip could drop a field unseen.
    for field in dataclasses.fields(Description):
        values = [getattr(about, field.name) for about in (BOXES, JOINTS)]
        assert any(value != field.default for value in values), field.name


def test_the_text_is_json_that_names_the_version() -> None:
    plain = json.loads(JOINTS.to_json())
    assert plain["version"] == EXPORT_VERSION
    assert plain["heatpoint"] == __version__
    assert plain["skeleton"]["joints"] == ["nose", "left_ear", "right_ear"]
    assert plain["size"] == [256, 192]
    assert json.loads(BOXES.to_json())["skeleton"] is None


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
        without("version"),
        without("heatpoint"),
        changed(version="new"),
        changed(version=None),
        changed(names=None),
        changed(size=[4]),
        changed(size=5),
        changed(precision="int4"),
    ],
)
def test_a_damaged_description(text: str) -> None:
    with pytest.raises(HeatpointError, match=r"'heatpoint' of a\.xml is damaged; export"):
        Description.from_json(text, "a.xml")


def test_a_newer_description_is_refused_whatever_it_holds() -> None:
    later = EXPORT_VERSION + 1
    for text in (changed(version=later), changed(version=later, rotation=90)):
        with pytest.raises(
            HeatpointError,
            match=rf"a\.onnx has export version {later}.* up to {EXPORT_VERSION}; install a newer",
        ):
            Description.from_json(text, "a.onnx")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (without("trim"), "trim"),
        (changed(rotation=90), "rotation"),
        (json.dumps(json.loads(without("trim")) | {"rotation": 90}), "rotation, trim"),
    ],
)
def test_other_fields_are_named(text: str, named: str) -> None:
    with pytest.raises(HeatpointError, match=f"differs from version {EXPORT_VERSION} in {named};"):
        Description.from_json(text, "a.onnx")


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
    assert BOXES.outputs == ("boxes", "scores", "labels")
    assert JOINTS.outputs == ("points", "scores")
    assert BOXES.called == "this detector (cornernet_tiny)"
    assert "no known architecture" in dataclasses.replace(BOXES, architecture="").called
