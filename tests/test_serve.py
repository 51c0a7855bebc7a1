"""What a server answers: the rows of predict, sentences for mistakes, and within its limits."""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_graphs import BOXES, JOINTS, draw_onnx
from PIL import Image as PIL

import heatpoint
from heatpoint.cli import main
from heatpoint.inference.predict import iter_predict, result_rows
from heatpoint.inference.runner import Runner
from heatpoint.serving import LimitOptions

pytest.importorskip("fastapi", reason="serving needs heatpoint[serve]")
pytest.importorskip("python_multipart", reason="serving needs heatpoint[serve]")
pytest.importorskip("prometheus_client", reason="serving needs heatpoint[serve]")
pytest.importorskip("httpx", reason="starlette's test client needs httpx")
pytest.importorskip("onnxruntime", reason="needs heatpoint[onnx]")

from serving import FOUND, client, picture


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_onnx(tmp_path_factory.mktemp("graph") / "drawn.onnx")


@pytest.fixture(scope="module")
def server(graph: Path) -> Any:
    sender = client(graph, max_detections=3)
    yield sender
    sender.served.close()


def send(server: Any, *files: tuple[str, bytes], **data: Any) -> Any:
    return server.post("/predict", files=[("pictures", file) for file in files], data=data)


def test_rows_are_those_of_predict(server: Any, graph: Path, tmp_path: Path) -> None:
    paths = []
    for seed, (kind, size) in enumerate([("PNG", (60, 90)), ("JPEG", (200, 50)), ("BMP", (9, 9))]):
        paths.append(tmp_path / f"{seed}.{kind.lower()}")
        paths[-1].write_bytes(picture(seed, size, kind))
    for options in ({}, {"score": 0.1}, {"score": 0.1, "tiles": 32}):
        answer = send(server, *((str(path), path.read_bytes()) for path in paths), **options)
        found = iter_predict(graph, paths, max_detections=3, **options)
        assert answer.status_code == 200, answer.text
        assert answer.json() == json.loads(json.dumps(result_rows(found)))
        assert answer.json() or not options


@pytest.mark.parametrize("finds", FOUND)
def test_every_representation_has_the_rows_of_predict(finds: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(picture(1))
    with closing(client(FOUND[finds])) as server:
        for score in (0.1, 0.4):
            rows = send(server, (str(path), path.read_bytes()), score=str(score)).json()
            found = iter_predict(FOUND[finds], [path], score=score)
            assert rows == json.loads(json.dumps(result_rows(found)))
            assert len(rows) == (3 if score == 0.1 else 2)
        card = server.get("/model").json()
    named = {"joints": "boxes and joints"}
    assert (card["finds"], card["skeleton"] is None) == (named.get(finds, finds), finds != "joints")


def test_a_picture_is_upright_and_is_drawn_as_predict_does(server: Any, graph: Path) -> None:
    file, exif = io.BytesIO(), PIL.Exif()
    exif[274] = 6
    PIL.open(io.BytesIO(picture(3))).save(file, "JPEG", exif=exif)
    answer = send(server, ("a.jpg", file.getvalue()), draw="true", score="0.1")
    assert answer.headers["content-type"] == "image/jpeg"
    drawn = PIL.open(io.BytesIO(answer.content))
    assert drawn.size == (60, 90)
    model = heatpoint.load(graph, max_detections=3, score=0.1)
    wanted = model(file.getvalue()).plot()
    assert np.abs(np.asarray(drawn, int) - wanted).mean() < 8  # what JPEG loses of noise


def huge_png() -> bytes:
    """Returns a PNG file of a few bytes that claims 40000 x 40000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40000, 40000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (b"", 415, "photo.jpg is empty"),
        (b"hello, I am no picture", 415, "not an image in a known format: it holds text"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", 415, "not an image in a known format"),
        (picture(kind="JPEG")[:-40], 422, "photo.jpg is cut off"),
        (picture()[:300], 422, "photo.jpg is broken or cut off"),
        (huge_png(), 413, "too large|claims 40000 x 40000 pixels"),
        (picture(size=(2000, 3000)), 413, "photo.jpg claims 3000 x 2000 pixels; at most 5 million"),
    ],
)
def test_what_is_no_picture_is_a_sentence(
    graph: Path, content: bytes, status: int, says: str
) -> None:
    with closing(client(graph, limits=LimitOptions(megapixels=5), max_detections=3)) as server:
        answer = send(server, ("photo.jpg", content))
        assert answer.status_code == status, answer.text
        assert any(each in answer.json()["detail"] for each in says.split("|"))
        assert send(server, ("photo.jpg", picture())).status_code == 200


@contextlib.contextmanager
def closing(server: Any) -> Iterator[Any]:
    try:
        yield server
    finally:
        server.served.close()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"scroe": "1"}, "no field 'scroe' but pictures, urls, .* did you mean 'score'"),
        ({"score": "2"}, "score input should be less than or equal to 1, not '2'"),
        ({"score": "nan"}, "score input should be"),
        ({"tiles": "many"}, "'many' is no size"),
        ({"tiles": "0"}, "tiles must be one or two positive whole numbers"),
        ({"boxes": "[[[0, 0, 4, 4]]]"}, "boxes is for models that look at one subject"),
        ({"boxes": "{"}, "boxes must be JSON"),
        ({"draw": "true", "urls": "http://example.org/a.jpg"}, "send one picture to be drawn"),
    ],
)
def test_a_wrong_field_is_a_sentence(server: Any, data: dict[str, str], says: str) -> None:
    answer = send(server, ("a.png", picture()), **data)
    assert answer.status_code == 400, answer.text
    assert re.search(says, answer.json()["detail"])


@pytest.mark.parametrize(
    "request_",
    [
        {"data": {"pictures": "a.jpg"}},
        {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=a"}},
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
        {"content": picture(), "headers": {"content-type": "image/png"}},
        {},
        {"files": [("pictures", (f"{n}.png", b"x")) for n in range(65)]},
    ],
)
def test_what_is_no_form_of_pictures_is_a_sentence(server: Any, request_: dict[str, Any]) -> None:
    answer = server.post("/predict", **request_)
    assert answer.status_code == 400, answer.text
    assert "curl -F pictures=@photo.jpg" in answer.json()["detail"]


def test_a_name_is_short_for_it_is_in_every_row(server: Any) -> None:
    answer = send(server, ("a" * 300 + ".png", picture()))
    assert (answer.status_code, "has 304 characters" in answer.json()["detail"]) == (400, True)


def test_other_addresses_and_ways_are_sentences(server: Any) -> None:
    assert server.get("/predict").status_code == 405
    assert server.get("/docs").json()["detail"].startswith("there is nothing at /docs")
    answer = server.post("/heatmap", files={"picture": picture()})
    assert (answer.status_code, "exported file" in answer.json()["detail"]) == (400, True)


def test_a_request_may_have_so_many_bytes(graph: Path) -> None:
    with closing(client(graph, limits=LimitOptions(megabytes=0.05), max_detections=3)) as server:
        large = picture(size=(200, 200), kind="BMP")
        answer = send(server, ("a.bmp", large))
        assert (answer.status_code, "0.05 MB" in answer.json()["detail"]) == (413, True)
        # One that does not say how long it is.
        kind = {"content-type": "multipart/form-data; boundary=x"}
        start = b'--x\r\nContent-Disposition: form-data; name="pictures"; filename="a"\r\n\r\n'
        answer = server.post("/predict", content=iter([start, large, large]), headers=kind)
        assert (answer.status_code, "0.05 MB" in answer.json()["detail"]) == (413, True)
        assert send(server, ("a.png", picture(size=(20, 20)))).status_code == 200


def test_a_token_is_asked_for_where_the_model_is(graph: Path) -> None:
    with closing(client(graph, token="secret", max_detections=3)) as server:
        for path in ("/", "/page.js", "/page.css", "/health", "/openapi.json"):
            assert server.get(path).status_code == 200, path
        for wrong in ({}, {"Authorization": "Bearer secre"}, {"Authorization": "secret"}):
            assert server.get("/model", headers=wrong).status_code == 401
            answer = server.post("/predict", files={"pictures": picture()}, headers=wrong)
            assert (answer.status_code, "HEATPOINT_TOKEN" in answer.text) == (401, True)
            assert answer.headers["www-authenticate"] == "Bearer"
        right = {"Authorization": "Bearer secret"}
        assert server.get("/metrics", headers=right).status_code == 200
        answer = server.post("/predict", files={"pictures": picture()}, headers=right)
        assert answer.status_code == 200


def test_pictures_of_other_hosts_are_asked_for_only_where_allowed(graph: Path, server: Any) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    content, asked = picture(5), []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302 if self.path == "/away" else 200)
            self.send_header("Location", "/a.png")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    site = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{site.server_port}"
    answer = server.post("/predict", data={"urls": f"{address}/a.png"})
    assert (answer.status_code, "--urls" in answer.json()["detail"]) == (403, True)
    limits = LimitOptions(urls=("127.0.0.1",), megabytes=0.1)
    with closing(client(graph, limits=limits, max_detections=3)) as allowing:
        rows = allowing.post("/predict", data={"urls": f"{address}/a.png"}).json()
        assert rows == send(allowing, ("a.png", content)).json()
        for wrong, status in [
            (f"{address}/away", 400),
            ("http://localhost/a.png", 403),
            (f"http://me@127.0.0.1:{site.server_port}/a.png", 403),
            ("file://127.0.0.1/etc/passwd", 403),
            ("http://[", 400),
        ]:
            answer = allowing.post("/predict", data={"urls": wrong})
            assert answer.status_code == status, wrong
        content = bytes(200_000)
        answer = allowing.post("/predict", data={"urls": f"{address}/a.png"})
        assert answer.status_code == 413
    site.shutdown()
    site.server_close()
    assert asked == ["/a.png", "/away", "/a.png"]


def test_one_subject_is_looked_at_where_the_request_says(tmp_path: Path) -> None:
    joints = draw_onnx(tmp_path / "joints.onnx", JOINTS)
    boxes = [[4, 4, 30, 40], [20, 8, 60, 50]]
    path = tmp_path / "a.png"
    path.write_bytes(picture(7))
    with closing(client(joints)) as server:
        for given, said in ((None, {}), ([boxes], {"boxes": json.dumps([boxes])})):
            rows = send(server, (str(path), path.read_bytes()), **said).json()
            found = iter_predict(joints, [path], boxes=given)
            assert rows == json.loads(json.dumps(result_rows(found)))
        answer = send(server, ("a.png", path.read_bytes()), score="0.5")
        assert (answer.status_code, "needs boxes or detector" in answer.text) == (400, True)
        answer = send(server, ("a.png", path.read_bytes()), boxes="[[[0, 0, 0, 0]]]")
        assert (answer.status_code, "has no area" in answer.text) == (400, True)
    finder = draw_onnx(tmp_path / "finder.onnx", replace(BOXES, names=("animal", "b", "c"), rows=1))
    engine = heatpoint.open_engine(finder)
    with closing(client(joints, detector=engine)) as server:
        for score in (0.3, 0.01):
            rows = send(server, (str(path), path.read_bytes()), score=str(score)).json()
            found = iter_predict(joints, [path], detector=engine, score=score)
            assert rows == json.loads(json.dumps(result_rows(found)))
            assert rows


def slow(patch: pytest.MonkeyPatch, seconds: float) -> list[int]:
    """Makes each run of the network take so long; returns the list of their looks."""
    looks, answer = list[int](), Runner.answer

    def waiting(runner: Runner, asks: Any, most: int | None = None) -> None:
        looks.append(len(asks))
        time.sleep(seconds)
        answer(runner, asks, most)

    patch.setattr(Runner, "answer", waiting)
    return looks


def test_requests_that_wait_are_answered_together_and_further_ones_refused(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = LimitOptions(waiting=12, batch_size=8)
    files = [(f"{n}.png", picture(n)) for n in range(30)]
    with closing(client(graph, limits=limits, max_detections=3)) as server:
        alone = [send(server, file).json() for file in files]
        looks = slow(monkeypatch, 0.3)
        with server, ThreadPoolExecutor(30) as pool:  # all in one loop
            answers = list(pool.map(lambda file: send(server, file), files))
        done = [n for n, answer in enumerate(answers) if answer.status_code == 200]
        assert 12 <= len(done) < 30
        assert [answers[n].json() for n in done] == [alone[n] for n in done]
        others = [answer for answer in answers if answer.status_code != 200]
        assert {answer.status_code for answer in others} == {429}
        assert {answer.headers["retry-after"] for answer in others} == {"1"}
        assert sum(looks) == len(done)
        assert 1 < max(looks) <= 8
        counts = server.get("/metrics").text
        assert f'heatpoint_requests_total{{path="/predict",status="429"}} {len(others)}.0' in counts
        assert f"heatpoint_pictures_total {30 + len(done)}.0" in counts


def test_a_request_may_take_so_long(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = LimitOptions(seconds=0.4, batch_size=1)
    with closing(client(graph, limits=limits, max_detections=3)) as server:
        looks = slow(monkeypatch, 0.15)
        answer = send(server, ("a.png", picture(size=(400, 600))), tiles="32")
        assert (answer.status_code, "0.4 s" in answer.json()["detail"]) == (504, True)
        taken = len(looks)
        assert taken < 10
        assert send(server, ("a.png", picture())).status_code == 200
        assert len(looks) <= taken + 2  # the other tiles are not looked at any more


def test_what_is_wrong_with_one_picture_does_not_cost_the_others(graph: Path) -> None:
    with closing(client(graph, max_detections=3)) as server:
        runner = server.served.runner
        answer, marked = runner.answer, picture(99)
        bad = PIL.open(io.BytesIO(marked)).size

        def failing(asks: Any, most: int | None = None) -> None:
            time.sleep(0.1)
            if any(job.path == "bad.png" for job, _ in asks):
                raise RuntimeError(f"cannot look at {bad}")
            answer(asks, most)

        runner.answer = failing
        names = [*(f"{n}.png" for n in range(6)), "bad.png"]
        with server, ThreadPoolExecutor(7) as pool:
            answers = list(pool.map(lambda name: send(server, (name, picture())), names))
        assert [each.status_code for each in answers] == [200] * 6 + [500]
        assert "RuntimeError" in answers[-1].json()["detail"]


def test_the_description_and_the_page_need_no_other_server(server: Any) -> None:
    told = server.get("/openapi.json").json()
    assert set(told["paths"]) == {"/predict", "/heatmap", "/model", "/health", "/metrics"}
    for path in ("/", "/page.js", "/page.css"):
        answer = server.get(path)
        assert "http://" not in answer.text.replace("http://www.w3.org", "")
        assert "https://" not in answer.text
        assert "default-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--waiting", "0"], "waiting must be at least 1, not 0"),
        (["--megabytes", "0"], "megabytes must be above 0"),
        (["--host", "no such host"], "cannot listen at no such host, port 8000"),
        (["--port", "99999"], "port must lie between 0 and 65535, not 99999"),
    ],
)
def test_a_wrong_option_is_a_sentence(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", "missing.onnx", *words]) == 1
    assert says in capsys.readouterr().err


def test_a_port_that_is_taken_is_said_before_the_model_is_opened(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "missing.onnx", "--port", str(taken.getsockname()[1])]) == 1
    assert "choose another --host or --port" in capsys.readouterr().err


def test_a_missing_package_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", "missing.onnx"]) == 1
    assert "pip install 'heatpoint[serve]'" in capsys.readouterr().err
