"""No output replaces what is read, or what heatpoint did not write; it is refused at once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.numpy import save_file

from heatpoint import zoo
from heatpoint.cli import main
from heatpoint.data.draw import write_picture
from heatpoint.data.readers import read
from heatpoint.errors import HeatpointError
from heatpoint.inference.evaluate import evaluate
from heatpoint.inspection.inspect import inspect
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.system.files import write_json
from heatpoint.system.outputs import check_outputs


def refused(reason: str, *words: object, capsys: pytest.CaptureFixture[str]) -> None:
    """Makes sure that a command ends with one sentence."""
    assert main([str(word) for word in words]) == 1
    message = capsys.readouterr().err
    assert reason in message
    assert message.count("\n") == 1, message


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with drawn data, which is heatpoint's, a checkpoint, and photographs."""
    folder = tmp_path_factory.mktemp("work")
    write_shapes(folder / "data", 4, (64, 64))
    detector = zoo.build("centernet_tiny", ["circle"])
    detector.meta["size"] = [64, 64]
    detector.save(folder / "m.safetensors")
    (folder / "photos").mkdir()
    for name in ("a.jpg", "b.png"):
        cv2.imwrite(str(folder / "photos" / name), np.full((64, 64, 3), 90, np.uint8))
    return folder


# One name after another by which a file may go.


@pytest.mark.parametrize(
    "name", ["a.json", "./a.json", "x/../a.json", "link", "hard", "way/a.json"]
)
def test_an_input_is_known_by_all_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_json("a.json", {"a": 1})
    os.mkdir("x")
    os.symlink("a.json", "link")
    os.link("a.json", "hard")
    os.symlink(".", "way")
    for given in (tmp_path / "a.json", "a.json", "a.json:train", ["b.json", "a.json"]):
        with pytest.raises(HeatpointError, match=r"a\.json.* is read"):
            check_outputs({"numbers": [name]}, [None, object(), given])
    with pytest.raises(HeatpointError, match=r"a\.json.* is read"):
        check_outputs({"numbers": [name]}, [], ["a.json"])
    check_outputs({"numbers": [name, None, ""]}, ["b.json"])


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to(tmp_path)
    outputs = [tmp_path / "a.json", tmp_path / "way" / "a.json"]
    with pytest.raises(HeatpointError, match=r"way/a\.json are one file"):
        check_outputs({"numbers": outputs})


def test_devices_may_be_written_to(tmp_path: Path) -> None:
    check_outputs({"numbers": ["/dev/null"], "annotations": ["/dev/stdout"]}, ["/dev/null"])
    os.mkfifo(tmp_path / "pipe")
    check_outputs({"numbers": [tmp_path / "pipe"]}, [tmp_path / "pipe"])


def test_names_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to("round")
    for name in ("round", "a" * 300):
        with pytest.raises(HeatpointError, match=r"cannot write .*; choose another name"):
            check_outputs({"numbers": [tmp_path / name]})


def test_only_what_heatpoint_wrote_of_that_kind_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text('{"my": "notes"}')
    with pytest.raises(HeatpointError, match=r"notes\.json exists and was not written as such"):
        check_outputs({"numbers": [tmp_path / "notes.json"]})
    (tmp_path / "link.json").symlink_to("notes.json")
    with pytest.raises(HeatpointError, match=r"link\.json exists"):
        check_outputs({"numbers": [tmp_path / "link.json"]})
    write_json(tmp_path / "numbers.json", {"ap": 1})
    check_outputs({"numbers": [tmp_path / "numbers.json"]})
    with pytest.raises(HeatpointError, match="not written as such"):
        check_outputs({"annotations": [tmp_path / "numbers.json"]})
    (tmp_path / "empty.json").touch()
    check_outputs({"numbers": [tmp_path / "empty.json"]})


def test_places_that_cannot_be_written_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HeatpointError, match=r"a\.json: .*/file is no folder"):
        check_outputs({"numbers": [tmp_path / "file" / "new" / "a.json"]})
    with pytest.raises(HeatpointError, match="it is a folder; name a file in it"):
        check_outputs({"numbers": [tmp_path]})
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(HeatpointError, match="may not be written to; choose another folder"):
        check_outputs({"numbers": [tmp_path / "new" / "a.json"]})
    assert os.listdir(tmp_path) == ["file"]


def test_pictures_stay_out_of_folders_of_pictures(tmp_path: Path) -> None:
    shown = [tmp_path / "data" / "images" / part / "1.jpg" for part in ("train", "val")]
    for path in shown:
        path.parent.mkdir(parents=True)

    def check(folder: str, *given: str) -> None:
        written = [tmp_path / folder / "charts.png"]
        check_outputs({"pictures": written}, [tmp_path / name for name in given], shown)

    for folder in ("data/images/train", "data/x/../images/val"):
        with pytest.raises(HeatpointError, match=r"charts\.png would lie where pictures are read"):
            check(folder, "data.json")
    for folder in ("data/images", "data/images/report", "data/images/val/report"):
        check(folder, "data.json")
        with pytest.raises(HeatpointError, match=r"where pictures are read, such as .*1\.jpg"):
            check(folder, "data")  # which may be searched through
    for folder in ("data", "data/report", "report"):
        check(folder, "data")


# Every command.


def test_predict(work: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    photos, before = work / "photos", contents(work)
    (tmp_path / "way").symlink_to(photos)
    predict = ["predict", work / "m.safetensors", photos, "--score", "0"]
    for folder in (photos, tmp_path / "way"):
        refused("is read", *predict, "--draw", folder, capsys=capsys)
    refused("a.jpg is read", *predict, "--json", photos / "a.jpg", capsys=capsys)
    refused("is read", *predict, "--json", work / "m.safetensors", capsys=capsys)
    drawn = work / "data" / "images"  # signed, but read
    refused("is read", *predict[:2], drawn, "--draw", drawn, capsys=capsys)
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((9, 9, 3)))
    refused("a.jpg exists and was not", *predict, "--draw", tmp_path, capsys=capsys)
    refused("is no folder", *predict, "--draw", photos / "a.jpg", capsys=capsys)
    (tmp_path / "notes.json").write_text("[1]")
    refused("notes.json exists", *predict, "--json", tmp_path / "notes.json", capsys=capsys)
    assert contents(work) == before
    for _ in range(2):  # results of an earlier run are replaced
        words = [*predict, "--draw", tmp_path / "new", "--json", tmp_path / "new.json"]
        assert main([str(word) for word in words]) == 0
    assert sorted(os.listdir(tmp_path / "new")) == ["a.jpg", "b.png"]


def test_the_boxes_that_are_read_are_not_replaced(
    work: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = tmp_path / "rows.json"
    row = {"file_name": "a.jpg", "category_name": "x", "image_id": 0, "bbox": [1, 2, 3, 4]}
    write_json(rows, [row])
    words = ["predict", work / "m.safetensors", work / "photos", "--boxes", rows, "--json", rows]
    refused("rows.json is read", *words, capsys=capsys)
    assert json.loads(rows.read_text()) == [row]


def test_evaluate_and_limits(
    work: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data, model, before = work / "data" / "annotations.json", work / "m.safetensors", contents(work)
    for command in ("evaluate", "limits"):
        for path in (data, model):
            refused("is read", command, model, data, "--json", path, capsys=capsys)
    picture = work / "data" / "images" / "000000.jpg"
    refused("is read", "evaluate", model, data, "--save-results", picture, capsys=capsys)
    write_json(tmp_path / "rows.json", [{"image_id": 1}])
    words = ["evaluate", model, data, "--json", tmp_path / "rows.json"]
    refused("are one file", *words, "--save-results", tmp_path / "rows.json", capsys=capsys)
    with pytest.raises(HeatpointError, match="is read"):
        evaluate(str(model), str(data), save_results=str(data))
    assert contents(work) == before


def test_split_merge_and_filter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_shapes(tmp_path / "s", 4, (64, 64))
    data.rename(tmp_path / "s" / "train.json")
    (tmp_path / "s" / "val.json").write_text("{}")
    before, train = contents(tmp_path), tmp_path / "s" / "train.json"
    refused("train.json is read", "split", train, "--out", tmp_path / "s", capsys=capsys)
    refused("is read", "split", f"{train}:x", "--out", tmp_path / "s", capsys=capsys)
    refused("is read", "filter", train, "--out", train, capsys=capsys)
    refused("is read", "merge", train, train, "--out", train, capsys=capsys)
    refused("exists", "filter", train, "--out", tmp_path / "s" / "val.json", capsys=capsys)
    assert contents(tmp_path) == before
    for _ in range(2):
        assert main(["split", str(train), "--out", str(tmp_path / "parts")]) == 0
    assert len(read(tmp_path / "parts" / "train.json")) == 3


def test_inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_shapes(tmp_path / "data", 3, (64, 64))
    for name in ("images", "images/sub/.."):
        with pytest.raises(HeatpointError, match="where pictures are read"):
            inspect(data, size=64, out=tmp_path / "data" / name)
    write_picture(tmp_path / "data" / "charts.png", np.zeros((8, 8, 3), np.uint8))
    for _ in range(2):
        assert inspect(data, size=64, out=tmp_path / "data", samples=0).files
    (tmp_path / "data" / "report.json").write_text("mine")
    refused("report.json exists", "inspect", data, "--out", tmp_path / "data", capsys=capsys)
    assert (tmp_path / "data" / "report.json").read_text() == "mine"


def test_video(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 64))
    for _ in range(3):
        writer.write(np.zeros((64, 64, 3), np.uint8))
    writer.release()
    before = film.read_bytes()
    (tmp_path / "own.avi").write_bytes(b"RIFF....AVI of mine")
    words = ["video", work / "m.safetensors", film]
    refused("film.mp4 is read", *words, "--draw", film, capsys=capsys)
    refused("film.mp4 is read", *words, "--json", film, capsys=capsys)
    refused("own.avi exists", *words, "--draw", tmp_path / "own.avi", capsys=capsys)
    both = ["--draw", tmp_path / "b.mp4", "--json", tmp_path / "b.mp4"]
    refused("are one file", *words, *both, capsys=capsys)
    for _ in range(2):
        drawn, rows = tmp_path / "drawn.webm", tmp_path / "rows.jsonl"
        assert main([str(word) for word in [*words, "--draw", drawn, "--json", rows]]) == 0
    assert film.read_bytes() == before


def test_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    download = tmp_path / "x.safetensors"
    save_file({"a": np.zeros(2, np.float32)}, download)
    before = download.read_bytes()
    refused("x.safetensors is read", "convert", download, capsys=capsys)
    (tmp_path / "x.pth").write_bytes(b"weights")
    refused("x.safetensors exists", "convert", tmp_path / "x.pth", capsys=capsys)
    assert download.read_bytes() == before


def test_export(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x07somebody's")
    words = ["export", work / "m.safetensors"]
    refused("m.onnx exists", *words, tmp_path / "m.onnx", capsys=capsys)
    pytest.importorskip("openvino")
    (tmp_path / "m.bin").write_bytes(b"somebody's")
    before = contents(tmp_path)
    refused("m.bin exists", *words, tmp_path / "m.xml", capsys=capsys)
    assert contents(tmp_path) == before


def test_train(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, before = work / "data" / "annotations.json", contents(work)
    detector = work / "m.safetensors"
    words = ["train", data, "--val", data, "--size", "64", "--epochs", "1"]
    (tmp_path / "best.safetensors").symlink_to(detector)
    refused("is read", *words, "--weights", detector, "--out", tmp_path, capsys=capsys)
    out = work / "data" / "images"
    refused("where pictures are read", *words, "--out", out, capsys=capsys)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "log.csv").write_text("day,mood\n")
    refused("log.csv exists", *words, "--out", tmp_path / "mine", capsys=capsys)
    assert contents(work) == before
    assert (tmp_path / "mine" / "log.csv").read_text() == "day,mood\n"


def test_drawn_data_replaces_drawn_data_only(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "000001.jpg"), np.zeros((9, 9, 3)))
    (tmp_path / "annotations.json").write_text(json.dumps({"images": []}))
    before = contents(tmp_path)
    with pytest.raises(HeatpointError, match=r"annotations\.json exists"):
        write_shapes(tmp_path, 2, (64, 64))
    os.remove(tmp_path / "annotations.json")
    with pytest.raises(HeatpointError, match=r"000001\.jpg exists"):
        write_shapes(tmp_path, 2, (64, 64))
    assert contents(tmp_path) == {name: before[name] for name in ("images/000001.jpg",)}
    write_shapes(tmp_path / "new", 2, (64, 64))
    write_shapes(tmp_path / "new", 2, (64, 64), seed=1)


def test_benchmark_and_demo(work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.xml").write_text("<net/>")
    words = ["benchmark", work / "m.safetensors", "--out", tmp_path]
    refused("model.xml exists", *words, capsys=capsys)
    words = ["benchmark", work / "m.safetensors", "--images", work / "photos"]
    refused("where pictures are read", *words, "--out", work / "photos", capsys=capsys)
    (tmp_path / "metrics.json").write_text("{}")
    refused("metrics.json exists", "demo", "--out", tmp_path, capsys=capsys)
    assert sorted(os.listdir(tmp_path)) == ["metrics.json", "model.xml"]
