"""Videos and cameras are read frame by frame, whatever state they are in."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from films import (
    COUNT,
    RATE,
    SIZE,
    Camera,
    brightest,
    film,
    pictures,
    shortened,
    spoiled,
    spot_at,
    turned,
)

from heatpoint.errors import HeatpointError
from heatpoint.video import Video
from heatpoint.video.writing import ENCODERS, video_file


@pytest.mark.parametrize("suffix", sorted(ENCODERS))
def test_frames_come_in_order_with_their_times(tmp_path: Path, suffix: str) -> None:
    with Video(str(film(tmp_path / f"film{suffix}"))) as video:
        frames = list(video.frames())
        assert (video.rate, video.knows_rate, video.count, video.live) == (RATE, True, COUNT, False)
        assert video.ending == ""
    assert [frame.number for frame in frames] == list(range(COUNT))
    for frame in frames:
        assert frame.seconds == pytest.approx(frame.number / RATE, abs=2e-3)
        assert frame.image is not None
        assert frame.image.shape == (*SIZE, 3)
        assert np.abs(np.subtract(brightest(frame.image), spot_at(frame.number))).max() < 1.5


def test_colours_are_those_that_were_written(tmp_path: Path) -> None:
    with video_file(tmp_path / "red.avi", RATE) as written:
        written.write(np.full((*SIZE, 3), (250, 10, 60), np.uint8))
    (read,) = pictures(tmp_path / "red.avi")
    assert np.abs(read.mean((0, 1)) - (250, 10, 60)).max() < 4


@pytest.mark.parametrize(
    ("every", "start", "stop", "expected"),
    [
        (1, 0.0, None, list(range(12))),
        (5, 0.0, None, [0, 5, 10]),
        (1, 0.45, 0.8, [5, 6, 7]),
        (3, 0.35, None, [6, 9]),
        (1, 1.1, 99.0, [11]),
    ],
)
def test_a_part_keeps_numbers_and_times(
    tmp_path: Path, every: int, start: float, stop: float | None, expected: list[int]
) -> None:
    with Video(str(film(tmp_path / "film.mp4"))) as video:
        assert [frame.number for frame in video.frames(every, start, stop)] == expected
        assert video.expected(every, start, stop) == len(expected)


def test_a_broken_frame_is_told_and_survived(tmp_path: Path) -> None:
    with Video(str(spoiled(film(tmp_path / "film.avi"), 4))) as video:
        frames = list(video.frames())
    assert [frame.number for frame in frames] == list(range(COUNT))
    assert [frame.number for frame in frames if frame.image is None] == [4]
    assert frames[4].seconds == pytest.approx(0.4)
    assert frames[5].seconds == pytest.approx(0.5)


@pytest.mark.parametrize("suffix", [".avi", ".webm"])
def test_a_video_cut_in_half_is_read_up_to_there(tmp_path: Path, suffix: str) -> None:
    with Video(str(shortened(film(tmp_path / f"film{suffix}"), 0.6))) as video:
        count = len(list(video.frames()))
        assert 1 <= count < COUNT
        assert f"after {count} of the {COUNT} frames" in video.ending


def test_the_video_of_a_phone_is_upright(tmp_path: Path) -> None:
    plain = pictures(film(tmp_path / "film.mp4"))
    upright = pictures(turned(tmp_path / "film.mp4"))
    for before, after in zip(plain, upright, strict=True):
        np.testing.assert_array_equal(after, np.rot90(before, -1))


def test_an_address_is_a_stream(tmp_path: Path) -> None:
    path = film(tmp_path / "film.avi")
    with Video(path.as_uri()) as video:
        assert not video.live  # it announces its end
        assert len(list(video.frames())) == COUNT


def test_a_camera_is_timed_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    moments = iter([100.0, *(100.0 + 0.25 * place for place in range(7))])
    monkeypatch.setattr("time.monotonic", lambda: next(moments))
    with Video("camera:0") as video:
        frames = list(video.frames())
        assert (video.live, video.knows_rate, video.rate, video.count) == (True, False, 30.0, None)
        assert video.expected() is None
    assert [frame.image is None for frame in frames] == [place == 2 for place in range(8)]
    times = [frame.seconds for frame in frames if frame.image is not None]
    assert times == [0.25 * place for place in range(7)]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.mp4", r"nowhere\.mp4 does not exist"),
        (".", "is a folder; heatpoint predict"),
        ("text.mp4", r"text\.mp4 cannot be opened as a video"),
        ("nothing.mp4", "is empty"),
        ("cut.mp4", "lost the index"),
        ("camera:77", "camera:77 cannot be opened"),
        ("camera:front", "such as camera:0"),
        ("rtsp://127.0.0.1:1/x", "nothing answers"),
    ],
)
def test_what_cannot_be_opened(
    tmp_path: Path,
    source: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.mp4").write_text("no video\n" * 50)
    Path("nothing.mp4").touch()
    shortened(film(tmp_path / "cut.mp4"), 0.5)
    capfd.readouterr()
    with pytest.raises(HeatpointError, match=message):
        Video(source)
    assert capfd.readouterr().err == ""


def test_a_video_without_a_frame(tmp_path: Path) -> None:
    path = film(tmp_path / "film.avi", count=1)
    with Video(str(spoiled(path, 0))) as video, pytest.raises(HeatpointError, match="no frame"):
        list(video.frames())
    with (
        Video(str(film(tmp_path / "film.mp4"))) as video,
        pytest.raises(HeatpointError, match=r"lies after 5 s.*at 1\.10 s"),
    ):
        list(video.frames(start=5.0))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_frames_that_last_differently_long_have_their_true_times(
    tmp_path: Path, suffix: str
) -> None:
    av = pytest.importorskip("av", reason="OpenCV writes no such films")
    times, tick = [0, 40, 80, 200, 240, 600, 640, 680, 1000, 1040], Fraction(1, 1000)
    with av.open(str(tmp_path / f"film{suffix}"), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = tick
        for number, moment in enumerate(times):
            shade = np.full((*SIZE, 3), 20 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(shade, format="rgb24")
            frame.pts, frame.time_base = moment, tick
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    with Video(str(tmp_path / f"film{suffix}")) as video:
        frames = list(video.frames())
        assert video.ending == ""
    assert [round(1000 * frame.seconds) for frame in frames] == times
    shades = [0.0 if frame.image is None else float(frame.image.mean()) for frame in frames]
    assert np.abs(np.subtract(shades, 20 * np.arange(len(times)))).max() < 4
