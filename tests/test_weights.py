"""The records of published weights, and how a name becomes a checkpoint."""

from __future__ import annotations

import hashlib
import io
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_files import checkpoint
from server import Site, serve

from heatpoint import zoo
from heatpoint.cli import main
from heatpoint.convert import LAYOUTS, convert, fetch
from heatpoint.convert.layouts import COCO, VOC
from heatpoint.data.skeleton import SKELETONS, Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.inference.predict import predict
from heatpoint.synthetic.figures import write_figures
from heatpoint.weights import PUBLISHED, Published, checkpoint_path
from heatpoint.zoo.detector import Detector

LAYOUT = "bearpaw_hg1_b1_mpii"

CLASSES = {"COCO": len(COCO), "VOC 07+12": len(VOC)} | {
    data: len(SKELETONS[name].joints)
    for data, name in (("COCO keypoints", "coco17"), ("MPII", "mpii16"), ("WIDER FACE", "face5"))
}


@cache
def usual_size(architecture: str, classes: int, skeleton: Skeleton | None) -> tuple[int, int]:
    """Returns the size of a model, of which several records tell."""
    names = ["person"] if skeleton else [str(index) for index in range(classes)]
    with torch.device("meta"):
        return zoo.build(architecture, names, skeleton=skeleton).size


@pytest.mark.parametrize("record", PUBLISHED.values(), ids=PUBLISHED)
def test_a_record_agrees_with_the_converter(record: Published) -> None:
    layout = LAYOUTS[record.layout]
    assert record.architecture == layout.architecture
    assert record.architecture in zoo.models()
    assert record.classes == CLASSES[record.data]
    pixels = record.pixels
    assert (pixels.channels, (pixels.mean, pixels.std)) == (
        layout.channels,
        layout.stats(record.classes),
    )
    is_pose = layout.codec is not None
    skeleton = SKELETONS[layout.skeleton or ("mpii16" if record.classes == 16 else "coco17")]
    size = usual_size(record.architecture, record.classes, skeleton if is_pose else None)
    assert record.size in (size, (384, 384))
    if layout.codec is not None and record.size == size:
        assert record.sigma in (None, layout.codec(skeleton).as_dict().get("sigma"))


@pytest.mark.parametrize("record", PUBLISHED.values(), ids=PUBLISHED)
def test_a_record_says_where_the_file_is_and_what_it_is_worth(record: Published) -> None:
    https = r"https://[a-z.]+(/[\w.~-]+)+"
    assert re.fullmatch(https, record.page)
    assert sum(map(bool, (record.address, record.by_hand, record.package))) == 1
    if record.address:
        assert re.fullmatch(https, record.address)
        assert record.address.endswith("/" + record.file)
    if record.package:
        assert re.fullmatch(r"[0-9a-f]{64}", record.sha256)
    else:
        assert re.fullmatch(r"|[0-9a-f]{6}|[0-9a-f]{8}", record.sha256)
        assert record.sha256 in record.file
    assert all((record.licence, record.score, record.protocol, record.reported))


def test_no_two_records_share_a_place() -> None:
    assert len({record.cached for record in PUBLISHED.values()}) == len(PUBLISHED)
    assert len({record.original for record in PUBLISHED.values()}) == len(PUBLISHED)


@pytest.fixture(scope="module")
def content() -> bytes:
    """Returns a checkpoint as its publisher would save it, filled as the golden files say."""
    tensors = checkpoint(LAYOUT)
    tensors = {key: value.float() if value.is_floating_point() else value
               for key, value in tensors.items()}  # fmt: skip
    file = io.BytesIO()
    torch.save({"epoch": 1, "arch": "hg", "state_dict": tensors}, file)
    return file.getvalue()


@pytest.fixture
def site(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Site, Published]]:
    """Yields a server of that checkpoint and the record that names it."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HEATPOINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with serve(content) as site:
        record = replace(
            PUBLISHED["bearpaw_hg_s2_b1"],
            name="small",
            architecture="hourglass_1stack",
            layout=LAYOUT,
            file="file.pth",
            address=site.address,
            by_hand="",
            sha256=hashlib.sha256(content).hexdigest()[:8],
        )
        monkeypatch.setitem(PUBLISHED, "small", record)
        yield site, record


def test_a_name_is_fetched_once_and_then_a_checkpoint(
    site: tuple[Site, Published], content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    server, record = site
    with pytest.raises(HeatpointError, match=r"there is no file small.*`heatpoint fetch small`"):
        Detector.load("small")
    assert server.asked == []

    assert main(["fetch", "small"]) == 0
    said = capsys.readouterr().out
    assert str(record.cached) in said
    assert record.score in said
    assert not record.original.exists()
    assert main(["fetch", "small"]) == 0
    assert server.asked == [""]

    loaded = Detector.load("small")
    assert loaded.codec.learns == {"keypoints"}
    expected = convert(torch.load(io.BytesIO(content), weights_only=True))
    for key, tensor in expected.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[key], tensor)
    assert loaded.meta["published"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert loaded.meta["published"]["licence"] == record.licence
    image = np.zeros((64, 64, 3), np.uint8)
    by_name = predict("small", image, size=64, device="cpu")
    by_path = predict(record.cached, image, size=64, device="cpu")
    np.testing.assert_array_equal(by_name[0].keypoints, by_path[0].keypoints)


def test_a_file_of_that_name_goes_first(site: tuple[Site, Published]) -> None:
    Path("small").write_bytes(b"")
    assert checkpoint_path("small") == Path("small")


def test_a_cut_download_goes_on_where_it_stopped(site: tuple[Site, Published]) -> None:
    server, record = site
    server.cut = 1_000_000
    with pytest.raises(HeatpointError, match="broke off after 1,000,000"):
        fetch("small")
    server.cut = None
    assert fetch("small") == record.cached
    assert server.asked == ["", "bytes=1000000-"]


def test_a_wrong_file_becomes_no_checkpoint(
    site: tuple[Site, Published], content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, record = site
    server.content = content[:-1] + b"x"
    with pytest.raises(HeatpointError, match=f"expected SHA-256 {record.sha256}"):
        fetch("small")
    Path("mine.pth").write_bytes(server.content)
    with pytest.raises(HeatpointError, match=rf"mine\.pth is not .* SHA-256 {record.sha256}"):
        fetch("small", "mine.pth")
    assert Path("mine.pth").exists()
    other = replace(record, layout="bearpaw_hg2_b1_mpii", sha256="")
    monkeypatch.setitem(PUBLISHED, "small", other)
    Path("other.pth").write_bytes(content)
    with pytest.raises(HeatpointError, match=r"other\.pth has none of the layouts tried"):
        fetch("small", "other.pth")
    monkeypatch.setitem(PUBLISHED, "small", replace(record, classes=17))
    with pytest.raises(HeatpointError, match="expected 17 classes or joints, found 16"):
        fetch("small", "other.pth")
    assert not record.cached.exists()


@pytest.mark.parametrize("named", [True, False])
def test_a_file_already_here_needs_no_network(
    site: tuple[Site, Published], content: bytes, named: bool, tmp_path: Path
) -> None:
    server, record = site
    server.status = 503
    with pytest.raises(HeatpointError, match=re.escape(f"put it at {record.original}")):
        fetch("small")
    place = tmp_path / "mine.pth" if named else record.original
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    assert main(["fetch", "small", *(["--file", str(place)] if named else [])]) == 0
    assert place.exists()
    assert len(server.asked) == 1
    assert record.cached.is_file()


def test_weights_to_get_by_hand_say_how(
    site: tuple[Site, Published], content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, record = site
    by_hand = replace(record, address="", by_hand="ask the author", sha256="", sigma=3.0)
    monkeypatch.setitem(PUBLISHED, "small", replace(by_hand, size=(384, 384)))
    with pytest.raises(HeatpointError, match=r"ask the author .https://.*--file"):
        fetch("small")
    assert server.asked == []
    record.original.parent.mkdir(parents=True)
    record.original.write_bytes(content)
    detector = Detector.load(fetch("small"))
    assert (detector.size, detector.codec.sigma) == ((384, 384), 3.0)


def test_training_fetches_what_its_weights_name(
    site: tuple[Site, Published], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, record = site
    words = ["train", "nowhere.json", "--val", "nowhere.json", "--weights", "small"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(words) == 1
    assert server.asked == []
    monkeypatch.delenv("WORLD_SIZE")
    assert main(words) == 1  # there is no such data
    assert record.cached.is_file()
    data = str(write_figures(tmp_path / "figures", 2, (64, 64), seed=1))
    small = ["--size", "64", "--epochs", "1", "--batch-size", "2", "--workers", "0"]
    quick = ["--accelerator", "cpu", "--no-pictures", "--out", str(tmp_path / "run")]
    assert main(["train", data, "--val", data, "--weights", "small", *small, *quick]) == 0
    assert len(server.asked) == 1


def test_misspelt_names_get_a_suggestion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HeatpointError, match=r"called 'mmdet_cornernet'.*did you mean 'mmdet_"):
        fetch("mmdet_cornernet")
    with pytest.raises(
        HeatpointError, match=r"no file ctdet_coco_gh.*did you mean 'ctdet_coco_hg'"
    ):
        Detector.load("ctdet_coco_gh")
    with pytest.raises(HeatpointError, match=r"ctdet_coco_gh\.safetensors does not exist$"):
        Detector.load("ctdet_coco_gh.safetensors")


def test_models_lists_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HEATPOINT_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["models", "--weights"]) == 0
    said = capsys.readouterr().out
    _, *parts = re.split(r"(?m)^(?=[a-z])", said)
    listed = {part.split()[0]: part.splitlines()[1:] for part in parts}
    for record in PUBLISHED.values():
        own = [line for line in listed[record.architecture] if line.split()[:1] == [record.name]]
        assert len(own) == 1
        assert record.score in own[0]


def test_looking_and_listing_open_no_connection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("nothing may be fetched unasked")

    monkeypatch.setenv("HEATPOINT_CACHE", str(tmp_path))
    monkeypatch.setattr("heatpoint.weights.download.urlopen", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    for name in PUBLISHED:
        with pytest.raises(HeatpointError, match=f"heatpoint fetch {name}"):
            checkpoint_path(name)
