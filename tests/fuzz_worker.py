"""Reads damaged files in a process of its own and tells, a line of JSON each, what came of them.

``python tests/fuzz_worker.py FOLDER NAME:FIRST:END ...`` tries the inputs FIRST to END of each
format that is named; with END = FIRST + 1 one of them is tried again.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from fuzz_models import MODELS
from fuzz_seeds import SEEDS, Seed

from heatpoint.errors import HeatpointError

SECONDS, MEMORY = 2.0, 1 << 30
"""What an input may cost: of processor time, and of address space beyond what is taken already."""

LONGEST = 1000
"""Characters of a sentence."""

FORBIDDEN = {
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.startfile",
}
FORBIDDEN |= {
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "pickle.find_class",
    "ctypes.dlopen",
}


class TooSlow(BaseException):
    """An input took longer than it may; no library catches it."""


class Watch:
    """Notes what an input makes the process do that no file may ask for.

    Args:
        folder: The only one, beside those of programs, in which files may be opened.
    """

    def __init__(self, folder: Path) -> None:
        programs = (
            sys.prefix,
            sys.base_prefix,
            sys.pycache_prefix,
            "/usr",
            "/proc",
            "/sys",
            "/dev",
        )
        roots = (folder, Path(__file__).resolve().parents[1], *programs, *sys.path)
        self.roots = tuple(str(root) for root in roots if str(root or "/") != "/")
        self.active, self.seen = False, list[str]()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.active:
            return
        # PyTorch looks for a GPU, whatever the file.
        if event in FORBIDDEN and "libnvidia-ml" not in str(args):
            self.seen.append(f"{event} {args!r:.100}")
        if event == "open" and isinstance(args[0], str | bytes):
            path = args[0] if isinstance(args[0], str) else args[0].decode(errors="replace")
            if "\0" not in path and not str(Path(path).resolve()).startswith(self.roots):
                self.seen.append(f"open {path!r:.100}")


def limit(size: int | None = None) -> None:
    """Allows so many bytes more than are taken; all there are without a number."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (hard if size is None else taken + size, hard))


def outcome(seed: Seed, path: Path, watch: Watch) -> str:
    """Reads a file; returns "answer", "sentence", or what is wrong with what came of it."""
    try:
        limit(MEMORY)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        watch.active = True
        try:
            seed.read(path)
            found = "answer"
        finally:
            watch.active = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            limit()
    except HeatpointError as error:
        text = str(error)
        plain = "Traceback" not in text and "\n" not in text
        found = (
            "sentence" if plain and 0 < len(text) <= LONGEST else f"no sentence: {text[:3000]!r}"
        )
    except TooSlow:
        found = f"more than {SECONDS} s"
    except BaseException:
        found = traceback.format_exc()
    if watch.seen:
        found, watch.seen = f"did {watch.seen[:3]}", []
    return found


def run(folder: Path, name: str, first: int, end: int, watch: Watch, told: TextIO) -> None:
    """Tries the inputs of a format one after the other."""
    seed = (SEEDS | MODELS)[name]
    path = seed.write(folder / name)
    sound = path.read_bytes()
    with suppress(HeatpointError):
        seed.read(path)  # what is loaded once is not any input's fault
    for number in range(first, end):
        print(json.dumps([name, number]), file=told, flush=True)
        chance = np.random.default_rng([zlib.crc32(name.encode()), number])
        damage = seed.damages[int(chance.integers(len(seed.damages)))]
        path.write_bytes(damage(sound, chance))
        print(json.dumps([name, number, outcome(seed, path, watch)]), file=told, flush=True)


def stop(number: int, frame: Any) -> None:
    """Ends an input by an exception."""
    raise TooSlow


def main(folder: str, *jobs: str) -> None:
    """Tries what the words say."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, stop)
    watch = Watch(Path(folder).resolve())
    for job in jobs:
        name, first, end = job.split(":")
        run(Path(folder).resolve(), name, int(first), int(end), watch, told)


if __name__ == "__main__":
    main(*sys.argv[1:])
