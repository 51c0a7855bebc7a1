"""Tiles: every object once, whatever the seams do to it; memory flat; a second look."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from seeing import SeeingEngine, scene

from heatpoint.errors import HeatpointError
from heatpoint.geometry import Affine, letterbox
from heatpoint.inference import RunOptions
from heatpoint.inference.finish import Keep
from heatpoint.inference.predict import choose_view, predict
from heatpoint.inference.runner import Runner
from heatpoint.views import Look, Places, View, Whole, stacked
from heatpoint.views.fields import Arrays, Field, counted
from heatpoint.views.pictures import Picture
from heatpoint.views.tiles import Tiles


def found(image: np.ndarray, margin: float = 0.0, **options: object) -> list[tuple[int, ...]]:
    """Returns the boxes that tiles of 64 pixels find, rounded and in order."""
    engine = SeeingEngine(settings={"margin": margin})
    (result,) = predict(engine, [image], tiles=64, **options)
    return sorted(tuple(int(side) for side in box) for box in np.round(result.boxes))


def test_tiles_cover_the_picture_and_end_with_it() -> None:
    for size in [(64, 64), (65, 200), (500, 64), (1000, 777), (10, 10)]:
        looks = Tiles((64, 64), 16, 0, (64, 64), 0.25).looks(size)
        seen = np.zeros((max(size[0], 64), max(size[1], 64)), int)
        for look in looks:
            x1, y1, x2, y2 = map(int, look.box)
            assert (y2 - y1, x2 - x1) == (64, 64)
            seen[y1:y2, x1:x2] += 1
        assert seen[: size[0], : size[1]].min() >= 1
        assert seen.shape == (max(size[0], 64), max(size[1], 64))


@pytest.mark.parametrize("size", [(64, 64), (60, 300), (500, 63), (1000, 777), (10, 10)])
def test_a_margin_lies_around_the_picture_and_not_between_tiles(size: tuple[int, int]) -> None:
    looks = Tiles((32, 32), 16, 0, (64, 64), 0.25, margin=2.5).looks(size)
    boxes = np.array([look.box for look in looks])
    for axis, side in enumerate(reversed(size)):
        starts = np.unique(boxes[:, axis])
        free = 5 if side > 64 else (64 - side) // 2  # pixels of the picture, two for one of input
        assert starts[0] == -min(5, free)
        assert starts[-1] + 64 >= side + min(5, free)
        assert (np.diff(starts) <= 48).all()
        assert len(starts) == 1 or starts[-1] + 64 == side + 5


def test_tiles_have_the_margin_that_the_model_was_trained_with() -> None:
    about = SeeingEngine(settings={"margin": 8.0}).description
    margins = [choose_view(about, RunOptions(tiles=tile)).margin for tile in (64, 32, 16)]
    assert margins == [8, 8, 4]  # a quarter of an input at most


@pytest.mark.parametrize("margin", [0.0, 5.0])
@pytest.mark.parametrize("overlap", [0.2, 0.5])
def test_an_object_is_found_once_wherever_the_seams_run(overlap: float, margin: float) -> None:
    side = int(64 * overlap) - 2  # no larger than the overlap
    for left in range(2, 130, 7):
        for top in (3, 50, 60, 101):
            box = (left, top, left + side, top + side)
            assert found(scene((180, 200), [box]), margin, overlap=overlap) == [box]


def test_an_object_larger_than_the_overlap_is_put_together() -> None:
    for box in [(30, 10, 75, 40), (20, 30, 60, 100), (5, 20, 190, 44), (40, 40, 88, 92)]:
        assert found(scene((180, 200), [box]), overlap=0.2) == [box]


def test_neighbours_stay_apart() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        boxes = []
        for y in range(4, 150, 22):
            for x in range(4, 180, 22):
                dx, dy = (int(n) for n in rng.integers(0, 8, 2))
                boxes.append((x + dx, y + dy, x + dx + 10, y + dy + 10))
        assert found(scene((180, 210), boxes), overlap=0.25) == sorted(boxes)


def test_a_small_object_beside_a_large_one_that_covers_the_seam_stays() -> None:
    large, small = (40, 20, 90, 60), (50, 70, 60, 80)
    assert found(scene((180, 200), [large, small]), overlap=0.2) == [large, small]


def test_tiles_of_a_batch_run_together_and_of_an_illegal_size_grow() -> None:
    engine = SeeingEngine()
    predict(engine, [scene((180, 200), []), scene((64, 64), [])], tiles=60, batch_size=4)
    assert {shape[1:] for shape in engine.shapes} == {(64, 64)}
    assert max(shape[0] for shape in engine.shapes) == 4


def test_a_fixed_input_is_served_with_enlarged_tiles() -> None:
    engine = SeeingEngine(dynamic=False, size=(128, 128))
    (result,) = predict(engine, [scene((180, 200), [(30, 30, 40, 42)])], tiles=64)
    assert {shape[1:] for shape in engine.shapes} == {(128, 128)}
    np.testing.assert_allclose(result.boxes, [[30, 30, 40, 42]], atol=0.6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"overlap": 1.0}, "overlap"),
        ({"scales": (1.0, 2.0)}, "scales"),
        ({"keep_resolution": True}, "keep_resolution"),
    ],
)
def test_what_does_not_go_with_tiles_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(HeatpointError, match=words):
        found(scene((80, 80), []), **options)


def test_points_belong_to_one_tile_each() -> None:
    tiles = Tiles((64, 64), 16, 0, (64, 64), 0.5)
    looks = tiles.looks((64, 160))
    parts: list[Arrays] = []
    for look in looks:
        inside = [x for x in (10.0, 40.0, 70.0, 100.0, 150.0) if look.box[0] <= x < look.box[2]]
        boxes = np.array([[x, 5.0, x, 5.0] for x in inside], np.float32).reshape(-1, 4)
        scores, labels = np.ones(len(inside), np.float32), np.zeros(len(inside), np.int64)
        parts.append({"boxes": boxes, "scores": scores, "labels": labels})
    merged = tiles.merge(looks, parts, (), 100)
    assert sorted(merged["boxes"][:, 0]) == [10.0, 40.0, 70.0, 100.0, 150.0]


@pytest.mark.parametrize(
    ("size", "overlap"), [((64, 160), 0.5), ((100, 131), 0.2), ((40, 50), 0.2)]
)
def test_what_tiles_say_of_density_adds_up(size: tuple[int, int], overlap: float) -> None:
    tiles = Tiles((32, 32), 16, 0, (64, 64), overlap)  # cells of 4 input and 8 image pixels
    looks, total = tiles.looks(size), np.zeros(2)
    boxes = np.array([look.box for look in looks])
    grounds = [tiles.ground(looks, number) for number in range(len(looks))]
    for x, y in np.random.default_rng(0).uniform(-5, 170, (200, 2)).tolist():
        assert sum(a <= x < c and b <= y < d for a, b, c, d in grounds) == 1
    for box, look, ground in zip(boxes, looks, grounds, strict=True):
        # Every pixel holds a thousandth of an object of the one class, and of the other as many as
        # its column says; a cell has 8 x 8 of them.
        columns = np.tile(64 * (box[0] + 8 * np.arange(8) + 3.5), (8, 1))
        cells = np.stack((np.full((8, 8), 0.064), columns), -1).reshape(64, 2)
        total += counted(cells, look.size, look.to_image, ground)
    width, height = boxes[:, 2].max(), boxes[:, 3].max()
    assert total[0] == pytest.approx(0.001 * height * width, rel=1e-9)
    # A cell that a seam cuts is taken to be even, which the columns are not.
    assert total[1] == pytest.approx(height * sum(range(int(width))), rel=0.01)


def test_a_point_that_two_tiles_put_on_either_side_of_their_line_counts_once() -> None:
    tiles = Tiles((64, 64), 16, 0, (64, 64), 0.5)
    looks = tiles.looks((64, 96))  # the line between their middles is at 48
    assert [look.box[0] for look in looks] == [0.0, 32.0]

    def merged(first: list[float], second: list[float], label: int = 0) -> list[float]:
        parts: list[Arrays] = []
        for places, score, kind in ((first, 0.9, 0), (second, 0.8, label)):
            boxes = np.array([[x, 5.0, x, 5.0] for x in places], np.float32).reshape(-1, 4)
            scores = np.full(len(places), score, np.float32)
            labels = np.full(len(places), kind)
            parts.append({"boxes": boxes, "scores": scores, "labels": labels})
        rows = tiles.merge(looks, parts, (), 100)
        return sorted(rows["boxes"][:, 0].astype(float).round(1).tolist())

    assert merged([48.5], [47.5]) == [48.5]  # each says it is the other's
    assert merged([47.5], [48.5]) == [47.5]  # each says it is its own
    assert merged([48.5], [47.5], label=1) == [48.5]  # and disagrees about the class
    assert merged([44.0, 49.0], [44.5, 49.4]) == [44.0, 49.0]  # neighbours stay apart
    assert merged([30.0, 60.0], [60.4, 80.0]) == [30.0, 60.4, 80.0]


def test_a_part_of_a_raster_is_the_same_as_the_whole() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (300, 400, 3), np.uint8)

    class Parts:
        size = (300, 400)

        def region(self, left: int, top: int, right: int, bottom: int) -> np.ndarray:
            assert (right - left) * (bottom - top) < 300 * 400
            return image[top:bottom, left:right]

    for look in Tiles((64, 64), 16, 0, (64, 64), 0.2).looks((300, 400)):
        np.testing.assert_array_equal(look.cut(Parts()), look.cut(Whole(image)))


@dataclass(frozen=True)
class Saccades(View):
    """One coarse look at the whole, and one at full resolution around all that it found."""

    def looks(self, image_size: tuple[int, int], places: Places | None = None) -> Sequence[Look]:
        return [Look(self.size, letterbox(image_size, self.size))]

    def again(
        self, image_size: tuple[int, int], looks: Sequence[Look], parts: Sequence[Arrays]
    ) -> Sequence[Look]:
        if looks[-1].turn:
            return []
        more = []
        for box in parts[0]["boxes"].astype(float):
            left, top = (box[:2] + box[2:]) / 2 - np.array(self.size[::-1]) / 2
            more.append(Look(self.size, Affine.translate(-round(left), -round(top)), turn=1))
        return more

    def merge(
        self, looks: Sequence[Look], parts: Sequence[Arrays], fields: Sequence[Field], most: int
    ) -> Arrays:
        return stacked(parts[1:]) if len(parts) > 1 else parts[0]


def test_a_view_looks_again_where_the_first_look_found_something() -> None:
    boxes = [(30, 40, 61, 77), (500, 300, 533, 318)]
    engine = SeeingEngine()
    runner = Runner(engine, Saccades((64, 64), 16), Keep())
    coarse = Runner(SeeingEngine(), Picture((64, 64), 16), Keep())
    image = scene((512, 640), boxes)
    (blurred,), (sharp,) = coarse([image]), runner([image])
    exact = np.array(boxes, np.float32)
    order = np.argsort(sharp.boxes[:, 0])
    np.testing.assert_array_equal(sharp.boxes[order], exact)
    assert np.abs(np.sort(blurred.boxes, 0) - np.sort(exact, 0)).max() > 1
    assert engine.shapes == [(1, 64, 64), (2, 64, 64)]
    assert len(runner([scene((512, 640), [])])[0]) == 0  # nothing asks for no second look


MEMORY = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from seeing import SeeingEngine
from heatpoint.inference.predict import predict
predict(SeeingEngine(), [sys.argv[3]], tiles=512, batch_size=4)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(found,) = predict(SeeingEngine(), [sys.argv[1]], tiles=1024, batch_size=4)
print(len(found), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_large_tiff_is_read_by_parts(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    small, large = tmp_path / "small.tif", tmp_path / "large.tif"
    tifffile.imwrite(small, scene((600, 600), [(20, 20, 60, 60)]), tile=(256, 256))
    side, boxes = 8192, [(100, 100, 180, 200), (4000, 5000, 4100, 5060), (8000, 8100, 8150, 8190)]

    def tiles() -> object:
        for top in range(0, side, 512):
            band = np.zeros((512, side, 3), np.uint8)
            for x1, y1, x2, y2 in boxes:
                if y1 < top + 512 and y2 > top:
                    band[max(0, y1 - top) : max(0, y2 - top), x1:x2] = 200
            for left in range(0, side, 512):
                yield band[:, left : left + 512]

    tifffile.imwrite(
        large, tiles(), shape=(side, side, 3), dtype=np.uint8, tile=(512, 512), compression="zlib"
    )
    words = [sys.executable, "-c", MEMORY, str(large), str(Path(__file__).parent), str(small)]
    run = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    count, growth = map(int, run.stdout.split())
    assert count == len(boxes)
    assert growth < side * side * 3 // 2**20  # MiB; the picture alone would take 192
