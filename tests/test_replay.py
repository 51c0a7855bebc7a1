"""What a GPU is told once and then replays; the GPU is acted by this processor."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from heatpoint import zoo
from heatpoint.data.skeleton import SKELETONS
from heatpoint.inference.engines import replay
from heatpoint.inference.engines.replay import MOST, OFTEN, Recording, Replayed
from heatpoint.inference.engines.torch import TorchEngine

Tensors = dict[str, Tensor]


@dataclass
class Acted:
    """A recording that computes anew, into where its outputs lie."""

    function: replay.Function
    given: Tensors
    found: Tensors
    plays: int = 0

    def pool(self) -> str:
        return "the first one's"

    def replay(self) -> None:
        self.plays += 1
        for name, values in self.function(self.given).items():
            self.found[name].copy_(values)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Acted, object]]:
    """Returns the recordings that are made, each with the memory that it is given."""
    made: list[tuple[Acted, object]] = []

    def record(function: replay.Function, given: Tensors, pool: object = None) -> Recording:
        inputs = {name: each.clone() for name, each in given.items()}
        acted = Acted(function, inputs, {n: each.clone() for n, each in function(inputs).items()})
        made.append((acted, pool))
        return Recording(acted, inputs, acted.found)

    monkeypatch.setattr(replay, "record", record)
    return made


def doubled(given: Tensors) -> Tensors:
    return {"twice": given["x"] * 2, "rank": given["x"].long()}


def test_what_comes_often_is_recorded_and_replayed(recorded: list[tuple[Acted, object]]) -> None:
    run = Replayed(doubled, "doubling")
    for turn in range(OFTEN + 3):
        x = torch.full((2, 3), turn + 0.5)
        found = run({"x": x})
        assert torch.equal(found["twice"], 2 * x)
        assert torch.equal(found["rank"], x.long())
        assert len(recorded) == (turn >= OFTEN - 1)
    assert recorded[0][0].plays == 1 + 3  # the comparison, and three replays


def test_each_set_of_shapes_has_its_own_up_to_a_number(
    recorded: list[tuple[Acted, object]],
) -> None:
    run = Replayed(doubled, "doubling")
    for _ in range(OFTEN + 1):
        for side in range(1, MOST + 3):
            x = torch.rand(side, 2)
            assert torch.equal(run({"x": x})["twice"], 2 * x)
        x = torch.rand(1, 2).double()  # the same shape, another type
        assert torch.equal(run({"x": x})["twice"], 2 * x)
    assert [len(acted.given["x"]) for acted, _ in recorded] == list(range(1, MOST + 1))
    assert [pool for _, pool in recorded] == [None, *["the first one's"] * (MOST - 1)]


def test_what_is_replayed_is_compared(
    recorded: list[tuple[Acted, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Acted, "replay", lambda self: self.found["twice"].add_(1))
    run, x = Replayed(doubled, "doubling"), torch.rand(4)
    for _ in range(OFTEN - 1):
        run({"x": x})
    with pytest.warns(UserWarning, match="doubling cannot be replayed .what is replayed is some"):
        run({"x": x})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(run({"x": x})["twice"], 2 * x)
    assert len(recorded) == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_what_is_no_number_is_alike(recorded: list[tuple[Acted, object]], value: float) -> None:
    run = Replayed(lambda given: {"same": given["x"] + 0}, "adding")
    for _ in range(OFTEN + 1):
        found = run({"x": torch.tensor([1.0, value])})
    torch.testing.assert_close(found["same"], torch.tensor([1.0, value]), equal_nan=True)
    assert recorded[0][0].plays == 2


def test_what_cannot_be_recorded_goes_on_by_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Recording:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(replay, "record", refuse)
    run, x = Replayed(doubled, "reading the maps"), torch.rand(4)
    for _ in range(OFTEN - 1):
        run({"x": x})
    with pytest.warns(UserWarning, match=r"reading the maps .* \(operation not .* capturing\)"):
        run({"x": x})
    assert torch.equal(run({"x": x})["twice"], 2 * x)


KINDS = ("centernet", "cornernet", "triplets", "centerpose", "points", "quads", "pose", "saccade")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU that PyTorch can use")
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("name", [*(f"{kind}_tiny" for kind in KINDS), "mmdet_resdcn18"])
def test_a_gpu_finds_the_same_by_calls(name: str, flip: bool) -> None:
    joints = zoo.families.learns_joints(name)
    skeleton = SKELETONS["coco17"] if joints else None
    detector = zoo.build(name, ("person",) if joints else ("a", "b"), skeleton=skeleton)
    engine = TorchEngine(detector, device="cuda", flip=flip)
    by_calls = TorchEngine(detector, device="cuda", flip=flip)
    by_calls._look = by_calls._look_back = by_calls._looked
    by_calls._decode = by_calls._decoded
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for count in (1, 2) * (OFTEN + 2):
            pixels = rng.integers(0, 256, (count, 3, *detector.size), dtype=np.uint8)
            one, other = engine(pixels), by_calls(pixels)
            for field, values in one.items():
                np.testing.assert_array_equal(values, other[field])
