"""Converted networks of the detection hourglass beside numbers of the published ones."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from test_convert import filled
from torch import Tensor

from heatpoint.weights.convert import LAYOUTS, convert
from heatpoint.weights.convert.layout import fit

CORNERS = ("top_left", "bottom_right")
CORNER_MAPS = [corner + part for part in ("", "_embedding", "_offset") for corner in CORNERS]

Key = Callable[[int, str], str]
"""The golden file's name of a map of a stack."""

XY: dict[str, str] = {"heatmap": "hm", "size": "wh", "offset": "reg"}
PPRP = {"heatmap": 0, "offset": 1, "size": 2}

CASES: dict[str, tuple[int, list[int], Key]] = {
    # expected unused tensors, stacks that are stored, and the names of their maps
    "cornernet_hourglass104": (0, [-1], lambda _, name: str(CORNER_MAPS.index(name))),
    "cornernet_lite_port_hourglass104": (0, [-1], lambda _, n: f"0.{CORNER_MAPS.index(n)}"),
    "mmdet_cornernet_hourglass104": (0, [0, 1], lambda s, n: f"{CORNER_MAPS.index(n)}.{s}"),
    "xy_ctdet_coco_hourglass": (0, [0, 1], lambda s, name: f"{s}.{XY[name]}"),
    "bubbliiiing_hourglass_coco": (0, [0, 1], lambda s, name: f"{s}.{XY[name]}"),
    "pprp_large_hourglass_80": (0, [-1], lambda _, name: f"0.{PPRP[name]}"),
    "pprp_small_hourglass_80": (0, [-1], lambda _, name: f"0.{PPRP[name]}"),
    "mmpose_hourglass52_coco": (12, [-1], lambda _, name: "0"),
    "mmpose_hourglass52_mpii": (12, [-1], lambda _, name: "0"),
}

QUICK = ("pprp_small_hourglass_80",)
"""The others have twice the weights, or the same ones."""


def shapes(golden: Path, name: str) -> dict[str, list[int]]:
    manifest = json.loads((golden / "manifests" / f"{name}.json").read_text())
    return {key.removeprefix("module."): shape for key, shape in manifest.items()}


@pytest.mark.parametrize("name", CASES)
def test_every_published_tensor_has_its_place(golden: Path, name: str) -> None:
    with torch.device("meta"):
        tensors = {key: torch.zeros(shape) for key, shape in shapes(golden, name).items()}
    found = fit(LAYOUTS[name], tensors)
    assert found.missing == ()
    assert found.strange == ()
    assert len(found.unused) == CASES[name][0]
    published = [LAYOUTS[name].published(own) for own in LAYOUTS[name].expected(2)]
    assert len(set(published)) == len(published)


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES],
)
def test_converted_networks_compute_the_published_numbers(golden: Path, name: str) -> None:
    unused, stacks, key_of = CASES[name]
    tensors = {key: filled(key, shape) for key, shape in shapes(golden, name).items()}
    same_tensors = name == "bubbliiiing_hourglass_coco"
    detector = convert(tensors, name if same_tensors else "auto")
    del tensors
    assert detector.meta["layout"] == name
    assert len(detector.meta["unused"]) == unused
    network = detector.network
    expected = np.load(golden / "networks" / f"{name}.npz")

    generator = np.random.default_rng(zlib.crc32(b"input"))
    image = torch.from_numpy(generator.standard_normal(tuple(expected["input|shape"])))
    if not name.startswith("mm"):
        image = image.flip(1)
    mean, std = network.mean[:, None, None], network.std[:, None, None]
    with torch.no_grad():
        found = network(image * std + mean)
    assert len(found) == (1 if "52" in name or "small" in name else 2)
    for stack in stacks:
        for map_name, values in found[stack].items():
            compare(values, expected, key_of(stack, map_name))


def compare(values: Tensor, expected: dict[str, np.ndarray], key: str) -> None:  # type: ignore[type-arg]
    assert values.dtype == torch.float64
    assert tuple(values.shape) == tuple(expected[f"{key}|shape"])
    flat = values.numpy().ravel()
    deviation = expected[f"{key}|stat"][1]
    errors = np.abs(flat[expected[f"{key}|index"]] - expected[f"{key}|value"])
    assert errors.max() <= 1e-9 * deviation
    stat = np.array([flat.mean(), flat.std(), np.abs(flat).max()])
    assert np.abs(stat - expected[f"{key}|stat"]).max() <= 1e-9 * deviation


def test_class_counts_and_sizes(golden: Path) -> None:
    layout = LAYOUTS["mmdet_cornernet_hourglass104"]
    assert layout.classes({layout.heatmap: torch.zeros(3, 256, 1, 1)}) == 3
    assert re.fullmatch(r"bbox_head\.tl_heat\..*", layout.heatmap)
