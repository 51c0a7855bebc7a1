from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from blobs import NAMES, First, SpotHeads
from numpy.typing import NDArray
from ramps import ramp_detector
from torch import Tensor, nn
from torch.nn import functional

from heatpoint import zoo
from heatpoint.codecs.center import CenterCodec
from heatpoint.codecs.corners import CornerCodec
from heatpoint.codecs.joints import JointCodec
from heatpoint.data.skeleton import SKELETONS
from heatpoint.errors import HeatpointError
from heatpoint.exporting.export import export
from heatpoint.exporting.graph import Deployed
from heatpoint.inference.engines.description import Description
from heatpoint.inference.engines.openvino import openvino_core
from heatpoint.networks import Backbone, Network
from heatpoint.zoo.detector import Detector

onnx = pytest.importorskip("onnx", reason="needs the extra 'onnx'")
pytest.importorskip("onnxscript", reason="needs the extra 'onnx'")
ort = pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")
ov = pytest.importorskip("openvino", reason="needs the extra 'openvino'")

pytestmark = pytest.mark.usefixtures("shared_graphs")

APART = 2e-5
"""Rows whose scores differ by less may change places from one runtime to another."""

STEADY = 2e-4
"""Pixels by which joints may differ in torch's float32 and float64 for a picture to be used."""

SLOW = pytest.mark.slow

Arrays = dict[str, NDArray[Any]]


def lively_detector(name: str) -> Detector:
    """Returns a detector of the zoo whose maps vary around zero, as those of a trained one do."""
    torch.manual_seed(0)
    names = ["person"] if zoo.learns_joints(name) else ["cat", "dog"]
    detector = zoo.build(name, names, skeleton=SKELETONS["mpii16"])
    if isinstance(detector.codec, CornerCodec):  # embeddings that agree too seldom by chance
        detector.codec = dataclasses.replace(detector.codec, threshold=2.0)
    return enlivened(detector)


def enlivened(detector: Detector) -> Detector:
    """Returns a detector with maps that vary around zero."""
    network = detector.network.eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=0.05)
    makers: dict[int, nn.Conv2d] = {}
    handles = [
        module.register_forward_hook(lambda made, _, output: makers.update({id(output): made}))
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        maps = network(pictures(1, *sizes(detector)[0]))[-1]
        for name, values in maps.items():
            last = makers[id(values)]
            assert last.bias is not None
            scale = (0.5 if name == "sides" else 2) / values.std()  # these grow exponentially
            last.bias.copy_((last.bias - values.mean((0, 2, 3))) * scale)
            last.weight.mul_(scale)
    for handle in handles:
        handle.remove()
    return detector


def sizes(detector: Detector) -> list[tuple[int, int]]:
    """Returns two legal sizes with which no graph is made."""
    multiple, trim = detector.network.multiple, detector.network.trim
    return [(3 * multiple - trim, multiple - trim), (2 * multiple - trim, 3 * multiple - trim)]


def pictures(batch: int, height: int, width: int) -> Tensor:
    coarse = torch.rand(batch, 3, height // 8 + 1, width // 8 + 1) * 255
    return functional.interpolate(coarse, size=(height, width), mode="bilinear").to(torch.uint8)


def expected(detector: Detector, images: Tensor, flip: bool = False, rows: int = 100) -> Arrays:
    deployed = Deployed(detector, flip=flip, max_detections=rows)
    with torch.inference_mode():
        answer = deployed(images)
    return {
        name: v.numpy()
        for name, v in zip(deployed.outputs, answer[: len(deployed.outputs)], strict=True)
    }


def run_onnx(path: Path, images: Tensor) -> Arrays:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": images.numpy()}), strict=True))


def run_openvino(path: Path, images: Tensor) -> Arrays:
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino_core(ov).compile_model(path, "CPU", settings)
    answer = compiled({"images": images.numpy()})
    return {output.any_name: answer[output].copy() for output in compiled.outputs}


def steady_pictures(detector: Detector, batch: int, height: int, width: int) -> Tensor:
    """Returns pictures whose joints torch finds at the same places in float32 and float64.

    The random layers of eight stacks make flat peaks now and then, whose refined places are
    rounding and nothing else.
    """
    if not detector.codec.view.asks:
        return pictures(batch, height, width)
    exact = copy.deepcopy(detector)
    exact.network.double()
    kept: list[Tensor] = []
    for _ in range(20 * batch):
        image = pictures(1, height, width)
        once, twice = (expected(each, image)["keypoints"] for each in (detector, exact))
        if np.abs(once - twice)[..., :2].max() < STEADY:
            kept.append(image)
        if len(kept) == batch:
            return torch.cat(kept)
    raise AssertionError("torch's own rounding moves the joints of nearly every picture")


def assert_same(found: Arrays, wanted: Arrays) -> None:
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        assert found[name].shape == values.shape
        assert found[name].dtype == values.dtype
    scores = wanted["scores"]
    np.testing.assert_allclose(found["scores"], scores, rtol=0, atol=1e-4)
    if "boxes" not in wanted:
        assert_same_joints(found["keypoints"], wanted["keypoints"])
        return
    gaps = np.full((len(scores), scores.shape[1] + 1), 0.0)
    gaps[:, 1:-1] = scores[:, :-1] - scores[:, 1:]
    gaps[:, 0] = 1
    sure = (gaps[:, 1:] > APART) & (gaps[:, :-1] > APART) & (scores > 0)
    assert sure.sum(1).min() >= 10
    np.testing.assert_array_equal(found["labels"][sure], wanted["labels"][sure])
    np.testing.assert_allclose(found["boxes"][sure], wanted["boxes"][sure], rtol=0, atol=1e-3)
    if "keypoints" in wanted:
        assert_same_joints(found["keypoints"][sure], wanted["keypoints"][sure])
    if "corner_scores" in wanted:
        np.testing.assert_allclose(
            found["corner_scores"][sure], wanted["corner_scores"][sure], rtol=0, atol=1e-4
        )


def assert_same_joints(found: NDArray[Any], wanted: NDArray[Any]) -> None:
    np.testing.assert_allclose(found[..., :2], wanted[..., :2], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found[..., 2], wanted[..., 2], rtol=0, atol=1e-4)


def assert_exports(detector: Detector, folder: Path, flip: bool = False) -> None:
    """Checks both files at two sizes and batches."""
    export(detector, folder / "model.onnx", flip=flip)
    export(detector, folder / "model.xml", flip=flip)
    for batch, size in zip((1, 3), sizes(detector), strict=True):
        images = steady_pictures(detector, batch, *size)
        wanted = expected(detector, images, flip)
        assert_same(run_onnx(folder / "model.onnx", images), wanted)
        assert_same(run_openvino(folder / "model.xml", images), wanted)


FAMILIES = ("centernet_tiny", "cornernet_tiny", "centerpose_tiny", "pose_tiny")


# Mirrored, a graph holds all that the plain one does. The plain ones of joints are compared beside
# the refinements below and in test_train_crowd.py.
@pytest.mark.parametrize(
    ("name", "flip"),
    [
        *((name, True) for name in FAMILIES),
        *((name, False) for name in FAMILIES[:2]),
        *(pytest.param(name, False, marks=SLOW) for name in FAMILIES[2:]),
    ],
)
def test_files_say_what_the_detector_says(name: str, flip: bool, tmp_path: Path) -> None:
    assert_exports(lively_detector(name), tmp_path, flip)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [*(name for name in zoo.models() if name not in FAMILIES), "princeton_hourglass:1x1"],
)
def test_every_architecture_exports(name: str, tmp_path: Path) -> None:
    assert_exports(lively_detector(name), tmp_path)


ALIKE = ("none", "quarter", "quarter-princeton", "dark")
"""Refinements whose operators are all among those of the others."""


@pytest.mark.parametrize(
    "refine",
    ["taylor", "quarter-mmpose", "dark-udp", *(pytest.param(x, marks=SLOW) for x in ALIKE)],
)
def test_every_refinement_of_joints_exports(refine: Any, tmp_path: Path) -> None:
    detector = ramp_detector()
    assert isinstance(detector.codec, JointCodec)
    detector.codec = dataclasses.replace(detector.codec, refine=refine)
    path = tmp_path / "model.onnx"
    export(detector, path)
    for batch, size in ((1, (64, 96)), (2, (128, 64))):
        images = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8)
        images[:, 2] = 255
        assert_same(run_onnx(path, images), expected(detector, images))


def test_one_class_per_cell_and_more_boxes_than_the_codec_has(tmp_path: Path) -> None:
    detector = lively_detector("centernet_tiny")
    codec = dataclasses.replace(detector.codec, one_class_per_cell=True)
    assert isinstance(codec, CenterCodec)
    detector.codec = codec
    description = export(detector, tmp_path / "model.onnx", max_detections=300)
    assert description.rows == 300
    images = pictures(2, 96, 64)
    assert_same(run_onnx(tmp_path / "model.onnx", images), expected(detector, images, rows=300))
    answer = run_onnx(tmp_path / "model.onnx", pictures(1, 32, 32))
    assert answer["boxes"].shape == (1, 300, 4)
    assert 0 < int((answer["scores"] > 0).sum()) < 64  # fewer peaks than cells, then empty rows
    assert (answer["labels"] < 2).all()


OPSETS = [*((name, 18) for name in FAMILIES), ("centernet_tiny", 19)]


@pytest.mark.parametrize(
    ("name", "opset"), [*OPSETS, pytest.param("cornernet_tiny", 19, marks=SLOW)]
)
def test_onnx_files_hold_standard_operators_only(name: str, opset: int, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export(lively_detector(name), path, opset=opset, flip=True)
    model = onnx.load(path)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    assert {node.domain for node in model.graph.node} == {""}
    assert not len(model.functions)
    # Whole numbers are divided as such: float32 has none beyond 2 ** 24, heatmaps have cells.
    assert "Floor" not in {node.op_type for node in model.graph.node}
    assert str(Path(__file__).parents[1]).encode() not in path.read_bytes()


def test_inputs_and_outputs_have_names_and_sides(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    export(lively_detector("cornernet_tiny"), path, check=False)
    graph = onnx.load(path).graph
    sides = {
        info.name: [side.dim_param or side.dim_value for side in info.type.tensor_type.shape.dim]
        for info in (*graph.input, *graph.output)
    }
    assert sides == {
        "images": ["batch", 3, "height", "width"],
        "boxes": ["batch", 1000, 4],
        "scores": ["batch", 1000],
        "labels": ["batch", 1000],
        "corner_scores": ["batch", 1000, 2],
    }


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_files_describe_themselves(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    detector = lively_detector("pose_tiny")
    detector.names = ('Bär "3"\n',)
    description = export(detector, path, size=(128, 64), flip=True, check=False)
    assert description.size == (128, 64)
    assert description.flip
    assert description.skeleton == detector.skeleton
    if suffix == ".onnx":
        text = onnx.load(path).metadata_props[0].value
    else:
        text = ov.Core().read_model(path).get_rt_info(["heatpoint"]).value
    assert Description.from_json(text, path) == description


@pytest.mark.parametrize(
    ("name", "size"), [("centernet_tiny", (64, 96)), ("cornernet_tiny", (128, 128))]
)
def test_one_size_and_batch(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    detector = lively_detector(name)
    description = export(detector, path, size=size, dynamic=False, batch=2)
    assert not description.dynamic
    assert description.batch == 2
    sides = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    assert [side.dim_value for side in sides] == [2, 3, *size]
    images = pictures(2, *size)
    assert_same(run_onnx(path, images), expected(detector, images))


def test_corner_pooling_compares_no_more_than_one_size_takes(tmp_path: Path) -> None:
    detector = lively_detector("cornernet_tiny")
    counts = []
    for dynamic in (True, False):
        batch = {} if dynamic else {"batch": 2}
        path = tmp_path / "model.onnx"
        export(detector, path, size=128, dynamic=dynamic, check=False, **batch)  # type: ignore[arg-type]
        nodes = onnx.load(path).graph.node
        counts.append(sum(node.op_type == "Gather" for node in nodes))
    # Four poolings of 32 cells take 5 comparisons each, of any number of cells 14.
    assert counts[0] - counts[1] == 4 * (14 - 5)


def test_half_precision_halves_the_weights(tmp_path: Path) -> None:
    detector = lively_detector("centernet_tiny")
    lengths = {}
    for precision in ("fp32", "fp16", "bf16"):
        path = tmp_path / f"{precision}.xml"
        # Random maps have many peaks of equal height, of which rounding chooses.
        about = export(detector, path, precision=precision, check=False)  # type: ignore[arg-type]
        assert about.precision == precision
        lengths[precision] = path.with_suffix(".bin").stat().st_size
        assert sorted(tmp_path.glob("*partial*")) == []
    assert lengths["fp32"] == lengths["bf16"]
    assert lengths["fp16"] < 0.6 * lengths["fp32"]
    images = pictures(1, 64, 64)
    found = run_openvino(tmp_path / "fp16.xml", images)
    np.testing.assert_allclose(found["scores"], expected(detector, images)["scores"], atol=0.05)


class Sized(Backbone):
    """Computes something else for every width, by a number that a program takes for a constant."""

    channels = (3,)
    strides = (4,)
    multiple = 32

    def forward(self, images: Tensor) -> list[Tensor]:
        return [functional.avg_pool2d(images, 4) + int(images.shape[-1]) / 100]


def test_a_network_that_depends_on_the_size_is_refused(tmp_path: Path) -> None:
    network = Network(Sized(), First(), SpotHeads(), stride=4)
    meta = {"architecture": "sized", "size": [64, 64]}
    detector = Detector(network, CenterCodec(classes=2, max_detections=20), NAMES, meta)
    path = tmp_path / "model.onnx"
    with pytest.raises(HeatpointError, match=r"computes something else for every size.*--no-dyn"):
        export(detector, path)
    assert not path.exists()
    export(detector, path, dynamic=False)
    images = pictures(1, 64, 64)
    np.testing.assert_allclose(
        run_onnx(path, images)["scores"], expected(detector, images)["scores"], atol=1e-4
    )


def test_checkpoints_are_exported_by_their_path(tmp_path: Path) -> None:
    detector = lively_detector("centernet_tiny")
    detector.save(tmp_path / "best.safetensors")
    path, size = tmp_path / "model.xml", (64, 96)
    export(tmp_path / "best.safetensors", path, dynamic=False, size=size, batch=2)
    images = pictures(2, *size)
    assert_same(run_openvino(tmp_path / "model.xml", images), expected(detector, images))
