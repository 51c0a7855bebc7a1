"""predict, from whatever the user calls images to boxes and files."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from blobs import NAMES, spot_detector, spot_image
from PIL import Image as PIL

from heatpoint import zoo
from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError, HeatpointWarning
from heatpoint.inference.engines.engine import Timings
from heatpoint.inference.predict import iter_predict, predict, result_rows, write_results
from heatpoint.inference.sources import expand


def write(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1])
    return path


def middle(found: Detections) -> list[float]:
    box = found.boxes[0]
    return ((box[:2] + box[2:]) / 2).tolist()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place in range(3):
        image = spot_image((96, 128), [(22.5 + 30 * place, 50.0)], radius=7)
        write(tmp_path / "photos" / f"{'cab'[place]}.jpg", image)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    write(tmp_path / "photos" / "below" / "d.jpg", spot_image((64, 64), []))
    return tmp_path / "photos"


def test_folders_patterns_files_and_arrays_mix(folder: Path) -> None:
    array = np.zeros((5, 5, 3), np.uint8)
    given = [folder, str(folder / "?.jpg"), folder / "c.jpg", array, PIL.new("L", (4, 4))]
    sources = expand(given)
    names = [Path(source.path).name for source in sources]
    assert names == ["a.jpg", "b.jpg", "c.jpg"] * 2 + ["c.jpg", "", ""]
    assert len(expand(array)) == len(expand(str(folder / "a.jpg"))) == 1
    assert [Path(str(source)).name for source in expand(str(folder / "**" / "*.jpg"))] == [
        "a.jpg",
        "b.jpg",
        "d.jpg",
        "c.jpg",
    ]


def test_a_file_with_brackets_in_its_name_is_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a[1].jpg", spot_image((8, 8), []))
    assert [source.path for source in expand(path)] == [str(path)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.jpg", "does not exist"),
        ("no*.jpg", "no image file matches"),
        ("empty", "holds no image file"),
    ],
)
def test_nothing_to_look_at_is_an_error(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(HeatpointError, match=message):
        predict(spot_detector(), tmp_path / name)
    assert predict(spot_detector(), []) == []


def test_results_come_in_order(folder: Path) -> None:
    found = predict(spot_detector(), [folder, folder / "c.jpg"], batch_size=2)
    assert [round(middle(one)[0] / 30 - 0.75) for one in found] == [1, 2, 0, 0]
    assert all(one.names == NAMES for one in found)
    assert all((one.scores >= 0.3).all() for one in found)


def test_a_stream_gives_the_same_and_starts_at_once(folder: Path) -> None:
    stream = iter_predict(spot_detector(), folder, batch_size=1)
    first = next(stream)
    assert (first.index, Path(first.path).name, first.image_size) == (0, "a.jpg", (96, 128))
    rest = list(stream)
    expected = predict(spot_detector(), folder, batch_size=1)
    for one, wanted in zip([first, *rest], expected, strict=True):
        np.testing.assert_array_equal(one.detections.boxes, wanted.boxes)
        np.testing.assert_array_equal(one.detections.scores, wanted.scores)
    with pytest.raises(HeatpointError, match="does not exist"):
        iter_predict(spot_detector(), folder / "nowhere.jpg")


def test_bad_images_among_good_ones(folder: Path) -> None:
    (folder / "aa.jpg").write_bytes((folder / "a.jpg").read_bytes()[:200])
    (folder / "ab.png").write_bytes(b"")
    with pytest.raises(HeatpointError, match=r"aa\.jpg"):
        predict(spot_detector(), folder)
    with pytest.warns(HeatpointWarning) as caught:
        found = predict(spot_detector(), folder, skip_bad=True)
    assert [len(one) > 0 for one in found] == [True, False, False, True, True]
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 2
    assert "aa.jpg" in messages[0]
    assert "ab.png" in messages[1]


def pictures_of_every_kind(folder: Path) -> dict[str, Path]:
    """Writes one picture, its spot left of the middle, as every kind of file."""
    folder.mkdir()
    rgb = spot_image((96, 128), [(34.5, 50.0)], radius=7)
    picture = PIL.fromarray(rgb)
    grey = rgb[..., 1]
    exif = PIL.Exif()
    exif[0x0112] = 6
    turned = picture.transpose(PIL.Transpose.ROTATE_90)
    files = {name: folder / name for name in ("rgb.png", "grey.png", "deep.png", "alpha.png")}
    files |= {name: folder / name for name in ("cmyk.jpg", "turned.jpg")}
    picture.save(files["rgb.png"])
    PIL.fromarray(grey).save(files["grey.png"])
    cv2.imwrite(str(files["deep.png"]), grey.astype(np.uint16) * 257)
    alpha = np.dstack([rgb, np.full_like(grey, 255)])
    PIL.fromarray(alpha).save(files["alpha.png"])
    picture.convert("CMYK").save(files["cmyk.jpg"], quality=98)
    turned.save(files["turned.jpg"], exif=exif, quality=98)
    return files


def test_every_kind_of_picture_gives_the_same_box(tmp_path: Path) -> None:
    files = pictures_of_every_kind(tmp_path / "kinds")
    found = dict(zip(files, predict(spot_detector(), list(files.values())), strict=True))
    for name, one in found.items():
        np.testing.assert_allclose(
            one.boxes[0], found["rgb.png"].boxes[0], rtol=1.3e-6, atol=1e-5, err_msg=name
        )
        assert float(one.scores[0]) == pytest.approx(float(found["rgb.png"].scores[0]), abs=0.03)


def test_extreme_pictures_from_files(tmp_path: Path) -> None:
    write(tmp_path / "point.png", np.full((1, 1, 3), 255, np.uint8))
    write(tmp_path / "strip.png", np.full((50, 20000, 3), 255, np.uint8))
    detector = zoo.build("centernet_tiny", ["cat", "dog"])
    for one in predict(detector, tmp_path, score=0.0, size=64):
        assert np.isfinite(one.boxes).all()


def test_results_are_written_as_coco_rows_with_names(folder: Path, tmp_path: Path) -> None:
    found = list(iter_predict(spot_detector(), folder))
    write_results(tmp_path / "out" / "results.json", found)
    rows = json.loads((tmp_path / "out" / "results.json").read_text())
    assert rows == result_rows(found)
    assert len(rows) == sum(len(one.detections) for one in found)
    x1, y1, x2, y2 = found[0].detections.boxes[0].tolist()
    assert rows[0] == {
        "image_id": 0,
        "file_name": str(folder / "a.jpg"),
        "category_id": 1,
        "category_name": "spot",
        "bbox": pytest.approx([x1, y1, x2 - x1, y2 - y1]),
        "score": pytest.approx(float(found[0].detections.scores[0])),
    }


def test_a_checkpoint_is_as_good_as_a_detector(tmp_path: Path) -> None:
    torch.manual_seed(3)
    detector = zoo.build("centernet_tiny", ["cat", "dog"])
    with torch.no_grad():
        detector.network.heads.get_parameter("last.sides.bias").add_(0.5)
    path = tmp_path / "tiny.safetensors"
    detector.save(path)
    image = np.random.default_rng(0).integers(0, 255, (90, 130, 3)).astype(np.uint8)
    calls: list[tuple[int, int]] = []
    arguments = {"score": 0.0, "size": (64, 96)}
    loaded = predict(path, [image] * 3, progress=lambda *a: calls.append(a), **arguments)  # type: ignore[arg-type]
    direct = predict(detector, [image] * 3, **arguments)  # type: ignore[arg-type]
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert len(loaded[0]) > 50
    for one, other in zip(loaded, direct, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)


def test_results_can_be_used_like_any_array() -> None:
    image = spot_image((64, 64), [(30.0, 30.0)])
    found, other = predict(spot_detector(), [image, image])
    before = other.boxes.copy()
    for written in (found.boxes, found.scores, found.labels):
        assert written.flags.writeable
        written[0] = 1
    assert found.boxes[0].tolist() == [1, 1, 1, 1]
    # A result is nobody else's memory, and a tensor of it can be learned from.
    np.testing.assert_array_equal(other.boxes, before)
    scores = torch.from_numpy(other.scores).requires_grad_()
    (scores * torch.from_numpy(other.boxes)[:, 0]).sum().backward()
    assert scores.grad is not None


def test_profile_fills_the_timings(folder: Path) -> None:
    timings = Timings()
    predict(spot_detector(), folder, timings=timings)
    assert timings.images == 3
    assert timings.load > 0
