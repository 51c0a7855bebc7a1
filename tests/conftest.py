"""Fixtures every test file may use."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before torch starts its threads: on cores that tests share, threads waiting for each other cost
# far more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Numbers are those of float32 on the processor, also where a GPU would be taken.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

if sys.dont_write_bytecode:
    # Tests start a hundred processes. Where none may keep what it compiled, each spends most of its
    # time on compiling torch anew; they and the workers of this run share a folder of it.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    _BYTECODE = tempfile.TemporaryDirectory(prefix="heatpoint-bytecode-")
    os.environ["PYTHONPYCACHEPREFIX"] = _BYTECODE.name

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _without_bf16() -> Iterator[None]:
    """Hides the instructions for which "auto" would compute in bfloat16 on some processors.

    For the whole session, lest what a module prepares computes otherwise than its tests.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
            patch.setattr(f"torch.cpu.{name}", lambda: False, raising=False)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Returns the folder of real data beside the project, or skips the test."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the real images of ../shared, which is not part of the project")
    return folder


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of this run of the tests, which all its workers have in common."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def shared_graphs(common: Path) -> Iterator[None]:
    """Lets every export take a graph that another test has written, in this process or another."""
    from sharing import sharing

    with sharing(common / "graphs"):
        yield


RUNTIMES = (
    "engines",
    "export",
    "export_command",
    "parity",
    "quantize",
    "benchmark",
    "benchmark_run",
)
"""Tests that load other runtimes into their process."""

LONGEST = "test_docs.py"
"""Runs every command of the documents, in processes of their own."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest first, lest one worker is left with them when all others are done.

    Those with other runtimes come last: a process that had loaded OpenVINO and NNCF did not
    survive training.
    """
    late = {f"test_{name}.py" for name in RUNTIMES}
    items.sort(key=lambda item: (item.path.name != LONGEST, item.path.name in late))
