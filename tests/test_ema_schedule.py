"""The average of the weights, the learning rate and the clock."""

from __future__ import annotations

import dataclasses
import logging
import math
from datetime import timedelta
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn

from heatpoint.errors import HeatpointError
from heatpoint.synthetic.pictures import write_shapes
from heatpoint.training import loop, train
from heatpoint.training.optimize import (
    COOLING,
    Clock,
    Ema,
    Schedule,
    build_optimizer,
    parameter_groups,
)
from heatpoint.training.options import TrainOptions, check
from heatpoint.training.processes import make_fabric
from heatpoint.training.recipe import Recipe, differences, milestones, plain
from heatpoint.training.stages import pace, stages_of
from heatpoint.views import input_size
from heatpoint.zoo.detector import build


def test_ema_follows_its_formula():
    module = nn.Linear(2, 1)
    with torch.no_grad():
        module.weight.fill_(1.0)
    ema = Ema(module, 0.5)
    expected = 1.0
    for update, weight in enumerate((2.0, 3.0, -1.0, 5.0)):
        with torch.no_grad():
            module.weight.fill_(weight)
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * weight
        ema.update()
    assert ema.module.weight[0, 0].item() == pytest.approx(expected, rel=1e-6)
    assert not ema.module.weight.requires_grad


def test_ema_averages_statistics_and_copies_counters():
    module = nn.BatchNorm2d(3)
    ema = Ema(module, 0.9)
    module.train()(torch.randn(4, 3, 2, 2) + 5)
    ema.update()
    assert ema.module.num_batches_tracked == 1
    ratio = ema.module.running_mean / module.running_mean
    torch.testing.assert_close(ratio, torch.full((3,), 0.9))
    assert not ema.module.training


def test_ema_of_decay_zero_is_the_weights_bit_for_bit():
    module = nn.Linear(5, 5)
    ema = Ema(module, 0.0)
    with torch.no_grad():
        module.weight.normal_()
    ema.update()
    assert torch.equal(ema.module.weight, module.weight)


def test_cosine_starts_warm_ends_at_zero_and_falls():
    schedule = Schedule("cosine", warmup=0.1)
    factors = [schedule.factor(i / 100, i) for i in range(101)]
    assert 0 < factors[0] < 0.02
    assert factors[-1] == pytest.approx(0, abs=1e-12)
    assert factors[:11] == sorted(factors[:11])
    assert factors[11:] == sorted(factors[11:], reverse=True)
    assert factors[50] == pytest.approx(0.5)


def test_cooldown_stays_up_and_falls_straight_to_zero():
    schedule = Schedule("cooldown")
    factors = np.array([schedule.factor(i / 100, i) for i in range(101)])
    at = round(COOLING * 100)
    assert 0 < at < 100
    assert (factors[: at + 1] == 1).all()
    assert factors[-1] == 0
    np.testing.assert_allclose(np.diff(factors[at:]), -1 / (100 - at))


def test_warmup_in_updates():
    schedule = Schedule("steps", (0.5,), warmup=10)
    assert schedule.factor(0.0, 5) == pytest.approx(0.5)
    assert schedule.factor(0.4, 10) == 1
    assert schedule.factor(0.5, 100) == pytest.approx(0.1)


def test_published_milestones():
    options = Recipe("d", "v", schedule="steps")
    schedule = Schedule("steps", milestones(options))
    at = {epoch: round(schedule.factor(epoch / 140, epoch), 6) for epoch in (89, 90, 119, 120)}
    assert at == {89: 1, 90: 0.1, 119: 0.1, 120: 0.01}
    shorter = Recipe("d", "v", schedule="steps", epochs=28, steps=[24, 18])
    assert milestones(shorter) == (18 / 28, 24 / 28)


def test_clock_takes_what_ends_first(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("heatpoint.training.optimize.time.monotonic", lambda: now[0])
    clock = Clock(epochs=100, seconds=60)
    assert clock.position(50) == 0.5
    now[0] += 45
    assert clock.position(50) == 0.75
    assert clock.has_room()
    clock.hold_back(7)
    assert clock.has_room()
    clock.hold_back(10)
    assert not clock.has_room()
    assert clock.position(50) == pytest.approx(0.9)
    clock.hold_back(5)
    assert clock.position(50) == pytest.approx(0.9)
    assert clock.remaining(50) == pytest.approx(5)
    now[0] += 100
    assert clock.position(50) == 1
    resumed = Clock(epochs=None, seconds=60, spent=30)
    assert resumed.position(5) == 0.5
    assert resumed.hold_back(10) == 10
    assert resumed.hold_back(0) == 10
    assert resumed.position(5) == 0.6


@pytest.mark.parametrize(("seconds", "every"), [(3, 2), (4, 5), (5, 2), (6, 4)])
def test_the_learning_rate_comes_to_its_end_before_the_last_validation(
    monkeypatch, tmp_path, seconds, every
):
    """By a clock on which an update takes a second, and a validation some."""
    now, take, score = [0.0], loop.take_update, loop.evaluate
    monkeypatch.setattr("heatpoint.training.optimize.time.monotonic", lambda: now[0])

    def later(seconds, work):
        def done(*given, **named):
            result = work(*given, **named)
            now[0] += seconds
            return result

        return done

    monkeypatch.setattr(loop, "take_update", later(1.0, take))
    monkeypatch.setattr(loop, "evaluate", later(seconds, score))
    shapes = write_shapes(tmp_path / "shapes", 6, (64, 64), seed=3)
    quick = {"model": "centernet_tiny", "size": 64, "batch_size": 2, "workers": 0, "threads": 1}
    result = train(
        *(shapes, shapes),
        **quick,
        **{"epochs": None, "minutes": 1.0, "eval_every": every, "lr": 1e-3, "pictures": False},
        accelerator="cpu",
        out=tmp_path / "run",
    )
    assert result.finished
    assert 59 <= result.seconds <= 61
    assert result.history[-1]["learning_rate"] < 0.05 * 1e-3
    # Two images a second, whatever validation takes.
    assert {row["images_per_second"] for row in result.history} == {2.0}


def test_processes_agree_on_time_and_reserve(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("heatpoint.training.optimize.time.monotonic", lambda: now[0])
    first, second = Clock(None, 100), Clock(None, 100)
    now[0] = 30.0
    first.hold_back(20)  # the first process validates, the second waits a little less
    second.hold_back(15)
    told = []
    first.agree(lambda mine: told.append(mine) or mine)
    now[0] = 31.0
    second.agree(lambda mine: told[0])
    assert told == [(30.0, 20.0)]
    now[0] = 35.0
    assert first.position(5) == second.position(5) == pytest.approx(30 / 80)


def test_validation_may_outlast_the_usual_time_of_waiting():
    fabric = make_fabric(Recipe("d", "v", devices=2, accelerator="cpu"))
    assert fabric.strategy._timeout >= timedelta(days=1)
    assert fabric.strategy._start_method == "spawn"


def test_a_strategy_whose_package_is_not_here_is_one_sentence():
    if find_spec("deepspeed"):
        pytest.skip("deepspeed is installed")
    with pytest.raises(HeatpointError, match=r"strategy='deepspeed': .*install"):
        make_fabric(Recipe("d", "v", accelerator="cpu", strategy="deepspeed"))


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_that_torch_does_not_take_are_one_sentence(seed):
    with pytest.raises(HeatpointError, match=r"seed is a number from 0 to 2\^63 - 1, not"):
        check(TrainOptions("d", seed=seed))
    torch.manual_seed(2**63 - 1)


def test_lightning_keeps_its_advice_to_itself(caplog):
    logging.getLogger("lightning_fabric").setLevel(logging.INFO)  # as its import leaves it
    with caplog.at_level(logging.INFO):
        make_fabric(Recipe("d", "v", accelerator="cpu", precision="bf16"))
    assert not caplog.records


def test_norms_and_biases_do_not_decay():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))
    decaying, others = parameter_groups(module, 0.1)
    assert [tuple(p.shape) for p in decaying["params"]] == [(4, 3, 3, 3), (1, 4, 1, 1)]
    assert len(others["params"]) == 4
    assert others["weight_decay"] == 0
    optimizer = build_optimizer(module, "sgd", 0.1, 0.1)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0]


def test_a_run_needs_an_end():
    assert Recipe("d", "v").epochs == 140
    with pytest.raises(HeatpointError, match="give epochs or minutes"):
        Recipe("d", "v", epochs=None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"lr": -1.0}, "lr"),
        ({"lr": math.nan}, "lr"),
        ({"optimizer": "lion"}, "'adamw', 'adam', 'sgd'"),
        ({"ema": 1.0}, "ema"),
        ({"mosaic": 2.0}, "mosaic is a probability, not 2"),
        ({"repeat_rare": 1.5}, "repeat_rare is a share of the pictures, 0 to 1, not 1.5"),
        ({"half_body": math.nan}, "half_body"),
        ({"rotate": 190.0}, "0 to 180 degrees"),
        ({"overlap": 1.0}, "IoU between 0 and 1"),
        ({"radius": "none"}, "'legacy', 'fixed', 'half-fixed', 'elliptical', not 'none'"),
        ({"schedule": "steps", "steps": [200]}, "steps"),
        ({"steps": [200], "epochs": 100}, "steps are epochs above 0 and below epochs=100"),
        ({"schedule": "steps", "steps": [2], "minutes": 3.0}, "epochs"),
        (
            {"schedule": "cosine", "steps": [2], "epochs": 9},
            "steps are those of the schedule steps, not of cosine; leave out either",
        ),
        ({"weights": "a", "pretrained": True}, "pretrained"),
    ],
)
def test_wrong_options_are_named(change, words):
    with pytest.raises(HeatpointError, match=words):
        check(TrainOptions(**{"data": "d", "val": "v", **change}))


def test_size_must_be_legal():
    assert input_size(None, (512, 384), 32) == (512, 384)
    assert input_size(64, (512, 512), 32) == (64, 64)
    assert input_size([64, 96], (512, 512), 32) == (64, 96)
    with pytest.raises(HeatpointError, match="next legal size is 128"):
        input_size(100, (512, 512), 32)
    with pytest.raises(HeatpointError, match="128x96"):
        input_size([100, 96], (512, 512), 32)


def test_only_listed_options_may_differ_on_resume():
    old = plain(Recipe("a", "v", epochs=4, workers=0))
    assert differences(old, plain(Recipe("b", "w", epochs=8, workers=3, resume=True))) == []
    changed = differences(old, plain(Recipe("a", "v", batch_size=2, lr=0.1)))
    assert changed == ["batch_size was 16 and is 2", "lr was 0.0005 and is 0.1"]


def test_windows_of_all_stages_have_as_many_pixels() -> None:
    network = build("cornernet_tiny", ["a"]).network
    chosen = {"window": {96: 17, 256: 10}, "batch_size": 32}
    options = Recipe("d", "v", lr=3e-3, **chosen)
    first, second = stages_of(options, (640, 640), network, images=160, processes=1)
    assert (first.window, first.batch, first.rate) == ((96, 96), 32, 3e-3)
    assert (second.window, second.batch) == ((256, 256), 4)
    assert second.rate == pytest.approx(3e-3 * (4 / 32) ** 0.5)
    assert (first.ends, second.ends) == (pytest.approx(17 / 27), 1)
    assert str(second) == "4 windows of 256x256 per update, learning rate 0.0011"
    # A pass with larger windows is seven times the work, so most passes are of the first stage.
    passes, run = pace([first, second], (640, 640))
    share = 17 / 96**2 / (17 / 96**2 + 10 / 256**2)
    assert passes == [0, pytest.approx(share), 1]
    assert run == [0, first.ends, 1]
    clock = Clock(10, None, pace=(passes, run))
    assert clock.position(10 * share) == pytest.approx(17 / 27)
    assert (clock.position(0), clock.position(10)) == (0, 1)
    # Of two processes each takes half; SGD's rate grows with the number itself.
    options = Recipe("d", "v", optimizer="sgd", lr=0.1, **chosen)
    _, second = stages_of(options, (640, 640), network, images=160, processes=2)
    assert (second.batch, second.rate) == (4, pytest.approx(0.1 * 4 / 32))
    options = Recipe("d", "v", window={256: 1, 96: 1}, batch_size=8, accumulate=3)
    _, second = stages_of(options, (640, 640), network, images=40, processes=1)
    assert (second.batch, second.accumulate) == (40, 1)  # there are no more


def test_mosaics_end_with_three_quarters_of_a_run() -> None:
    network = build("centernet_tiny", ["a"]).network
    options = Recipe("d", "v", batch_size=8, lr=3e-3, mosaic=0.5)
    first, second = stages_of(options, (64, 64), network, images=20, processes=1)
    assert (first.ends, first.mosaic, second.ends, second.mosaic) == (0.75, 0.5, 1, 0)
    assert str(first) == "8 images per update, 50% of them mosaics, learning rate 0.003"
    assert str(second) == "8 images per update, 0% of them mosaics, learning rate 0.003"
    assert dataclasses.replace(second, ends=first.ends, mosaic=0.5) == first
    assert pace([first, second], (64, 64)) == ([0, 0.75, 1], [0, 0.75, 1])
