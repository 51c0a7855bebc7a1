"""PCK and PCKh: the published numbers of real predictions, and cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from golden_files import arrays, cases
from published import map_accuracy, sides_together

from heatpoint.data.skeleton import SKELETONS, Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.scoring.keypoints import pck, pckh
from heatpoint.scoring.subjects import joint_errors, subject_lengths

MPII = SKELETONS["mpii16"]


JOINTS = {
    "rank": "right_ankle",
    "rkne": "right_knee",
    "rhip": "right_hip",
    "lhip": "left_hip",
    "lkne": "left_knee",
    "lank": "left_ankle",
    "pelv": "pelvis",
    "thor": "thorax",
    "neck": "upper_neck",
    "head": "head_top",
    "rwri": "right_wrist",
    "relb": "right_elbow",
    "rsho": "right_shoulder",
    "lsho": "left_shoulder",
    "lelb": "left_elbow",
    "lwri": "left_wrist",
}
"""Our names of the file's joints."""

PARTS = {"head": "head_top", "neck": "upper_neck"}
"""Our names of the parts that the published lines call otherwise."""


@pytest.fixture(scope="module")
def mpii() -> dict[str, np.ndarray]:
    """Returns the file with joints in our order, whichever theirs is."""
    found = arrays("pckh")
    there = [JOINTS[str(name)] for name in found["joint_names"]]
    order = [there.index(name) for name in MPII.joints]
    for key, axis in (("ground_truth", 0), ("missing", 0), ("predictions", 0),
                      ("visible_count_per_joint", 0), ("annotation_joints", 1),
                      ("annotation_visible", 1)):  # fmt: skip
        found[key] = found[key].take(order, axis)
    for key in found:
        if key.startswith("pckh_per_joint_at_"):
            found[key] = found[key][order]
    return found


def errors_and_heads(mpii: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    truth = np.concatenate([mpii["ground_truth"], 1.0 - mpii["missing"][:, None]], 1)
    corners = mpii["head_box"].astype(np.float64)
    heads = 0.6 * np.sqrt(((corners[1] - corners[0]) ** 2).sum(0))
    return joint_errors(mpii["predictions"].transpose(2, 0, 1), truth.transpose(2, 0, 1)), heads


@pytest.mark.parametrize("threshold", cases("pckh", r"pckh_mean_at_([\d.]+)$"))
def test_pckh_of_real_predictions_is_the_published_one(
    mpii: dict[str, np.ndarray], threshold: str
) -> None:
    errors, heads = errors_and_heads(mpii)
    scores = pckh(errors, heads, MPII.joints, float(threshold))
    expected = mpii[f"pckh_per_joint_at_{threshold}"]
    assert list(scores.per_joint) == list(MPII.joints)
    found = 100 * np.array(list(scores.per_joint.values()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert 100 * scores.mean == pytest.approx(float(mpii[f"pckh_mean_at_{threshold}"]), abs=1e-12)
    assert list(scores.labelled.values()) == mpii["visible_count_per_joint"].tolist()


def test_the_script_line_and_pooled_variants(mpii: dict[str, np.ndarray]) -> None:
    scores = pckh(*errors_and_heads(mpii), MPII.joints)
    parts = sides_together(scores, MPII)
    (key,) = cases("pckh", r"(script_line_.*)")
    for word, expected in zip(key.split("_")[2:], mpii[key].tolist(), strict=True):
        share = scores.mean if word == "mean" else parts[PARTS.get(word, word)]
        assert round(100 * share, 2) == expected
    assert 100 * scores.pooled == pytest.approx(float(mpii["pckh_pooled_at_0.5"]), abs=1e-12)
    pooled = float(mpii["pckh_pooled_16_at_0.5"])
    assert 100 * scores.pooled_all == pytest.approx(pooled, abs=1e-12)


def test_the_second_evaluation_by_masks(mpii: dict[str, np.ndarray]) -> None:
    joints, seen = mpii["annotation_joints"], mpii["annotation_visible"] > 0
    present = joints[..., 0] != 0
    masks = {"all": present, "visible": present & seen, "not_visible": present & ~seen}
    rows = zip(
        mpii["second_evaluation.name"],
        mpii["second_evaluation.value_rounded_3"],
        mpii["second_evaluation.count"],
        strict=True,
    )
    for name, value, count in rows:
        group, part = str(name).split(".")
        wanted = "" if part == "total" else PARTS.get(part, part)
        own = [place for place, joint in enumerate(MPII.joints) if joint.endswith(wanted)]
        truth = np.concatenate([joints, masks[group][..., None]], -1)
        errors = joint_errors(mpii["predictions"].transpose(2, 0, 1), truth)[:, own]
        names = [MPII.joints[place] for place in own]
        scores = pckh(errors, mpii["annotation_head_size"], names)
        assert sum(scores.labelled.values()) == count
        # Without any label there, ours is unknown instead of 0.
        assert round(scores.pooled_all if count else 0.0, 3) == value


def test_the_accuracy_of_a_batch_is_the_published_one() -> None:
    data = arrays("decode_pose")
    found = map_accuracy(data["heatmap"], data["accuracy_target"])
    np.testing.assert_allclose(found, data["accuracy_pck05"], rtol=0, atol=1e-7)
    empty = map_accuracy(data["heatmap"], np.zeros_like(data["accuracy_target"]))
    assert (empty == -1).all()


def test_left_and_right_together() -> None:
    errors = np.array([[0.0, 9.0, 0.0]])
    skeleton = Skeleton(("left_hand", "right_hand", "nose"), pairs=((0, 1),))
    scores = pck(errors, np.array([10.0]), 0.5, skeleton.joints)
    assert sides_together(scores, skeleton) == {"hand": 0.5, "nose": 1.0}


def test_an_error_of_exactly_the_limit_is_a_miss() -> None:
    errors = np.array([[5.0, 4.999, np.nan, np.inf]])
    scores = pck(errors, np.array([10.0]), 0.5, ("a", "b", "c", "d"))
    assert scores.per_joint["a"] == 0.0
    assert scores.per_joint["b"] == 1.0
    assert math.isnan(scores.per_joint["c"])
    assert scores.per_joint["d"] == 0.0
    assert scores.mean == pytest.approx(1 / 3)
    assert scores.labelled == {"a": 1, "b": 1, "c": 0, "d": 1}


def test_the_mean_weighs_joints_and_the_pool_weighs_labels() -> None:
    errors = np.array([[0.0, 9.0], [0.0, np.nan], [0.0, np.nan]])
    scores = pck(errors, np.full(3, 10.0), 0.5, ("a", "b"))
    assert (scores.mean, scores.pooled) == (0.5, 0.75)


def test_subjects_without_a_length_and_nothing_at_all() -> None:
    errors = np.array([[0.0], [90.0]])
    assert pck(errors, np.array([10.0, np.nan]), 0.5, ("a",)).pooled == 1.0
    nothing = pck(np.zeros((0, 2)), np.zeros(0), 0.5, ("a", "b"))
    assert math.isnan(nothing.mean)
    assert nothing.labelled == {"a": 0, "b": 0}


def test_lengths_by_name() -> None:
    lsp = SKELETONS["lsp14"]
    keypoints = np.zeros((2, 14, 3))
    keypoints[0, lsp.joints.index("left_shoulder")] = (10, 20, 2)
    keypoints[0, lsp.joints.index("right_hip")] = (40, 60, 1)
    keypoints[1, lsp.joints.index("left_shoulder")] = (10, 20, 2)
    boxes = np.array([[0.0, 0, 30, 70], [0.0, 0, 5, 2]])

    def lengths(name: str, heads: np.ndarray | None = None) -> list[float]:
        return subject_lengths(name, keypoints, boxes, heads, lsp).tolist()  # type: ignore[arg-type]

    assert lengths("torso")[0] == 50.0
    assert lengths("extent")[0] == 40.0
    assert lengths("box") == [70.0, 5.0]
    assert lengths("head", np.array([7.0, np.nan]))[0] == 7.0
    # One joint has no extent, and half a torso no length.
    for name in ("torso", "extent"):
        assert math.isnan(lengths(name)[1])
    with pytest.raises(HeatpointError, match="no head boxes"):
        lengths("head")
    with pytest.raises(HeatpointError, match=r"needs a left shoulder.*nose"):
        subject_lengths("torso", keypoints[:, :1], boxes, None, Skeleton(("nose",)))
    assert subject_lengths("extent", keypoints[:0], boxes[:0], None, lsp).shape == (0,)
