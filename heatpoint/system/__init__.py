"""What is asked of the operating system: cores, memory, locks, silence."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from heatpoint.errors import HeatpointError

VERSION = "0.2.0"
"""Version of the package."""


_ANY_MEMORY = 4 * 2**30
"""Bytes of memory to reckon with where the system does not tell."""

_HELD: set[int] = set()
"""Descriptors of the locks this process holds."""


def usable_cores() -> int:
    """Returns the number of cores this process may run on, which containers and taskset lower."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows


def usable_memory() -> int:
    """Returns the bytes of main memory that this process may use, which containers lower."""
    found = [_ANY_MEMORY]
    with suppress(AttributeError, OSError, ValueError):  # Windows; systems that do not tell
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))  # "max" without a limit
    return min(found[1:] or found)


def one_of_several() -> bool:
    """Tells whether torchrun or SLURM started this process as one of several."""
    return any(int(os.environ.get(name, "1")) > 1 for name in ("WORLD_SIZE", "SLURM_NTASKS"))


def is_alive(process: int) -> bool:
    """Tells whether a process of this number runs on this machine; true where that is unknown."""
    if sys.platform == "win32":  # there, asking by a signal would end it
        return True
    try:
        os.kill(process, 0)
    except PermissionError:  # another user's
        pass
    except (ProcessLookupError, OverflowError):
        return False
    return True


@contextmanager
def locked(path: Path, busy: str = "") -> Iterator[None]:
    """Holds a lock file, which is removed at the end; nobody else holds it meanwhile.

    The system frees the lock of a process that dies, however it dies, so none is ever stale. A
    file system without locks (some network ones) is worked on without.

    Args:
        path: The lock file; its folder is made.
        busy: What to say if another process holds the lock; "" waits for it instead.

    Raises:
        HeatpointError: Another process holds the lock and ``busy`` is given, or the file cannot
            be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(path, wait=not busy)
    except BlockingIOError:
        raise HeatpointError(busy) from None
    except OSError as error:
        raise HeatpointError(
            f"cannot write {path}: {error.strerror or error}; choose another folder"
        ) from error
    _HELD.add(descriptor)
    try:
        yield
    finally:
        _HELD.discard(descriptor)
        if sys.platform == "win32":  # there, an open file cannot be removed
            os.close(descriptor)
        with suppress(OSError):  # its folder may be gone, or another holds the file by now
            path.unlink()
        if sys.platform != "win32":
            os.close(descriptor)


def _acquire(path: Path, wait: bool) -> int:
    """Returns the descriptor of the locked file at ``path``."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, wait)
            # Whoever held the lock has removed the file, so that another may stand there by now.
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, wait: bool) -> None:
    """Locks an open file.

    Raises:
        BlockingIOError: Another process holds it, and it is not waited for.
    """
    if sys.platform == "win32":
        import msvcrt

        while True:  # its own way of waiting gives up after ten seconds
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            except PermissionError:
                if not wait:
                    raise BlockingIOError from None
                time.sleep(0.1)
                continue
            except OSError:  # a file system without locks
                pass
            return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        pass


def _leave_to_parent() -> None:
    """Closes the locks in a forked process, lest they outlive the one that took them."""
    for descriptor in _HELD:
        os.close(descriptor)
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


_STANDARD_ERROR = 2


@contextmanager
def quiet() -> Iterator[None]:
    """Sends standard error nowhere while a video is opened.

    OpenCV and the libraries below it print there by themselves, past Python and past OpenCV's own
    log level (the tag of VP8, a camera that is missing). What FFmpeg has to say about single
    frames is turned off for good, as OpenCV reads that setting only once; the variable
    OPENCV_FFMPEG_LOGLEVEL brings it back.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    kept = os.dup(_STANDARD_ERROR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STANDARD_ERROR)
        yield
    finally:
        os.dup2(kept, _STANDARD_ERROR)
        os.close(kept)
        os.close(nowhere)


_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Numbers of glibc's ``mallopt``."""


@contextmanager
def memory_kept() -> Iterator[None]:
    """Lets glibc keep what is freed and give it out again; elsewhere nothing changes.

    It maps every block above 32 MiB anew and unmaps it when it is freed. Activations of a batch
    are that large, so the system zeroes all their pages in each training step: a third of the
    processor time of MobileNetV2 on 16 images of 256x256. In the end the defaults come back, and
    what is free goes to the system.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "malloc_trim"):
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
    try:
        yield
    finally:
        library.mallopt(_MMAP_MAX, 1 << 16)
        library.mallopt(_TRIM_THRESHOLD, 1 << 26)
        library.malloc_trim(0)
