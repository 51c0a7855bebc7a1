"""``heatpoint export``, and the other commands and a foreign program on what it writes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra 'onnx'")
pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
pytest.importorskip("openvino", reason="needs the extra 'openvino'")

from blobs import NAMES
from layered import SPOTS, annotated, layered_detector, spot_pictures

from heatpoint import plugins
from heatpoint.cli import main
from heatpoint.data.images import load_image
from heatpoint.data.readers.coco import write_coco
from heatpoint.inference.engines import open_engine
from heatpoint.inference.predict import predict
from heatpoint.system.signs import is_ours
from heatpoint.video.writing import video_file

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "export.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared_graphs: None) -> Iterator[Path]:
    """Yields a folder with a checkpoint of a detector of spots and four annotated pictures."""
    folder = tmp_path_factory.mktemp("export")
    detector = layered_detector()
    detector.meta["size"] = [96, 128]
    detector.save(folder / "spots.safetensors")
    write_coco(annotated(spot_pictures(folder / "pictures")), folder / "spots.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugins, "models", lambda: {"layers": lambda *_: layered_detector()})
        yield folder


@pytest.fixture(scope="module")
def written(folder: Path) -> dict[str, str]:
    """Returns what ``heatpoint export`` printed, by the ending of the file."""
    said = {}
    for name, *more in (["model.onnx"], ["model.xml", "--max-detections", "120"]):
        with redirect_stdout(StringIO()) as text:
            checkpoint, out = str(folder / "spots.safetensors"), str(folder / name)
            assert main(["export", checkpoint, out, *more]) == 0
        said[Path(name).suffix] = text.getvalue()
    return said


def test_it_says_what_it_wrote(folder: Path, written: dict[str, str]) -> None:
    for suffix, rows in ((".onnx", 100), (".xml", 120)):
        text = written[suffix]
        assert re.search(r"\d+ sure results in \d pictures: .* px, score .* at most; 0 off", text)
        assert f"model{suffix}: " in text
        assert "images: B x 3 x H x W uint8, RGB; multiples of " in text
        assert "96 x 128 by default" in text
        assert f"boxes: B x {rows} x 4 float32" in text
        assert f"labels: B x {rows} int64" in text
        assert f"run it: heatpoint predict {folder / 'model'}{suffix}" in text
    assert "model.bin: " in written[".xml"]


def test_what_it_wrote_is_known(folder: Path, written: dict[str, str]) -> None:
    for ending in ("onnx", "xml", "bin"):
        assert is_ours(folder / f"model.{ending}", "exported")
    (folder / "alone.bin").write_bytes((folder / "model.bin").read_bytes())
    with pytest.raises(OSError, match=r"alone\.xml"):
        is_ours(folder / "alone.bin", "exported")


def test_predict_and_evaluate_take_exported_files(
    folder: Path, written: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    found, scores = {}, {}
    for name in ("spots.safetensors", "model.onnx", "model.xml"):
        out = folder / f"{name}.json"
        model, pictures = str(folder / name), str(folder / "pictures")
        assert main(["predict", model, pictures, "--json", str(out)]) == 0
        rows = json.loads(out.read_text())
        assert len(rows) >= 4 * len(SPOTS)
        found[name] = np.array(
            sorted(
                [row["image_id"], row["category_id"], *row["bbox"], row["score"]] for row in rows
            )
        )
        capsys.readouterr()
        assert main(["evaluate", model, str(folder / "spots.json")]) == 0
        scores[name] = re.findall(r"ap +([\d.]+)", capsys.readouterr().out)
    for name in ("model.onnx", "model.xml"):
        np.testing.assert_allclose(found[name], found["spots.safetensors"], atol=0.01)
        assert scores[name] == scores["spots.safetensors"]
    assert float(scores["model.xml"][0]) > 30  # percent


@pytest.mark.parametrize("name", ["model.onnx", "model.xml"])
def test_no_command_that_runs_an_exported_file_imports_torch(
    name: str, folder: Path, written: dict[str, str], tmp_path: Path
) -> None:
    with video_file(tmp_path / "film.avi", rate=5) as film:
        for path in sorted((folder / "pictures").iterdir()):
            film.write(load_image(path))
    model, pictures, truth = (str(folder / each) for each in (name, "pictures", "spots.json"))
    film_file, drawn, lines = (
        str(tmp_path / each) for each in ("film.avi", "drawn", "lines.jsonl")
    )
    program = (
        "import sys\n"
        "from heatpoint.cli import main\n"
        f"assert main(['predict', {model!r}, {pictures!r}, '--draw', {drawn!r}]) == 0\n"
        f"assert main(['evaluate', {model!r}, {truth!r}]) == 0\n"
        f"assert main(['video', {model!r}, {film_file!r}, '--json', {lines!r}]) == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "lines.jsonl").read_text().splitlines()) == 4


def test_the_program_of_the_document_finds_the_same(
    folder: Path, written: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    large = np.kron(cv2.imread("pictures/1.png"), np.ones((5, 4, 1), np.uint8))
    cv2.imwrite("large.png", large)  # so large that it is averaged first
    for picture in ("pictures/0.png", "large.png"):
        scope: dict[str, object] = {"print": lambda *words: None}
        exec(program.replace("photos/000000.jpg", picture), scope)
        for model, name in (("model.onnx", "found"), ("model.xml", "again")):
            (expected,) = predict(folder / model, [picture])
            rows = scope[name]
            assert isinstance(rows, list)
            assert len(rows) == len(expected) >= len(SPOTS)
            assert [row[0] for row in rows] == [NAMES[label] for label in expected.labels]
            np.testing.assert_allclose([row[1] for row in rows], expected.scores, atol=1e-6)
            np.testing.assert_allclose([row[2] for row in rows], expected.boxes, atol=1e-3)


def test_the_metadata_of_the_document_is_complete(folder: Path, written: dict[str, str]) -> None:
    about = open_engine(folder / "model.onnx").description
    (example,) = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert json.loads(example).keys() == json.loads(about.to_json()).keys()
    table = DOCUMENT.read_text().split("## Metadata")[1].split("```json")[0]
    assert set(re.findall(r"`(\w+)`", table)) >= json.loads(about.to_json()).keys()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.pt"], "should end in .onnx"),
        (["model.onnx", "--precision", "int8", "--calibrate", "x"], "write an .xml file"),
        (["model.xml", "--precision", "int8"], "int8 needs pictures"),
        (["model.xml", "--images", "x"], "--images is the folder of --calibrate's pictures"),
        (["model.xml", "--size", "100"], "the next legal size is"),
        (["model.onnx", "--check", "nothing.jpg"], "nothing.jpg does not exist"),
    ],
)
def test_mistakes_are_explained(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    out = str(tmp_path / words[0])
    assert main(["export", str(folder / "spots.safetensors"), out, *words[1:]]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
