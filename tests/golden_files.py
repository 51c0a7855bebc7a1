"""The numbers computed by the published programs, whatever and however many a file holds.

``HEATPOINT_GOLDEN`` names another folder of files made by the same rules.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FOLDER = Path(os.environ.get("HEATPOINT_GOLDEN", Path(__file__).parent / "golden"))

WRAPPER = re.compile(r"^(model\.)?module\.")
"""What published names of tensors may begin with, beside their bare name."""


def arrays(name: str) -> dict[str, NDArray]:  # type: ignore[type-arg]
    """Returns the arrays of a file of functions."""
    with np.load(FOLDER / "functions" / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def tensors(name: str) -> dict[str, Tensor]:
    """Returns the same as tensors; names are left out."""
    return {
        key: torch.from_numpy(values)
        for key, values in arrays(name).items()
        if values.dtype.kind != "U"
    }


def part(name: str, start: str) -> dict[str, NDArray]:  # type: ignore[type-arg]
    """Returns the arrays whose key begins with ``start``, by the rest of the key."""
    found = arrays(name)
    return {key.removeprefix(start): found[key] for key in found if key.startswith(start)}


def cases(name: str, pattern: str) -> list[str]:
    """Returns what the group of a pattern matches at the start of keys, each once.

    Raises:
        ValueError: Nothing matches, so that a test of all cases would test none.
    """
    matches = (re.match(pattern, key) for key in arrays(name))
    found = list(dict.fromkeys(match[1] for match in matches if match))
    if not found:
        raise ValueError(f"{name}.npz has no key like {pattern}")
    return found


def manifests() -> list[str]:
    """Returns the names of all manifests."""
    return sorted(path.stem for path in (FOLDER / "manifests").glob("*.json"))


def manifest(name: str) -> dict[str, list[int]]:
    """Returns the shapes of a published checkpoint by bare name."""
    shapes = json.loads((FOLDER / "manifests" / f"{name}.json").read_text())
    return {WRAPPER.sub("", key): shape for key, shape in shapes.items()}


def filled(name: str, shape: list[int]) -> Tensor:
    """Returns the value that the golden files prescribe for a bare name."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    generator = np.random.default_rng(zlib.crc32(name.encode("ascii")))
    fan = int(np.prod(shape[1:]))
    if name.endswith("running_var"):
        value = generator.uniform(0.5, 1.5, shape)
    elif name.endswith("running_mean"):
        value = 0.1 * generator.standard_normal(shape)
    elif "conv_offset" in name:
        bias = name.endswith("bias")
        value = generator.standard_normal(shape) * (0.5 if bias else 0.02 / np.sqrt(fan))
    elif name.endswith("bias"):
        value = 0.1 * generator.standard_normal(shape)
    elif len(shape) >= 2:
        value = generator.standard_normal(shape) * (1.1 / np.sqrt(fan))
    else:
        value = generator.uniform(0.5, 1.5, shape)
    return torch.from_numpy(np.asarray(value, np.float64))


def checkpoint(name: str) -> dict[str, Tensor]:
    """Returns a published checkpoint with the prescribed values, by bare name."""
    return {key: filled(key, shape) for key, shape in manifest(name).items()}


def outputs(name: str) -> dict[str, NDArray]:  # type: ignore[type-arg]
    """Returns what is stored about the outputs of a published network."""
    with np.load(FOLDER / "networks" / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def network_input(expected: dict[str, NDArray]) -> Tensor:  # type: ignore[type-arg]
    """Returns the normalised input that the outputs belong to."""
    generator = np.random.default_rng(zlib.crc32(b"input"))
    return torch.from_numpy(generator.standard_normal(tuple(expected["input|shape"])))


def assert_output(values: Tensor, expected: dict[str, NDArray], key: str) -> None:  # type: ignore[type-arg]
    """Compares a whole map with the places and moments that are stored about it."""
    assert values.dtype == torch.float64
    assert tuple(values.shape) == tuple(expected[f"{key}|shape"])
    flat, deviation = values.numpy().ravel(), expected[f"{key}|stat"][1]
    errors = np.abs(flat[expected[f"{key}|index"]] - expected[f"{key}|value"])
    assert errors.max() <= 1e-9 * deviation
    stat = np.array([flat.mean(), flat.std(), np.abs(flat).max()])
    assert np.abs(stat - expected[f"{key}|stat"]).max() <= 1e-9 * deviation
