"""Fields by kind: what a change of frame does to each, beside slow computations of its own."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from heatpoint.errors import HeatpointError
from heatpoint.geometry import Affine
from heatpoint.views.fields import (
    BOXES,
    KINDS,
    LABELS,
    SCORES,
    Field,
    density_field,
    extents,
    mapped,
)

ROWS = 6


def affines() -> list[Affine]:
    """Returns frames turned, mirrored, stretched and moved, alone and together."""
    cos, sin = math.cos(0.7), math.sin(0.7)
    parts = [
        Affine.scale(0.5, 0.5),
        Affine.scale(3.0, 0.25),
        Affine.flip(64),
        Affine.translate(5, -7),
        Affine((cos, -sin, 2.0, sin, cos, -1.0)),
    ]
    together = Affine.scale(1.0, 1.0)
    for part in parts:
        together = part @ together
    generator = np.random.default_rng(4)
    values = [tuple(generator.uniform(-2, 2, 6).tolist()) for _ in range(4)]
    return [*parts, together, *(Affine(each) for each in values)]  # type: ignore[arg-type]


def place(to_image: Affine, x: float, y: float) -> tuple[float, float]:
    a, b, c, d, e, f = to_image.matrix
    return a * x + b * y + c, d * x + e * y + f


def drawn(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-20, 80, (ROWS, *shape)).astype(np.float32)


@pytest.mark.parametrize("number", range(len(affines())))
def test_every_kind_follows_the_frame(number: int) -> None:
    to_image = affines()[number]
    corners = drawn((2, 2)).astype(np.float64)
    boxes = np.concatenate((corners.min(1), corners.max(1)), 1).astype(np.float32)
    rows = {
        "scores": drawn((), 1),
        "labels": np.arange(ROWS),
        "boxes": boxes,
        "joints": drawn((3, 4), 2),
        "middle": drawn((2,), 3),
        "radius": np.abs(drawn((), 4)),
        "way": drawn((2, 2), 5),
        "heading": drawn((), 6) / 25,
        "text": drawn((5,), 7),
        "density": drawn((3,), 9),
        "next": np.concatenate((boxes, np.abs(drawn((1,), 8))), 1),
    }
    fields = (
        *(SCORES, LABELS, BOXES),
        Field("joints", (3, 4), "points"),
        Field("middle", (2,), "points"),
        Field("radius", (), "length"),
        Field("way", (2, 2), "vector"),
        Field("heading", (), "angle"),
        Field("text", (5,), "raw"),
        Field("next", (5,), "place"),
        density_field(3),
    )
    assert {field.kind for field in fields} == set(KINDS)
    before = {name: values.copy() for name, values in rows.items()}
    found = mapped(rows, fields, to_image)
    for name, values in rows.items():
        np.testing.assert_array_equal(values, before[name])
        assert found[name].shape == values.shape
    for name in ("scores", "labels", "text", "density"):
        np.testing.assert_array_equal(found[name], rows[name])
    np.testing.assert_array_equal(found["next"][:, :4], found["boxes"])
    np.testing.assert_array_equal(found["next"][:, 4], rows["next"][:, 4])
    start = place(to_image, 0.0, 0.0)
    for row in range(ROWS):
        x1, y1, x2, y2 = boxes[row].tolist()
        ends = [place(to_image, x, y) for x, y in product((x1, x2), (y1, y2))]
        upright = [*np.min(ends, 0), *np.max(ends, 0)]
        np.testing.assert_allclose(found["boxes"][row], upright, rtol=1e-9, atol=1e-9)
        for joint in range(3):
            x, y, *rest = rows["joints"][row, joint].tolist()
            expected = [*place(to_image, x, y), *rest]
            np.testing.assert_allclose(found["joints"][row, joint], expected, rtol=1e-9, atol=1e-9)
        x, y = rows["middle"][row].tolist()
        expected = place(to_image, x, y)
        np.testing.assert_allclose(found["middle"][row], expected, rtol=1e-9, atol=1e-9)
        # A disc of that radius keeps its share of the frame's area.
        square = [place(to_image, *corner) for corner in ((0, 0), (1, 0), (0, 1))]
        (ax, ay), (bx, by) = np.subtract(square[1:], square[0])
        grown = abs(ax * by - ay * bx)
        area = math.pi * float(rows["radius"][row]) ** 2 * grown
        assert math.pi * found["radius"][row] ** 2 == pytest.approx(area, rel=1e-9)
        for way, given in zip(found["way"][row], rows["way"][row].tolist(), strict=True):
            end = np.subtract(place(to_image, *given), start)
            np.testing.assert_allclose(way, end, rtol=1e-9, atol=1e-9)
        turn = float(rows["heading"][row])
        ahead = np.subtract(place(to_image, math.cos(turn), math.sin(turn)), start)
        expected_turn = math.atan2(ahead[1], ahead[0])
        assert math.cos(found["heading"][row] - expected_turn) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("number", range(len(affines())))
def test_the_way_back_gives_what_was(number: int) -> None:
    to_image = affines()[number]
    fields = (
        Field("points", (2,), "points"),
        Field("radius", (), "length"),
        Field("way", (2,), "vector"),
    )
    rows = {"points": drawn((2,)), "radius": np.abs(drawn((), 1)), "way": drawn((2,), 2)}
    back = mapped(mapped(rows, fields, to_image), fields, to_image.inverse())
    for name, values in rows.items():
        np.testing.assert_allclose(back[name], values, rtol=1e-6, atol=1e-4)


def test_no_rows_stay_none() -> None:
    fields = (
        *(SCORES, LABELS, BOXES),
        Field("joints", (3, 3), "points"),
        Field("turn", (), "angle"),
    )
    rows = {field.name: np.zeros((0, *field.tail), field.type) for field in fields}
    found = mapped(rows, fields, Affine.scale(2, 2))
    assert {name: values.shape for name, values in found.items()} == {
        name: values.shape for name, values in rows.items()
    }
    assert extents(found, fields).shape == (0, 4)
    assert extents(found, fields[3:]).shape == (0, 4)


def test_extents_are_the_boxes_or_those_of_the_points() -> None:
    joints = np.float32([[[5, 9, 1], [2, 4, 0], [3, 20, 1]]])
    rows = {"boxes": np.float32([[0, 1, 2, 3]]), "joints": joints, "middle": np.float32([[7, 8]])}
    around, middle = Field("joints", (3, 3), "points"), Field("middle", (2,), "points")
    assert extents(rows, (around, BOXES)).tolist() == [[0, 1, 2, 3]]
    assert extents(rows, (around, middle)).tolist() == [[2, 4, 5, 20]]
    assert extents(rows, (middle, around)).tolist() == [[7, 8, 7, 8]]
    with pytest.raises(HeatpointError, match="an answer of scores says nothing about places"):
        extents({"scores": np.ones(1)}, (SCORES,))


@pytest.mark.parametrize(
    "values", [("a", (4,), "boxes"), ("a", (0,), "raw"), ("a", (-1,), "raw"), ("a", (2.0,), "raw")]
)
def test_fields_that_are_none(values: tuple) -> None:
    with pytest.raises(HeatpointError, match=r"a field's kind is one of .* \(a\)"):
        Field(*values)
    for kind, tail in (("box", ()), ("box", (4, 3)), ("points", (1,)), ("vector", (3,))):
        with pytest.raises(HeatpointError, match=rf"ends in 4.* but a, a '{kind}', has"):
            Field("a", tail, kind)  # type: ignore[arg-type]
    assert Field("a", [2, 3]).tail == (2, 3)  # type: ignore[arg-type]
    assert (SCORES.type, LABELS.type) == (np.float32, np.int64)
