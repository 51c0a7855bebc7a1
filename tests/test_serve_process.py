"""The program that serves: without torch, and until a signal comes, after which it finishes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from drawn_graphs import draw_onnx, draw_openvino

pytest.importorskip("fastapi", reason="serving needs heatpoint[serve]")
pytest.importorskip("python_multipart", reason="serving needs heatpoint[serve]")
pytest.importorskip("prometheus_client", reason="serving needs heatpoint[serve]")
httpx = pytest.importorskip("httpx", reason="sends the requests")
pytest.importorskip("onnxruntime", reason="needs heatpoint[onnx]")

from serving import picture, started  # noqa: E402

SLOWLY = """
import sys, time
from heatpoint.cli import main
from heatpoint.inference.runner import Runner

answer = Runner.answer

def slowly(self, asks, most=None):
    time.sleep(1.0)
    answer(self, asks, most)

Runner.answer = slowly
sys.exit(main(["serve", sys.argv[1], "--port", "0", "--max-detections", "3"]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_requests_under_way(
    tmp_path: Path, number: signal.Signals
) -> None:
    graph = draw_onnx(tmp_path / "drawn.onnx")
    process = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, str(graph)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found

    def send(name: str) -> int:
        files = {"pictures": (name, picture())}
        return httpx.post(f"{found[0]}predict", files=files, timeout=60).status_code

    with ThreadPoolExecutor(3) as pool:
        under_way = [pool.submit(send, f"{n}.png") for n in range(3)]
        while "requests_waiting 3.0" not in httpx.get(f"{found[0]}metrics", timeout=60).text:
            time.sleep(0.02)
        process.send_signal(number)
        assert [each.result() for each in under_way] == [200] * 3
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert said == "stopped; every request under way was answered\n"
    assert errors == ""
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{found[0]}health")


@pytest.mark.parametrize("ending", [".onnx", ".xml"])
def test_exported_files_are_served_without_torch(tmp_path: Path, ending: str) -> None:
    if ending == ".xml":
        pytest.importorskip("openvino", reason="needs heatpoint[openvino]")
    graph = (draw_onnx if ending == ".onnx" else draw_openvino)(tmp_path / f"drawn{ending}")
    code = (
        "import sys\n"
        "from serving import client, picture\n"
        "server = client(sys.argv[1], max_detections=3)\n"
        "for data in ({}, {'draw': 'true'}, {'tiles': '32'}):\n"
        "    answer = server.post('/predict', files={'pictures': picture()}, data=data)\n"
        "    assert answer.status_code == 200, answer.text\n"
        "assert server.get('/model').status_code == 200\n"
        "server.served.close()\n"
        "print('HEAVY', sorted({'torch', 'torchvision', 'timm'} & set(sys.modules)))\n"
    )
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code, str(graph)], capture_output=True, text=True, cwd=here
    )
    assert done.stdout.strip().endswith("HEAVY []"), done.stderr


def test_the_command_says_where_it_is_and_who_may_ask(tmp_path: Path) -> None:
    draw_onnx(tmp_path / "drawn.onnx")
    words = "drawn.onnx", "--max-detections", "3"
    with started(*words, folder=tmp_path, token="secret") as (process, address):
        assert address.startswith("http://127.0.0.1:")
        assert httpx.get(f"{address}health", timeout=60).json() == {"status": "ok"}
        assert httpx.get(f"{address}model", timeout=60).status_code == 401
        key = {"Authorization": "Bearer secret"}
        card = httpx.get(f"{address}model", headers=key, timeout=60).json()
        assert (card["finds"], card["names"]) == ("boxes", ["red", "green", "blue"])
        # A refused request is read to its end, so that its sender hears why.
        large = {"pictures": ("a.bmp", bytes(40_000_000))}
        answer = httpx.post(f"{address}predict", files=large, headers=key, timeout=60)
        assert (answer.status_code, "32 MB" in json.loads(answer.text)["detail"]) == (413, True)
        process.terminate()
        assert process.wait(60) == 0
