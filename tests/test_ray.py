"""Prediction on a cluster: the rows of one process, whatever dies meanwhile."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import tarfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from drawn_graphs import BOXES, JOINTS, draw_onnx
from ray_rows import draw, of_one_process, options_of, parquet, pyarrow, told, written

from heatpoint.commands import parse
from heatpoint.commands.finding import Predict
from heatpoint.errors import HeatpointError, HeatpointWarning
from heatpoint.inference.predict import iter_predict, result_rows
from heatpoint.ray import predict
from heatpoint.scale import ScaleOptions
from heatpoint.scale.looking import Looker
from heatpoint.scale.pictures import Storage, divided, find
from heatpoint.scale.results import Results
from heatpoint.scale.work import job_of


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(draw_onnx(tmp_path / "model.onnx"))


def without_ray(options: ScaleOptions) -> Path:
    """Does in this process what a driver and a worker do, and returns the folder of results."""
    out = Path(options.cluster.out)
    storage, names, kind = find(options.images, options.recursive, out)
    job, files = job_of(options, storage)
    looker, parts = Looker(job, lambda: files), divided(names, kind, options.cluster.part)
    with Results(out) as results:
        results.plan(options, files, names, parts)
        for part in reversed([each for each in parts if not results.has(each.number)]):
            looked = looker.look(part)
            assert not looked.mistake, looked.mistake
            results.write(looked)
            assert results.has(part.number)
    return out


def test_rows_are_those_of_one_process(model: str, tmp_path: Path) -> None:
    photos = draw(tmp_path / "photos", 200)
    out = without_ray(options_of(model, photos, tmp_path / "out", part=16))
    rows = of_one_process(model, photos)
    assert len(rows) > 20
    assert written(out) == rows
    pictures = told(out)
    assert [row["image_id"] for row in pictures] == list(range(200))
    assert sum(row["found"] for row in pictures) == len(rows)
    bad = [row for row in pictures if row["error"]]
    assert [(row["image_id"], row["height"]) for row in bad] == [(3, None)]
    assert "00003.png is not an image" in bad[0]["error"]


def test_joints_are_looked_for_where_a_detector_finds_boxes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("inference.predict", "scale.looking"):
        monkeypatch.setattr(f"heatpoint.{module}.USUAL", 3)  # the drawn graph gives no more
    photos = draw(tmp_path / "photos", 100)
    boxes = draw_onnx(tmp_path / "boxes.onnx", replace(BOXES, names=("animal", "b", "c"), rows=3))
    joints = str(draw_onnx(tmp_path / "joints.onnx", JOINTS))
    options = options_of(
        joints, photos, tmp_path / "out", part=8, detector=str(boxes), max_detections=None
    )
    storage, names, kind = find(options.images, False, options.cluster.out)
    job, files = job_of(options, storage)
    looker = Looker(job, lambda: files)
    looked = [looker.look(part) for part in divided(names, kind, 56)]
    assert [one.mistake for one in looked] == ["", ""]
    rows = [json.loads(line) for one in looked for line in one.jsonl.splitlines()]
    with pytest.warns(HeatpointWarning, match="skipped"):
        alone = result_rows(iter_predict(joints, photos, detector=boxes, skip_bad=True, score=0.1))
    assert rows == alone
    assert len(rows) > 3
    assert len(rows[0]["keypoints"]) == 9


def test_pictures_in_parquet_and_tar_files(model: str, tmp_path: Path) -> None:
    photos = draw(tmp_path / "photos", 20)
    files = sorted(photos.iterdir())
    alone = of_one_process(model, photos)
    rows = [{"path": file.name, "jpg": file.read_bytes()} for file in files]
    for name, some in (("a", rows[:12]), ("b", rows[12:])):
        parquet.write_table(pyarrow.Table.from_pylist(some), tmp_path / f"{name}.parquet")
    with tarfile.open(tmp_path / "c.tar", "w") as archive:
        for file in files:
            archive.add(file, file.name)
            archive.addfile(tarfile.TarInfo(f"{file.stem}.txt"), io.BytesIO())
    for shard in ("*.parquet", "c.tar"):
        out = without_ray(options_of(model, tmp_path / shard, tmp_path / f"out-{shard[-3:]}"))
        seen = written(out)
        assert [Path(row["file_name"]).name for row in seen] == [
            Path(row["file_name"]).name for row in alone
        ]
        assert [row["bbox"] for row in seen] == [row["bbox"] for row in alone]
        assert [row["score"] for row in seen] == [row["score"] for row in alone]
        assert [Path(r["file_name"]).name for r in told(out) if r["error"]] == ["00003.png"]


def test_a_file_of_pictures_that_is_cut_off_is_a_row(model: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "whole.tar", "w") as archive:
        for file in sorted(draw(tmp_path / "photos", 3).iterdir()):
            archive.add(file, file.name)
    data = (tmp_path / "whole.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[:700])
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    for kind in ("tar", "parquet"):
        out = without_ray(options_of(model, tmp_path / f"cut.{kind}", tmp_path / f"out-{kind}"))
        assert "is damaged or cut off" in told(out)[-1]["error"]


def test_pictures_of_a_file_system_of_arrow(model: str, tmp_path: Path) -> None:
    from pyarrow import fs

    photos = draw(tmp_path / "photos", 9)
    files = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    storage = Storage(files, "s3://")
    names = storage.listed("s3://photos", False)
    assert names == [f"s3://photos/{place:05}.png" for place in range(9)]
    job, content = job_of(options_of(model, photos, tmp_path / "out"), storage)
    looked = Looker(job, lambda: content).look(divided(names, "pictures", 9)[0])
    rows = [json.loads(line) for line in looked.jsonl.splitlines()]
    alone = of_one_process(model, photos)
    assert [(row["image_id"], row["bbox"]) for row in rows] == [
        (row["image_id"], row["bbox"]) for row in alone
    ]
    assert looked.bad == 1
    with pytest.raises(HeatpointError, match="s3://none does not exist or holds nothing"):
        storage.listed("s3://none", False)


class Bucket(BaseHTTPRequestHandler):
    """Answers as S3 does about a bucket whose objects are the files of a folder."""

    objects: ClassVar[dict[str, bytes]] = {}

    def answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else content)

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        bucket, _, key = unquote(address.path).strip("/").partition("/")
        if bucket != "bucket":
            self.answer(403, b"<Error><Code>AccessDenied</Code><Message>Denied</Message></Error>")
        elif not key:
            start = parse_qs(address.query).get("prefix", [""])[0]
            told = "".join(
                f"<Contents><Key>{name}</Key><Size>{len(data)}</Size></Contents>"
                for name, data in sorted(self.objects.items())
                if name.startswith(start)
            )
            head = "<IsTruncated>false</IsTruncated>"
            self.answer(200, f"<ListBucketResult>{head}{told}</ListBucketResult>".encode())
        elif key not in self.objects:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            data, span = self.objects[key], self.headers.get("Range", "")
            first, _, last = span.removeprefix("bytes=").partition("-")
            part = data[int(first) : int(last) + 1] if span else data
            self.answer(206 if span else 200, part, ETag='"1"', Last_Modified=WHEN)

    do_HEAD = do_GET

    def log_message(self, *words: object) -> None:
        pass


WHEN = "Thu, 26 Nov 2026 10:00:00 GMT"


def test_pictures_in_a_bucket_of_s3(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = draw(tmp_path / "photos", 9)
    monkeypatch.setattr(
        Bucket, "objects", {f"photos/{file.name}": file.read_bytes() for file in photos.iterdir()}
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "name")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "word")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with ThreadingHTTPServer(("127.0.0.1", 0), Bucket) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        where = f"?scheme=http&region=us-east-1&endpoint_override=127.0.0.1:{server.server_port}"
        out = without_ray(options_of(model, f"s3://bucket/photos/{where}", tmp_path / "out"))
        for address, message in (
            ("s3://bucket/none/", "s3://bucket/none/ does not exist or holds nothing"),
            ("s3://closed/photos/", r"s3://closed/photos/ cannot be listed: .*credentials"),
        ):
            with pytest.raises(HeatpointError, match=message):
                find([address + where], False, tmp_path / "out")
        server.shutdown()
    rows, alone = written(out), of_one_process(model, photos)
    assert [(row["image_id"], row["bbox"]) for row in rows] == [
        (row["image_id"], row["bbox"]) for row in alone
    ]
    assert all(row["file_name"].startswith("s3://bucket/photos/0000") for row in rows)
    assert [row["image_id"] for row in told(out) if row["error"]] == [3]


def test_what_is_not_there_or_at_odds(model: str, tmp_path: Path) -> None:
    photos = draw(tmp_path / "photos", 4)
    (tmp_path / "empty").mkdir()
    for given, out, message in (
        (tmp_path / "empty", "out", "holds no picture that is read.*--recursive"),
        (photos, "photos/out", "lies in .*photos, where pictures are read"),
        (tmp_path / "absent.jpg", "out", "does not exist"),
        ("nowhere://bucket", "out", "cannot be reached"),
    ):
        with pytest.raises(HeatpointError, match=message):
            find([str(given)], False, tmp_path / out)
    options = options_of(model, photos, tmp_path / "out", part=8)
    without_ray(options)
    without_ray(options)
    options.keep.score = 0.5
    with pytest.raises(HeatpointError, match="differs in score; repeat it"):
        without_ray(options)
    with pytest.raises(HeatpointError, match="something else than a run on a cluster"):
        without_ray(options_of(model, photos, photos.parent / "empty" / ".."))


def test_a_disk_that_is_full_costs_what_was_not_written(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, calls = draw(tmp_path / "photos", 40), list[int]()

    def fsync(file: int) -> None:
        calls.append(file)
        if len(calls) > 8:
            raise OSError(errno.ENOSPC, "No space left on device")

    options = options_of(model, photos, tmp_path / "out", part=8)
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fsync)
        with pytest.raises(HeatpointError, match=r"cannot write .*No space left"):
            without_ray(options)
    there = sorted((tmp_path / "out" / "pictures").iterdir())
    assert [file.name for file in there] == ["part-000003.parquet", "part-000004.parquet"]
    before = [file.stat().st_mtime_ns for file in there]
    assert written(without_ray(options)) == of_one_process(model, photos)
    assert [file.stat().st_mtime_ns for file in there] == before


def test_mistakes_of_a_worker_are_sentences(model: str, tmp_path: Path) -> None:
    options = options_of(model, draw(tmp_path / "photos", 4), tmp_path / "out")
    storage, names, kind = find(options.images, False, options.cluster.out)
    job, files = job_of(options, storage)
    part = divided(names, kind, 8)[0]
    looked = Looker(replace(job, version="0.0.1"), lambda: files).look(part)
    assert "the run was started by 0.0.1; install the same version" in looked.mistake
    looked = Looker(job, lambda: {job.model: b"no graph"}).look(part)
    assert looked.mistake.startswith("ONNX Runtime cannot load model.onnx: ")
    options.run.size = 33
    looked = Looker(job, lambda: files).look(part)
    assert "33" in looked.mistake
    assert looked.pictures == 0


def test_mistakes_that_need_no_cluster_are_told_before_one_is_started(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heatpoint.ray.check", lambda _: None)
    monkeypatch.setattr("heatpoint.ray.work", None)  # nothing may be asked of a cluster
    picture = draw(tmp_path / "photos", 1) / "00000.png"
    both = {name: [picture.read_bytes()] for name in ("left", "right")}
    parquet.write_table(pyarrow.table(both), tmp_path / "two.parquet")
    for given, images, message in (
        (model, tmp_path / "two.parquet", r"2 hold bytes \(left, right\); name that .*column"),
        (picture, picture, "00000.png is not a heatpoint detector"),
        (model, ["s3://bucket/a/", "gs://bucket/b/"], "are in several places"),
    ):
        with pytest.raises(HeatpointError, match=message):
            predict(given, images, out=tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_ray_is_missing_or_far(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = draw(tmp_path / "photos", 4)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(HeatpointError, match=r"pip install 'heatpoint\[ray\]'"):
        predict(model, str(photos), out=tmp_path / "out")
    with pytest.raises(HeatpointError, match="cores must be at least 1, not 0"):
        predict(model, str(photos), out=tmp_path / "out", cores=0)
    with pytest.raises(HeatpointError, match="batch_size must be at least 1, not 0"):
        predict(model, str(photos), out=tmp_path / "out", batch_size=0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "found-there"], "out is for predict --ray"),
        (["--part", "8"], "part is for predict --ray"),
        (["--ray", "--json", "a.json"], "json is not written with --ray"),
        (["--ray", "auto", "--boxes", "a.json"], "boxes is not for --ray"),
    ],
)
def test_options_that_go_with_a_cluster_or_not(words: list[str], message: str) -> None:
    with pytest.raises(HeatpointError, match=message):
        parse(["model.onnx", "photos", *words], "predict", Predict).run()


def test_where_the_cluster_is(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["model.onnx", "s3://bucket/photos/"]
    assert parse(given, "predict", Predict).ray == ""
    for words, address in ((["--ray"], "local"), (["--ray", "10.0.0.7:6379"], "10.0.0.7:6379")):
        assert parse([*given, *words, "--out", "there"], "predict", Predict).ray == address
    with pytest.raises(SystemExit):
        parse(["--ray", *given], "predict", Predict)
    assert "--ray takes local, auto or HOST:PORT, not 'model.onnx'" in capsys.readouterr().err
