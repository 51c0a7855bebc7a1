"""Skeletons: names, sides, pairs that a mirror image swaps, and files that hold one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from heatpoint.data.skeleton import SKELETONS, Skeleton, name_side, pairs_by_name, skeleton_of
from heatpoint.errors import HeatpointError


@pytest.mark.parametrize(
    ("name", "joints", "middle"),
    [("coco17", 17, 1), ("mpii16", 16, 4), ("lsp14", 14, 2), ("flic11", 11, 1), ("face5", 5, 1)],
)
def test_shipped_skeletons(name: str, joints: int, middle: int) -> None:
    skeleton = skeleton_of(name)
    assert len(skeleton) == len(skeleton.joints) == joints
    flip = skeleton.flip
    assert [flip[other] for other in flip] == list(range(joints))
    assert skeleton.sides.count("middle") == middle
    assert skeleton.sides.count("left") == skeleton.sides.count("right")
    for one, other in skeleton.pairs:
        assert (skeleton.sides[one], skeleton.sides[other]) == ("left", "right")
        assert skeleton.joints[one].removeprefix("left") == skeleton.joints[other].removeprefix(
            "right"
        )
    assert sorted(skeleton.pairs) == list(pairs_by_name(skeleton.joints))
    reached = {0}
    for _ in skeleton.edges:
        reached |= {end for edge in skeleton.edges if reached & set(edge) for end in edge}
    assert reached == set(range(joints)), "the drawing hangs together"


def test_mpii_and_lsp_flip_as_published() -> None:
    mpii = SKELETONS["mpii16"].flip
    assert mpii == (5, 4, 3, 2, 1, 0, 6, 7, 8, 9, 15, 14, 13, 12, 11, 10)
    assert SKELETONS["lsp14"].flip == (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13)


@pytest.mark.parametrize(
    ("name", "side", "rest"),
    [
        ("left_wrist", "left", "wrist"),
        ("RWrist", "right", "wrist"),
        ("earL", "left", "ear"),
        ("leftear", "left", "ear"),
        ("Right ankle", "right", "ankle"),
        ("paw1LH_top", "left", "paw 1 h top"),
        ("hr_paw", "right", "h paw"),
        ("R2-tip", "right", "2 tip"),
        ("tailBase_top", "middle", "tail base top"),
        ("obsLow_bot", "middle", "obs low bot"),
        ("lankle", "middle", "lankle"),
        ("left_right_line", "middle", "left right line"),
    ],
)
def test_side_of_a_name(name: str, side: str, rest: str) -> None:
    assert name_side(name) == (side, rest)


def test_pairs_of_names_with_numbers() -> None:
    assert pairs_by_name(["LF1", "LF2", "RF2", "RF1"]) == ((0, 3), (1, 2))
    paws = ["paw1LH", "paw2LF", "paw3RF", "paw4RH", "nose", "L5"]
    assert pairs_by_name(paws) == ((0, 3), (1, 2))
    # Two candidates without numbers: nothing tells which, so nothing is paired.
    assert pairs_by_name(["L1a", "L2a", "R3a"]) == ()


def test_sides_come_from_pairs_where_names_are_silent() -> None:
    assert Skeleton(("a", "b", "c"), pairs=((2, 0),)).sides == ("right", "middle", "left")
    assert Skeleton(("r_a", "l_a"), pairs=((0, 1),)).sides == ("right", "left")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((),), "at least one joint"),
        ((("a", "a"),), "joints 0 and 1 of the skeleton are both called 'a'"),
        ((("a", ""),), "joint 1 of the skeleton has an empty name"),
        ((("a", "b"), ((0, 2),)), "indices from 0 to 1"),
        ((("a", "b"), (), ((0, -1),)), "indices from 0 to 1"),
        ((("a", "b"), (), ((1, 1),)), r"mention joint 1 \(b\) twice"),
        ((("a", "b", "c"), (), ((0, 1), (1, 2))), "a flip done twice"),
    ],
)
def test_unsound_skeletons(arguments: tuple, message: str) -> None:
    with pytest.raises(HeatpointError, match=message):
        Skeleton(*arguments)


def test_dictionary_and_file(tmp_path: Path) -> None:
    path = tmp_path / "mouse.json"
    for skeleton in SKELETONS.values():
        path.write_text(json.dumps(skeleton.as_dict()))
        assert Skeleton.load(path) == skeleton
    path.write_text('{"joints": ["nose", "earL", "earR"], "edges": [["nose", "earL"]]}')
    mouse = skeleton_of(path)
    assert mouse == Skeleton(("nose", "earL", "earR"), ((0, 1),), ((1, 2),))
    path.write_text('{"joints": ["earL", "earR"], "pairs": []}')
    assert skeleton_of(path).pairs == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('["a"]', "expected a skeleton"),
        ('{"joints": ["a", "b"], "edges": [["a", "x"]]}', "joint's name or index, got 'x'"),
        ('{"joints": ["a", "b"], "edges": [[0, 1, 2]]}', "expected two joints"),
        ('{"joints": ["a"], "bones": []}', "has no 'bones'"),
        ('{"joints": ["a", "b"], "pairs": [[0, 1], [1, 0]]}', "bad.json: pairs .* twice"),
        ('{"joints": ["a", ', "may be cut off"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(HeatpointError, match=message):
        Skeleton.load(path)


def test_unknown_names() -> None:
    with pytest.raises(HeatpointError, match=r"'coco18' is no skeleton.*did you mean 'coco17'"):
        skeleton_of("coco18")


def test_classes_have_joints_of_their_own() -> None:
    dog = Skeleton(("nose", "left_ear", "right_ear"), ((0, 1), (0, 2)), ((1, 2),))
    car = Skeleton(("bonnet", "nose"), ((0, 1),))
    both = Skeleton.joined(("dog", "car"), (dog, car))
    assert both.joints == ("dog_nose", "left_ear", "right_ear", "bonnet", "car_nose")
    assert both.edges == ((0, 1), (0, 2), (3, 4))
    assert both.pairs == ((1, 2),)
    assert both.slices == ((0, 3), (3, 5))
    keypoints = np.arange(2 * 5 * 3).reshape(2, 5, 3)
    assert np.array_equal(keypoints[:, both.joints_of(1)], keypoints[:, 3:5])
    assert both.flip == (0, 2, 1, 3, 4)
    assert both.sides == ("middle", "left", "right", "middle", "middle")
    assert Skeleton.from_dict(json.loads(json.dumps(both.as_dict())), "both") == both


def test_classes_share_joints_or_have_none() -> None:
    dog, car = Skeleton(("nose", "tail"), ((0, 1),)), Skeleton(("bonnet",))
    some = Skeleton.joined(("dog", "tree", "car", "wolf"), (dog, None, car, dog))
    assert some.joints == ("nose", "tail", "bonnet")
    assert some.slices == ((0, 2), (0, 0), (2, 3), (0, 2))
    assert [some.part(label) for label in range(4)] == [dog, None, car, dog]
    assert Skeleton.joined(("dog", "wolf"), (dog, dog)) == dog
    assert Skeleton.joined(("dog", "tree"), (dog, None)).slices == ((0, 2), (0, 0))
    assert dog.part(3) == dog


def test_all_classes_share_all_joints_unless_told_otherwise() -> None:
    pair = Skeleton(("a", "b"))
    assert pair.joints_of(0) == pair.joints_of(7) == slice(0, 2)
    assert "slices" not in pair.as_dict()
    assert Skeleton.from_dict(pair.as_dict(), "pair").slices == ()


@pytest.mark.parametrize("part", [(0, 3), (-1, 2), (2, 1)])
def test_slices_lie_within_the_joints(part: tuple[int, int]) -> None:
    with pytest.raises(
        HeatpointError, match=r"give class 1 the joints from .* between 0 and 2 that"
    ):
        Skeleton(("a", "b"), slices=((0, 1), part))
    with pytest.raises(HeatpointError, match="file: slices of the skeleton give class 0"):
        Skeleton.from_dict({"joints": ["a", "b"], "slices": [list(part)]}, "file")


def test_joined_needs_classes_and_names_that_differ() -> None:
    with pytest.raises(HeatpointError, match="at least one joint"):
        Skeleton.joined((), ())
    with pytest.raises(HeatpointError, match="both called 'b_nose'"):
        Skeleton.joined(("a", "b"), (Skeleton(("nose", "b_nose")), Skeleton(("nose",))))
