"""A download survives cut connections and never leaves a wrong file behind."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from server import Site, serve

from heatpoint.errors import HeatpointError
from heatpoint.weights import download as module
from heatpoint.weights.download import cache_folder, download

CONTENT = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "CHUNK", 1 << 14)
    with serve(CONTENT) as site:
        yield site


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "file.pth"


def names(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def cut_off(site: Site, target: Path, cut: int = 100_000) -> None:
    """Downloads the beginning and makes sure that it is kept."""
    site.cut = cut
    with pytest.raises(HeatpointError, match=rf"broke off after {cut:,} of 300,000 .* the rest"):
        download(site.address, target, SHA256)
    site.cut = None
    assert not target.exists()
    assert target.with_name("file.pth.partial").read_bytes() == CONTENT[:cut]


def test_a_whole_file_arrives_with_its_progress(site: Site, target: Path) -> None:
    told: list[tuple[int, int]] = []
    download(site.address, target, SHA256[:8], lambda *step: told.append(step))
    assert target.read_bytes() == CONTENT
    assert names(target) == ["file.pth"]
    assert told[-1] == (300_000, 300_000)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize("etag", ["", '"one"', 'W/"weak"'])
def test_a_cut_connection_is_resumed(site: Site, target: Path, etag: str) -> None:
    site.etag = etag
    cut_off(site, target)
    download(site.address, target, SHA256)
    assert target.read_bytes() == CONTENT
    assert site.asked == ["", "bytes=100000-"]
    assert names(target) == ["file.pth"]


def test_a_connection_cut_twice_is_resumed_twice(site: Site, target: Path) -> None:
    cut_off(site, target)
    site.cut = 50_000
    with pytest.raises(HeatpointError, match="broke off after 150,000 of 300,000"):
        download(site.address, target, SHA256)
    site.cut = None
    download(site.address, target, SHA256)
    assert site.asked == ["", "bytes=100000-", "bytes=150000-"]
    assert target.read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(site: Site, target: Path) -> None:
    cut_off(site, target)
    site.ranges = False
    download(site.address, target, SHA256)
    assert target.read_bytes() == CONTENT


def test_a_newer_version_is_not_glued_to_the_old_one(site: Site, target: Path) -> None:
    site.etag = '"old"'
    cut_off(site, target)
    site.etag, site.content = '"new"', CONTENT[::-1]
    download(site.address, target)
    assert target.read_bytes() == CONTENT[::-1]


def test_an_unknown_length_is_no_hindrance(site: Site, target: Path) -> None:
    site.length = False
    download(site.address, target, SHA256)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("kept", [CONTENT, CONTENT + b"more"])
def test_a_partial_file_that_is_complete_or_too_long(site: Site, target: Path, kept: bytes) -> None:
    target.parent.mkdir()
    target.with_name("file.pth.partial").write_bytes(kept)
    download(site.address, target, SHA256)
    assert target.read_bytes() == CONTENT
    assert len(site.asked) == (1 if kept == CONTENT else 2)


def test_a_length_that_is_no_number_is_no_length(site: Site, target: Path) -> None:
    site.wrong_length = "abc"
    download(site.address, target, SHA256)
    assert target.read_bytes() == CONTENT


def test_two_at_once_ask_for_the_file_once(site: Site, target: Path) -> None:
    second = threading.Thread(target=lambda: download(site.address, target, SHA256))

    def slow(done: int, total: int) -> None:
        if not second.ident:
            second.start()
            time.sleep(0.3)

    download(site.address, target, SHA256, slow)
    second.join(10)
    assert site.asked == [""]
    assert target.read_bytes() == CONTENT
    assert names(target) == ["file.pth"]


def test_a_wrong_file_is_deleted(site: Site, target: Path) -> None:
    with pytest.raises(HeatpointError, match=rf"expected SHA-256 0123abcd.*got {SHA256}"):
        download(site.address, target, "0123abcd")
    assert names(target) == []


def test_a_missing_file_is_told_from_other_refusals(site: Site, target: Path) -> None:
    site.status = 404
    with pytest.raises(HeatpointError, match=r"not there any more .HTTP status 404.*file\.pth"):
        download(site.address, target)
    site.status = 503
    with pytest.raises(HeatpointError, match=r"was refused .HTTP status 503"):
        download(site.address, target)
    assert names(target) == []


def test_a_failure_keeps_what_an_earlier_attempt_got(site: Site, target: Path) -> None:
    cut_off(site, target)
    site.status = 503
    with pytest.raises(HeatpointError, match="503"):
        download(site.address, target, SHA256)
    site.status = 0
    download(site.address, target, SHA256)
    assert site.asked[-1] == "bytes=100000-"


def test_without_a_network_the_file_and_its_place_are_named(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/file.pth"
    with pytest.raises(HeatpointError) as error:
        download(address, target)
    assert "cannot be reached" in str(error.value)
    assert f"download {address} on another machine, put it at {target}" in str(error.value)


def test_encryption_is_not_given_up_on_the_way(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Response(BytesIO):
        url = "http://mirror.example/file.pth"

    monkeypatch.setattr(module, "urlopen", lambda *_, **__: Response(CONTENT))
    with pytest.raises(HeatpointError, match=r"leads to http://mirror\.example.*not encrypted"):
        download("https://example.org/file.pth", target)
    assert names(target) == []


def test_a_server_that_says_nothing_is_not_waited_for(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(HeatpointError, match=r"cannot be reached .timed out"):
            download(f"http://127.0.0.1:{mute.getsockname()[1]}/file.pth", target)


def test_too_little_space_is_seen_before_the_download(
    site: Site, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = module.shutil.disk_usage(target.parent.parent)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(HeatpointError, match=r"needs 300,000 bytes, but only 1,000 are free"):
        download(site.address, target)


def test_a_disk_that_fills_up_keeps_what_is_written(
    site: Site, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def __init__(self, path: Path, mode: str) -> None:
            self.file = open(path, mode)  # noqa: SIM115  (closed by __exit__)

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, chunk: bytes) -> None:
            if self.file.tell() > 100_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self.file.write(chunk)

    monkeypatch.setattr(module, "open", Full, raising=False)
    with pytest.raises(HeatpointError, match=r"No space left.*HEATPOINT_CACHE"):
        download(site.address, target, SHA256)
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    download(site.address, target, SHA256)
    assert site.asked[-1].startswith("bytes=1")
    assert target.read_bytes() == CONTENT


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEATPOINT_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_folder() == Path("/a")
    monkeypatch.delenv("HEATPOINT_CACHE")
    assert cache_folder() == Path("/b/heatpoint")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "heatpoint"
