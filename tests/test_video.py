"""The command that looks at videos: what it finds, draws, writes and says."""

from __future__ import annotations

import json
import signal
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from blobs import SIDE, spot_detector
from films import COUNT, RATE, SIZE, Camera, film, pictures, shortened, spoiled, spot_at
from ramps import joints_of, ramp_detector, ramp_image
from runners import runner_of

from heatpoint.cli import main
from heatpoint.data.results import Detections
from heatpoint.geometry import Image
from heatpoint.inference.runner import Runner
from heatpoint.video import Video, line, look
from heatpoint.video.writing import json_lines, video_file
from heatpoint.zoo.detector import Detector


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> dict[str, Detector]:
    """Returns the detectors that stand for checkpoints of their names.

    Their networks are of no architecture that a checkpoint could name, so that reading the file is
    replaced; everything else about opening a model is as for users.
    """
    known = {"spots": spot_detector(SIZE), "ramps": ramp_detector(), "people": _people()}
    monkeypatch.setattr(Detector, "load", known.__getitem__)
    return known


def _people() -> Detector:
    spots = spot_detector(SIZE)
    return Detector(spots.network, spots.codec, ("person", "dog"), spots.meta)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text().splitlines()]


def test_objects_are_found_drawn_and_written(
    detector: dict[str, Detector], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = spoiled(film(tmp_path / "film.avi"), 4)
    drawn, rows = tmp_path / "out" / "drawn.mp4", tmp_path / "out" / "rows.jsonl"
    words = ["video", "spots", str(source), "--draw", str(drawn), "--json", str(rows)]
    assert main([*words, "--score", "0.5"]) == 0
    told = capsys.readouterr()
    assert f"11 objects in 12 frames: {drawn}, {rows}" in told.out
    assert "1 of these frames could not be decoded" in told.err
    written = lines(rows)
    assert [row["frame"] for row in written] == list(range(COUNT))
    assert written[4] == {"frame": 4, "seconds": 0.4, "error": "the frame cannot be decoded"}
    for row in written[:4] + written[5:]:
        (one,) = row["detections"]
        x, y, width, height = one["bbox"]
        assert one["category_name"] == "spot"
        assert (width, height) == pytest.approx((SIDE, SIDE))
        middle = x + width / 2, y + height / 2
        assert np.abs(np.subtract(middle, spot_at(row["frame"]))).max() < 3
    with Video(str(drawn)) as video:
        assert (video.rate, video.count) == (RATE, COUNT)
    # The box is drawn, in a colour: nothing but grey was there.
    coloured = [int(np.ptp(image, axis=2).max()) for image in pictures(drawn)]
    assert min(coloured) > 60


def test_each_third_frame_plays_at_a_third_of_the_rate(
    detector: dict[str, Detector], tmp_path: Path
) -> None:
    source, drawn = film(tmp_path / "film.mp4"), tmp_path / "drawn.webm"
    assert main(["video", "spots", str(source), "--draw", str(drawn), "--every", "3"]) == 0
    with Video(str(drawn)) as video:
        assert (round(video.rate, 2), video.count) == (3.33, 4)
    assert main(["video", "spots", str(source), "--draw", str(drawn), "--fps", "5"]) == 0
    with Video(str(drawn)) as video:
        assert (video.rate, video.count) == (5.0, COUNT)


def test_poses_of_frames_and_of_the_subjects_in_them(
    detector: dict[str, Detector], tmp_path: Path
) -> None:
    source, rows = tmp_path / "film.avi", tmp_path / "rows.jsonl"
    box = (30.0, 10.0, 110.0, 90.0)
    with video_file(source, RATE) as written:
        for _ in range(3):
            written.write(ramp_image((100, 140), [box]))
    assert main(["video", "ramps", str(source), "--json", str(rows)]) == 0
    for row in lines(rows):
        (pose,) = row["poses"]
        assert pose["category_name"] == "person"
        joints = np.array(pose["keypoints"]).reshape(4, 3)[:, :2] + 0.5
        assert np.abs(joints - np.asarray(joints_of(box))).max() < 6
    film(source)
    drawn = tmp_path / "drawn.mp4"
    words = ["video", "ramps", str(source), "--detector", "people", "--score", "0.5"]
    assert main([*words, "--json", str(rows), "--draw", str(drawn)]) == 0
    assert [len(row["poses"]) for row in lines(rows)] == [1] * COUNT
    assert len(pictures(drawn)) == COUNT


def test_ctrl_c_finishes_the_files(
    detector: dict[str, Detector],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plot = Detections.plot
    drawings: list[Image] = []

    def interrupted(found: Detections, image: Image) -> Image:
        drawings.append(plot(found, image))
        if len(drawings) == 4:
            handler = signal.getsignal(signal.SIGINT)
            assert callable(handler)
            handler(signal.SIGINT, None)
        return drawings[-1]

    monkeypatch.setattr(Detections, "plot", interrupted)
    drawn, rows = tmp_path / "drawn.mp4", tmp_path / "rows.jsonl"
    source = film(tmp_path / "film.mp4", count=40)
    words = ["video", "spots", str(source), "--draw", str(drawn), "--json", str(rows)]
    assert main(words) == 130
    assert "interrupted" in capsys.readouterr().err
    assert len(pictures(drawn)) == len(lines(rows)) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "drawn.mp4",
        "film.mp4",
        "rows.jsonl",
    ]


def test_a_cut_video_is_told_at_the_end(
    detector: dict[str, Detector], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, rows = shortened(film(tmp_path / "film.avi"), 0.6), tmp_path / "rows.jsonl"
    assert main(["video", "spots", str(source), "--json", str(rows)]) == 0
    assert f"ends after {len(lines(rows))} of the {COUNT} frames" in capsys.readouterr().err


def test_a_camera_that_does_not_say_its_rate(
    detector: dict[str, Detector],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = cv2.VideoCapture
    monkeypatch.setattr(
        cv2, "VideoCapture", lambda *words: Camera(0) if words == (0,) else real(*words)
    )
    assert main(["video", "spots", "camera:0", "--draw", str(tmp_path / "drawn.avi")]) == 0
    told = capsys.readouterr()
    assert "30 frames/s are assumed" in told.err
    assert "0 objects in 8 frames" in told.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["spots", "film.mp4"], "nothing is to be written"),
        (["spots", "film.mp4", "--draw", "film.mp4"], "film.mp4 is read"),
        (["spots", "film.mp4", "--json", "a", "--every", "0"], "--every must be at least 1"),
        (["spots", "film.mp4", "--json", "a", "--start", "3", "--stop", "2"], "less than --stop"),
        (["spots", "film.mp4", "--json", "a", "--start", "30"], "lies after 30 s"),
        (["spots", "film.mp4", "--draw", "a.mp4", "--fps", "0"], "0 frames/s"),
        (["spots", "film.mp4", "--draw", "a.gif"], "a video ends in"),
        (["spots", "film.mp4", "--json", "a", "--detector", "people"], "finds boxes by itself"),
        (["ramps", "film.mp4", "--json", "a", "--nms", "0.5"], "nms does not apply"),
        (["ramps", "film.mp4", "--json", "a", "--nms", "0.5"], "needs boxes or detector"),
        (["ramps", "film.mp4", "--json", "a", "--soft-nms", "linear"], "one result for each box"),
        (["ramps", "film.mp4", "--json", "a", "--detector", "ramps"], "boxes in whole pictures"),
        (["spots", "nowhere.mp4", "--json", "a"], "does not exist"),
    ],
)
def test_a_mistake_is_one_sentence(
    detector: dict[str, Detector],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    film(tmp_path / "film.mp4")
    capfd.readouterr()
    assert main(["video", *words]) == 1
    told = capfd.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_boxes_of_pictures_are_no_option_of_films(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["video", "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "--detector" in shown
    assert "--boxes" not in shown
    with pytest.raises(SystemExit) as stop:
        main(["video", "ramps", "film.mp4", "--json", "a", "--boxes", "b"])
    assert stop.value.code == 2
    assert "--boxes" in capsys.readouterr().err


def _peak(runner: Runner, source: Path, folder: Path) -> int:
    """Returns the most bytes that Python and NumPy held at once over a whole video."""
    tracemalloc.start()
    with (
        Video(str(source)) as video,
        video_file(folder / "out.avi", RATE) as drawn,
        json_lines(folder / "out.jsonl") as append,
    ):
        for frame, found in look(video.frames(), lambda images: runner.frames(images, None)):
            append(line(frame, found))
            drawn.write(frame.image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_video(tmp_path: Path) -> None:
    size = (64, 64)
    runner = runner_of(spot_detector((32, 32)))
    short, long = (film(tmp_path / f"{count}.avi", count, size) for count in (20, 120))
    _peak(runner, short, tmp_path)  # what is imported and set up once is left out
    grown = _peak(runner, long, tmp_path) - _peak(runner, short, tmp_path)
    assert grown < 20 * 3 * size[0] * size[1], "of 100 more frames at most 20 are kept"
