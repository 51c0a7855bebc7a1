"""heatpoint serve under load, against heatpoint predict of the same exported file.

Clients on loopback send one picture after the other, each a picture of its own whose answer was
asked for beforehand, and begin again when they are answered; 429 is tried again after the pause
that it names. One request in twenty-five is malformed and must be answered with a sentence. Server
and predict have the same cores; the clients have the other ones where there are any (--cores).
Processor time per picture is told beside the rates, which on a busy machine say more about others.

    python benchmarks/serve.py model.onnx photos --seconds 20 --clients 4 32 256 --cores 0
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

BOUNDARY = b"serve-benchmark"

WARM, PICTURES = 16, 192
"""What predict looks at; the first ones are not counted."""


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
    print(
        "| clients | requests | per second | ms of processor | p50 | p99 | lost | mixed up | MiB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        before = predicted(options.model, paths, words, own or every, Path(folder))
        waiting = str(2 * max(options.clients))
        patient = ["--waiting", waiting, "--seconds", "120"]
        command = ["serve", options.model, "--port", "0", *patient, *words]
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
        after = predicted(options.model, paths, words, own or every, Path(folder))
    for when, (rate, spent) in (("before", before), ("after", after)):
        print(f"| predict {when} | {PICTURES} | {rate:.1f} | {spent:.1f} ms | | | | | |")


def started(words: list[str], cores: set[int], **how: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "heatpoint", *words],
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        **how,
    )


def predicted(
    model: str, paths: list[Path], words: list[str], cores: set[int], folder: Path
) -> tuple[float, float]:
    """Returns pictures per second of predict and ms of processor per picture, without its start."""
    rate, spent = 0.0, list[float]()
    for count in (WARM, WARM + PICTURES):
        repeated = folder / f"photos{count}"
        repeated.mkdir(exist_ok=True)
        for number in range(count):
            link = repeated / f"{number:04}{paths[0].suffix}"
            if not link.exists():
                link.symlink_to(paths[number % len(paths)].resolve())
        out = str(folder / "found.json")
        command = ["predict", model, str(repeated), "--json", out, "--profile", *words]
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        said, _ = started(command, cores, stdout=subprocess.PIPE).communicate()
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime)
        rate = float(re.search(r"([\d.]+) images/s", said)[1])
    return rate, (spent[1] - spent[0]) / PICTURES * 1e3


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
        memory, used = [resident(process)], processor(process)
        clients = [client(port, kept, number, end, tally) for number in range(count)]
        watched = asyncio.create_task(watch(process, memory))
        await asyncio.gather(*clients)
        watched.cancel()
        spent, done = time.perf_counter() - start, len(tally.seconds)
        middle, late = np.percentile(tally.seconds, (50, 99)) * 1e3
        first, most, last = memory[0], max(memory), resident(process)
        print(
            f"| {count} | {done} | {done / spent:.1f} "
            f"| {(processor(process) - used) / done * 1e3:.1f} ms "
            f"| {middle:.0f} ms | {late:.0f} ms | {tally.lost} | {tally.mixed} "
            f"| {first:.0f}, at most {most:.0f}, then {last:.0f} |",
            flush=True,
        )
        print(
            f"equal to the last digit: {tally.exact} of {done}; malformed ones answered with a "
            f"sentence: {tally.malformed}; answered with 429: {tally.refused}",
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
            if turn % 25 == 24:
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


def processor(process: int) -> float:
    """Returns the seconds of processor that a process has used."""
    numbers = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


def resident(process: int) -> float:
    """Returns the MiB of main memory that a process holds."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


if __name__ == "__main__":
    main()
