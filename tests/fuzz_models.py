"""What is damaged beside data sets: results, checkpoints, resume files, options, exported files."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import fuzz_damage
import numpy as np
import torch
from drawn_graphs import draw_onnx, draw_openvino
from fuzz_damage import BYTES, CHECKPOINT, JSON, TEXT, Chance
from fuzz_seeds import Seed, put

from heatpoint import zoo
from heatpoint.commands import parse
from heatpoint.convert import convert_file
from heatpoint.data import Annotations
from heatpoint.data.skeleton import SKELETONS, Skeleton
from heatpoint.errors import HeatpointError
from heatpoint.inference.engines import open_engine
from heatpoint.inference.engines.description import KEY
from heatpoint.inference.places import boxes_of_file
from heatpoint.inference.sources import Source
from heatpoint.scoring import read_rows
from heatpoint.training.options import TrainOptions
from heatpoint.training.state import Position, load_resume, save_resume
from heatpoint.zoo.detector import Detector
from heatpoint.zoo.fit import shapes_of

SMALL = 128
"""Inputs up to this side are run, too."""


def places(folder: Path) -> Path:
    return put(folder / "b.json", {"a.jpg": [[1, 2, 30, 40], [3.5, 4, 9, 9]], "b.jpg": []})


def rows(folder: Path) -> Path:
    row = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3.5, 4], "score": 0.5}
    return put(folder / "r.json", [row | {"file_name": n, "category_name": "cat"} for n in "ab"])


def placed(path: Path) -> None:
    names = ("a", "b") if "rows" in str(path) else ("a.jpg", "b.jpg")
    sources = [Source(None, name) for name in names]
    for found in boxes_of_file(path, sources, "cat", 0.1):
        assert found.boxes.shape == (len(found.scores), 4)
        assert np.isfinite(found.boxes).all()
        assert np.isfinite(found.scores).all()
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()


def scored(path: Path) -> None:
    records = Annotations(("cat",), [])
    assert isinstance(read_rows(path, records), list)


def checkpoint(model: str) -> Callable[[Path], Path]:
    """Returns what writes an untrained detector."""

    def write(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        detector(model).save(folder / "m.safetensors")
        return folder / "m.safetensors"

    return write


def detector(model: str = "centernet_tiny") -> Detector:
    torch.manual_seed(0)
    pose = Skeleton(("nose", "left_ear", "right_ear"), ((0, 1),), ((1, 2),))
    names = ("person",) if "pose" in model else ("cat", "dog")
    found = zoo.build(model, names, skeleton=pose if "pose" in model else None)
    found.meta["size"] = [64, 64]
    return found


def works(model: str | Path) -> None:
    """Opens a model, and runs it on one small picture if it is meant for one."""
    engine = open_engine(model)
    about = engine.description
    assert about.names
    assert min(about.size) >= 1
    about.natural_view()
    if max(about.size) <= SMALL:
        answer = engine(np.full((1, 3, *about.size), 99, np.uint8))
        assert not np.isnan(answer["scores"]).any() or "weights" in str(model)


def loaded(path: Path) -> None:
    found = Detector.load(path)
    again = json.loads(json.dumps(found.header()))
    assert again["names"] == list(found.names)
    if all(bool(value.isfinite().all()) for value in found.network.state_dict().values()):
        works(path)


def published(zipped: bool) -> Callable[[Path], Path]:
    """Returns what writes the tensors of a published layout, small ones."""

    def write(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        state = {f"module.layer.{i}.weight": torch.arange(12.0).reshape(3, 4) for i in range(4)}
        content = {"epoch": 3, "arch": "hg", "state_dict": state}
        torch.save(content, folder / "m.pth", _use_new_zipfile_serialization=zipped)
        return folder / "m.pth"

    return write


def resume(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    one = detector()
    tensors = one.network.state_dict()
    save_resume(
        folder / "resume.pt",
        {"options": {"lr": 0.1}, "data": {"images": 3}, "detector": json.dumps(one.header())}
        | {"position": vars(Position(sums=[0.5])), "network": tensors, "ema": tensors}
        | {"ema_updates": 3, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]}}
        | {"random": torch.get_rng_state(), "random_cuda": []},
    )
    return folder / "resume.pt"


def entries(data: bytes, chance: Chance) -> bytes:
    """Returns a file of ``torch.save`` with other values in it."""
    content = torch.load(io.BytesIO(data), weights_only=True)
    if isinstance(content.get("detector"), str) and chance.random() < 0.5:
        stored = fuzz_damage.value_of(json.loads(content["detector"]), chance)
        content["detector"] = json.dumps(stored)
    else:
        content = fuzz_damage.value_of(content, chance)
    torch.save(content, out := io.BytesIO())
    return out.getvalue()


def resumed(path: Path) -> None:
    state = load_resume(path)
    Detector.from_header(state["detector"], shapes_of(state["ema"]), path)
    Position(**state["position"])


def config(folder: Path) -> Path:
    return put(
        folder / "c.yaml",
        "data: train.json\nsize: [96, 128]\nlr: 1e-3\nminutes: 3.5\nskip_bad: true\n"
        "val: null\nbatch_size: 8\nmodel: centernet_tiny\n",
    )


def configured(path: Path) -> None:
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            options = parse(["--config", str(path)], "train", TrainOptions)
    except SystemExit:
        first, second = said.getvalue().splitlines()
        assert second == "heatpoint train --help lists the options"
        raise HeatpointError(first) from None
    assert isinstance(options, TrainOptions)


def graph(suffix: str, beside: str = "") -> Callable[[Path], Path]:
    """Returns what draws an exported file, of which that one or the one beside it is damaged."""

    def write(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        draw = draw_onnx if suffix == "onnx" else draw_openvino
        drawn = draw(folder / f"m.{suffix}")
        return drawn.with_suffix(f".{beside}") if beside else drawn

    return write


def description(data: bytes, chance: Chance) -> bytes:
    """Returns an .onnx file whose description is damaged."""
    import onnx

    model = onnx.load_from_string(data)
    for entry in model.metadata_props:
        if entry.key == KEY:
            entry.value = json.dumps(fuzz_damage.value_of(json.loads(entry.value), chance))
    return model.SerializeToString()


def information(data: bytes, chance: Chance) -> bytes:
    """Returns an .xml file whose description is damaged."""
    from xml.sax.saxutils import quoteattr

    from defusedxml import ElementTree

    text = data.decode()
    element = ElementTree.fromstring(text).find(f"rt_info/{KEY}")
    stored = fuzz_damage.value_of(json.loads(element.get("value")), chance)
    start = text.index("value=", text.index(f"<{KEY} "))
    end = text.index("/>", start)
    return f"{text[:start]}value={quoteattr(json.dumps(stored))} {text[end:]}".encode()


MODELS: dict[str, Seed] = {
    "boxes": Seed(places, placed, JSON),
    "boxes-rows": Seed(rows, placed, JSON, share=0.5),
    "results": Seed(rows, scored, JSON, share=0.5),
    "skeleton": Seed(
        lambda folder: put(folder / "s.json", SKELETONS["coco17"].as_dict()),
        Skeleton.load,
        JSON,
        share=0.5,
    ),
    "checkpoint": Seed(checkpoint("centernet_tiny"), loaded, CHECKPOINT),
    "checkpoint-corner": Seed(checkpoint("cornernet_tiny"), loaded, CHECKPOINT, share=0.5),
    "checkpoint-pose": Seed(checkpoint("pose_tiny"), loaded, CHECKPOINT, share=0.5),
    "pth": Seed(published(True), convert_file, (*BYTES, entries), share=0.5, slow=True),
    "pth-older": Seed(published(False), convert_file, (*BYTES, entries), share=0.5, slow=True),
    "resume": Seed(resume, resumed, (*BYTES, *[entries] * 10)),
    "config": Seed(config, configured),
    "onnx": Seed(graph("onnx"), works, (*BYTES, *[description] * 7)),
    "openvino": Seed(graph("xml"), works, (*TEXT, *[information] * 11), share=0.5),
    "openvino-weights": Seed(
        graph("xml", "bin"), lambda path: works(path.with_suffix(".xml")), BYTES, share=0.3
    ),
}
"""Every kind of file by name."""
