"""Every file that heatpoint writes is known again, and says what it said before."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from blobs import spot_detector
from PIL import Image as PIL

from heatpoint import zoo
from heatpoint.data.draw import write_picture
from heatpoint.data.images import load_image
from heatpoint.data.readers.coco import write_coco
from heatpoint.inference.predict import predict, write_results
from heatpoint.inference.runner import Found
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.system.files import atomic_write, write_json
from heatpoint.system.signs import SIGN, Kind, is_ours
from heatpoint.training.report import write_csv
from heatpoint.video import VideoFrame, line
from heatpoint.video.writing import json_lines, video_file

KINDS: tuple[Kind, ...] = ("numbers", "annotations", "pictures", "films", "checkpoints", "exported")


def kinds_of(path: Path) -> list[str]:
    return [kind for kind in KINDS if is_ours(path, kind)]


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_pictures_keep_their_pixels_and_carry_a_comment(tmp_path: Path, ending: str) -> None:
    image = np.random.default_rng(0).integers(256, size=(40, 60, 3), dtype=np.uint8)
    path, bare = tmp_path / f"a.{ending}", tmp_path / f"bare.{ending}"
    write_picture(path, image)
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if ending == "jpg" else []
    cv2.imwrite(str(bare), image[..., ::-1], options)
    assert (load_image(path) == load_image(bare)).all()
    with PIL.open(path) as opened:
        opened.load()
        assert opened.info["Comment" if ending == "png" else "comment"] in (SIGN, SIGN.encode())
    assert kinds_of(path) == ["pictures"]
    assert kinds_of(bare) == []
    write_picture(path, image)
    with atomic_write(tmp_path / "copy") as temporary:
        temporary.write_bytes(path.read_bytes())
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()  # signed once


def test_charts_are_signed_too(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    with atomic_write(tmp_path / "chart.png") as temporary:
        Figure(figsize=(1, 1)).savefig(temporary)
    assert kinds_of(tmp_path / "chart.png") == ["pictures"]


@pytest.mark.parametrize("ending", [".mp4", ".webm", ".avi"])
def test_videos_keep_their_frames(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"film{ending}"
    with video_file(path, 10) as film:
        for place in range(12):
            film.write(np.full((48, 64, 3), 20 * place, np.uint8))
    assert kinds_of(path) == ["films"]
    capture = cv2.VideoCapture(str(path))
    grey = []
    while (read := capture.read())[0]:
        grey.append(read[1].mean())
    assert np.allclose(grey, np.arange(12) * 20, atol=6)
    assert capture.get(cv2.CAP_PROP_FPS) == 10
    bare = tmp_path / f"bare{ending}"
    bare.write_bytes(path.read_bytes()[:-40])
    assert kinds_of(bare) == []


def test_texts_and_checkpoints(tmp_path: Path) -> None:
    found = predict(spot_detector((64, 64)), _spots())
    rows = [Found(0, "a.jpg", (64, 64), one) for one in found]
    write_results(tmp_path / "rows.json", rows)
    write_results(tmp_path / "none.json", [])
    write_json(tmp_path / "coco_rows.json", [{"image_id": 1, "score": 0.5}])
    write_json(tmp_path / "numbers.json", {"ap": 0.5})
    with json_lines(tmp_path / "film.jsonl") as append:
        append(line(VideoFrame(0, 0.0, None), found[0]))
    write_csv(tmp_path, [{"epoch": 1, "updates": 2, "seconds": 0.1, "loss": 3.0}])
    for name in ("rows", "none", "coco_rows", "numbers"):
        assert kinds_of(tmp_path / f"{name}.json") == ["numbers"], name
    assert kinds_of(tmp_path / "film.jsonl") == kinds_of(tmp_path / "log.csv") == ["numbers"]
    assert kinds_of(write_shapes(tmp_path / "shapes", 2, (64, 64))) == ["annotations"]
    assert kinds_of(tmp_path / "shapes" / "images" / "000001.jpg") == ["pictures"]
    zoo.build("centernet_tiny", ["a"]).save(tmp_path / "a.safetensors")
    assert kinds_of(tmp_path / "a.safetensors") == ["checkpoints"]


def _spots() -> np.ndarray:
    from blobs import spot_image

    return spot_image((64, 64), [(22.5, 40.0)], radius=7)


def test_files_of_others_are_not_ours(tmp_path: Path) -> None:
    import json

    from safetensors.numpy import save_file

    annotations = {"images": [{"id": 1, "file_name": "heatpoint 0.2.0.jpg"}], "annotations": []}
    for name, content in {
        "coco.json": json.dumps(annotations, indent=2),
        "rows.json": json.dumps([{"image_id": 1, "score": 0.5}]),
        "notes.json": '{"written_by": "me, with heatpoint 0.2.0"}',
        "text.txt": "written by heatpoint 0.2.0",
        "page.xml": "<annotation><folder>heatpoint</folder></annotation>",
    }.items():
        (tmp_path / name).write_text(content)
        assert kinds_of(tmp_path / name) == [], name
    save_file({"a": np.zeros(2, np.float32)}, tmp_path / "b.safetensors", {"format": "heatpoint"})
    assert kinds_of(tmp_path / "b.safetensors") == []
    (tmp_path / "empty").touch()
    assert kinds_of(tmp_path / "empty") == list(KINDS)


def test_a_split_can_be_read_again(tmp_path: Path) -> None:
    from heatpoint.data.readers import read

    first = read(write_shapes(tmp_path / "a", 3, (64, 64)))
    write_coco(first, tmp_path / "a" / "again.json")
    again = read(tmp_path / "a" / "again.json")
    assert again.objects == first.objects
    assert not again.findings
