"""Points as annotations: what gives them, what becomes of them on the way to a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sample_points import POINT_SAMPLES, POINTS, SINGLE_JOINTS
from samples import SAMPLES

from heatpoint.data import Annotations, ImageRecord
from heatpoint.data.augment import Augment
from heatpoint.data.combining import merge
from heatpoint.data.dataset import TrainSet
from heatpoint.data.quads import are_points, as_learnt, as_points
from heatpoint.data.readers import FORMATS, read
from heatpoint.data.readers.coco import write_coco
from heatpoint.data.readers.given import Given
from heatpoint.data.scene import Scene
from heatpoint.data.validate import clean, validate
from heatpoint.errors import HeatpointError
from heatpoint.inspection.report import measure
from heatpoint.views.pictures import Picture


def told(data: Annotations) -> dict[str, list[tuple[str, list[float]]]]:
    """Returns class, x and y of every point by the name of its picture."""
    found = {}
    for record in data.images:
        assert record.points is not None
        points = record.points[:, 0].round(5).tolist()
        found[record.path.name] = sorted(
            (data.names[label], point) for label, point in zip(record.labels, points, strict=True)
        )
    return found


WANTED = {
    name: sorted((label, [*map(float, point)]) for label, point in own)
    for name, own in POINTS.items()
}


@pytest.mark.parametrize("name", POINT_SAMPLES)
def test_formats_that_give_points(name: str, tmp_path: Path) -> None:
    path = POINT_SAMPLES[name](tmp_path)
    data = read(path)
    assert data.format == name
    assert data.pointed
    assert data.skeleton is None
    assert told(data) == WANTED
    assert data.left_out == {}
    assert validate(data).counts() == {}
    given = Given(path)
    fitting = {each.name for each in FORMATS if each.fits(given)}
    assert fitting == {name}


@pytest.mark.parametrize("name", SINGLE_JOINTS)
def test_a_single_joint_is_a_point_where_one_is_asked_for(name: str, tmp_path: Path) -> None:
    data = read(SINGLE_JOINTS[name](tmp_path))
    assert not data.pointed
    points = as_points(data)
    assert points.skeleton is None
    assert told(points) == WANTED


def test_boxes_become_the_points_in_their_middle(tmp_path: Path) -> None:
    data = read(SAMPLES["Pascal VOC"](tmp_path))
    points = as_points(data)
    assert not data.pointed
    assert not are_points(data)
    assert are_points(points)
    for record, own in zip(data.images, points.images, strict=True):
        assert own.points is not None
        np.testing.assert_allclose(own.points[:, 0], record.boxes.reshape(-1, 2, 2).mean(1))
        assert (own.boxes[:, :2] == own.points[:, 0]).all()
    assert told(as_points(points)) == told(points)
    write_coco(points, tmp_path / "points.json")
    assert told(read(tmp_path / "points.json")) == told(points)


def test_one_file_of_napari_without_classes_and_one_of_three_axes(tmp_path: Path) -> None:
    POINT_SAMPLES["napari points"](tmp_path)
    (tmp_path / "a.csv").write_text("index,axis-0,axis-1\n0,3.5,7\n")
    data = read(tmp_path / "a.csv")
    assert data.names == ("object",)
    assert told(data) == {"a.jpg": [("object", [7.5, 4.0])]}
    (tmp_path / "a.csv").write_text("index,axis-0,axis-1,axis-2\n0,3.5,7,1\n")
    with pytest.raises(HeatpointError, match="expected points of two axes"):
        read(tmp_path / "a.csv")


def test_points_outside_are_left_out_and_those_on_the_border_stay(tmp_path: Path) -> None:
    path = POINT_SAMPLES["CSV table"](tmp_path)
    with path.open("a") as file:
        file.write("a.jpg,50,40,cat\na.jpg,0,0,cat\na.jpg,51,3,cat\na.jpg,nan,3,cat\n")
    data = read(path)
    cleaned, counts = clean(data)
    assert counts == {"non-finite box": 1, "point outside the image": 1}
    assert cleaned.objects == data.objects - 2
    assert cleaned.pointed


def test_points_and_boxes_are_not_mixed_in_silence(tmp_path: Path) -> None:
    points = read(POINT_SAMPLES["COCO"](tmp_path / "points"))
    boxes = read(SAMPLES["COCO"](tmp_path / "boxes"))
    with pytest.raises(HeatpointError, match="some are labelled by points, others by boxes"):
        merge([points, boxes])
    both, twice = merge([points, as_points(boxes)])
    assert (both.objects, twice) == (points.objects + boxes.objects, 0)
    again, twice = merge([points, read(tmp_path / "points" / "annotations.json")])
    assert (told(again), twice) == (told(points), points.objects)
    with pytest.raises(HeatpointError, match="holds points, of which no size can be learnt"):
        as_learnt(points, {"boxes"})
    assert as_learnt(boxes, {"points"}).pointed


def test_samples_of_points_follow_every_move(tmp_path: Path) -> None:
    data, _ = clean(read(POINT_SAMPLES["COCO"](tmp_path)))
    still = TrainSet(data, (80, 100), Augment.none(), learns={"points"})
    flipped = TrainSet(data, (80, 100), Augment(crop=False, near_scale=0, near_shift=0, flip=1.0))
    for index in range(2):  # twice as large as the picture
        target, mirrored = still[0, index].target, flipped[0, index].target
        record = data.images[index]
        assert record.points is not None
        assert target.points is not None
        assert mirrored.points is not None
        np.testing.assert_allclose(target.points, 2 * record.points, atol=1e-4)
        np.testing.assert_allclose(mirrored.points[..., 0], 100 - 2 * record.points[..., 0])
    published = TrainSet(data, (80, 100), Augment(mosaic=0.5), seed=3)
    for epoch in range(20):
        sample = published[epoch, 0]
        points = sample.target.points
        assert points is not None
        assert len(points) == len(sample.target.labels)
        assert bool(((points >= 0) & (points <= points.new_tensor((100, 80)))).all())


def test_a_record_says_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"points of .*expected shape \(1, P, 2\)"):
        ImageRecord(Path("a"), None, np.zeros((1, 4)), np.zeros(1), points=np.zeros((1, 2)))
    record = ImageRecord(Path("a"), None, np.zeros((2, 4)), np.zeros(2), points=np.zeros((2, 4, 2)))
    kept = record.keep(np.array([True, False]))
    assert kept.points is not None
    assert kept.points.shape == (1, 4, 2)
    (other,) = record.divided([(Path("b"), None, 1, 2)])
    assert other.points is not None
    scene = Scene(np.zeros((4, 4, 3), np.uint8), record.boxes, record.labels, points=record.points)
    assert list(scene.columns) == ["boxes", "labels", "points"]


def test_points_are_measured_by_their_distances(tmp_path: Path) -> None:
    data, _ = clean(read(POINT_SAMPLES["COCO"](tmp_path)))
    report, measured = measure(data, Picture((80, 100)))
    first = data.images[0].points
    assert first is not None
    away = np.linalg.norm(first - first[:, 0], axis=2)
    away[away == 0] = np.inf
    np.testing.assert_allclose(measured.sides[: len(first)], 2 * away.min(1))
    assert report.pointed
    assert "distance to the nearest other point" in "\n".join(report.lines())
