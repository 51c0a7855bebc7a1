"""Identities through films, and what is counted by them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blobs import spot_detector, spot_image
from films import RATE, SIZE, film, pictures, spoiled

from heatpoint.cli import main
from heatpoint.data.results import Detections
from heatpoint.data.skeleton import Skeleton
from heatpoint.geometry import Image
from heatpoint.inference.runner import Runner
from heatpoint.video.bytetrack import ByteTrack
from heatpoint.video.counting import Counts
from heatpoint.video.tracking import Tracks
from heatpoint.video.writing import video_file
from heatpoint.zoo.detector import Detector

COUNT = 16


def places(number: int) -> list[tuple[float, float]]:
    """Returns where two spots are that pass each other, the upper one to the right."""
    return [(16.0 + 6 * number, 32.0), (112.0 - 6 * number, 64.0)]


@pytest.fixture
def crossing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a film of two spots; the model "spots" finds them."""
    monkeypatch.setattr(Detector, "load", {"spots": spot_detector(SIZE)}.__getitem__)
    monkeypatch.chdir(tmp_path)
    with video_file("film.avi", RATE) as written:
        for number in range(COUNT):
            written.write(spot_image(SIZE, places(number), radius=8))
    return tmp_path / "film.avi"


def look(*words: str) -> int:
    return main(["video", "spots", "film.avi", "--score", "0.5", "--nms", "0.2", *words])


def rows(path: str = "rows.jsonl") -> list[dict[str, Any]]:
    return [json.loads(text) for text in Path(path).read_text().splitlines()]


def boxes(*middles: tuple[float, float], side: float = 20.0) -> Detections:
    middle = np.array(middles, np.float32).reshape(-1, 2)
    corners = np.concatenate((middle - side / 2, middle + side / 2), 1)
    count = len(middle)
    scores, labels = np.full(count, 0.5, np.float32), np.arange(count) % 2
    return Detections(corners, scores, labels, ("a", "b"))


def points(*middles: tuple[float, float]) -> Detections:
    found = boxes(*middles, side=0)
    return Detections(
        found.boxes, found.scores, found.labels, found.names, columns={"points": found.boxes[:, :2]}
    )


def followed(tracks: Tracks, frames: list[Detections], every: int = 1) -> list[list[int]]:
    told = []
    for number, found in enumerate(frames):
        track = tracks.follow(found, number * every / RATE, SIZE).track
        assert track is not None
        told.append(track.tolist())
    return told


def test_things_keep_their_identity_in_every_file(
    crossing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ("--json", "rows.jsonl", "--csv", "rows.csv", "--draw", "drawn.avi")
    assert look(*files, "--count-line", "64,0,64,96", "--count-zone", "0,0,40,0,40,96,0,96") == 0
    told = capsys.readouterr().out
    assert "2 identities, which 30 of 32 rows have" in told
    # To the left of someone who walks down the line is the right half of the picture.
    assert "line 1: 1 in, 1 out" in told
    assert "zone 1: 2 tracks, at most 1 at once" in told
    upper, lower = set(), set()
    for row in rows():
        for one in row["detections"]:
            (upper if one["bbox"][1] < 36 else lower).add(one.get("track"))
    assert (len(upper), len(lower)) == (2, 2)
    assert upper & lower == {None}  # the first frame alone
    assert rows()[-1]["lines"] == [{"in": 1, "out": 1}]
    assert rows()[-1]["zones"] == [{"now": 1, "tracks": 2}]
    with open("rows.csv", newline="") as file:
        table = list(csv.DictReader(file))
    first = ["frame", "seconds", "track", "class", "score", "x1", "y1", "x2", "y2"]
    assert list(table[0]) == first
    written = [(one.get("track"), row["frame"]) for row in rows() for one in row["detections"]]
    assert [(int(r["track"]) if r["track"] else None, int(r["frame"])) for r in table] == written
    # Behind a spot is the way that it took, where nothing was: a colour.
    last = pictures(crossing.with_name("drawn.avi"))[-1]
    way = np.ptp(last[31:34, 70:90].astype(int), axis=2)
    assert way.max(0).min() > 40


def test_again_and_with_more_frames_under_way_identities_are_the_same(
    crossing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ("--json", "again.jsonl", "--csv", "again.csv")
    assert look("--json", "rows.jsonl", "--track") == 0
    assert look(*files, "--track") == 0
    assert rows() == rows("again.jsonl")
    ahead = Runner.frames

    def all_at_once(runner: Runner, images: Iterable[Image], finder: Any) -> Any:
        return iter(list(ahead(runner, images, finder)))

    monkeypatch.setattr(Runner, "frames", all_at_once)
    assert look(*files, "--track") == 0  # files of ours are replaced
    assert rows() == rows("again.jsonl")
    assert look(*files) == 0
    assert Path("again.csv").read_text().startswith("frame,seconds,class,score,x1,")
    assert all("track" not in one for row in rows("again.jsonl") for one in row["detections"])


def test_a_frame_that_cannot_be_decoded_costs_no_identity(
    crossing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoiled(film(crossing), 5)
    assert look("--json", "rows.jsonl", "--track") == 0
    assert "1 identities" in capsys.readouterr().out
    tracks = {one.get("track") for row in rows() for one in row.get("detections", [])}
    assert tracks == {None, 1}


def test_identities_last_while_something_is_out_of_sight() -> None:
    def sight(number: int) -> Detections:
        return boxes() if 5 <= number < 10 else boxes((20.0 + 4 * number, 50.0))

    frames = [sight(number) for number in range(15)]
    told = followed(Tracks(RATE, wait=1.0), frames)
    assert told == [[-1]] + 4 * [[1]] + 5 * [[]] + 5 * [[1]]
    assert followed(Tracks(RATE, wait=0.2), frames)[-1] == [2]


def test_what_was_seen_in_the_frame_before_is_not_out_of_sight() -> None:
    """However long ago that frame is, and however short one waits."""
    frames = [boxes((20.0 + 4 * number, 50.0)) for number in range(4)]
    assert followed(Tracks(RATE, wait=0.0), frames) == [[-1]] + 3 * [[1]]
    assert followed(Tracks(RATE / 15, wait=1.0), frames, every=15) == [[-1]] + 3 * [[1]]
    gone = [*frames[:2], boxes(), *frames[2:]]
    assert followed(Tracks(RATE, wait=0.0), gone) == [[-1], [1], [], [-1], [2]]


@pytest.mark.parametrize("count", [3, 30])
@pytest.mark.parametrize("steady", [True, False])
def test_identities_are_those_of_the_package_trackers(count: int, steady: bool) -> None:
    trackers = pytest.importorskip("trackers", reason="is what identities are compared with")
    import supervision

    theirs = trackers.ByteTrackTracker(
        frame_rate=RATE, track_activation_threshold=0.0, high_conf_det_threshold=0.0
    )
    ours, rng, seconds, most = ByteTrack(RATE, 1.0), np.random.default_rng(count), 0.0, 0
    middles, halves = rng.uniform(0, 400, (count, 2)), rng.uniform(10, 40, (count, 2))
    speeds = rng.uniform(-6, 6, (count, 2))
    for _ in range(60):
        seconds += (1 if steady else rng.uniform(0.3, 3)) / RATE
        middles += speeds
        speeds = np.where((middles < 0) | (middles > 400), -speeds, speeds)
        seen = np.concatenate((middles - halves, middles + halves), 1)[rng.random(count) < 0.8]
        seen += rng.normal(0, 2, seen.shape)
        given = supervision.Detections(
            seen, confidence=np.full(len(seen), 0.5), data={"row": np.arange(len(seen))}
        )
        told = theirs.update(given, timestamp=seconds)
        wanted = np.full(len(seen), -1)
        wanted[told.data["row"]] = np.where(told.tracker_id < 0, -1, told.tracker_id + 1)
        assert ours.update(seen, seconds).tolist() == wanted.tolist()
        most = max(most, *wanted)
    assert ours.count == most >= count


def test_times_that_vary_are_those_that_count() -> None:
    """Half of the frames are missing in the middle, and the thing has moved on meanwhile."""
    numbers = [*range(6), *range(6, 16, 5), *range(16, 22)]
    tracks = Tracks(RATE)
    told = [
        tracks.follow(boxes((20.0 + 6 * n, 50.0), side=24), n / RATE, SIZE).columns["track"][0]
        for n in numbers
    ]
    assert told == [-1] + [1] * (len(numbers) - 1)


def test_points_are_followed_in_squares_as_large_as_they_are_apart() -> None:
    frames = [points((10.0 + 5 * n, 20.0), (10.0 + 5 * n, 50.0)) for n in range(8)]
    assert followed(Tracks(RATE), frames) == [[-1, -1]] + 7 * [[1, 2]]
    small = Tracks(RATE, side=2)
    assert followed(small, frames) == 8 * [[-1, -1]]
    assert "--track-box" in small.complaint()
    assert small.rows == 16


def test_joints_are_followed_by_their_boxes() -> None:
    skeleton = Skeleton(("head", "tail"), ((0, 1),))
    tracks = Tracks(RATE)
    for number in range(3):
        found = boxes((20.0 + 4 * number, 40.0))
        joints = np.full((1, 2, 3), 30.0, np.float32)
        kind = found.boxes, found.scores, found.labels, found.names
        track = tracks.follow(Detections(*kind, joints, skeleton), number / RATE, SIZE).track
        assert track is not None
    assert track.tolist() == [1]


def test_a_row_without_identity_is_not_counted_and_classes_are_told_apart() -> None:
    counts = Counts([((0.0, 50.0), (128.0, 50.0))], [], ("a", "b"))
    for number, tracks in enumerate(([1, 2], [1, 2], [1, 2])):
        found = boxes((30.0, 40.0 + 10 * number), (90.0, 60.0 - 10 * number))
        columns = {"track": np.array(tracks) if number else np.array([1, 2])}
        kind = found.boxes, found.scores, found.labels, found.names
        told = counts.update(Detections(*kind, columns=columns), SIZE)
    assert told == {"lines": [{"in": 1, "out": 1}]}
    assert counts.summary() == ["line 1: 1 in, 1 out (a 0 in, 1 out; b 1 in, 0 out)"]
    lost = Counts([((0.0, 50.0), (128.0, 50.0))], [], ("a", "b"))
    for y in (40.0, 60.0, 70.0):
        found = boxes((30.0, y))
        kind = found.boxes, found.scores, found.labels, found.names
        told = lost.update(Detections(*kind, columns={"track": np.array([-1])}), SIZE)
    assert told == {"lines": [{"in": 0, "out": 0}]}


def test_steps_too_long_to_follow_are_told(
    crossing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert look("--json", "rows.jsonl", "--track", "--every", "5") == 0
    told = capsys.readouterr()
    assert "0 identities, which 0 of 8 rows have" in told.out
    assert "only 0 of 8 rows have an identity" in told.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--count-line", "0,0,500,20"], "corner at 500,20, outside of the picture, which is 128"),
        (["--count-zone", "0,0,90,0,90,-4"], "--count-zone has a corner at 90,-4"),
        (["--count-line", "0,0,50,20,30,30"], "--count-line takes two corners"),
        (["--count-line", "5,5,5,5"], "two corners that differ"),
        (["--count-zone", "0,0,50,20"], "--count-zone takes three corners"),
        (["--count-line", "0,0,50"], "--count-line: '0,0,50' is no outline"),
        (["--track", "--track-wait", "-1"], "--track-wait must be at least 0"),
        (["--track", "--track-box", "0"], "--track-box must be more than 0"),
    ],
)
def test_a_mistake_is_one_sentence(
    crossing: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert look("--json", "rows.jsonl", *words) == 1
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert [path.name for path in crossing.parent.iterdir()] == ["film.avi"]
