"""Videos and JSON lines are written whole or not at all, each frame in its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from blobs import NAMES, spot_image
from films import SIZE, pictures

from heatpoint.data.results import Detections
from heatpoint.errors import HeatpointError
from heatpoint.geometry import Image
from heatpoint.video import Video, VideoFrame, line, look
from heatpoint.video.writing import ENCODERS, json_lines, video_file


@pytest.mark.parametrize("suffix", sorted(ENCODERS))
@pytest.mark.parametrize("size", [(97, 131), (1, 1), (64, 40)])
def test_a_written_video_has_every_picture(
    tmp_path: Path, suffix: str, size: tuple[int, int], capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / f"film{suffix}"
    with video_file(path, 29.97) as written:
        for number in range(5):
            written.write(np.full((*size, 3), 40 * number, np.uint8))
        assert not path.exists()
    with Video(str(path)) as video:
        assert video.rate == pytest.approx(29.97, abs=1e-3)
    read = pictures(path)
    assert read[0].shape == (*(max(16, side + side % 2) for side in size), 3)
    assert [round(float(image.mean()) / 40) for image in read] == list(range(5))
    assert list(path.parent.iterdir()) == [path]
    assert capfd.readouterr().err == ""


def test_pictures_keep_pace_with_a_clock(tmp_path: Path) -> None:
    with video_file(tmp_path / "film.avi", 10) as written:
        for moment in (7.0, 7.1, 7.4, 7.41, 7.5):
            written.write(np.full((32, 32, 3), 200 * (moment - 7), np.uint8), moment)
        assert written.frames == 6
    shades = [float(image.mean()) for image in pictures(tmp_path / "film.avi")]
    assert np.abs(np.subtract(shades, [0, 20, 20, 20, 80, 100])).max() < 3


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_frames_are_shown_when_they_were(tmp_path: Path, suffix: str) -> None:
    moments = [5.0, 5.04, 5.5, 5.6, 7.0]
    with video_file(tmp_path / f"film{suffix}", 10, exact=True) as written:
        written.write(None, moments[0])
        for moment in moments[1:]:
            shade = None if moment == 7.0 else np.full((32, 32, 3), 100 * (moment - 5), np.uint8)
            written.write(shade, moment)
        assert (written.exact, written.frames) == (True, len(moments))
    with Video(str(tmp_path / f"film{suffix}")) as video:
        frames = list(video.frames())
    for frame, moment, shade in zip(frames, moments, (4, 4, 50, 60, 60), strict=True):
        assert frame.seconds == pytest.approx(moment - 5, abs=2e-3)
        assert frame.image is not None
        assert float(frame.image.mean()) == pytest.approx(shade, abs=3)


def test_an_mp4_is_what_browsers_play(tmp_path: Path) -> None:
    with video_file(tmp_path / "film.mp4", 25) as written:
        written.write(np.full((64, 64, 3), (250, 10, 60), np.uint8))
    with av.open(str(tmp_path / "film.mp4")) as film:
        about = film.streams.video[0].codec_context
        assert (about.name, about.pix_fmt, about.colorspace) == ("h264", "yuv420p", 6)
    assert np.abs(pictures(tmp_path / "film.mp4")[0].mean((0, 1)) - (250, 10, 60)).max() < 4


def test_an_encoder_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(av, "codecs_available", {"mjpeg"})
    picture = np.zeros((32, 32, 3), np.uint8)
    with (
        pytest.raises(HeatpointError, match=r"lacks the encoder libx264 or libopenh264; .*\.avi"),
        video_file(tmp_path / "film.mp4", 25) as written,
    ):
        written.write(picture)
    assert list(tmp_path.iterdir()) == []


def test_a_gap_repeats_and_another_size_is_fitted(tmp_path: Path) -> None:
    with video_file(tmp_path / "film.avi", 10) as written:
        for shade in (None, 40, None, 80):
            side = 32 if shade == 40 else 50
            written.write(None if shade is None else np.full((side, side, 3), shade, np.uint8))
    read = pictures(tmp_path / "film.avi")
    assert {image.shape for image in read} == {(32, 32, 3)}
    assert [round(float(image.mean()) / 40) for image in read] == [1, 1, 1, 2]


def test_videos_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").touch()
    for path, rate, message in [
        (tmp_path / "folder.mp4", 10.0, "it is a folder"),
        (tmp_path / "film.mpg", 10.0, r"ends in \.mp4, \.webm, \.avi"),
        (tmp_path / "film", 10.0, "not in 'nothing'"),
        (tmp_path / "film.mp4", 0.01, r"expected 0\.1 to 240"),
        (tmp_path / "file" / "film.mp4", 10.0, "cannot write"),
    ]:
        with pytest.raises(HeatpointError, match=message), video_file(path, rate):
            pytest.fail("nothing may be drawn before the path is known to be good")
    with pytest.raises(HeatpointError, match="no frame"), video_file(tmp_path / "a.mp4", 10):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.mp4"]


def test_a_full_disk_is_noticed(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="needs limits of POSIX systems")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    former = resource.getrlimit(resource.RLIMIT_FSIZE)

    def write_much() -> None:
        with video_file(tmp_path / "film.avi", 10) as written:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, former[1]))
            for _ in range(40):
                written.write(noise)

    try:
        with pytest.raises(HeatpointError, match="File too large; free space"):
            write_much()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert list(tmp_path.iterdir()) == []


def test_lines_reach_the_file_one_by_one(tmp_path: Path) -> None:
    with json_lines(tmp_path / "new" / "out.jsonl") as append:
        append({"frame": 0})
        (partial,) = (tmp_path / "new").iterdir()
        assert partial.read_text() == '{"frame": 0}\n'
        append({"frame": 1})
        assert partial.read_text().count("\n") == 2
    assert (tmp_path / "new" / "out.jsonl").read_text().splitlines()[1] == '{"frame": 1}'
    with pytest.raises(HeatpointError, match="it is a folder"), json_lines(tmp_path):
        pass


def test_broken_frames_keep_their_place_whatever_is_read_ahead() -> None:
    image = spot_image(SIZE, [])
    frames = [VideoFrame(n, n / 10, None if n in (0, 3, 4, 9) else image) for n in range(10)]

    def all_ahead(images: Iterable[Image]) -> Iterator[tuple[Image, Detections]]:
        for each in list(images):
            yield each, Detections.empty(NAMES)

    def one_by_one(images: Iterable[Image]) -> Iterator[tuple[Image, Detections]]:
        for each in images:
            yield each, Detections.empty(NAMES)

    for run in (all_ahead, one_by_one):
        seen = list(look(frames, run))
        assert [frame.number for frame, _ in seen] == list(range(10))
        assert [frame.number for frame, found in seen if found is None] == [0, 3, 4, 9]


def test_a_line_is_as_predict_writes_rows() -> None:
    found = Detections(
        np.array([[1, 2, 11, 22]], np.float32), np.array([0.5], np.float32), np.array([1]), NAMES
    )
    assert line(VideoFrame(7, 0.28, None), found) == {
        "frame": 7,
        "seconds": 0.28,
        "detections": [
            {
                "category_id": 2,
                "category_name": "red spot",
                "bbox": [1.0, 2.0, 10.0, 20.0],
                "score": 0.5,
            }
        ],
    }
    assert line(VideoFrame(7, 0.28, None), None)["error"]
    found.density = np.arange(len(NAMES)) + 0.5
    told = line(VideoFrame(7, 0.28, None), found)["density"]
    assert told == {name: place + 0.5 for place, name in enumerate(NAMES)}
