"""What this process may use of the machine, and how it keeps others off what it works on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from heatpoint.errors import HeatpointError

_HELD: set[int] = set()
"""Descriptors of the locks this process holds."""


def usable_cores() -> int:
    """Returns the number of cores this process may run on, which containers and taskset lower."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS and Windows


def is_alive(process: int) -> bool:
    """Tells whether a process of this number runs on this machine; true where that is unknown."""
    if sys.platform == "win32":  # there, asking by a signal would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
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
        with suppress(OSError):  # its folder may be gone
            path.unlink()
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
