"""Mistakes and border cases of corner models, through the doors that users take."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from runners import runner_of
from test_convert_mismatch import shaped

from heatpoint import zoo
from heatpoint.codecs import Target
from heatpoint.codecs.corners import CornerCodec
from heatpoint.convert import convert, fetch
from heatpoint.errors import HeatpointError
from heatpoint.inference.evaluate import evaluate
from heatpoint.training import train
from heatpoint.weights import PUBLISHED
from heatpoint.zoo.detector import Detector

both = pytest.mark.parametrize("model", ["cornernet_tiny", "triplets_tiny"])

QUICK = {
    "size": 64,
    "epochs": 1,
    "batch_size": 1,
    "workers": 0,
    "threads": 1,
    "accelerator": "cpu",
    "pictures": False,
    "augment": "none",
}


def drawn(folder: Path, counts: list[int], seed: int = 0) -> str:
    """Writes pictures of 64 x 64 with as many boxes of one class each, and returns the list."""
    generator = np.random.default_rng(seed)
    folder.mkdir()
    content: dict[str, list[dict[str, object]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "cell"}],
    }
    for number, count in enumerate(counts):
        pixels = generator.integers(0, 50, (64, 64, 3), np.uint8)
        for x, y in generator.integers(0, 48, (count, 2)):
            pixels[y : y + 12, x : x + 12] = 200
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "bbox": [int(x), int(y), 12, 12],
                    "area": 144,
                    "iscrowd": 0,
                }
            )
        Image.fromarray(pixels).save(folder / f"{number}.png")
        image = {"id": number, "file_name": f"{number}.png", "width": 64, "height": 64}
        content["images"].append(image)
    (folder / "list.json").write_text(json.dumps(content))
    return str(folder / "list.json")


@both
@pytest.mark.parametrize("counts", [[0, 1], [1, 1], [200, 0]], ids=["none", "one", "200"])
def test_batches_of_one_picture_learn_whatever_is_in_it(
    counts: list[int], model: str, tmp_path: Path
) -> None:
    data = drawn(tmp_path / "data", counts)
    before = zoo.build(model, ["cell"])
    before.save(tmp_path / "start.safetensors")
    start = {"model": model, "weights": str(tmp_path / "start.safetensors")}
    start["out"] = str(tmp_path / "run")
    result = train(data, data, **{**QUICK, **start})
    losses = result.history[-1]
    for name in before.codec.terms:
        assert math.isfinite(losses[f"loss/{name}"]), name
    after = Detector.load(tmp_path / "run" / "last.safetensors")
    for name, parameter in after.network.named_parameters():
        assert parameter.isfinite().all(), name
    weights = [d.network.get_parameter("heads.last.top_left.weight") for d in (before, after)]
    assert not torch.equal(*weights)
    assert 0 <= evaluate(after, data, size=64).ap <= 1


def test_200_objects_of_one_class_are_found_where_as_many_corners_are_paired() -> None:
    generator = np.random.default_rng(1)
    cells = generator.permutation(50 * 50)[:200]
    start = np.stack((cells % 50, cells // 50), 1) * 8.0
    boxes = torch.from_numpy(np.concatenate((start, start + 32), 1)).float()
    target = Target(boxes, torch.zeros(200, dtype=torch.long))
    for corners, expected in ((200, 200), (100, 100)):
        codec = CornerCodec(1, corners=corners)
        found = codec.decode(codec.ideal(codec.encode([target], (512, 512))))
        sure = found["boxes"][0][found["scores"][0] > 0.99]
        near = (sure[:, None] - boxes).abs().amax(-1) < 1e-3
        # Where not all corners are paired, those left may belong to no pair.
        assert near.any(0).sum() == expected if corners == 200 else near.any(0).sum() <= expected
        assert near.any(1).all()


@both
def test_an_image_without_objects_gives_an_empty_result(model: str) -> None:
    detector = zoo.build(model, ["cell"])
    runner = runner_of(detector, device="cpu", size=64, score=0.9)
    (found,) = runner([np.zeros((64, 64, 3), np.uint8)])
    assert len(found) == 0


@both
@pytest.mark.parametrize("side", [65, 100])
def test_sizes_that_are_no_multiple(side: int, model: str, tmp_path: Path) -> None:
    data = drawn(tmp_path / "data", [1])
    detector = zoo.build(model, ["cell"])
    legal = -(-side // detector.network.multiple) * detector.network.multiple
    sentence = rf"size.* {side}.*{legal}"
    with pytest.raises(HeatpointError, match=sentence):
        train(data, data, model=model, **{**QUICK, "size": side, "out": str(tmp_path / "run")})
    with pytest.raises(HeatpointError, match=sentence):
        runner_of(detector, device="cpu", size=side)


def test_the_grid_of_cells_must_be_whole() -> None:
    nothing = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    with pytest.raises(ValueError, match="multiple"):
        CornerCodec(1, trim=1).encode([nothing], (512, 511))


def test_names_that_do_not_match_the_head() -> None:
    detector = zoo.build("cornernet_tiny", ["cat", "dog"])
    with pytest.raises(HeatpointError, match="3"):
        replace(detector, names=("cat", "dog", "owl"))
    with pytest.raises(HeatpointError, match="3"):
        zoo.build("cornernet_tiny", ["cat", "dog"], codec=CornerCodec(3))
    published = shaped("cornernet_hourglass104")
    with pytest.raises(HeatpointError, match=r"the checkpoint has [0-9]+ classes, but 2 names"):
        convert(published, names=["cat", "dog"])


def test_published_corners_misspelt_or_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEATPOINT_CACHE", str(tmp_path))
    with pytest.raises(HeatpointError, match="did you mean 'mmdet_cornernet_10xb5'"):
        fetch("mmdet_cornernet_10x5")

    def refuse(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr("heatpoint.weights.download.urlopen", refuse)
    record = PUBLISHED["mmdet_cornernet_10xb5"]
    with pytest.raises(HeatpointError, match="Name or service not known") as caught:
        fetch("mmdet_cornernet_10xb5")
    assert record.address in str(caught.value)
    assert str(record.original) in str(caught.value)
    assert not record.cached.exists()
