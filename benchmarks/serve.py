"""heatpoint serve under load, against heatpoint predict of the same exported file.

Clients on loopback send one picture after the other, each a picture of its own whose answer was
asked for beforehand, and begin again when they are answered; 429 is tried again after the pause
that it names. One request in a hundred is malformed and must be answered with a sentence. Server
and predict have the same cores; the clients have the other ones where there are any (--cores).

    python benchmarks/serve.py model.onnx photos --seconds 20 --clients 4 32 256 --cores 0
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

BOUNDARY = b"serve-benchmark"


@dataclass
class Tally:
    """What became of the requests of one number of clients."""

    seconds: list[float] = field(default_factory=list)
    exact: int = 0
    mixed: int = 0
    lost: int = 0
    refused: int = 0
    malformed: int = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--clients", type=int, nargs="+", default=[4, 32, 256])
    parser.add_argument("--cores", default="", help="those of server and predict, such as 0 or 0,1")
    parser.add_argument("--words", default="", help="further words for both commands")
    options = parser.parse_args()
    paths = sorted(options.photos.glob("*.*"))
    own = set(map(int, filter(None, options.cores.split(","))))
    every = os.sched_getaffinity(0)
    words = options.words.split()
    print("| clients | requests | per second | p50 | p99 | 429 | lost | mixed up | resident |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        rate = predicted(options.model, paths, words, own or every, Path(folder))
        waiting = str(2 * max(options.clients))
        command = ["serve", options.model, "--port", "0", "--waiting", waiting, *words]
        server = started(command, own or every, stdout=subprocess.PIPE)
        try:
            assert server.stdout is not None
            found = re.search(r":(\d+)/", server.stdout.readline())
            assert found
            os.sched_setaffinity(0, every - own or every)
            asyncio.run(load(int(found[1]), paths, options, server.pid))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
        rates = [rate, predicted(options.model, paths, words, own or every, Path(folder))]
    print(f"heatpoint predict before and after: {rates[0]:.1f} and {rates[1]:.1f} pictures/s")


def started(words: list[str], cores: set[int], **how: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "heatpoint", *words],
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        **how,
    )


def predicted(
    model: str, paths: list[Path], words: list[str], cores: set[int], folder: Path
) -> float:
    """Returns pictures per second of predict, its start and its writing left out."""
    repeated = folder / "photos"
    repeated.mkdir(exist_ok=True)
    for number in range(400):
        link = repeated / f"{number:04}{paths[0].suffix}"
        if not link.exists():
            link.symlink_to(paths[number % len(paths)].resolve())
    out = str(folder / "found.json")
    command = ["predict", model, str(repeated), "--json", out, "--profile", *words]
    process = started(command, cores, stdout=subprocess.PIPE)
    said, _ = process.communicate()
    return float(re.search(r"([\d.]+) images/s", said)[1])


def request(path: Path) -> bytes:
    """Returns the bytes of a request that sends a picture."""
    told = f'Content-Disposition: form-data; name="pictures"; filename="{path.name}"'
    body = b"--%s\r\n%s\r\n\r\n%s\r\n--%s--\r\n" % (
        BOUNDARY,
        told.encode(),
        path.read_bytes(),
        BOUNDARY,
    )
    return framed(body)


def framed(body: bytes) -> bytes:
    head = (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
        b"Content-Type: multipart/form-data; boundary=%s\r\n\r\n"
    )
    return head % (len(body), BOUNDARY) + body


async def exchange(
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], sent: bytes
) -> tuple[int, bytes]:
    """Returns status and body of an answer."""
    reader, writer = streams
    writer.write(sent)
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])
    return int(head.split()[1]), await reader.readexactly(length)


async def load(port: int, paths: list[Path], options: argparse.Namespace, process: int) -> None:
    """Puts each number of clients on the server, and prints a row of the table for each."""
    requests = [request(path) for path in paths]
    streams = await asyncio.open_connection("127.0.0.1", port)
    answers = [json.loads((await exchange(streams, each))[1]) for each in requests]
    streams[1].close()
    rows = sum(map(len, answers))
    print(f"{len(paths)} pictures, {rows} rows; {resident(process):.0f} MiB", file=sys.stderr)
    for count in options.clients:
        tally, end = Tally(), time.perf_counter() + options.seconds
        start, kept = time.perf_counter(), list(zip(requests, answers, strict=True))
        memory = [resident(process)]
        clients = [client(port, kept, number, end, tally) for number in range(count)]
        watched = asyncio.create_task(watch(process, memory))
        await asyncio.gather(*clients)
        watched.cancel()
        spent, done = time.perf_counter() - start, len(tally.seconds)
        middle, late = np.percentile(tally.seconds, (50, 99)) * 1e3
        first, most, last = memory[0], max(memory), resident(process)
        print(
            f"| {count} | {done} | {done / spent:.1f} | {middle:.0f} ms | {late:.0f} ms "
            f"| {tally.refused} | {tally.lost} | {tally.mixed} "
            f"| {first:.0f}, at most {most:.0f}, then {last:.0f} MiB |",
            flush=True,
        )
        print(
            f"equal to the last digit: {tally.exact} of {done}; malformed ones answered with a "
            f"sentence: {tally.malformed}",
            file=sys.stderr,
        )


async def client(
    port: int, kept: list[tuple[bytes, list[dict]]], number: int, end: float, tally: Tally
) -> None:
    """Sends one picture after the other until it is time."""
    turn, streams = number, None
    while time.perf_counter() < end:
        try:
            if streams is None:
                streams = await asyncio.open_connection("127.0.0.1", port)
            turn += 1
            if turn % 100 == 99:
                status, told = await exchange(streams, framed(b"no form at all"))
                tally.malformed += status == 400 and len(json.loads(told)["detail"]) > 20
                tally.lost += status != 400
                streams[1].close()
                streams = None
                continue
            sent, wanted = kept[turn % len(kept)]
            start = time.perf_counter()
            status, told = await exchange(streams, sent)
            if status == 429:
                tally.refused += 1
                await asyncio.sleep(1)
            elif status != 200:
                tally.lost += 1
            else:
                tally.seconds.append(time.perf_counter() - start)
                rows = json.loads(told)
                tally.exact += rows == wanted
                tally.mixed += not alike(rows, wanted)
        except (OSError, asyncio.IncompleteReadError):
            tally.lost += 1
            streams = None
    if streams is not None:
        streams[1].close()


def alike(rows: list[dict], wanted: list[dict]) -> bool:
    """Tells whether two answers are about one picture.

    Runtimes may compute a picture in a batch with other last digits than alone, so that a row whose
    score is at the threshold may come or go.
    """
    named = {row["file_name"] for row in (*rows, *wanted)}
    near = all(
        abs(row["score"] - other["score"]) < 1e-3
        and np.allclose(row["bbox"], other["bbox"], atol=0.05)
        for row, other in zip(rows, wanted, strict=False)
    )
    return len(named) <= 1 and near and abs(len(rows) - len(wanted)) <= 1


async def watch(process: int, memory: list[float]) -> None:
    while True:
        await asyncio.sleep(0.5)
        memory.append(resident(process))


def resident(process: int) -> float:
    """Returns the MiB of main memory that a process holds."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


if __name__ == "__main__":
    main()
