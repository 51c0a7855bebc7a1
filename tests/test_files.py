"""Files are whole or not there, and what goes wrong is said in a sentence."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from heatpoint.errors import HeatpointError
from heatpoint.system import is_alive, locked, usable_cores
from heatpoint.system.files import atomic_write, partial_name, read_json, write_json
from heatpoint.system.signals import Interrupt
from heatpoint.system.signs import SIGN


def test_json_round_trip(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "a.json", {"ap": 0.5})
    assert read_json(tmp_path / "new" / "a.json") == {"written_by": SIGN, "ap": 0.5}
    assert os.listdir(tmp_path / "new") == ["a.json"]


def test_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_json(path, "old")

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(HeatpointError, match=r"a\.json.*No space left on device.*untouched"):
        write_json(path, "new")
    assert read_json(path) == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HeatpointError, match="cannot write"):
        write_json(tmp_path / "file" / "a.json", 1)


def test_an_error_inside_leaves_nothing(tmp_path: Path) -> None:
    def fail_halfway() -> None:
        with atomic_write(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "part"),
    [(b'{"a": [1, 2', "cut off"), (b"\xff\xfe\x00", "not a JSON text"), (None, "does not exist")],
)
def test_unreadable_json_is_explained(tmp_path: Path, content: bytes | None, part: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HeatpointError, match=part):
        read_json(path)


def test_json_that_is_too_deep_or_too_long_is_explained(tmp_path: Path) -> None:
    for text in ("[" * 100_000, "9" * 5_000):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(HeatpointError, match=r"a\.json cannot be read as JSON"):
            read_json(tmp_path / "a.json")


def test_of_a_link_the_target_is_written(tmp_path: Path) -> None:
    target = tmp_path / "there" / "real.json"
    target.parent.mkdir()
    target.write_text("old")
    (tmp_path / "one.json").symlink_to(target)
    (tmp_path / "two.json").symlink_to("one.json")
    (tmp_path / "new.json").symlink_to("there/new.json")
    write_json(tmp_path / "two.json", [1])
    write_json(tmp_path / "new.json", [2])
    assert all((tmp_path / f"{name}.json").is_symlink() for name in ("one", "two", "new"))
    assert read_json(target) == [1]
    assert read_json(target.parent / "new.json") == [2]
    (tmp_path / "round.json").symlink_to("round.json")
    with pytest.raises(HeatpointError, match=r"cannot write .*round\.json"):
        write_json(tmp_path / "round.json", 1)


def test_devices_and_pipes_are_written_to_and_stay(tmp_path: Path) -> None:
    write_json("/dev/null", 1)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_json(pipe, {"a": 1})
    reader.join(10)
    assert json.loads(read[0]) == {"written_by": SIGN, "a": 1}
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)
    assert os.listdir(tmp_path) == ["pipe.json"]


def test_standard_output_is_a_file_to_write(tmp_path: Path) -> None:
    program = (
        "from heatpoint.system.files import write_json; print('before'); "
        "write_json('/dev/stdout', [1]); print('after')"
    )
    piped = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert piped.stdout == "before\n[\n  1\n]\nafter\n", piped.stderr
    (tmp_path / "out.txt").write_text("first\n")
    with (tmp_path / "out.txt").open("a") as file:
        subprocess.run([sys.executable, "-c", program], stdout=file, check=True)
    assert (tmp_path / "out.txt").read_text() == "first\n" + piped.stdout


@pytest.mark.parametrize("path", ["", ".", "..", "folder", "new/"])
def test_a_folder_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HeatpointError, match=f"cannot write '{path}': it is a folder; name a file"):
        write_json(path, 1)
    assert os.listdir(tmp_path) == ["folder"]


def test_names_the_system_does_not_take(tmp_path: Path) -> None:
    with pytest.raises(HeatpointError, match="no name of a file"):
        write_json(f"{tmp_path}/a\0.json", 1)
    with pytest.raises(HeatpointError, match="cannot write"):
        write_json(tmp_path / ("a" * 300), 1)


def test_what_the_dead_left_is_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    assert not is_alive(dead.pid)
    assert is_alive(os.getppid())
    kept = [f".best.{os.getppid()}.partial.safetensors", ".a.partial.json", "b.1.partial.json"]
    kept += [f".other.00000000-{dead.pid}.partial.json"]  # of another machine, where it may live
    for name in (f".best.{dead.pid}.partial.safetensors", f".last.{dead.pid}.partial", *kept):
        (tmp_path / name).touch()
    write_json(tmp_path / "a.json", 1)
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "a.json"])


def test_a_killed_write_leaves_nothing_for_long(tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom heatpoint.system.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as path:\n"
        "    path.write_text('half')\n    os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "best.safetensors")])
    assert len(os.listdir(tmp_path)) == 1
    write_json(tmp_path / "a.json", 1)
    assert os.listdir(tmp_path) == ["a.json"]


def test_containers_of_one_name_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {partial_name(Path("a.json")).name}
    for space in ("pid:[1]", "pid:[2]"):
        monkeypatch.setattr("os.readlink", lambda path, space=space: space)
        names.add(partial_name(Path("a.json")).name)
    assert len(names) == 3


def test_a_killed_export_leaves_nothing_for_long(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs the extra 'onnx'")
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom heatpoint.exporting.export import drafted\n"
        "with drafted(Path(sys.argv[1])) as path:\n"
        "    path.write_text('half')\n    path.with_suffix('.bin').write_text('half')\n"
        "    os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "model.xml")])
    assert any(path.is_dir() for path in tmp_path.iterdir())
    write_json(tmp_path / "a.json", 1)
    assert os.listdir(tmp_path) == ["a.json"]


HOLDER = """
import sys, time
from pathlib import Path
from heatpoint.system import locked
with locked(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_keeps_others_off_and_dies_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "new" / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(HeatpointError, match="somebody is there"),
        locked(path, "somebody is there"),
    ):
        pytest.fail("two hold one lock")
    holder.kill()
    holder.communicate()
    assert path.exists()
    with locked(path, "somebody is there"):
        pass
    assert not path.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_does_not_keep_a_lock(tmp_path: Path) -> None:
    child = "os.fork() or (print('child', flush=True), time.sleep(60))"
    program = HOLDER.replace("time.sleep(60)", f"{child}\n    os._exit(0)")
    holder = subprocess.Popen(
        [sys.executable, "-c", program.replace("import sys", "import os, sys"), f"{tmp_path}/l"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert holder.stdout.readline() == "child\n"
    holder.wait(20)  # its child sleeps on
    with locked(tmp_path / "l", "busy"):
        pass


def test_waiting_for_a_lock(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with locked(tmp_path / "l"):
            order.append("second")

    with locked(tmp_path / "l"):
        threads = [threading.Thread(target=second) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        order.append("first")
    for thread in threads:
        thread.join(10)
    assert order == ["first", "second", "second", "second"]
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="stands for Windows elsewhere")
def test_locks_of_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two open files exclude each other, and a file that is open anywhere cannot be removed."""
    import fcntl

    opened, unlink = list[int](), Path.unlink

    def locking(descriptor: int, mode: int, length: int) -> None:
        assert (mode, length) == (2, 1)
        opened.append(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PermissionError(13, "Permission denied") from None

    def remove(path: Path, missing_ok: bool = False) -> None:
        # Whoever waited may have taken and removed the file by now: FileNotFoundError, as there.
        if any(name.exists() and name.samefile(path) for name in map(held, opened)):
            raise PermissionError(13, "Permission denied")
        unlink(path, missing_ok)

    def held(descriptor: int) -> Path:
        return Path(f"/dev/fd/{descriptor}")

    def hold() -> None:
        with locked(tmp_path / "l"):
            pass

    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(LK_NBLCK=2, locking=locking))
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(Path, "unlink", remove)
    with locked(tmp_path / "l", "busy"):
        with pytest.raises(HeatpointError, match="busy"), locked(tmp_path / "l", "busy"):
            pytest.fail("two hold one lock")
        waiting = threading.Thread(target=hold)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_cores_are_those_the_process_may_use() -> None:
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from heatpoint.system import usable_cores; print(usable_cores())"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "1\n"
    assert usable_cores() == len(os.sched_getaffinity(0))


@pytest.mark.skipif(sys.platform != "linux", reason="needs glibc")
def test_freed_memory_is_kept_and_handed_back_in_the_end() -> None:
    program = """
import ctypes, resource
from heatpoint.system import memory_kept
def pages_asked():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    ctypes.memset(block := library.malloc(1 << 27), 1, 1 << 27)
    library.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
library.malloc_trim(0)
with memory_kept():
    inside = [pages_asked() for _ in range(3)]
print(*inside, pages_asked())
"""
    output = subprocess.check_output([sys.executable, "-c", program], text=True)
    first, second, third, after = map(int, output.split())
    assert min(first, after) > 50 > max(second, third)  # 64 if the system has huge pages


class Late(Interrupt):
    """Gets a signal at the last moment at which work may be broken off."""

    flag = False

    @property
    def _may_break(self) -> bool:
        return self.flag

    @_may_break.setter
    def _may_break(self, value: bool) -> None:
        if self.flag and not value and not self.is_requested():
            self._handle(signal.SIGINT, None)
        self.flag = value


@pytest.mark.parametrize("work", [lambda: 1, lambda: {}["no such key"]])
def test_a_signal_just_behind_the_work_does_not_escape(work: object) -> None:
    interrupt = Late(quiet=True)
    assert interrupt.breakable(work) is None  # type: ignore[arg-type]
    assert interrupt.is_requested()
    assert not interrupt._may_break


@pytest.mark.parametrize(("number", "later"), [("SIGINT", 0.0), ("SIGTERM", 2.0)])
def test_a_second_signal_means_at_once(
    number: str, later: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("heatpoint.system.signals.time.monotonic", lambda: now[0])
    with Interrupt(quiet=True) as interrupt:
        handle: Any = signal.getsignal(signal.SIGTERM)
        handle(signal.SIGTERM, None)
        handle(signal.SIGTERM, None)  # the same, by way of the group
        assert interrupt.is_requested()
        now[0] += later
        with pytest.raises(KeyboardInterrupt):
            handle(getattr(signal, number), None)
