"""What every codec promises, whatever it is called: shapes, names, empty batches, hard numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from heatpoint.codecs import Codec, Maps, MapSpec, Rows, Target
from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.center_pose import CenterPoseCodec
from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.joints import JointCodec
from heatpoint.codecs.points import PointCodec
from heatpoint.codecs.quads import QuadCodec
from heatpoint.codecs.saccade import SaccadeCodec
from heatpoint.codecs.triplets import TripletCodec
from heatpoint.codecs.ttf import TTFCodec
from heatpoint.data.skeleton import SKELETONS
from heatpoint.errors import HeatpointError
from heatpoint.views import View
from heatpoint.views.fields import MIRRORED, Field

SIZE = (64, 96)
MPII = SKELETONS["mpii16"]
TRIMMED = (SIZE[0] - 1, SIZE[1] - 1)
MORE: dict[str, Any] = {"size_region": 0.6, "giou_weight": 2.0}


def objects(count: int, seed: int = 0, size: tuple[int, int] = SIZE) -> Target:
    """Returns boxes anywhere within the input, of three classes."""
    generator = torch.Generator().manual_seed(seed)
    ends = torch.rand(count, 2, 2, generator=generator) * torch.tensor([size[1], size[0]])
    low, high = ends.amin(1), ends.amax(1)
    boxes = torch.cat((low, torch.maximum(high, low + 1e-3)), 1)
    return Target(boxes, torch.randint(0, 3, (count,), generator=generator))


def subject(count: int, seed: int = 0, size: tuple[int, int] = SIZE) -> Target:
    """Returns one subject of whose sixteen joints at most ``count`` are labelled."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(1, 16, 2, generator=generator) * torch.tensor([size[1], size[0]])
    seen = 2.0 * (torch.arange(16) < count)
    keypoints = torch.cat((points, seen[None, :, None]), -1)
    return Target(torch.zeros(1, 4), torch.zeros(1).long(), keypoints)


def people(count: int, seed: int = 0, size: tuple[int, int] = SIZE) -> Target:
    """Returns objects with sixteen joints each, of which some are labelled."""
    target = objects(count, seed, size)
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(count, 16, 2, generator=generator) * torch.tensor([size[1], size[0]])
    seen = torch.randint(0, 3, (count, 16, 1), generator=generator)
    return Target(target.boxes, target.labels, torch.cat((points, seen), -1))


def points(count: int, seed: int = 0, size: tuple[int, int] = SIZE) -> Target:
    """Returns points anywhere within the input, of three classes."""
    target = objects(count, seed, size)
    target.points = target.boxes[:, None, :2]
    return target


def quads(count: int, seed: int = 0, size: tuple[int, int] = SIZE) -> Target:
    """Returns the boxes of ``objects``, leaning, as four corners."""
    target, leaning = objects(count, seed, size), torch.tensor([[7, 0], [0, 5], [-7, 0], [0, -5]])
    target.points = target.boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]] + leaning
    return target


@dataclass(frozen=True)
class Case:
    """A codec and targets that it learns from."""

    codec: Codec
    target: Callable[..., Target]
    size: tuple[int, int] = SIZE

    def maps(
        self, batch: int, value: float | None = None, dtype: torch.dtype = torch.float32
    ) -> Maps:
        """Returns maps of one value, or random ones."""
        trim = self.codec.as_dict().get("trim", 0)
        generator = torch.Generator().manual_seed(5)
        maps = {}
        for spec in self.codec.maps:
            stride = spec.stride or self.codec.stride
            cells = [-(-(side + trim) // stride) for side in self.size]
            shape = (batch, spec.channels, *cells)
            drawn = torch.randn(shape, generator=generator).to(dtype)
            maps[spec.name] = drawn if value is None else torch.full_like(drawn, value)
        return maps


CASES = {
    "CenterCodec": Case(CenterCodec(3, max_detections=30), objects),
    "CenterCodec-all": Case(CenterCodec(3, offset=False, one_class_per_cell=True, **MORE), objects),
    "CenterCodec-sides": Case(
        CenterCodec(3, measure="sides", sides_weight=1.0, giou_weight=5.0), objects
    ),
    "CenterCodec-placed": Case(CenterCodec(3, measure="sides", side_heatmap=True, **MORE), objects),
    "CenterCodec-classes": Case(CenterCodec(3, per_class=True, side_heatmap=True, **MORE), objects),
    "CornerCodec": Case(CornerCodec(3, max_detections=50, corners=20), objects),
    "CornerCodec-trimmed": Case(CornerCodec(3, trim=1, images="mean"), objects, TRIMMED),
    "TripletCodec": Case(TripletCodec(3, max_detections=50, corners=20), objects),
    "TripletCodec-trimmed": Case(TripletCodec(3, trim=1, small_area=0), objects, TRIMMED),
    "SaccadeCodec": Case(SaccadeCodec(3, trim=1), objects, TRIMMED),
    "CenterPoseCodec": Case(
        CenterPoseCodec(3, joints=16, flip=MPII.flip, max_detections=30), people
    ),
    "CenterPoseCodec-all": Case(
        CenterPoseCodec(
            3,
            joints=16,
            slices=((0, 6), (6, 16), (3, 9)),
            joint_offset=False,
            unlabelled="heatmap",
            mirror="negated",
            **MORE,
        ),
        people,
    ),
    "CenterPoseCodec-relative": Case(
        CenterPoseCodec(
            3,
            joints=16,
            flip=MPII.flip,
            joint_heatmaps=False,
            log_size=True,
            relative=True,
            side_heatmap=True,
            **MORE,
        ),
        people,
    ),
    "CenterPoseCodec-regressed": Case(
        CenterPoseCodec(3, joints=16, joint_heatmaps=False, offset=False), people
    ),
    "TTFCodec": Case(TTFCodec(3, max_detections=30), objects),
    "TTFCodec-all": Case(TTFCodec(3, per_class=True), objects),
    "TTFCodec-published": Case(TTFCodec(3, border="pixels", collisions="smallest"), objects),
    "PointCodec": Case(PointCodec(3, max_detections=30), points),
    "PointCodec-fixed": Case(PointCodec(3, stride=2, spacing=0, offset_region=0), points),
    "PointCodec-density": Case(PointCodec(3, max_detections=30, density=10.0), points),
    "QuadCodec": Case(QuadCodec(3, max_detections=30), quads),
    "QuadCodec-placed": Case(QuadCodec(3, corner_heatmap=True, max_detections=30), quads),
    "QuadCodec-own": Case(QuadCodec(3, order="own", corner_region=0), quads),
    "JointCodec": Case(JointCodec(16, MPII.flip), subject),
    "JointCodec-mmpose": Case(
        JointCodec(16, MPII.flip, sigma=2.0, align="index", normaliser="mmpose", refine="dark"),
        subject,
    ),
}
every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def check_rows(rows: Rows, codec: Codec, batch: int, count: int) -> None:
    """Makes sure that rows are as the codec's answer says."""
    assert tuple(rows) == tuple(field.name for field in codec.answer)
    for field in codec.answer:
        values = rows[field.name]
        number = values.shape[1] if field.kind in ("place", "density") else count
        assert tuple(values.shape) == (batch, number, *field.tail), field.name
        assert values.numpy().dtype == field.type, field.name


def test_every_codec_of_the_package_is_tested_here() -> None:
    own = {name for name, kind in Codec.kinds.items() if kind.__module__.startswith("heatpoint.")}
    assert own == {type(case.codec).__name__ for case in CASES.values()}


@every
def test_what_is_declared_is_what_comes(case: Case) -> None:
    codec = case.codec
    assert codec.learns
    assert View.kinds[codec.view.__name__] is codec.view
    assert "scores" in {field.name for field in codec.answer}
    assert len({spec.name for spec in codec.maps}) == len(codec.maps)
    named = {name for step in codec.steps.values() for name in step}
    assert named <= {spec.name for spec in codec.maps}
    weights = codec.suppression.weights
    assert not weights or Field(weights, (2,)) in codec.answer
    encoded = codec.encode([case.target(4), case.target(0)], case.size)
    terms = codec.loss(case.maps(2), encoded)
    assert tuple(terms) == codec.terms
    check_rows(codec.decode(case.maps(2)), codec, 2, codec.rows())
    assert 1 <= codec.capacity <= codec.rows()
    preview = encoded.preview()
    assert (len(preview), *preview.shape[2:]) == (2, *encoded.map_size)
    assert 0 <= float(preview.min()) <= float(preview.max()) <= 1
    assert isinstance(encoded.left_out, int)
    doubled = encoded.with_counts(2 * encoded.counts)
    assert torch.equal(doubled.counts, 2 * encoded.counts)
    ideal = codec.ideal(encoded)
    assert {name: values.shape for name, values in ideal.items()} == {
        name: values.shape for name, values in case.maps(2).items()
    }
    boxes = case.target(7).boxes.double().numpy()
    claims = codec.claims(boxes, case.size)
    assert claims.shape[1:] == (len(boxes), 2)
    assert claims.dtype == np.int64


@every
def test_scores_descend_and_both_images_fit_the_answer(case: Case) -> None:
    codec = case.codec
    scores = codec.decode(case.maps(2))["scores"]
    assert (scores.diff() <= 0).all()
    merged = codec.decode(codec.merge_flipped(case.maps(2), case.maps(2)))
    check_rows(merged, codec, 2, codec.rows(flip=True))
    assert (merged["scores"].diff() <= 0).all()


@every
def test_an_empty_batch(case: Case) -> None:
    encoded = case.codec.encode([], case.size)
    assert encoded.left_out == 0
    maps = {name: values.requires_grad_() for name, values in case.maps(0).items()}
    terms = case.codec.loss(maps, encoded)
    assert tuple(terms) == case.codec.terms
    assert all(bool(term.isfinite()) for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    check_rows(case.codec.decode(case.maps(0)), case.codec, 0, case.codec.rows())
    assert len(encoded.preview()) == 0
    assert all(len(values) == 0 for values in case.codec.ideal(encoded).values())
    merged = case.codec.merge_flipped(case.maps(0), case.maps(0))
    check_rows(case.codec.decode(merged), case.codec, 0, case.codec.rows(flip=True))


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("value", [-50.0, 0.0, 50.0, None])
@pytest.mark.parametrize("counts", [(1,), (500,), (0, 500)], ids=str)
def test_numbers_stay_finite(
    case: Case, counts: tuple[int, ...], value: float | None, dtype: torch.dtype
) -> None:
    targets = [case.target(count, seed=count, size=case.size) for count in counts]
    encoded = case.codec.encode(targets, case.size)
    maps = case.maps(len(counts), value, dtype)
    for values in maps.values():
        values.requires_grad_()
    terms = case.codec.loss(maps, encoded)
    torch.stack(list(terms.values())).sum().backward()
    for name, term in terms.items():
        assert bool(term.isfinite()), name
        assert term.dtype == torch.float32
    for name, values in maps.items():
        assert values.grad is None or bool(values.grad.isfinite().all()), name
    rows = case.codec.decode({name: values.detach() for name, values in maps.items()})
    check_rows(rows, case.codec, len(counts), case.codec.rows())
    assert all(bool(values.isfinite().all()) for values in rows.values())


@every
def test_ideal_maps_of_a_mirror_image_mean_the_same(case: Case) -> None:
    target = case.target(1, seed=3, size=case.size)
    codec, width = case.codec, case.size[1]
    boxes, keypoints, places = target.boxes.clone(), target.keypoints, target.points
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    if places is not None:
        places = places[:, MIRRORED if places.shape[1] == 4 else [0]]
        places[..., 0] = width - places[..., 0]
    if keypoints is not None:
        keypoints = keypoints[:, list(MPII.flip)].clone()
        keypoints[..., 0] = width - keypoints[..., 0]
    ideal = codec.ideal(codec.encode([target], case.size))
    mirrored = Target(boxes, target.labels, keypoints, places)
    other = codec.ideal(codec.encode([mirrored], case.size))
    plain, merged = codec.decode(ideal), codec.decode(codec.merge_flipped(ideal, other))
    for field in codec.answer:
        if field.kind in ("box", "label") or field.name in ("points", "quads"):
            torch.testing.assert_close(
                merged[field.name][:, 0], plain[field.name][:, 0], rtol=0, atol=1e-2
            )


@every
def test_more_rows_other_classes_and_other_joints(case: Case) -> None:
    codec = case.codec
    more = codec.with_rows(700)
    if codec.view.returns:  # its rows are of one look among many
        assert more == codec
    elif "max_detections" in codec.as_dict():
        assert (more.rows(), more.with_rows(5)) == (max(700, codec.rows()), more)
    else:
        assert more == codec
    names, skeleton = ["a", "b", "c", "d", "e"], SKELETONS["coco17"]
    joints = skeleton if "keypoints" in codec.learns else None
    other = codec.fitted(len(names), joints and joints.flip)
    share = {"class": len(names), "joint": len(skeleton)}
    before = {spec.name: spec for spec in codec.maps}
    for spec in other.maps:
        if spec.per:
            assert spec.channels % share[spec.per] == 0
        else:
            assert spec == before[spec.name]
    same = {key: value for key, value in other.as_dict().items() if codec.as_dict()[key] == value}
    assert codec.as_dict().keys() - same.keys() <= {"classes", "joints", "flip", "slices"}
    with pytest.raises(HeatpointError, match="colour is no choice for model_x, whose codec is a"):
        codec.tuned("model_x", {"colour": 1})
    assert codec.tuned("model_x", {}) is codec


@every
def test_codecs_survive_json(case: Case) -> None:
    plain = json.loads(json.dumps(case.codec.as_dict()))
    assert plain["class"] == type(case.codec).__name__
    assert Codec.from_dict(plain, "a.safetensors") == case.codec
    field = next(key for key in plain if key != "class")
    for damaged in (
        {**plain, field: "many"},
        {**plain, field: None},
        {**plain, field: -1},
        {**plain, field: [1]},
        {**plain, "class": 3},
        {**plain, "class": ["CenterCodec"]},
        {key: value for key, value in plain.items() if key != "class"},
        {key: value for key, value in plain.items() if key != field},
        [],
        None,
        "text",
    ):
        with pytest.raises(HeatpointError):
            Codec.from_dict(damaged, "a.safetensors")


@every
def test_any_damaged_value_of_a_codec_is_an_error_or_none(case: Case) -> None:
    plain = case.codec.as_dict()
    for name in plain:
        for value in (
            "",
            "many",
            None,
            -1,
            0,
            0.5,
            10**12,
            1e308,
            [],
            [1],
            [[1]],
            {},
            {"a": 1},
            True,
        ):
            try:
                codec = Codec.from_dict({**plain, name: value}, "a.safetensors")
            except HeatpointError:
                continue
            assert codec.maps, name
            json.dumps(codec.as_dict())


def test_a_codec_nobody_knows_names_the_plugin_option() -> None:
    with pytest.raises(
        HeatpointError, match=r"a\.safetensors needs the codec LaserCodec.*--plugin"
    ):
        Codec.from_dict({"class": "LaserCodec"}, "a.safetensors")
    with pytest.raises(HeatpointError, match="a CenterCodec with colour, which this version"):
        Codec.from_dict({"class": "CenterCodec", "classes": 3, "colour": 1}, "a.safetensors")


def test_a_second_codec_of_one_name_is_refused() -> None:
    with pytest.raises(HeatpointError, match=r"other_file defines a codec CenterCodec, which heat"):
        type("CenterCodec", (CenterCodec,), {"__module__": "other_file"})
    assert Codec.kinds["CenterCodec"] is CenterCodec
    # The same file may be loaded twice, as notebooks and reloading do.
    first = type("TwiceCodec", (CenterCodec,), {"__module__": "some_file"})
    second = type("TwiceCodec", (CenterCodec,), {"__module__": "some_file"})
    assert Codec.kinds["TwiceCodec"] is second is not first
    del Codec.kinds["TwiceCodec"]


def test_a_codec_of_ones_own_is_known_by_its_name() -> None:
    codec = WideCodec(2, size_weight=0.2, reach=3)
    plain = json.loads(json.dumps(codec.as_dict()))
    assert plain["class"] == "WideCodec"
    again = Codec.from_dict(plain, "a.safetensors")
    assert type(again) is WideCodec
    assert again == codec
    assert again.fitted(3) == replace(codec, classes=3)
    assert again != CenterCodec(2, size_weight=0.2)


@dataclass(frozen=True)
class WideCodec(CenterCodec):
    """A codec of one's own that has one more field and one more map."""

    reach: int = 1

    @property
    def maps(self) -> tuple[MapSpec, ...]:
        """The usual maps and one for each class."""
        return (*super().maps, MapSpec("reach", 2 * self.classes, per="class"))
