"""Exported files run alike in every runtime, without torch, and bad ones are explained."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra 'onnx'")
pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
pytest.importorskip("openvino", reason="needs the extra 'openvino'")

from drawn_graphs import (
    BOXES,
    CORNER_SCORES,
    JOINTS,
    draw_onnx,
    draw_openvino,
    expected_boxes,
    expected_joints,
    pictures,
)

from heatpoint import zoo  # noqa: F401  (knows all codecs)
from heatpoint.codecs import Codec
from heatpoint.errors import HeatpointError
from heatpoint.inference.engines.description import EXPORT_VERSION, Description
from heatpoint.inference.engines.engine import Answer, Timings
from heatpoint.inference.engines.onnx import OnnxEngine
from heatpoint.inference.engines.openvino import OpenVinoEngine, openvino_core

Maker = Callable[..., Path]
Kind = tuple[type[OnnxEngine] | type[OpenVinoEngine], Maker, str]

KINDS = {
    "onnx": (OnnxEngine, draw_onnx, "a.onnx"),
    "openvino": (OpenVinoEngine, draw_openvino, "a.xml"),
    "openvino-onnx": (OpenVinoEngine, draw_onnx, "a.onnx"),
}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    """Returns an engine, what writes a file for it, and the file's name."""
    return KINDS[request.param]


def assert_equal(found: Answer, expected: Answer) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == (np.int64 if name == "labels" else np.float32)
        np.testing.assert_allclose(found[name], array, rtol=1e-5)


@pytest.mark.parametrize(
    ("description", "expect"),
    [(BOXES, expected_boxes), (JOINTS, expected_joints)],
    ids=["boxes", "joints"],
)
def test_answers_are_those_of_the_graph(
    kind: Kind, tmp_path: Path, description: Description, expect: Callable[..., Answer]
) -> None:
    engine_of, draw, name = kind
    timings = Timings()
    engine = engine_of(draw(tmp_path / name, description), threads=1, timings=timings)
    assert engine.description == description
    assert (engine.device, engine.streams, engine.timings) == ("cpu", 1, timings)
    for count, size in ((1, (64, 96)), (3, (32, 128)), (2, (96, 32))):
        images = pictures(count, size)
        assert_equal(engine(images), expect(images))
    assert timings.network > 0


def test_further_fields_are_passed_on(kind: Kind, tmp_path: Path) -> None:
    engine_of, draw, name = kind
    about = replace(BOXES, answer=(*BOXES.answer, CORNER_SCORES))
    images = pictures(2)
    answer = engine_of(draw(tmp_path / name, about), threads=1)(images)
    expected = expected_boxes(images)
    expected["corner_scores"] = expected["boxes"][..., :2]
    assert_equal(answer, expected)


def test_pixels_need_not_be_contiguous(kind: Kind, tmp_path: Path) -> None:
    engine_of, draw, name = kind
    engine = engine_of(draw(tmp_path / name), threads=1)
    images = pictures(4)[::2, :, :, ::-1]
    assert_equal(engine(images), expected_boxes(images))


def test_an_answer_outlives_the_next_call(kind: Kind, tmp_path: Path) -> None:
    engine_of, draw, name = kind
    engine = engine_of(draw(tmp_path / name), threads=1)
    first, second = pictures(2, seed=1), pictures(2, seed=2)
    answer = engine(first)
    engine(second)
    assert_equal(answer, expected_boxes(first))


@pytest.mark.parametrize("streams", [1, 2])
def test_calls_of_several_threads(kind: Kind, tmp_path: Path, streams: int) -> None:
    engine_of, draw, name = kind
    engine = engine_of(draw(tmp_path / name), streams=streams)
    assert engine.streams == streams
    batches = [pictures(1 + seed % 3, seed=seed) for seed in range(40)]
    with ThreadPoolExecutor(2 * streams) as pool:
        answers = list(pool.map(engine, batches))
    for images, answer in zip(batches, answers, strict=True):
        assert_equal(answer, expected_boxes(images))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_fixed_number_of_images(kind: Kind, tmp_path: Path, count: int) -> None:
    engine_of, draw, name = kind
    engine = engine_of(draw(tmp_path / name, replace(BOXES, batch=2)), threads=1)
    images = pictures(count)
    assert_equal(engine(images), expected_boxes(images))


def test_sizes_that_do_not_fit(kind: Kind, tmp_path: Path) -> None:
    engine_of, draw, name = kind
    path = draw(tmp_path / name)
    with pytest.raises(HeatpointError, match=rf"40x96.*{name}.*32.*next legal size is 64x96"):
        engine_of(path, threads=1)(pictures(1, (40, 96)))
    draw(path, replace(BOXES, dynamic=False))
    with pytest.raises(HeatpointError, match=rf"{name} accepts images of 64x96.*not 64x128"):
        engine_of(path, threads=1)(pictures(1, (64, 128)))


def test_a_graph_at_odds_with_its_description(kind: Kind, tmp_path: Path) -> None:
    engine_of, draw, name = kind
    path = draw(tmp_path / name, outputs=("boxes", "scores"))
    with pytest.raises(HeatpointError, match=r"gives boxes, scores, but .* boxes, scores, labels"):
        engine_of(path)
    draw(path, JOINTS, outputs=("keypoints", "scores", "corner_scores"))
    with pytest.raises(HeatpointError, match="promises keypoints, scores"):
        engine_of(path)
    draw(path, input_type="FLOAT")
    with pytest.raises(HeatpointError, match="images of type uint8 as its one input"):
        engine_of(path)
    draw(path, columns=3)
    with pytest.raises(HeatpointError, match=r"for 2 images, but boxes \(2, 3, 3\), scores \(2, 3"):
        engine_of(path, threads=1)(pictures(2))
    draw(path, size=(64, 96))
    with pytest.raises(HeatpointError, match=r"cannot run .* 2 images of 32x32 pixels.*batch_size"):
        engine_of(path, threads=1)(pictures(2, (32, 32)))


def test_an_engine_works_on_after_a_failure(kind: Kind, tmp_path: Path) -> None:
    engine_of, draw, name = kind
    engine = engine_of(draw(tmp_path / name, size=(64, 96)), threads=1)
    images = pictures(1)
    for _ in range(2):
        with pytest.raises(HeatpointError, match="cannot run"):
            engine(pictures(1, (32, 32)))
        assert_equal(engine(images), expected_boxes(images))


class Idle:
    """A request of OpenVINO that does what one does when memory is short: nothing, quietly."""

    def __init__(self, request: Any) -> None:
        self.request = request
        self.get_tensor = request.get_tensor

    def infer(self, *_: object, **__: object) -> dict[Any, Any]:
        return {port: array.copy() for port, array in self.request.results.items()}


@pytest.mark.parametrize("count", [1, 2])
def test_the_answer_of_another_call_is_never_given(tmp_path: Path, count: int) -> None:
    engine = OpenVinoEngine(draw_openvino(tmp_path / "a.xml"), threads=1)
    engine(pictures(2))
    engine._requests.put(Idle(engine._requests.get()))
    with pytest.raises(HeatpointError, match=f"on {count} images .* gives no scores; if memory"):
        engine(pictures(count, seed=1))


def test_files_that_are_not_there(kind: Kind, tmp_path: Path) -> None:
    engine_of, _, name = kind
    with pytest.raises(HeatpointError, match=rf"{name} does not exist; .*heatpoint export"):
        engine_of(tmp_path / name)
    with pytest.raises(HeatpointError, match=r"a\.bin should end in .*(xml|onnx)"):
        engine_of(tmp_path / "a.bin")


def test_files_without_or_with_other_metadata(kind: Kind, tmp_path: Path) -> None:
    engine_of, draw, name = kind
    path = draw(tmp_path / name, text="")
    with pytest.raises(HeatpointError, match=r"lacks the metadata 'heatpoint'"):
        engine_of(path)
    newer = BOXES.to_json().replace(
        f'"version": {EXPORT_VERSION}', f'"version": {EXPORT_VERSION + 1}'
    )
    assert engine_of(draw(path, text=newer)).description == BOXES
    draw(path, text=newer.replace('"view": "Picture"', '"view": "Telescope"'))
    with pytest.raises(HeatpointError, match=f"{name} cannot be understood.*'Telescope'.*newer"):
        engine_of(path)


def test_files_cut_off_anywhere(kind: Kind, tmp_path: Path) -> None:
    engine_of, draw, name = kind
    path = draw(tmp_path / name)
    whole = path.read_bytes()
    for share in (0, 0.02, 0.3, 0.5, 0.8, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(HeatpointError, match=f"{name}.*export the checkpoint again"):
            engine_of(path)
    path.write_bytes(whole)
    assert engine_of(path).description == BOXES


def test_a_description_that_is_no_text(kind: Kind, tmp_path: Path) -> None:
    engine_of, draw, name = kind
    path = draw(tmp_path / name)
    whole = path.read_bytes()
    assert b"names" in whole
    path.write_bytes(whole.replace(b"names", b"nam\xffs"))
    with pytest.raises(HeatpointError, match=rf"{name}.*export the checkpoint again"):
        engine_of(path)


def test_weights_that_are_missing_or_cut_off(tmp_path: Path) -> None:
    path = draw_openvino(tmp_path / "a.xml")
    weights = tmp_path / "a.bin"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(HeatpointError, match=r"cannot load .*a\.xml.*damaged or cut off"):
        OpenVinoEngine(path)
    weights.unlink()
    with pytest.raises(HeatpointError, match=r"a\.bin is missing.*weights of .*a\.xml"):
        OpenVinoEngine(path)


@pytest.mark.parametrize(
    ("engine_of", "module", "extra"),
    [(OnnxEngine, "onnxruntime", "onnx"), (OpenVinoEngine, "openvino", "openvino")],
)
def test_runtimes_that_are_not_installed(
    monkeypatch: pytest.MonkeyPatch,
    engine_of: type[OnnxEngine] | type[OpenVinoEngine],
    module: str,
    extra: str,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(HeatpointError, match=rf"pip install 'heatpoint\[{extra}\]'"):
        engine_of("a.onnx")


@pytest.mark.parametrize("numbers", [{"streams": 0}, {"threads": 0}, {"streams": -1}])
def test_numbers_that_are_not_positive(kind: Kind, tmp_path: Path, numbers: dict[str, int]) -> None:
    engine_of, draw, name = kind
    with pytest.raises(HeatpointError, match="streams and threads must be at least 1"):
        engine_of(draw(tmp_path / name), **numbers)


@pytest.mark.parametrize("stored", ["fp32", "bf16", "fp16", "int8"])
def test_precision_is_what_the_processor_can(tmp_path: Path, stored: str) -> None:
    import openvino

    able = openvino_core(openvino).get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    path = draw_openvino(tmp_path / "a.xml", replace(BOXES, precision=stored))
    needed = {"fp32": "FP32", "bf16": "BF16", "fp16": "FP16", "int8": "INT8"}[stored]
    settled = stored if needed in able else "fp32"
    assert OpenVinoEngine(path).precision == settled
    # Layers of 8 bits stay so, whatever the others compute in.
    forced = "int8" if stored == "int8" else "fp32"
    assert OpenVinoEngine(path, precision="fp32").precision == forced
    if "BF16" in able:
        halved = "int8" if stored == "int8" else "bf16"
        assert OpenVinoEngine(path, precision="bf16").precision == halved
    else:
        with pytest.raises(HeatpointError, match="cannot compute in bf16, only in fp32"):
            OpenVinoEngine(path, precision="bf16")
    with pytest.raises(HeatpointError, match="precision must be one of fp32, bf16"):
        OpenVinoEngine(path, precision="int4")


def natural_views() -> set[str]:
    """Returns how the package's own codecs look at pictures: what exported files may ask for."""
    codecs = [kind for kind in Codec.kinds.values() if kind.__module__.startswith("heatpoint.")]
    return {kind.view.__name__ for kind in codecs}


def test_no_torch_is_needed(kind: Kind, tmp_path: Path) -> None:
    engine_of, draw, name = kind
    path = draw(tmp_path / name)
    program = (
        "import sys\n"
        "import numpy as np\n"
        f"from {engine_of.__module__} import {engine_of.__name__} as Engine\n"
        f"answer = Engine({str(path)!r}, threads=1)(np.full((1, 3, 64, 96), 51, np.uint8))\n"
        "print(answer['scores'].shape, f\"{answer['scores'].max():.4f}\")\n"
        "print({'torch', 'onnx'} & set(sys.modules))\n"
        "from heatpoint.views import View\n"
        f"print({natural_views()} - set(View.kinds))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout == "(1, 3) 0.2000\nset()\nset()\n", done.stderr


@pytest.mark.parametrize("where", ["here", "in another thread"])
def test_signals_are_handled_when_engines_of_openvino_are_gone(tmp_path: Path, where: str) -> None:
    path = draw_openvino(tmp_path / "a.xml")
    program = (
        "import gc, signal, threading\n"
        "from heatpoint.inference.engines.openvino import OpenVinoEngine as Engine\n"
        f"engines = [Engine({str(path)!r}, threads=1), Engine({str(path)!r}, threads=1)]\n"
        "def let_go():\n"
        "    engines.pop(0), gc.collect(), engines.pop(0), gc.collect()\n"
        f"if {where == 'here'}: let_go()\n"
        "else: thread = threading.Thread(target=let_go); thread.start(); thread.join()\n"
        "signal.signal(signal.SIGINT, lambda *_: print('handled'))\n"
        "signal.raise_signal(signal.SIGINT)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("handled\n", 0), done.stderr
