"""Drawn pictures, and the rows that one process and a cluster give of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from heatpoint.errors import HeatpointWarning
from heatpoint.inference.predict import iter_predict, result_rows
from heatpoint.options import built
from heatpoint.scale import ScaleOptions

for needed in ("onnx", "onnxruntime"):
    pytest.importorskip(needed, reason="needs the extra 'onnx'")
pyarrow = pytest.importorskip("pyarrow", reason="needs the extra 'ray'")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra 'ray'")

KEPT = {"score": 0.1, "max_detections": 3}
Rows = list[dict[str, Any]]


def draw(folder: Path, count: int) -> Path:
    """Draws pictures of many sizes, the fourth of which is none."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for place in range(count):
        image = np.empty((*random.integers(20, 90, 2), 3), np.uint8)
        image[:] = random.integers(0, 256, 3)
        image[: len(image) // 3] = random.integers(0, 256, 3)
        cv2.imwrite(str(folder / f"{place:05}.png"), image)
    (folder / "00003.png").write_bytes(b"no picture")
    return folder


def of_one_process(model: str, images: object, **options: Any) -> Rows:
    with pytest.warns(HeatpointWarning, match="skipped"):
        return result_rows(iter_predict(model, images, skip_bad=True, **(options or KEPT)))


def options_of(model: str, images: object, out: Path, **options: Any) -> ScaleOptions:
    given = {"model": model, "images": [str(images)], "out": str(out), **KEPT}
    return built(ScaleOptions, given | options)


def written(out: Path) -> Rows:
    lines = [line for file in sorted((out / "jsonl").iterdir()) for line in file.open()]
    rows = [json.loads(line) for line in lines]
    kept = [row for file in sorted((out / "parquet").iterdir()) for row in table(file)]
    # A column is null where a row lacks it, such as the box of a row of joints.
    assert [{name: row[name] for name in row if row[name] is not None} for row in kept] == rows
    return rows


def table(file: Path) -> Rows:
    rows: Rows = parquet.read_table(file).to_pylist()
    return rows


def told(out: Path) -> Rows:
    return [row for file in sorted((out / "pictures").iterdir()) for row in table(file)]
