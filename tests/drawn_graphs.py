"""Graphs drawn by hand, whose answers are known: stand-ins for exported networks, without torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heatpoint.data.skeleton import Skeleton
from heatpoint.inference.engines.description import KEY, Description
from heatpoint.inference.engines.engine import Answer, Pixels
from heatpoint.views.fields import SCORES, Field

BOXES = Description(names=("red", "green", "blue"), size=(64, 96), multiple=32, rows=3)
JOINTS = replace(
    BOXES,
    names=("animal",),
    answer=(Field("keypoints", (3, 3), "points"), SCORES),
    rows=1,
    view="Crops",
    settings={"padding": 1.25},
    skeleton=Skeleton(("nose", "neck", "tail")),
)
CORNER_SCORES = Field("corner_scores", (2,))
CORNERS = np.array([1, 2, 3, 4], np.float32)


def expected_boxes(images: Pixels) -> Answer:
    """Returns the mean of each channel, the brightest first; a box's corners are multiples of it.

    Means of some millionths of pixels must differ for the order to be sure.
    """
    means = images.mean((2, 3)) / 255
    labels = np.argsort(-means, axis=1)
    scores = np.take_along_axis(means, labels, 1).astype(np.float32)
    return {"boxes": scores[..., None] * CORNERS, "scores": scores, "labels": labels}


def expected_joints(images: Pixels) -> Answer:
    """Returns the mean of each channel as a joint: x, its double as y, its triple as height."""
    means = (images.mean((2, 3)) / 255).astype(np.float32)
    keypoints = (means[..., None] * CORNERS[:3])[:, None]
    return {"keypoints": keypoints, "scores": means.max(1, keepdims=True)}


def draw_onnx(
    path: Path,
    description: Description = BOXES,
    *,
    text: str | None = None,
    outputs: tuple[str, ...] | None = None,
    size: tuple[int, int] | None = None,
    input_type: str = "UINT8",
    columns: int = 4,
) -> Path:
    """Writes a graph of a few operators that answers as ``expected_...`` says.

    Args:
        path: Ends in .onnx.
        description: Which answer, and how many images a run takes.
        text: In place of the description's own; "" leaves the metadata out.
        outputs: In place of those the description promises.
        size: (H, W) that the graph insists on, whatever the description says.
        input_type: Name of an ONNX type.
        columns: Numbers per box, or per point.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, value: Any) -> Any:
        return numpy_helper.from_array(np.asarray(value), name)

    def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
        return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)

    joints = description.skeleton is not None
    place = "points" if description.counts else "boxes"
    nodes = [
        node("Cast", "images", "values", to=TensorProto.FLOAT),
        node("ReduceMean", "values", "sums", axes=[2, 3], keepdims=0),
        node("Div", "sums white", "means"),
        node("TopK", "means three", "best labels", axis=1),
        node("Unsqueeze", "means last" if joints else "best last", "column"),
        node("Mul", "column corners", "rows" if joints else place),
        node("Mul", "column pair", "corner_scores"),
        *(
            [
                node("Unsqueeze", "rows first", "keypoints"),
                node("ReduceMax", "means", "scores", axes=[1], keepdims=1),
            ]
            if joints
            else [node("Identity", "best", "scores")]
        ),
    ]
    constants = [
        constant("white", np.float32(255)),
        constant("three", np.array([3], np.int64)),
        constant("last", np.array([2], np.int64)),
        constant("first", np.array([1], np.int64)),
        constant("corners", CORNERS[: 3 if joints else columns]),
        constant("pair", CORNERS[:2]),
    ]
    batch = description.batch or "batch"
    shapes: dict[str, list[int | str]] = {
        place: [batch, 3, columns],
        "scores": [batch, 1 if joints else 3],
        "labels": [batch, 3],
        "corner_scores": [batch, 3, 2],
        "keypoints": [batch, 1, 3, 3],
    }
    graph = helper.make_graph(
        nodes,
        "drawn",
        [
            helper.make_tensor_value_info(
                "images",
                getattr(TensorProto, input_type),
                [batch, 3, *(size or ("height", "width"))],
            )
        ],
        [
            helper.make_tensor_value_info(
                name, TensorProto.INT64 if name == "labels" else TensorProto.FLOAT, shapes[name]
            )
            for name in outputs or [field.name for field in description.answer]
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if text != "":
        helper.set_model_props(model, {KEY: text or description.to_json()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def draw_openvino(path: Path, description: Description = BOXES, **changes: Any) -> Path:
    """Writes the graph of ``draw_onnx`` as a pair of .xml and .bin.

    Args:
        path: Ends in .xml.
        description: As for ``draw_onnx``, and ``changes`` too.
        **changes: The other arguments of ``draw_onnx``.
    """
    import openvino

    text = changes.pop("text", description.to_json())
    drawn = draw_onnx(path.with_suffix(".source.onnx"), description, text="", **changes)
    model = openvino.Core().read_model(drawn)
    if text:
        model.set_rt_info(text, [KEY])
    openvino.save_model(model, path, compress_to_fp16=False)
    return path


def pictures(count: int, size: tuple[int, int] = (64, 96), seed: int = 0) -> Pixels:
    """Returns (count, 3, H, W) noise, of a brightness of its own in each image and channel."""
    generator = np.random.default_rng(seed)
    level = generator.permuted(np.tile([60, 120, 180], (count, 1)), axis=1)
    noise = generator.integers(0, 50, (count, 3, *size))
    images: NDArray[np.uint8] = (level[:, :, None, None] + noise).astype(np.uint8)
    return images
